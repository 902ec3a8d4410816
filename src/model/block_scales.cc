#include "model/block_scales.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "common/math.h"
#include "common/status_macros.h"
#include "formats/cache_layout.h"
#include "formats/dequantize.h"

namespace dsa {
namespace {

constexpr std::string_view kE8M0 = "F8_E8M0";
constexpr const char* kSuffixes[] = {"_scale_inv", "_scale"};

// Powers of two in a byte; the largest code is no number.
Result<std::vector<float>> powers_of_two(const TensorSource& source,
                                         const StoredTensor& tensor,
                                         std::span<const int64_t> shape) {
  if (!std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end()) ||
      static_cast<int64_t>(tensor.data.size()) != shape[0] * shape[1]) {
    return corruption("{}: tensor \"{:.200}\": shape {}, want {}", source.source_name(),
                      tensor.name, shape_text(tensor.shape), shape_text(shape));
  }
  std::vector<float> values;
  for (const std::byte code : tensor.data) {
    const auto exponent = std::to_integer<int>(code);
    values.push_back(exponent == 255 ? NAN : std::ldexp(1.0F, exponent - 127));
  }
  return values;
}

Result<BlockScales> read_named(const TensorSource& source,
                               const std::string& name,
                               std::span<const int64_t> shape) {
  BlockScales scales;
  scales.name = name;
  const StoredTensor* tensor = source.find(name);
  if (tensor != nullptr && tensor->dtype_text == kE8M0) {
    DSA_ASSIGN_OR_RETURN(scales.values, powers_of_two(source, *tensor, shape));
  } else {
    DSA_ASSIGN_OR_RETURN(tensor, source.require(name, shape, {DType::kF32, DType::kBF16}));
    scales.values = dequantize(*tensor->dtype, tensor->data);
  }
  scales.n_bytes = static_cast<int64_t>(tensor->data.size());
  return scales;
}

}  // namespace

Result<BlockScales> read_block_scales(const TensorSource& source,
                                      const std::string& matrix,
                                      int64_t rows,
                                      int64_t cols) {
  constexpr auto kBlock = static_cast<int64_t>(kWeightBlock);
  const int64_t shape[] = {ceil_div(rows, kBlock), ceil_div(cols, kBlock)};
  Result<BlockScales> scales = read_named(source, block_scales_name(matrix), shape);
  if (!scales.ok() && scales.status().code() == StatusCode::kNotFound) {
    Result<BlockScales> other = read_named(source, matrix + kSuffixes[1], shape);
    if (other.ok() || other.status().code() != StatusCode::kNotFound) scales = std::move(other);
  }
  if (!scales.ok()) return scales;
  const std::vector<float>& values = scales->values;
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (bad == values.end()) return scales;
  return corruption("{}: tensor \"{}\": scale {} is {}, want a finite value", source.source_name(),
                    scales->name, bad - values.begin(), *bad);
}

std::string block_scales_name(const std::string& matrix) {
  return matrix + kSuffixes[0];
}

bool is_block_scales(std::string_view name) {
  return std::any_of(std::begin(kSuffixes), std::end(kSuffixes), [name](const char* suffix) {
    return name.ends_with(std::string(".weight") + suffix);
  });
}

}  // namespace dsa
