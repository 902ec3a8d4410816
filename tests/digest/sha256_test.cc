#include "digest/sha256.h"

#include <gtest/gtest.h>

#include <vector>

namespace dsa {
namespace {

TEST(Sha256, GivesTheDigestsOfTheStandard) {
  Sha256 hash;
  EXPECT_EQ(to_hex(hash.finish()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  hash.add("abc");
  EXPECT_EQ(to_hex(hash.finish()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, TakesIntegersAsLittleEndianBytes) {
  Sha256 hash;
  hash.add(std::vector<int32_t>{0x64636261});
  const Digest integers = hash.finish();
  hash.add("ab");
  hash.add("cd");
  EXPECT_EQ(integers, hash.finish());
}

}  // namespace
}  // namespace dsa
