#include "cache/page_key.h"

#include "formats/cache_layout.h"

namespace dsa {

std::vector<PageKey> page_keys(const PageKey& root, std::span<const int32_t> tokens) {
  std::vector<PageKey> keys(tokens.size() / kPageTokens);
  Sha256 hash;
  for (size_t i = 0; i < keys.size(); ++i) {
    hash.add(std::span<const uint8_t>(i == 0 ? root : keys[i - 1]));
    hash.add(tokens.subspan(i * kPageTokens, kPageTokens));
    keys[i] = hash.finish();
  }
  return keys;
}

}  // namespace dsa
