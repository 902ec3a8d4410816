#include <algorithm>

#include "engine/verify_cache.h"
#include "engine/verify_checks.h"
#include "reference/attention.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

namespace {

constexpr double kBf16Rounding = 0x1p-9;  // of a weight p, where rows multiply as bf16

constexpr size_t kRows = 300;
constexpr float kScale = 0.05F;

std::vector<uint8_t> random_rows(const LatentLayout& layout, VerifyRandom* random) {
  std::vector<uint8_t> cache(kRows * layout.row_bytes());
  for (size_t r = 0; r < kRows; ++r) {
    uint8_t* row = cache.data() + r * layout.row_bytes();
    if (layout.format != CacheFormat::kFp8) {
      fill(layout.format, layout.d_latent + layout.d_rope, random, row);
      continue;
    }
    fill(layout.format, layout.d_latent, random, row);
    fill_scales(layout.n_scales(), random, row + layout.scale_offset());
    fill(CacheFormat::kBF16, layout.d_rope, random, row + layout.rope_offset());
  }
  return cache;
}

// A list of rows over a cache, and which of its entries each query sees.
struct AttendCase {
  LatentLayout layout;
  const uint8_t* cache;
  std::vector<int32_t> list;
  size_t n_queries;
  size_t n_heads;
  std::vector<uint64_t> visible;  // empty: everything

  size_t d() const { return layout.d_latent + layout.d_rope; }
  size_t words() const { return ceil_div(list.size(), size_t{64}); }
  std::vector<std::vector<double>> seen_by(size_t query) const {
    std::vector<std::vector<double>> rows;
    for (size_t j = 0; j < list.size(); ++j) {
      const bool hidden =
          !visible.empty() && (visible[query * words() + j / 64] >> (j % 64) & 1U) == 0;
      if (hidden || list[j] < 0) continue;
      rows.push_back(
          reference::latent_row(layout, cache + static_cast<size_t>(list[j]) * layout.row_bytes()));
    }
    return rows;
  }
};

struct AttendResult {
  std::vector<float> out;  // [n_queries, n_heads, d_latent]
  std::vector<float> lse;  // [n_queries, n_heads]
};

AttendResult run_attend(const kernels::AttentionKernels& kernels,
                        const AttendCase& c,
                        const std::vector<float>& q) {
  AttendResult result = {std::vector<float>(c.n_queries * c.n_heads * c.layout.d_latent),
                         std::vector<float>(c.n_queries * c.n_heads)};
  const AlignedBuffer scratch =
      AlignedBuffer::allocate(kernels.attend_scratch_bytes(c.layout, c.n_heads) + 1, "attention")
          .value();
  kernels::AttendArgs args;
  args.layout = c.layout;
  args.base = c.cache;
  args.rows = c.list.data();
  args.n_rows = c.list.size();
  args.q = q.data();
  args.q_stride = c.n_heads * c.d();
  args.n_queries = c.n_queries;
  args.n_heads = c.n_heads;
  args.visible = c.visible.empty() ? nullptr : c.visible.data();
  args.visible_stride = c.words();
  args.scale = kScale;
  args.out = result.out.data();
  args.out_stride = c.n_heads * c.layout.d_latent;
  args.lse = result.lse.data();
  args.lse_stride = c.n_heads;
  args.scratch = scratch.data();
  kernels.attend(args);
  return result;
}

void check_attend(const kernels::AttentionKernels& kernels,
                  const AttendCase& c,
                  VerifyRandom* random,
                  CaseLog* log) {
  std::vector<float> q(c.n_queries * c.n_heads * c.d());
  for (float& value : q)
    value = random->bf16_value();
  const AttendResult found = run_attend(kernels, c, q);
  const size_t d_latent = c.layout.d_latent;
  const double p_rounding = c.layout.format == CacheFormat::kF32 ? 0 : 2 * kBf16Rounding;
  for (size_t i = 0; i < c.n_queries; ++i) {
    const auto rows = c.seen_by(i);
    for (size_t h = i * c.n_heads; h < (i + 1) * c.n_heads; ++h) {
      const reference::HeadAttention want =
          reference::attend(std::span<const float>(q).subspan(h * c.d(), c.d()), rows, d_latent,
                            static_cast<double>(kScale));
      const double logit_error =
          static_cast<double>(c.d()) * kEps * want.logit_magnitude + 64 * kEps;
      log->compare(static_cast<double>(found.lse[h]), want.lse, 2 * logit_error);
      for (size_t x = 0; x < d_latent; ++x) {
        log->compare(static_cast<double>(found.out[h * d_latent + x]), want.out[x],
                     (p_rounding + 4 * logit_error) * want.magnitude[x]);
      }
    }
  }
}

// Every other row for one query, then blocks of queries with masks of their own: entries that are
// no row, and one query that sees nothing.
void verify_attend(const kernels::AttentionKernels& kernels,
                   CacheFormat format,
                   const ReportCheck& report) {
  CaseLog log;
  CaseLog masked;
  const LatentLayout layout = {format, 512, 64};
  VerifyRandom random(13);
  const std::vector<uint8_t> cache = random_rows(layout, &random);
  std::vector<int32_t> list;
  for (int32_t r = 0; r < static_cast<int32_t>(kRows); r += 2)
    list.push_back(r);
  for (const size_t n_heads : Sizes{1, 8, 24})
    check_attend(kernels, {layout, cache.data(), list, 1, n_heads, {}}, &random, &log);
  report(std::string("attend/") + cache_format_name(format), log);
  for (size_t j = 0; j < list.size(); j += 7)
    list[j] = -1;
  for (const size_t n_queries : Sizes{2, 9}) {
    AttendCase c = {layout, cache.data(), list, n_queries, 8, {}};
    for (size_t i = 0; i < n_queries * c.words(); ++i)
      c.visible.push_back(i < c.words() ? 0 : random.bits());
    check_attend(kernels, c, &random, &masked);
  }
  report(std::string("attend_masked/") + cache_format_name(format), masked);
}

// One tile of logits folded into the state of rows, against the definition from the same state.
struct SoftmaxTile {
  static constexpr size_t kQueries = 5;
  static constexpr size_t kWidth = 19;
  size_t n;
  std::vector<float> s;
  std::vector<int32_t> limit;     // the first query sees nothing
  std::vector<uint64_t> visible;  // [kQueries, words]
  std::vector<float> row_max, row_sum, acc;

