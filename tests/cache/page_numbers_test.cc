#include "cache/page_numbers.h"

#include <gmock/gmock.h>

namespace dsa {
namespace {

TEST(PageNumbers, GivesAllPagesAskedForOrNone) {
  PageNumbers numbers(4);
  std::vector<int32_t> pages;
  ASSERT_TRUE(numbers.acquire(3, &pages).ok());
  const Status status = numbers.acquire(2, &pages);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), testing::HasSubstr("1 pages free of 4, want 2"));
  EXPECT_EQ(pages.size(), 3U);
  EXPECT_EQ(numbers.n_free(), 1);
  EXPECT_TRUE(numbers.acquire(1, &pages).ok());
  EXPECT_EQ(numbers.n_free(), 0);
}

TEST(PageNumbers, FreesAPageWithItsLastHolder) {
  PageNumbers numbers(1);
  std::vector<int32_t> pages;
  ASSERT_TRUE(numbers.acquire(1, &pages).ok());
  numbers.share(pages[0]);
  EXPECT_EQ(numbers.holders(pages[0]), 2);
  numbers.release(pages[0]);
  EXPECT_EQ(numbers.n_free(), 0);
  numbers.release(pages[0]);
  EXPECT_EQ(numbers.n_free(), 1);
}

}  // namespace
}  // namespace dsa
