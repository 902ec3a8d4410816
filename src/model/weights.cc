#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/math.h"
#include "common/status_macros.h"
#include "formats/cache_layout.h"
#include "formats/float_bits.h"

namespace dsa {

namespace {

std::vector<float> to_f32(const StoredTensor& tensor) {
  const size_t element = dtype_bytes(*tensor.dtype);
  std::vector<float> values(tensor.data.size() / element);
  for (size_t i = 0; i < values.size(); ++i) {
    const std::byte* source = tensor.data.data() + i * element;
    uint16_t half = 0;
    switch (*tensor.dtype) {
      case DType::kF32:
        std::memcpy(&values[i], source, element);
        break;
      case DType::kF16:
        std::memcpy(&half, source, element);
        values[i] = f16_to_f32(half);
        break;
      default:
        std::memcpy(&half, source, element);
        values[i] = bf16_to_f32(half);
    }
  }
  return values;
}

class Loader {
 public:
  Loader(const ModelConfig& config,
         const TensorSource& source,
         size_t max_problems,
         LoadedWeights* loaded)
      : config_(config), source_(source), max_problems_(max_problems), loaded_(loaded) {}

  void load() {
    ModelWeights& weights = loaded_->weights;
    weights.embedding =
        plain_matrix("model.embed_tokens.weight", config_.vocab_size, config_.hidden_size);
    weights.final_norm = vector("model.norm.weight", config_.hidden_size);
    weights.lm_head = config_.tie_word_embeddings
                          ? weights.embedding
                          : plain_matrix("lm_head.weight", config_.vocab_size, config_.hidden_size);
    weights.layers.resize(static_cast<size_t>(config_.n_layers));
    for (int64_t i = 0; i < config_.n_layers && !stopped(); ++i) {
      load_layer(i, &weights.layers[static_cast<size_t>(i)]);
    }
  }

  void load_attention(int64_t index, LayerWeights* layer) {
    const std::string prefix = fmt::format("model.layers.{}.", index);
    layer->input_norm = vector(prefix + "input_layernorm.weight", config_.hidden_size);
    load_projections(prefix + "self_attn.", layer);
    if (config_.indexer.layers[static_cast<size_t>(index)] == IndexerKind::kFull) {
      load_indexer(prefix + "self_attn.indexer.", &layer->indexer);
    }
  }

 private:
  bool stopped() const { return loaded_->problems.size() >= max_problems_; }

  void load_layer(int64_t index, LayerWeights* layer) {
    const std::string prefix = fmt::format("model.layers.{}.", index);
    const int64_t hidden = config_.hidden_size;
    load_attention(index, layer);
    layer->post_attention_norm = vector(prefix + "post_attention_layernorm.weight", hidden);
    layer->is_moe = config_.is_moe_layer(index);
    if (layer->is_moe) {
      load_moe(prefix + "mlp.", layer);
    } else {
      layer->mlp = load_mlp(prefix + "mlp.", config_.intermediate_size);
    }
  }

  void load_projections(const std::string& prefix, LayerWeights* layer) {
    const ModelConfig& c = config_;
    layer->q_a = matrix(prefix + "q_a_proj.weight", c.q_lora_rank, c.hidden_size);
    layer->q_a_norm = vector(prefix + "q_a_layernorm.weight", c.q_lora_rank);
    layer->q_b = matrix(prefix + "q_b_proj.weight",
                        c.n_heads * (c.qk_nope_head_dim + c.qk_rope_head_dim), c.q_lora_rank);
    layer->kv_a = matrix(prefix + "kv_a_proj_with_mqa.weight", c.kv_lora_rank + c.qk_rope_head_dim,
                         c.hidden_size);
    layer->kv_a_norm = vector(prefix + "kv_a_layernorm.weight", c.kv_lora_rank);
    layer->kv_b = matrix(prefix + "kv_b_proj.weight",
                         c.n_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank);
    layer->o = matrix(prefix + "o_proj.weight", c.hidden_size, c.n_heads * c.v_head_dim);
  }

  void load_indexer(const std::string& prefix, IndexerWeights* indexer) {
    const int64_t dim = config_.indexer.head_dim;
    indexer->wq_b =
        matrix(prefix + "wq_b.weight", config_.indexer.n_heads * dim, config_.q_lora_rank);
    indexer->wk = matrix(prefix + "wk.weight", dim, config_.hidden_size);
    indexer->weights_proj =
        plain_matrix(prefix + "weights_proj.weight", config_.indexer.n_heads, config_.hidden_size);
    indexer->k_norm_weight = vector(prefix + "k_norm.weight", dim);
    indexer->k_norm_bias = vector(prefix + "k_norm.bias", dim);
  }

