#include "dsa/workspace.h"

#include <cstdlib>
#include <memory>

#include "common/math.h"
#include "common/status_macros.h"

namespace dsa {

Workspace::~Workspace() {
  if (!fixed_) std::free(memory_.data());
}

Result<uint8_t*> Workspace::take(int64_t n_bytes) {
  if (n_bytes < 0) return invalid_argument("workspace: {} bytes, want 0 or more", n_bytes);
  const auto wanted = static_cast<size_t>(n_bytes);
  if (!fixed_ && memory_.size() < wanted) {
    std::free(memory_.data());
    memory_ = {};
    const size_t size = wanted / kAlignment * kAlignment + kAlignment;
    auto* grown = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, size));
    if (grown == nullptr) {
      return error(StatusCode::kResourceExhausted, "workspace: {} bytes, more than the system has",
                   wanted);
    }
    memory_ = {grown, size};
  }
  void* aligned = memory_.data();
  size_t left = memory_.size();
  if (wanted != 0 && std::align(kAlignment, wanted, aligned, left) == nullptr) {
    return invalid_argument("workspace: {} bytes, want {}", memory_.size(),
                            unaligned_bytes(n_bytes));
  }
  return static_cast<uint8_t*>(aligned);
}

}  // namespace dsa
