// The writers of dsa/ops.h.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dsa/ops.h"

#include "formats/cache_layout.h"
#include "reference/attention.h"
#include "reference/indexer.h"
#include "tests/ops/executors.h"
#include "tests/ops/paged_batch.h"

namespace dsa {
namespace {

using testing::HasSubstr;

constexpr CacheFormat kFormats[] = {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32};

// One rounding: half a unit of 4 significant bits in e4m3, of 8 in bf16.
double rounding(CacheFormat format) {
  if (format == CacheFormat::kF32) return 0;
  return format == CacheFormat::kFp8 ? 0x1p-4 : 0x1p-8;
}

TEST(WriteLatentRows, WritesTheSlotsAndNothingElse) {
  constexpr size_t kLatent = 136;
  constexpr size_t kRope = 16;
  const std::vector<int64_t> slots = {7, -1, 0, 23, 12};
  for (const CacheFormat format : kFormats) {
    for (const Geometry& geometry : {Geometry{8, 0, 0}, Geometry{5, 3, 11}}) {
      PagedMemory memory(5, geometry, latent_row_bytes(format, kLatent, kRope));
      const std::vector<float> latent = normal_values(slots.size() * kLatent, 1);
      const std::vector<float> rope = normal_values(slots.size() * kRope, 2);
      ReverseExecutor executor(3);
      ASSERT_TRUE(
          write_latent_rows({format, kLatent, kRope, latent, rope, slots, memory.view()}, executor)
              .ok());
      memory.expect_gaps_untouched();
      for (size_t i = 0; i < slots.size(); ++i) {
        if (slots[i] < 0) continue;
        const uint8_t* row =
            memory.row(slots[i] / geometry.page_tokens, slots[i] % geometry.page_tokens);
        const std::vector<double> got = reference::latent_row({format, kLatent, kRope}, row);
        for (size_t d = 0; d < kLatent + kRope; ++d) {
          const double want = d < kLatent ? latent[i * kLatent + d] : rope[i * kRope + d - kLatent];
          // Beside rounding: values far below the largest of a group, in fixed steps.
          EXPECT_LE(std::fabs(got[d] - want), rounding(format) * (std::fabs(want) + 0x1p-5));
        }
      }
      const int64_t row_bytes = latent_row_bytes(format, kLatent, kRope);
      for (int64_t slot = 0; slot < 5 * geometry.page_tokens; ++slot) {
        if (std::count(slots.begin(), slots.end(), slot) != 0) continue;
        const uint8_t* row = memory.row(slot / geometry.page_tokens, slot % geometry.page_tokens);
        EXPECT_EQ(std::count(row, row + row_bytes, PagedMemory::kCanary), row_bytes) << slot;
      }
    }
  }
}

TEST(WriteLatentRows, TakesBf16AsItsValues) {
  const std::vector<int64_t> slots = {2, 1};
  const std::vector<uint16_t> latent = to_bf16(normal_values(2 * 64, 3));
  const std::vector<uint16_t> rope = to_bf16(normal_values(2 * 8, 4));
  for (const CacheFormat format : kFormats) {
    const int64_t row_bytes = latent_row_bytes(format, 64, 8);
    PagedMemory from_f32(1, {4, 0, 0}, row_bytes);
    PagedMemory from_bf16(1, {4, 0, 0}, row_bytes);
    ThreadPool pool(1);
    ASSERT_TRUE(write_latent_rows(
                    {format, 64, 8, to_f32(latent), to_f32(rope), slots, from_f32.view()}, pool)
                    .ok());
    ASSERT_TRUE(
        write_latent_rows({format, 64, 8, latent, rope, slots, from_bf16.view()}, pool).ok());
    EXPECT_EQ(std::memcmp(from_f32.page(0), from_bf16.page(0), static_cast<size_t>(4 * row_bytes)),
              0);
  }
}

TEST(WriteLatentRows, NamesTheArgument) {
  std::vector<uint8_t> bytes(2 * 24);
  std::vector<float> latent(4);
  std::vector<float> rope(2);
  std::vector<int64_t> slots = {2};
  ThreadPool pool(1);
  WriteLatentRows args = {CacheFormat::kF32,
                          4,
                          2,
                          latent,
                          rope,
                          slots,
                          {.data = bytes.data(), .n_pages = 1, .page_tokens = 2}};
  EXPECT_EQ(write_latent_rows(args, pool).message(), "slots[0]: 2, want less than 2");
  slots[0] = 1;
  args.rope = latent;
  EXPECT_EQ(write_latent_rows(args, pool).message(), "rope: 4 elements, want 2");
  args.rope = rope;
  args.cache.data = nullptr;
  EXPECT_EQ(write_latent_rows(args, pool).message(), "cache: no data, want 1 pages");
  EXPECT_THAT(bytes, testing::Each(0));
}

TEST(WriteIndexKeys, WritesKeysIntoPagesApart) {
  constexpr size_t kDim = 64;
  const std::vector<int64_t> slots = {64, 3, -2, 130, 63};
  for (const CacheFormat format : kFormats) {
    const int64_t page_bytes = index_page_bytes(format, kDim);
    constexpr int64_t kGap = 17;
    std::vector<uint8_t> bytes(static_cast<size_t>(3 * (page_bytes + kGap)), PagedMemory::kCanary);
    const std::vector<float> keys = normal_values(slots.size() * kDim, 5);
    ThreadPool pool(3);
    ASSERT_TRUE(write_index_keys(
                    {format, kDim, keys, slots, {bytes.data(), 3, page_bytes + kGap, 0, 64}}, pool)
                    .ok());
    for (size_t i = 0; i < slots.size(); ++i) {
      if (slots[i] < 0) continue;
      const uint8_t* page = bytes.data() + slots[i] / 64 * (page_bytes + kGap);
      const std::vector<double> got =
          reference::index_key({format, kDim}, page, static_cast<size_t>(slots[i] % 64));
      for (size_t d = 0; d < kDim; ++d) {
        const double want = keys[i * kDim + d];
        EXPECT_LE(std::fabs(got[d] - want), rounding(format) * (std::fabs(want) + 0x1p-5));
      }
    }
    for (int64_t page = 0; page < 3; ++page) {
      const auto gap = bytes.begin() + page * (page_bytes + kGap) + page_bytes;
      EXPECT_TRUE(
          std::all_of(gap, gap + kGap, [](uint8_t b) { return b == PagedMemory::kCanary; }));
    }
  }
}

TEST(WriteIndexKeys, NamesTheArgument) {
  std::vector<uint8_t> bytes(static_cast<size_t>(index_page_bytes(CacheFormat::kBF16, 16)));
  const std::vector<float> keys(16);
  const std::vector<int64_t> slots = {64};
  ThreadPool pool(1);
  WriteIndexKeys args = {CacheFormat::kBF16, 16, keys, slots, {bytes.data(), 1, 0, 0, 64}};
  EXPECT_EQ(write_index_keys(args, pool).message(), "slots[0]: 64, want less than 64");
  args.cache.row_stride = 32;
  EXPECT_EQ(write_index_keys(args, pool).message(), "cache: row_stride 32, want 0");
  args.cache.row_stride = 0;
  args.dim = 8;
  EXPECT_EQ(write_index_keys(args, pool).message(), "keys: 16 elements, want 8");
}

}  // namespace
}  // namespace dsa
