// One allocation cut into typed pieces: scratch memory is sized once and never grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/math.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

// Usage: add() every piece, allocate() once, then the pointers given to add() are set.
class ScratchPlan {
 public:
  // *pointer will point to n values of T, 64-byte aligned.
  template <class T>
  void add(T** pointer, size_t n) {
    pieces_.push_back({pointer, n_bytes_});
    n_bytes_ += round_up<size_t>(n * sizeof(T), kAlignment);
  }

  size_t n_bytes() const { return n_bytes_; }

  Result<AlignedBuffer> allocate(const char* what) const {
    Result<AlignedBuffer> buffer = AlignedBuffer::allocate(n_bytes_, what);
    if (!buffer.ok()) return buffer;
    for (const Piece& piece : pieces_) {
      const void* address = buffer->data() + piece.offset;
      std::memcpy(piece.pointer, &address, sizeof address);  // a T*, whatever T is
    }
    return buffer;
  }

 private:
  struct Piece {
    void* pointer;  // T** of some T
    size_t offset;
  };
  static constexpr size_t kAlignment = 64;
  std::vector<Piece> pieces_;
  size_t n_bytes_ = 0;
};

}  // namespace dsa
