#include "server/json.h"

#include <fmt/format.h>

#include <vector>

namespace server {
namespace {

constexpr int kMaxDepth = 128;
// Of one object: a member is looked for among those before it.
constexpr size_t kMaxMembers = 4096;
constexpr size_t kMaxShown = 60;  // characters

// "[json.exception.parse_error.101] parse error at line 1, ..." without its first part
std::string_view reason(std::string_view what) {
  const size_t end = what.find("] ");
  return end == std::string_view::npos ? what : what.substr(end + 2);
}

}  // namespace

dsa::Result<Json> parse_json(std::string_view text) {
  std::string refusal;
  std::vector<size_t> members;  // of each object or list that is open
  const auto watch = [&](int depth, Json::parse_event_t event, const Json&) {
    members.resize(static_cast<size_t>(depth) + 1);
    if (depth > kMaxDepth) {
      refusal = fmt::format("the body is nested more than {} levels deep", kMaxDepth);
    } else if (event == Json::parse_event_t::key && ++members.back() > kMaxMembers) {
      refusal = fmt::format("an object of the body has more than {} members", kMaxMembers);
    }
    return refusal.empty();
  };
  Json document;
  try {
    document = Json::parse(text, watch);
  } catch (const Json::exception& exception) {
    const std::string why = dump(Json(std::string(reason(exception.what())).substr(0, 200)));
    refusal = "the body is not JSON: " + why;
  }
  if (refusal.empty()) return document;
  return dsa::Status(dsa::StatusCode::kInvalidArgument, refusal);
}

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shown(const Json& value) {
  const std::string text = dump(value);
  const std::string cut = fmt::format("{:.{}}", text, kMaxShown);
  return cut + (cut.size() < text.size() ? "..." : "");
}

}  // namespace server
