#include "cli/verify_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "dsa/engine.h"
#include "dsa/safetensors.h"

#include "cli/command_line.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/text.h"
#include "cli/trace.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;
using dsa::StatusCode;

constexpr double kFloatTolerance = 5e-4;       // of |difference| of logits
constexpr double kQuantisedMedian = 0.02;      // of |difference| of logits
constexpr double kQuantisedSelections = 0.85;  // share of rows with the same selection

struct Expected {
  std::vector<int32_t> tokens;
  dsa::TensorValues<float> logits;                    // [n, vocab]
  std::vector<dsa::TensorValues<int32_t>> selection;  // [layer] [n, k]
};

bool all_float(const ModelOptions& options) {
  return options.kv_cache == dsa::CacheFormat::kF32 &&
         options.index_cache == dsa::CacheFormat::kF32;
}

Status check_shape(const std::string& what,
                   const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& wanted) {
  if (shape == wanted) return {};
  return Status(StatusCode::kCorruption,
                fmt::format("{}: shape {}, want {}", what, shape_text(shape), shape_text(wanted)));
}

Result<Expected> read_expected(const std::string& path, const dsa::Engine& engine) {
  const dsa::ModelConfig& config = engine.model().config();
  Expected out;
  auto tokens = dsa::read_i32(path, "tokens");
  if (!tokens.ok()) return tokens.status();
  out.tokens = std::move(tokens->values);
  const auto n = static_cast<int64_t>(out.tokens.size());
  auto logits = dsa::read_f32(path, "logits");
  if (!logits.ok()) return logits.status();
  if (auto status = check_shape(path + ": logits", logits->shape, {n, config.vocab_size});
      !status.ok()) {
    return status;
  }
  out.logits = std::move(*logits);
  const int64_t width = selection_width(engine, n);
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const std::string name = fmt::format("topk.{}", layer);
    auto rows = dsa::read_i32(path, name);
    if (!rows.ok()) return rows.status();
    if (auto status = check_shape(path + ": " + name, rows->shape, {n, width}); !status.ok()) {
      return status;
    }
    out.selection.push_back(std::move(*rows));
  }
  return out;
}

struct Comparison {
  double largest = 0;  // |difference| of logits; NaN counts as infinite
  std::vector<float> differences;
  int64_t n_rows = 0;  // selections: rows times layers
  int64_t n_same = 0;
  std::string first_other;  // the first selection that differs, for people

  double share() const { return static_cast<double>(n_same) / static_cast<double>(n_rows); }
  double median() {
    const auto middle = differences.begin() + static_cast<std::ptrdiff_t>(differences.size() / 2);
    std::nth_element(differences.begin(), middle, differences.end());
    return static_cast<double>(*middle);
  }
};

void compare_logits(std::span<const float> row, const float* wanted, Comparison& out) {
  for (size_t i = 0; i < row.size(); ++i) {
    const float difference = std::fabs(row[i] - wanted[i]);
    const bool number = difference <= std::numeric_limits<float>::max();
    out.differences.push_back(number ? difference : std::numeric_limits<float>::infinity());
    out.largest = std::max(out.largest, static_cast<double>(out.differences.back()));
  }
}

Result<Comparison> compare(dsa::Engine& engine, const Expected& expected, int64_t n_prefill) {
  Comparison out;
  Trace trace;
  trace.tokens = expected.tokens;
  trace.n_prefill = n_prefill;
  trace.logits = [&](int64_t position, std::span<const float> row) {
    compare_logits(row, expected.logits.values.data() + static_cast<size_t>(position) * row.size(),
                   out);
    return Status();
  };
  trace.selection = [&](int64_t layer, int64_t position, std::span<const int32_t> row) {
    const auto& wanted = expected.selection[static_cast<size_t>(layer)].values;
    const auto* begin = wanted.data() + static_cast<size_t>(position) * row.size();
    const bool same = std::equal(row.begin(), row.end(), begin);
    ++out.n_rows;
    out.n_same += same ? 1 : 0;
    if (!same && out.first_other.empty()) {
      out.first_other = fmt::format("layer {}, position {}", layer, position);
    }
    return Status();
  };
  if (auto status = run_trace(engine, trace); !status.ok()) return status;
  return out;
}

