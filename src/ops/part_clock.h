// Where the time of attention goes, for benchmarks.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dsa {

enum class Part : uint8_t {
  kProjections,  // everything before the scores: norms, q, kv and indexer projections, RoPE, stores
  kIndexer,      // scores of cached keys
  kSelection,    // the best k of them
  kAttention,    // over the selected rows
  kOutput,       // heads back to the residual stream
  kOther         // not attention
};
inline constexpr size_t kNumParts = 6;

// enter() closes the part under way and begins another.
class PartClock {
 public:
  void enter(Part part) {
    const auto now = std::chrono::steady_clock::now();
    seconds_[static_cast<size_t>(part_)] += std::chrono::duration<double>(now - since_).count();
    part_ = part;
    since_ = now;
  }
  void reset() { *this = {}; }
  double seconds(Part part) const { return seconds_[static_cast<size_t>(part)]; }

 private:
  std::array<double, kNumParts> seconds_ = {};
  Part part_ = Part::kOther;
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

}  // namespace dsa
