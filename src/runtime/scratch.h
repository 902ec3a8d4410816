// One allocation cut into typed pieces: scratch memory is sized once and never grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "dsa/workspace.h"

#include "common/math.h"
#include "common/status_macros.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

// a * b, or the largest size when it does not fit: no allocation gives so much.
inline size_t saturating_mul(size_t a, size_t b) {
  size_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<size_t>::max() : product;
}

// Usage: add() every piece, allocate() once, then the pointers given to add() are set.
// Sizes that do not fit a size_t stay at its largest value, which allocate() refuses.
class ScratchPlan {
 public:
  // *pointer will point to n values of T, 64-byte aligned.
  template <class T>
  void add(T** pointer, size_t n) {
    pieces_.push_back({pointer, n_bytes_});
    const size_t room = (kTooMany - n_bytes_) / kAlignment * kAlignment;
    n_bytes_ =
        n > room / sizeof(T) ? kTooMany : n_bytes_ + round_up<size_t>(n * sizeof(T), kAlignment);
  }

  size_t n_bytes() const { return n_bytes_; }

  //   Errors  kResourceExhausted: the system has not so much; `what` names the use.
  Result<AlignedBuffer> allocate(const char* what) const {
    if (n_bytes_ == kTooMany) {
      return error(StatusCode::kResourceExhausted, "{}: more than {} bytes", what, kTooMany);
    }
    Result<AlignedBuffer> buffer = AlignedBuffer::allocate(n_bytes_, what);
    if (buffer.ok()) set_pointers(buffer->data());
    return buffer;
  }

  // The pieces lie in a workspace instead.   Errors  those of Workspace::take()
  Status place(Workspace& workspace) const {
    DSA_ASSIGN_OR_RETURN(const int64_t n_bytes, checked_bytes());
    DSA_ASSIGN_OR_RETURN(uint8_t * memory, workspace.take(n_bytes));
    set_pointers(memory);
    return {};
  }
  // What a caller's memory of any alignment needs for that.
  Result<int64_t> workspace_bytes() const {
    DSA_ASSIGN_OR_RETURN(const int64_t n_bytes, checked_bytes());
    return Workspace::unaligned_bytes(n_bytes);
  }

 private:
  struct Piece {
    void* pointer;  // T** of some T
    size_t offset;
  };

  Result<int64_t> checked_bytes() const {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max() - Workspace::kAlignment;
    if (n_bytes_ <= static_cast<size_t>(kMost)) return static_cast<int64_t>(n_bytes_);
    return error(StatusCode::kResourceExhausted, "workspace: more than {} bytes", kMost);
  }
  void set_pointers(uint8_t* memory) const {
    for (const Piece& piece : pieces_) {
      const void* address = memory + piece.offset;
      std::memcpy(piece.pointer, &address, sizeof address);  // a T*, whatever T is
    }
  }

  static constexpr size_t kAlignment = 64;
  static constexpr size_t kTooMany = std::numeric_limits<size_t>::max();
  std::vector<Piece> pieces_;
  size_t n_bytes_ = 0;
};

}  // namespace dsa
