// The tensors of a model: what each is for, its name, its shape, how it may be stored, and which
// models and layers have it. Loader, trainer, converter and inspection work from this one table;
// the names are those of Hugging Face checkpoints, and a reader of another format maps its own
// names to them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/model_config.h"

#include "formats/dtype.h"

namespace dsa {

// In the order of the table; those of a layer's attention half lie together.
enum class TensorRole : uint8_t {
  kEmbedding,
  kInputNorm,
  kQueryDown,  // to the low-rank query, its norm, and up again
  kQueryDownNorm,
  kQueryUp,
  kQuery,  // of models without a low-rank query
  kKvDown,
  kKvNorm,
  kKvUp,  // per head W_UK then W_UV
  kOutput,
  kIndexQuery,
  kIndexKey,
  kIndexKeyNorm,
  kIndexKeyNormBias,
  kIndexGate,  // a weight per head
  kPostAttentionNorm,
  kMlpGate,
  kMlpUp,
  kMlpDown,
  kRouter,
  kRouterBias,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kFinalNorm,
  kLmHead
};

enum class TensorKind : uint8_t {
  kLinear,  // a matrix that may be stored in any weight format the configuration allows
  kMatrix,  // a matrix that is kept in F32, F16 or BF16: its products decide or are read by row
  kNorm,    // a vector, F32, F16 or BF16; ones in a new model
  kBias     // the same; zeros in a new model
};

enum class TensorScope : uint8_t { kModel, kLayer, kExpert };

struct TensorRow {
  TensorRole role;
  TensorKind kind;
  TensorScope scope;
  const char* name;  // kLayer: after "model.layers.L."; kExpert: after that and "mlp.experts.E."
  std::vector<int64_t> (*shape)(const ModelConfig& config);
  bool (*present)(const ModelConfig& config, int64_t layer);  // null: always
};

std::span<const TensorRow> tensor_table();

constexpr bool of_attention(TensorRole role) {
  return role >= TensorRole::kInputNorm && role <= TensorRole::kIndexGate;
}
constexpr bool of_indexer(TensorRole role) {
  return role >= TensorRole::kIndexQuery && role <= TensorRole::kIndexGate;
}
constexpr bool is_matrix(TensorKind kind) {
  return kind == TensorKind::kLinear || kind == TensorKind::kMatrix;
}
// Matrices whose product is added to the residual stream.
constexpr bool writes_to_residual(TensorRole role) {
  return role == TensorRole::kOutput || role == TensorRole::kMlpDown ||
         role == TensorRole::kExpertDown || role == TensorRole::kSharedDown;
}

// A tensor that a configuration asks for.
struct ModelTensor {
  const TensorRow* row = nullptr;
  int64_t layer = -1;   // -1: of the model
  int64_t expert = -1;  // -1: of the layer
  std::string name;
  std::vector<int64_t> shape;
};

// Returns false to end the walk.
using VisitTensor = std::function<bool(const ModelTensor& tensor)>;

// Visits what the configuration asks for, one after the other: hostile ones ask for hundreds of
// millions. Returns whether the walk came to its end.
bool for_each_tensor(const ModelConfig& config, const VisitTensor& visit);
bool for_each_layer_tensor(const ModelConfig& config, int64_t layer, const VisitTensor& visit);

// The row of a tensor by its full name, whatever its layer and expert; null: none has it.
const TensorRow* find_tensor_row(std::string_view name);

// The types that a tensor of that kind may have.
DTypeSet allowed_types(const ModelConfig& config, TensorKind kind);

}  // namespace dsa
