// Vocabulary: the tokens of a tokenizer file by id, and the tables merging needs.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/json_field.h"

namespace dsa {

struct Vocabulary {
  std::vector<std::string> texts;  // the bytes of each id
  std::vector<bool> special;       // by id
  HashIndex mergeable{0};          // tokens spelled in the byte-level alphabet, by their bytes
  std::map<std::string, int32_t, std::less<>> named;  // the others, and added tokens
  // To be found before, respectively after, the text is normalized. Without a normalizer the order
  // still decides between tokens that overlap.
  std::vector<AddedTokens::Token> added;
  std::vector<AddedTokens::Token> added_normalized;

  std::array<int32_t, 256> byte_ids{};  // -1: no token spells that byte

  // -1 when no mergeable token has that text.
  int32_t find(std::string_view text) const {
    return mergeable.find(hash_bytes(text),
                          [&](int32_t id) { return texts[static_cast<std::size_t>(id)] == text; });
  }
};

// From `model.vocab` and `added_tokens` of the root object. With `model.byte_fallback`, a byte that
// no token spells is the token <0xNN>, if there is one.
// Errors   kCorruption: an id that is missing, repeated or out of range, a token that is repeated
//          kUnsupported: an added token whose text is the spelling of other bytes in model.vocab
Result<Vocabulary> read_vocabulary(const JsonField& root);

// From `model.merges`.
// Errors   kCorruption: a merge of, or into, a token that the vocabulary lacks; a repeated merge
Result<MergeTable> read_merges(const JsonField& root, const Vocabulary& vocabulary);

}  // namespace dsa
