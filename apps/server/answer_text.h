// The text of one choice while it is generated: whole characters, cut at stop strings, and for a
// chat taken apart into reasoning, content and tool calls.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/chat.h"
#include "dsa/scheduler.h"
#include "dsa/tokenizer.h"

#include "server/api_request.h"
#include "text/stop_filter.h"

namespace server {

// A token as logprobs lists show it.
struct ShownToken {
  int32_t id = -1;
  std::optional<float> logprob;  // none: of the first token of all
  int64_t offset = 0;            // characters of text before it
  std::vector<dsa::TokenLogprob> top;
};

// What one or more tokens added to the answer.
struct AnswerPiece {
  std::vector<dsa::CompletionPart> parts;
  std::vector<ShownToken> tokens;  // empty unless logprobs are wanted
  bool empty() const { return parts.empty() && tokens.empty(); }
};

class AnswerText {
 public:
  AnswerText(const dsa::Tokenizer& tokenizer, const ApiRequest& request);

  // The prompt as the beginning of the answer, before the first push(). `logprobs`: of each of its
  // tokens, where logprobs are wanted. Its first n_prefix tokens have no text.
  AnswerPiece echo(std::span<const int32_t> prompt,
                   size_t n_prefix,
                   std::span<const dsa::PromptToken> logprobs);
  AnswerPiece push(const dsa::TokenEvent& token);
  // When no more tokens come.
  AnswerPiece finish();

  bool stopped() const { return filter_.stopped(); }              // by a stop string
  bool has_calls() const { return stream_.n_whole_calls() > 0; }  // read whole
  bool past_reasoning() const { return past_reasoning_; }         // content or a call has begun

 private:
  AnswerPiece take(const std::string& shown, bool last);

  const dsa::Tokenizer* tokenizer_;
  dsa::StreamDecoder decoder_;
  text::StopFilter filter_;
  dsa::CompletionStream stream_;
  std::vector<int32_t> silent_;
  bool chat_;
  bool logprobs_;
  bool past_reasoning_ = false;
  int64_t n_decoded_ = 0;  // characters
  int64_t n_shown_ = 0;
  std::vector<ShownToken> waiting_;  // tokens whose text is held back
};

// JSON has no infinity; OpenAI's API says -9999 for a token that cannot be.
float finite(float logprob);

// Code points of UTF-8.
int64_t count_characters(std::string_view utf8);

}  // namespace server
