#include "tokenizer/utf8.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <array>
#include <bit>
#include <cstdint>
#include <string>

namespace dsa {
namespace {

// Decodes by arithmetic instead of by the table of ranges: length of the character at the front, 0
// when there is none.
std::size_t character_at_front(const std::string& text) {
  const auto at = [&](std::size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(text[i]));
  };
  // 0xxxxxxx, 110xxxxx, 1110xxxx, 11110xxx: the ones in front count the bytes.
  const int ones = std::countl_one(static_cast<uint8_t>(text[0]));
  if (ones == 1 || ones > 4) return 0;
  const std::size_t n = ones == 0 ? 1 : static_cast<std::size_t>(ones);
  uint32_t code = at(0) & (0xFFU >> (ones + 1));
  if (text.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if (at(i) >> 6 != 2) return 0;
    code = code << 6 | (at(i) & 0x3F);
  }
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  return code < kLeast[n] || surrogate || code > 0x10FFFF ? 0 : n;
}

// Bytes at which the ranges of UTF-8 begin and end.
constexpr std::array<int, 24> kEdges = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                        0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
                                        0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};

template <class Visit>
void for_each_text(std::size_t length, std::string& text, const Visit& visit) {
  if (text.size() == length) return visit(text);
  for (const int byte : kEdges) {
    text.push_back(static_cast<char>(byte));
    for_each_text(length, text, visit);
    text.pop_back();
  }
}

TEST(Utf8, KnowsACharacterFromWhatIsNoneOnEveryTextOfEdgeBytes) {
  for (std::size_t length = 1; length <= 4; ++length) {
    std::string text;
    for_each_text(length, text, [](const std::string& bytes) {
      const Utf8Part part = first_utf8_part(bytes);
      const std::size_t want = character_at_front(bytes);
      ASSERT_EQ(part.kind == Utf8Kind::kWhole, want > 0) << testing::PrintToString(bytes);
      ASSERT_TRUE(want == 0 || part.n_bytes == want) << testing::PrintToString(bytes);
      ASSERT_GE(part.n_bytes, 1U);
      ASSERT_LE(part.n_bytes, bytes.size());
    });
  }
}

// Unfinished means that some more bytes would make it whole.
TEST(Utf8, CallsUnfinishedExactlyWhatCanBeFinished) {
  for (std::size_t length = 1; length <= 3; ++length) {
    std::string text;
    for_each_text(length, text, [](const std::string& bytes) {
      bool can = false;
      for (const char* end : {"\x80", "\x90", "\xA0", "\x80\x80", "\x90\x80", "\xA0\x80",
                              "\x80\x80\x80", "\x90\x80\x80"}) {
        can = can || character_at_front(bytes + end) > bytes.size();
      }
      ASSERT_EQ(first_utf8_part(bytes).kind == Utf8Kind::kUnfinished, can)
          << testing::PrintToString(bytes);
    });
  }
}

TEST(Utf8, ReplacesEachMaximalPartOnceAndGivesUtf8) {
  const std::string r(kReplacement);
  const auto mended = [](std::string_view text) {
    std::string out;
    const std::size_t used = append_well_formed(text, out);
    EXPECT_TRUE(simdjson::validate_utf8(out));
    return std::pair(out, text.size() - used);
  };
  EXPECT_EQ(mended("ok \xC3\xA9"), std::pair(std::string("ok \xC3\xA9"), std::size_t{0}));
  EXPECT_EQ(mended("\xE4\xBD"), std::pair(std::string(), std::size_t{2}));
  EXPECT_EQ(mended("\xE4\xBDx"), std::pair(r + "x", std::size_t{0}));
  EXPECT_EQ(mended("\xED\xA0\x80"), std::pair(r + r + r, std::size_t{0}));
  EXPECT_EQ(mended("\xF0\x9F\x98\xF0\x9F\x98\x80"),
            std::pair(r + "\xF0\x9F\x98\x80", std::size_t{0}));
}

}  // namespace
}  // namespace dsa
