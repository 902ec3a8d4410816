// Forward passes under any selection, and how much of the dense attention a selection covers.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "backprop/attention_layer.h"
#include "backprop/dense_attention.h"
#include "backprop/feed_forward.h"
#include "backprop/sparse_attention.h"
#include "backprop/train_indexer.h"
#include "backprop/train_model_impl.h"
#include "common/random.h"

namespace dsa::backprop {

namespace {

// k of 0 .. n - 1, ascending, n - 1 among them: each of the others with the same chance.
void draw(uint64_t seed, size_t n, size_t k, int32_t* out) {
  uint64_t state = seed;
  size_t wanted = k - 1;
  for (size_t i = 0; wanted > 0; ++i) {
    if (next_random(&state) % (n - 1 - i) >= wanted) continue;
    *out++ = static_cast<int32_t>(i);
    --wanted;
  }
  *out = static_cast<int32_t>(n - 1);
}

void round_int8(float* x, size_t n) {
  float most = 1e-10F;
  for (size_t i = 0; i < n; ++i)
    most = std::max(most, std::fabs(x[i]));
  const float scale = most / 127.0F;
  for (size_t i = 0; i < n; ++i)
    x[i] = std::nearbyint(x[i] / scale) * scale;
}

// One evaluation of one batch.
class Evaluation {
 public:
  Evaluation(const LayerWork& work, const EvalOptions& options, const LayerState& layer)
      : work_(work), options_(options), top_k_(static_cast<size_t>(options.top_k)), layer_(layer) {
    const size_t stride = std::min(top_k_, work.dims.max_tokens);
    rows_.resize(work.n_tokens() * stride);
    counts_.resize(work.n_tokens());
    layer_.selected = {rows_.data(), counts_.data(), stride};
  }

  const LayerState& layer() const { return layer_; }

  bool dense() const { return options_.selection == EvalSelection::kDense; }
  bool wants_dense() const {
    return dense() || options_.coverage || options_.selection == EvalSelection::kOracle;
  }

  // Fills the lists; index: the layer's indexer, null where it shares an earlier selection.
  void select(size_t layer_index, const IndexerParameters* indexer) {
    switch (options_.selection) {
      case EvalSelection::kDense:
        return;
      case EvalSelection::kDsa:
        if (indexer != nullptr) select_by_index(*indexer);
        return;
      case EvalSelection::kOracle:
        return select_best();
      case EvalSelection::kWindow:
        return for_queries([&](size_t, size_t visible, size_t n, int32_t* list) {
          std::iota(list, list + n, static_cast<int32_t>(visible - n));
        });
      case EvalSelection::kRandom:
        return for_queries([&](size_t query, size_t visible, size_t n, int32_t* list) {
          uint64_t state = options_.seed + layer_index;
          state = next_random(&state) + query;
          if (n == visible) {
            std::iota(list, list + n, 0);
          } else {
            draw(next_random(&state), visible, n, list);
          }
        });
    }
  }

  // mass, recall: [n_tokens] of this layer.
  void cover(float* mass, float* recall) const {
    if (dense()) {
      std::fill_n(mass, work_.n_tokens(), 1.0F);
      std::fill_n(recall, work_.n_tokens(), 1.0F);
      return;
    }
    for_dense_rows(
        [&](size_t query, size_t first, const float* p, size_t visible, uint8_t* scratch) {
          const int32_t* list = layer_.selected.of(query);
          const size_t n = layer_.selected.count(query);
          std::vector<int32_t> best(std::min(visible, top_k_));
          work_.context.kernels->indexer->top_k(p, visible, top_k_, best.data(), scratch);
          double sum = 0;
          size_t common = 0;
          for (size_t j = 0; j < n; ++j) {
            const int32_t row = list[j] - static_cast<int32_t>(first);
            sum += static_cast<double>(p[row]);
            common += std::binary_search(best.begin(), best.end(), row) ? 1U : 0U;
          }
          mass[query] = static_cast<float>(sum);
          recall[query] = static_cast<float>(common) / static_cast<float>(best.size());
        });
  }

 private:
  // fn(query, visible, n, list): writes n positions of the document, ascending.
  template <class Fn>
  void for_queries(const Fn& fn) const {
    for (const DocumentSpan& document : work_.batch.documents) {
      const auto begin = static_cast<size_t>(document.begin);
      for_rows(work_.context, static_cast<size_t>(document.end) - begin, [&](size_t i) {
        int32_t* list = layer_.selected.rows + (begin + i) * layer_.selected.stride;
        const size_t n = std::min(i + 1, top_k_);
        fn(begin + i, i + 1, n, list);
        std::for_each(list, list + n,
                      [begin](int32_t& row) { row += static_cast<int32_t>(begin); });
        layer_.selected.counts[begin + i] = static_cast<int32_t>(n);
      });
    }
  }

