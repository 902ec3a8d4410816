#include "tokenizer/bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "common/status_macros.h"

namespace dsa {
namespace {

constexpr std::size_t index(int32_t i) {
  return static_cast<std::size_t>(i);
}

uint64_t pair_hash(int32_t left, int32_t right) {
  return mix64(uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right));
}

}  // namespace

bool MergeTable::add(Merge merge) {
  const auto same = [&](int32_t rank) {
    return merges_[index(rank)].left == merge.left && merges_[index(rank)].right == merge.right;
  };
  const auto rank = static_cast<int32_t>(merges_.size());
  if (ranks_.insert(pair_hash(merge.left, merge.right), rank, same) >= 0) return false;
  merges_.push_back(merge);
  return true;
}

int32_t MergeTable::rank_of(int32_t left, int32_t right) const {
  return ranks_.find(pair_hash(left, right), [&](int32_t rank) {
    return merges_[index(rank)].left == left && merges_[index(rank)].right == right;
  });
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
    apply(merges_[entry >> 32], static_cast<int32_t>(entry & 0xFFFFFFFFU), scratch);
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
    const int32_t id = byte_ids_[byte];
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
void Bpe::apply(const Merge& merge, int32_t at, BpeScratch& scratch) const {
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
  const int32_t rank = merges_.rank_of(left.id, scratch.symbols_[index(left.next)].id);
  if (rank < 0) return std::nullopt;
  return uint64_t{static_cast<uint32_t>(rank)} << 32 | static_cast<uint32_t>(at);
}

}  // namespace dsa
