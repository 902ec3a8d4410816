// Learns the merges of a BPE from counted pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace dsa {

// Not shared between threads. Ids below first_byte + 256 are given; merges follow them.
class BpeLearner {
 public:
  struct Merge {
    int32_t left;
    int32_t right;
  };

  // first_byte: id of byte 0. refused: texts that no merge may give.
  BpeLearner(int32_t first_byte, std::vector<std::string> refused);

  // A piece of the text, seen `count` times in all; call once per piece.
  void add(std::string_view piece, int64_t count);

  // Learns until there are vocab_size ids, no pair is left that was seen min_count times, or
  // `progress` gives false.
  void learn(int32_t vocab_size,
             int64_t min_count,
             const std::function<bool(int64_t, int64_t)>& progress);

  const std::vector<Merge>& merges() const { return merges_; }
  // By id, from first_byte on: the bytes of each token.
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  struct Word {
    std::size_t begin;  // in symbols_
    std::size_t size;
    int64_t count;
  };
  struct Pair {
    int64_t count = 0;
    bool grown = false;           // is in grown_
    std::vector<uint32_t> words;  // that hold or held it
  };
  struct Candidate {
    int64_t count;
    uint64_t pair;
    // Whether *this is merged after `other`.
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  static uint64_t key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  const std::string& text_of(int32_t id) const {
    return texts_[static_cast<std::size_t>(id - first_byte_)];
  }
  bool next(int64_t min_count, uint64_t* pair);
  void merge(uint64_t pair);
  void merge_in(uint32_t index, int32_t left, int32_t right, int32_t result);
  void take_pair(int32_t left, int32_t right, int64_t count);
  void give_pair(int32_t left, int32_t right, uint32_t word);
  void push_grown();

  int32_t first_byte_;
  std::unordered_set<std::string> refused_;
  std::vector<std::string> texts_;
  std::unordered_map<std::string, int32_t> ids_;  // of merged tokens, by their bytes
  std::vector<Merge> merges_;
  std::vector<int32_t> symbols_;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, Pair> pairs_;
  std::vector<uint64_t> grown_;           // pairs with a greater count than in the queue
  std::priority_queue<Candidate> queue_;  // counts may be out of date: too high, never too low
};

}  // namespace dsa
