#include <limits>

#include "engine/verify_cache.h"
#include "engine/verify_checks.h"
#include "reference/indexer.h"
#include "reference/top_k.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

namespace {

constexpr size_t kKeys = 200;
constexpr size_t kPages = 4;
constexpr int32_t kPageOrder[] = {2, 0, 3, 1};

// kKeys keys in scattered pages.
struct Keys {
  IndexKeyLayout layout;
  std::vector<uint8_t> pool;

  Keys(CacheFormat format, VerifyRandom* random)
      : layout{format, 128}, pool(kPages * layout.page_bytes()) {
    for (size_t page = 0; page < kPages; ++page) {
      uint8_t* base = pool.data() + page * layout.page_bytes();
      fill(format, layout.page.tokens() * layout.dim, random, base);
      if (format == CacheFormat::kFp8)
        fill_scales(layout.page.tokens(), random, base + layout.scale_offset());
    }
  }

  kernels::IndexScoresArgs args(const void* const* queries,
                                size_t n_queries,
                                size_t n_heads,
                                float* out) const {
    kernels::IndexScoresArgs args;
    args.queries = queries;
    args.n_queries = n_queries;
    args.n_heads = n_heads;
    args.layout = layout;
    args.base = pool.data();
    args.page_stride = layout.page_bytes();
    args.pages = kPageOrder;
    args.last = kKeys;
    args.out = out;
    args.ld_out = kKeys;
    return args;
  }

  reference::IndexScore score(std::span<const float> q,
                              std::span<const float> weights,
                              size_t j) const {
    const uint8_t* page =
        pool.data() + static_cast<size_t>(kPageOrder[layout.page.page(j)]) * layout.page_bytes();
    return reference::index_score(q, weights,
                                  reference::index_key(layout, page, layout.page.slot(j)));
  }
};

// A query of values that the format multiplies exactly.
struct Query {
  std::vector<float> q;
  std::vector<float> weights;

