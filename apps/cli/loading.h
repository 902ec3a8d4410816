// Opening what a command needs of a checkpoint directory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/model.h"
#include "dsa/sampler.h"
#include "dsa/status.h"
#include "dsa/tokenizer.h"

namespace cli {

struct TextModel {
  std::shared_ptr<const dsa::Model> model;
  dsa::Tokenizer tokenizer;
  // What goes before a plain prompt: the post-processor's prefix, or the begin-of-sentence token
  // when tokenizer_config.json has add_bos_token.
  std::vector<int32_t> prefix;
};

struct GenerationConfig {
  std::optional<bool> samples;  // do_sample
  dsa::SamplerOptions sampling;
  std::vector<int32_t> end_ids;  // tokens that end the text, besides those of config.json
};

dsa::Result<TextModel> load_text_model(const std::string& dir, const dsa::ConfigOptions& options);

// The prefix, then the ids of `text`; spelled-out special tokens count as such.
dsa::Result<std::vector<int32_t>> encode_prompt(const TextModel& model, std::string_view text);

// What generation_config.json says: eos_token_id; temperature, top_p and top_k when do_sample is
// true, otherwise, or without the file, greedy.
//   Errors  kCorruption: the file or a field of it cannot be read, or is out of its range.
dsa::Result<GenerationConfig> read_generation_config(const std::string& dir, int64_t vocab_size);

// The bytes of `ids` as UTF-8: what is ill-formed becomes U+FFFD, unknown ids nothing.
std::string readable_text(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids);

}  // namespace cli
