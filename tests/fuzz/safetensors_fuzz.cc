// Any bytes as a safetensors file: refused, or a file that keeps its promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "common/math.h"
#include "io/safetensors.h"

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

void check_tensor(const dsa::StoredTensor& tensor) {
  if (!tensor.dtype) return;
  uint64_t bytes = dsa::dtype_bytes(*tensor.dtype);
  for (const int64_t dim : tensor.shape) {
    check(dim >= 0);
    const auto product = dsa::checked_mul(bytes, static_cast<uint64_t>(dim));
    check(product.has_value());
    bytes = *product;
  }
  check(bytes == tensor.data.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto file = dsa::SafetensorsFile::parse(bytes, "fuzz");
  if (!file.ok()) {
    check(!file.status().message().empty());
    return 0;
  }
  const std::byte* next = nullptr;
  for (const dsa::StoredTensor& tensor : file->tensors()) {
    check_tensor(tensor);
    check(file->find(tensor.name) == &tensor);
    check(next == nullptr || tensor.data.data() == next);
    next = tensor.data.data() + tensor.data.size();
    check(next <= bytes.data() + bytes.size());
  }
  check(next == nullptr || next == bytes.data() + bytes.size());
  return 0;
}
