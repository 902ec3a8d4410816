// Requests of /v1/completions and /v1/chat/completions: every field read or refused by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dsa/chat.h"
#include "dsa/grammar.h"
#include "dsa/sampler.h"

#include "server/api_error.h"
#include "server/json.h"
#include "server/model_info.h"

namespace server {

struct ApiRequest {
  bool chat = false;
  std::vector<std::vector<int32_t>> prompts;  // one for a chat
  int64_t n = 1;                              // choices for each prompt
  std::optional<int64_t> max_tokens;          // none: as many as the context leaves
  int64_t min_tokens = 0;                     // no token of `end_ids` before
  dsa::SamplerOptions sampler;
  std::vector<std::string> stop;
  std::vector<int32_t> end_ids;     // tokens that end an answer
  std::vector<int32_t> silent_ids;  // tokens that have no text: end ids that do not end
  int32_t n_logprobs = -1;          // as dsa::GenerateRequest
  int32_t n_prompt_logprobs = -1;   // likewise, in a list of their own
  bool echo = false;                // completions: the answer begins with the prompt
  size_t n_prefix = 0;              // tokens of each prompt that stand before its text
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;  // in every chunk
  bool use_prefix_cache = true;
  std::string cache_salt;        // prompts are shared among requests of the same one
  dsa::CompletionFormat format;  // of a chat's answer
  std::optional<dsa::Grammar> grammar;
  std::string prompt_text;  // of a chat, as encoded; for /v1/selections
};

using ApiRequestOr = std::variant<ApiRequest, ApiError>;

ApiRequestOr read_completion_request(const Json& body,
                                     const ModelInfo& model,
                                     const ApiLimits& limits);
ApiRequestOr read_chat_request(const Json& body, const ModelInfo& model, const ApiLimits& limits);

// The prompt of a chat: messages, tools, thinking and response_format of a request's body. Refused
// where the model's chat encoding is not known.
struct ChatPrompt {
  std::string text;
  dsa::CompletionFormat format;  // of the answer
  std::optional<dsa::Grammar> grammar;
};
class Fields;
// A failure is left in `fields`.
ChatPrompt read_chat_prompt(Fields& fields, const ModelInfo& model);

}  // namespace server
