// Rotary position embedding: the angles of a position, with YaRN's frequencies when it is on, and
// rows rotated by them.
#pragma once

#include <cstddef>
#include <vector>

#include "dsa/model_config.h"

#include "kernels/kernel_table.h"

namespace dsa {

// Angle of pair i at position p: p * frequency_i,
//   frequency_i = theta^(-2i/d), i = 0 .. d/2 - 1
// with linear scaling divided by the factor, and with YaRN, ramp_i = clamp((i - low) / (high -
// low), 0, 1) between the dimensions that turn beta_fast and beta_slow times within the original
// context:
//   frequency_i <- frequency_i / factor * ramp_i + frequency_i * (1 - ramp_i)
struct RopeTable {
  std::vector<float> frequencies;  // [d_rope / 2]
  float factor = 1;                // YaRN's attention_factor
};
RopeTable rope_table(const RopeConfig& config, size_t d_rope);

// Writes cos and sin, [d_rope / 2], of one position, times the table's factor.
void rope_angles(const RopeTable& table, size_t position, float* cos, float* sin);

// Rotates x[d_rope] by angles with these cosines and sines, [d_rope / 2].
void apply_rope(const kernels::VectorKernels& kernels,
                RopeLayout layout,
                const float* cos,
                const float* sin,
                size_t d_rope,
                float* x);

}  // namespace dsa
