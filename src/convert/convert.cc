#include "dsa/convert.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>

#include "common/math.h"
#include "common/status_macros.h"
#include "convert/copy_file.h"
#include "convert/encode.h"
#include "convert/shard_writer.h"
#include "formats/cache_layout.h"
#include "formats/dequantize.h"
#include "io/atomic_file.h"
#include "io/atomic_folder.h"
#include "io/element_type.h"
#include "io/open_source.h"
#include "model/block_scales.h"
#include "model/config_fields.h"

namespace dsa {

namespace fs = std::filesystem;

const char* weight_type_name(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return "f32";
    case WeightType::kBF16:
      return "bf16";
    case WeightType::kFp8:
      return "fp8";
  }
  return "?";
}

namespace {

struct Sum {
  ConvertError error;
  double squares = 0;  // of the values before
  double square_errors = 0;
};

class Converter {
 public:
  Converter(const TensorSource& in, const ConvertOptions& options) : in_(in), options_(options) {}

  Status plan();
  Status write(const AtomicFolder& out, const std::function<bool(int64_t, int64_t)>& progress);
  ConvertReport report() const;

 private:
  Status plan_tensor(const StoredTensor& tensor, const std::string& file);
  Status write_tensor(const PlannedTensor& planned, SafetensorsWriter* writer);
  Result<std::vector<float>> values_of(const StoredTensor& tensor);
  void add_error(const std::string& name,
                 const std::vector<float>& before,
                 const std::vector<float>& after);

  const TensorSource& in_;
  const ConvertOptions& options_;
  std::vector<const StoredTensor*> sources_;
  std::vector<std::vector<PlannedTensor>> shards_;
  std::vector<PlannedTensor> planned_;
  std::map<std::string, Sum> sums_;
  ConvertReport report_;
};

Status Converter::plan_tensor(const StoredTensor& tensor, const std::string& file) {
  report_.bytes_before += static_cast<int64_t>(tensor.data.size());
  if (is_block_scales(tensor.name)) return {};  // goes with its matrix
  const bool readable = tensor.dtype && is_weight_format(*tensor.dtype) &&
                        (!weight_format(*tensor.dtype).scale_grid || tensor.shape.size() == 2);
  if (!readable) {
    return unsupported(
        "{}: tensor \"{:.200}\": {:.60} {}, want F32, F16, BF16 or an F8_E4M3 matrix", file,
        tensor.name, tensor.dtype_text, shape_text(tensor.shape));
  }
  PlannedTensor planned;
  const DType type = stored_type(options_.type, tensor.name, tensor.shape.size(), *tensor.dtype);
  planned.spec = {tensor.name, *element_type(type), tensor.shape};
  planned.source = sources_.size();
  if (type == DType::kE4M3) {
    planned.scale_rows = ceil_div<int64_t>(tensor.shape[0], kWeightBlock);
    planned.scale_cols = ceil_div<int64_t>(tensor.shape[1], kWeightBlock);
  }
  sources_.push_back(&tensor);
  planned_.push_back(std::move(planned));
  return {};
}

Status Converter::plan() {
  if (options_.shard_bytes < 1) {
    return invalid_argument("shard_bytes: {}, want at least 1", options_.shard_bytes);
  }
  for (const SourceFile& file : in_.files()) {
    for (const StoredTensor& tensor : file.tensors)
      DSA_RETURN_IF_ERROR(plan_tensor(tensor, file.path));
  }
  std::sort(planned_.begin(), planned_.end(), [](const PlannedTensor& a, const PlannedTensor& b) {
    return a.spec.name < b.spec.name;
  });
  shards_ = plan_shards(std::move(planned_), options_.shard_bytes);
  return {};
}

Result<std::vector<float>> Converter::values_of(const StoredTensor& tensor) {
  std::vector<float> values = dequantize(*tensor.dtype, tensor.data);
  if (!weight_format(*tensor.dtype).scale_grid) return values;
  DSA_ASSIGN_OR_RETURN(const BlockScales scales,
                       read_block_scales(in_, tensor.name, tensor.shape[0], tensor.shape[1]));
  apply_block_scales(values, static_cast<size_t>(tensor.shape[0]),
                     static_cast<size_t>(tensor.shape[1]), scales.values);
  return values;
}

void Converter::add_error(const std::string& name,
                          const std::vector<float>& before,
                          const std::vector<float>& after) {
  Sum& sum = sums_[tensor_kind(name)];
  ++sum.error.n_tensors;
  sum.error.n_values += static_cast<int64_t>(before.size());
  for (size_t i = 0; i < before.size(); ++i) {
    const double difference =
        std::fabs(static_cast<double>(after[i]) - static_cast<double>(before[i]));
    // A value that is not finite counts as an infinite error unless it stayed as it was.
    const bool same = after[i] == before[i] || (std::isnan(after[i]) && std::isnan(before[i]));
    const double d =
        same ? 0
             : (std::isfinite(difference) ? difference : std::numeric_limits<double>::infinity());
    sum.error.largest = std::max(sum.error.largest, d);
    sum.square_errors += d * d;
    if (std::isfinite(before[i]))
      sum.squares += static_cast<double>(before[i]) * static_cast<double>(before[i]);
  }
}

Status Converter::write_tensor(const PlannedTensor& planned, SafetensorsWriter* writer) {
  const StoredTensor& tensor = *sources_[planned.source];
  DSA_ASSIGN_OR_RETURN(const std::vector<float> before, values_of(tensor));
  std::vector<float> after = before;
  if (dtype_of(planned.spec.type) == *tensor.dtype && !weight_format(*tensor.dtype).scale_grid) {
    add_error(tensor.name, before, after);
    return writer->append_bytes(tensor.name, tensor.data);
  }
  const bool matrix = tensor.shape.size() == 2;
  const DType type = stored_type(options_.type, tensor.name, tensor.shape.size(), *tensor.dtype);
  const Encoded encoded =
      encode_values(type, matrix ? static_cast<size_t>(tensor.shape[0]) : 1,
                    matrix ? static_cast<size_t>(tensor.shape[1]) : after.size(), after);
  add_error(tensor.name, before, after);
  if (planned.scale_rows > 0) {
    DSA_RETURN_IF_ERROR(writer->append(block_scales_name(tensor.name), std::span(encoded.scales)));
  }
  return writer->append_bytes(tensor.name, encoded.bytes);
}

Status Converter::write(const AtomicFolder& out,
                        const std::function<bool(int64_t, int64_t)>& progress) {
  int64_t total = 0;
  for (const auto& shard : shards_) {
    for (const PlannedTensor& tensor : shard)
      total += tensor.n_bytes();
  }
  for (size_t i = 0; i < shards_.size(); ++i) {
    DSA_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                         open_shard(out.file(shard_name(i, shards_.size())), shards_[i]));
    for (const PlannedTensor& tensor : shards_[i]) {
      DSA_RETURN_IF_ERROR(write_tensor(tensor, &writer));
      report_.bytes_after += tensor.n_bytes();
      if (progress && !progress(report_.bytes_after, total)) {
        return error(StatusCode::kCancelled, "not written: stopped");
      }
    }
    DSA_RETURN_IF_ERROR(writer.commit());
  }
  report_.n_files = static_cast<int64_t>(shards_.size());
  if (shards_.size() == 1) return {};
  return write_file(out.file("model.safetensors.index.json"), shard_index(shards_));
}

