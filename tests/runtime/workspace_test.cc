#include "dsa/workspace.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace dsa {
namespace {

bool is_aligned(const uint8_t* p) {
  return reinterpret_cast<uintptr_t>(p) % Workspace::kAlignment == 0;
}

TEST(Workspace, OfItsOwnMemoryGrowsAndKeepsIt) {
  Workspace workspace;
  EXPECT_EQ(workspace.n_bytes(), 0);
  uint8_t* small = workspace.take(100).value();
  EXPECT_TRUE(is_aligned(small));
  uint8_t* large = workspace.take(5000).value();
  large[4999] = 1;
  const int64_t kept = workspace.n_bytes();
  EXPECT_EQ(workspace.take(4000).value(), large);
  EXPECT_EQ(workspace.n_bytes(), kept);
  EXPECT_TRUE(workspace.take(0).ok());
}

TEST(Workspace, OfTheCallersMemoryStaysInIt) {
  std::vector<uint8_t> memory(static_cast<size_t>(Workspace::unaligned_bytes(1000)) + 1);
  Workspace workspace{std::span(memory).subspan(1)};
  uint8_t* taken = workspace.take(1000).value();
  EXPECT_TRUE(is_aligned(taken));
  EXPECT_GE(taken, memory.data() + 1);
  EXPECT_LE(taken + 1000, memory.data() + memory.size());
  EXPECT_EQ(workspace.take(2000).status().message(), "workspace: 1063 bytes, want 2063");
  EXPECT_EQ(workspace.take(2000).status().code(), StatusCode::kInvalidArgument);
}

TEST(Workspace, SaysWhenTheSystemHasNotSoMuch) {
  Workspace workspace;
  const Result<uint8_t*> taken = workspace.take(int64_t{1} << 60);
  EXPECT_EQ(taken.status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(workspace.take(10).ok());
}

}  // namespace
}  // namespace dsa
