// Bounds on the numbers of a configuration: they keep every product of sizes below 2^62 and refuse
// nonsense by name.
#pragma once

#include <cstdint>

namespace dsa {

inline constexpr int64_t kMaxWidth = int64_t{1} << 24;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxHeadDim = int64_t{1} << 16;
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxExperts = int64_t{1} << 16;
inline constexpr int64_t kMaxPosition = int64_t{1} << 27;
inline constexpr double kTiny = 1e-30;

}  // namespace dsa
