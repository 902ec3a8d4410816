// dsa logits: the raw outputs of a model for given tokens, for comparison with other programs.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "dsa/engine.h"
#include "dsa/safetensors.h"

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/text.h"
#include "cli/trace.h"

namespace cli {
namespace {

using dsa::ElementType;
using dsa::Result;
using dsa::Status;
using dsa::StatusCode;

struct LogitsOptions {
  ModelOptions model;
  std::string tokens_path;
  std::string out_path;
  int64_t n_prefill = 0;  // 0: all
  bool quiet = false;
  bool json = false;
};

constexpr const char* kFooter =
    "FILE is a safetensors file with `tokens` (i32 [n]), or JSON: [1, 2, 3] or {\"tokens\": "
    "[...]}.\n"
    "OUT gets `logits` (f32 [n, vocabulary]) and for every layer L `topk.L` (i32 [n, k]): the\n"
    "positions each query attended to, ascending, padded with -1. OUT is complete or not there.\n"
    "With --kv-cache f32 --index-cache f32 everything is computed in f32.\n"
    "\n"
    "Examples:\n"
    "  dsa logits -m models/dsa-13m --tokens tokens.json -o out.safetensors\n"
    "  dsa logits -m tests/checkpoints/baby-v32 --tokens "
    "tests/checkpoints/baby-v32/expected_fp32.safetensors \\\n"
    "      --prefill 448 --kv-cache f32 --index-cache f32 -o out.safetensors";

std::string selection_name(int64_t layer) {
  return fmt::format("topk.{}", layer);
}

std::vector<dsa::TensorSpec> output_tensors(const dsa::Engine& engine, int64_t n_tokens) {
  const dsa::ModelConfig& config = engine.model().config();
  const int64_t width = selection_width(engine, n_tokens);
  std::vector<dsa::TensorSpec> out;
  out.push_back({"logits", ElementType::kF32, {n_tokens, config.vocab_size}});
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    out.push_back({selection_name(layer), ElementType::kI32, {n_tokens, width}});
  }
  return out;
}

std::map<std::string, std::string> output_metadata(const LogitsOptions& options,
                                                   const dsa::EngineOptions& engine,
                                                   int64_t n_tokens) {
  return {{"prefill", std::to_string(options.n_prefill)},
          {"decode", std::to_string(n_tokens - options.n_prefill)},
          {"attention", attention_name(engine.attention)},
          {"kv_cache", cache_format_name(engine.kv_cache)},
          {"index_cache", cache_format_name(engine.index_cache)}};
}

Status write_outputs(const LogitsOptions& options,
                     std::span<const int32_t> tokens,
                     dsa::Engine& engine) {
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  auto writer =
      dsa::SafetensorsWriter::create(options.out_path, output_tensors(engine, n_tokens),
                                     output_metadata(options, engine.options(), n_tokens));
  if (!writer.ok()) return writer.status();
  Trace trace;
  trace.tokens = tokens;
  trace.n_prefill = options.n_prefill;
  trace.quiet = options.quiet;
  trace.logits = [&writer](int64_t, std::span<const float> row) {
    return writer->append("logits", row);
  };
  trace.selection = [&writer](int64_t layer, int64_t, std::span<const int32_t> row) {
    return writer->append(selection_name(layer), row);
  };
  if (auto status = run_trace(engine, trace); !status.ok()) return status;
  if (interrupted()) {
    return Status(StatusCode::kCancelled, options.out_path + ": not written, stopped by Ctrl-C");
  }
  return writer->commit();
}

void report(const LogitsOptions& options, const dsa::Engine& engine, int64_t n_tokens, double s) {
  const int64_t vocab = engine.model().config().vocab_size;
  if (options.json) {
    print_json({{"output", options.out_path},
                {"tokens", n_tokens},
                {"prefill", options.n_prefill},
                {"vocab_size", vocab},
                {"layers", engine.model().config().n_layers},
                {"selection_width", selection_width(engine, n_tokens)},
                {"attention", attention_name(engine.options().attention)},
                {"seconds", s}});
  } else if (!options.quiet) {
    note(fmt::format("{}: logits of {} tokens in {}, {} tokens/s; {}", options.out_path,
                     group_digits(n_tokens), format_seconds(s), format_rate(n_tokens, s),
                     attention_summary(engine.options().attention, n_tokens)));
  }
}

Status run_logits(LogitsOptions options) {
  auto model = open_model(options.model.dir, options.model.config);
  if (!model.ok()) return model.status();
  auto tokens = read_tokens(options.tokens_path);
  if (!tokens.ok()) return tokens.status();
  const auto n_tokens = static_cast<int64_t>(tokens->size());
  if (options.n_prefill == 0) options.n_prefill = n_tokens;
  if (options.n_prefill > n_tokens) {
    throw UsageError("--prefill",
                     fmt::format("{}, want at most the {} tokens of {}", options.n_prefill,
                                 n_tokens, input_name(options.tokens_path)));
  }
  if (!options.quiet) warn_of_long_context("dsa logits", **model, n_tokens);
  auto engine = make_engine(*model, options.model, n_tokens);
  if (!engine.ok()) return engine.status();
  const auto start = std::chrono::steady_clock::now();
  if (auto status = write_outputs(options, *tokens, **engine); !status.ok()) return status;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  report(options, **engine, n_tokens, elapsed.count());
  return Status();
}

}  // namespace

Action add_logits(App& app) {
  auto options = std::make_shared<LogitsOptions>();
  app.add_option("-m,--model", options->model.dir, "Checkpoint directory")
      .type_name("DIR")
      .required();
  app.add_option("--tokens", options->tokens_path, "File with the token ids")
      .type_name("FILE")
      .required();
  app.add_option("-o,--output", options->out_path, "File to write (safetensors)")
      .type_name("OUT")
      .required();
  app.add_option("--prefill", options->n_prefill,
                 "Prefill the first P tokens, decode the others one by one (default: all)")
      .type_name("P")
      .check(whole_number(1));
  add_model_options(app, options->model);
  app.add_flag("-q,--quiet", options->quiet, "Print only errors");
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options] { return run_logits(*options); };
}

}  // namespace cli
