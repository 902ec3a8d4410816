#include <algorithm>

#include "engine/verify_cache.h"
#include "engine/verify_checks.h"
#include "reference/attention.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

namespace {

constexpr double kBf16Rounding = 0x1p-9;  // of a weight p, where rows multiply as bf16

void verify_attend(const kernels::AttentionKernels& kernels,
                   CacheFormat format,
                   const ReportCheck& report) {
  CaseLog log;
  const LatentLayout layout = {format, 512, 64};
  constexpr size_t kRows = 300;
  constexpr float kScale = 0.05F;
  const size_t d = layout.d_latent + layout.d_rope;
  VerifyRandom random(13);
  std::vector<uint8_t> cache(kRows * layout.row_bytes());
  for (size_t r = 0; r < kRows; ++r) {
    uint8_t* row = cache.data() + r * layout.row_bytes();
    if (format != CacheFormat::kFp8) {
      fill(format, d, &random, row);
      continue;
    }
    fill(format, layout.d_latent, &random, row);
    fill_scales(layout.n_scales(), &random, row + layout.scale_offset());
    fill(CacheFormat::kBF16, layout.d_rope, &random, row + layout.rope_offset());
  }
  std::vector<int32_t> list;
  std::vector<std::vector<double>> rows;
  for (int32_t r = 0; r < static_cast<int32_t>(kRows); r += 2) {
    list.push_back(r);
    rows.push_back(
        reference::latent_row(layout, cache.data() + static_cast<size_t>(r) * layout.row_bytes()));
  }
  for (const size_t n_heads : Sizes{1, 8, 24}) {
    std::vector<float> q(n_heads * d);
    for (float& value : q)
      value = random.bf16_value();
    std::vector<float> out(n_heads * layout.d_latent);
    std::vector<float> lse(n_heads);
    const AlignedBuffer scratch =
        AlignedBuffer::allocate(kernels.attend_scratch_bytes(layout, n_heads) + 1, "attention")
            .value();
    kernels::AttendArgs args;
    args.layout = layout;
    args.base = cache.data();
    args.rows = list.data();
    args.n_rows = list.size();
    args.q = q.data();
    args.q_stride = q.size();
    args.n_heads = n_heads;
    args.scale = kScale;
    args.out = out.data();
    args.out_stride = out.size();
    args.lse = lse.data();
    args.lse_stride = n_heads;
    args.scratch = scratch.data();
    kernels.attend(args);
    const double p_rounding = format == CacheFormat::kF32 ? 0 : 2 * kBf16Rounding;
    for (size_t h = 0; h < n_heads; ++h) {
      const reference::HeadAttention want =
          reference::attend(std::span<const float>(q).subspan(h * d, d), rows, layout.d_latent,
                            static_cast<double>(kScale));
      const double logit_error = static_cast<double>(d) * kEps * want.logit_magnitude + 64 * kEps;
      log.compare(static_cast<double>(lse[h]), want.lse, 2 * logit_error);
      for (size_t i = 0; i < layout.d_latent; ++i) {
        log.compare(static_cast<double>(out[h * layout.d_latent + i]), want.out[i],
                    (p_rounding + 4 * logit_error) * want.magnitude[i]);
      }
    }
  }
  report(std::string("attend/") + cache_format_name(format), log);
}

// Softmax averages of disjoint lists from those of the lists, one of them empty.
void verify_merge(const kernels::AttentionKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  VerifyRandom random(15);
  constexpr size_t kParts = 3;
  constexpr size_t kHeads = 5;
  for (const size_t d : Sizes{1, 16, 37, 512}) {
    const std::vector<float> parts = random.values(kParts * kHeads * d);
    std::vector<float> lse_parts = random.values(kParts * kHeads);
    for (size_t h = 0; h < kHeads; h += 2)
      lse_parts[kHeads + h] = -HUGE_VALF;
    std::vector<float> out(kHeads * d);
    std::vector<float> lse(kHeads);
    kernels.merge(parts.data(), lse_parts.data(), kParts, kHeads, d, out.data(), lse.data());
    for (size_t h = 0; h < kHeads; ++h) {
      double sum = 0;
      for (size_t p = 0; p < kParts; ++p)
        sum += std::exp(static_cast<double>(lse_parts[p * kHeads + h]));
      log.compare(static_cast<double>(lse[h]), std::log(sum), 16 * kEps);
      for (size_t i = 0; i < d; ++i) {
        double want = 0;
        double magnitude = 0;
        for (size_t p = 0; p < kParts; ++p) {
          const double weight = std::exp(static_cast<double>(lse_parts[p * kHeads + h])) / sum;
          const double term = weight * static_cast<double>(parts[(p * kHeads + h) * d + i]);
          want += term;
          magnitude += std::abs(term);
        }
        log.compare(static_cast<double>(out[h * d + i]), want, 32 * kEps * magnitude);
      }
    }
  }
  report("merge", log);
}

}  // namespace

void verify_attention_kernels(const kernels::AttentionKernels& kernels, const ReportCheck& report) {
  verify_merge(kernels, report);
  for (const CacheFormat format : kFormats)
    verify_attend(kernels, format, report);
}

}  // namespace dsa
