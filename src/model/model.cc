#include "model/model.h"

#include "common/status_macros.h"
#include "io/open_source.h"

namespace dsa {

struct Model::Impl {
  std::unique_ptr<TensorSource> source;  // keeps the files mapped
  ModelConfig config;
  ModelWeights weights;
};

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

Result<std::shared_ptr<const Model>> Model::open(const std::string& dir,
                                                 const ConfigOptions& options) {
  DSA_ASSIGN_OR_RETURN(OpenedSource source, open_model_source(dir));
  DSA_ASSIGN_OR_RETURN(ModelConfig config,
                       parse_model_config(source.config_text, source.config_path, options));
  return ModelInternals::make(std::move(config), std::move(source.tensors));
}

Result<std::shared_ptr<const Model>> ModelInternals::make(ModelConfig config,
                                                          std::unique_ptr<TensorSource> source) {
  LoadedWeights loaded = load_weights(config, *source);
  if (!loaded.problems.empty()) return loaded.problems.front();
  auto impl = std::make_unique<Model::Impl>(
      Model::Impl{std::move(source), std::move(config), std::move(loaded.weights)});
  return std::shared_ptr<const Model>(new Model(std::move(impl)));
}

const ModelWeights& ModelInternals::weights(const Model& model) {
  return model.impl_->weights;
}

const ModelConfig& Model::config() const {
  return impl_->config;
}
int64_t Model::weight_bytes() const {
  return impl_->weights.n_bytes;
}
int64_t Model::n_parameters() const {
  return impl_->weights.n_parameters;
}
std::string Model::identity() const {
  return impl_->source->identity();
}

}  // namespace dsa
