#include "grammar/schema_keywords.h"

#include <algorithm>
#include <array>

namespace dsa::grammar {
namespace {

constexpr std::array<std::string_view, 30> kRead = {"type",
                                                    "properties",
                                                    "required",
                                                    "additionalProperties",
                                                    "propertyNames",
                                                    "patternProperties",
                                                    "minProperties",
                                                    "maxProperties",
                                                    "items",
                                                    "prefixItems",
                                                    "additionalItems",
                                                    "minItems",
                                                    "maxItems",
                                                    "uniqueItems",
                                                    "enum",
                                                    "const",
                                                    "anyOf",
                                                    "oneOf",
                                                    "allOf",
                                                    "$ref",
                                                    "nullable",
                                                    "minLength",
                                                    "maxLength",
                                                    "pattern",
                                                    "format",
                                                    "minimum",
                                                    "maximum",
                                                    "exclusiveMinimum",
                                                    "exclusiveMaximum",
                                                    "multipleOf"};

constexpr std::array<std::string_view, 16> kRefused = {"not",
                                                       "if",
                                                       "then",
                                                       "else",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "dependencies",
                                                       "dependentRequired",
                                                       "dependentSchemas",
                                                       "unevaluatedItems",
                                                       "unevaluatedProperties",
                                                       "$dynamicRef",
                                                       "$recursiveRef",
                                                       "disallow",
                                                       "extends"};

template <typename Names>
bool has(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

KeywordKind kind_of_keyword(std::string_view keyword) {
  if (has(kRead, keyword)) return KeywordKind::kRead;
  return has(kRefused, keyword) ? KeywordKind::kRefused : KeywordKind::kAnnotation;
}

}  // namespace dsa::grammar
