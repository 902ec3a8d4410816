#include "io/mapped_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "io/safetensors.h"
#include "tests/io/safetensors_bytes.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using ::testing::HasSubstr;

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, ShowsTheBytesOfTheFile) {
  const TempDir dir;
  const auto file = MappedFile::open(dir.write("f", std::string("a\0b", 3)));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(text_of(*file), std::string("a\0b", 3));
}

TEST(MappedFile, OpensAnEmptyFile) {
  const TempDir dir;
  const auto file = MappedFile::open(dir.write("f", ""));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFile, KeepsItsBytesWhenMoved) {
  const TempDir dir;
  auto first = MappedFile::open(dir.write("f", "first"));
  auto second = MappedFile::open(dir.write("g", "second"));
  ASSERT_TRUE(first.ok() && second.ok());
  MappedFile moved(std::move(first).value());
  EXPECT_EQ(text_of(moved), "first");
  moved = std::move(second).value();
  EXPECT_EQ(text_of(moved), "second");
}

TEST(MappedFile, NamesThePathAndTheReasonWhenItCannotOpen) {
  const TempDir dir;
  const std::string path = dir.file("absent");
  const auto file = MappedFile::open(path);
  EXPECT_EQ(file.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(file.status().message(), path + ": cannot open: No such file or directory");
}

TEST(MappedFile, RefusesADirectoryAndAPipe) {
  const TempDir dir;
  EXPECT_EQ(MappedFile::open(dir.path()).status().code(), StatusCode::kInvalidArgument);
  const std::string pipe = dir.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::open(pipe).status().message(), HasSubstr("not a regular file"));
}

// Pages of this process in memory.
int64_t resident_bytes() {
  int64_t total = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST(MappedFile, OpensA16GigabyteTensorFileWithoutReadingIt) {
  constexpr int64_t kDataBytes = int64_t{16} << 30;
  constexpr int64_t kMayGrow = int64_t{8} << 20;
  const TempDir dir;
  const std::string header =
      R"({"w":{"dtype":"U8","shape":[17179869184],"data_offsets":[0,17179869184]}})";
  const std::string path = dir.write("big", safetensors_bytes(header, 0));
  if (::truncate(path.c_str(), static_cast<off_t>(8 + header.size()) + kDataBytes) != 0) {
    GTEST_SKIP() << "this file system has no sparse files of 16 GB";
  }
  const int64_t before = resident_bytes();
  const auto file = SafetensorsFile::open(path);
  const int64_t after = resident_bytes();
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file->find("w")->data.size(), static_cast<size_t>(kDataBytes));
  EXPECT_EQ(file->find("w")->data.back(), std::byte{0});
  ASSERT_GT(before, 0);
  EXPECT_LE(after - before, kMayGrow);
}

}  // namespace
}  // namespace dsa