struct Verdict {
  bool exact = false;  // everything was computed in float
  double largest = 0;
  double median = 0;
  double share = 0;
  bool passed = false;
};

Verdict judge(const VerifyOptions& options, Comparison& found) {
  Verdict out;
  out.exact = all_float(options.model);
  out.largest = found.largest;
  out.median = found.median();
  out.share = found.share();
  out.passed = out.exact ? found.largest <= options.tolerance.value_or(kFloatTolerance) &&
                               found.n_same == found.n_rows
                         : out.median <= kQuantisedMedian && out.share >= kQuantisedSelections;
  return out;
}

void report(const VerifyOptions& options,
            const Comparison& found,
            const Verdict& verdict,
            int64_t n_tokens) {
  if (options.json) {
    print_json({{"model", options.model.dir},
                {"expected", options.expected},
                {"tokens", n_tokens},
                {"exact", verdict.exact},
                {"largest_difference", verdict.largest},
                {"median_difference", verdict.median},
                {"same_selections", found.n_same},
                {"selections", found.n_rows},
                {"passed", verdict.passed}});
    return;
  }
  const std::string largest_bound =
      verdict.exact
          ? fmt::format("  want at most {:.1e}", options.tolerance.value_or(kFloatTolerance))
          : "";
  const std::string median_bound =
      verdict.exact ? "" : fmt::format("  want at most {}", kQuantisedMedian);
  const std::string same_bound =
      verdict.exact ? "  want all" : fmt::format("  want {:.0f} %", 100 * kQuantisedSelections);
  print(fmt::format("tokens       {}\n", group_digits(n_tokens)));
  print(fmt::format("logits       largest difference {:.2e}{}\n", verdict.largest, largest_bound));
  print(fmt::format("             median difference  {:.2e}{}\n", verdict.median, median_bound));
  print(fmt::format("selections   {} of {} rows the same, {:.2f} %{}\n", group_digits(found.n_same),
                    group_digits(found.n_rows), 100 * verdict.share, same_bound));
  if (!found.first_other.empty()) {
    print(fmt::format("             the first other one: {}\n", found.first_other));
  }
  print(verdict.passed ? "passed\n" : "FAILED\n");
}

}  // namespace

Status verify_checkpoint(const VerifyOptions& options) {
  if (options.tolerance && !all_float(options.model)) {
    throw UsageError("--tolerance", "has no effect, want both caches in f32 with it");
  }
  auto model = open_model(options.model.dir, options.model.config);
  if (!model.ok()) return model.status();
  auto tokens = read_tokens(options.expected);
  if (!tokens.ok()) return tokens.status();
  const auto n_tokens = static_cast<int64_t>(tokens->size());
  auto engine = make_engine(*model, options.model, n_tokens);
  if (!engine.ok()) return engine.status();
  auto expected = read_expected(options.expected, **engine);
  if (!expected.ok()) return expected.status();
  const int64_t n_prefill =
      options.n_prefill > 0 ? std::min(options.n_prefill, n_tokens) : n_tokens - n_tokens / 8;
  auto found = compare(**engine, *expected, n_prefill);
  if (!found.ok()) return found.status();
  if (interrupted()) return Status(StatusCode::kCancelled, "stopped by Ctrl-C, nothing verified");
  const Verdict verdict = judge(options, *found);
  report(options, *found, verdict, n_tokens);
  if (verdict.passed) return {};
  return Status(StatusCode::kCorruption,
                fmt::format("{}: outputs differ from {}", options.model.dir, options.expected));
}

}  // namespace cli
