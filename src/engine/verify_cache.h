// Random cache contents for the checks of indexer and attention.
#pragma once

#include <cmath>
#include <cstring>

#include "engine/verify_checks.h"
#include "formats/cache_layout.h"

namespace dsa {

inline constexpr CacheFormat kFormats[] = {CacheFormat::kFp8, CacheFormat::kBF16,
                                           CacheFormat::kF32};

// Fills n elements at `out` with random values of a cache's element type.
inline void fill(CacheFormat format, size_t n, VerifyRandom* random, uint8_t* out) {
  for (size_t i = 0; i < n; ++i) {
    const float value = random->value();
    const uint16_t bf16 = f32_to_bf16(value);
    switch (format) {
      case CacheFormat::kFp8:
        out[i] = f32_to_e4m3(value);
        break;
      case CacheFormat::kBF16:
        std::memcpy(out + 2 * i, &bf16, sizeof bf16);
        break;
      case CacheFormat::kF32:
        std::memcpy(out + 4 * i, &value, sizeof value);
        break;
    }
  }
}

inline void fill_scales(size_t n, VerifyRandom* random, uint8_t* out) {
  for (size_t i = 0; i < n; ++i) {
    const float scale = std::ldexp(1.0F, -static_cast<int>(random->bits() % 5));
    std::memcpy(out + 4 * i, &scale, sizeof scale);
  }
}

}  // namespace dsa
