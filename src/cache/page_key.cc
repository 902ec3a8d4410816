#include "cache/page_key.h"

namespace dsa {

std::vector<PageKey> page_keys(const PageKey& root,
                               std::span<const int32_t> tokens,
                               size_t page_tokens) {
  std::vector<PageKey> keys(tokens.size() / page_tokens);
  Sha256 hash;
  for (size_t i = 0; i < keys.size(); ++i) {
    hash.add(std::span<const uint8_t>(i == 0 ? root : keys[i - 1]));
    hash.add(tokens.subspan(i * page_tokens, page_tokens));
    keys[i] = hash.finish();
  }
  return keys;
}

}  // namespace dsa
