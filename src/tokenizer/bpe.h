// Byte-pair merging: the token ids of one piece of text.
//
// The pair of neighbours whose merge has the lowest rank is merged first, the leftmost of equals,
// until no pair of neighbours has a merge.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "dsa/status.h"

#include "tokenizer/hash_index.h"

namespace dsa {

struct Merge {
  int32_t left;
  int32_t right;
  int32_t result;
};

// The merges of a model by rank, and (left, right) -> rank.
class MergeTable {
 public:
  explicit MergeTable(std::size_t n_merges) : ranks_(n_merges) { merges_.reserve(n_merges); }

  // The next rank's merge. False when the pair has one already.
  bool add(Merge merge);
  int32_t rank_of(int32_t left, int32_t right) const;  // -1: no such merge
  const Merge& operator[](std::size_t rank) const { return merges_[rank]; }
  std::size_t size() const { return merges_.size(); }

 private:
  std::vector<Merge> merges_;
  HashIndex ranks_;
};

// What one call of Bpe::append works with; holds a bounded cache of short pieces. Not shared
// between threads.
class BpeScratch {
 public:
  BpeScratch() : words_(kWords) {}

 private:
  friend class Bpe;

  struct Symbol {
    int32_t id;    // -1: merged into the symbol before it
    int32_t prev;  // -1: none
    int32_t next;  // -1: none
  };
  // 64 bytes, one cache line. n_bytes == 0: free.
  struct alignas(64) Word {
    uint8_t n_bytes = 0;
    uint8_t n_ids = 0;
    std::array<char, 30> bytes;
    std::array<int32_t, 8> ids;
  };
  static constexpr std::size_t kWords = 16384;  // 1 MiB

  std::vector<Word> words_;
  std::vector<Symbol> symbols_;
  std::vector<uint64_t> queue_;  // min-heap of rank << 32 | position
};

class Bpe {
 public:
  // byte_ids: the token of each byte, -1 where none spells it.
  Bpe(const std::array<int32_t, 256>& byte_ids, MergeTable merges)
      : byte_ids_(byte_ids), merges_(std::move(merges)) {}

  // Appends the ids of `piece` (less than 2 GiB).
  // Errors   kInvalidArgument: a byte that no token spells; ids are then incomplete
  Status append(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

 private:
  Status merge(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  Status load(std::string_view piece, BpeScratch& scratch) const;
  void apply(const Merge& merge, int32_t at, BpeScratch& scratch) const;
  std::optional<uint64_t> queue_entry(const BpeScratch& scratch, int32_t at) const;

  std::array<int32_t, 256> byte_ids_;
  MergeTable merges_;
};

}  // namespace dsa
