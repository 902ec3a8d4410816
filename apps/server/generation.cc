#include "server/generation.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace server {
namespace {

using dsa::FinishReason;

constexpr uint64_t kSeedStep = 0x9E3779B97F4A7C15U;  // between the choices of one request

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

ApiError error_of(const dsa::GenerateResult& result, const dsa::Status& grammar_failure) {
  ApiError error;
  if (!grammar_failure.ok()) {
    error.message = "the text cannot be held to the format asked for: " + grammar_failure.message();
    error.param = "response_format";
    return error;
  }
  error.type = "server_error";
  switch (result.reason) {
    case FinishReason::kDeadline:
      error.status = 504;
      error.code = "timeout";
      error.message = "the request's time was over before its answer was complete";
      return error;
    case FinishReason::kCancelled:
      error.status = 503;
      error.code = "shutting_down";
      error.message = "the server is shutting down";
      return error;
    default:
      break;
  }
  if (result.error.code() == dsa::StatusCode::kResourceExhausted) return api_error(result.error);
  error.status = 500;  // the request was checked before it ran
  error.message = result.error.message();
  return error;
}

dsa::LogitsFilter filter_of(dsa::GrammarMatcher& matcher, dsa::Status* failure) {
  const auto note = [failure](const dsa::Status& status) {
    if (failure->ok()) *failure = status;
  };
  return {[&matcher, note](std::span<float> logits) { note(matcher.mask(logits)); },
          [&matcher, note](int32_t token) { note(matcher.accept(token)); }};
}

Generation::Generation(const GenerationContext& context,
                       ApiRequest request,
                       std::shared_ptr<Exchange> exchange,
                       std::string id,
                       Report report)
    : context_(context),
      request_(std::move(request)),
      exchange_(std::move(exchange)),
      report_(std::move(report)),
      arrived_(std::chrono::steady_clock::now()) {
  ++context_.metrics->active_requests;
  head_.chat = request_.chat;
  head_.id = std::move(id);
  head_.created = std::chrono::duration_cast<std::chrono::seconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count();
  head_.model = context_.model;
  head_.usage_follows = request_.include_usage;
  choices_.resize(request_.prompts.size() * static_cast<size_t>(request_.n));
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    choice.prompt = i / static_cast<size_t>(request_.n);
    choice.in_reasoning = request_.format.thinking;
    choice.text = std::make_unique<AnswerText>(*context_.model->tokenizer, request_);
    if (request_.grammar) {
      choice.matcher =
          std::make_unique<dsa::GrammarMatcher>(*request_.grammar, context_.model->grammar_tokens);
    }
  }
}

Generation::~Generation() {
  --context_.metrics->active_requests;
}

void Generation::start() {
  const auto self = shared_from_this();
  n_open_ = choices_.size();
  exchange_->on_gone([weak = weak_from_this()] {
    if (const auto generation = weak.lock()) generation->cancel();
  });
  for (size_t i = 0; i < choices_.size(); ++i) {
    auto id = context_.scheduler->submit(sequence(i));
    if (!id.ok()) return refuse(i, id.status());
    bool late = false;
    {
      const std::lock_guard lock(mutex_);
      ids_.push_back(*id);
      late = cancelled_;
    }
    if (late) context_.scheduler->cancel(*id);
  }
  if (request_.stream) open_stream();
}

