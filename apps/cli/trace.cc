#include "cli/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "dsa/forward.h"
#include "dsa/safetensors.h"

#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/progress.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;
using dsa::StatusCode;

// Whether the file begins as safetensors do: with a length in eight bytes whose last is zero, which
// no JSON text has. Only regular files are looked into: what is read from a pipe is gone.
bool is_safetensors(const std::string& path) {
  std::error_code ignored;
  if (path == "-" || !std::filesystem::is_regular_file(path, ignored)) return false;
  std::array<char, 8> length{};
  std::ifstream file(path, std::ios::binary);
  return file.read(length.data(), length.size()) && length.back() == 0;
}

Result<std::vector<int32_t>> tokens_of_safetensors(const std::string& path) {
  auto stored = dsa::read_i32(path, "tokens");
  if (!stored.ok()) return stored.status();
  if (stored->shape.size() == 1) return std::move(stored->values);
  return Status(StatusCode::kCorruption,
                fmt::format("{}: tokens: shape {}, want [n]", path, shape_text(stored->shape)));
}

Result<std::vector<int32_t>> tokens_of_json(const nlohmann::ordered_json& document,
                                            const std::string& name) {
  const bool wrapped = document.is_object() && document.contains("tokens");
  const auto& list = wrapped ? document["tokens"] : document;
  if (!list.is_array()) {
    return Status(StatusCode::kCorruption,
                  name + ": want an array of token ids, or an object with the array \"tokens\"");
  }
  std::vector<int32_t> tokens;
  for (const auto& entry : list) {
    constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
    const bool fits =
        entry.is_number_integer() && entry.get<int64_t>() >= 0 && entry.get<int64_t>() <= kMax;
    if (!fits) {
      return Status(StatusCode::kCorruption, fmt::format("{}: tokens[{}]: {}, want a token id",
                                                         name, tokens.size(), shown(entry)));
    }
    tokens.push_back(entry.get<int32_t>());
  }
  return tokens;
}

Result<std::vector<int32_t>> read_any_tokens(const std::string& path) {
  if (is_safetensors(path)) return tokens_of_safetensors(path);
  auto text = read_input(path);
  if (!text.ok()) return text.status();
  auto document = parse_json(*text, input_name(path));
  if (!document.ok()) return document.status();
  return tokens_of_json(*document, input_name(path));
}

// One run: turns the hooks of the engine into the calls of a Trace, and keeps the first failure.
class Recorder {
 public:
  Recorder(const Trace& trace, int64_t width)
      : trace_(&trace), row_(static_cast<size_t>(width), -1) {}

  dsa::ForwardHooks hooks() {
    dsa::ForwardHooks out;
    out.logits = [this](const dsa::LogitsRow& row) {
      if (status_.ok()) status_ = trace_->logits(row.position, row.logits);
    };
    out.selection = [this](const dsa::SelectionRow& selection) { add(selection); };
    return out;
  }

  const Status& status() const { return status_; }
  bool stopped() const { return !status_.ok() || interrupted(); }

 private:
  void add(const dsa::SelectionRow& selection) {
    if (!status_.ok()) return;
    if (selection.positions.size() > row_.size()) {
      status_ = Status(StatusCode::kUnsupported,
                       fmt::format("selection of layer {}: {} positions, want at most {}",
                                   selection.layer, selection.positions.size(), row_.size()));
      return;
    }
    std::fill(row_.begin(), row_.end(), -1);
    std::copy(selection.positions.begin(), selection.positions.end(), row_.begin());
    status_ = trace_->selection(selection.layer, selection.position, row_);
  }

  const Trace* trace_;
  std::vector<int32_t> row_;
  Status status_;
};

Status decode_rest(dsa::Engine& engine,
                   dsa::SequenceId sequence,
                   const Trace& trace,
                   Recorder& recorder,
                   Progress& progress) {
  const auto hooks = recorder.hooks();
  for (auto i = static_cast<size_t>(trace.n_prefill); i < trace.tokens.size(); ++i) {
    if (recorder.stopped()) break;
    const dsa::Step step{sequence, trace.tokens.subspan(i, 1), dsa::RowsWanted::kLast};
    if (auto status = engine.forward({&step, 1}, hooks); !status.ok()) return status;
    progress.update(static_cast<int64_t>(i) + 1);
  }
  return recorder.status();
}

}  // namespace

Result<std::vector<int32_t>> read_tokens(const std::string& path) {
  auto tokens = read_any_tokens(path);
  if (tokens.ok() && tokens->empty()) {
    return Status(StatusCode::kInvalidArgument,
                  input_name(path) + ": no tokens, want at least one");
  }
  return tokens;
}

int64_t selection_width(const dsa::Engine& engine, int64_t n_tokens) {
  const dsa::AttentionOptions& options = engine.options().attention;
  const int64_t usual = engine.model().config().indexer.top_k;
  switch (options.mode) {
    case dsa::AttentionMode::kDsa:
      return std::min(options.top_k, std::max(n_tokens, usual));
    case dsa::AttentionMode::kWindow:
      return std::min(options.window, std::max(n_tokens, usual));
    case dsa::AttentionMode::kDense:
      break;
  }
  return n_tokens;
}

Status run_trace(dsa::Engine& engine, const Trace& trace) {
  auto sequence = engine.create_sequence();
  if (!sequence.ok()) return sequence.status();
  const auto n_tokens = static_cast<int64_t>(trace.tokens.size());
  Recorder recorder(trace, selection_width(engine, n_tokens));
  Progress progress("computing", n_tokens, trace.quiet);
  const auto status = engine.prefill(
      *sequence, trace.tokens.first(static_cast<size_t>(trace.n_prefill)), recorder.hooks(),
      dsa::RowsWanted::kAll, [&progress, &recorder](int64_t done, int64_t) {
        progress.update(done);
        return !recorder.stopped();
      });
  if (!status.ok()) return status;
  if (auto rest = decode_rest(engine, *sequence, trace, recorder, progress); !rest.ok()) {
    return rest;
  }
  return engine.release_sequence(*sequence);
}

}  // namespace cli
