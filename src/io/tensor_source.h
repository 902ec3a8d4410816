// Where a model's tensors come from.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "dsa/status.h"

#include "io/safetensors.h"

namespace dsa {

class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // Starts the messages of whoever finds fault with a tensor's values.
  virtual std::string source_name() const = 0;

  // What tells it from other sources: 64 hexadecimal digits where it is a checkpoint.
  virtual std::string identity() const { return source_name(); }

  // The tensor, which has the wanted shape, one of the wanted types, and starts at a multiple of
  // its element size, so that it can be read through a pointer. Valid as long as the source.
  //   Errors  kNotFound, kCorruption (shape), kUnsupported (type, alignment). The message names
  //           source and tensor, what it is and what was wanted.
  virtual Result<const StoredTensor*> require(std::string_view name,
                                              std::span<const int64_t> shape,
                                              std::initializer_list<DType> dtypes) const = 0;
  Result<const StoredTensor*> require(std::string_view name,
                                      std::initializer_list<int64_t> shape,
                                      std::initializer_list<DType> dtypes) const {
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
