#include "backprop/layer_state.h"

#include <algorithm>

#include "backprop/dense_attention.h"
#include "backprop/sparse_attention.h"
#include "backprop/train_indexer.h"
#include "common/sizes.h"

namespace dsa::backprop {

namespace {

constexpr size_t kLogitBytes = size_t{8} << 20;  // logits that exist at a time, about
constexpr size_t kMinLogitRows = 32;
constexpr size_t kMaxLogitRows = 256;

class Planner {
 public:
  Planner(const ModelConfig& config,
          const TrainModelOptions& options,
          const TrainDims& dims,
          const TrainContext& context,
          ModelState* state)
      : config_(config), options_(options), dims_(dims), context_(context), state_(state) {
    const MoeConfig& moe = config.moe;
    shared_inner_ =
        as_size(std::max(config.intermediate_size, moe.n_shared_experts * moe.intermediate_size));
    chosen_ = as_size(moe.n_experts_per_token);
    experts_ = as_size(moe.n_experts);
    expert_inner_ = as_size(moe.intermediate_size);
  }

  Status run() {
    state_->layers.resize(dims_.n_layers);
    const bool backward = options_.stage != TrainStage::kWarmup;
    const bool sparse = options_.stage == TrainStage::kSparse;
    for (size_t i = 0; i < dims_.n_layers; ++i) {
      const bool own = i == 0 || backward;
      plan_layer(own, own && !(options_.recompute && i > 0), sparse, i);
    }
    plan_evaluation();
    plan_shared(backward, sparse);
    Result<AlignedBuffer> memory = plan_.allocate("activations");
    if (!memory.ok()) return memory.status();
    state_->memory = std::move(memory).value();
    for (const auto& [to, from] : aliases_)
      *to = *from;
    share_selections();
    return {};
  }

 private:
  template <class T>
  void add(T** pointer, size_t width) {
    plan_.add(pointer, saturating_mul(width, dims_.max_tokens));
  }

  void alias(float** to, float** from) { aliases_.emplace_back(to, from); }

  // own: the layer's own kept buffers; own_inner: also those that can be computed again. Otherwise
  // they are layer 0's.
  void plan_layer(bool own, bool own_inner, bool sparse, size_t index) {
    LayerState& layer = state_->layers[index];
    LayerState& first = state_->layers[0];
    const size_t heads = dims_.n_heads;
    const auto kept = [&](float* LayerState::*member, size_t width) {
      if (own) {
        add(&(layer.*member), width);
      } else {
        alias(&(layer.*member), &(first.*member));
      }
    };
    const auto inner = [&](float* LayerState::*member, size_t width) {
      if (own_inner) {
        add(&(layer.*member), width);
      } else {
        alias(&(layer.*member), &(first.*member));
      }
    };
    kept(&LayerState::input, dims_.hidden);
    kept(&LayerState::attention, heads * dims_.d_v);
    kept(&LayerState::lse, heads);
    kept(&LayerState::middle, dims_.hidden);
    if (sparse) {
      kept(&LayerState::absorbed_out, heads * dims_.d_latent);
      inner(&LayerState::absorbed_q, heads * dims_.d_row());
      if (indexed(index)) plan_selection(&layer.selected);
    } else {
      inner(&LayerState::keys, heads * dims_.d_q());
      inner(&LayerState::expanded, heads * dims_.d_kv());
    }
    inner(&LayerState::normed, dims_.hidden);
    inner(&LayerState::q_low, dims_.q_rank);
    inner(&LayerState::c_q, dims_.q_rank);
    inner(&LayerState::kv_low, dims_.d_row());
    inner(&LayerState::rows, dims_.d_row());
    inner(&LayerState::q, heads * dims_.d_q());
    inner(&LayerState::post_normed, dims_.hidden);
    inner(&LayerState::gate, shared_inner_);
    inner(&LayerState::up, shared_inner_);
    if (experts_ == 0) return;
    inner(&LayerState::router, experts_);
    inner(&LayerState::expert_weights, chosen_);
    inner(&LayerState::expert_gate, chosen_ * expert_inner_);
    inner(&LayerState::expert_up, chosen_ * expert_inner_);
    add(&layer.experts, chosen_);
    add(&layer.order, chosen_);
    plan_.add(&layer.starts, experts_ + 1);
  }

