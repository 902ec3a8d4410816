// Names of pages by what they hold: the tokens of the page and all before it, and who computed
// them.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "digest/sha256.h"

namespace dsa {

// SHA-256 of the key of the page before (of the first page: of `root`) and the page's tokens.
// Pages with the same key have the same content, bit for bit.
using PageKey = Digest;

struct PageKeyHash {
  size_t operator()(const PageKey& key) const {
    size_t hash = 0;
    std::memcpy(&hash, key.data(), sizeof(hash));
    return hash;
  }
};

// Keys of the whole pages of `tokens`. root: of checkpoint and options, page_tokens among them.
std::vector<PageKey> page_keys(const PageKey& root,
                               std::span<const int32_t> tokens,
                               size_t page_tokens);

}  // namespace dsa
