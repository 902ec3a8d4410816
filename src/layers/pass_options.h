// What a forward pass and its caches are made for.
#pragma once

#include <cstdint>

#include "dsa/forward.h"
#include "dsa/types.h"

namespace dsa {

// Resolved: no zeros that stand for defaults.
struct PassOptions {
  CacheFormat kv_cache = CacheFormat::kFp8;
  CacheFormat index_cache = CacheFormat::kFp8;
  int64_t max_batch_tokens = 256;  // of one pass; sizes the scratch memory
  AttentionOptions attention;
  int64_t page_tokens = kDefaultPageTokens;  // of a page of the cache
};

}  // namespace dsa
