#include "trainer/batches.h"

namespace dsa::trainer {

void BatchBuffer::clear() {
  tokens_.clear();
  targets_.clear();
  documents_.clear();
}

void BatchBuffer::add(const TokenFile& tokens, std::span<const Segment> segments) {
  for (const Segment& segment : segments) {
    const int64_t begin = n_tokens();
    for (uint64_t t = segment.begin; t < segment.begin + segment.size; ++t) {
      tokens_.push_back(tokens.token(t));
      targets_.push_back(tokens.token(t + 1));
    }
    documents_.push_back({begin, n_tokens()});
  }
}

}  // namespace dsa::trainer
