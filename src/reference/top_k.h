// Oracle of top-k selection: sorts everything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace dsa::reference {

// Indices of the min(n, k) best scores, ascending. Order: greater score first; equal scores
// (-0 equals +0): the greater index first; NaN last, among NaN the greater index first.
std::vector<int32_t> top_k(std::span<const float> scores, size_t k);

}  // namespace dsa::reference
