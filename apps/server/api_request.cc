#include "server/api_request.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <random>
#include <utility>

#include "dsa/scheduler.h"

#include "server/fields.h"

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
  if (biases == nullptr) return;
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
  set(sampler.repeat_penalty, fields.number("repetition_penalty", 0.01, 100));
  const auto top_k = fields.integer("top_k", 0, std::numeric_limits<int32_t>::max());
  if (top_k) sampler.top_k = static_cast<int32_t>(*top_k);
  constexpr auto kLeast = std::numeric_limits<int64_t>::min();
  const auto seed = fields.integer("seed", kLeast, std::numeric_limits<int64_t>::max());
  sampler.seed = seed ? static_cast<uint64_t>(*seed) : random_seed();
  read_logit_bias(fields, model, request);
}

void read_stream(Fields& fields, ApiRequest& request) {
  request.stream = fields.flag("stream", false);
  const Json* value = fields.find("stream_options");
  if (value == nullptr) return;
  if (!request.stream) fields.refuse("stream_options", "given, want it only with stream");
  Fields options(*value, fields.path_of("stream_options"));
  request.include_usage = options.flag("include_usage", false);
  options.ignore("include_obfuscation");
  options.refuse_unread();
  fields.adopt(options.error());
}

void read_stop(Fields& fields, const ApiLimits& limits, ApiRequest& request) {
  request.stop = fields.texts("stop", static_cast<size_t>(limits.max_stop_strings));
  for (const std::string& stop : request.stop) {
    if (stop.empty()) fields.refuse("stop", "\"\", want at least one character");
  }
}

// Fields that both kinds of request share.
void read_common(Fields& fields,
                 const ModelInfo& model,
                 const ApiLimits& limits,
                 ApiRequest& request) {
  const auto name = fields.text("model");
  if (name && *name != model.name && !fields.error()) {
    ApiError error;
    error.status = 404;
    error.param = "model";
    error.code = "model_not_found";
    error.message = fmt::format("model: {}, want \"{}\"", shown(Json(*name)), model.name);
    fields.adopt(error);
  }
  request.n = fields.integer("n", 1, limits.max_choices).value_or(1);
  read_sampling(fields, model, request);
  read_stop(fields, limits, request);
  read_stream(fields, request);
  request.use_prefix_cache = fields.flag("use_prefix_cache", true);
  request.cache_salt = fields.text("cache_salt").value_or("");
  for (const char* harmless : {"user", "metadata", "service_tier", "safety_identifier",
                               "prompt_cache_key", "prompt_cache_retention"}) {
    fields.ignore(harmless);
  }
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

std::vector<int32_t> encode_text(Fields& fields, const std::string& text, const ModelInfo& model) {
  auto ids = model.tokenizer->encode(text);
  if (!ids.ok()) {
    fields.refuse("prompt", ids.status().message());
    return {};
  }
  std::vector<int32_t> prompt = model.prefix;
  prompt.insert(prompt.end(), ids->begin(), ids->end());
  return prompt;
}

std::vector<int32_t> read_ids(Fields& fields, const Json& list, const ModelInfo& model) {
  std::vector<int32_t> ids;
  for (const Json& entry : list) {
    const bool fits = entry.is_number_unsigned() &&
                      entry.get<uint64_t>() < static_cast<uint64_t>(model.vocab_size);
    if (!fits) {
      fields.refuse("prompt", entry, fmt::format("token ids from 0 to {}", model.vocab_size - 1));
      return {};
    }
    ids.push_back(entry.get<int32_t>());
  }
  return ids;
}

// A string, an array of strings, an array of token ids, or an array of those.
void read_prompts(Fields& fields,
                  const ModelInfo& model,
                  const ApiLimits& limits,
                  ApiRequest& out) {
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) return fields.refuse("prompt", "missing, want text or token ids");
  if (prompt->is_string()) {
    out.prompts.push_back(encode_text(fields, prompt->get<std::string>(), model));
    return;
  }
  if (!prompt->is_array() || prompt->empty()) {
    return fields.refuse("prompt", *prompt, "text or token ids, or an array of them");
  }
  if (prompt->front().is_number()) {
    out.prompts.push_back(read_ids(fields, *prompt, model));
    return;
  }
  const auto count = static_cast<int64_t>(prompt->size());
  if (count > limits.max_choices) {
    return fields.refuse("prompt",
                         fmt::format("{} prompts, want at most {}", count, limits.max_choices));
  }
  for (const Json& entry : *prompt) {
    if (entry.is_string()) {
      out.prompts.push_back(encode_text(fields, entry.get<std::string>(), model));
    } else if (entry.is_array()) {
      out.prompts.push_back(read_ids(fields, entry, model));
    } else {
      return fields.refuse("prompt", entry, "text or an array of token ids");
    }
  }
}

ApiRequestOr finished(Fields& fields, const ApiLimits& limits, ApiRequest& request) {
  fields.refuse_unread();
  const auto choices = static_cast<int64_t>(request.prompts.size()) * request.n;
  if (choices > limits.max_choices) {
    fields.refuse("n",
                  fmt::format("{} choices in all, want at most {}", choices, limits.max_choices));
  }
  if (!fields.error()) {
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
  request.max_tokens =
      fields.integer("max_tokens", 1, kManyTokens).value_or(kDefaultCompletionTokens);
  const auto logprobs = fields.integer("logprobs", 0, dsa::kMaxLogprobs);
  if (logprobs) request.n_logprobs = static_cast<int32_t>(*logprobs);
  fields.accept_only("echo", {false}, "echo is not supported, want false");
  fields.accept_only("suffix", {""}, "suffix is not supported");
  fields.accept_only("best_of", {1, request.n}, "best_of is not supported, want 1 or n");
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
  const auto old_most = fields.integer("max_tokens", 1, kManyTokens);
  request.max_tokens =
      fields.integer("max_completion_tokens", 1, kManyTokens).value_or(old_most.value_or(0));
  const bool logprobs = fields.flag("logprobs", false);
  const auto top = fields.integer("top_logprobs", 0, dsa::kMaxLogprobs);
  if (top && !logprobs) fields.refuse("top_logprobs", "given, want it only with logprobs");
  if (logprobs) request.n_logprobs = static_cast<int32_t>(top.value_or(0));
  fields.accept_only("store", {false}, "nothing is stored, want false");
  fields.accept_only("modalities", {Json::array({"text"})}, "want [\"text\"]");
  ChatPrompt prompt = read_chat_prompt(fields, model);
  request.thinking = prompt.thinking;
  request.reads_tools = prompt.reads_tools;
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
