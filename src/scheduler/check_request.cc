#include "scheduler/check_request.h"

#include <span>

#include "common/status_macros.h"

namespace dsa::scheduler {

namespace {

Status check_tokens(const char* field, std::span<const int32_t> tokens, int64_t vocab_size) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocab_size) continue;
    return invalid_argument("{}: token {} is {}, want 0 to {}", field, i, tokens[i],
                            vocab_size - 1);
  }
  return {};
}

Status check_logprobs(const char* field, int32_t n) {
  if (n >= -1 && n <= kMaxLogprobs) return {};
  return invalid_argument("{}: {}, want -1 to {}", field, n, kMaxLogprobs);
}

}  // namespace

Status check_request(const GenerateRequest& request, int64_t vocab_size, int64_t max_context) {
  if (request.prompt.empty()) return invalid_argument("prompt: no tokens, want at least one");
  const auto n_prompt = static_cast<int64_t>(request.prompt.size());
  if (n_prompt >= max_context) {
    return invalid_argument("prompt: {} tokens, want at most {}", n_prompt, max_context - 1);
  }
  DSA_RETURN_IF_ERROR(check_tokens("prompt", request.prompt, vocab_size));
  DSA_RETURN_IF_ERROR(check_tokens("stop_tokens", request.stop_tokens, vocab_size));
  if (request.max_tokens < 0) {
    return invalid_argument("max_tokens: {}, want at least 0", request.max_tokens);
  }
  DSA_RETURN_IF_ERROR(check_logprobs("n_logprobs", request.n_logprobs));
  DSA_RETURN_IF_ERROR(check_logprobs("n_prompt_logprobs", request.n_prompt_logprobs));
  for (const auto& [id, bias] : request.sampler.logit_bias) {
    if (id >= 0 && id < vocab_size) continue;
    return invalid_argument("logit_bias: token {}, want 0 to {}", id, vocab_size - 1);
  }
  for (const int64_t index : request.selections) {
    if (index < -1) return invalid_argument("selections: {}, want -1 or more", index);
  }
  if (request.timeout.count() < 0) {
    return invalid_argument("timeout: {} ms, want 0 or more", request.timeout.count());
  }
  return {};
}

}  // namespace dsa::scheduler
