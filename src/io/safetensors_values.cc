#include <cstdint>
#include <cstring>

#include "dsa/safetensors.h"

#include "common/status_macros.h"
#include "io/safetensors.h"

namespace dsa {
namespace {

// The values as the file has them.
template <class T>
std::vector<T> copy_values(const StoredTensor& tensor) {
  std::vector<T> values(tensor.data.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

Result<const StoredTensor*> find_tensor(const SafetensorsFile& file, const std::string& name) {
  const StoredTensor* const tensor = file.find(name);
  if (tensor != nullptr) return tensor;
  return error(StatusCode::kNotFound, "{}: no tensor \"{}\"", file.name(), name);
}

Status wrong_type(const SafetensorsFile& file, const StoredTensor& tensor, const char* wanted) {
  return unsupported("{}: tensor \"{}\": {:.60}, want {}", file.name(), tensor.name,
                     tensor.dtype_text, wanted);
}

}  // namespace

Result<TensorValues<int32_t>> read_i32(const std::string& path, const std::string& name) {
  DSA_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  DSA_ASSIGN_OR_RETURN(const StoredTensor* const tensor, find_tensor(file, name));
  if (tensor->dtype == DType::kI32) {
    return TensorValues<int32_t>{tensor->shape, copy_values<int32_t>(*tensor)};
  }
  if (tensor->dtype != DType::kI64) return wrong_type(file, *tensor, "I32 or I64");
  TensorValues<int32_t> result{tensor->shape, {}};
  for (const int64_t value : copy_values<int64_t>(*tensor)) {
    if (value < INT32_MIN || value > INT32_MAX) {
      return corruption("{}: tensor \"{}\": {}, want a value that fits 32 bits", path, name, value);
    }
    result.values.push_back(static_cast<int32_t>(value));
  }
  return result;
}

Result<TensorValues<float>> read_f32(const std::string& path, const std::string& name) {
  DSA_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  DSA_ASSIGN_OR_RETURN(const StoredTensor* const tensor, find_tensor(file, name));
  if (tensor->dtype != DType::kF32) return wrong_type(file, *tensor, "F32");
  return TensorValues<float>{tensor->shape, copy_values<float>(*tensor)};
}

}  // namespace dsa
