// Memory that operations compute in, so that no call asks the system for any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

// Either the caller's memory, or its own. Nothing in it outlives a call, so one workspace serves
// any operations one after another.
//
// Thread safety   one operation at a time.
class Workspace {
 public:
  // Its own memory: grows when an operation needs more and is kept until the workspace goes.
  Workspace() = default;
  // The caller's memory, which must outlive the workspace. An operation says how much it wants:
  // workspace_bytes() in dsa/ops.h.
  explicit Workspace(std::span<uint8_t> memory) : memory_(memory), fixed_(true) {}
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Bytes it has now.
  int64_t n_bytes() const { return static_cast<int64_t>(memory_.size()); }

  // n_bytes of it, 64-byte aligned; what an earlier call gave is void.
  //   Errors  kInvalidArgument: the caller's memory is too small; kResourceExhausted: the system
  //   has
  //           not so much.
  Result<uint8_t*> take(int64_t n_bytes);

  // What memory at any address needs to have n_bytes that are aligned.
  static constexpr int64_t kAlignment = 64;
  static constexpr int64_t unaligned_bytes(int64_t n_bytes) { return n_bytes + kAlignment - 1; }

 private:
  std::span<uint8_t> memory_;
  bool fixed_ = false;
};

}  // namespace dsa

#pragma GCC visibility pop
