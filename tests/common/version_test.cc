#include "dsa/version.h"

#include <gtest/gtest.h>

#include <string>

namespace dsa {
namespace {

TEST(Version, OfTheLibraryIsThatOfItsHeaders) {
  EXPECT_STREQ(version(), DSA_VERSION);
  EXPECT_EQ(version(), std::to_string(DSA_VERSION_MAJOR) + "." + std::to_string(DSA_VERSION_MINOR) +
                           "." + std::to_string(DSA_VERSION_PATCH));
}

}  // namespace
}  // namespace dsa
