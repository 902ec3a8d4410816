// The tags that tool calls are made of, as models write them: with more or less white space, their
// attributes in any order and in either kind of quotes, or in none.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dsa::chat {

inline constexpr std::string_view kSpaces = " \t\r\n";

struct Tag {
  enum class Of : unsigned char { kCalls, kInvoke, kParameter };
  Of of = Of::kCalls;
  bool closes = false;
  std::vector<std::pair<std::string, std::string>> attributes;
  std::size_t size = 0;  // bytes of text it takes

  bool is(Of what, bool closing) const { return of == what && closes == closing; }
  const std::string* find(std::string_view name) const;  // null when absent
};

enum class TagRead : unsigned char { kNone, kUnfinished, kWhole };

// The tag that `text` begins with. One that has not ended after 1,024 bytes is none.
TagRead read_tag(std::string_view text, Tag& tag);

bool starts_with(std::string_view text, std::string_view beginning);
// Whether more text could make it start so.
bool may_start_with(std::string_view text, std::string_view beginning);

}  // namespace dsa::chat
