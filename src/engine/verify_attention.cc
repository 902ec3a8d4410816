#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <numeric>

#include "engine/verify_checks.h"
#include "reference/attention.h"
#include "reference/indexer.h"
#include "reference/top_k.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

namespace {

using Sizes = std::initializer_list<size_t>;

constexpr CacheFormat kFormats[] = {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32};
constexpr double kEps = 0x1p-23;
constexpr double kBf16Rounding = 0x1p-9;  // of a weight p, where rows multiply as bf16

// Fills n elements at `out` with random values of a cache's element type.
void fill(CacheFormat format, size_t n, VerifyRandom* random, uint8_t* out) {
  for (size_t i = 0; i < n; ++i) {
    const float value = random->value();
    const uint16_t bf16 = f32_to_bf16(value);
    switch (format) {
      case CacheFormat::kFp8:
        out[i] = f32_to_e4m3(value);
        break;
      case CacheFormat::kBF16:
        std::memcpy(out + 2 * i, &bf16, sizeof bf16);
        break;
      case CacheFormat::kF32:
        std::memcpy(out + 4 * i, &value, sizeof value);
        break;
    }
  }
}

void fill_scales(size_t n, VerifyRandom* random, uint8_t* out) {
  for (size_t i = 0; i < n; ++i) {
    const float scale = std::ldexp(1.0F, -static_cast<int>(random->bits() % 5));
    std::memcpy(out + 4 * i, &scale, sizeof scale);
  }
}

void verify_scores(const kernels::IndexerKernels& kernels,
                   CacheFormat format,
                   const ReportCheck& report) {
  CaseLog log;
  const IndexKeyLayout layout = {format, 128};
  constexpr size_t kKeys = 200;
  constexpr size_t kPages = 4;
  VerifyRandom random(11);
  std::vector<uint8_t> pool(kPages * layout.page_bytes());
  for (size_t page = 0; page < kPages; ++page) {
    uint8_t* base = pool.data() + page * layout.page_bytes();
    fill(format, kPageTokens * layout.dim, &random, base);
    if (format == CacheFormat::kFp8)
      fill_scales(kPageTokens, &random, base + layout.scale_offset());
  }
  const int32_t pages[] = {2, 0, 3, 1};
  for (const size_t n_heads : Sizes{8, 20, 64}) {
    std::vector<float> q(n_heads * layout.dim);
    for (float& value : q) {
      value = random.value();
      if (format == CacheFormat::kFp8) value = e4m3_to_f32(f32_to_e4m3(value));
      if (format == CacheFormat::kBF16) value = bf16_to_f32(f32_to_bf16(value));
    }
    const std::vector<float> weights = random.values(n_heads);
    const AlignedBuffer packed =
        AlignedBuffer::allocate(kernels.packed_query_bytes(format, n_heads, layout.dim), "query")
            .value();
    kernels.pack_query(format, q.data(), weights.data(), n_heads, layout.dim, packed.data());
    const void* query = packed.data();
    std::vector<float> out(kKeys);
    kernels::IndexScoresArgs args;
    args.queries = &query;
    args.n_queries = 1;
    args.n_heads = n_heads;
    args.layout = layout;
    args.base = pool.data();
    args.page_stride = layout.page_bytes();
    args.pages = pages;
    args.last = kKeys;
    args.out = out.data();
    args.ld_out = kKeys;
    kernels.scores(args);
    for (size_t j = 0; j < kKeys; ++j) {
      const uint8_t* page =
          pool.data() + static_cast<size_t>(pages[j / kPageTokens]) * layout.page_bytes();
      const reference::IndexScore want =
          reference::index_score(q, weights, reference::index_key(layout, page, j % kPageTokens));
      log.compare(static_cast<double>(out[j]), want.value,
                  (128 + static_cast<double>(n_heads)) * kEps * want.magnitude);
    }
  }
  report(std::string("index_scores/") + cache_format_name(format), log);
}

void verify_top_k(const kernels::IndexerKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  VerifyRandom random(12);
  for (const size_t n : Sizes{1, 63, 100, 5000}) {
    for (int kind = 0; kind < 5; ++kind) {
      std::vector<float> scores = random.values(n);
      for (size_t i = 0; i < n; ++i) {
        if (kind == 1) scores[i] = std::floor(scores[i]);  // many ties
        if (kind == 2) scores[i] = 1.0F;
        if (kind == 3) scores[i] = static_cast<float>(i);
        if (kind == 4 && i % 3 == 0) scores[i] = std::numeric_limits<float>::quiet_NaN();
      }
      for (const size_t k : {size_t{1}, n / 3, n - 1, n}) {
        std::vector<int32_t> out(k);
        const AlignedBuffer scratch =
            AlignedBuffer::allocate(kernels.top_k_scratch_bytes(n, k) + 1, "selection").value();
        const size_t count = kernels.top_k(scores.data(), n, k, out.data(), scratch.data());
        log.require(count == k && out == reference::top_k(scores, k));
      }
    }
  }
  report("top_k", log);
}

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

}  // namespace

void verify_indexer_kernels(const kernels::IndexerKernels& kernels, const ReportCheck& report) {
  for (const CacheFormat format : kFormats)
    verify_scores(kernels, format, report);
  verify_top_k(kernels, report);
}

void verify_attention_kernels(const kernels::AttentionKernels& kernels, const ReportCheck& report) {
  for (const CacheFormat format : kFormats)
    verify_attend(kernels, format, report);
}

}  // namespace dsa
