#include "tokenizer/bpe_learner.h"

#include <utility>

namespace dsa {

BpeLearner::BpeLearner(int32_t first_byte, std::vector<std::string> refused)
    : first_byte_(first_byte) {
  for (std::string& text : refused)
    refused_.insert(std::move(text));
  for (int byte = 0; byte < 256; ++byte)
    texts_.emplace_back(1, static_cast<char>(byte));
}

void BpeLearner::add(std::string_view piece, int64_t count) {
  words_.push_back({symbols_.size(), piece.size(), count});
  for (const char c : piece)
    symbols_.push_back(first_byte_ + static_cast<uint8_t>(c));
}

void BpeLearner::take_pair(int32_t left, int32_t right, int64_t count) {
  pairs_[key(left, right)].count -= count;
}

void BpeLearner::give_pair(int32_t left, int32_t right, uint32_t word) {
  const uint64_t pair = key(left, right);
  Pair& entry = pairs_[pair];
  entry.count += words_[word].count;
  if (entry.words.empty() || entry.words.back() != word) entry.words.push_back(word);
  if (!std::exchange(entry.grown, true)) grown_.push_back(pair);
}

void BpeLearner::push_grown() {
  for (const uint64_t pair : grown_) {
    Pair& entry = pairs_[pair];
    entry.grown = false;
    queue_.push({entry.count, pair});
  }
  grown_.clear();
}

// The pair to merge next; false when none is left.
bool BpeLearner::next(int64_t min_count, uint64_t* pair) {
  while (!queue_.empty()) {
    const Candidate best = queue_.top();
    queue_.pop();
    const int64_t count = pairs_[best.pair].count;
    if (count < min_count) continue;
    if (count != best.count) {  // out of date: back to where it belongs now
      if (count < best.count) queue_.push({count, best.pair});
      continue;
    }
    const std::string text = text_of(static_cast<int32_t>(best.pair >> 32)) +
                             text_of(static_cast<int32_t>(best.pair & 0xFFFFFFFFU));
    if (refused_.count(text) != 0) continue;
    *pair = best.pair;
    return true;
  }
  return false;
}

// Merges in place. Only the counts of pairs next to a merge change.
void BpeLearner::merge_in(uint32_t index, int32_t left, int32_t right, int32_t result) {
  Word& word = words_[index];
  int32_t* const symbols = symbols_.data() + word.begin;
  std::size_t out = 0;
  for (std::size_t i = 0; i < word.size; ++i, ++out) {
    const bool here = symbols[i] == left && i + 1 < word.size && symbols[i + 1] == right;
    if (!here) {
      symbols[out] = symbols[i];
      continue;
    }
    take_pair(left, right, word.count);
    if (out > 0) {
      take_pair(symbols[out - 1], left, word.count);
      give_pair(symbols[out - 1], result, index);
    }
    if (i + 2 < word.size) {
      take_pair(right, symbols[i + 2], word.count);
      give_pair(result, symbols[i + 2], index);
    }
    symbols[out] = result;
    ++i;
  }
  word.size = out;
}

void BpeLearner::merge(uint64_t pair) {
  const auto left = static_cast<int32_t>(pair >> 32);
  const auto right = static_cast<int32_t>(pair & 0xFFFFFFFFU);
  const std::string text = text_of(left) + text_of(right);
  // Two pairs may spell the same token: the second merge gives the first one's id.
  const auto next_id = first_byte_ + static_cast<int32_t>(texts_.size());
  const auto [place, is_new] = ids_.emplace(text, next_id);
  if (is_new) texts_.push_back(text);
  merges_.push_back({left, right});
  const std::vector<uint32_t> words = std::exchange(pairs_[pair].words, {});
  for (const uint32_t word : words)
    merge_in(word, left, right, place->second);
  push_grown();
}

void BpeLearner::learn(int32_t vocab_size,
                       int64_t min_count,
                       const std::function<bool(int64_t, int64_t)>& progress) {
  for (uint32_t index = 0; index < words_.size(); ++index) {
    const Word& word = words_[index];
    for (std::size_t i = word.begin; i + 1 < word.begin + word.size; ++i)
      give_pair(symbols_[i], symbols_[i + 1], index);
  }
  push_grown();
  uint64_t pair = 0;
  const auto n_ids = [this] { return first_byte_ + static_cast<int32_t>(texts_.size()); };
  while (n_ids() < vocab_size && next(min_count, &pair)) {
    merge(pair);
    if (progress && merges_.size() % 64 == 0 && !progress(n_ids(), vocab_size)) return;
  }
}

}  // namespace dsa
