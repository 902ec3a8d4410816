#include "tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace dsa {
namespace {

using Pair = std::pair<int32_t, int32_t>;

// The definition, word for word: quadratic.
std::vector<int32_t> merge_slowly(const std::string& text, const std::vector<Merge>& merges) {
  std::vector<int32_t> ids(text.begin(), text.end());
  while (true) {
    std::size_t best_rank = merges.size();
    std::size_t best_at = 0;
    for (std::size_t at = 0; at + 1 < ids.size(); ++at) {
      const auto rank = static_cast<std::size_t>(std::find_if(merges.begin(), merges.end(),
                                                              [&](const Merge& m) {
                                                                return m.left == ids[at] &&
                                                                       m.right == ids[at + 1];
                                                              }) -
                                                 merges.begin());
      if (rank < best_rank) {
        best_rank = rank;
        best_at = at;
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best_at] = merges[best_rank].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

// Merges of random pairs of earlier tokens; the same text has the same id however it came to be.
std::vector<Merge> random_merges(std::mt19937& random, int n_letters, std::size_t n) {
  std::vector<std::string> texts(256);
  std::vector<int32_t> known;
  std::map<std::string, int32_t> ids;
  for (int c = 'a'; c < 'a' + n_letters; ++c) {
    texts[static_cast<std::size_t>(c)] = static_cast<char>(c);
    ids[texts[static_cast<std::size_t>(c)]] = c;
    known.push_back(c);
  }
  std::map<Pair, bool> seen;
  std::vector<Merge> merges;
  while (merges.size() < n) {
    const int32_t left = known[random() % known.size()];
    const int32_t right = known[random() % known.size()];
    if (std::exchange(seen[{left, right}], true)) continue;
    const std::string text =
        texts[static_cast<std::size_t>(left)] + texts[static_cast<std::size_t>(right)];
    const auto [place, fresh] = ids.emplace(text, static_cast<int32_t>(texts.size()));
    if (fresh) {
      known.push_back(place->second);
      texts.push_back(text);
    }
    merges.push_back({left, right, place->second});
  }
  return merges;
}

Bpe make_bpe(const std::vector<Merge>& merges) {
  std::array<int32_t, 256> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<int32_t>(i);
  MergeTable table(merges.size());
  for (const Merge& merge : merges)
    EXPECT_TRUE(table.add(merge));
  return Bpe(bytes, std::move(table));
}

TEST(Bpe, MergesLikeTheDefinitionOnRandomVocabulariesAndTexts) {
  std::mt19937 random(1);
  for (int round = 0; round < 120; ++round) {
    const int n_letters = 1 + static_cast<int>(random() % 3);
    const std::size_t n_merges = n_letters == 1 ? 1 + random() % 3 : 1 + random() % 12;
    const std::vector<Merge> merges = random_merges(random, n_letters, n_merges);
    const Bpe bpe = make_bpe(merges);
    BpeScratch scratch;
    for (int i = 0; i < 8; ++i) {
      std::string text(random() % 80, 'a');
      for (char& c : text) {
        c = static_cast<char>('a' + random() % static_cast<unsigned>(n_letters));
      }
      const std::vector<int32_t> want = merge_slowly(text, merges);
      for (int again = 0; again < 2; ++again) {  // the second time from the cache
        std::vector<int32_t> ids;
        ASSERT_TRUE(bpe.append(text, scratch, ids).ok());
        ASSERT_EQ(ids, want) << text;
      }
    }
  }
}

TEST(Bpe, FindsEveryPairOfALargeTableAndNoOther) {
  MergeTable table(5000);
  std::mt19937 random(2);
  std::map<Pair, int32_t> want;
  while (want.size() < 5000) {
    const Pair pair(static_cast<int32_t>(random() % 300), static_cast<int32_t>(random() % 300));
    const bool fresh = want.emplace(pair, static_cast<int32_t>(table.size())).second;
    EXPECT_EQ(table.add({pair.first, pair.second, 0}), fresh);
  }
  for (int32_t left = 0; left < 300; ++left) {
    for (int32_t right = 0; right < 300; ++right) {
      const auto place = want.find({left, right});
      ASSERT_EQ(table.rank_of(left, right), place == want.end() ? -1 : place->second);
    }
  }
}

}  // namespace
}  // namespace dsa
