#include "ops/indexer_prune.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/math.h"
#include "ops/indexer_parts.h"

namespace dsa {

namespace {

constexpr size_t kListPerItem = 256;  // listed keys scored by one work item

class TilePruner {
 public:
  TilePruner(const OpContext& context,
             const IndexerDims& dims,
             const IndexCacheView& cache,
             const SelectionRule& rule,
             const QueryTile& tile,
             const SelectionLists& lists,
             IndexerScratch* scratch)
      : context_(context),
        dims_(dims),
        cache_(cache),
        rule_(rule),
        tile_(tile),
        lists_(lists),
        scratch_(*scratch),
        budget_(rule.top_k - rule.keep_first - rule.keep_recent) {}

  void run() {
    context_.enter(Part::kIndexer);
    estimate();
    context_.enter(Part::kSelection);
    for_each_query([this](size_t i, int worker) { choose(i, worker); });
    context_.enter(Part::kIndexer);
    rescore([this](size_t) { return rule_.top_k; },
            [this](size_t i, size_t first, size_t last) { score_chosen(i, first, last); });
    for_each_query([this](size_t i, int) { find_candidates(i); });
    rescore([this](size_t i) { return scratch_.n_candidates[i]; },
            [this](size_t i, size_t first, size_t last) { score_candidates(i, first, last); });
    for (size_t i = 0; i < tile_.count; ++i) {
      if (scratch_.n_candidates[i] == 0) score_all(i);
    }
    context_.enter(Part::kSelection);
    for_each_query([this](size_t i, int worker) { select(i, worker); });
  }

 private:
  const kernels::IndexerKernels& kernels() const { return *context_.kernels->indexer; }
  float* scores(size_t i) const { return scratch_.scores + i * tile_.n_keys; }
  int32_t* list(size_t i) const { return lists_.positions + (tile_.first + i) * lists_.stride; }
  const int32_t* chosen(size_t i) const { return list(i) + rule_.keep_first; }
  size_t visible(size_t i) const { return tile_.queries->first_position + tile_.first + i + 1; }
  size_t capacity() const { return tile_.n_keys / kCandidateShare; }
  int32_t* candidates(size_t i) const { return scratch_.candidates + i * capacity(); }
  uint8_t* top_k_scratch(int worker) const {
    return scratch_.top_k + static_cast<size_t>(worker) * scratch_.top_k_bytes;
  }

  template <class Body>
  void for_each_query(const Body& body) {
    context_.pool->parallel_for(static_cast<int64_t>(tile_.count), [&](int64_t item, int worker) {
      body(static_cast<size_t>(item), worker);
    });
  }

  // score(i, first, last) for the listed keys of every query, length(i) of them, in parts.
  template <class Length, class Score>
  void rescore(const Length& length, const Score& score) {
    size_t longest = 0;
    for (size_t i = 0; i < tile_.count; ++i)
      longest = std::max(longest, length(i));
    const size_t parts = ceil_div(longest, kListPerItem);
    context_.pool->parallel_for(static_cast<int64_t>(tile_.count * parts), [&](int64_t item, int) {
      const size_t i = static_cast<size_t>(item) / parts;
      const size_t first = static_cast<size_t>(item) % parts * kListPerItem;
      const size_t last = std::min(first + kListPerItem, length(i));
      if (first < last) score(i, first, last);
    });
  }

  void estimate() {
    for (size_t i = 0; i < tile_.count; ++i) {
      scratch_.packed_rows[i] =
          scratch_.packed_estimates + (tile_.first + i) * scratch_.estimate_bytes;
    }
    const KeyRange keys = {cache_.base, cache_.pages.data(), tile_.n_keys};
    for_each_key_range(context_, dims_, scratch_.packed_rows, tile_.count, keys, scratch_.scores,
                       tile_.n_keys, [this](const kernels::IndexScoresArgs& args) {
                         kernels().estimate->estimates(args, scratch_.reach + args.first);
                       });
  }

  // The best by estimate, with the positions that are always kept.
  void choose(size_t i, int worker) {
    lists_.counts[tile_.first + i] = static_cast<int32_t>(rule_.top_k);
    select_row(context_, scores(i), visible(i), rule_, list(i), top_k_scratch(worker));
  }

