// One request of the completion endpoints on its way through the scheduler: its choices run as
// sequences of their own, their tokens become text and chunks on the engine's thread, and the
// exchange gets the bytes.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dsa/scheduler.h"

#include "server/answer_json.h"
#include "server/answer_text.h"
#include "server/api_request.h"
#include "server/http.h"
#include "server/metrics.h"

namespace server {

// What a generation needs of its server.
struct GenerationContext {
  dsa::Scheduler* scheduler = nullptr;
  const ModelInfo* model = nullptr;
  Metrics* metrics = nullptr;
  std::chrono::milliseconds timeout{0};
};

// For the log: numbers, no text.
struct GenerationReport {
  std::string id;
  bool chat = false;
  bool stream = false;
  int64_t n_choices = 0;
  Usage usage;
  double first_token_seconds = 0;
  double total_seconds = 0;
  double queue_seconds = 0;
  std::string outcome;  // finish reasons, "cancelled", or an error
  int status = 200;
};

// The error of a sequence that did not end well.
ApiError error_of(const dsa::GenerateResult& result, const dsa::Status& grammar_failure);

// Masks with the matcher, which must outlive the sequence. A failure leaves no token, which ends
// the sequence with an error.
// *failure: the first error of the matcher, whose mask forbids everything then.
dsa::LogitsFilter filter_of(dsa::GrammarMatcher& matcher, dsa::Status* failure);

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  using Report = std::function<void(const GenerationReport&)>;

  Generation(const GenerationContext& context,
             ApiRequest request,
             std::shared_ptr<Exchange> exchange,
             std::string id,
             Report report);
  ~Generation();

  // Submits every choice; the exchange is answered later, or now with an error.
  void start();

 private:
  struct Choice {
    std::unique_ptr<AnswerText> text;
    std::unique_ptr<dsa::GrammarMatcher> matcher;
    dsa::Status grammar_failure;
    WholeChoice whole;
    size_t prompt = 0;
    bool begun = false;  // a chunk was sent
    bool done = false;
    int64_t n_tokens = 0;
    int64_t n_reasoning_tokens = 0;
    bool in_reasoning = false;
    std::chrono::steady_clock::time_point last_token;
    dsa::GenerateResult result;
  };

  dsa::GenerateRequest sequence(size_t index);
  void on_prompt(size_t index, std::span<const dsa::PromptToken> tokens);
  bool on_token(size_t index, const dsa::TokenEvent& token);
  void on_done(size_t index, const dsa::GenerateResult& result);
  void deliver(size_t index, AnswerPiece piece);
  void open_stream();
  bool send(Json chunk);
  Json usage_now() const;
  void refuse(size_t first, const dsa::Status& status);
  void finish_choices(size_t n);
  void cancel();
  void complete();
  void answer();
  void fail(const ApiError& error);
  std::string finish_reason(const Choice& choice) const;
  Usage usage() const;
  void time_token(Choice& choice);

  GenerationContext context_;
  ApiRequest request_;
  std::shared_ptr<Exchange> exchange_;
  AnswerHead head_;
  Report report_;
  std::vector<Choice> choices_;
  int status_ = 200;
  std::string outcome_;
  std::chrono::steady_clock::time_point arrived_;
  double first_token_seconds_ = 0;

  std::mutex stream_mutex_;  // of what follows: start() and the engine's thread open the stream
  bool streaming_ = false;   // the head of the stream was sent
  bool complete_ = false;    // nothing is sent any more but by the thread that said so

  std::mutex mutex_;  // of what follows
  size_t n_open_ = 0;
  std::vector<dsa::RequestId> ids_;
  bool cancelled_ = false;
  std::optional<ApiError> refused_;
};

}  // namespace server
