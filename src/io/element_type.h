// The public element types of written files and the types tensors are read in.
#pragma once

#include <optional>

#include "dsa/safetensors.h"

#include "formats/dtype.h"

namespace dsa {

struct WrittenType {
  ElementType element;
  DType dtype;
};

inline constexpr WrittenType kWrittenTypes[] = {{ElementType::kF32, DType::kF32},
                                                {ElementType::kI32, DType::kI32},
                                                {ElementType::kBF16, DType::kBF16},
                                                {ElementType::kF16, DType::kF16},
                                                {ElementType::kE4M3, DType::kE4M3}};

constexpr DType dtype_of(ElementType element) {
  return kWrittenTypes[static_cast<size_t>(element)].dtype;
}

// Nothing: no file is written with it.
constexpr std::optional<ElementType> element_type(DType dtype) {
  for (const WrittenType& written : kWrittenTypes) {
    if (written.dtype == dtype) return written.element;
  }
  return std::nullopt;
}

constexpr bool written_types_in_order() {
  for (const WrittenType& written : kWrittenTypes) {
    if (&kWrittenTypes[static_cast<size_t>(written.element)] != &written) return false;
  }
  return true;
}
static_assert(written_types_in_order());

}  // namespace dsa
