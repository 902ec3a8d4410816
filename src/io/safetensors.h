// Reader of one safetensors file. The file is taken as hostile: every length and offset is checked
// before it is used, and what is accepted is exactly the format:
//
//   u64 n (little-endian), n bytes of JSON {"name": {"dtype", "shape", "data_offsets"}, ...}, data
//
// The tensors must fill the data section without overlap or hole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "digest/sha256.h"
#include "formats/dtype.h"
#include "io/mapped_file.h"

namespace dsa {

struct StoredTensor {
  std::string name;
  std::optional<DType> dtype;  // nothing: a type this library does not read
  std::string dtype_text;      // as the file spells it, e.g. "F8_E4M3"
  std::vector<int64_t> shape;  // row-major; empty for a scalar; the elements can be counted
  // Little-endian elements; their number times the size of dtype, when that is known. The format
  // promises no alignment: Checkpoint::require gives an aligned copy where it lacks.
  std::span<const std::byte> data;
};

// "[2, 3]"
std::string shape_text(std::span<const int64_t> shape);

class SafetensorsFile {
 public:
  // Errors  those of MappedFile::open; kCorruption (the file contradicts the format or itself).
  static Result<SafetensorsFile> open(const std::string& path);

  // The same over bytes that the caller keeps alive; `name` starts the messages.
  static Result<SafetensorsFile> parse(std::span<const std::byte> bytes, const std::string& name);

  const std::string& name() const { return name_; }  // the path it was opened with

  // In the order of their bytes in the file.
  std::span<const StoredTensor> tensors() const { return tensors_; }

  // What tells the file from others, without reading all of it: size, time of change, header and
  // samples of the data. Nothing where the caller holds the bytes.
  void add_identity(Sha256* hash) const;

  // Takes the slices of packed experts in place of their tensors (io/packed_experts.h); true: there
  // were some.
  Result<bool> unpack_experts();

  // nullptr when there is none; valid as long as this object, also when that is moved.
  const StoredTensor* find(std::string_view name) const;

 private:
  SafetensorsFile() = default;
  Status index_names();  // fills by_name_, refuses duplicates

  std::string name_;
  std::optional<MappedFile> file_;  // nothing when the caller holds the bytes
  std::vector<StoredTensor> tensors_;
  std::vector<size_t> by_name_;  // indexes of tensors_, sorted by name
};

}  // namespace dsa
