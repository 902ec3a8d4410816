#include "runtime/scratch.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace dsa {
namespace {

TEST(ScratchPlan, GivesEveryPieceItsOwnAlignedZeroedMemory) {
  float* floats = nullptr;
  uint8_t* bytes = nullptr;
  int32_t* none = nullptr;
  ScratchPlan plan;
  plan.add(&floats, 3);
  plan.add(&none, 0);
  plan.add(&bytes, 65);
  const auto buffer = plan.allocate("test");
  ASSERT_TRUE(buffer.ok()) << buffer.status().message();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(floats) % 64, 0U);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes) % 64, 0U);
  EXPECT_EQ(floats[2], 0.0F);
  floats[0] = floats[1] = floats[2] = 1.0F;
  for (int i = 0; i < 65; ++i)
    EXPECT_EQ(bytes[i], 0);
  EXPECT_EQ(buffer->size(), 64U + 128U);
}

TEST(ScratchPlan, RefusesSizesThatDoNotFit) {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  // As a product, after rounding up, and as a sum.
  for (const std::vector<size_t>& sizes :
       {std::vector<size_t>{kMost / 4 + 2}, {kMost / 4}, {kMost / 8, kMost / 8 + 64, 1}}) {
    std::vector<float*> pieces(sizes.size(), nullptr);
    ScratchPlan plan;
    for (size_t i = 0; i < sizes.size(); ++i)
      plan.add(&pieces[i], sizes[i]);
    const auto buffer = plan.allocate("the activations");
    ASSERT_FALSE(buffer.ok());
    EXPECT_EQ(buffer.status().code(), StatusCode::kResourceExhausted);
    EXPECT_NE(buffer.status().message().find("the activations: more"), std::string::npos);
  }
}

TEST(AlignedBuffer, TakesMemoryWhenItIsWrittenOrWhenItIsTold) {
  constexpr size_t kBytes = size_t{8} << 20;
  AlignedBuffer buffer = AlignedBuffer::allocate(kBytes, "the cache").value();
  std::vector<unsigned char> resident(kBytes / static_cast<size_t>(sysconf(_SC_PAGESIZE)));
  const auto n_resident = [&] {
    EXPECT_EQ(mincore(buffer.data(), kBytes, resident.data()), 0);
    return std::count_if(resident.begin(), resident.end(), [](unsigned char c) { return c & 1U; });
  };
  EXPECT_EQ(n_resident(), 0);
  EXPECT_TRUE(buffer.make_resident("the cache").ok());
  EXPECT_EQ(n_resident(), static_cast<ptrdiff_t>(resident.size()));
  EXPECT_EQ(buffer.data()[kBytes / 2], 0);
  EXPECT_TRUE(AlignedBuffer().make_resident("nothing").ok());
}

TEST(AlignedBuffer, RefusesWhatTheSystemCannotGive) {
  const auto buffer = AlignedBuffer::allocate(std::numeric_limits<size_t>::max() / 2, "the cache");
  ASSERT_FALSE(buffer.ok());
  EXPECT_EQ(buffer.status().code(), StatusCode::kResourceExhausted);
  EXPECT_NE(buffer.status().message().find("the cache"), std::string::npos);
}

TEST(AlignedBuffer, MovesItsMemory) {
  auto first = AlignedBuffer::allocate(100, "test");
  uint8_t* data = first->data();
  AlignedBuffer second = std::move(*first);
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(second.size(), 100U);
}

}  // namespace
}  // namespace dsa
