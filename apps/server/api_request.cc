#include "server/api_request.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <random>
#include <utility>

#include "dsa/scheduler.h"

#include "server/fields.h"
#include "server/harmless_fields.h"

namespace server {
namespace {

constexpr int64_t kManyTokens = int64_t{1} << 30;
constexpr int64_t kDefaultCompletionTokens = 16;  // as OpenAI's API has it
constexpr size_t kMaxBiases = 4096;

uint64_t random_seed() {
  std::random_device device;
  return (uint64_t{device()} << 32U) | device();
}

void read_logit_bias(Fields& fields, const ModelInfo& model, ApiRequest& request) {
  const Json* biases = fields.find("logit_bias");
  if (biases == nullptr || *biases == Json::array()) return;  // an empty object of PHP is []
  if (!biases->is_object() || biases->size() > kMaxBiases) {
    fields.refuse("logit_bias", *biases,
                  fmt::format("an object of at most {} token ids", kMaxBiases));
    return;
  }
  for (const auto& [key, value] : biases->items()) {
    int32_t id = -1;
    const char* end = key.data() + key.size();
    const auto parsed = std::from_chars(key.data(), end, id);
    const bool token =
        parsed.ec == std::errc() && parsed.ptr == end && id >= 0 && int64_t{id} < model.vocab_size;
    const bool fits =
        value.is_number() && value.get<double>() >= -100 && value.get<double>() <= 100;
    if (!token || !fits) {
      fields.refuse("logit_bias." + key.substr(0, 40), value,
                    fmt::format("a token id from 0 to {} with a number from -100 to 100",
                                model.vocab_size - 1));
      return;
    }
    request.sampler.logit_bias.emplace_back(id, value.get<float>());
  }
}

// Of any 64 bits. -1 is a seed of the server's choice in vLLM and llama.cpp.
uint64_t read_seed(Fields& fields) {
  const Json* value = fields.find("seed");
  if (value == nullptr || whole_number(*value) == -1) return random_seed();
  if (value->is_number_unsigned()) return value->get<uint64_t>();
  constexpr auto kLeast = std::numeric_limits<int64_t>::min();
  const auto seed = fields.integer("seed", kLeast, std::numeric_limits<int64_t>::max());
  return static_cast<uint64_t>(seed.value_or(0));
}

// llama.cpp and Ollama call it repeat_penalty and bound how far back it looks; here it counts all
// generated tokens.
void read_repeat_penalty(Fields& fields, dsa::SamplerOptions& sampler) {
  for (const char* name : {"repeat_penalty", "repetition_penalty"}) {
    const auto penalty = fields.number(name, 0.01, 100);
    if (penalty) sampler.repeat_penalty = static_cast<float>(*penalty);
  }
  if (sampler.repeat_penalty == 1.0F) {
    fields.ignore("repeat_last_n");
  } else {
    fields.accept_only("repeat_last_n", {-1}, "the penalty counts all generated tokens; want -1");
  }
}

void read_sampling(Fields& fields, const ModelInfo& model, ApiRequest& request) {
  dsa::SamplerOptions& sampler = request.sampler;
  sampler = model.sampling;
  const auto set = [](float& option, const std::optional<double>& value) {
    if (value) option = static_cast<float>(*value);
  };
  set(sampler.temperature, fields.number("temperature", 0, 2));
  // A top_p of 0 takes the likeliest token alone, as the smallest positive number does.
  const auto top_p = fields.number("top_p", 0, 1);
  if (top_p) sampler.top_p = std::max(static_cast<float>(*top_p), 1e-6F);
  set(sampler.min_p, fields.number("min_p", 0, 1));
  set(sampler.presence_penalty, fields.number("presence_penalty", -2, 2));
  set(sampler.frequency_penalty, fields.number("frequency_penalty", -2, 2));
  read_repeat_penalty(fields, sampler);
  // -1 is off in vLLM and llama.cpp, as 0 is.
  const auto top_k = fields.count("top_k", -1, std::numeric_limits<int32_t>::max());
  if (top_k) sampler.top_k = std::max(static_cast<int32_t>(*top_k), 0);
  sampler.seed = read_seed(fields);
  read_logit_bias(fields, model, request);
}

void read_stream(Fields& fields, ApiRequest& request) {
  request.stream = fields.flag("stream", false);
  const Json* value = fields.find("stream_options");
  if (value == nullptr) return;
  if (!request.stream) fields.refuse("stream_options", "given, want it only with stream");
  Fields options(*value, fields.path_of("stream_options"));
  request.include_usage = options.flag("include_usage", false);
  request.continuous_usage = options.flag("continuous_usage_stats", false) && request.include_usage;
  options.ignore("include_obfuscation");
  options.refuse_unread();
  fields.adopt(options.error());
}

void read_stop(Fields& fields, const ApiLimits& limits, ApiRequest& request) {
  for (std::string& stop : fields.texts("stop", static_cast<size_t>(limits.max_stop_strings))) {
    if (!stop.empty()) request.stop.push_back(std::move(stop));  // an empty text never occurs
  }
}

std::vector<int32_t> read_ids(Fields& fields,
                              const char* name,
                              const Json& list,
                              const ModelInfo& model) {
  std::vector<int32_t> ids;
  for (const Json& entry : list) {
    const auto id = whole_number(entry);
    if (!id || *id < 0 || *id >= model.vocab_size) {
      fields.refuse(name, entry, fmt::format("token ids from 0 to {}", model.vocab_size - 1));
      return {};
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

// Which tokens end an answer, and from when on.
void read_ends(Fields& fields, const ModelInfo& model, ApiRequest& request) {
  request.min_tokens = fields.count("min_tokens", 0, kManyTokens).value_or(0);
  const bool ignore_eos = fields.flag("ignore_eos", false);
  (ignore_eos ? request.silent_ids : request.end_ids) = model.end_ids;
  const Json* more = fields.find("stop_token_ids");
  if (more == nullptr) return;
  if (!more->is_array() || more->size() > kMaxBiases) {
    return fields.refuse("stop_token_ids", *more,
                         fmt::format("an array of at most {} token ids", kMaxBiases));
  }
  for (const int32_t id : read_ids(fields, "stop_token_ids", *more, model))
    request.end_ids.push_back(id);
}

// The names of OpenAI's API, then those of llama.cpp and Ollama; -1: what the context leaves.
std::optional<int64_t> read_max_tokens(Fields& fields,
                                       int64_t least,
                                       const std::optional<int64_t>& otherwise) {
  std::optional<int64_t> most = otherwise;
  for (const char* name : {"num_predict", "n_predict", "max_tokens", "max_completion_tokens"}) {
    const Json* value = fields.find(name);
    if (value == nullptr) continue;
    if (whole_number(*value) == -1) {
      most.reset();
    } else {
      most = fields.count(name, least, kManyTokens).value_or(least);
    }
  }
  return most;
}

// Fields that both kinds of request share.
void read_common(Fields& fields,
                 const ModelInfo& model,
                 const ApiLimits& limits,
                 ApiRequest& request) {
  const auto name = fields.text("model");
  if (name && !name->empty() && !model.is_called(*name) && !fields.error()) {
    ApiError error;
    error.status = 404;
    error.param = "model";
    error.code = "model_not_found";
    error.message = fmt::format("model: {}, want {}", shown(Json(*name)), model.listed_names());
    fields.adopt(error);
  }
  request.n = fields.integer("n", 1, limits.max_choices).value_or(1);
  read_sampling(fields, model, request);
  read_stop(fields, limits, request);
  read_ends(fields, model, request);
  read_stream(fields, request);
  request.use_prefix_cache = fields.flag("use_prefix_cache", true);
  request.cache_salt = fields.text("cache_salt").value_or("");
  const auto n_prompt = fields.integer("prompt_logprobs", 0, dsa::kMaxLogprobs);
  request.n_prompt_logprobs = static_cast<int32_t>(n_prompt.value_or(-1));
  if (n_prompt && request.stream) {
    fields.refuse("prompt_logprobs", "given with stream, want one of them");
  }
  fields.accept_only("best_of", {1, request.n}, "best_of is not supported, want 1 or n");
  read_harmless(fields);
}

ApiError prompt_error(const std::string& param, int64_t n, int64_t most) {
  ApiError error;
  error.param = param;
  error.code = "context_length_exceeded";
  error.message = fmt::format("{}: {} tokens, want at most {}", param, n, most);
  return error;
}

void check_prompt(Fields& fields,
                  const char* param,
                  const std::vector<int32_t>& prompt,
                  const ModelInfo& model,
                  const ApiLimits& limits) {
  int64_t most = model.max_context - 1;
  if (limits.max_prompt_tokens > 0) most = std::min(most, limits.max_prompt_tokens);
  const auto n = static_cast<int64_t>(prompt.size());
  if (n > most) fields.adopt(prompt_error(param, n, most));
  if (n == 0) fields.refuse(param, "is empty, want at least one token");
}

std::vector<int32_t> encode_text(Fields& fields,
                                 const std::string& text,
                                 const ModelInfo& model,
                                 const ApiRequest& out) {
  auto ids = model.tokenizer->encode(text);
  if (!ids.ok()) {
    fields.refuse("prompt", ids.status().message());
    return {};
  }
  std::vector<int32_t> prompt;
  if (out.n_prefix > 0) prompt = model.prefix;
  prompt.insert(prompt.end(), ids->begin(), ids->end());
  return prompt;
}

// A string, an array of strings, an array of token ids, or an array of those.
void read_prompts(Fields& fields,
                  const ModelInfo& model,
                  const ApiLimits& limits,
                  ApiRequest& out) {
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) return fields.refuse("prompt", "missing, want text or token ids");
  const bool has_text = prompt->is_string() ||
                        (prompt->is_array() && !prompt->empty() && prompt->front().is_string());
  if (fields.flag("add_special_tokens", true) && has_text) out.n_prefix = model.prefix.size();
  if (prompt->is_string()) {
    out.prompts.push_back(encode_text(fields, prompt->get<std::string>(), model, out));
    return;
  }
  if (!prompt->is_array() || prompt->empty()) {
    return fields.refuse("prompt", *prompt, "text or token ids, or an array of them");
  }
  if (prompt->front().is_number()) {
    out.prompts.push_back(read_ids(fields, "prompt", *prompt, model));
    return;
  }
  const auto count = static_cast<int64_t>(prompt->size());
  if (count > limits.max_choices) {
    return fields.refuse("prompt",
                         fmt::format("{} prompts, want at most {}", count, limits.max_choices));
  }
  for (const Json& entry : *prompt) {
    if (entry.is_string()) {
      out.prompts.push_back(encode_text(fields, entry.get<std::string>(), model, out));
    } else if (entry.is_array()) {
      out.prompts.push_back(read_ids(fields, "prompt", entry, model));
    } else {
      return fields.refuse("prompt", entry, "text or an array of token ids");
    }
  }
}

// A grammar says by itself when a text may end.
void check_no_other_end(Fields& fields, const ApiRequest& request) {
  const std::string want =
      "given, want it only where no response_format or tool_choice is enforced";
  if (!request.silent_ids.empty()) fields.refuse("ignore_eos", want);
  if (request.min_tokens > 0) fields.refuse("min_tokens", want);
}

// n, or true for 1.
int32_t read_completion_logprobs(Fields& fields) {
  const Json* value = fields.find("logprobs");
  if (value == nullptr || *value == Json(false)) return -1;
  if (*value == Json(true)) return 1;
  const auto n = fields.integer("logprobs", 0, dsa::kMaxLogprobs);
  return static_cast<int32_t>(n.value_or(0));
}

ApiRequestOr finished(Fields& fields, const ApiLimits& limits, ApiRequest& request) {
  fields.refuse_unread();
  const auto choices = static_cast<int64_t>(request.prompts.size()) * request.n;
  if (choices > limits.max_choices) {
    fields.refuse("n",
                  fmt::format("{} choices in all, want at most {}", choices, limits.max_choices));
  }
  if (!fields.error()) {
    if (request.grammar) check_no_other_end(fields, request);
    const auto sampler = dsa::Sampler::create(request.sampler);
    if (!sampler.ok()) fields.adopt(api_error(sampler.status()));
  }
  if (fields.error()) return *fields.error();
  return std::move(request);
}

}  // namespace

ApiRequestOr read_completion_request(const Json& body,
                                     const ModelInfo& model,
                                     const ApiLimits& limits) {
  Fields fields(body, "");
  ApiRequest request;
  read_common(fields, model, limits, request);
  request.max_tokens = read_max_tokens(fields, 0, kDefaultCompletionTokens);
  request.n_logprobs = read_completion_logprobs(fields);
  request.echo = fields.flag("echo", false);
  if (!fields.error()) read_prompts(fields, model, limits, request);
  if (!fields.error()) {
    for (const auto& prompt : request.prompts)
      check_prompt(fields, "prompt", prompt, model, limits);
  }
  return finished(fields, limits, request);
}

ApiRequestOr read_chat_request(const Json& body, const ModelInfo& model, const ApiLimits& limits) {
  Fields fields(body, "");
  ApiRequest request;
  request.chat = true;
  read_common(fields, model, limits, request);
  request.max_tokens = read_max_tokens(fields, 1, std::nullopt);
  fields.accept_only("echo", {false}, "echo is for completions, want false");
  const bool logprobs = fields.flag("logprobs", false);
  const auto top = fields.integer("top_logprobs", 0, dsa::kMaxLogprobs);
  if (top.value_or(0) > 0 && !logprobs)
    fields.refuse("top_logprobs", "given, want it only with logprobs");
  if (logprobs) request.n_logprobs = static_cast<int32_t>(top.value_or(0));
  ChatPrompt prompt = read_chat_prompt(fields, model);
  request.format = std::move(prompt.format);
  request.grammar = std::move(prompt.grammar);
  if (!fields.error()) {
    auto ids = model.tokenizer->encode(prompt.text);
    if (!ids.ok()) fields.adopt(api_error(ids.status()));
    request.prompts.push_back(ids.ok() ? std::move(*ids) : std::vector<int32_t>());
  }
  if (!fields.error()) check_prompt(fields, "messages", request.prompts[0], model, limits);
  return finished(fields, limits, request);
}

}  // namespace server
