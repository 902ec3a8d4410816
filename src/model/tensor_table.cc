#include "model/tensor_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace dsa {

namespace {

using Config = ModelConfig;
using Shape = std::vector<int64_t>;

bool has_indexer(const Config& c, int64_t layer) {
  return c.indexer.layers[static_cast<size_t>(layer)] == IndexerKind::kFull;
}
bool is_dense(const Config& c, int64_t layer) {
  return !c.is_moe_layer(layer);
}
bool is_moe(const Config& c, int64_t layer) {
  return c.is_moe_layer(layer);
}
bool has_router_bias(const Config& c, int64_t layer) {
  return is_moe(c, layer) && c.moe.choice_bias;
}
bool has_shared_experts(const Config& c, int64_t layer) {
  return is_moe(c, layer) && c.moe.n_shared_experts > 0;
}
bool has_low_rank_query(const Config& c, int64_t) {
  return c.q_lora_rank > 0;
}
bool has_direct_query(const Config& c, int64_t) {
  return c.q_lora_rank == 0;
}
bool has_own_head(const Config& c, int64_t) {
  return !c.tie_word_embeddings;
}

int64_t query_width(const Config& c) {
  return c.n_heads * (c.qk_nope_head_dim + c.qk_rope_head_dim);
}
int64_t shared_width(const Config& c) {
  return c.moe.n_shared_experts * c.moe.intermediate_size;
}

Shape vocab_by_hidden(const Config& c) {
  return {c.vocab_size, c.hidden_size};
}
Shape hidden_vector(const Config& c) {
  return {c.hidden_size};
}
Shape index_vector(const Config& c) {
  return {c.indexer.head_dim};
}

constexpr TensorScope kModel = TensorScope::kModel;
constexpr TensorScope kLayer = TensorScope::kLayer;
constexpr TensorScope kExpert = TensorScope::kExpert;
constexpr TensorKind kLinear = TensorKind::kLinear;
constexpr TensorKind kMatrix = TensorKind::kMatrix;
constexpr TensorKind kNorm = TensorKind::kNorm;
constexpr TensorKind kBias = TensorKind::kBias;
using Role = TensorRole;

// clang-format off
constexpr TensorRow kTable[] = {
    {Role::kEmbedding, kMatrix, kModel, "model.embed_tokens.weight", vocab_by_hidden, nullptr},

    {Role::kInputNorm, kNorm, kLayer, "input_layernorm.weight", hidden_vector, nullptr},
    {Role::kQueryDown, kLinear, kLayer, "self_attn.q_a_proj.weight",
     [](const Config& c) -> Shape { return {c.q_lora_rank, c.hidden_size}; }, has_low_rank_query},
    {Role::kQueryDownNorm, kNorm, kLayer, "self_attn.q_a_layernorm.weight",
     [](const Config& c) -> Shape { return {c.q_lora_rank}; }, has_low_rank_query},
    {Role::kQueryUp, kLinear, kLayer, "self_attn.q_b_proj.weight",
     [](const Config& c) -> Shape { return {query_width(c), c.q_lora_rank}; }, has_low_rank_query},
    {Role::kQuery, kLinear, kLayer, "self_attn.q_proj.weight",
     [](const Config& c) -> Shape { return {query_width(c), c.hidden_size}; }, has_direct_query},
    {Role::kKvDown, kLinear, kLayer, "self_attn.kv_a_proj_with_mqa.weight",
     [](const Config& c) -> Shape { return {c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size}; },
     nullptr},
    {Role::kKvNorm, kNorm, kLayer, "self_attn.kv_a_layernorm.weight",
     [](const Config& c) -> Shape { return {c.kv_lora_rank}; }, nullptr},
    {Role::kKvUp, kLinear, kLayer, "self_attn.kv_b_proj.weight",
     [](const Config& c) -> Shape {
       return {c.n_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank};
     }, nullptr},
    {Role::kOutput, kLinear, kLayer, "self_attn.o_proj.weight",
     [](const Config& c) -> Shape { return {c.hidden_size, c.n_heads * c.v_head_dim}; }, nullptr},

    {Role::kIndexQuery, kLinear, kLayer, "self_attn.indexer.wq_b.weight",
     [](const Config& c) -> Shape {
       return {c.indexer.n_heads * c.indexer.head_dim, c.q_lora_rank};
     }, has_indexer},
    {Role::kIndexKey, kLinear, kLayer, "self_attn.indexer.wk.weight",
     [](const Config& c) -> Shape { return {c.indexer.head_dim, c.hidden_size}; }, has_indexer},
    {Role::kIndexKeyNorm, kNorm, kLayer, "self_attn.indexer.k_norm.weight", index_vector,
     has_indexer},
    {Role::kIndexKeyNormBias, kBias, kLayer, "self_attn.indexer.k_norm.bias", index_vector,
     has_indexer},
    {Role::kIndexGate, kMatrix, kLayer, "self_attn.indexer.weights_proj.weight",
     [](const Config& c) -> Shape { return {c.indexer.n_heads, c.hidden_size}; }, has_indexer},

    {Role::kPostAttentionNorm, kNorm, kLayer, "post_attention_layernorm.weight", hidden_vector,
     nullptr},
    {Role::kMlpGate, kLinear, kLayer, "mlp.gate_proj.weight",
     [](const Config& c) -> Shape { return {c.intermediate_size, c.hidden_size}; }, is_dense},
    {Role::kMlpUp, kLinear, kLayer, "mlp.up_proj.weight",
     [](const Config& c) -> Shape { return {c.intermediate_size, c.hidden_size}; }, is_dense},
    {Role::kMlpDown, kLinear, kLayer, "mlp.down_proj.weight",
     [](const Config& c) -> Shape { return {c.hidden_size, c.intermediate_size}; }, is_dense},

    {Role::kRouter, kMatrix, kLayer, "mlp.gate.weight",
     [](const Config& c) -> Shape { return {c.moe.n_experts, c.hidden_size}; }, is_moe},
    {Role::kRouterBias, kBias, kLayer, "mlp.gate.e_score_correction_bias",
     [](const Config& c) -> Shape { return {c.moe.n_experts}; }, has_router_bias},
    {Role::kExpertGate, kLinear, kExpert, "gate_proj.weight",
     [](const Config& c) -> Shape { return {c.moe.intermediate_size, c.hidden_size}; }, is_moe},
    {Role::kExpertUp, kLinear, kExpert, "up_proj.weight",
     [](const Config& c) -> Shape { return {c.moe.intermediate_size, c.hidden_size}; }, is_moe},
    {Role::kExpertDown, kLinear, kExpert, "down_proj.weight",
     [](const Config& c) -> Shape { return {c.hidden_size, c.moe.intermediate_size}; }, is_moe},
    {Role::kSharedGate, kLinear, kLayer, "mlp.shared_experts.gate_proj.weight",
     [](const Config& c) -> Shape { return {shared_width(c), c.hidden_size}; },
     has_shared_experts},
    {Role::kSharedUp, kLinear, kLayer, "mlp.shared_experts.up_proj.weight",
     [](const Config& c) -> Shape { return {shared_width(c), c.hidden_size}; },
     has_shared_experts},
    {Role::kSharedDown, kLinear, kLayer, "mlp.shared_experts.down_proj.weight",
     [](const Config& c) -> Shape { return {c.hidden_size, shared_width(c)}; },
     has_shared_experts},

    {Role::kFinalNorm, kNorm, kModel, "model.norm.weight", hidden_vector, nullptr},
    {Role::kLmHead, kMatrix, kModel, "lm_head.weight", vocab_by_hidden, has_own_head},
};
// clang-format on

constexpr std::string_view kLayers = "model.layers.";
constexpr std::string_view kExperts = "mlp.experts.";

bool visit_row(const Config& config,
               const TensorRow& row,
               int64_t layer,
               int64_t expert,
               const VisitTensor& visit) {
  if (row.present != nullptr && !row.present(config, layer)) return true;
  ModelTensor tensor = {&row, layer, expert, {}, row.shape(config)};
  if (layer >= 0) tensor.name = fmt::format("{}{}.", kLayers, layer);
  if (expert >= 0) tensor.name += fmt::format("{}{}.", kExperts, expert);
  tensor.name += row.name;
  return visit(tensor);
}

// The rows of one expert after the other.
bool visit_experts(const Config& config,
                   std::span<const TensorRow> rows,
                   int64_t layer,
                   const VisitTensor& visit) {
  for (int64_t expert = 0; is_moe(config, layer) && expert < config.moe.n_experts; ++expert) {
    for (const TensorRow& row : rows) {
      if (!visit_row(config, row, layer, expert, visit)) return false;
    }
  }
  return true;
}

// Takes a number and a dot off the front of name.
bool skip_number(std::string_view* name) {
  const size_t n = std::min(name->find_first_not_of("0123456789"), name->size());
  if (n == 0 || n == name->size() || (*name)[n] != '.') return false;
  name->remove_prefix(n + 1);
  return true;
}

}  // namespace

