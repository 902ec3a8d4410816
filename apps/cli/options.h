// Options that run, logits, perplexity and verify share: the model and how it is run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dsa/engine.h"
#include "dsa/forward.h"
#include "dsa/model.h"
#include "dsa/status.h"
#include "dsa/types.h"

#include "cli/command_line.h"

namespace cli {

struct ModelOptions {
  std::string dir;
  dsa::ConfigOptions config;
  int n_threads = 0;
  int64_t chunk = 256;
  dsa::CacheFormat kv_cache = dsa::CacheFormat::kFp8;
  dsa::CacheFormat index_cache = dsa::CacheFormat::kFp8;
  dsa::AttentionOptions attention;
};

// The defaults shown in the help are the values `options` has now.
void add_model_options(App& app, ModelOptions& options);
void add_cache_options(App& app, dsa::CacheFormat& kv_cache, dsa::CacheFormat& index_cache);
void add_config_options(App& app, dsa::ConfigOptions& options);
void add_json_option(App& app, bool& json);

// Of tokens and the like: what an engine can be made for.
inline constexpr int64_t kLargestCount = int64_t{1} << 30;

// Accepts whole numbers in [least, most].
Check whole_number(int64_t least, int64_t most = kLargestCount);

// Model::open(), with a note on standard error about every field that was ignored.
dsa::Result<std::shared_ptr<const dsa::Model>> open_model(const std::string& dir,
                                                          const dsa::ConfigOptions& options);

// An engine for one sequence of n_tokens. Throws UsageError when options contradict each other or
// the model.
dsa::Result<std::unique_ptr<dsa::Engine>> make_engine(std::shared_ptr<const dsa::Model> model,
                                                      const ModelOptions& options,
                                                      int64_t n_tokens);

// A note on standard error when a context of n_tokens is longer than the model's.
// command: e.g. "dsa run"
void warn_of_long_context(const char* command, const dsa::Model& model, int64_t n_tokens);

// "DSA active: 64 of 34,512 tokens per query" and its relatives, for a context of n_tokens.
std::string attention_summary(const dsa::AttentionOptions& options, int64_t n_tokens);

// "dsa", "dense", "window:64"
std::string attention_name(const dsa::AttentionOptions& options);

// Tokens a query attends to at a context of n_tokens.
int64_t attended_tokens(const dsa::AttentionOptions& options, int64_t n_tokens);

}  // namespace cli
