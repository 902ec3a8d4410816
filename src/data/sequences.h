// Which tokens a training step sees, and in which order.
//
// A long document is cut into pieces of `context` inputs, in each epoch at other places; a piece of
// full length is a sequence of its own, shorter ones are packed together and the last one that does
// not fit is cut again. The order of the sequences is drawn anew for each epoch. All of it follows
// from the seed and the epoch's number, so that a position is two numbers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/status.h"

#include "data/token_file.h"

namespace dsa {

// Documents by number, ascending.
struct DataSplit {
  std::vector<uint64_t> train;
  std::vector<uint64_t> held_out;
};

// Holds documents back until they have `fraction` of the tokens, in an order drawn from their
// contents and the seed, passing over those that alone are more than twice that; one at least where
// fraction > 0. Some are always left to train on.
//   Errors  kInvalidArgument: fraction is not in [0, 0.5], or there is one document to divide
Result<DataSplit> split_documents(const TokenFile& tokens, double fraction, uint64_t seed);

// Inputs [begin, begin + size) of the token file, each of which predicts the token after it.
struct Segment {
  uint64_t begin;
  uint64_t size;
};

class SequenceOrder {
 public:
  struct Position {
    uint64_t epoch = 0;
    uint64_t sequence = 0;
  };

  // documents: those of the token file to use, with two tokens at least one of them.
  //   Errors  kInvalidArgument: nothing to predict
  static Result<SequenceOrder> create(const TokenFile& tokens,
                                      std::vector<uint64_t> documents,
                                      uint64_t context,
                                      uint64_t seed);

  // The segments of the next sequence, at most `context` inputs together; valid until the next
  // call. Never ends: an epoch follows another.
  std::span<const Segment> next();

  Position position() const { return position_; }  // of what next() will give
  //   Errors  kInvalidArgument: no such sequence
  Status seek(Position position);
  uint64_t n_sequences() const { return starts_.size(); }  // of the epoch

 private:
  SequenceOrder(const TokenFile& tokens,
                std::vector<uint64_t> documents,
                uint64_t context,
                uint64_t seed)
      : tokens_(&tokens), documents_(std::move(documents)), context_(context), seed_(seed) {}
  void plan(uint64_t epoch);

  const TokenFile* tokens_;
  std::vector<uint64_t> documents_;
  uint64_t context_;
  uint64_t seed_;
  Position position_;
  struct Sequence {
    uint64_t first;  // in segments_
    uint64_t count;
  };
  std::vector<Segment> segments_;
  std::vector<Sequence> starts_;
};

// SplitMix64: the generator behind every order of this layer.
class OrderRandom {
 public:
  explicit OrderRandom(uint64_t seed) : state_(seed) {}
  uint64_t next();
  uint64_t below(uint64_t n) { return next() % n; }  // n is far below 2^64: no visible bias
  template <class T>
  void shuffle(std::vector<T>* values) {
    for (size_t i = values->size(); i > 1; --i)
      std::swap((*values)[i - 1], (*values)[below(i)]);
  }

 private:
  uint64_t state_;
};

}  // namespace dsa
