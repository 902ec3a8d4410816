// Where a model's tensors come from.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "io/safetensors.h"

namespace dsa {

struct SourceFile {
  std::string path;
  std::span<const StoredTensor> tensors;  // valid as long as the source
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // Starts the messages of whoever finds fault with a tensor's values.
  virtual std::string source_name() const = 0;

  // What tells it from other sources: 64 hexadecimal digits where it is a checkpoint.
  virtual std::string identity() const { return source_name(); }

  // Every file with all its tensors, for whoever lists or copies them; none where they are made.
  virtual std::vector<SourceFile> files() const { return {}; }

  // A tensor of any shape and type, or null; data may lie at any address.
  virtual const StoredTensor* find(std::string_view) const { return nullptr; }

  // The tensor, which has the wanted shape, one of the wanted types, and starts at a multiple of
  // its element size, so that it can be read through a pointer. Valid as long as the source.
  //   Errors  kNotFound, kCorruption (shape), kUnsupported (type). The message names
  //           source and tensor, what it is and what was wanted.
  virtual Result<const StoredTensor*> require(std::string_view name,
                                              std::span<const int64_t> shape,
                                              DTypeSet dtypes) const = 0;
  Result<const StoredTensor*> require(std::string_view name,
                                      std::initializer_list<int64_t> shape,
                                      DTypeSet dtypes) const {
    return require(name, std::span<const int64_t>(shape.begin(), shape.size()), dtypes);
  }

 protected:
  TensorSource() = default;
  TensorSource(const TensorSource&) = default;
  TensorSource(TensorSource&&) = default;
  TensorSource& operator=(const TensorSource&) = default;
  TensorSource& operator=(TensorSource&&) = default;
};

}  // namespace dsa
