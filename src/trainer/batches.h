// Sequences of a token file as batches of a model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/sequences.h"
#include "data/token_file.h"
#include "train/train_model.h"

namespace dsa {

class BatchBuffer {
 public:
  void clear();
  void add(const TokenFile& tokens, std::span<const Segment> segments);
  // Valid until the next call of a member.
  TrainBatch batch() const { return {tokens_, documents_, targets_, 0, 0}; }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  std::span<const Document> documents() const { return documents_; }

 private:
  std::vector<int32_t> tokens_;
  std::vector<int32_t> targets_;
  std::vector<Document> documents_;
};

}  // namespace dsa