dsa::GenerateRequest Generation::sequence(size_t index) {
  Choice& choice = choices_[index];
  dsa::GenerateRequest out;
  out.prompt = request_.prompts[choice.prompt];
  out.max_tokens = request_.max_tokens.value_or(std::numeric_limits<int32_t>::max());
  out.sampler = request_.sampler;
  out.sampler.seed += kSeedStep * index;
  out.stop_tokens = request_.end_ids;
  out.n_logprobs = request_.n_logprobs;
  out.use_prefix_cache = request_.use_prefix_cache;
  out.cache_salt = request_.cache_salt;
  out.timeout = context_.timeout;
  if (choice.matcher) out.logits_filter = filter_of(*choice.matcher, &choice.grammar_failure);
  if (request_.min_tokens > 0) {  // there is no matcher then
    out.logits_filter.filter = [this, &choice](std::span<float> logits) {
      if (choice.n_tokens >= request_.min_tokens) return;
      for (const int32_t id : request_.end_ids)
        logits[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
    };
  }
  const int32_t echoed = request_.echo ? request_.n_logprobs : -1;
  out.n_prompt_logprobs = std::max(echoed, request_.n_prompt_logprobs);
  const auto self = shared_from_this();
  out.on_prompt = [self, index](std::span<const dsa::PromptToken> tokens) {
    self->on_prompt(index, tokens);
  };
  out.on_token = [self, index](const dsa::TokenEvent& token) {
    return self->on_token(index, token);
  };
  out.on_done = [self, index](const dsa::GenerateResult& result) { self->on_done(index, result); };
  return out;
}

void Generation::time_token(Choice& choice) {
  const auto now = std::chrono::steady_clock::now();
  if (choice.n_tokens == 0) {
    const double seconds = seconds_since(arrived_);
    context_.metrics->first_token_seconds.observe(seconds);
    if (first_token_seconds_ == 0) first_token_seconds_ = seconds;
  } else {
    const std::chrono::duration<double> since = now - choice.last_token;
    context_.metrics->inter_token_seconds.observe(since.count());
  }
  choice.last_token = now;
  ++choice.n_tokens;
}

void Generation::on_prompt(size_t index, std::span<const dsa::PromptToken> tokens) {
  Choice& choice = choices_[index];
  if (request_.n_prompt_logprobs >= 0) {
    choice.whole.prompt_logprobs = prompt_logprobs_json(
        *context_.model, tokens, static_cast<size_t>(request_.n_prompt_logprobs));
  }
  if (!request_.echo) return;
  std::vector<dsa::PromptToken> echoed(tokens.begin(), tokens.end());
  for (dsa::PromptToken& token : echoed)
    token.top.resize(
        std::min(token.top.size(), static_cast<size_t>(std::max(request_.n_logprobs, 0))));
  deliver(index, choice.text->echo(request_.prompts[choice.prompt], request_.n_prefix, echoed));
}

bool Generation::on_token(size_t index, const dsa::TokenEvent& token) {
  Choice& choice = choices_[index];
  time_token(choice);
  if (exchange_->gone()) return false;
  AnswerPiece piece = choice.text->push(token);
  if (choice.in_reasoning) {
    ++choice.n_reasoning_tokens;
    choice.in_reasoning = !choice.text->past_reasoning();
  }
  deliver(index, std::move(piece));
  const bool grammar_ends = choice.matcher && choice.matcher->must_end();
  return !choice.text->stopped() && !grammar_ends;
}

void Generation::deliver(size_t index, AnswerPiece piece) {
  Choice& choice = choices_[index];
  if (!request_.stream) return choice.whole.add(std::move(piece));
  if (piece.empty()) return;
  const bool logprobs = request_.n_logprobs >= 0;
  for (const Json& chunk :
       piece_chunks(head_, static_cast<int64_t>(index), piece, !choice.begun, logprobs)) {
    send(chunk);
  }
  choice.begun = true;
}

// Of what there is so far.
Json Generation::usage_now() const {
  int64_t prompt = 0;
  int64_t completion = 0;
  for (const std::vector<int32_t>& ids : request_.prompts)
    prompt += static_cast<int64_t>(ids.size());
  for (const Choice& choice : choices_)
    completion += choice.n_tokens;
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion}};
}

// As soon as the request is accepted: until its prompt is read, clients see that it is.
void Generation::open_stream() {
  const std::lock_guard lock(stream_mutex_);
  if (streaming_ || complete_) return;
  exchange_->start_stream();
  streaming_ = true;
}

bool Generation::send(Json chunk) {
  if (request_.continuous_usage && chunk["usage"].is_null()) chunk["usage"] = usage_now();
  open_stream();
  return exchange_->write("data: " + dump(chunk) + "\n\n");
}

