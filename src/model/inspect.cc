#include "dsa/inspect.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "common/status_macros.h"
#include "io/checkpoint.h"
#include "model/weights.h"

namespace dsa {

namespace {

void add_tensors(const SafetensorsFile& file, Inspection* inspection) {
  for (const StoredTensor& tensor : file.tensors()) {
    TensorInfo info;
    info.name = tensor.name;
    info.dtype = tensor.dtype_text;
    info.shape = tensor.shape;
    info.bytes = static_cast<int64_t>(tensor.data.size());
    info.file = file.name();
    inspection->total_bytes += info.bytes;
    if (!tensor.name.ends_with("_scale_inv")) {
      int64_t elements = 1;
      for (const int64_t extent : tensor.shape)
        elements *= extent;
      inspection->n_parameters += elements;
    }
    inspection->tensors.push_back(std::move(info));
  }
}

void sort_tensors(Inspection* inspection) {
  std::sort(inspection->tensors.begin(), inspection->tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
}

void check_weights(const Checkpoint& checkpoint, Inspection* inspection) {
  const LoadedWeights loaded = load_weights(inspection->config, checkpoint);
  for (const Status& problem : loaded.problems) {
    inspection->problems.push_back(problem.message());
  }
  for (const TensorInfo& tensor : inspection->tensors) {
    if (!loaded.used.contains(tensor.name)) inspection->unused.push_back(tensor.name);
  }
}

}  // namespace

Result<Inspection> inspect_checkpoint(const std::string& path) {
  Inspection inspection;
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    DSA_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
    add_tensors(file, &inspection);
    sort_tensors(&inspection);
    return inspection;
  }
  DSA_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(path));
  for (const SafetensorsFile& shard : checkpoint.shards())
    add_tensors(shard, &inspection);
  sort_tensors(&inspection);
  const Result<ModelConfig> config =
      parse_model_config(checkpoint.config_text(), checkpoint.config_path());
  if (!config.ok()) {
    inspection.problems.push_back(config.status().message());
    return inspection;
  }
  inspection.has_config = true;
  inspection.config = *config;
  check_weights(checkpoint, &inspection);
  return inspection;
}

}  // namespace dsa
