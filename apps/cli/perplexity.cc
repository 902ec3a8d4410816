// dsa perplexity: the mean loss of a model on a text, in windows.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "dsa/engine.h"
#include "dsa/forward.h"

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/loading.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;
using dsa::StatusCode;

constexpr int64_t kDefaultContext = 4096;

constexpr const char* kFooter =
    "A window of --ctx tokens starts every --stride tokens and is computed independently of the\n"
    "others. All its tokens but the first are scored; with a stride below --ctx, windows after "
    "the\n"
    "first score only their last --stride tokens. A partial window at the end is skipped unless "
    "it\n"
    "is the only one. The text is tokenized as plain text: no begin-of-sentence token is added, "
    "and\n"
    "special tokens spelled out in it are not recognised.\n"
    "\n"
    "Examples:\n"
    "  dsa perplexity -m models/dsa-13m -f models/dsa-13m/heldout.txt --ctx 1024\n"
    "  dsa perplexity -m models/dsa-13m -f models/dsa-13m/heldout.txt --attention window:64\n"
    "  dsa perplexity -m DIR -f text.txt --ctx 4096 --stride 2048 --top-k-tokens 512 --json";

struct PerplexityOptions {
  ModelOptions model;
  std::string file;
  int64_t ctx = 0;          // 0: the model's, at most kDefaultContext
  int64_t stride = 0;       // 0: ctx
  int64_t max_windows = 0;  // 0: all
  bool quiet = false;
  bool json = false;
};

struct Window {
  size_t begin = 0;
  size_t n_tokens = 0;
  size_t first_scored = 1;  // within the window; every token from here on is predicted
};

struct Score {
  double nats = 0;
  int64_t n_tokens = 0;
  int64_t n_bytes = 0;
  int64_t n_windows = 0;
  double seconds = 0;
  int64_t n_computed = 0;  // tokens put through the model

  double loss() const { return nats / static_cast<double>(n_tokens); }
  double bits_per_byte() const { return nats / std::log(2.0) / static_cast<double>(n_bytes); }
};

// ctx <= n_tokens
std::vector<Window> make_windows(size_t n_tokens, size_t ctx, size_t stride) {
  std::vector<Window> windows;
  for (size_t begin = 0; begin + ctx <= n_tokens; begin += stride) {
    const size_t first = begin == 0 ? 1 : std::max<size_t>(ctx - stride, 1);
    windows.push_back({begin, ctx, first});
  }
  return windows;
}

// -log softmax(logits)[token], in double.
double negative_log_probability(std::span<const float> logits, int32_t token) {
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits)
    sum += std::exp(static_cast<double>(logit) - largest);
  return std::log(sum) + largest - static_cast<double>(logits[static_cast<size_t>(token)]);
}

class Scorer {
 public:
  Scorer(dsa::Engine& engine, const dsa::Tokenizer& tokenizer, std::span<const int32_t> tokens)
      : engine_(&engine), tokenizer_(&tokenizer), tokens_(tokens) {}

  // Ends early and well when Ctrl-C is pressed.
  Result<Score> run(const std::vector<Window>& windows, bool quiet) {
    int64_t n_total = 0;
    for (const Window& window : windows)
      n_total += static_cast<int64_t>(window.n_tokens);
    Progress progress("measuring", n_total, quiet);
    for (const Window& window : windows) {
      if (auto status = add(window, progress); !status.ok()) return status;
      if (interrupted()) break;
    }
    score_.seconds = progress.seconds();
    return score_;
  }

 private:
  Status add(const Window& window, Progress& progress) {
    auto sequence = engine_->create_sequence();
    if (!sequence.ok()) return sequence.status();
    const auto tokens = tokens_.subspan(window.begin, window.n_tokens);
    dsa::ForwardHooks hooks;
    hooks.logits = [this, tokens, &window](const dsa::LogitsRow& row) {
      const auto next = static_cast<size_t>(row.position) + 1;
      if (next < tokens.size() && next >= window.first_scored) add(row.logits, tokens[next]);
    };
    const auto status = engine_->prefill(*sequence, tokens, hooks, dsa::RowsWanted::kAll,
                                         [this, &progress](int64_t done, int64_t) {
                                           progress.update(score_.n_computed + done);
                                           return !interrupted();
                                         });
    if (!status.ok()) return status;
    score_.n_computed += static_cast<int64_t>(tokens.size());
    ++score_.n_windows;
    return engine_->release_sequence(*sequence);
  }

  void add(std::span<const float> logits, int32_t token) {
    score_.nats += negative_log_probability(logits, token);
    score_.n_bytes += static_cast<int64_t>(tokenizer_->token_text(token).size());
    ++score_.n_tokens;
  }

  dsa::Engine* engine_;
  const dsa::Tokenizer* tokenizer_;
  std::span<const int32_t> tokens_;
  Score score_;
};

