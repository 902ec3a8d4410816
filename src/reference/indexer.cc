#include "reference/indexer.h"

#include <cmath>
#include <cstring>

#include "formats/float_bits.h"

namespace dsa::reference {
namespace {

template <class T>
T read(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

}  // namespace

std::vector<double> index_key(const IndexKeyLayout& layout, const uint8_t* page, size_t slot) {
  const uint8_t* bytes = page + slot * layout.key_bytes();
  std::vector<double> key(layout.dim);
  for (size_t d = 0; d < layout.dim; ++d) {
    switch (layout.format) {
      case CacheFormat::kFp8:
        key[d] = static_cast<double>(e4m3_to_f32(bytes[d])) *
                 static_cast<double>(read<float>(page + layout.scale_offset() + 4 * slot));
        break;
      case CacheFormat::kBF16:
        key[d] = static_cast<double>(bf16_to_f32(read<uint16_t>(bytes + 2 * d)));
        break;
      case CacheFormat::kF32:
        key[d] = static_cast<double>(read<float>(bytes + 4 * d));
        break;
    }
  }
  return key;
}

IndexScore index_score(std::span<const float> q,
                       std::span<const float> weights,
                       std::span<const double> key) {
  IndexScore score = {0, 0};
  for (size_t h = 0; h < weights.size(); ++h) {
    double dot = 0;
    double magnitude = 0;
    for (size_t d = 0; d < key.size(); ++d) {
      const double product = static_cast<double>(q[h * key.size() + d]) * key[d];
      dot += product;
      magnitude += std::fabs(product);
    }
    const double weight = static_cast<double>(weights[h]);
    score.value += weight * (dot < 0 ? 0 : dot);  // NaN stays NaN
    score.magnitude += std::fabs(weight) * magnitude;
  }
  return score;
}

}  // namespace dsa::reference
