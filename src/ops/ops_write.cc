// The writers of dsa/ops.h.
#include "common/status_macros.h"
#include "formats/limits.h"
#include "ops/cache_view.h"
#include "ops/context.h"
#include "ops/float_rows.h"
#include "ops/ops_checks.h"

namespace dsa {

namespace {

LatentLayout latent_layout(CacheFormat format, int64_t d_latent, int64_t d_rope) {
  return {format, static_cast<size_t>(d_latent), static_cast<size_t>(d_rope)};
}

// fn(token, slot) for every token whose slot is not negative, split over the threads.
template <class Fn>
void for_each_slot(std::span<const int64_t> slots, Executor& executor, const Fn& fn) {
  executor.parallel_for(static_cast<int64_t>(slots.size()), [&](int64_t item, int) {
    const int64_t slot = slots[static_cast<size_t>(item)];
    if (slot >= 0) fn(static_cast<size_t>(item), static_cast<size_t>(slot));
  });
}

}  // namespace

int64_t latent_row_bytes(CacheFormat format, int64_t d_latent, int64_t d_rope) {
  return static_cast<int64_t>(latent_layout(format, d_latent, d_rope).row_bytes());
}

int64_t index_page_bytes(CacheFormat format, int64_t dim, int64_t page_tokens) {
  const IndexKeyLayout layout = {format, static_cast<size_t>(dim)};
  return page_tokens * static_cast<int64_t>(layout.entry_bytes());
}

Status write_latent_rows(const WriteLatentRows& args, Executor& executor) {
  DSA_RETURN_IF_ERROR(check_latent_dims(args.d_latent, args.d_rope));
  const auto n = static_cast<int64_t>(args.slots.size());
  DSA_RETURN_IF_ERROR(check_size("latent", args.latent.size, {n, args.d_latent}));
  DSA_RETURN_IF_ERROR(check_size("rope", args.rope.size, {n, args.d_rope}));
  const LatentLayout layout = latent_layout(args.format, args.d_latent, args.d_rope);
  DSA_ASSIGN_OR_RETURN(const PagedRows pages,
                       check_latent_pages("cache", args.cache, layout.row_bytes()));
  DSA_RETURN_IF_ERROR(check_slots(args.slots, pages));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  for_each_slot(args.slots, executor, [&](size_t token, size_t slot) {
    float latent[kMaxDim];
    float rope[kMaxDim];
    store_latent_row(
        *table->vector, layout,
        float_row(*table->vector, args.latent, token * layout.d_latent, layout.d_latent, latent),
        float_row(*table->vector, args.rope, token * layout.d_rope, layout.d_rope, rope),
        args.cache.data + pages.row_offset(slot));
  });
  return {};
}

Status write_index_keys(const WriteIndexKeys& args, Executor& executor) {
  DSA_RETURN_IF_ERROR(check_range("dim", args.dim, 2, int64_t{kMaxIndexDim}));
  const auto n = static_cast<int64_t>(args.slots.size());
  DSA_RETURN_IF_ERROR(check_size("keys", args.keys.size, {n, args.dim}));
  DSA_ASSIGN_OR_RETURN(const PagedRows pages,
                       check_key_pages("cache", args.cache, args.format, args.dim));
  DSA_RETURN_IF_ERROR(check_slots(args.slots, pages));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  const IndexKeyLayout layout = {args.format, static_cast<size_t>(args.dim),
                                 PageSize::of(pages.page_tokens)};
  for_each_slot(args.slots, executor, [&](size_t token, size_t slot) {
    float key[kMaxIndexDim];
    store_index_key(*table->vector, layout,
                    float_row(*table->vector, args.keys, token * layout.dim, layout.dim, key),
                    slot % pages.page_tokens,
                    args.cache.data + slot / pages.page_tokens * pages.page_stride);
  });
  return {};
}

}  // namespace dsa