  void plan_selection(SelectedRows* selected) {
    selected->stride = std::min(dims_.top_k, dims_.max_tokens);
    add(&selected->rows, selected->stride);
    add(&selected->counts, 1);
  }

  bool indexed(size_t layer) const { return config_.indexer.layers[layer] == IndexerKind::kFull; }

  // A layer without an indexer reads the list of the nearest earlier one that has.
  void share_selections() {
    for (size_t i = 1; i < dims_.n_layers; ++i) {
      if (!indexed(i)) state_->layers[i].selected = state_->layers[i - 1].selected;
    }
  }

  // Evaluation runs either form on one layer's buffers. Memory that is never written costs nothing.
  void plan_evaluation() {
    LayerState& layer = state_->evaluation;
    LayerState& first = state_->layers[0];
    const size_t heads = dims_.n_heads;
    for (float* LayerState::*member :
         {&LayerState::input, &LayerState::attention, &LayerState::lse, &LayerState::middle,
          &LayerState::normed, &LayerState::q_low, &LayerState::c_q, &LayerState::kv_low,
          &LayerState::rows, &LayerState::q, &LayerState::post_normed, &LayerState::gate,
          &LayerState::up, &LayerState::router, &LayerState::expert_weights,
          &LayerState::expert_gate, &LayerState::expert_up}) {
      alias(&(layer.*member), &(first.*member));
    }
    add(&layer.keys, heads * dims_.d_q());
    add(&layer.expanded, heads * dims_.d_kv());
    add(&layer.absorbed_q, heads * dims_.d_row());
    add(&layer.absorbed_out, heads * dims_.d_latent);
    if (experts_ == 0) return;
    add(&layer.experts, chosen_);
    add(&layer.order, chosen_);
    plan_.add(&layer.starts, experts_ + 1);
  }

  void plan_shared(bool backward, bool sparse) {
    SharedState& s = state_->shared;
    const size_t heads = dims_.n_heads;
    const size_t threads = context_.n_threads();
    add(&s.cos, dims_.d_rope / 2);
    add(&s.sin, dims_.d_rope / 2);
    add(&s.minus_sin, dims_.d_rope / 2);
    add(&s.hidden, dims_.hidden);
    add(&s.inner, shared_inner_);
    add(&s.expert_input, chosen_ * dims_.hidden);
    add(&s.expert_output, chosen_ * dims_.hidden);
    add(&s.expert_inner, chosen_ * expert_inner_);
    plan_index(threads);
    plan_head();
    add(&s.row_loss, 1);
    if (backward) {
      add(&s.d_hidden, dims_.hidden);
      add(&s.d_normed, dims_.hidden);
      add(&s.d_attention, heads * dims_.d_v);
      add(&s.d_q, heads * dims_.d_q());
      add(&s.d_rows, dims_.d_row());
      add(&s.d_kv_low, dims_.d_row());
      add(&s.d_c_q, dims_.q_rank);
      add(&s.d_q_low, dims_.q_rank);
      add(&s.delta, heads);
      add(&s.d_inner, shared_inner_);
      add(&s.d_expert_inner, chosen_ * expert_inner_);
      add(&s.d_router, experts_);
      add(&s.d_expert_weights, chosen_);
    }
    if (sparse) {
      add(&s.d_absorbed_q, heads * dims_.d_row());
      add(&s.d_absorbed_out, heads * dims_.d_latent);
      add(&s.d_row_parts, threads * dims_.d_row());
    } else if (backward) {
      add(&s.d_keys, heads * dims_.d_q());
      add(&s.d_expanded, heads * dims_.d_kv());
    }
    const size_t widest = std::max({dims_.hidden, dims_.q_rank, dims_.d_latent, dims_.index_dim});
    plan_.add(&s.norm_parts, threads * 2 * widest);
  }