  // fn(query, document's first token, p, visible, scratch): p: head-mean of the dense attention.
  template <class Fn>
  void for_dense_rows(const Fn& fn) const {
    const std::vector<QueryTile> tiles = work_.batch.tiles(index_tile(work_.dims));
    work_.context.pool->parallel_for(
        static_cast<int64_t>(tiles.size()), [&](int64_t item, int worker) {
          const QueryTile& tile = tiles[tiles.size() - 1 - static_cast<size_t>(item)];
          const auto at = static_cast<size_t>(worker);
          const size_t ld = work_.dims.max_tokens;
          float* rows = work_.shared.index_rows + at * index_tile(work_.dims) * ld;
          WorkerMemory memory(work_.shared, at);
          auto* logits = memory.take<float>(tile.n * kIndexKeys);
          const size_t end = tile.begin + tile.n;
          for (size_t key = tile.document; key < end; key += kIndexKeys) {
            head_mean(work_, layer_, tile, key, std::min(kIndexKeys, end - key), logits,
                      work_.context.worker_scratch(worker), rows + (key - tile.document), ld);
          }
          for (size_t i = 0; i < tile.n; ++i) {
            const size_t query = tile.begin + i;
            fn(query, tile.document, rows + i * ld, query + 1 - tile.document,
               work_.shared.top_k + at * work_.shared.top_k_bytes);
          }
        });
  }

  void select_best() const {
    for_dense_rows([&](size_t query, size_t first, const float* p, size_t visible,
                       uint8_t* scratch) {
      int32_t* list = layer_.selected.rows + query * layer_.selected.stride;
      const size_t n = work_.context.kernels->indexer->top_k(p, visible, top_k_, list, scratch);
      std::for_each(list, list + n, [first](int32_t& row) { row += static_cast<int32_t>(first); });
      layer_.selected.counts[query] = static_cast<int32_t>(n);
    });
  }

  void select_by_index(const IndexerParameters& indexer) const {
    project_index(work_, indexer, layer_);
    round_index();
    select_rows(work_,
                {top_k_, static_cast<size_t>(options_.keep_first),
                 static_cast<size_t>(options_.keep_recent)},
                layer_.selected);
  }

  // Drops heads, and rounds keys and queries as a cache of the format would.
  void round_index() const {
    const TrainDims& dims = work_.dims;
    const auto kept = static_cast<size_t>(options_.index_heads);
    for_rows(work_.context, work_.n_tokens(), [&](size_t t) {
      float* gate = work_.shared.index_gate + t * dims.index_heads;
      if (kept > 0) std::fill(gate + kept, gate + dims.index_heads, 0.0F);
      round_vector(work_.shared.index_key + t * dims.index_dim);
      for (size_t h = 0; h < dims.index_heads; ++h)
        round_vector(work_.shared.index_q + (t * dims.index_heads + h) * dims.index_dim);
    });
  }

  void round_vector(float* x) const {
    const size_t n = work_.dims.index_dim;
    if (options_.index_format == EvalIndexFormat::kInt8) round_int8(x, n);
    if (options_.index_format != EvalIndexFormat::kFp8) return;
    std::vector<uint8_t> codes(n);
    const float scale = work_.context.vector().quantize_e4m3(x, n, codes.data());
    work_.context.vector().dequantize_e4m3(codes.data(), n, scale, x);
  }

  const LayerWork& work_;
  const EvalOptions& options_;
  size_t top_k_;
  LayerState layer_;
  std::vector<int32_t> rows_;
  std::vector<int32_t> counts_;
};

}  // namespace

EvalResult TrainModel::Impl::evaluate(const TrainBatch& batch, const EvalOptions& eval_options) {
  const BatchLayout layout = layout_of(batch);
  const LayerWork work = {context, config, dims, layout, state.shared};
  const size_t n = layout.n_tokens;
  Evaluation evaluation(work, eval_options, state.evaluation);
  const LayerState& at = evaluation.layer();
  EvalResult result;
  if (eval_options.coverage) {
    result.mass.resize(dims.n_layers * n);
    result.recall.resize(dims.n_layers * n);
  }
  begin(work, batch.tokens);
  for (size_t i = 0; i < dims.n_layers; ++i) {
    const LayerParameters& layer = parameters->layers[i];
    enter_layer(work, at);
    project_attention(work, layer, at);
    if (evaluation.wants_dense()) {
      expand_rows(work, layer, at);
      dense_attention(work, at);
    }
    evaluation.select(i, indexed(i) ? &layer.indexer : nullptr);
    if (eval_options.coverage) {
      evaluation.cover(result.mass.data() + i * n, result.recall.data() + i * n);
    }
    if (!evaluation.dense()) {
      absorb_queries(work, layer, at);
      sparse_attention(work, at, nullptr);
      expand_outputs(work, layer, at);
    }
    project_output(work, layer, at);
    feed_forward(work, layer, at, nullptr);
  }
  result.token_loss.resize(n);
  result.best.resize(n);
  token_losses(work, head(), targets_of(batch), result.token_loss.data(), result.best.data());
  return result;
}

}  // namespace dsa::backprop
