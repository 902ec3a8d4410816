// Opening what a command needs of a checkpoint directory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/engine.h"
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

dsa::Result<TextModel> load_text_model(const std::string& dir);

// The prefix, then the ids of `text`; spelled-out special tokens count as such.
dsa::Result<std::vector<int32_t>> encode_prompt(const TextModel& model, std::string_view text);

// The defaults of generation_config.json: its temperature, top_p and top_k when do_sample is true,
// otherwise, or without the file, greedy.
//   Errors  kCorruption: the file or a field of it cannot be read.
dsa::Result<dsa::SamplerOptions> default_sampling(const std::string& dir);

// The bytes of `ids` as UTF-8: what is ill-formed becomes U+FFFD, unknown ids nothing.
std::string readable_text(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids);

}  // namespace cli
