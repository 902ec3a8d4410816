// /v1/selections: runs a completion or chat and tells which earlier tokens DSA read.
#include <fmt/format.h>

#include <limits>
#include <numeric>
#include <utility>

#include "server/api.h"
#include "server/fields.h"
#include "server/selections.h"

namespace server {
namespace {

constexpr size_t kMostTokens = 64;  // whose selections one request may ask for

struct Wanted {
  std::vector<int64_t> tokens{0};
  std::vector<int64_t> layers;
  bool merged = true;
  bool prompt_text = true;
};

std::vector<int64_t> read_indexes(Fields& fields, const char* name, int64_t below, size_t most) {
  std::vector<int64_t> out;
  const Json* list = fields.find(name);
  if (list == nullptr) return out;
  bool fits = list->is_array() && list->size() <= most;
  for (size_t i = 0; fits && i < list->size(); ++i) {
    const auto number = whole_number((*list)[i]);
    fits = number && *number >= 0 && *number < below;
    if (fits) out.push_back(*number);
  }
  if (!fits) {
    fields.refuse(name, *list,
                  fmt::format("an array of at most {} numbers from 0 to {}", most, below - 1));
  }
  return out;
}

Wanted read_wanted(Fields& fields, const ModelInfo& model) {
  Wanted wanted;
  if (fields.find("tokens") != nullptr) {
    wanted.tokens = read_indexes(fields, "tokens", model.max_context, kMostTokens);
    if (wanted.tokens.empty()) fields.refuse("tokens", "[], want at least one index");
  }
  const Json* layers = fields.find("layers");
  if (layers != nullptr && *layers == Json("all")) {
    wanted.layers.resize(static_cast<size_t>(model.n_layers));
    std::iota(wanted.layers.begin(), wanted.layers.end(), 0);
  } else {
    wanted.layers =
        read_indexes(fields, "layers", model.n_layers, static_cast<size_t>(model.n_layers));
  }
  wanted.merged = fields.flag("merged", true);
  wanted.prompt_text = fields.flag("prompt_text", true);
  return wanted;
}

// What is gathered on the engine's thread, and counted as a request while it lasts.
struct Gathered {
  explicit Gathered(Metrics* metrics_) : metrics(metrics_) { ++metrics->active_requests; }
  Gathered(const Gathered&) = delete;
  Gathered& operator=(const Gathered&) = delete;
  ~Gathered() { --metrics->active_requests; }

  Metrics* metrics;
  dsa::Status grammar_failure;
  std::vector<int32_t> prompt;
  std::vector<int32_t> answer;
  std::vector<TokenSelections> tokens;
  std::unique_ptr<dsa::GrammarMatcher> matcher;
};

bool gather(Gathered& out, const dsa::TokenEvent& token) {
  out.answer.push_back(token.id);
  if (!token.selections.empty()) {
    out.tokens.push_back({token.index,
                          token.position,
                          token.id,
                          {token.selections.begin(), token.selections.end()}});
  }
  return !(out.matcher && out.matcher->must_end());
}

Json answer_json(const Gathered& found,
                 const Wanted& wanted,
                 const ModelInfo& model,
                 const dsa::GenerateResult& result) {
  Json prompt =
      wanted.prompt_text ? text_with_lengths(*model.tokenizer, found.prompt) : Json::object();
  prompt["n_tokens"] = found.prompt.size();
  Json tokens = Json::array();
  for (const TokenSelections& token : found.tokens)
    tokens.push_back(selections_json(token, wanted.layers, wanted.merged));
  Usage usage;
  usage.prompt_tokens = result.n_prompt_tokens;
  usage.completion_tokens = result.n_generated_tokens;
  usage.cache_hit_tokens = result.prompt_cache_hit_tokens;
  usage.cache_miss_tokens = result.prompt_cache_miss_tokens;
  return {{"object", "selections"},
          {"model", model.name},
          {"n_layers", model.n_layers},
          {"prompt", std::move(prompt)},
          {"answer", text_with_lengths(*model.tokenizer, found.answer)},
          {"tokens", std::move(tokens)},
          {"usage", usage_json(usage)}};
}

}  // namespace

void Api::selections(const Shared& exchange) {
  const auto json = body(exchange);
  if (!json) return;
  Fields fields(*json, "");
  const Wanted wanted = read_wanted(fields, model_);
  const Json* inner = fields.find("request");
  fields.refuse_unread();
  if (inner == nullptr) fields.refuse("request", "missing, want a completion or chat request");
  if (fields.error()) return respond_error(exchange, *fields.error());
  ApiLimits limits = options_.limits;
  limits.max_choices = 1;
  const bool chat = inner->is_object() && inner->contains("messages");
  ApiRequestOr read = chat ? read_chat_request(*inner, model_, limits)
                           : read_completion_request(*inner, model_, limits);
  if (auto* error = std::get_if<ApiError>(&read)) {
    error->param = error->param.empty() ? "request" : "request." + error->param;
    return respond_error(exchange, *error);
  }
  const ApiRequest& request = std::get<ApiRequest>(read);
  if (request.stream) fields.refuse("request.stream", "true, want false");
  if (!request.stop.empty()) fields.refuse("request.stop", "given, want none");
  if (request.n_logprobs >= 0) fields.refuse("request.logprobs", "given, want none");
  if (request.n_prompt_logprobs >= 0) {
    fields.refuse("request.prompt_logprobs", "given, want none");
  }
  if (request.echo) fields.refuse("request.echo", "true, want false");
  if (fields.error()) return respond_error(exchange, *fields.error());
  if (!has_room(exchange)) return;
  const auto found = std::make_shared<Gathered>(metrics_);
  found->prompt = request.prompts[0];
  dsa::GenerateRequest sequence;
  sequence.prompt = found->prompt;
  sequence.max_tokens = request.max_tokens.value_or(std::numeric_limits<int32_t>::max());
  sequence.sampler = request.sampler;
  sequence.stop_tokens = request.end_ids;
  sequence.use_prefix_cache = request.use_prefix_cache;
  sequence.cache_salt = cache_salt(exchange, request.cache_salt);
  sequence.timeout = context().timeout;
  sequence.selections = wanted.tokens;
  if (request.grammar) {
    found->matcher = std::make_unique<dsa::GrammarMatcher>(*request.grammar, model_.grammar_tokens);
    sequence.logits_filter = filter_of(*found->matcher, &found->grammar_failure);
  }
  sequence.on_token = [found, exchange](const dsa::TokenEvent& token) {
    return gather(*found, token) && !exchange->gone();
  };
  sequence.on_done = [this, found, exchange, wanted](const dsa::GenerateResult& result) {
    // The text of a long prompt takes a while to write: not on the engine's thread.
    worker_.post([this, found, exchange, wanted, result] {
      const bool whole =
          result.reason == dsa::FinishReason::kStop || result.reason == dsa::FinishReason::kLength;
      if (!whole) return respond_error(exchange, error_of(result, found->grammar_failure));
      respond_json(exchange, answer_json(*found, wanted, model_, result));
    });
  };
  auto id = scheduler_->submit(std::move(sequence));
  if (!id.ok()) return respond_error(exchange, api_error(id.status()));
  exchange->on_gone([scheduler = scheduler_, id = *id] { scheduler->cancel(id); });
}

}  // namespace server
