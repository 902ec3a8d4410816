// Bytes on their way from the engine's thread to a connection: bounded, never blocking.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace server {

// Threads  any.
class Outbox {
 public:
  explicit Outbox(int64_t max_bytes) : max_bytes_(max_bytes) {}

  enum class Put { kQueued, kFirst, kFull };  // kFirst: the reader has to be woken

  // A single piece may be larger than the bound: answers are not cut, only clients that lag.
  Put put(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    const bool lags = unsent_ > max_bytes_;
    if (lags || closed_) return Put::kFull;
    const bool first = waiting_.empty();
    waiting_ += bytes;
    unsent_ += static_cast<int64_t>(bytes.size());
    return first ? Put::kFirst : Put::kQueued;
  }

  // All that waits. sent() tells when it has left.
  std::string take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(waiting_, std::string());
  }

  void sent(size_t n) {
    const std::lock_guard lock(mutex_);
    unsent_ -= static_cast<int64_t>(n);
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    waiting_ = std::string();
  }

 private:
  const int64_t max_bytes_;
  std::mutex mutex_;
  std::string waiting_;
  int64_t unsent_ = 0;
  bool closed_ = false;
};

}  // namespace server
