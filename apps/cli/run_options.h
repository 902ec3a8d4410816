// The options of `dsa run`, and what one-shot and chat share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dsa/engine.h"
#include "dsa/sampler.h"
#include "dsa/status.h"

#include "cli/explain.h"
#include "cli/generate.h"
#include "cli/loading.h"
#include "cli/options.h"

namespace cli {

struct SamplingOptions {  // what is not given comes from generation_config.json
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repeat_penalty;
  std::optional<uint64_t> seed;
};

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::optional<std::string> prompt;
  std::optional<std::string> file;
  bool chat = false;
  std::string system;
  bool thinking = false;
  int64_t max_tokens = 0;  // 0: the default of one-shot or chat
  int64_t ctx = 0;         // 0: the default of one-shot or chat
  std::vector<std::string> stop;
  int64_t explain = 0;  // tokens per layer; 0: off
  bool quiet = false;
  bool json = false;
};

// The sampling that was asked for, over these defaults. Throws UsageError when a value is
// out of its range.
dsa::SamplerOptions sampler_options(const SamplingOptions& given,
                                    const dsa::SamplerOptions& defaults);

// A model ready to generate within `context` tokens.
struct Runner {
  TextModel text;
  dsa::SamplerOptions sampling;
  std::vector<int32_t> end_ids;  // tokens that end the text
  int64_t context = 0;
  double load_seconds = 0;
  std::unique_ptr<dsa::Engine> engine;
  std::unique_ptr<Explain> explain;      // null without --explain
  std::unique_ptr<Generator> generator;  // points into the members above
};

GenerateOptions generate_options(const RunOptions& options, const Runner& runner);

// Completes a runner whose text, sampling, end_ids and context are set.
dsa::Status start_engine(const RunOptions& options, Runner& runner);

// --chat: a conversation over standard input.
dsa::Status chat(const RunOptions& options, Runner& runner);

}  // namespace cli
