#include "model/random_source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "common/random.h"
#include "common/status_macros.h"
#include "formats/float_bits.h"

namespace dsa {

namespace {

constexpr size_t kTableSize = size_t{1} << 16;

// n elements drawn from a table of kTableSize.
template <class T>
void draw(const std::vector<T>& table, uint64_t seed, size_t n, uint8_t* out) {
  uint64_t state = seed;
  for (size_t i = 0; i < n;) {
    uint64_t bits = next_random(&state);
    for (int part = 0; part < 4 && i < n; ++part, ++i, bits >>= 16) {
      std::memcpy(out + i * sizeof(T), &table[bits % kTableSize], sizeof(T));
    }
  }
}

template <class T, class Encode>
std::vector<T> normal_table(const Encode& encode) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<T> table(kTableSize);
  std::generate(table.begin(), table.end(), [&] { return encode(normal(random)); });
  return table;
}

void fill_matrix(DType dtype, float scale, uint64_t seed, size_t n, uint8_t* out) {
  switch (dtype) {
    case DType::kF32:
      return draw(normal_table<float>([=](float x) { return x * scale; }), seed, n, out);
    case DType::kBF16:
      return draw(normal_table<uint16_t>([=](float x) { return f32_to_bf16(x * scale); }), seed, n,
                  out);
    default:  // codes of normal values times 64: their scale is in the scale tensor
      return draw(normal_table<uint8_t>([](float x) { return f32_to_e4m3(x * 64.0F); }), seed, n,
                  out);
  }
}

void fill_constant(float value, size_t n, uint8_t* out) {
  for (size_t i = 0; i < n; ++i)
    std::memcpy(out + i * sizeof value, &value, sizeof value);
}

}  // namespace

Result<const StoredTensor*> RandomSource::require(std::string_view name,
                                                  std::span<const int64_t> shape,
                                                  DTypeSet dtypes) const {
  const auto known = made_.find(name);
  if (known != made_.end()) return &known->second.tensor;
  const bool is_scale = name.ends_with("_scale_inv");
  DType dtype = DType::kF32;
  if (shape.size() == 2 && !is_scale) {
    const bool allowed = dtypes.contains(matrices_);
    dtype = allowed ? matrices_ : DType::kBF16;
  }
  size_t n = 1;
  for (const int64_t extent : shape)
    n *= static_cast<size_t>(extent);
  Made made;
  DSA_ASSIGN_OR_RETURN(made.memory, AlignedBuffer::allocate(n * dtype_bytes(dtype), "weights"));
  // 1 / sqrt(k) of a typical k; the tensor of scales does not know its matrix.
  constexpr float kCodeScale = 1.0F / (64.0F * 64.0F);
  if (is_scale) {
    fill_constant(kCodeScale, n, made.memory.data());
  } else if (shape.size() == 2) {
    const float scale = 1.0F / std::sqrt(static_cast<float>(shape[1]));
    fill_matrix(dtype, scale, seed_ ^ std::hash<std::string_view>()(name), n, made.memory.data());
  } else {
    fill_constant(name.ends_with("norm.weight") ? 1.0F : 0.0F, n, made.memory.data());
  }
  made.tensor.name = name;
  made.tensor.dtype = dtype;
  made.tensor.shape.assign(shape.begin(), shape.end());
  made.tensor.data = std::as_bytes(std::span(made.memory.data(), made.memory.size()));
  return &made_.emplace(std::string(name), std::move(made)).first->second.tensor;
}

}  // namespace dsa
