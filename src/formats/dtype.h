// Element types a tensor may be stored in: those of weights, and integers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "formats/weight_format.h"

namespace dsa {

constexpr auto all_dtypes() {
  std::array<DType, static_cast<size_t>(DType::kU8) + 1> all = {};
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<DType>(i);
  return all;
}
inline constexpr auto kAllDTypes = all_dtypes();

// Of an element; dtype: one whose elements stand alone.
constexpr size_t dtype_bytes(DType dtype) {
  if (is_weight_format(dtype)) return weight_format(dtype).block_bytes;
  return dtype == DType::kI64 ? 8 : dtype == DType::kI32 ? 4 : 1;
}

// Name as safetensors spells it.
constexpr const char* dtype_name(DType dtype) {
  if (is_weight_format(dtype)) return weight_format(dtype).name;
  return dtype == DType::kI64 ? "I64" : dtype == DType::kI32 ? "I32" : "U8";
}

// What the address of a tensor's first element is a multiple of, so that it can be read through a
// pointer; blocks of several values are read from any address.
constexpr size_t dtype_alignment(DType dtype) {
  if (is_weight_format(dtype) && weight_format(dtype).block_values > 1) return 1;
  return dtype_bytes(dtype);
}

// A few of them, e.g. those a tensor may have.
class DTypeSet {
 public:
  constexpr DTypeSet(std::initializer_list<DType> types) {
    for (const DType type : types)
      add(type);
  }
  constexpr void add(DType type) { bits_ |= bit(type); }
  constexpr bool contains(DType type) const { return (bits_ & bit(type)) != 0; }

 private:
  static constexpr uint32_t bit(DType type) { return 1U << static_cast<uint32_t>(type); }
  uint32_t bits_ = 0;
};

}  // namespace dsa
