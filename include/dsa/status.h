// Status and Result<T>: how this library reports failures it expects.
//
// No function of the library throws (std::bad_alloc apart), prints or exits, whatever its input. A
// message reads "<what>: <what it was>, want <what was wanted>". Only a mistake of the program that
// uses it ends that program: asking a Result that holds an error for its value.
#pragma once

#include <string>
#include <utility>
#include <variant>

#pragma GCC visibility push(default)

namespace dsa {

enum class StatusCode : unsigned char {
  kOk,
  kInvalidArgument,    // the caller's argument is wrong
  kNotFound,           // a file, tensor or sequence that is not there
  kCorruption,         // a file whose bytes contradict themselves
  kUnsupported,        // well-formed, but this library does not do it
  kResourceExhausted,  // page pool, context or memory limit reached; nothing stored is lost
  kIoError,            // the operating system refused
  kUnavailable,        // shutting down: nothing new is begun
  kCancelled,          // the caller ended it before it was done; nothing of it is left
  kInternal            // a mistake in the code, not in its input
};

// Name of a code for people, e.g. "invalid argument".
const char* status_code_name(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}
  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

namespace internal {
// Writes the error to standard error and ends the program (std::abort).
[[noreturn]] void value_of_error(const Status& error);
// An error as it is; kInternal in place of a Status that is none.
Status require_error(Status status);
}  // namespace internal

// A value or an error.   Invariant   ok() == status().ok()
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  // status: an error; one that is ok, which would leave out the value, becomes kInternal.
  Result(Status status)  // NOLINT(google-explicit-constructor)
      : state_(internal::require_error(std::move(status))) {}
  bool ok() const { return state_.index() == 0; }

  const Status& status() const {
    static const Status kOkStatus;
    return ok() ? kOkStatus : std::get<1>(state_);
  }

  // The value. Precondition: ok(), also of * and ->; without it the program ends with the error on
  // standard error.
  T& value() & {
    require_value();
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    require_value();
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    require_value();
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  void require_value() const {
    if (!ok()) internal::value_of_error(status());
  }

  std::variant<T, Status> state_;
};

}  // namespace dsa

#pragma GCC visibility pop
