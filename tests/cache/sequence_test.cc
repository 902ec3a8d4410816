#include "cache/sequence.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace dsa {
namespace {

PagePool small_pool(int64_t n_pages, int64_t page_tokens = 64) {
  PagePoolOptions options;
  options.planes = {{0, "rows", 1, static_cast<size_t>(page_tokens)}};
  options.page_tokens = page_tokens;
  options.n_pages = n_pages;
  return PagePool::create(options).value();
}

uint8_t& first_byte(const PagePool& pool, int32_t page) {
  return *pool.plane(0).page(page);
}

TEST(SequencePages, TakesAPageForEvery64Tokens) {
  PagePool pool = small_pool(4);
  SequencePages sequence;
  ASSERT_TRUE(sequence.reserve(&pool, 64).ok());
  sequence.commit(64);
  EXPECT_EQ(sequence.pages().size(), 1U);
  ASSERT_TRUE(sequence.reserve(&pool, 1).ok());
  sequence.commit(1);
  EXPECT_EQ(sequence.pages().size(), 2U);
  EXPECT_EQ(cache_row(pool.page(), sequence.pages(), 64), sequence.pages()[1] * 64);
  EXPECT_EQ(cache_row(pool.page(), sequence.pages(), 63), sequence.pages()[0] * 64 + 63);
  sequence.release(&pool);
  EXPECT_EQ(pool.numbers().n_free(), 4);
}

TEST(SequencePages, ChangesNothingWhenThePoolIsTooSmall) {
  PagePool pool = small_pool(2);
  SequencePages sequence;
  ASSERT_TRUE(sequence.reserve(&pool, 100).ok());
  sequence.commit(100);
  const std::vector<int32_t> before(sequence.pages().begin(), sequence.pages().end());
  EXPECT_EQ(sequence.reserve(&pool, 64).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(std::vector<int32_t>(sequence.pages().begin(), sequence.pages().end()), before);
  EXPECT_EQ(sequence.length(), 100);
  EXPECT_TRUE(sequence.reserve(&pool, 28).ok());
}

TEST(SequencePages, GivesBackWhatWasReservedAndNotUsed) {
  PagePool pool = small_pool(4);
  SequencePages sequence;
  ASSERT_TRUE(sequence.reserve(&pool, 200).ok());
  sequence.commit(10);
  sequence.trim(&pool);
  EXPECT_EQ(pool.numbers().n_free(), 3);
}

TEST(SequencePages, SharesPagesUntilTheyAreWritten) {
  PagePool pool = small_pool(4);
  SequencePages first;
  ASSERT_TRUE(first.reserve(&pool, 70).ok());
  first.commit(70);
  first_byte(pool, first.pages()[1]) = 42;
  SequencePages second = first.fork(&pool);
  EXPECT_EQ(pool.numbers().n_free(), 2);
  EXPECT_EQ(second.pages_needed(pool, 1), 1);  // a copy of the half-full last page
  ASSERT_TRUE(second.reserve(&pool, 1).ok());
  EXPECT_EQ(second.pages()[0], first.pages()[0]);
  EXPECT_NE(second.pages()[1], first.pages()[1]);
  EXPECT_EQ(first_byte(pool, second.pages()[1]), 42);
  EXPECT_EQ(first.pages_needed(pool, 1), 0);  // now it holds its last page alone
  first.release(&pool);
  EXPECT_EQ(pool.numbers().n_free(), 2);
  second.release(&pool);
  EXPECT_EQ(pool.numbers().n_free(), 4);
}

TEST(SequencePages, ForkOfFullPagesNeedsNoCopy) {
  PagePool pool = small_pool(3);
  SequencePages first;
  ASSERT_TRUE(first.reserve(&pool, 64).ok());
  first.commit(64);
  SequencePages second = first.fork(&pool);
  ASSERT_TRUE(second.reserve(&pool, 1).ok());
  EXPECT_EQ(second.pages()[0], first.pages()[0]);
  EXPECT_EQ(pool.numbers().n_free(), 1);
}

TEST(SequencePages, TakesPagesOfThePoolsSize) {
  for (const int64_t page_tokens : {16, 128, 4096}) {
    PagePool pool = small_pool(4, page_tokens);
    SequencePages sequence;
    ASSERT_TRUE(sequence.reserve(&pool, page_tokens + 1).ok());
    sequence.commit(page_tokens + 1);
    ASSERT_EQ(sequence.pages().size(), 2U);
    EXPECT_EQ(cache_row(pool.page(), sequence.pages(), page_tokens),
              sequence.pages()[1] * page_tokens);
    EXPECT_EQ(cache_row(pool.page(), sequence.pages(), 15), sequence.pages()[0] * page_tokens + 15);
    EXPECT_EQ(sequence.pages_needed(pool, page_tokens), 1);
    EXPECT_EQ(sequence.pages_needed(pool, page_tokens - 1), 0);
  }
}

TEST(SequencePages, GivesBackThePagesOfTokensThatAreDropped) {
  PagePool pool = small_pool(4);
  SequencePages sequence;
  ASSERT_TRUE(sequence.reserve(&pool, 200).ok());
  sequence.commit(200);
  EXPECT_EQ(pool.numbers().n_free(), 0);
  ASSERT_TRUE(sequence.truncate(&pool, 65).ok());
  EXPECT_EQ(sequence.length(), 65);
  EXPECT_EQ(pool.numbers().n_free(), 2);
  ASSERT_TRUE(sequence.truncate(&pool, 64).ok());
  EXPECT_EQ(pool.numbers().n_free(), 3);
  ASSERT_TRUE(sequence.truncate(&pool, 64).ok());
  EXPECT_EQ(sequence.truncate(&pool, 65).message(), "length: 65, want 0 to 64");
  EXPECT_EQ(sequence.truncate(&pool, -1).code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(sequence.truncate(&pool, 0).ok());
  EXPECT_EQ(pool.numbers().n_free(), 4);
}

TEST(SequencePages, CopiesASharedPageThatItWasCutOffIn) {
  PagePool pool = small_pool(6);
  SequencePages first;
  ASSERT_TRUE(first.reserve(&pool, 150).ok());
  first.commit(150);
  first_byte(pool, first.pages()[1]) = 42;
  SequencePages second = first.fork(&pool);
  ASSERT_TRUE(second.truncate(&pool, 100).ok());
  EXPECT_EQ(pool.numbers().n_free(), 3);  // the first one holds all three
  EXPECT_EQ(second.pages_needed(pool, 1), 1);
  ASSERT_TRUE(second.reserve(&pool, 1).ok());
  EXPECT_EQ(second.pages()[0], first.pages()[0]);
  EXPECT_NE(second.pages()[1], first.pages()[1]);
  EXPECT_EQ(first_byte(pool, second.pages()[1]), 42);
}

// 70 tokens, and two forks of them: three holders of the begun page.
struct Forks {
  explicit Forks(PagePool* pool) {
    EXPECT_TRUE(first.reserve(pool, 70).ok());
    first.commit(70);
    second = first.fork(pool);
    third = first.fork(pool);
  }
  SequencePages first, second, third;
};

TEST(SequencePages, ForksThatGrowTogetherNeedACopyForAllButOne) {
  PagePool pool = small_pool(4);
  Forks forks(&pool);
  const Growth all[] = {{&forks.first, 1}, {&forks.second, 1}, {&forks.third, 1}};
  const Growth two[] = {{&forks.second, 1}, {&forks.third, 1}};
  EXPECT_EQ(pages_needed(pool, all), 2);
  EXPECT_EQ(pages_needed(pool, two), 2);  // the first one keeps the page
  ASSERT_TRUE(reserve(&pool, all).ok());
  EXPECT_EQ(pool.numbers().n_free(), 0);
  const std::set<int32_t> last = {forks.first.pages()[1], forks.second.pages()[1],
                                  forks.third.pages()[1]};
  EXPECT_EQ(last.size(), 3U);
}

TEST(SequencePages, AreReservedForAllOrForNone) {
  PagePool pool = small_pool(3);
  Forks forks(&pool);
  const Growth all[] = {{&forks.first, 1}, {&forks.second, 1}, {&forks.third, 1}};
  const Status status = reserve(&pool, all);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("1 pages of 64 tokens free of 3, the batch wants 2"),
            std::string::npos)
      << status.message();
  EXPECT_EQ(pool.numbers().n_free(), 1);
  EXPECT_EQ(forks.second.pages()[1], forks.first.pages()[1]);
}

}  // namespace
}  // namespace dsa
