// Element types a tensor or a cache may be stored in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsa {

enum class DType : uint8_t { kF32, kF16, kBF16, kE4M3, kI32, kI64, kU8 };

constexpr size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kE4M3:
    case DType::kU8:
      return 1;
  }
  return 0;
}

// Name as safetensors spells it.
constexpr const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kE4M3:
      return "F8_E4M3";
    case DType::kI32:
      return "I32";
    case DType::kI64:
      return "I64";
    case DType::kU8:
      return "U8";
  }
  return "?";
}

}  // namespace dsa
