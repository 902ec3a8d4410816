// Oracles of the kernels on one row: the definitions, in f64.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace dsa::reference {

using Row = std::vector<double>;

Row rms_norm(std::span<const float> x, std::span<const float> weight, double eps);

Row layer_norm(std::span<const float> x,
               std::span<const float> weight,
               std::span<const float> bias,
               double eps);

// Rotates pair i by the angle whose cosine and sine are given, as a product of complex numbers;
// pair i is (x[2i], x[2i + 1]) interleaved and (x[i], x[i + n/2]) split in halves.
Row rope_interleaved(std::span<const float> x,
                     std::span<const float> cos,
                     std::span<const float> sin);
Row rope_half_split(std::span<const float> x,
                    std::span<const float> cos,
                    std::span<const float> sin);

// Sum over j of (-1)^(number of bits i and j share) x[j] / sqrt(n).
Row hadamard(std::span<const float> x);

Row silu_mul(std::span<const float> gate, std::span<const float> up);

Row softmax(std::span<const float> x);

double log_sum_exp(std::span<const float> x);

}  // namespace dsa::reference
