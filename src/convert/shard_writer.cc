#include "convert/shard_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/element_type.h"
#include "model/block_scales.h"

namespace dsa {
namespace {

int64_t element_bytes(ElementType type) {
  return static_cast<int64_t>(dtype_bytes(dtype_of(type)));
}

}  // namespace

int64_t PlannedTensor::n_bytes() const {
  int64_t n = element_bytes(spec.type);
  for (const int64_t extent : spec.shape)
    n *= extent;
  return n + 4 * scale_rows * scale_cols;
}

std::vector<std::vector<PlannedTensor>> plan_shards(std::vector<PlannedTensor> tensors,
                                                    int64_t shard_bytes) {
  std::vector<std::vector<PlannedTensor>> shards(1);
  int64_t filled = 0;
  for (PlannedTensor& tensor : tensors) {
    const int64_t n = tensor.n_bytes();
    if (!shards.back().empty() && (n > shard_bytes || filled > shard_bytes - n)) {
      shards.emplace_back();
      filled = 0;
    }
    filled += n;
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

std::string shard_name(size_t i, size_t n) {
  if (n == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, n);
}

Result<SafetensorsWriter> open_shard(const std::string& path,
                                     const std::vector<PlannedTensor>& tensors) {
  std::vector<TensorSpec> specs;
  for (const PlannedTensor& tensor : tensors) {
    specs.push_back(tensor.spec);
    if (tensor.scale_rows == 0) continue;
    specs.push_back({block_scales_name(tensor.spec.name),
                     ElementType::kF32,
                     {tensor.scale_rows, tensor.scale_cols}});
  }
  std::stable_sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return element_bytes(a.type) > element_bytes(b.type);
  });
  return SafetensorsWriter::create(path, specs, {{"format", "pt"}});
}

std::string shard_index(const std::vector<std::vector<PlannedTensor>>& shards) {
  nlohmann::json map = nlohmann::json::object();
  int64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const PlannedTensor& tensor : shards[i]) {
      total += tensor.n_bytes();
      map[tensor.spec.name] = shard_name(i, shards.size());
      if (tensor.scale_rows > 0) {
        map[block_scales_name(tensor.spec.name)] = shard_name(i, shards.size());
      }
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}},
                                {"weight_map", std::move(map)}};
  return index.dump(1) + "\n";
}

}  // namespace dsa
