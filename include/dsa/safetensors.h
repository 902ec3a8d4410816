// Reads and writes named tensors in safetensors files, by which tokens, logits and selections are
// exchanged with other programs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

enum class ElementType : uint8_t { kF32, kI32, kBF16, kF16, kE4M3 };

struct TensorSpec {
  std::string name;  // UTF-8
  ElementType type = ElementType::kF32;
  std::vector<int64_t> shape;  // row-major; empty for a scalar
};

template <class T>
struct TensorValues {
  std::vector<int64_t> shape;
  std::vector<T> values;  // row-major
};

// The tensor of that name. I32, or I64 whose values fit.
//   Errors  kNotFound (file, tensor), kUnsupported (another type), kCorruption (a broken file, a
//           value that does not fit), kIoError
Result<TensorValues<int32_t>> read_i32(const std::string& path, const std::string& name);

// The same for F32.
Result<TensorValues<float>> read_f32(const std::string& path, const std::string& name);

// Writes a file whose shapes are known up front, a few rows at a time; nothing is kept in memory.
//
// Thread safety  one thread at a time.
// Invariants  1. `path` is untouched until commit() replaces it as a whole; a symbolic link stays,
//                the file it names is replaced.
//             2. without a commit() that succeeded, the destructor leaves nothing behind.
class SafetensorsWriter {
 public:
  // metadata: free text for the reader of the file.
  //   Errors  kInvalidArgument (a name twice or not UTF-8, a negative or absurd shape; `path` is
  //           something other than a regular file), kIoError
  static Result<SafetensorsWriter> create(const std::string& path,
                                          const std::vector<TensorSpec>& tensors,
                                          const std::map<std::string, std::string>& metadata = {});

  SafetensorsWriter(SafetensorsWriter&& other) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&& other) noexcept;
  ~SafetensorsWriter();

  // Adds the tensor's next values, in row-major order; tensors may be filled in any order.
  //   Errors  kInvalidArgument (no such tensor, another type, more values than its shape holds),
  //           kIoError. Nothing counts as added then.
  Status append(std::string_view name, std::span<const float> values);
  Status append(std::string_view name, std::span<const int32_t> values);

  // The same for a tensor of any type: its next bytes, little-endian elements.
  Status append_bytes(std::string_view name, std::span<const std::byte> bytes);

  // Errors  kInvalidArgument (a tensor is incomplete, or committed before), kIoError
  Status commit();

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace dsa

#pragma GCC visibility pop
