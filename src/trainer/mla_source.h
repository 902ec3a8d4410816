// The tensors of an MLA model without a low-rank query, as if it had one.
//
// There q = W_q x with x = g * n the normed input, g the norm's weight. DeepSeek-V3.2 wants
// q = W_qb RMSNorm(W_qa x) * w. With W_qa = diag(1/g) the norm sees n, whose root mean square is 1,
// and with w = g its result is x again: W_qb = W_q makes the same queries, and the indexer gets x
// for its c_q. q_lora_rank becomes the hidden size. W_qa is kept in f32.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dsa/model_config.h"
#include "dsa/status.h"

#include "io/tensor_source.h"

namespace dsa::trainer {

class MlaSource : public TensorSource {
 public:
  // inner: a model whose q_lora_rank is 0; config: its configuration, whose q_lora_rank is set.
  //   Errors  those of TensorSource::require; kUnsupported: a norm's weight has a zero, so that
  //           1/g does not exist
  static Result<std::unique_ptr<MlaSource>> create(std::unique_ptr<TensorSource> inner,
                                                   ModelConfig* config);

  std::string source_name() const override { return inner_->source_name(); }
  using TensorSource::require;
  Result<const StoredTensor*> require(std::string_view name,
                                      std::span<const int64_t> shape,
                                      DTypeSet dtypes) const override;

 private:
  struct Made {
    std::vector<float> values;
    StoredTensor tensor;
  };
  explicit MlaSource(std::unique_ptr<TensorSource> inner) : inner_(std::move(inner)) {}
  void add(const std::string& name, std::vector<int64_t> shape, std::vector<float> values);

  std::unique_ptr<TensorSource> inner_;
  std::vector<std::unique_ptr<Made>> made_;
};

}  // namespace dsa::trainer
