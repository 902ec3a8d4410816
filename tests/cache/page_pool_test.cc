#include "cache/page_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

namespace dsa {
namespace {

PagePoolOptions options(int64_t n_pages) {
  PagePoolOptions result;
  result.latent = {CacheFormat::kFp8, 512, 64};
  result.index = {CacheFormat::kFp8, 128};
  result.n_layers = 3;
  result.has_index = {true, false, true};
  result.n_pages = n_pages;
  return result;
}

TEST(PagePool, TakesTheBytesTheLayoutsSay) {
  const auto pool = PagePool::create(options(10));
  ASSERT_TRUE(pool.ok()) << pool.status().message();
  EXPECT_EQ(pool->latent_bytes(), 3 * 10 * 64 * 656);
  EXPECT_EQ(pool->index_bytes(), 2 * 10 * 64 * 132);  // one layer stores no keys
}

TEST(PagePool, GivesAllPagesAskedForOrNone) {
  auto pool = PagePool::create(options(4));
  std::vector<int32_t> pages;
  ASSERT_TRUE(pool->acquire(3, &pages).ok());
  const Status status = pool->acquire(2, &pages);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("1 pages of 64 tokens free of 4"), std::string::npos);
  EXPECT_EQ(pages.size(), 3U);
  EXPECT_EQ(pool->n_free(), 1);
  EXPECT_TRUE(pool->acquire(1, &pages).ok());
  EXPECT_EQ(pool->n_free(), 0);
}

TEST(PagePool, FreesAPageWithItsLastHolder) {
  auto pool = PagePool::create(options(1));
  std::vector<int32_t> pages;
  ASSERT_TRUE(pool->acquire(1, &pages).ok());
  pool->share(pages[0]);
  pool->release(pages[0]);
  EXPECT_EQ(pool->n_free(), 0);
  pool->release(pages[0]);
  EXPECT_EQ(pool->n_free(), 1);
}

TEST(PagePool, CopiesAPageInEveryLayer) {
  auto pool = PagePool::create(options(2));
  const size_t latent = pool->latent_layout().page_bytes();
  const size_t index = pool->index_layout().page_bytes();
  for (const int64_t layer : {0, 1, 2})
    std::memset(pool->latent(layer), static_cast<int>(7 + layer), latent);
  for (const int64_t layer : {0, 2})
    std::memset(pool->index(layer), static_cast<int>(17 + layer), index);
  pool->copy_page(0, 1);
  for (const int64_t layer : {0, 1, 2}) {
    EXPECT_EQ(pool->latent(layer)[latent], 7 + layer);
    EXPECT_EQ(pool->latent(layer)[2 * latent - 1], 7 + layer);
  }
  for (const int64_t layer : {0, 2})
    EXPECT_EQ(pool->index(layer)[2 * index - 1], 17 + layer);
}

TEST(PagePool, RefusesSizesThatCannotBe) {
  EXPECT_EQ(PagePool::create(options(0)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(PagePool::create(options(int64_t{1} << 40)).status().code(),
            StatusCode::kInvalidArgument);
  PagePoolOptions huge = options(std::numeric_limits<int32_t>::max() / 64);
  huge.n_layers = std::numeric_limits<int32_t>::max();
  huge.has_index.clear();
  EXPECT_EQ(PagePool::create(huge).status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace dsa
