#include "server/json.h"

#include <fmt/format.h>

namespace server {
namespace {

constexpr int kMaxDepth = 128;
constexpr size_t kMaxShown = 60;  // characters

// "[json.exception.parse_error.101] parse error at line 1, ..." without its first part
std::string_view reason(std::string_view what) {
  const size_t end = what.find("] ");
  return end == std::string_view::npos ? what : what.substr(end + 2);
}

}  // namespace

dsa::Result<Json> parse_json(std::string_view text) {
  bool too_deep = false;
  const auto watch = [&too_deep](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  Json document;
  try {
    document = Json::parse(text, watch);
  } catch (const Json::exception& exception) {
    const std::string why = dump(Json(std::string(reason(exception.what())).substr(0, 200)));
    return dsa::Status(dsa::StatusCode::kInvalidArgument, "the body is not JSON: " + why);
  }
  if (!too_deep) return document;
  return dsa::Status(dsa::StatusCode::kInvalidArgument,
                     fmt::format("the body is nested more than {} levels deep", kMaxDepth));
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