  SoftmaxTile(size_t n_keys, VerifyRandom* random)
      : n(n_keys),
        s(random->values(kQueries * n)),
        limit{0, 1, static_cast<int32_t>(n / 2), static_cast<int32_t>(n), static_cast<int32_t>(n)},
        row_max(kQueries, -HUGE_VALF),
        row_sum(kQueries, 0.0F),
        acc(kQueries * kWidth, 0.0F) {
    for (float& value : s)
      value *= 8.0F;
    for (size_t i = 0; i < kQueries * words(); ++i)
      visible.push_back(random->bits() | 1U);
  }

  size_t words() const { return ceil_div(n, size_t{64}); }
  bool sees(size_t i, size_t j) const {
    return static_cast<int64_t>(j) < limit[i] &&
           (visible[i * words() + j / 64] >> (j % 64) & 1U) != 0;
  }

  void fold(const kernels::AttentionKernels& kernels, float scale) {
    kernels::OnlineSoftmaxArgs args;
    args.s = s.data();
    args.ld = n;
    args.m = kQueries;
    args.n = n;
    args.scale = scale;
    args.limit = limit.data();
    args.visible = visible.data();
    args.visible_stride = words();
    args.row_max = row_max.data();
    args.row_sum = row_sum.data();
    args.acc = acc.data();
    args.ld_acc = kWidth;
    args.d_v = kWidth;
    kernels.online_softmax(args);
  }
};

void compare_fold(const SoftmaxTile& before, const SoftmaxTile& after, float scale, CaseLog* log) {
  const size_t n = before.n;
  for (size_t i = 0; i < SoftmaxTile::kQueries; ++i) {
    double top = static_cast<double>(before.row_max[i]);
    for (size_t j = 0; j < n; ++j) {
      if (before.sees(i, j)) top = std::max(top, static_cast<double>(before.s[i * n + j] * scale));
    }
    log->compare(static_cast<double>(after.row_max[i]), top, 2 * kEps * std::fabs(top));
    double sum = 0;
    for (size_t j = 0; j < n; ++j) {
      const double x = static_cast<double>(before.s[i * n + j]) * static_cast<double>(scale);
      const double p = before.sees(i, j) ? std::exp(x - top) : 0;
      sum += p;
      log->compare(static_cast<double>(after.s[i * n + j]), p,
                   (16 + 2 * (std::fabs(x) + std::fabs(top))) * kEps * p);
    }
    if (std::isinf(top)) continue;  // nothing was ever seen
    const double shrink = std::exp(static_cast<double>(before.row_max[i]) - top);
    const double relative = (static_cast<double>(n) + 64 + 4 * std::fabs(top)) * kEps;
    const double want_sum = static_cast<double>(before.row_sum[i]) * shrink + sum;
    log->compare(static_cast<double>(after.row_sum[i]), want_sum, relative * want_sum);
    for (size_t x = i * SoftmaxTile::kWidth; x < (i + 1) * SoftmaxTile::kWidth; ++x) {
      const double want = static_cast<double>(before.acc[x]) * shrink;
      log->compare(static_cast<double>(after.acc[x]), want, relative * std::fabs(want) + 1e-37);
    }
  }
}

void verify_online_softmax(const kernels::AttentionKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  constexpr float kTileScale = 0.7F;
  for (const size_t n : Sizes{1, 7, 16, 17, 64, 100}) {
    VerifyRandom random(n + 16);
    SoftmaxTile tile(n, &random);
    for (int round = 0; round < 2; ++round) {
      const SoftmaxTile before = tile;
      tile.fold(kernels, kTileScale);
      compare_fold(before, tile, kTileScale, &log);
      const SoftmaxTile next(n, &random);
      tile.s = next.s;
      tile.acc = random.values(tile.acc.size());
    }
  }
  report("online_softmax", log);
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
  verify_online_softmax(kernels, report);
  for (const CacheFormat format : kFormats)
    verify_attend(kernels, format, report);
}

}  // namespace dsa
