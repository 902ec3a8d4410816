#include "ops/attend_rows.h"

#include <algorithm>

#include "common/math.h"
#include "ops/list_parts.h"

namespace dsa {

namespace {

kernels::AttendArgs head_group(const RowAttention& args, size_t query, size_t group) {
  const size_t d_row = args.layout.d_latent + args.layout.d_rope;
  const size_t head = group * kHeadsPerItem;
  kernels::AttendArgs item;
  item.layout = args.layout;
  item.base = args.base;
  item.rows = args.rows + query * args.rows_stride;
  item.n_rows = static_cast<size_t>(args.counts[query]);
  item.n_heads = std::min(kHeadsPerItem, args.n_heads - head);
  item.q = args.q + (query * args.n_heads + head) * d_row;
  item.scale = args.scale;
  item.out = args.out + query * args.out_stride + head * args.layout.d_latent;
  item.lse = args.lse + query * args.lse_stride + head;
  return item;
}

// One query: a part of the list and a group of heads per work item.
void attend_one(const OpContext& context,
                const RowAttention& args,
                float* part_out,
                float* part_lse,
                uint8_t* scratch,
                size_t scratch_bytes) {
  const auto n_rows = static_cast<size_t>(args.counts[0]);
  const ListParts cut = list_parts(n_rows);
  const size_t n_parts = cut.n_parts;
  const size_t part_rows = cut.part_rows;
  const size_t n_groups = ceil_div(args.n_heads, kHeadsPerItem);
  const size_t d_latent = args.layout.d_latent;
  context.pool->parallel_for(static_cast<int64_t>(n_parts * n_groups),
                             [&](int64_t index, int worker) {
                               const size_t part = static_cast<size_t>(index) / n_groups;
                               const size_t group = static_cast<size_t>(index) % n_groups;
                               const size_t head = group * kHeadsPerItem;
                               kernels::AttendArgs item = head_group(args, 0, group);
                               const size_t first = std::min(part * part_rows, n_rows);
                               item.rows += first;
                               item.n_rows = std::min(part_rows, n_rows - first);
                               if (n_parts > 1) {
                                 // [group][part][head of the group]: what one merge reads
                                 // lies together.
                                 const size_t at = head * n_parts + part * item.n_heads;
                                 item.out = part_out + at * d_latent;
                                 item.lse = part_lse + at;
                               }
                               item.scratch = scratch + static_cast<size_t>(worker) * scratch_bytes;
                               context.kernels->attention->attend(item);
                             });
  if (n_parts == 1) return;
  context.pool->parallel_for(static_cast<int64_t>(n_groups), [&](int64_t index, int) {
    const size_t head = static_cast<size_t>(index) * kHeadsPerItem;
    context.kernels->attention->merge(part_out + head * n_parts * d_latent,
                                      part_lse + head * n_parts, n_parts,
                                      std::min(kHeadsPerItem, args.n_heads - head), d_latent,
                                      args.out + head * d_latent, args.lse + head);
  });
}

}  // namespace

size_t attend_scratch_bytes(const OpContext& context, const LatentLayout& layout, size_t n_heads) {
  const kernels::AttentionKernels& kernels = *context.kernels->attention;
  // The last group may have fewer heads than the others, and need more.
  const size_t bytes =
      std::max(kernels.attend_scratch_bytes(layout, std::min(kHeadsPerItem, n_heads)),
               kernels.attend_scratch_bytes(layout, n_heads % kHeadsPerItem));
  return round_up<size_t>(bytes, 64);
}

void attend_rows(const OpContext& context,
                 const RowAttention& args,
                 float* part_out,
                 float* part_lse,
                 uint8_t* attend_scratch,
                 size_t attend_bytes) {
  if (args.n_queries == 1) {
    attend_one(context, args, part_out, part_lse, attend_scratch, attend_bytes);
    return;
  }
  const size_t n_groups = ceil_div(args.n_heads, kHeadsPerItem);
  context.pool->parallel_for(
      static_cast<int64_t>(args.n_queries * n_groups), [&](int64_t index, int worker) {
        kernels::AttendArgs item = head_group(args, static_cast<size_t>(index) / n_groups,
                                              static_cast<size_t>(index) % n_groups);
        item.scratch = attend_scratch + static_cast<size_t>(worker) * attend_bytes;
        context.kernels->attention->attend(item);
      });
}

}  // namespace dsa
