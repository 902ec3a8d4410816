// The entry points of attention over rows. Formats names the Rows of every cache format: Fp8, Bf16
// and F32.
#pragma once

#include "kernels/generic/attend.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

template <class Formats>
size_t attend_scratch_bytes(const LatentLayout& layout, size_t n_heads) noexcept {
  switch (layout.format) {
    case CacheFormat::kFp8:
      return scratch_bytes_of<typename Formats::Fp8>(layout, n_heads);
    case CacheFormat::kBF16:
      return scratch_bytes_of<typename Formats::Bf16>(layout, n_heads);
    case CacheFormat::kF32:
      break;
  }
  return scratch_bytes_of<typename Formats::F32>(layout, n_heads);
}

template <class Formats>
void attend(const AttendArgs& args) noexcept {
  switch (args.layout.format) {
    case CacheFormat::kFp8:
      return attend_rows<typename Formats::Fp8>(args);
    case CacheFormat::kBF16:
      return attend_rows<typename Formats::Bf16>(args);
    case CacheFormat::kF32:
      return attend_rows<typename Formats::F32>(args);
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
