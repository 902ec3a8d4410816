// What one pass of the engine is to compute: chunks of running requests.
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "cache/page_key.h"
#include "scheduler/request_state.h"

namespace dsa::scheduler {

struct PlannedChunk {
  RequestState* request;
  Chunk chunk;
};

struct Plan {
  std::vector<PlannedChunk> chunks;
  std::unordered_set<PageKey, PageKeyHash> keys;  // of the whole pages among them
  int64_t n_tokens = 0;
  int64_t n_pages = 0;    // that they want
  int64_t n_decoded = 0;  // chunks that are the latest token of a stream

  // In pages, which are what prompts are cut into.
  double n_chunks_read(int64_t page_tokens) const {
    return static_cast<double>(n_tokens - n_decoded) / static_cast<double>(page_tokens);
  }
};

}  // namespace dsa::scheduler
