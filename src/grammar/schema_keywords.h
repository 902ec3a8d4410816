// The keywords of JSON schema (drafts 4 to 2020-12, and OpenAPI's `nullable`).
#pragma once

#include <cstdint>
#include <string_view>

namespace dsa::grammar {

enum class KeywordKind : uint8_t {
  kRead,
  kRefused,     // bounds values in a way that is not supported
  kAnnotation,  // says nothing about values: all that JSON schema does not know, as it wants
};

KeywordKind kind_of_keyword(std::string_view keyword);

inline bool is_annotation(std::string_view keyword) {
  return kind_of_keyword(keyword) == KeywordKind::kAnnotation;
}

}  // namespace dsa::grammar
