// The expanded form of mla.h: dense attention in tiles, selected positions as a bit mask.
#pragma once

#include "ops/mla.h"

namespace dsa {

inline constexpr size_t kLatentTile = 1024;  // cached rows whose f32 form exists at a time

// Bytes of one thread's scratch.
size_t expanded_scratch_bytes(const MlaDims& dims, size_t max_queries);

// As mla_attention(), always in expanded form.
void expanded_attention(const OpContext& context,
                        const MlaDims& dims,
                        const MlaQueries& queries,
                        const Weight& kv_b,
                        const LatentCacheView& cache,
                        const SelectionLists& lists,
                        MlaScratch* scratch,
                        float* out);

}  // namespace dsa
