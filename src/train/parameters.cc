#include "train/parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "common/math.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "formats/float_bits.h"
#include "io/safetensors.h"
#include "runtime/scratch.h"

namespace dsa {

namespace {

// Whether the stage changes the parameter by its gradient.
bool is_trained(const Parameter& parameter, TrainStage stage) {
  if (parameter.role == ParameterRole::kRouterBias) return false;
  switch (stage) {
    case TrainStage::kPretrain:
      return !parameter.of_indexer;
    case TrainStage::kWarmup:
      return parameter.of_indexer;
    case TrainStage::kSparse:
      return true;
  }
  return false;
}

// FNV-1a: a tensor's values depend on its name, not on its place in the list.
uint64_t name_hash(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : name)
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3U;
  return hash;
}

// Box and Muller's normal values.
void fill_normal(float* out, size_t n, double deviation, uint64_t seed) {
  uint64_t state = seed;
  for (size_t i = 0; i < n; i += 2) {
    const double u = (static_cast<double>(next_random(&state) >> 11) + 1.0) * 0x1.0p-53;
    const double angle =
        static_cast<double>(next_random(&state) >> 11) * 0x1.0p-52 * std::numbers::pi;
    const double radius = deviation * std::sqrt(-2.0 * std::log(u));
    out[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < n) out[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

void copy_as_f32(const StoredTensor& tensor, size_t n, float* out) {
  const std::byte* data = tensor.data.data();
  if (*tensor.dtype == DType::kF32) {
    std::memcpy(out, data, n * sizeof(float));
    return;
  }
  for (size_t i = 0; i < n; ++i) {
    uint16_t half = 0;
    std::memcpy(&half, data + i * sizeof half, sizeof half);
    out[i] = *tensor.dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
}

bool writes_to_residual(const Parameter& parameter) {
  return parameter.name.ends_with("o_proj.weight") || parameter.name.ends_with("down_proj.weight");
}

// At least as many as the layers of that configuration have: three of every expert, and those of
// the attention, the router, the shared experts and the norms.
size_t most_of_layers(const ModelConfig& config) {
  constexpr size_t kBesideExperts = 21;
  const size_t of_experts = saturating_mul(3, static_cast<size_t>(config.moe.n_experts));
  const size_t of_layer = std::max(of_experts, of_experts + kBesideExperts);
  return saturating_mul(static_cast<size_t>(config.n_layers), of_layer);
}

}  // namespace

const Parameter* ParameterSet::add(Parameter parameter) {
  parameter.size = 1;
  for (const int64_t extent : parameter.shape)
    parameter.size = saturating_mul(parameter.size, static_cast<size_t>(extent));
  parameter.of_indexer = parameter.name.find(".indexer.") != std::string::npos;
  all_.push_back(std::move(parameter));
  return &all_.back();
}

const Parameter* ParameterSet::matrix(const std::string& name,
                                      int64_t layer,
                                      int64_t rows,
                                      int64_t cols) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = {rows, cols};
  parameter.layer = layer;
  return add(std::move(parameter));
}

const Parameter* ParameterSet::vector(const std::string& name, int64_t layer, int64_t n) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = {n};
  parameter.role = name.ends_with("e_score_correction_bias") ? ParameterRole::kRouterBias
                                                             : ParameterRole::kVector;
  parameter.layer = layer;
  return add(std::move(parameter));
}

void ParameterSet::declare(const ModelConfig& config) {
  embedding = matrix("model.embed_tokens.weight", -1, config.vocab_size, config.hidden_size);
  layers.resize(static_cast<size_t>(config.n_layers));
  for (int64_t layer = 0; layer < config.n_layers; ++layer)
    declare_layer(config, layer);
  final_norm = vector("model.norm.weight", -1, config.hidden_size);
  lm_head = config.tie_word_embeddings
                ? embedding
                : matrix("lm_head.weight", -1, config.vocab_size, config.hidden_size);
}

MlpParameters ParameterSet::declare_mlp(const std::string& prefix,
                                        int64_t layer,
                                        int64_t hidden,
                                        int64_t inner) {
  MlpParameters mlp;
  mlp.gate = matrix(prefix + "gate_proj.weight", layer, inner, hidden);
  mlp.up = matrix(prefix + "up_proj.weight", layer, inner, hidden);
  mlp.down = matrix(prefix + "down_proj.weight", layer, hidden, inner);
  return mlp;
}

void ParameterSet::declare_layer(const ModelConfig& config, int64_t layer) {
  const ModelConfig& c = config;
  const int64_t hidden = c.hidden_size;
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const std::string attention = prefix + "self_attn.";
  LayerParameters& p = layers[static_cast<size_t>(layer)];
  p.input_norm = vector(prefix + "input_layernorm.weight", layer, hidden);
  p.q_a = matrix(attention + "q_a_proj.weight", layer, c.q_lora_rank, hidden);
  p.q_a_norm = vector(attention + "q_a_layernorm.weight", layer, c.q_lora_rank);
  p.q_b = matrix(attention + "q_b_proj.weight", layer,
                 c.n_heads * (c.qk_nope_head_dim + c.qk_rope_head_dim), c.q_lora_rank);
  p.kv_a = matrix(attention + "kv_a_proj_with_mqa.weight", layer,
                  c.kv_lora_rank + c.qk_rope_head_dim, hidden);
  p.kv_a_norm = vector(attention + "kv_a_layernorm.weight", layer, c.kv_lora_rank);
  p.kv_b = matrix(attention + "kv_b_proj.weight", layer,
                  c.n_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank);
  p.o = matrix(attention + "o_proj.weight", layer, hidden, c.n_heads * c.v_head_dim);
  if (c.indexer.layers[static_cast<size_t>(layer)] == IndexerKind::kFull) {
    const std::string indexer = attention + "indexer.";
    const int64_t dim = c.indexer.head_dim;
    p.indexer.wq_b = matrix(indexer + "wq_b.weight", layer, c.indexer.n_heads * dim, c.q_lora_rank);
    p.indexer.wk = matrix(indexer + "wk.weight", layer, dim, hidden);
    p.indexer.k_norm = vector(indexer + "k_norm.weight", layer, dim);
    p.indexer.k_norm_bias = vector(indexer + "k_norm.bias", layer, dim);
    p.indexer.weights_proj =
        matrix(indexer + "weights_proj.weight", layer, c.indexer.n_heads, hidden);
  }
  p.post_norm = vector(prefix + "post_attention_layernorm.weight", layer, hidden);
  const std::string mlp = prefix + "mlp.";
  if (!c.is_moe_layer(layer)) {
    p.mlp = declare_mlp(mlp, layer, hidden, c.intermediate_size);
    return;
  }
  const MoeConfig& moe = c.moe;
  p.router = matrix(mlp + "gate.weight", layer, moe.n_experts, hidden);
  if (moe.choice_bias)
    p.router_bias = vector(mlp + "gate.e_score_correction_bias", layer, moe.n_experts);
  for (int64_t e = 0; e < moe.n_experts; ++e) {
    p.experts.push_back(
        declare_mlp(fmt::format("{}experts.{}.", mlp, e), layer, hidden, moe.intermediate_size));
  }
  if (moe.n_shared_experts > 0) {
    p.mlp = declare_mlp(mlp + "shared_experts.", layer, hidden,
                        moe.n_shared_experts * moe.intermediate_size);
  }
}

Status ParameterSet::find_sources(const TrainModelOptions& options, const TensorSource* source) {
  stored_.resize(all_.size(), nullptr);
  if (source == nullptr) return {};
  for (size_t i = 0; i < all_.size(); ++i) {
    Parameter& parameter = all_[i];
    if (parameter.of_indexer && options.new_indexers) continue;
    auto tensor = source->require(parameter.name, std::span<const int64_t>(parameter.shape),
                                  {DType::kF32, DType::kF16, DType::kBF16});
    if (!tensor.ok()) {
      if (parameter.of_indexer && tensor.status().code() == StatusCode::kNotFound) continue;
      return tensor.status();
    }
    stored_[i] = *tensor;
  }
  return {};
}

// A stage that freezes a matrix reads it where it lies; everything else has a value of its own.
Status ParameterSet::allocate(const TrainModelOptions& options) {
  ScratchPlan values;
  ScratchPlan gradients;
  ScratchPlan rounded;
  std::vector<float*> copies(all_.size(), nullptr);
  std::vector<uint16_t*> twins(all_.size(), nullptr);
  for (size_t i = 0; i < all_.size(); ++i) {
    Parameter& parameter = all_[i];
    const bool trained = is_trained(parameter, options.stage);
    const bool is_matrix = parameter.role == ParameterRole::kMatrix;
    if (trained || !is_matrix || stored_[i] == nullptr) values.add(&copies[i], parameter.size);
    if (trained) gradients.add(&parameter.gradient, parameter.size);
    if (trained && is_matrix && options.bf16_weights) rounded.add(&twins[i], parameter.size);
  }
  DSA_ASSIGN_OR_RETURN(values_, values.allocate("parameters"));
  DSA_ASSIGN_OR_RETURN(gradients_, gradients.allocate("gradients"));
  DSA_ASSIGN_OR_RETURN(rounded_, rounded.allocate("rounded parameters"));
  for (size_t i = 0; i < all_.size(); ++i) {
    Parameter& parameter = all_[i];
    const bool changes =
        is_trained(parameter, options.stage) || stored_[i] == nullptr ||
        (parameter.role == ParameterRole::kRouterBias && options.stage != TrainStage::kWarmup);
    if (copies[i] != nullptr && stored_[i] != nullptr) {
      copy_as_f32(*stored_[i], parameter.size, copies[i]);
    }
    if (changes) parameter.value = copies[i];
    if (twins[i] != nullptr) {
      parameter.dtype = DType::kBF16;
      parameter.data = twins[i];
    } else if (copies[i] != nullptr) {
      parameter.data = copies[i];
    } else {
      parameter.dtype = *stored_[i]->dtype;
      parameter.data = stored_[i]->data.data();
    }
  }
  return {};
}

void ParameterSet::fill(const ModelConfig& config, const TrainModelOptions& options) {
  const double residual = 1.0 / std::sqrt(2.0 * static_cast<double>(config.n_layers));
  for (size_t i = 0; i < all_.size(); ++i) {
    if (stored_[i] != nullptr) continue;
    const Parameter& parameter = all_[i];
    if (parameter.role == ParameterRole::kMatrix) {
      const double deviation = options.init_std * (writes_to_residual(parameter) ? residual : 1.0);
      fill_normal(parameter.value, parameter.size, deviation,
                  options.seed ^ name_hash(parameter.name));
    } else {
      std::fill_n(parameter.value, parameter.size,
                  parameter.name.ends_with("norm.weight") ? 1.0F : 0.0F);
    }
  }
}

Result<std::unique_ptr<ParameterSet>> ParameterSet::create(const ModelConfig& config,
                                                           const TrainModelOptions& options,
                                                           const TensorSource* source) {
  std::unique_ptr<ParameterSet> set(new ParameterSet());
  const size_t most = most_of_layers(config);
  constexpr size_t kMaxParameters = size_t{1} << 20;
  if (most > kMaxParameters) {
    return error(StatusCode::kResourceExhausted,
                 "{} layers of {} experts: {} tensors, want at most {}", config.n_layers,
                 config.moe.n_experts, most, kMaxParameters);
  }
  // Addresses are handed out while the list grows.
  constexpr size_t kOutsideLayers = 3;
  set->all_.reserve(most + kOutsideLayers);
  set->declare(config);
  for (const Parameter& parameter : set->all_) {
    if (parameter.size != SIZE_MAX) continue;
    return error(StatusCode::kResourceExhausted, "{}: {}, want a tensor that fits in memory",
                 parameter.name, shape_text(parameter.shape));
  }
  DSA_RETURN_IF_ERROR(set->find_sources(options, source));
  DSA_RETURN_IF_ERROR(set->allocate(options));
  set->fill(config, options);
  set->round_weights();
  return set;
}

const Parameter* ParameterSet::find(std::string_view name) const {
  const auto found = std::find_if(all_.begin(), all_.end(), [name](const Parameter& parameter) {
    return parameter.name == name;
  });
  return found == all_.end() ? nullptr : &*found;
}

int64_t ParameterSet::memory_bytes() const {
  return static_cast<int64_t>(values_.size() + gradients_.size() + rounded_.size());
}

void ParameterSet::zero_gradients() {
  if (gradients_.size() > 0) std::memset(gradients_.data(), 0, gradients_.size());
}

void ParameterSet::round_weights() {
  for (const Parameter& parameter : all_) {
    if (parameter.dtype != DType::kBF16 || parameter.value == nullptr) continue;
    void* twin = rounded_.data() + (static_cast<const uint8_t*>(parameter.data) - rounded_.data());
    auto* bits = static_cast<uint16_t*>(twin);
    std::transform(parameter.value, parameter.value + parameter.size, bits, f32_to_bf16);
  }
}

}  // namespace dsa
