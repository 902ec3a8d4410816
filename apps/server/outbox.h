// Bytes on their way from the engine's thread to a connection: bounded, never blocking.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
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
    silent_ = false;
    return add(bytes);
  }

  // Between these two, put_in_silence() may add to what others put.
  void open_stream() { set_stream(true); }
  void close_stream() { set_stream(false); }

  // Puts where all was sent and nothing was put since the last call (kQueued where not); nothing
  // outside a stream.
  std::optional<Put> put_in_silence(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    if (!in_stream_) return std::nullopt;
    const bool silent = std::exchange(silent_, true);
    return silent && unsent_ == 0 ? add(bytes) : Put::kQueued;
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
  Put add(std::string_view bytes) {
    const bool lags = unsent_ > max_bytes_;
    if (lags || closed_) return Put::kFull;
    const bool first = waiting_.empty();
    waiting_ += bytes;
    unsent_ += static_cast<int64_t>(bytes.size());
    return first ? Put::kFirst : Put::kQueued;
  }

  void set_stream(bool open) {
    const std::lock_guard lock(mutex_);
    in_stream_ = open;
  }

  const int64_t max_bytes_;
  std::mutex mutex_;
  std::string waiting_;
  int64_t unsent_ = 0;
  bool closed_ = false;
  bool in_stream_ = false;
  bool silent_ = false;  // since put_in_silence() was called last
};

}  // namespace server
