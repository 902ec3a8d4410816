#include "dsa/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace dsa {
namespace {

TEST(Status, IsOkUntilItHasAnErrorCode) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().message(), "");
  const Status error(StatusCode::kNotFound, "a.txt: no such file");
  EXPECT_FALSE(error.ok());
  EXPECT_EQ(error.code(), StatusCode::kNotFound);
  EXPECT_EQ(error.message(), "a.txt: no such file");
}

TEST(Status, EveryCodeHasANameOfItsOwn) {
  for (int i = 0; i <= static_cast<int>(StatusCode::kInternal); ++i) {
    const std::string name = status_code_name(static_cast<StatusCode>(i));
    EXPECT_NE(name, "unknown") << i;
    for (int j = 0; j < i; ++j)
      EXPECT_NE(name, status_code_name(static_cast<StatusCode>(j))) << i << " and " << j;
  }
  EXPECT_STREQ(status_code_name(StatusCode::kCancelled), "cancelled");
}

TEST(Result, HoldsAValue) {
  Result<std::string> result(std::string("abc"));
  EXPECT_TRUE(result.ok());
  EXPECT_TRUE(result.status().ok());
  EXPECT_EQ(result.value(), "abc");
  EXPECT_EQ(*result, "abc");
  EXPECT_EQ(result->size(), 3U);
  *result = "de";
  EXPECT_EQ(std::as_const(result).value(), "de");
}

TEST(Result, GivesAValueThatCanOnlyBeMoved) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 7);
}

TEST(Result, HoldsAnError) {
  const Result<int> result(Status(StatusCode::kCorruption, "byte 3: 9, want 0"));
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kCorruption);
  EXPECT_EQ(result.status().message(), "byte 3: 9, want 0");
}

TEST(Result, OfAStatusThatIsNoErrorIsAnError) {
  const Result<int> result{Status()};
  EXPECT_FALSE(result.ok());
  EXPECT_FALSE(result.status().ok());
  EXPECT_EQ(result.status().code(), StatusCode::kInternal);
}

TEST(ResultDeathTest, ValueOfAnErrorEndsTheProgramWithTheError) {
  Result<std::string> result(Status(StatusCode::kNotFound, "a.txt: no such file"));
  const char* const told = "not found: a.txt: no such file";
  EXPECT_DEATH((void)result.value(), told);
  EXPECT_DEATH((void)std::as_const(result).value(), told);
  EXPECT_DEATH((void)std::move(result).value(), told);
  EXPECT_DEATH((void)*result, told);
  EXPECT_DEATH((void)result->size(), told);
}

}  // namespace
}  // namespace dsa
