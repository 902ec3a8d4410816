// Memory for kernel outputs with known bytes on both sides, at any misalignment.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

namespace dsa::kernels {

template <class T>
class GuardedBuffer {
 public:
  // The elements start `offset` elements after a 64-byte boundary plus a guard.
  explicit GuardedBuffer(size_t n, size_t offset = 0)
      : n_(n), bytes_(kAlign + kGuard + (offset + n) * sizeof(T) + kGuard, kCanary) {
    const size_t misaligned = reinterpret_cast<uintptr_t>(bytes_.data()) % kAlign;
    begin_ = (kAlign - misaligned) % kAlign + kGuard + offset * sizeof(T);
  }

  T* data() { return reinterpret_cast<T*>(bytes_.data() + begin_); }
  const T& operator[](size_t i) const {
    return reinterpret_cast<const T*>(bytes_.data() + begin_)[i];
  }
  T& operator[](size_t i) { return data()[i]; }
  size_t size() const { return n_; }

  void fill(const std::vector<T>& values) {
    if (!values.empty()) std::memcpy(data(), values.data(), values.size() * sizeof(T));
  }

  // Nothing outside the elements was written.
  bool guards_intact() const {
    for (size_t i = 0; i < bytes_.size(); ++i) {
      const bool inside = i >= begin_ && i < begin_ + n_ * sizeof(T);
      if (!inside && bytes_[i] != kCanary) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kAlign = 64;
  static constexpr size_t kGuard = 128;
  static constexpr unsigned char kCanary = 0xA5;

  size_t n_;
  std::vector<unsigned char> bytes_;
  size_t begin_ = 0;
};

}  // namespace dsa::kernels
