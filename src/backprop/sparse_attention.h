// Attention over the rows each query selected, in absorbed form: all heads share a row.
//
//   s[t,h,j] = <q~[t,h,:], row[sel[t,j],:]>,  p = exp(scale s - lse),  o~[t,h,:] = sum_j p
//   row[..d_latent]
//
// A query's rows are gathered once for all heads. Work is linear in the selected rows.
#pragma once

#include <functional>

#include "backprop/layer_work.h"

namespace dsa::backprop {

size_t sparse_attention_bytes(const TrainDims& dims, size_t max_selected);

// Called for each query while its probabilities are at hand: target[j], j < n, is their mean over
// the heads. Each part's queries come in ascending order, on one thread. May be empty.
using SelectedTarget =
    std::function<void(size_t part, int worker, size_t query, const float* target, size_t n)>;

// Reads absorbed_q, rows, selected; writes absorbed_out and lse. Queries are dealt to n_threads()
// parts in turns of kSparseQueries, whichever worker runs a part.
void sparse_attention(const LayerWork& work, const LayerState& layer, const SelectedTarget& target);

// Reads d_absorbed_out and delta besides; writes d_absorbed_q and d_rows.
void sparse_attention_backward(const LayerWork& work, const LayerState& layer);

// to <- the sum of n_threads() parts of [n_rows, width], each part_stride after the other.
void add_parts(const TrainContext& context,
               const float* parts,
               size_t part_stride,
               size_t n_rows,
               size_t width,
               float* to);

}  // namespace dsa::backprop
