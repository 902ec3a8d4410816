#include "trainer/run_log.h"

#include <gtest/gtest.h>

#include <limits>
#include <sstream>

#include "tests/io/temp_dir.h"

namespace dsa::trainer {
namespace {

std::string read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST(RunLog, GoesOnAfterAStep) {
  const TempDir dir;
  const std::string path = dir.write(
      "log", "{\"step\":1}\n{\"step\":2}\n{\"type\":\"note\"}\n{\"step\":3}\n{\"step\":2, half");
  auto log = RunLog::open(path, 2);
  ASSERT_TRUE(log.ok()) << log.status().message();
  ASSERT_TRUE(log->write({{"step", 3}, {"loss", std::numeric_limits<double>::quiet_NaN()}}).ok());
  EXPECT_EQ(read(path),
            "{\"step\":1}\n{\"step\":2}\n{\"type\":\"note\"}\n{\"step\":3,\"loss\":null}\n");
}

TEST(RunLog, BeginsAnew) {
  const TempDir dir;
  const std::string path = dir.write("log", "{\"step\":1}\n");
  ASSERT_TRUE(RunLog::open(path, 0).ok());
  EXPECT_EQ(read(path), "");
  EXPECT_FALSE(RunLog::open(dir.file("no/such/log"), 0).ok());
}

}  // namespace
}  // namespace dsa::trainer
