// Experts whose matrices lie in one tensor, as the slices that they are.
//
//   mlp.experts.gate_up_proj  [E, 2I, H]   -> mlp.experts.e.gate_proj.weight  [I, H]
//                                             mlp.experts.e.up_proj.weight    [I, H]
//   mlp.experts.down_proj     [E, H, I]    -> mlp.experts.e.down_proj.weight  [H, I]
//
// and their scales per 128 x 128 block, <name>_scale_inv or _scale, likewise to <matrix>.weight_...
#pragma once

#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "io/safetensors.h"

namespace dsa {

bool is_packed_experts(const StoredTensor& tensor);

// The tensors of a file with the slices, views of the same bytes, in place of packed ones.
// file: starts the messages.
//   Errors  kCorruption: more than 2^22 slices. kUnsupported: scales of gate and up that share a
//           block.
Result<std::vector<StoredTensor>> unpack_experts(std::span<const StoredTensor> tensors,
                                                 const std::string& file);

}  // namespace dsa
