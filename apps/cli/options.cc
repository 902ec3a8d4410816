#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "cli/engine_options.h"
#include "cli/io.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr const char* kGroup = "Computation";
constexpr int64_t kMostThreads = 1024;
constexpr int64_t kMostChunk = 8192;  // Ctrl-C is noticed between chunks

using dsa::AttentionMode;
using dsa::CacheFormat;

CacheFormat parse_format(const std::string& option, const std::string& text) {
  for (const auto format : {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32}) {
    if (text == cache_format_name(format)) return format;
  }
  throw UsageError(option, fmt::format("\"{}\", want fp8, bf16 or f32", text));
}

void add_format_option(App& app,
                       const std::string& name,
                       const std::string& what,
                       CacheFormat& format) {
  app.add_option_function(
         name, [name, &format](const std::string& text) { format = parse_format(name, text); },
         fmt::format("{} (default {})", what, cache_format_name(format)))
      .type_name("fp8|bf16|f32")
      .group(kGroup);
}

void parse_attention(const std::string& text, dsa::AttentionOptions& options) {
  constexpr std::string_view kWindow = "window:";
  options.window = 0;
  if (text == "dsa") {
    options.mode = AttentionMode::kDsa;
  } else if (text == "dense") {
    options.mode = AttentionMode::kDense;
  } else {
    const char* end = text.data() + text.size();
    const bool window = text.rfind(kWindow, 0) == 0;
    const auto number = window ? std::from_chars(text.data() + kWindow.size(), end, options.window)
                               : std::from_chars_result{end, std::errc::invalid_argument};
    if (number.ec != std::errc() || number.ptr != end || options.window < 1 ||
        options.window > kLargestCount) {
      throw UsageError("--attention",
                       fmt::format("\"{}\", want dsa, dense or window:N with N from 1 to {}", text,
                                   kLargestCount));
    }
    options.mode = AttentionMode::kWindow;
  }
}

// What the parser cannot see: options that contradict each other or the model.
void check_selection(const dsa::AttentionOptions& options, int64_t checkpoint_top_k) {
  struct Given {
    const char* name;
    int64_t value;
  };
  for (const auto& [name, value] :
       {Given{"--top-k-tokens", options.top_k}, Given{"--keep-first", options.keep_first},
        Given{"--keep-recent", options.keep_recent}}) {
    if (value == 0 || options.mode == AttentionMode::kDsa) continue;
    throw UsageError(name, "has no effect, want --attention dsa with it");
  }
  const int64_t budget = options.top_k > 0 ? options.top_k : checkpoint_top_k;
  if (options.keep_first > budget) {
    throw UsageError("--keep-first",
                     fmt::format("{}, want at most the {} tokens selected per query "
                                 "(--top-k-tokens)",
                                 options.keep_first, budget));
  }
  if (options.keep_recent <= budget - options.keep_first) return;
  throw UsageError(
      "--keep-recent",
      fmt::format("{}, want at most {}: of the {} tokens selected per query "
                  "(--top-k-tokens), {} are the first",
                  options.keep_recent, budget - options.keep_first, budget, options.keep_first));
}

}  // namespace

dsa::EngineOptions engine_options(const ModelOptions& options,
                                  int64_t checkpoint_top_k,
                                  int64_t n_tokens) {
  check_selection(options.attention, checkpoint_top_k);
  dsa::EngineOptions engine;
  engine.kv_cache = options.kv_cache;
  engine.index_cache = options.index_cache;
  engine.cache_tokens = n_tokens;
  engine.max_sequences = 1;
  engine.max_batch_tokens = std::min(options.chunk, n_tokens);
  engine.n_threads = options.n_threads;
  engine.attention = options.attention;
  return engine;
}

Check whole_number(int64_t least, int64_t most) {
  return [least, most](const std::string& text) {
    int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    const bool whole = parsed.ec != std::errc::invalid_argument && parsed.ptr == end;
    const bool fits = whole && parsed.ec == std::errc();
    if (fits && value >= least && value <= most) return std::string();
    if (!whole || (fits && value < least)) {
      return fmt::format("\"{}\", want a whole number of at least {}", text, least);
    }
    return fmt::format("{}, want a whole number from {} to {}", text, least, most);
  };
}

void add_cache_options(App& app, CacheFormat& kv_cache, CacheFormat& index_cache) {
  add_format_option(app, "--kv-cache", "Format of the latent cache", kv_cache);
  add_format_option(app, "--index-cache", "Format of the indexer's key cache", index_cache);
}

