#include "dsa/status.h"

#include <cstdio>
#include <cstdlib>

namespace dsa {

const char* status_code_name(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "ok";
    case StatusCode::kInvalidArgument:
      return "invalid argument";
    case StatusCode::kNotFound:
      return "not found";
    case StatusCode::kCorruption:
      return "corruption";
    case StatusCode::kUnsupported:
      return "unsupported";
    case StatusCode::kResourceExhausted:
      return "resource exhausted";
    case StatusCode::kUnavailable:
      return "unavailable";
    case StatusCode::kIoError:
      return "i/o error";
    case StatusCode::kCancelled:
      return "cancelled";
    case StatusCode::kInternal:
      return "internal error";
  }
  return "unknown";
}

namespace internal {

void value_of_error(const Status& error) {
  std::fprintf(stderr, "dsa: value of a Result that holds an error: %s: %s\n",
               status_code_name(error.code()), error.message().c_str());
  std::abort();
}

Status require_error(Status status) {
  if (!status.ok()) return status;
  return Status(StatusCode::kInternal, "Result: an ok Status, want an error or a value");
}

}  // namespace internal

}  // namespace dsa
