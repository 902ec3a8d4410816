// The expanded form of mla.h: dense attention in tiles, selected positions as a bit mask.
#pragma once

#include "ops/mla.h"

namespace dsa {

inline constexpr size_t kLatentTile = 1024;  // cached rows whose f32 form exists at a time

// As mla_attention(), always in expanded form.
void expanded_attention(const OpContext& context, const MlaStep& step);

}  // namespace dsa
