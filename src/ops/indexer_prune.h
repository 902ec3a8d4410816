// Selection of the best k with most keys scored in int8 only: the same lists as from scoring every
// key exactly, at little more than the cost of the int8 pass.
//
//   1. Estimate every key; each estimate is off by at most its reach.
//   2. Score the k best by estimate exactly; the least of these scores is a threshold.
//   3. Score every other key whose estimate plus reach gets to the threshold.
//   4. Select among the keys scored.
//
// Why nothing changes: at least k keys have a score at or above the threshold, and a key that was
// not scored has one strictly below. So it cannot be among the k best, whatever the ties; and the
// keys scored keep their order. A NaN or -inf among the scores of step 2 gives no threshold: the
// query is then scored in full, as it is where too many keys are within reach.
#pragma once

#include "ops/indexer.h"

namespace dsa {

// Whether the scratch was planned for pruning and a query that sees n_keys gains by it.
bool pruning_pays(const IndexerScratch& scratch, const SelectionRule& rule, size_t n_keys);

// A tile of queries that share their keys: [first, first + count) of `queries`, all packed.
struct QueryTile {
  const IndexerQueries* queries;
  size_t first;
  size_t count;
  size_t n_keys;  // seen by the last of them
};

// Fills lists for the tile; scratch->scores then holds the exact score of every listed position.
// Every query of the tile sees more than rule.top_k keys.
void select_pruned(const OpContext& context,
                   const IndexerDims& dims,
                   const IndexCacheView& cache,
                   const SelectionRule& rule,
                   const QueryTile& tile,
                   const SelectionLists& lists,
                   IndexerScratch* scratch);

}  // namespace dsa
