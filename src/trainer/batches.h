// Sequences of a token file as batches of a model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backprop/train_model.h"
#include "data/sequences.h"
#include "data/token_file.h"

namespace dsa::trainer {

class BatchBuffer {
 public:
  void clear();
  void add(const TokenFile& tokens, std::span<const Segment> segments);
  // Valid until the next call of a member.
  backprop::TrainBatch batch() const { return {tokens_, documents_, targets_, 0, 0}; }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  std::span<const backprop::DocumentSpan> documents() const { return documents_; }

 private:
  std::vector<int32_t> tokens_;
  std::vector<int32_t> targets_;
  std::vector<backprop::DocumentSpan> documents_;
};

}  // namespace dsa::trainer
