#include "io/safetensors.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <utility>

#include "tests/io/safetensors_bytes.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Result<SafetensorsFile> parse(const std::string& bytes) {
  return SafetensorsFile::parse(std::as_bytes(std::span(bytes)), "f");
}

// The header of a file of one tensor, x.
std::string x(std::string_view description) {
  return fmt::format(R"({{"x":{}}})", description);
}

TEST(Safetensors, ListsTensorsInTheOrderOfTheirBytes) {
  const std::string bytes = small_safetensors();
  const auto file = parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file->tensors().size(), 3U);
  const StoredTensor& a = file->tensors()[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, DType::kF32);
  EXPECT_THAT(a.shape, ElementsAre(2, 2));
  EXPECT_EQ(a.data.size(), 16U);
  EXPECT_EQ(a.data.data(), std::as_bytes(std::span(bytes)).last(21).data());
  EXPECT_EQ(file->tensors()[1].data.front(), std::byte{16});
  EXPECT_EQ(file->tensors()[2].shape.size(), 0U);
}

TEST(Safetensors, FindsTensorsByNameAlsoAfterAMove) {
  const std::string bytes = small_safetensors();
  auto file = parse(bytes);
  ASSERT_TRUE(file.ok());
  const StoredTensor* const b = file->find("b");
  const SafetensorsFile moved = std::move(file).value();
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(moved.find("b"), b);
  EXPECT_EQ(b->name, "b");
  EXPECT_EQ(moved.find("B"), nullptr);
  EXPECT_EQ(moved.find(""), nullptr);
  EXPECT_EQ(moved.find("bb"), nullptr);
}

TEST(Safetensors, AcceptsEmptyFilesEmptyTensorsAndPaddedHeaders) {
  EXPECT_TRUE(parse(safetensors_bytes("{}", 0)).ok());
  EXPECT_TRUE(parse(safetensors_bytes("{}      ", 0)).ok());
  EXPECT_TRUE(parse(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},)"
                                      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                      R"("c":{"dtype":"I64","shape":[0],"data_offsets":[1,1]}})",
                                      1))
                  .ok());
}

TEST(Safetensors, ListsTensorsOfTypesItCannotRead) {
  const std::string header = x(R"({"dtype":"F64","shape":[2],"data_offsets":[0,16]})");
  const std::string bytes = safetensors_bytes(header, 16);
  const auto file = parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->find("x")->dtype, std::nullopt);
  EXPECT_EQ(file->find("x")->dtype_text, "F64");
}

TEST(Safetensors, RefusesEveryProperPrefixOfAFile) {
  const std::string bytes = small_safetensors();
  for (size_t n = 0; n < bytes.size(); ++n) {
    // A copy of exactly n bytes, so that a sanitizer sees any read beyond them.
    const std::vector<char> prefix(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    const auto file = SafetensorsFile::parse(std::as_bytes(std::span(prefix)), "f");
    EXPECT_EQ(file.status().code(), StatusCode::kCorruption) << n << " bytes";
  }
}

TEST(Safetensors, RefusesHeaderLengthsThatTheFileCannotHold) {
  for (const uint64_t length : {uint64_t{0}, uint64_t{4}, uint64_t{1} << 63, UINT64_MAX,
                                UINT64_MAX - 7, uint64_t{100'000'001}}) {
    const auto file = parse(length_bytes(length) + "{} ");
    EXPECT_EQ(file.status().code(), StatusCode::kCorruption) << length;
  }
}

struct BadHeader {
  std::string header;
  size_t data_bytes;
  std::string message;  // a part of it
};

void expect_refused(const std::vector<BadHeader>& headers) {
  for (const BadHeader& bad : headers) {
    const auto file = parse(safetensors_bytes(bad.header, bad.data_bytes));
    EXPECT_EQ(file.status().code(), StatusCode::kCorruption) << bad.header;
    EXPECT_THAT(file.status().message(), AllOf(StartsWith("f: "), HasSubstr(bad.message)))
        << bad.header;
  }
}

TEST(Safetensors, RefusesOffsetsThatDoNotTileTheData) {
  expect_refused({{x(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), 4,
                   R"(tensor "x": shape [2] of F32 needs 8 bytes, data_offsets span 4)"},
                  {x(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), 4, "[4, 0], want"},
                  {x(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), 3, "[0, 4], want"},
                  {x(R"({"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]})"), 1,
                   "want begin <= end <= 1"},
                  {x(R"({"dtype":"U8","shape":[3],"data_offsets":[1,4]})"), 4, "a hole before it"},
                  {x(R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]})"), 4,
                   "tensors cover 3 bytes of data, the file has 4"},
                  {R"({"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                   R"("y":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}})",
                   5, R"(tensor "y": begins at byte 2 of the data, want 3 (it overlaps another)"},
                  {R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                   R"("x":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                   4, R"(tensor "x" twice)"}});
}

