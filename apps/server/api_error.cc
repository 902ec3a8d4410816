#include "server/api_error.h"

#include <nlohmann/json.hpp>

#include "server/json.h"

namespace server {
namespace {

// "messages[2].role: ..." -> "messages[2].role"; "" when the message does not begin with a path.
std::string path_of(const std::string& message) {
  const size_t end = message.find(": ");
  if (end == std::string::npos || end > 200) return "";
  const std::string path = message.substr(0, end);
  const bool plain = path.find(' ') == std::string::npos;
  return plain ? path : "";
}

}  // namespace

std::string error_json(const ApiError& error) {
  const auto or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
  };
  return dump({{"error",
                {{"message", error.message},
                 {"type", error.type},
                 {"param", or_null(error.param)},
                 {"code", or_null(error.code)}}}});
}

HttpResponse error_response(const ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body = error_json(error);
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (error.status == 415) response.headers.emplace_back("Accept-Encoding", "identity");
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

HttpResponse error_response(int status, const std::string& message, const std::string& type) {
  ApiError error;
  error.status = status;
  error.message = message;
  error.type = type;
  return error_response(error);
}

ApiError api_error(const dsa::Status& status) {
  ApiError error;
  error.message = status.message();
  switch (status.code()) {
    case dsa::StatusCode::kInvalidArgument:
    case dsa::StatusCode::kUnsupported:
    case dsa::StatusCode::kCorruption:
      error.param = path_of(error.message);
      return error;
    case dsa::StatusCode::kNotFound:
      error.status = 404;
      error.param = path_of(error.message);
      return error;
    case dsa::StatusCode::kResourceExhausted:
      error.status = 429;
      error.type = "rate_limit_error";
      error.code = "overloaded";
      return error;
    case dsa::StatusCode::kUnavailable:
      error.status = 503;
      error.type = "server_error";
      error.code = "shutting_down";
      return error;
    case dsa::StatusCode::kOk:
    case dsa::StatusCode::kIoError:
    case dsa::StatusCode::kCancelled:
    case dsa::StatusCode::kInternal:
      break;
  }
  error.status = 500;
  error.type = "server_error";
  return error;
}

}  // namespace server