  // Exact scores of at most kListPerItem positions, in place of the estimates.
  void score_positions(size_t i, const int32_t* positions, size_t n) {
    const void* query = scratch_.packed + (tile_.first + i) * scratch_.packed_bytes;
    float out[kListPerItem];
    kernels::IndexScoresArgs args;
    args.queries = &query;
    args.n_queries = 1;
    args.n_heads = dims_.n_heads;
    args.layout = dims_.layout;
    args.base = cache_.base;
    args.page_stride = dims_.layout.page_bytes();
    args.pages = cache_.pages.data();
    args.out = out;
    kernels().estimate->scores_at(args, positions, n);
    float* row = scores(i);
    for (size_t j = 0; j < n; ++j)
      row[positions[j]] = out[j];
  }

  void score_chosen(size_t i, size_t first, size_t last) {
    score_positions(i, list(i) + first, last - first);
  }

  // The least exact score of the chosen; -inf where it says nothing.
  float threshold(size_t i) const {
    float least = std::numeric_limits<float>::infinity();
    for (size_t j = 0; j < budget_; ++j) {
      const float score = scores(i)[chosen(i)[j]];
      if (std::isnan(score)) return -std::numeric_limits<float>::infinity();
      least = std::min(least, score);
    }
    return std::min(least, kernels::IndexEstimateKernels::kLargestLeast);
  }

  // The chosen are among them. None: the query has to be scored in full.
  void find_candidates(size_t i) {
    scratch_.n_candidates[i] = 0;
    const float least = threshold(i);
    if (std::isinf(least)) return;
    const size_t n = visible(i) - rule_.keep_first - rule_.keep_recent;
    const size_t found = kernels().estimate->within_reach(
        scores(i) + rule_.keep_first, scratch_.reach + rule_.keep_first,
        scratch_.gains[tile_.first + i], least, n, candidates(i), capacity());
    if (found == capacity()) return;
    scratch_.n_candidates[i] = found;
    for (size_t j = 0; j < found; ++j)
      candidates(i)[j] += static_cast<int32_t>(rule_.keep_first);
  }

  void score_candidates(size_t i, size_t first, size_t last) {
    const int32_t* begin = candidates(i) + first;
    const int32_t* end = candidates(i) + last;
    const int32_t* scored = std::lower_bound(chosen(i), chosen(i) + budget_, *begin);
    int32_t unscored[kListPerItem];
    const int32_t* unscored_end =
        std::set_difference(begin, end, scored, chosen(i) + budget_, unscored);
    score_positions(i, unscored, static_cast<size_t>(unscored_end - unscored));
  }

  void score_all(size_t i) {
    scratch_.packed_rows[i] = scratch_.packed + (tile_.first + i) * scratch_.packed_bytes;
    score_keys(context_, dims_, scratch_.packed_rows + i, 1, cache_.base, cache_.pages.data(),
               visible(i), scores(i), tile_.n_keys);
  }

  void select(size_t i, int worker) {
    const size_t n = scratch_.n_candidates[i];
    if (n == 0) return choose(i, worker);
    float* values =
        scratch_.candidate_scores + static_cast<size_t>(worker) * scratch_.worker_candidates;
    for (size_t j = 0; j < n; ++j)
      values[j] = scores(i)[candidates(i)[j]];
    int32_t* best = list(i) + rule_.keep_first;
    kernels().top_k(values, n, budget_, best, top_k_scratch(worker));
    for (size_t j = 0; j < budget_; ++j)
      best[j] = candidates(i)[best[j]];
  }

  const OpContext& context_;
  const IndexerDims& dims_;
  const IndexCacheView& cache_;
  const SelectionRule& rule_;
  const QueryTile& tile_;
  const SelectionLists& lists_;
  IndexerScratch& scratch_;
  size_t budget_;
};

}  // namespace

bool pruning_pays(const IndexerScratch& scratch, const SelectionRule& rule, size_t n_keys) {
  const size_t budget = rule.top_k - rule.keep_first - rule.keep_recent;
  return scratch.estimate_bytes != 0 && budget != 0 && n_keys >= prune_context(rule.top_k);
}

void select_pruned(const OpContext& context,
                   const IndexerDims& dims,
                   const IndexCacheView& cache,
                   const SelectionRule& rule,
                   const QueryTile& tile,
                   const SelectionLists& lists,
                   IndexerScratch* scratch) {
  TilePruner(context, dims, cache, rule, tile, lists, scratch).run();
}

}  // namespace dsa
