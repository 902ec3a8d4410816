// Reads the parts of a tokenizer.json that decide what this library does with it.
#pragma once

#include <cstdint>
#include <vector>

#include "dsa/status.h"

#include "tokenizer/json_field.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"

namespace dsa {

struct AffixIds {
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
};

// Errors of all   kCorruption, kUnsupported: the message names the field, what it was, what was
//                 wanted

// Refuses what would change the result and is not done here: another model or decoder, dropout,
// affixes of the model. What files keep of calls that were made with them, truncation and padding,
// is passed over: a text is encoded in full, and alone.
Status check_supported(const JsonField& root);

// From `normalizer`.
Result<Normalizer> read_normalizer(const JsonField& root);

// From `pre_tokenizer`.
Result<std::vector<PreTokenizerStage>> read_pre_tokenizer(const JsonField& root);

// From `post_processor`; n_tokens bounds the ids.
Result<AffixIds> read_post_processor(const JsonField& root, std::size_t n_tokens);

}  // namespace dsa
