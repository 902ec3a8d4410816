// Status and Result<T>: how this library reports failures it expects.
//
// No function of the library throws (std::bad_alloc apart), prints or exits. A message reads
// "<what>: <what it was>, want <what was wanted>".
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace dsa {

enum class StatusCode : unsigned char {
  kOk,
  kInvalidArgument,    // the caller's argument is wrong
  kNotFound,           // a file, tensor or sequence that is not there
  kCorruption,         // a file whose bytes contradict themselves
  kUnsupported,        // well-formed, but this library does not do it
  kResourceExhausted,  // page pool, context or memory limit reached; nothing stored is lost
  kIoError,            // the operating system refused
  kUnavailable         // shutting down: nothing new is begun
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

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : state_(std::move(status)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return state_.index() == 0; }

  const Status& status() const {
    static const Status kOkStatus;
    return ok() ? kOkStatus : std::get<1>(state_);
  }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace dsa