  Query(CacheFormat format, size_t n_heads, size_t dim, VerifyRandom* random)
      : q(n_heads * dim), weights(random->values(n_heads)) {
    for (float& value : q) {
      value = random->value();
      if (format == CacheFormat::kFp8) value = e4m3_to_f32(f32_to_e4m3(value));
      if (format == CacheFormat::kBF16) value = bf16_to_f32(f32_to_bf16(value));
    }
  }
};

void verify_scores(const kernels::IndexerKernels& kernels,
                   CacheFormat format,
                   const ReportCheck& report) {
  CaseLog log;
  VerifyRandom random(11);
  const Keys keys(format, &random);
  constexpr size_t kQueries = 3;
  for (const size_t n_heads : Sizes{8, 20, 64}) {
    const size_t bytes = kernels.packed_query_bytes(format, n_heads, keys.layout.dim);
    const AlignedBuffer packed = AlignedBuffer::allocate(kQueries * bytes, "queries").value();
    std::vector<Query> queries;
    const void* rows[kQueries];
    for (size_t i = 0; i < kQueries; ++i) {
      const Query& query = queries.emplace_back(format, n_heads, keys.layout.dim, &random);
      rows[i] = packed.data() + i * bytes;
      kernels.pack_query(format, query.q.data(), query.weights.data(), n_heads, keys.layout.dim,
                         packed.data() + i * bytes);
    }
    std::vector<float> out(kQueries * kKeys);
    kernels.scores(keys.args(rows, kQueries, n_heads, out.data()));
    for (size_t i = 0; i < kQueries; ++i) {
      for (size_t j = 0; j < kKeys; ++j) {
        const reference::IndexScore want = keys.score(queries[i].q, queries[i].weights, j);
        log.compare(static_cast<double>(out[i * kKeys + j]), want.value,
                    (128 + static_cast<double>(n_heads)) * kEps * want.magnitude);
      }
    }
  }
  report(std::string("index_scores/") + cache_format_name(format), log);
}

// Estimates against what they promise: the score, give or take gain times reach.
void verify_estimates(const kernels::IndexEstimateKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  VerifyRandom random(14);
  const Keys keys(CacheFormat::kFp8, &random);
  for (const size_t n_heads : Sizes{8, 20, 64}) {
    const Query query(CacheFormat::kFp8, n_heads, keys.layout.dim, &random);
    const size_t bytes = kernels.packed_bytes(n_heads, keys.layout.dim);
    const AlignedBuffer packed = AlignedBuffer::allocate(bytes, "query").value();
    const float gain =
        kernels.pack(query.q.data(), query.weights.data(), n_heads, keys.layout.dim, packed.data());
    const void* row = packed.data();
    std::vector<float> out(kKeys);
    std::vector<float> reach(kKeys);
    kernels.estimates(keys.args(&row, 1, n_heads, out.data()), reach.data());
    for (size_t j = 0; j < kKeys; ++j) {
      log.compare(static_cast<double>(out[j]), keys.score(query.q, query.weights, j).value,
                  static_cast<double>(gain) * static_cast<double>(reach[j]));
    }
  }
  report("index_estimates/int8", log);
}

// Scores of listed positions have the bits of scores in a row.
void verify_scores_at(const kernels::IndexerKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  VerifyRandom random(17);
  const Keys keys(CacheFormat::kFp8, &random);
  for (const size_t n_heads : Sizes{8, 20, 64}) {
    const Query query(CacheFormat::kFp8, n_heads, keys.layout.dim, &random);
    const AlignedBuffer packed =
        AlignedBuffer::allocate(
            kernels.packed_query_bytes(CacheFormat::kFp8, n_heads, keys.layout.dim), "query")
            .value();
    kernels.pack_query(CacheFormat::kFp8, query.q.data(), query.weights.data(), n_heads,
                       keys.layout.dim, packed.data());
    const void* row = packed.data();
    std::vector<float> all(kKeys);
    kernels.scores(keys.args(&row, 1, n_heads, all.data()));
    std::vector<int32_t> positions;
    for (size_t j = random.bits() % 5; j < kKeys; j += 1 + random.bits() % 5)
      positions.push_back(static_cast<int32_t>(j));
    std::vector<float> some(positions.size());
    kernels.estimate->scores_at(keys.args(&row, 1, n_heads, some.data()), positions.data(),
                                positions.size());
    for (size_t i = 0; i < positions.size(); ++i)
      log.require(some[i] == all[static_cast<size_t>(positions[i])]);
  }
  report("index_scores_at/fp8", log);
}

void verify_within_reach(const kernels::IndexEstimateKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  constexpr float kGain = 0.25F;
  for (const size_t n : Sizes{1, 15, 16, 17, 100, 1000}) {
    VerifyRandom random(n + 18);
    const std::vector<float> estimates = random.values(n);
    std::vector<float> reach = random.values(n);
    for (float& value : reach)
      value = std::fabs(value);
    for (const float least : {-100.0F, 0.5F, 100.0F}) {
      std::vector<int32_t> want;
      for (size_t i = 0; i < n; ++i) {
        const double most = static_cast<double>(estimates[i]) +
                            static_cast<double>(kGain) * static_cast<double>(reach[i]);
        if (!(most < static_cast<double>(least))) want.push_back(static_cast<int32_t>(i));
      }
      std::vector<int32_t> found(n + 256);  // with less room it may give up
      found.resize(kernels.within_reach(estimates.data(), reach.data(), kGain, least, n,
                                        found.data(), found.size()));
      log.require(found == want);
    }
  }
  report("within_reach", log);
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
  constexpr size_t kContext = 131072;
  constexpr size_t kBudget = 2048;
  const std::vector<float> scores = random.values(kContext);
  std::vector<int32_t> out(kBudget);
  const AlignedBuffer scratch =
      AlignedBuffer::allocate(kernels.top_k_scratch_bytes(kContext, kBudget), "selection").value();
  kernels.top_k(scores.data(), kContext, kBudget, out.data(), scratch.data());
  log.require(out == reference::top_k(scores, kBudget));
  report("top_k", log);
}

}  // namespace

void verify_indexer_kernels(const kernels::IndexerKernels& kernels, const ReportCheck& report) {
  for (const CacheFormat format : kFormats)
    verify_scores(kernels, format, report);
  if (kernels.estimate != nullptr) {
    verify_estimates(*kernels.estimate, report);
    verify_within_reach(*kernels.estimate, report);
    verify_scores_at(kernels, report);
  }
  verify_top_k(kernels, report);
}

}  // namespace dsa
