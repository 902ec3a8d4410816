// Byte-pair merging: the token ids of one piece of text.
//
// The pair of neighbours whose merge has the lowest rank is merged first, the leftmost of equals,
// until no pair of neighbours has a merge.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

namespace dsa {

// Texts of mergeable tokens -> id. Holds ids only; the texts stay with their owner.
class TextIndex {
 public:
  explicit TextIndex(std::size_t n_texts);

  // Gives the id already there with that text, or -1 after inserting.
  int32_t insert(const std::vector<std::string>& texts, int32_t id);
  int32_t find(const std::vector<std::string>& texts, std::string_view text) const;

 private:
  std::size_t slot_of(const std::vector<std::string>& texts, std::string_view text) const;

  std::vector<int32_t> slots_;
};

// (left id, right id) -> rank.
class PairRanks {
 public:
  explicit PairRanks(std::size_t n_pairs);

  // False when the pair is there already.
  bool insert(int32_t left, int32_t right, int32_t rank);
  int32_t find(int32_t left, int32_t right) const;  // -1: no such merge

 private:
  struct Slot {
    uint64_t pair = kEmpty;
    int32_t rank = -1;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  std::size_t slot_of(uint64_t pair) const;

  std::vector<Slot> slots_;
};

struct Merge {
  int32_t left;
  int32_t right;
  int32_t result;
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
  struct Tables {
    std::array<int32_t, 256> byte_ids;  // -1: no token spells that byte
    PairRanks ranks;
    std::vector<Merge> merges;  // by rank
  };
  explicit Bpe(Tables tables) : tables_(std::move(tables)) {}

  // Appends the ids of `piece` (less than 2 GiB).
  // Errors   kInvalidArgument: a byte that no token spells; ids are then incomplete
  Status append(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

 private:
  Status merge(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  Status load(std::string_view piece, BpeScratch& scratch) const;
  void apply(Merge merge, int32_t at, BpeScratch& scratch) const;
  std::optional<uint64_t> queue_entry(const BpeScratch& scratch, int32_t at) const;

  Tables tables_;
};

}  // namespace dsa
