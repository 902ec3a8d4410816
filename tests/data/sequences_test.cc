#include "data/sequences.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "tests/data/token_bytes.h"

namespace dsa {
namespace {

class Sequences : public testing::Test {
 protected:
  // Documents of the given numbers of tokens, ids counting from 1.
  void make(const std::vector<size_t>& sizes) {
    std::vector<std::vector<uint16_t>> documents;
    for (const size_t size : sizes) {
      documents.emplace_back(size);
      std::iota(documents.back().begin(), documents.back().end(),
                static_cast<uint16_t>(1 + documents.size()));
    }
    bytes_ = test::token_bytes(documents, 60000);
    auto parsed = TokenFile::parse(std::as_bytes(std::span(bytes_)), "t");
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    file_.emplace(std::move(parsed).value());
  }

  std::vector<uint64_t> all() const {
    std::vector<uint64_t> documents(file_->n_documents());
    std::iota(documents.begin(), documents.end(), 0U);
    return documents;
  }

  SequenceOrder order(uint64_t context, uint64_t seed = 1) const {
    auto made = SequenceOrder::create(*file_, all(), context, seed);
    EXPECT_TRUE(made.ok()) << made.status().message();
    return std::move(made).value();
  }

  std::string bytes_;
  std::optional<TokenFile> file_;
};

std::vector<uint64_t> flat(std::span<const Segment> segments) {
  std::vector<uint64_t> out;
  for (const Segment& segment : segments) {
    out.push_back(segment.begin);
    out.push_back(segment.size);
  }
  return out;
}

TEST_F(Sequences, HoldEveryPredictionOfAnEpochOnce) {
  make({1000, 2, 1, 77, 350});
  SequenceOrder sequences = order(64);
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::multiset<uint64_t> seen;
    const uint64_t n = sequences.n_sequences();
    for (uint64_t i = 0; i < n; ++i) {
      uint64_t size = 0;
      for (const Segment& segment : sequences.next()) {
        size += segment.size;
        for (uint64_t t = 0; t < segment.size; ++t)
          seen.insert(segment.begin + t);
      }
      EXPECT_LE(size, 64U);
      EXPECT_GE(size, 1U);
    }
    std::multiset<uint64_t> want;  // the last token of a document predicts nothing
    for (const uint64_t d : all()) {
      for (uint64_t t = file_->document(d).begin; t + 1 < file_->document(d).end; ++t)
        want.insert(t);
    }
    EXPECT_EQ(seen, want);
    sequences.next();
    ASSERT_TRUE(sequences.seek({sequences.position().epoch, 0}).ok());
  }
}

TEST_F(Sequences, AreFullWhereDocumentsAreLong) {
  make({5000, 5000, 5000});
  SequenceOrder sequences = order(128);
  uint64_t whole = 0;
  for (uint64_t i = 0; i < sequences.n_sequences(); ++i)
    whole += sequences.next().size() == 1 ? 1U : 0U;
  EXPECT_GE(whole + 6, sequences.n_sequences());
}

TEST_F(Sequences, FollowFromTheSeed) {
  make({900, 300, 50, 60, 70});
  SequenceOrder a = order(100, 5);
  SequenceOrder b = order(100, 5);
  SequenceOrder other = order(100, 6);
  int same = 0;
  for (int i = 0; i < 40; ++i) {
    const auto want = flat(a.next());
    EXPECT_EQ(flat(b.next()), want);
    same += flat(other.next()) == want ? 1 : 0;
  }
  EXPECT_LT(same, 20);
}

TEST_F(Sequences, GoOnFromAnyPosition) {
  make({900, 300, 50, 60, 70});
  SequenceOrder straight = order(100);
  for (int i = 0; i < 60; ++i) {
    const SequenceOrder::Position position = straight.position();
    const auto want = flat(straight.next());
    SequenceOrder resumed = order(100);
    ASSERT_TRUE(resumed.seek(position).ok());
    ASSERT_EQ(flat(resumed.next()), want) << i;
  }
  EXPECT_FALSE(straight.seek({0, 1000}).ok());
}

TEST_F(Sequences, OfLaterEpochsAreCutElsewhere) {
  make({5000});
  SequenceOrder sequences = order(100);
  std::set<uint64_t> begins[2];
  for (auto& epoch : begins) {
    const uint64_t n = sequences.n_sequences();
    for (uint64_t i = 0; i < n; ++i)
      epoch.insert(sequences.next()[0].begin);
  }
  EXPECT_NE(begins[0], begins[1]);
}

TEST_F(Sequences, NeedTwoTokensOfADocument) {
  make({1, 1});
  EXPECT_FALSE(SequenceOrder::create(*file_, all(), 8, 1).ok());
  EXPECT_FALSE(SequenceOrder::create(*file_, all(), 0, 1).ok());
}

TEST_F(Sequences, AreSplitByDocument) {
  make(std::vector<size_t>(100, 50));
  const auto split = split_documents(*file_, 0.1, 3);
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split->held_out.size(), 10U);
  EXPECT_EQ(split->train.size(), 90U);
  const auto again = split_documents(*file_, 0.1, 3);
  EXPECT_EQ(again->held_out, split->held_out);
  EXPECT_NE(split_documents(*file_, 0.1, 4)->held_out, split->held_out);
  EXPECT_TRUE(split_documents(*file_, 0, 3)->held_out.empty());
  EXPECT_FALSE(split_documents(*file_, 0.6, 3).ok());
}

TEST_F(Sequences, HoldBackASmallDocumentRatherThanALargeOne) {
  make({10000, 40, 9000});
  EXPECT_EQ(split_documents(*file_, 0.05, 1)->held_out, std::vector<uint64_t>{1});
  make({10000, 8000});
  EXPECT_EQ(split_documents(*file_, 0.05, 1)->held_out, std::vector<uint64_t>{1});
  make({10});
  EXPECT_FALSE(split_documents(*file_, 0.05, 1).ok());
}

}  // namespace
}  // namespace dsa