std::span<const TensorRow> tensor_table() {
  return kTable;
}

bool for_each_layer_tensor(const ModelConfig& config, int64_t layer, const VisitTensor& visit) {
  const auto end_of_scope = [](const TensorRow* from) {
    return std::find_if(from, std::end(kTable),
                        [from](const TensorRow& row) { return row.scope != from->scope; });
  };
  for (const TensorRow *begin = std::begin(kTable), *end = begin; begin != std::end(kTable);
       begin = end) {
    end = end_of_scope(begin);
    if (begin->scope == kExpert && !visit_experts(config, {begin, end}, layer, visit)) return false;
    if (begin->scope != kLayer) continue;
    for (const TensorRow* row = begin; row != end; ++row) {
      if (!visit_row(config, *row, layer, -1, visit)) return false;
    }
  }
  return true;
}

bool for_each_tensor(const ModelConfig& config, const VisitTensor& visit) {
  bool layers_done = false;
  for (const TensorRow& row : kTable) {
    if (row.scope == kModel && !visit_row(config, row, -1, -1, visit)) return false;
    if (row.scope == kModel || layers_done) continue;
    layers_done = true;
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
      if (!for_each_layer_tensor(config, layer, visit)) return false;
    }
  }
  return true;
}

const TensorRow* find_tensor_row(std::string_view name) {
  TensorScope scope = kModel;
  if (name.starts_with(kLayers)) {
    name.remove_prefix(kLayers.size());
    if (!skip_number(&name)) return nullptr;
    scope = kLayer;
    if (name.starts_with(kExperts)) {
      name.remove_prefix(kExperts.size());
      if (!skip_number(&name)) return nullptr;
      scope = kExpert;
    }
  }
  const auto* const row =
      std::find_if(std::begin(kTable), std::end(kTable), [&](const TensorRow& candidate) {
        return candidate.scope == scope && candidate.name == name;
      });
  return row == std::end(kTable) ? nullptr : row;
}

DTypeSet allowed_types(const ModelConfig& config, TensorKind kind) {
  DTypeSet types = {DType::kF32, DType::kF16, DType::kBF16};
  if (kind == TensorKind::kLinear && config.fp8_weights) types.add(DType::kE4M3);
  return types;
}

}  // namespace dsa
