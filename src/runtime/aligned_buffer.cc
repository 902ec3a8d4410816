#include "runtime/aligned_buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "common/status_macros.h"

namespace dsa {

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) munmap(data_, n_bytes_);
}

Result<AlignedBuffer> AlignedBuffer::allocate(size_t n_bytes, const char* what) {
  AlignedBuffer buffer;
  if (n_bytes == 0) return buffer;
  void* memory = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return error(StatusCode::kResourceExhausted, "{}: cannot allocate {} bytes: {}", what, n_bytes,
                 std::strerror(errno));
  }
  // Gathered rows lie anywhere in the pool: large pages save address translation.
  madvise(memory, n_bytes, MADV_HUGEPAGE);
  buffer.data_ = static_cast<uint8_t*>(memory);
  buffer.n_bytes_ = n_bytes;
  return buffer;
}

Status AlignedBuffer::make_resident(const char* what) {
  if (n_bytes_ == 0 || madvise(data_, n_bytes_, MADV_POPULATE_WRITE) == 0) return {};
  if (errno == EINVAL) return {};  // Linux before 5.14
  return error(StatusCode::kResourceExhausted, "{}: cannot get {} bytes of memory: {}", what,
               n_bytes_, std::strerror(errno));
}

}  // namespace dsa
