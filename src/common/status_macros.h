// Early returns for functions that give a Status or a Result, and constructors of error Statuses.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <utility>

#include "dsa/status.h"

#define DSA_CONCAT_INNER(a, b) a##b
#define DSA_CONCAT(a, b) DSA_CONCAT_INNER(a, b)

// Returns the status from the enclosing function unless it is ok.
#define DSA_RETURN_IF_ERROR(expression)                                      \
  do {                                                                       \
    if (auto dsa_status = (expression); !dsa_status.ok()) return dsa_status; \
  } while (false)

// DSA_ASSIGN_OR_RETURN(auto x, f()): x takes the value, or the enclosing function returns the
// error.
#define DSA_ASSIGN_OR_RETURN(declaration, expression) \
  DSA_ASSIGN_OR_RETURN_IMPL(DSA_CONCAT(dsa_result_, __LINE__), declaration, expression)
#define DSA_ASSIGN_OR_RETURN_IMPL(result, declaration, expression) \
  auto result = (expression);                                      \
  if (!result.ok()) return result.status();                        \
  declaration = std::move(result).value()

namespace dsa {

template <class... Args>
Status error(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
Status invalid_argument(fmt::format_string<Args...> format, Args&&... args) {
  return error(StatusCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

template <class... Args>
Status corruption(fmt::format_string<Args...> format, Args&&... args) {
  return error(StatusCode::kCorruption, format, std::forward<Args>(args)...);
}

template <class... Args>
Status unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return error(StatusCode::kUnsupported, format, std::forward<Args>(args)...);
}

}  // namespace dsa
