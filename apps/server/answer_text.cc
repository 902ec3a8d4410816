#include "server/answer_text.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace server {
namespace {

ShownToken shown_token(int32_t id,
                       float logprob,
                       int64_t offset,
                       std::span<const dsa::TokenLogprob> top) {
  ShownToken out{id, finite(logprob), offset, {top.begin(), top.end()}};
  for (dsa::TokenLogprob& entry : out.top)
    entry.logprob = finite(entry.logprob);
  return out;
}

}  // namespace

float finite(float logprob) {
  return std::max(logprob, -9999.0F);
}

int64_t count_characters(std::string_view utf8) {
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  return std::count_if(utf8.begin(), utf8.end(), begins);
}

AnswerText::AnswerText(const dsa::Tokenizer& tokenizer, const ApiRequest& request)
    : tokenizer_(&tokenizer),
      decoder_(tokenizer, !request.chat),  // a chat's special tokens are part of its encoding
      filter_(request.stop),
      stream_(request.format),
      silent_(request.silent_ids),
      chat_(request.chat),
      logprobs_(request.n_logprobs >= 0) {}

AnswerPiece AnswerText::echo(std::span<const int32_t> prompt,
                             size_t n_prefix,
                             std::span<const dsa::PromptToken> logprobs) {
  dsa::StreamDecoder decoder(*tokenizer_);  // special tokens of a prompt are part of it
  AnswerPiece piece;
  std::string text;
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (i < logprobs.size() && logprobs_) {
      const auto& [id, logprob, rank, top] = logprobs[i];
      piece.tokens.push_back(shown_token(id, logprob, n_decoded_, top));
      if (rank == 0) piece.tokens.back().logprob.reset();
    }
    if (i < n_prefix) continue;
    const auto decoded = decoder.push(prompt[i]);
    if (!decoded.ok()) continue;  // a padding row of the vocabulary has no text
    n_decoded_ += count_characters(*decoded);
    text += *decoded;
  }
  const std::string rest = decoder.flush();
  n_decoded_ += count_characters(rest);
  text += rest;
  n_shown_ = n_decoded_;
  if (!text.empty()) piece.parts.push_back({dsa::CompletionPart::Kind::kContent, 0, text});
  return piece;
}

AnswerPiece AnswerText::push(const dsa::TokenEvent& token) {
  if (logprobs_) {
    waiting_.push_back(shown_token(token.id, token.logprob, n_decoded_, token.top_logprobs));
  }
  if (std::find(silent_.begin(), silent_.end(), token.id) != silent_.end()) return take("", false);
  const auto decoded = decoder_.push(token.id);
  if (!decoded.ok()) return take("", false);  // a padding row of the vocabulary has no text
  n_decoded_ += count_characters(*decoded);
  return take(filter_.push(*decoded), false);
}

AnswerPiece AnswerText::finish() {
  std::string rest = filter_.push(decoder_.flush());
  rest += filter_.flush();
  return take(rest, true);
}

// Tokens are shown once their text has begun to be; those of a stop string never are.
AnswerPiece AnswerText::take(const std::string& shown, bool last) {
  AnswerPiece piece;
  n_shown_ += count_characters(shown);
  if (chat_) {
    piece.parts = stream_.push(shown);
    if (last) {
      auto rest = stream_.finish();
      std::move(rest.begin(), rest.end(), std::back_inserter(piece.parts));
    }
    for (const dsa::CompletionPart& part : piece.parts) {
      past_reasoning_ = past_reasoning_ || part.kind != dsa::CompletionPart::Kind::kReasoning;
    }
  } else if (!shown.empty()) {
    piece.parts.push_back({dsa::CompletionPart::Kind::kContent, 0, shown});
  }
  const bool all = last && !filter_.stopped();
  const auto end = std::find_if(waiting_.begin(), waiting_.end(), [&](const ShownToken& token) {
    return !all && token.offset >= n_shown_;
  });
  std::move(waiting_.begin(), end, std::back_inserter(piece.tokens));
  waiting_.erase(waiting_.begin(), end);
  return piece;
}

}  // namespace server
