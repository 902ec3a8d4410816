#include "cache/page_pool.h"

#include <gmock/gmock.h>

#include <cstring>
#include <limits>

namespace dsa {
namespace {

using testing::HasSubstr;

// Two layers: rows and keys, and a layer of pooled rows with a state.
PagePoolOptions options(int64_t n_pages) {
  PagePoolOptions result;
  result.planes = {{0, "rows", 1, 64 * 10},
                   {0, "keys", 1, 64 * 3},
                   {1, "rows", 4, 16 * 7},
                   {1, "tail", 1, 0, 33}};
  result.n_pages = n_pages;
  return result;
}

constexpr int64_t kPageBytes = 64 * 10 + 64 * 3 + 16 * 7 + 33;

std::string refusal(const PagePoolOptions& options) {
  return PagePool::create(options).status().message();
}

TEST(PagePool, TakesTheBytesOfItsPlanes) {
  const auto pool = PagePool::create(options(10));
  ASSERT_TRUE(pool.ok()) << pool.status().message();
  EXPECT_EQ(pool->memory().page_bytes(), kPageBytes);
  EXPECT_EQ(pool->bytes_of("rows"), 10 * (64 * 10 + 16 * 7));
  EXPECT_EQ(pool->bytes_of("tail"), 10 * 33);
  EXPECT_EQ(pool->n_tokens(), 640);
  EXPECT_TRUE(pool->has_state());
}

TEST(PagePool, FindsAPlaneByLayerAndName) {
  const auto pool = PagePool::create(options(10));
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(pool->find(1, "rows"), 2U);
  EXPECT_EQ(pool->find(1, "keys"), std::nullopt);
  EXPECT_EQ(pool->find(2, "rows"), std::nullopt);
  EXPECT_EQ(pool->plane(1, "rows").base, pool->plane(2).base);
  EXPECT_EQ(pool->plane(1, "rows").stride, 16U * 7);
  EXPECT_EQ(pool->plane(1, "keys").base, nullptr);
}

// Fills every plane's part of a page with a byte of its own.
void fill(const PagePool& pool, int32_t page, int first) {
  for (size_t i = 0; i < 4; ++i)
    std::memset(pool.plane(i).page(page), first + static_cast<int>(i), pool.plane(i).stride);
}

std::vector<uint8_t> exported(const PagePool& pool, int32_t page) {
  std::vector<uint8_t> bytes(pool.memory().page_bytes());
  pool.memory().export_page(page, bytes.data());
  return bytes;
}

TEST(PagePool, CopiesAPageInEveryPlaneAndNoOther) {
  auto pool = PagePool::create(options(3));
  fill(*pool, 0, 7);
  fill(*pool, 1, 17);
  fill(*pool, 2, 27);
  const std::vector<uint8_t> before = exported(*pool, 2);
  pool->memory().copy_page(0, 1);
  EXPECT_EQ(exported(*pool, 1), exported(*pool, 0));
  EXPECT_EQ(exported(*pool, 2), before);
}

TEST(PagePool, ExportsPlaneByPlane) {
  auto pool = PagePool::create(options(3));
  fill(*pool, 1, 7);
  std::vector<uint8_t> wanted;
  for (const auto& [value, n] : {std::pair(7, 640), {8, 192}, {9, 112}, {10, 33}})
    wanted.insert(wanted.end(), static_cast<size_t>(n), static_cast<uint8_t>(value));
  EXPECT_EQ(exported(*pool, 1), wanted);
  pool->memory().import_page(2, wanted.data());
  EXPECT_EQ(exported(*pool, 2), wanted);
}

TEST(PagePool, RefusesSizesThatCannotBe) {
  EXPECT_EQ(PagePool::create(options(0)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(PagePool::create(options(int64_t{1} << 40)).status().code(),
            StatusCode::kInvalidArgument);
  PagePoolOptions huge = options(std::numeric_limits<int32_t>::max() / 64);
  huge.planes[1].bytes_per_page = size_t{1} << 40;
  EXPECT_EQ(PagePool::create(huge).status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refusal(huge), HasSubstr("keys of layer 0"));
  for (const int64_t tokens : {0, 8, 48, 8192}) {
    PagePoolOptions odd = options(1);
    odd.page_tokens = tokens;
    EXPECT_THAT(refusal(odd), HasSubstr("want a power of two from 16 to 4096"));
  }
}

TEST(PagePool, RefusesPlanesThatDoNotFitItsPages) {
  PagePoolOptions wide = options(1);
  wide.planes[2].tokens_per_entry = 128;
  EXPECT_THAT(refusal(wide), HasSubstr("rows of layer 1: 128 tokens per entry"));
  wide.page_tokens = 128;
  EXPECT_TRUE(PagePool::create(wide).ok());
  PagePoolOptions both = options(1);
  both.planes[3].bytes_per_page = 5;
  EXPECT_THAT(refusal(both), HasSubstr("tail of layer 1: 5 bytes per page, 33 per sequence"));
  both.planes[3] = {1, "tail"};
  EXPECT_THAT(refusal(both), HasSubstr("want one of them"));
}

}  // namespace
}  // namespace dsa
