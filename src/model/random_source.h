// Tensors of any shape without a file: for benchmarks of shapes nobody has a checkpoint of.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "io/tensor_source.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

// Makes each tensor when it is first asked for. Matrices [n, k] hold normal values times k^-0.5, so
// that activations keep their size; *norm.weight ones; other vectors zeros. A tensor depends on its
// name, its shape and the seed alone. Not for hostile input; one thread at a time.
class RandomSource : public TensorSource {
 public:
  // matrices: F32, BF16 or F8_E4M3 (where that is allowed, else BF16).
  RandomSource(DType matrices, uint64_t seed) : matrices_(matrices), seed_(seed) {}

  std::string source_name() const override { return "random weights"; }
  using TensorSource::require;
  Result<const StoredTensor*> require(std::string_view name,
                                      std::span<const int64_t> shape,
                                      DTypeSet dtypes) const override;

 private:
  struct Made {
    AlignedBuffer memory;
    StoredTensor tensor;
  };
  DType matrices_;
  uint64_t seed_;
  mutable std::map<std::string, Made, std::less<>> made_;
};

}  // namespace dsa
