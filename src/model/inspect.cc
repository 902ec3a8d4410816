#include "dsa/inspect.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "common/status_macros.h"
#include "io/open_source.h"
#include "model/block_scales.h"
#include "model/read_config.h"
#include "model/weights.h"

namespace dsa {

namespace {

constexpr size_t kMaxProblems = 1000;

// The reader has refused tensors whose elements cannot be counted.
int64_t n_elements(const StoredTensor& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1},
                         std::multiplies<int64_t>());
}

Status add_tensors(const SourceFile& file, Inspection* inspection) {
  for (const StoredTensor& tensor : file.tensors) {
    TensorInfo info;
    info.name = tensor.name;
    info.dtype = tensor.dtype_text;
    info.shape = tensor.shape;
    info.bytes = static_cast<int64_t>(tensor.data.size());
    info.file = file.path;
    inspection->total_bytes += info.bytes;
    const int64_t elements = is_block_scales(tensor.name) ? 0 : n_elements(tensor);
    if (__builtin_add_overflow(inspection->n_parameters, elements, &inspection->n_parameters)) {
      return corruption("{}: tensor \"{:.200}\": with it the elements of all tensors overflow",
                        file.path, tensor.name);
    }
    inspection->tensors.push_back(std::move(info));
  }
  return {};
}

void sort_tensors(Inspection* inspection) {
  std::sort(inspection->tensors.begin(), inspection->tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
}

void check_weights(const TensorSource& source, Inspection* inspection) {
  const LoadedWeights loaded = load_weights(inspection->config, source, kMaxProblems);
  for (const Status& problem : loaded.problems) {
    inspection->problems.push_back(problem.message());
  }
  if (loaded.problems.size() == kMaxProblems) {
    inspection->notes.push_back(fmt::format("{}: stopped after {} problems, there may be more",
                                            source.source_name(), kMaxProblems));
    return;
  }
  for (const TensorInfo& tensor : inspection->tensors) {
    if (!loaded.used.contains(tensor.name)) inspection->unused.push_back(tensor.name);
  }
}

}  // namespace

Result<Inspection> inspect_checkpoint(const std::string& path, const ConfigOptions& options) {
  Inspection inspection;
  DSA_ASSIGN_OR_RETURN(OpenedSource source, open_source(path));
  for (const SourceFile& file : source.tensors->files())
    DSA_RETURN_IF_ERROR(add_tensors(file, &inspection));
  sort_tensors(&inspection);
  inspection.notes = std::move(source.notes);
  if (!source.has_config) return inspection;
  ReadConfig read = read_config(source.config_text, source.config_path, true, options);
  for (const Status& problem : read.problems)
    inspection.problems.push_back(problem.message());
  if (!read.problems.empty()) return inspection;
  for (const std::string& field : read.config.ignored_fields)
    inspection.notes.push_back(field + ": unknown field, ignored");
  inspection.has_config = true;
  inspection.config = std::move(read.config);
  check_weights(*source.tensors, &inspection);
  return inspection;
}

}  // namespace dsa
