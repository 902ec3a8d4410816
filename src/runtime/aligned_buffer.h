// Memory for scratch and caches: page-aligned, from the operating system, zero until written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "dsa/status.h"

namespace dsa {

// Invariants
//   1. data() is aligned to 64 bytes at least (the system's page in fact).
//   2. Bytes never written read as zero; without make_resident() they take no physical memory.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  ~AlignedBuffer();
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), n_bytes_(std::exchange(other.n_bytes_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(n_bytes_, other.n_bytes_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  //   Errors  kResourceExhausted: the system has no n_bytes; `what` names the use.
  static Result<AlignedBuffer> allocate(size_t n_bytes, const char* what);

  // Gets the physical memory now rather than at the first write to each page, where the system can.
  //   Errors  kResourceExhausted: it has not so much; `what` names the use.
  Status make_resident(const char* what);

  uint8_t* data() const { return data_; }
  size_t size() const { return n_bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t n_bytes_ = 0;
};

}  // namespace dsa
