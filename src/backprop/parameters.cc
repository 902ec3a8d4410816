#include "backprop/parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "common/math.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "formats/dequantize.h"
#include "formats/float_bits.h"
#include "io/safetensors.h"
#include "model/tensor_slots.h"
#include "runtime/scratch.h"

namespace dsa::backprop {

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

// At least as many as the layers of that configuration have: three of every expert, and those of
// the attention, the router, the shared experts and the norms.
size_t most_of_layers(const ModelConfig& config) {
  constexpr size_t kBesideExperts = 21;
  const size_t of_experts = saturating_mul(3, static_cast<size_t>(config.moe.n_experts));
  const size_t of_layer = std::max(of_experts, of_experts + kBesideExperts);
  return saturating_mul(static_cast<size_t>(config.n_layers), of_layer);
}

}  // namespace

const Parameter* ParameterSet::add(const ModelTensor& tensor) {
  Parameter parameter;
  parameter.name = tensor.name;
  parameter.shape = tensor.shape;
  parameter.size = 1;
  for (const int64_t extent : parameter.shape)
    parameter.size = saturating_mul(parameter.size, static_cast<size_t>(extent));
  if (!is_matrix(tensor.row->kind)) {
    parameter.role = tensor.row->role == TensorRole::kRouterBias ? ParameterRole::kRouterBias
                                                                 : ParameterRole::kVector;
  }
  parameter.of_indexer = of_indexer(tensor.row->role);
  parameter.layer = tensor.layer;
  all_.push_back(std::move(parameter));
  rows_.push_back(tensor.row);
  return &all_.back();
}

void ParameterSet::declare(const ModelConfig& config) {
  layers.resize(static_cast<size_t>(config.n_layers));
  for_each_tensor(config, [this](const ModelTensor& tensor) {
    const auto put = [&](const Parameter*& slot) { slot = add(tensor); };
    if (tensor.layer < 0) {
      at_model_slot(*this, tensor.row->role, put);
    } else {
      at_layer_slot(layers[static_cast<size_t>(tensor.layer)], tensor, put);
    }
    return true;
  });
  if (config.tie_word_embeddings) lm_head = embedding;
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
      dequantize(*stored_[i]->dtype, stored_[i]->data.data(), parameter.size, copies[i]);
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
      const double deviation =
          options.init_std * (writes_to_residual(rows_[i]->role) ? residual : 1.0);
      fill_normal(parameter.value, parameter.size, deviation,
                  options.seed ^ name_hash(parameter.name));
    } else {
      std::fill_n(parameter.value, parameter.size,
                  rows_[i]->kind == TensorKind::kNorm ? 1.0F : 0.0F);
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

}  // namespace dsa::backprop
