// One factor of a product: rows of activations, in f32 as they are produced, and their twins in the
// formats that the group of products they go to reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "formats/dtype.h"
#include "ops/context.h"
#include "tensor/weight.h"

namespace dsa {

// Formats besides f32.
class Twins {
 public:
  constexpr Twins() = default;
  constexpr void add(ActivationFormat format) {
    if (format != ActivationFormat::kF32) bits_ |= bit(format);
  }
  constexpr void add(Twins others) { bits_ |= others.bits_; }
  constexpr bool contains(ActivationFormat format) const { return (bits_ & bit(format)) != 0; }

 private:
  static constexpr uint32_t bit(ActivationFormat format) {
    return 1U << static_cast<uint32_t>(format);
  }
  uint32_t bits_ = 0;
};

// What products with weights of that format read their other factor in: what the table of formats
// says, where the tier has kernels for it and the context does not ask for f32.
inline ActivationFormat wanted_activation(const OpContext& context, DType weights) {
  const ActivationFormat wants = weight_format(weights).wants;
  const bool has_kernel = context.kernels->matmul->product(true, wants, weights) != nullptr;
  return context.f32_products || !has_kernel ? ActivationFormat::kF32 : wants;
}

// The twins that a group of products with these weights reads.
inline Twins read_by(const OpContext& context, std::initializer_list<const Weight*> weights) {
  Twins twins;
  for (const Weight* weight : weights)
    twins.add(wanted_activation(context, weight->dtype));
  return twins;
}

// The same of a group that is known by the types of its weights.
inline Twins read_by(const OpContext& context, DTypeSet types) {
  Twins twins;
  for (const WeightFormat& format : kWeightFormats) {
    if (types.contains(format.dtype)) twins.add(wanted_activation(context, format.dtype));
  }
  return twins;
}

// A twin that is not there is not read: products take the f32 values instead (docs/numerics.md).
struct Activation {
  const float* f32 = nullptr;      // [m, k]
  const uint16_t* bf16 = nullptr;  // the same values rounded, or null
  size_t ld = 0;                   // of both

  Activation columns(size_t first) const {
    return {f32 + first, bf16 == nullptr ? nullptr : bf16 + first, ld};
  }
  Activation from_row(size_t row) const { return columns(row * ld); }
  Activation without_twins() const { return {f32, nullptr, ld}; }
};

}  // namespace dsa