TEST(Safetensors, RefusesShapesThatAreNoShapes) {
  expect_refused(
      {{x(R"({"dtype":"U8","shape":[1099511627776,1099511627776],"data_offsets":[0,0]})"), 0,
        "overflows"},
       {x(R"({"dtype":"I64","shape":[4611686018427387904],"data_offsets":[0,0]})"), 0, "overflows"},
       {x(R"({"dtype":"F64","shape":[4611686018427387904,3],"data_offsets":[0,0]})"), 0,
        "overflows"},
       {x(R"({"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,0]})"), 0,
        "shape has 9223372036854775807"},
       {x(R"({"dtype":"U8","shape":[-1],"data_offsets":[0,1]})"), 1, "shape has -1"},
       {x(R"({"dtype":"U8","shape":[1.0],"data_offsets":[0,1]})"), 1, "shape has 1.0"},
       {x(R"({"dtype":"U8","shape":["1"],"data_offsets":[0,1]})"), 1, "shape has \"1\""},
       {x(R"({"dtype":"U8","shape":1,"data_offsets":[0,1]})"), 1, "not an array"}});
}

TEST(Safetensors, RefusesHeadersOfAnotherForm) {
  expect_refused(
      {{"[]", 0, "does not begin with '{'"},
       {" {}", 0, "does not begin with '{'"},
       {"{", 0, "not JSON"},
       {"{}{}", 0, "not JSON"},
       {"{\"\xFF\":1}", 0, "not JSON"},
       {std::string("{}\0", 3), 0, "not JSON"},
       {x("1"), 0, "is not a JSON object"},
       {x(R"({"dtype":"U8","shape":[0]})"), 0, "lacks one of"},
       {x(R"({"shape":[0],"data_offsets":[0,0]})"), 0, "lacks one of"},
       {x(R"({"dtype":7,"shape":[0],"data_offsets":[0,0]})"), 0, "dtype is not a string"},
       {x(R"({"dtype":"U8","shape":[0],"data_offsets":[0]})"), 0, "not a pair"},
       {x(R"({"dtype":"U8","shape":[0],"data_offsets":[0,-1]})"), 0, "not a pair"},
       {x(R"({"dtype":"U8","shape":[0],"data_offsets":[0,0.5]})"), 0, "not a pair"},
       {x(R"({"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]})"), 0, "\"shape\" twice"},
       {x(R"({"dtype":"U8","shape":[0],"data_offsets":[0,0],"z":0})"), 0, "\"z\" twice"},
       {R"({"__metadata__":[]})", 0, "__metadata__ is not"},
       {R"({"__metadata__":{"a":1}})", 0, "__metadata__ \"a\" is not a string"},
       {R"({"__metadata__":{"a":"","a":""}})", 0, "__metadata__ \"a\" twice"},
       {R"({"__metadata__":{},"__metadata__":{}})", 0, "__metadata__ twice"}});
}

TEST(Safetensors, RefusesDeepNesting) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_THAT(parse(safetensors_bytes(x(deep), 0)).status().message(), HasSubstr("not JSON"));
}

TEST(Safetensors, KeepsMessagesShortWhenNamesAreLong) {
  const std::string name(100000, 'n');
  const auto file = parse(safetensors_bytes(fmt::format(R"({{"{}":1}})", name), 0));
  EXPECT_LE(file.status().message().size(), 300U);
}

// What every accepted file promises its user.
void check_promises(const SafetensorsFile& file, const std::string& bytes) {
  const auto all = std::as_bytes(std::span(bytes));
  const std::byte* next = nullptr;
  for (const StoredTensor& tensor : file.tensors()) {
    if (next != nullptr) {
      ASSERT_EQ(tensor.data.data(), next);
    }
    next = tensor.data.data() + tensor.data.size();
    ASSERT_EQ(file.find(tensor.name), &tensor);
  }
  if (next != nullptr) {
    ASSERT_EQ(next, all.data() + all.size());
  }
}

TEST(Safetensors, SurvivesRandomDamageToItsHeader) {
  const std::string whole = small_safetensors();
  const size_t header_end = whole.size() - 21;
  const std::string_view alphabet = "0123456789-.eE[]{}:,\"\\ aFUx\x80";
  std::mt19937 random(1);
  const auto pick = [&random](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  int n_accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = whole;
    for (size_t edits = pick(3) + 1; edits > 0; --edits) {
      const size_t at = 8 + pick(header_end - 8);
      const char c = alphabet[pick(alphabet.size())];
      if (pick(4) == 0) {
        bytes.insert(at, 1, c);
        bytes.replace(0, 8, length_bytes(bytes.size() - 21 - 8));
      } else {
        bytes[at] = c;
      }
    }
    const auto file = parse(bytes);
    if (file.ok()) {
      ++n_accepted;
      ASSERT_NO_FATAL_FAILURE(check_promises(*file, bytes));
    } else {
      ASSERT_EQ(file.status().code(), StatusCode::kCorruption);
    }
  }
  EXPECT_GT(n_accepted, 100);  // else the damage never reaches the checks behind the JSON
}

TEST(Safetensors, OpensAFileByPath) {
  const TempDir dir;
  const std::string path = dir.write("m.safetensors", small_safetensors());
  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->name(), path);
  EXPECT_EQ(file->find("b")->data.back(), std::byte{18});
  EXPECT_EQ(SafetensorsFile::open(dir.file("no")).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace dsa
