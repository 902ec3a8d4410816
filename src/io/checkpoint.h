// A model in a Hugging Face directory: config.json and its tensors, in model.safetensors or in the
// shards that model.safetensors.index.json lists. Tensors are views of mapped files.
//
// Thread safety  const members may be called from any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "formats/dtype.h"
#include "io/safetensors.h"
#include "io/tensor_source.h"

namespace dsa {

class Checkpoint : public TensorSource {
 public:
  // Errors  kNotFound (directory, config.json, model file or a shard), kCorruption (a file is
  //         broken, an index that names files outside `dir`, misplaces or omits a tensor),
  //         kIoError.
  static Result<Checkpoint> open(const std::string& dir);

  // One .safetensors file alone: there is no configuration.
  static Result<Checkpoint> open_file(const std::string& path);

  const std::string& config_text() const { return config_text_; }
  const std::string& config_path() const { return config_path_; }

  // The files, as opened; each knows its own tensors.
  std::span<const SafetensorsFile> shards() const { return shards_; }

  // Both model.safetensors and an index of shards are there: the file alone is read.
  bool has_unread_index() const { return has_unread_index_; }

  std::string source_name() const override { return dir_; }
  std::string identity() const override;
  std::vector<SourceFile> files() const override;
  using TensorSource::require;
  Result<const StoredTensor*> require(std::string_view name,
                                      std::span<const int64_t> shape,
                                      DTypeSet dtypes) const override;

 private:
  struct Entry {
    const StoredTensor* tensor;
    const SafetensorsFile* shard;
  };

  Checkpoint() = default;
  Status open_shards();
  void index_tensors();
  const Entry* find_entry(std::string_view name) const;

  std::string dir_;
  std::string config_path_;
  std::string config_text_;
  bool has_unread_index_ = false;
  std::vector<SafetensorsFile> shards_;
  std::vector<Entry> entries_;  // sorted by name; points into the heap blocks of shards_
};

}  // namespace dsa
