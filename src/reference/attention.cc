#include "reference/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "formats/float_bits.h"

namespace dsa::reference {
namespace {

template <class T>
T read(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

double latent_value(const LatentLayout& layout, const uint8_t* row, size_t d) {
  if (layout.format == CacheFormat::kF32) return static_cast<double>(read<float>(row + 4 * d));
  if (layout.format == CacheFormat::kBF16) {
    return static_cast<double>(bf16_to_f32(read<uint16_t>(row + 2 * d)));
  }
  if (d >= layout.d_latent) {
    const size_t at = layout.rope_offset() + 2 * (d - layout.d_latent);
    return static_cast<double>(bf16_to_f32(read<uint16_t>(row + at)));
  }
  const auto scale = read<float>(row + layout.scale_offset() + 4 * (d / kScaleGroup));
  return static_cast<double>(e4m3_to_f32(row[d])) * static_cast<double>(scale);
}

}  // namespace

std::vector<double> latent_row(const LatentLayout& layout, const uint8_t* row) {
  std::vector<double> values(layout.d_latent + layout.d_rope);
  for (size_t d = 0; d < values.size(); ++d)
    values[d] = latent_value(layout, row, d);
  return values;
}

HeadAttention attend(std::span<const float> q,
                     const std::vector<std::vector<double>>& rows,
                     size_t d_latent,
                     double scale) {
  HeadAttention head = {std::vector<double>(d_latent), std::vector<double>(d_latent), 0, 0};
  std::vector<double> logits;
  for (const std::vector<double>& row : rows) {
    double dot = 0;
    double magnitude = 0;
    for (size_t d = 0; d < row.size(); ++d) {
      dot += static_cast<double>(q[d]) * row[d];
      magnitude += std::fabs(static_cast<double>(q[d]) * row[d]);
    }
    logits.push_back(scale * dot);
    head.logit_magnitude = std::max(head.logit_magnitude, std::fabs(scale) * magnitude);
  }
  const double top = logits.empty() ? 0 : *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits)
    sum += std::exp(logit - top);
  head.lse = logits.empty() ? -std::numeric_limits<double>::infinity() : top + std::log(sum);
  for (size_t j = 0; j < rows.size(); ++j) {
    const double p = std::exp(logits[j] - head.lse);
    for (size_t c = 0; c < d_latent; ++c) {
      head.out[c] += p * rows[j][c];
      head.magnitude[c] += p * std::fabs(rows[j][c]);
    }
  }
  return head;
}

}  // namespace dsa::reference