ConvertReport Converter::report() const {
  ConvertReport report = report_;
  for (const auto& [kind, sum] : sums_) {
    ConvertError error = sum.error;
    error.tensors = kind;
    error.relative = sum.square_errors > 0 ? std::sqrt(sum.square_errors / sum.squares) : 0;
    report.errors.push_back(std::move(error));
  }
  return report;
}

// The configuration with what it says of the weights' type changed.
Result<std::string> changed_config(const OpenedSource& in, WeightType type) {
  DSA_ASSIGN_OR_RETURN(const nlohmann::json checked,
                       parse_json_object(in.config_text, in.config_path));
  auto config = nlohmann::ordered_json::parse(in.config_text, nullptr, false);
  config["torch_dtype"] = type == WeightType::kF32 ? "float32" : "bfloat16";
  if (config.contains("dtype")) config["dtype"] = config["torch_dtype"];
  config.erase("quantization_config");
  if (type == WeightType::kFp8) {
    config["quantization_config"] = {{"quant_method", "fp8"},
                                     {"fmt", "e4m3"},
                                     {"activation_scheme", "dynamic"},
                                     {"scale_fmt", "ue8m0"},
                                     {"weight_block_size", {128, 128}}};
  }
  return config.dump(2) + "\n";
}

// Everything in the folder but weights and the configuration.
Status copy_other_files(const std::string& in, const AtomicFolder& out) {
  std::error_code failed;
  fs::directory_iterator entry(in, failed);
  for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    const bool weights =
        name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
    if (weights || name == "config.json" || name == "training_state.json" || name.starts_with("."))
      continue;
    std::error_code unknown;
    if (!entry->is_regular_file(unknown)) continue;
    DSA_RETURN_IF_ERROR(copy_file(entry->path().string(), out.file(name)));
  }
  if (!failed) return {};
  return error(StatusCode::kIoError, "{}: cannot list: {}", in, failed.message());
}

}  // namespace

Result<ConvertReport> convert_checkpoint(const std::string& in,
                                         const std::string& out,
                                         const ConvertOptions& options,
                                         const std::function<bool(int64_t, int64_t)>& progress) {
  DSA_ASSIGN_OR_RETURN(const OpenedSource source, open_model_source(in));
  DSA_ASSIGN_OR_RETURN(const std::string config, changed_config(source, options.type));
  Converter converter(*source.tensors, options);
  DSA_RETURN_IF_ERROR(converter.plan());
  DSA_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(out));
  DSA_RETURN_IF_ERROR(converter.write(folder, progress));
  DSA_RETURN_IF_ERROR(copy_other_files(in, folder));
  DSA_RETURN_IF_ERROR(write_file(folder.file("config.json"), config));
  DSA_RETURN_IF_ERROR(folder.commit());
  return converter.report();
}

}  // namespace dsa