void add_config_options(App& app, dsa::ConfigOptions& options) {
  app.add_flag("--ignore-unknown-fields", options.ignore_unknown_fields,
               "Run in spite of unknown fields in config.json, and name them: results may be wrong")
      .group(kGroup);
}

void add_model_options(App& app, ModelOptions& options) {
  add_config_options(app, options.config);
  app.add_option("-t,--threads", options.n_threads, "Threads (default: what `dsa cpu` says)")
      .type_name("N")
      .check(whole_number(1, kMostThreads))
      .group(kGroup);
  app.add_option(
         "--chunk", options.chunk,
         fmt::format("Prompt tokens per forward pass of prefill (default {})", options.chunk))
      .type_name("N")
      .check(whole_number(1, kMostChunk))
      .group(kGroup);
  add_cache_options(app, options.kv_cache, options.index_cache);
  app.add_option_function(
         "--attention",
         [&options](const std::string& text) { parse_attention(text, options.attention); },
         "Tokens a query attends to: those its indexer selects, all, or the N most recent (default "
         "dsa)")
      .type_name("dsa|dense|window:N")
      .group(kGroup);
  app.add_option("--top-k-tokens", options.attention.top_k,
                 "Tokens selected per query (default: the checkpoint's index_topk)")
      .type_name("K")
      .check(whole_number(1))
      .group(kGroup);
  app.add_option("--keep-first", options.attention.keep_first,
                 "Always select the first N tokens, as part of the budget (default 0)")
      .type_name("N")
      .check(whole_number(0))
      .group(kGroup);
  app.add_option("--keep-recent", options.attention.keep_recent,
                 "Always select the N most recent tokens, as part of the budget (default 0)")
      .type_name("N")
      .check(whole_number(0))
      .group(kGroup);
}

void add_json_option(App& app, bool& json) {
  app.add_flag("--json", json, "Print one JSON document on standard output");
}

dsa::Result<std::shared_ptr<const dsa::Model>> open_model(const std::string& dir,
                                                          const dsa::ConfigOptions& options) {
  auto model = dsa::Model::open(dir, options);
  if (!model.ok()) return model;
  for (const std::string& field : (*model)->config().ignored_fields)
    note(one_line(field) + ": unknown field, ignored");
  return model;
}

dsa::Result<std::unique_ptr<dsa::Engine>> make_engine(std::shared_ptr<const dsa::Model> model,
                                                      const ModelOptions& options,
                                                      int64_t n_tokens) {
  const dsa::EngineOptions engine =
      engine_options(options, model->config().indexer.top_k, n_tokens);
  return dsa::Engine::create(std::move(model), engine);
}

void warn_of_long_context(const char* command, const dsa::Model& model, int64_t n_tokens) {
  const int64_t max_position = model.config().max_position;
  if (n_tokens <= max_position) return;
  note(fmt::format("{}: warning: a context of {} tokens exceeds the {} the model was made for",
                   command, group_digits(n_tokens), group_digits(max_position)));
}

int64_t attended_tokens(const dsa::AttentionOptions& options, int64_t n_tokens) {
  switch (options.mode) {
    case AttentionMode::kDsa:
      return std::min(options.top_k, n_tokens);
    case AttentionMode::kWindow:
      return std::min(options.window, n_tokens);
    case AttentionMode::kDense:
      break;
  }
  return n_tokens;
}

std::string attention_name(const dsa::AttentionOptions& options) {
  switch (options.mode) {
    case AttentionMode::kDsa:
      return "dsa";
    case AttentionMode::kWindow:
      return fmt::format("window:{}", options.window);
    case AttentionMode::kDense:
      break;
  }
  return "dense";
}

std::string attention_summary(const dsa::AttentionOptions& options, int64_t n_tokens) {
  const std::string attended = group_digits(attended_tokens(options, n_tokens));
  const std::string context = group_digits(n_tokens);
  switch (options.mode) {
    case AttentionMode::kDsa:
      if (n_tokens > options.top_k) {
        return fmt::format("DSA active: {} of {} tokens per query", attended, context);
      }
      return fmt::format("DSA not active: context of {} tokens is within the budget of {}", context,
                         group_digits(options.top_k));
    case AttentionMode::kWindow:
      return fmt::format("sliding window: the most recent {} of {} tokens per query", attended,
                         context);
    case AttentionMode::kDense:
      break;
  }
  return fmt::format("dense: all of {} tokens per query", context);
}

}  // namespace cli
