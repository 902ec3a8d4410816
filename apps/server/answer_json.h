// Answers of the two completion endpoints, whole and as chunks of a stream.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dsa/scheduler.h"

#include "server/answer_text.h"
#include "server/json.h"
#include "server/model_info.h"

namespace server {

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t reasoning_tokens = 0;
  int64_t cache_hit_tokens = 0;
  int64_t cache_miss_tokens = 0;
};
Json usage_json(const Usage& usage);

// What every answer to one request begins with.
struct AnswerHead {
  bool chat = false;
  std::string id;
  int64_t created = 0;
  const ModelInfo* model = nullptr;
  bool usage_follows = false;  // a chunk of its own has it; it is null in the others
};

// One choice of an answer that is not streamed, gathered from its pieces.
struct WholeChoice {
  std::string reasoning;
  std::string content;
  std::vector<dsa::ToolCall> calls;
  std::vector<ShownToken> tokens;
  Json prompt_logprobs;  // null where they are not wanted
  std::string finish_reason;

  void add(AnswerPiece piece);
};

// As vLLM has them: for each token the `most` likeliest and itself, by id; null for the first.
Json prompt_logprobs_json(const ModelInfo& model,
                          std::span<const dsa::PromptToken> tokens,
                          size_t most);

Json whole_answer(const AnswerHead& head,
                  const std::vector<WholeChoice>& choices,
                  bool logprobs,
                  const Usage& usage);

// The chunks of one piece. first: the choice has sent nothing yet.
std::vector<Json> piece_chunks(
    const AnswerHead& head, int64_t choice, const AnswerPiece& piece, bool first, bool logprobs);
Json last_chunk(const AnswerHead& head, int64_t choice, const std::string& finish_reason);
Json usage_chunk(const AnswerHead& head, const Usage& usage);

}  // namespace server
