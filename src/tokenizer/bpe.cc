#include "tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "common/status_macros.h"
#include "tokenizer/hash.h"

namespace dsa {
namespace {

// At most half full, so that probes stay short.
std::size_t table_size(std::size_t n) {
  return std::bit_ceil(2 * n + 2);
}

constexpr std::size_t index(int32_t i) {
  return static_cast<std::size_t>(i);
}

constexpr uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

TextIndex::TextIndex(std::size_t n_texts) : slots_(table_size(n_texts), -1) {}

std::size_t TextIndex::slot_of(const std::vector<std::string>& texts, std::string_view text) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash_bytes(text) & mask;
  while (slots_[slot] >= 0 && texts[index(slots_[slot])] != text)
    slot = (slot + 1) & mask;
  return slot;
}

int32_t TextIndex::insert(const std::vector<std::string>& texts, int32_t id) {
  int32_t& held = slots_[slot_of(texts, texts[index(id)])];
  if (held >= 0) return held;
  held = id;
  return -1;
}

int32_t TextIndex::find(const std::vector<std::string>& texts, std::string_view text) const {
  return slots_[slot_of(texts, text)];
}

PairRanks::PairRanks(std::size_t n_pairs) : slots_(table_size(n_pairs)) {}

std::size_t PairRanks::slot_of(uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = mix64(pair * 0x9E3779B97F4A7C15U) & mask;
  while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair)
    slot = (slot + 1) & mask;
  return slot;
}

bool PairRanks::insert(int32_t left, int32_t right, int32_t rank) {
  const uint64_t pair = pair_key(left, right);
  Slot& slot = slots_[slot_of(pair)];
  if (slot.pair == pair) return false;
  slot = {pair, rank};
  return true;
}

int32_t PairRanks::find(int32_t left, int32_t right) const {
  return slots_[slot_of(pair_key(left, right))].rank;
}

Status Bpe::append(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  using Word = BpeScratch::Word;
  if (piece.empty()) return Status();
  if (piece.size() > std::tuple_size_v<decltype(Word::bytes)>) return merge(piece, scratch, ids);

  Word& word = scratch.words_[hash_bytes(piece) % BpeScratch::kWords];
  if (word.n_bytes == piece.size() &&
      std::memcmp(word.bytes.data(), piece.data(), piece.size()) == 0) {
    ids.insert(ids.end(), word.ids.begin(), word.ids.begin() + word.n_ids);
    return Status();
  }
  const std::size_t before = ids.size();
  DSA_RETURN_IF_ERROR(merge(piece, scratch, ids));
  const std::size_t n_ids = ids.size() - before;
  if (n_ids <= word.ids.size()) {
    word.n_bytes = static_cast<uint8_t>(piece.size());
    word.n_ids = static_cast<uint8_t>(n_ids);
    std::memcpy(word.bytes.data(), piece.data(), piece.size());
    std::memcpy(word.ids.data(), ids.data() + before, n_ids * sizeof(int32_t));
  }
  return Status();
}

Status Bpe::merge(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  DSA_RETURN_IF_ERROR(load(piece, scratch));
  std::vector<uint64_t>& queue = scratch.queue_;
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const uint64_t entry = queue.back();
    queue.pop_back();
    apply(tables_.merges[entry >> 32], static_cast<int32_t>(entry & 0xFFFFFFFFU), scratch);
  }
  for (int32_t at = 0; at >= 0; at = scratch.symbols_[index(at)].next) {
    ids.push_back(scratch.symbols_[index(at)].id);
  }
  return Status();
}

// One symbol per byte, and every merge of two neighbours in the queue.
Status Bpe::load(std::string_view piece, BpeScratch& scratch) const {
  const auto n = static_cast<int32_t>(piece.size());
  scratch.symbols_.clear();
  scratch.queue_.clear();
  for (int32_t i = 0; i < n; ++i) {
    const auto byte = static_cast<uint8_t>(piece[index(i)]);
    const int32_t id = tables_.byte_ids[byte];
    if (id < 0) return invalid_argument("text: byte {:#04x}, want one the vocabulary spells", byte);
    scratch.symbols_.push_back({id, i - 1, i + 1 < n ? i + 1 : -1});
  }
  for (int32_t i = 0; i + 1 < n; ++i) {
    if (const auto entry = queue_entry(scratch, i)) scratch.queue_.push_back(*entry);
  }
  std::make_heap(scratch.queue_.begin(), scratch.queue_.end(), std::greater<>());
  return Status();
}

// An entry of the queue may be stale: its symbols are then gone or have changed.
void Bpe::apply(Merge merge, int32_t at, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  BpeScratch::Symbol& left = symbols[index(at)];
  if (left.id != merge.left || left.next < 0) return;
  BpeScratch::Symbol& right = symbols[index(left.next)];
  if (right.id != merge.right) return;

  left.id = merge.result;
  left.next = right.next;
  right.id = -1;
  if (left.next >= 0) symbols[index(left.next)].prev = at;
  for (const int32_t changed : {left.prev, at}) {
    const auto entry = queue_entry(scratch, changed);
    if (!entry) continue;
    scratch.queue_.push_back(*entry);
    std::push_heap(scratch.queue_.begin(), scratch.queue_.end(), std::greater<>());
  }
}

// The entry of the symbol at `at` and the one after it, if they merge.
std::optional<uint64_t> Bpe::queue_entry(const BpeScratch& scratch, int32_t at) const {
  if (at < 0) return std::nullopt;
  const BpeScratch::Symbol& left = scratch.symbols_[index(at)];
  if (left.next < 0) return std::nullopt;
  const int32_t rank = tables_.ranks.find(left.id, scratch.symbols_[index(left.next)].id);
  if (rank < 0) return std::nullopt;
  return uint64_t{static_cast<uint32_t>(rank)} << 32 | static_cast<uint32_t>(at);
}

}  // namespace dsa