void Generation::on_done(size_t index, const dsa::GenerateResult& result) {
  Choice& choice = choices_[index];
  choice.result = result;
  choice.done = true;
  const bool whole = result.reason == FinishReason::kStop || result.reason == FinishReason::kLength;
  if (whole && !exchange_->gone()) {
    deliver(index, choice.text->finish());
    const std::string reason = finish_reason(choice);
    choice.whole.finish_reason = reason;
    if (request_.stream && !choice.begun) {  // an empty answer: the role alone
      for (const Json& chunk : piece_chunks(head_, static_cast<int64_t>(index), {}, true, false))
        send(chunk);
    }
    if (request_.stream) send(last_chunk(head_, static_cast<int64_t>(index), reason));
  }
  finish_choices(1);
}

void Generation::finish_choices(size_t n) {
  {
    const std::lock_guard lock(mutex_);
    n_open_ -= n;
    if (n_open_ > 0) return;
  }
  complete();
}

// The choices from `first` on never ran; those before it end by being cancelled.
void Generation::refuse(size_t first, const dsa::Status& status) {
  cancel();
  {
    const std::lock_guard lock(mutex_);
    refused_ = api_error(status);
  }
  finish_choices(choices_.size() - first);
}

std::string Generation::finish_reason(const Choice& choice) const {
  if (choice.result.reason == FinishReason::kLength) return "length";
  return choice.text->has_calls() ? "tool_calls" : "stop";
}

void Generation::cancel() {
  std::vector<dsa::RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    ids = ids_;
  }
  for (const dsa::RequestId id : ids)
    context_.scheduler->cancel(id);
}

Usage Generation::usage() const {
  Usage out;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const Choice& choice = choices_[i];
    out.completion_tokens += choice.result.n_generated_tokens;
    out.reasoning_tokens += choice.n_reasoning_tokens;
    if (i % static_cast<size_t>(request_.n) != 0) continue;  // a prompt counts once
    out.prompt_tokens += choice.result.n_prompt_tokens;
    out.cache_hit_tokens += choice.result.prompt_cache_hit_tokens;
    out.cache_miss_tokens += choice.result.prompt_cache_miss_tokens;
  }
  return out;
}

// Every choice has ended.
void Generation::complete() {
  {
    const std::lock_guard lock(stream_mutex_);
    complete_ = true;
  }
  const auto failed = std::find_if(choices_.begin(), choices_.end(), [](const Choice& choice) {
    return choice.done && choice.result.reason != FinishReason::kStop &&
           choice.result.reason != FinishReason::kLength;
  });
  if (refused_) {
    fail(*refused_);
  } else if (exchange_->gone()) {
    outcome_ = "client gone";
    status_ = kClientGone;
    if (streaming_) {
      exchange_->finish(true);
    } else {
      HttpResponse unread;
      unread.status = kClientGone;
      exchange_->respond(std::move(unread));
    }
  } else if (failed != choices_.end()) {
    fail(error_of(failed->result, failed->grammar_failure));
  } else {
    answer();
  }
  GenerationReport report;
  report.id = head_.id;
  report.chat = request_.chat;
  report.stream = request_.stream;
  report.n_choices = static_cast<int64_t>(choices_.size());
  report.usage = usage();
  report.first_token_seconds = first_token_seconds_;
  report.total_seconds = seconds_since(arrived_);
  report.queue_seconds = choices_[0].result.queue_seconds;
  report.outcome = outcome_;
  report.status = status_;
  report_(report);
}

void Generation::answer() {
  outcome_ = choices_[0].whole.finish_reason;
  if (request_.stream) {
    if (request_.include_usage) send(usage_chunk(head_, usage()));
    exchange_->write("data: [DONE]\n\n");
    exchange_->finish();
    return;
  }
  std::vector<WholeChoice> whole;
  for (Choice& choice : choices_)
    whole.push_back(std::move(choice.whole));
  HttpResponse response;
  response.body = dump(whole_answer(head_, whole, request_.n_logprobs >= 0, usage()));
  exchange_->respond(std::move(response));
}

void Generation::fail(const ApiError& error) {
  outcome_ = error.code.empty() ? "error" : error.code;
  status_ = error.status;
  if (!streaming_) return exchange_->respond(error_response(error));
  exchange_->write("data: " + error_json(error) + "\n\n");
  exchange_->finish(true);
}

}  // namespace server