  void plan_index(size_t threads) {
    SharedState& s = state_->shared;
    const size_t width = dims_.index_heads * dims_.index_dim;
    add(&s.index_q, width);
    add(&s.index_low, dims_.index_dim);
    add(&s.index_key, dims_.index_dim);
    add(&s.index_gate, dims_.index_heads);
    add(&s.index_rows, threads * index_tile(dims_));
    if (options_.stage != TrainStage::kPretrain) {
      add(&s.d_index_q, width);
      add(&s.d_index_key, dims_.index_dim);
      add(&s.d_index_key_parts, threads * dims_.index_dim);
      add(&s.d_index_gate, dims_.index_heads);
    }
    s.top_k_bytes = round_up<size_t>(
        context_.kernels->indexer->top_k_scratch_bytes(dims_.max_tokens, dims_.max_tokens), 64);
    plan_.add(&s.top_k, threads * s.top_k_bytes);
    const size_t most = dims_.max_tokens;  // that an evaluation may select
    const size_t bytes =
        std::max({dense_attention_bytes(dims_), index_bytes(dims_),
                  sparse_attention_bytes(dims_, most) + selected_index_bytes(dims_, most)});
    s.worker_bytes = round_up<size_t>(bytes, 64);
    plan_.add(&s.worker, threads * s.worker_bytes);
  }

  void plan_head() {
    SharedState& s = state_->shared;
    s.logit_rows = std::min(
        dims_.max_tokens,
        std::clamp(kLogitBytes / (dims_.vocab * sizeof(float)), kMinLogitRows, kMaxLogitRows));
    plan_.add(&s.logits, s.logit_rows * dims_.vocab);
    add(&s.head_normed, dims_.hidden);
  }

  const ModelConfig& config_;
  const TrainModelOptions& options_;
  const TrainDims& dims_;
  const TrainContext& context_;
  ModelState* state_;
  size_t shared_inner_ = 0;
  size_t chosen_ = 0;
  size_t experts_ = 0;
  size_t expert_inner_ = 0;
  ScratchPlan plan_;
  std::vector<std::pair<float**, float**>> aliases_;
};

}  // namespace

TrainDims train_dims(const ModelConfig& config, const TrainModelOptions& options) {
  TrainDims dims;
  dims.max_tokens = as_size(options.max_tokens);
  dims.n_layers = as_size(config.n_layers);
  dims.vocab = as_size(config.vocab_size);
  dims.hidden = as_size(config.hidden_size);
  dims.q_rank = as_size(config.q_lora_rank);
  dims.n_heads = as_size(config.n_heads);
  dims.d_latent = as_size(config.kv_lora_rank);
  dims.d_rope = as_size(config.qk_rope_head_dim);
  dims.d_nope = as_size(config.qk_nope_head_dim);
  dims.d_v = as_size(config.v_head_dim);
  dims.index_heads = as_size(config.indexer.n_heads);
  dims.index_dim = as_size(config.indexer.head_dim);
  dims.top_k = as_size(options.top_k);
  dims.scale = static_cast<float>(config.softmax_scale());
  dims.eps = static_cast<float>(config.rms_norm_eps);
  return dims;
}

std::vector<QueryTile> BatchLayout::tiles(size_t rows) const {
  std::vector<QueryTile> tiles;
  for (const DocumentSpan& document : documents) {
    const size_t end = as_size(document.end);
    const size_t begin = as_size(document.begin);
    for (size_t at = begin; at < end; at += rows)
      tiles.push_back({at, std::min(rows, end - at), begin});
  }
  return tiles;
}

Status ModelState::allocate(const ModelConfig& config,
                            const TrainModelOptions& options,
                            const TrainDims& dims,
                            const TrainContext& context) {
  return Planner(config, options, dims, context, this).run();
}

}  // namespace dsa::backprop
