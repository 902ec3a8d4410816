// The lightning indexer in training: projections, selection, and its KL with the gradients, which
// are complete when the layer's forward pass is: nothing of the indexer is kept for later, since
// its inputs are detached.
//
//   score[t,s] = sum_h w[t,h] max(<q[t,h,:], k[s,:]>, 0)
//   KL_t = sum_s p[t,s] (ln p[t,s] - ln softmax_s(score[t,s])),   d score = softmax(score) - p
#pragma once

#include "backprop/layer_work.h"
#include "backprop/parameters.h"
#include "ops/indexer.h"

namespace dsa::backprop {

size_t index_bytes(const TrainDims& dims);  // of a worker, for scores in tiles
size_t selected_index_bytes(const TrainDims& dims, size_t max_selected);

// Queries whose scores exist at a time.
size_t index_tile(const TrainDims& dims);

// Reads normed and c_q; writes index_q, index_low, index_key, index_gate.
void project_index(const LayerWork& work,
                   const IndexerParameters& parameters,
                   const LayerState& layer);

// Each query's selection among the earlier tokens of its document, by the indexer's scores.
void select_rows(const LayerWork& work, const SelectionRule& rule, const SelectedRows& selected);

// scores[i, j] of the queries of a tile and keys [first_key, first_key + n_keys), row stride ld;
// qk: scratch [tile.n * index_heads, n_keys], keeps the products.
void index_scores_tile(const LayerWork& work,
                       const QueryTile& tile,
                       size_t first_key,
                       size_t n_keys,
                       float* qk,
                       float* gemm_scratch,
                       float* scores,
                       size_t ld);

// Sets the gradients of the projections to zero.
void begin_index_gradients(const LayerWork& work);

// KL of every query over all earlier tokens against the layer's dense attention, summed. Gradients
// times factor are added to d_index_q, d_index_key_parts, d_index_gate.
double dense_index_kl(const LayerWork& work, const LayerState& layer, float factor);

// KL of one query over its selection against target; the same gradients. memory_offset: where the
// worker's memory is free.
double selected_index_kl(const LayerWork& work,
                         const SelectedRows& selected,
                         size_t part,
                         int worker,
                         size_t memory_offset,
                         size_t query,
                         const float* target,
                         float factor);

// From the gradients of the projections to those of the parameters.
void index_backward(const LayerWork& work,
                    const IndexerParameters& parameters,
                    const LayerState& layer);

}  // namespace dsa::backprop