void report(const PerplexityOptions& options,
            const dsa::EngineOptions& engine,
            const Score& score) {
  if (options.json) {
    print_json({{"loss", score.loss()},
                {"perplexity", std::exp(score.loss())},
                {"bits_per_byte", score.bits_per_byte()},
                {"windows", score.n_windows},
                {"scored_tokens", score.n_tokens},
                {"scored_bytes", score.n_bytes},
                {"ctx", options.ctx},
                {"stride", options.stride},
                {"attention", attention_name(engine.attention)},
                {"top_k", engine.attention.top_k},
                {"kv_cache", cache_format_name(engine.kv_cache)},
                {"index_cache", cache_format_name(engine.index_cache)},
                {"seconds", score.seconds},
                {"tokens_per_second", static_cast<double>(score.n_computed) / score.seconds}});
    return;
  }
  print(fmt::format("loss           {:.4f} nats per token\n", score.loss()));
  print(fmt::format("perplexity     {:.3f}\n", std::exp(score.loss())));
  print(fmt::format("bits per byte  {:.4f}\n", score.bits_per_byte()));
  print(fmt::format("windows        {} of {} tokens, one every {}; {} tokens scored\n",
                    group_digits(score.n_windows), group_digits(options.ctx),
                    group_digits(options.stride), group_digits(score.n_tokens)));
  print(fmt::format("attention      {}\n", attention_summary(engine.attention, options.ctx)));
  print(fmt::format("speed          {} tokens/s, {}\n",
                    format_rate(score.n_computed, score.seconds), format_seconds(score.seconds)));
}

void resolve_windows(PerplexityOptions& options, int64_t max_position) {
  if (options.ctx == 0) options.ctx = std::min(max_position, kDefaultContext);
  if (options.stride == 0) options.stride = options.ctx;
  if (options.stride > options.ctx) {
    throw UsageError("--stride", fmt::format("{}, want at most --ctx, which is {}", options.stride,
                                             options.ctx));
  }
}

Result<std::vector<int32_t>> read_text(const PerplexityOptions& options, const TextModel& model) {
  auto text = read_input(options.file);
  if (!text.ok()) return text.status();
  auto tokens = model.tokenizer.encode(*text, false);
  if (!tokens.ok()) return tokens;
  const auto n_tokens = static_cast<int64_t>(tokens->size());
  if (n_tokens < 2) {
    return Status(StatusCode::kInvalidArgument, fmt::format("{}: {} tokens, want at least 2",
                                                            input_name(options.file), n_tokens));
  }
  return tokens;
}

Status run_perplexity(PerplexityOptions options) {
  auto text = load_text_model(options.model.dir, options.model.config);
  if (!text.ok()) return text.status();
  resolve_windows(options, text->model->config().max_position);
  auto tokens = read_text(options, *text);
  if (!tokens.ok()) return tokens.status();
  options.ctx = std::min(options.ctx, static_cast<int64_t>(tokens->size()));
  auto windows = make_windows(tokens->size(), static_cast<size_t>(options.ctx),
                              static_cast<size_t>(options.stride));
  if (options.max_windows > 0) {
    windows.resize(std::min(windows.size(), static_cast<size_t>(options.max_windows)));
  }
  if (!options.quiet) warn_of_long_context("dsa perplexity", *text->model, options.ctx);
  auto engine = make_engine(text->model, options.model, options.ctx);
  if (!engine.ok()) return engine.status();
  auto score = Scorer(**engine, text->tokenizer, *tokens).run(windows, options.quiet);
  if (!score.ok()) return score.status();
  if (interrupted()) return Status(StatusCode::kCancelled, "stopped by Ctrl-C, nothing measured");
  report(options, (*engine)->options(), *score);
  return Status();
}

}  // namespace

Action add_perplexity(App& app) {
  auto options = std::make_shared<PerplexityOptions>();
  app.add_option("-m,--model", options->model.dir, "Checkpoint directory")
      .type_name("DIR")
      .required();
  app.add_option("-f,--file", options->file, "File with the text; -: standard input")
      .type_name("FILE")
      .required();
  app.add_option("--ctx", options->ctx,
                 fmt::format("Tokens of a window (default: the model's context, at most {})",
                             group_digits(kDefaultContext)))
      .type_name("N")
      .check(whole_number(2));
  app.add_option("--stride", options->stride, "Tokens from window to window (default: --ctx)")
      .type_name("S")
      .check(whole_number(1));
  app.add_option("--max-windows", options->max_windows,
                 "Measure the first N windows (default: all)")
      .type_name("N")
      .check(whole_number(1));
  add_model_options(app, options->model);
  app.add_flag("-q,--quiet", options->quiet, "Show no progress");
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options] { return run_perplexity(*options); };
}

}  // namespace cli
