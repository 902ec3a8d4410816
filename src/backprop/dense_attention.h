// Causal attention over all earlier tokens of a document, in expanded form and in tiles:
//
//   p[t,h,s] = exp(scale <q[t,h,:], k[s,h,:]> - lse[t,h]),   o[t,h,:] = sum_s p[t,h,s] v[s,h,:]
//
// The backward pass computes p again from lse. No buffer is larger than a tile of logits per thread
// and a row of values per token.
#pragma once

#include "backprop/layer_work.h"

namespace dsa::backprop {

// Bytes of a worker's memory.
size_t dense_attention_bytes(const TrainDims& dims);

// Reads q, keys, expanded; writes attention, lse.
void dense_attention(const LayerWork& work, const LayerState& layer);

// Reads d_attention besides; writes d_q, d_keys and the values' part of d_expanded.
void dense_attention_backward(const LayerWork& work, const LayerState& layer);

// sums[i, j] = mean over heads of p[query i, ., key j] for the queries of a tile and the keys
// [first_key, first_key + n_keys); 0 where masked. logits: scratch [queries, n_keys].
void head_mean(const LayerWork& work,
               const LayerState& layer,
               const QueryTile& tile,
               size_t first_key,
               size_t n_keys,
               float* logits,
               float* gemm_scratch,
               float* sums,
               size_t ld_sums);

}  // namespace dsa::backprop
