// One request, from submit() to its end: what it has so far, and what is to be computed next.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "dsa/forward.h"
#include "dsa/sampler.h"
#include "dsa/scheduler.h"

#include "cache/page_key.h"

namespace dsa::scheduler {

// Tokens [begin, end) of a sequence that are computed in one step of the engine. Where chunks begin
// and end depends on the prompt's length alone, since it has an effect on how results are rounded:
// a prompt is cut at multiples of a page's tokens, generated tokens are computed one by one.
struct Chunk {
  int64_t begin = 0;
  int64_t end = 0;
  bool logits = false;  // of the last token: it is followed by one that is not chosen yet

  int64_t size() const { return end - begin; }
};

struct RequestState {
  RequestState(RequestId id_, GenerateRequest request_, Sampler sampler_, int64_t page_tokens_)
      : id(id_),
        request(std::move(request_)),
        sampler(std::move(sampler_)),
        page_tokens(page_tokens_) {
    tokens.swap(request.prompt);
    n_prompt = static_cast<int64_t>(tokens.size());
  }

  RequestId id;
  GenerateRequest request;  // but for its prompt
  Sampler sampler;
  const int64_t page_tokens;
  double submitted = 0;  // on the scheduler's clock
  double deadline = 0;   // 0: none
  bool cancelled = false;
  bool started = false;
  std::vector<int32_t> tokens;  // the prompt, then what was generated
  int64_t n_prompt = 0;
  std::vector<PageKey> keys;  // of the prompt's whole pages; empty: it shares nothing

  SequenceId sequence = -1;  // -1: it does not run
  int64_t n_done = 0;        // tokens the sequence has
  int64_t n_planned = 0;     // tokens of the step being made
  int64_t n_counted = 0;     // prompt tokens that were hit or miss already
  GenerateResult result;

  std::vector<PromptToken> prompt_tokens;  // as far as the prompt was computed; where wanted
  bool prompt_given = false;               // to on_prompt

  // What the step gave.
  std::optional<Status> chosen;  // there was a choice; ok: of
  int32_t token = -1;
  float logprob = 0.0F;
  std::vector<TokenLogprob> top;
  std::vector<LayerSelection> selections;

  int64_t n_tokens() const { return static_cast<int64_t>(tokens.size()); }
  int64_t n_generated() const { return n_tokens() - n_prompt; }

  // Whether the logits after the prompt's tokens are wanted, and were not all given.
  bool wants_prompt() const { return request.n_prompt_logprobs >= 0 && !prompt_given; }

  // Only the latest token is to be computed, and a choice follows.
  bool decodes() const { return n_generated() > 0 && n_done + 1 == n_tokens(); }

  // Where reading the prompt (after preemption: and what was generated) ends.
  int64_t read_end() const { return n_generated() == 0 ? n_prompt : n_tokens() - 1; }

  Chunk chunk_from(int64_t begin) const {
    const int64_t end =
        begin < n_prompt ? std::min(n_prompt, (begin / page_tokens + 1) * page_tokens) : begin + 1;
    return {begin, end, end == n_tokens()};
  }

  // The key under which the next page could be had from a cache. The last token of a prompt is
  // always computed: the first choice needs its logits.
  const PageKey* next_key() const {
    const int64_t last = n_generated() == 0 ? n_prompt - 1 : n_prompt;
    const bool whole = n_done % page_tokens == 0 && n_done + page_tokens <= last;
    return whole && !keys.empty() ? &keys[static_cast<size_t>(n_done / page_tokens)] : nullptr;
  }

  // The key of the page that a chunk is; null where it is not a whole one of the prompt.
  const PageKey* key_of(const Chunk& chunk) const {
    const bool whole = chunk.size() == page_tokens && !keys.empty();
    return whole ? &keys[static_cast<size_t>(chunk.begin / page_tokens)] : nullptr;
  }

  // Pages of the prompt that the sequence uses in the prefix cache.
  int64_t n_shared() const {
    return std::min(n_done / page_tokens, static_cast<int64_t>(keys.size()));
  }

  bool wants_selections(int64_t index) const {
    return std::any_of(request.selections.begin(), request.selections.end(),
                       [index](int64_t i) { return i == -1 || i == index; });
  }
};

}  // namespace dsa::scheduler
