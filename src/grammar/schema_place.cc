#include "grammar/schema_place.h"

#include <charconv>

#include "common/status_macros.h"

namespace dsa::grammar {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 30;

}  // namespace

Place Place::member(const JsonValue& child, std::string_view key) const {
  return {&child, fmt::format("{}.{}", path, key)};
}

Status Place::wrong(std::string_view want) const {
  return invalid_argument("{}: {}, want {}", path, json_kind_name(value->kind), want);
}

Result<int64_t> read_count(const Place& place, std::string_view key, int64_t otherwise) {
  const JsonValue* value = place.value->find(key);
  if (value == nullptr) return otherwise;
  std::string_view text = value->text;
  if (text.ends_with(".0")) text.remove_suffix(2);  // Python's spelling of a whole float
  int64_t number = -1;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  const bool whole = value->kind == JsonKind::kNumber && parsed.ec == std::errc() &&
                     parsed.ptr == end && number >= 0 && number <= kMaxCount;
  if (whole) return number;
  return invalid_argument("{}.{}: {:.40}, want a whole number from 0 to {}", place.path, key,
                          dump_json(*value), kMaxCount);
}

Result<Counts> read_counts(const Place& place, std::string_view least, std::string_view most) {
  Counts out;
  DSA_ASSIGN_OR_RETURN(out.least, read_count(place, least, 0));
  DSA_ASSIGN_OR_RETURN(out.most, read_count(place, most, -1));
  if (out.most < 0 || out.least <= out.most) return out;
  return invalid_argument("{}.{}: {}, want at most {}, which is {}", place.path, least, out.least,
                          most, out.most);
}

}  // namespace dsa::grammar
