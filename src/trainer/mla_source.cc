#include "trainer/mla_source.h"

#include <cmath>

#include "common/status_macros.h"
#include "formats/dequantize.h"

namespace dsa::trainer {
namespace {

constexpr std::string_view kQueryUp = ".q_b_proj.weight";

}  // namespace

Result<std::unique_ptr<MlaSource>> MlaSource::create(std::unique_ptr<TensorSource> inner,
                                                     ModelConfig* config) {
  std::unique_ptr<MlaSource> source(new MlaSource(std::move(inner)));
  const auto n = static_cast<size_t>(config->hidden_size);
  for (int64_t layer = 0; layer < config->n_layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    DSA_ASSIGN_OR_RETURN(
        const StoredTensor* const norm,
        source->inner_->require(prefix + "input_layernorm.weight", {config->hidden_size},
                                {DType::kF32, DType::kF16, DType::kBF16}));
    const std::vector<float> weight = dequantize(*norm->dtype, norm->data);
    std::vector<float> down(n * n);
    for (size_t i = 0; i < n; ++i) {
      down[i * n + i] = 1 / weight[i];
      if (!std::isfinite(down[i * n + i])) {
        return unsupported(
            "{}: tensor \"{}\": value {} is {}, want none whose inverse is not finite: the query "
            "of a model without q_lora_rank goes through it",
            source->source_name(), norm->name, i, weight[i]);
      }
    }
    source->add(prefix + "self_attn.q_a_proj.weight", {config->hidden_size, config->hidden_size},
                std::move(down));
    source->add(prefix + "self_attn.q_a_layernorm.weight", {config->hidden_size}, weight);
  }
  config->q_lora_rank = config->hidden_size;
  return source;
}

void MlaSource::add(const std::string& name,
                    std::vector<int64_t> shape,
                    std::vector<float> values) {
  auto made = std::make_unique<Made>();
  made->values = std::move(values);
  made->tensor.name = name;
  made->tensor.dtype = DType::kF32;
  made->tensor.dtype_text = dtype_name(DType::kF32);
  made->tensor.shape = std::move(shape);
  made->tensor.data = std::as_bytes(std::span(made->values));
  made_.push_back(std::move(made));
}

Result<const StoredTensor*> MlaSource::require(std::string_view name,
                                               std::span<const int64_t> shape,
                                               DTypeSet dtypes) const {
  for (const auto& made : made_) {
    if (made->tensor.name == name) return &made->tensor;
  }
  if (name.ends_with(kQueryUp)) {
    const std::string plain =
        std::string(name.substr(0, name.size() - kQueryUp.size())) + ".q_proj.weight";
    return inner_->require(plain, shape, dtypes);
  }
  return inner_->require(name, shape, dtypes);
}

}  // namespace dsa::trainer
