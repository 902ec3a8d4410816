// A model in a Hugging Face directory: config.json and its tensors, in model.safetensors or in the
// shards that model.safetensors.index.json lists. Tensors are views of mapped files.
//
// Thread safety  const members may be called from any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
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
  // A shard or a tensor that the index lists may be absent: only what is required must be there.
  // Packed experts appear as their slices (io/packed_experts.h).
  // Errors  kNotFound (directory, config.json, model file), kCorruption (a file is broken, an index
  //         that names files outside `dir`, misplaces or omits a tensor), kIoError.
  static Result<Checkpoint> open(const std::string& dir);

  // One .safetensors file alone: there is no configuration.
  static Result<Checkpoint> open_file(const std::string& path);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint() override;

  const std::string& config_text() const { return config_text_; }
  const std::string& config_path() const { return config_path_; }

  // The files, as opened; each knows its own tensors.
  std::span<const SafetensorsFile> shards() const { return shards_; }

  // What is odd, but keeps nothing from being read: an index that is not read, absent shards.
  const std::vector<std::string>& notes() const { return notes_; }

  std::string source_name() const override { return dir_; }
  std::string identity() const override;
  std::vector<SourceFile> files() const override;
  const StoredTensor* find(std::string_view name) const override;
  using TensorSource::require;
  Result<const StoredTensor*> require(std::string_view name,
                                      std::span<const int64_t> shape,
                                      DTypeSet dtypes) const override;

 private:
  struct Entry {
    const StoredTensor* tensor;
    const SafetensorsFile* shard;
  };

  Checkpoint();
  Status open_files();
  Status open_shards(const std::string& index);
  Status unpack_experts();
  const StoredTensor* aligned(const StoredTensor& tensor) const;
  void index_tensors();
  const Entry* find_entry(std::string_view name) const;

  std::string dir_;
  std::string config_path_;
  std::string config_text_;
  std::vector<std::string> notes_;
  std::map<std::string, std::string, std::less<>> absent_;  // tensor -> why it is not there
  std::vector<SafetensorsFile> shards_;
  std::vector<Entry> entries_;  // sorted by name; points into the heap blocks of shards_
  struct Copies;                // of tensors that a pointer cannot read where they lie
  std::unique_ptr<Copies> copies_;
};

}  // namespace dsa
