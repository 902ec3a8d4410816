#include "cli/generate.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "dsa/forward.h"

#include "cli/interrupt.h"
#include "cli/progress.h"
#include "text/stop_filter.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;

constexpr size_t kPenaltyTokens = 64;  // the repeat penalty looks this far back

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::kLength:
      return "length";
    case Finish::kEndOfText:
      return "eos";
    case Finish::kStopString:
      return "stop";
    case Finish::kContextFull:
      return "context";
    case Finish::kInterrupted:
      return "interrupted";
  }
  return "?";
}

Generator::Generator(dsa::Engine& engine,
                     const dsa::Tokenizer& tokenizer,
                     dsa::Sampler sampler,
                     Explain* explain)
    : engine_(&engine), tokenizer_(&tokenizer), sampler_(std::move(sampler)), explain_(explain) {}

Result<GeneratedText> Generator::generate(std::span<const int32_t> prompt,
                                          const GenerateOptions& options,
                                          const std::function<void(std::string_view)>& show) {
  if (explain_ != nullptr) explain_->clear();  // positions of a sequence that may be gone
  GeneratedText out;
  out.n_prompt = static_cast<int64_t>(prompt.size());
  const auto start = std::chrono::steady_clock::now();
  if (auto status = prefill(prompt, options.quiet, out); !status.ok()) return status;
  out.prefill_seconds = seconds_since(start);
  if (interrupted()) {
    out.finish = Finish::kInterrupted;
    return out;
  }
  const auto decode_start = std::chrono::steady_clock::now();
  if (auto status = decode(options, show, out); !status.ok()) return status;
  out.decode_seconds = seconds_since(decode_start);
  return out;
}

Status Generator::reuse_or_restart(std::span<const int32_t> prompt) {
  // At least one token must be left to compute, or there would be no logits.
  const bool reusable = sequence_ >= 0 && held_.size() < prompt.size() &&
                        std::equal(held_.begin(), held_.end(), prompt.begin());
  if (reusable) return Status();
  if (sequence_ >= 0) {
    if (auto status = engine_->release_sequence(sequence_); !status.ok()) return status;
  }
  held_.clear();
  sequence_ = -1;
  auto created = engine_->create_sequence();
  if (created.ok()) sequence_ = *created;
  return created.status();
}

Status Generator::prefill(std::span<const int32_t> prompt, bool quiet, GeneratedText& out) {
  if (auto status = reuse_or_restart(prompt); !status.ok()) return status;
  out.n_reused = static_cast<int64_t>(held_.size());
  const auto rest = prompt.subspan(held_.size());
  dsa::ForwardHooks forward_hooks = hooks(out.n_prompt - 1);
  forward_hooks.logits = [this](const dsa::LogitsRow& row) {
    logits_.assign(row.logits.begin(), row.logits.end());
  };
  Progress progress("prefill", static_cast<int64_t>(rest.size()), quiet);
  int64_t n_read = 0;
  const auto status = engine_->prefill(sequence_, rest, forward_hooks, dsa::RowsWanted::kLast,
                                       [&progress, &n_read](int64_t done, int64_t) {
                                         n_read = done;
                                         progress.update(done);
                                         return !interrupted();
                                       });
  if (!status.ok()) return status;
  held_.insert(held_.end(), rest.begin(), rest.begin() + n_read);
  return status;
}

Status Generator::decode(const GenerateOptions& options,
                         const std::function<void(std::string_view)>& show,
                         GeneratedText& out) {
  dsa::StreamDecoder decoder(*tokenizer_);
  text::StopFilter filter(options.stop);
  const auto emit = [&out, &show](const std::string& text) {
    out.text += text;
    if (!text.empty()) show(text);
  };
  out.finish = Finish::kLength;
  while (static_cast<int64_t>(out.ids.size()) < options.max_tokens) {
    auto id = sample();
    if (!id.ok()) return id.status();
    if (contains(options.end_ids, *id)) {
      out.finish = Finish::kEndOfText;
      break;
    }
    out.ids.push_back(*id);
    auto text = decoder.push(*id);
    if (text.ok()) emit(filter.push(*text));  // a padding row of the vocabulary has no text
    if (filter.stopped()) out.finish = Finish::kStopString;
    if (interrupted()) out.finish = Finish::kInterrupted;
    if (out.finish != Finish::kLength) break;
    if (static_cast<int64_t>(out.ids.size()) == options.max_tokens) break;
    if (static_cast<int64_t>(held_.size()) >= options.context) {
      out.finish = Finish::kContextFull;
      break;
    }
    if (auto status = append(*id); !status.ok()) return status;
    ++out.n_decoded;
  }
  emit(filter.push(decoder.flush()));
  emit(filter.flush());
  return Status();
}

Result<int32_t> Generator::sample() {
  const size_t n = std::min(kPenaltyTokens, held_.size());
  return sampler_.sample(logits_, std::span<const int32_t>(held_).last(n));
}

Status Generator::append(int32_t id) {
  auto logits = engine_->decode(sequence_, id, hooks(static_cast<int64_t>(held_.size())));
  if (!logits.ok()) return logits.status();
  held_.push_back(id);
  logits_.assign(logits->begin(), logits->end());
  return Status();
}

dsa::ForwardHooks Generator::hooks(int64_t last_position) {
  dsa::ForwardHooks out;
  if (explain_ == nullptr) return out;
  out.selection_scores = true;
  out.selection = [this, last_position](const dsa::SelectionRow& selection) {
    if (selection.position == last_position) explain_->add(selection);
  };
  return out;
}

}  // namespace cli
