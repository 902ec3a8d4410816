// The stored type of a benchmark's weights.
#pragma once

#include "dsa_measure/bench.h"

#include "formats/dtype.h"

namespace dsa {

inline DType dtype_of(BenchWeights weights) {
  switch (weights) {
    case BenchWeights::kF32:
      return DType::kF32;
    case BenchWeights::kBF16:
      return DType::kBF16;
    case BenchWeights::kFp8:
      return DType::kE4M3;
  }
  return DType::kF32;
}

}  // namespace dsa