  MlpWeights load_mlp(const std::string& prefix, int64_t inner) {
    return {matrix(prefix + "gate_proj.weight", inner, config_.hidden_size),
            matrix(prefix + "up_proj.weight", inner, config_.hidden_size),
            matrix(prefix + "down_proj.weight", config_.hidden_size, inner)};
  }

  void load_moe(const std::string& prefix, LayerWeights* layer) {
    const MoeConfig& moe = config_.moe;
    layer->router = plain_matrix(prefix + "gate.weight", moe.n_experts, config_.hidden_size);
    if (moe.choice_bias) {
      layer->router_bias = vector(prefix + "gate.e_score_correction_bias", moe.n_experts);
    }
    for (int64_t e = 0; e < moe.n_experts && !stopped(); ++e) {
      layer->experts.push_back(
          load_mlp(fmt::format("{}experts.{}.", prefix, e), moe.intermediate_size));
    }
    if (moe.n_shared_experts > 0) {
      layer->mlp =
          load_mlp(prefix + "shared_experts.", moe.n_shared_experts * moe.intermediate_size);
    }
  }

  // A matrix that may be stored in any way the configuration allows.
  Weight matrix(const std::string& name, int64_t rows, int64_t cols) {
    if (!config_.fp8_weights) return plain_matrix(name, rows, cols);
    const StoredTensor* tensor =
        require(name, {rows, cols}, {DType::kF32, DType::kF16, DType::kBF16, DType::kE4M3});
    Weight weight = view(tensor, rows, cols);
    if (weight.dtype == DType::kE4M3) add_scale(name, &weight);
    return weight;
  }

  // A matrix that is never stored in fp8.
  Weight plain_matrix(const std::string& name, int64_t rows, int64_t cols) {
    return view(require(name, {rows, cols}, {DType::kF32, DType::kF16, DType::kBF16}), rows, cols);
  }

  std::vector<float> vector(const std::string& name, int64_t n) {
    const StoredTensor* tensor = require(name, {n}, {DType::kF32, DType::kF16, DType::kBF16});
    if (tensor == nullptr) return {};
    loaded_->weights.n_parameters += n;
    return to_f32(*tensor);
  }

  void add_scale(const std::string& name, Weight* weight) {
    const size_t rows = ceil_div(weight->rows, kWeightBlock);
    const size_t cols = ceil_div(weight->cols, kWeightBlock);
    const std::string scale_name = name + "_scale_inv";
    const StoredTensor* tensor = require(
        scale_name, {static_cast<int64_t>(rows), static_cast<int64_t>(cols)}, {DType::kF32});
    if (tensor == nullptr) return;
    std::vector<float> scale = to_f32(*tensor);
    const auto bad =
        std::find_if(scale.begin(), scale.end(), [](float value) { return !std::isfinite(value); });
    if (bad != scale.end() && !stopped()) {
      loaded_->problems.push_back(
          corruption("{}: tensor \"{}\": scale {} is {}, want a finite value",
                     source_.source_name(), scale_name, bad - scale.begin(), *bad));
    }
    loaded_->weights.scales.push_back(std::move(scale));
    weight->scale = loaded_->weights.scales.back().data();
    weight->scale_ld = cols;
  }

  Weight view(const StoredTensor* tensor, int64_t rows, int64_t cols) {
    Weight weight;
    if (tensor == nullptr) return weight;
    const void* data = tensor->data.data();
    weight.dtype = *tensor->dtype;
    weight.data = static_cast<const uint8_t*>(data);
    weight.rows = static_cast<size_t>(rows);
    weight.cols = static_cast<size_t>(cols);
    loaded_->weights.n_parameters += rows * cols;
    return weight;
  }

  const StoredTensor* require(const std::string& name,
                              std::initializer_list<int64_t> shape,
                              std::initializer_list<DType> dtypes) {
    if (stopped()) return nullptr;
    loaded_->used.insert(name);
    Result<const StoredTensor*> tensor = source_.require(name, shape, dtypes);
    if (!tensor.ok()) {
      loaded_->problems.push_back(tensor.status());
      return nullptr;
    }
    loaded_->weights.n_bytes += static_cast<int64_t>((*tensor)->data.size());
    return *tensor;
  }

  const ModelConfig& config_;
  const TensorSource& source_;
  size_t max_problems_;
  LoadedWeights* loaded_;
};

}  // namespace

LoadedWeights load_weights(const ModelConfig& config,
                           const TensorSource& source,
                           size_t max_problems) {
  LoadedWeights loaded;
  Loader(config, source, max_problems, &loaded).load();
  return loaded;
}

LoadedWeights load_attention(const ModelConfig& config, const TensorSource& source, int64_t layer) {
  LoadedWeights loaded;
  Loader(config, source, 1, &loaded).load_attention(layer, &loaded.weights.layers.emplace_back());
  return loaded;
}

}  // namespace dsa
