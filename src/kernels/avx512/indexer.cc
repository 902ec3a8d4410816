#include "kernels/avx512/tile.h"
#define DSA_TIER avx512
#include "kernels/avx512/fp8_pair_keys.h"
#include "kernels/generic/indexer_entries.inl.h"
#include "kernels/generic/indexer_f32_keys.inl.h"
#include "kernels/generic/topk.inl.h"

namespace dsa::kernels::avx512 {
namespace {

struct Bf16PairKeys : KeysInPlace {
  using Dot = KeyDot;
  using PackDot = PackBf16;
};

struct AsPairs {
  using Fp8 = Fp8PairKeys;
  using Bf16 = Bf16PairKeys;
  using F32 = F32Keys;
};

}  // namespace

extern const IndexEstimateKernels kIndexEstimateKernels;
extern const IndexerKernels kIndexerKernels;
constinit const IndexerKernels kIndexerKernels = {
    packed_query_bytes<AsPairs>, pack_query<AsPairs>, scores<AsPairs>, top_k_scratch_bytes, top_k,
    &kIndexEstimateKernels};
}  // namespace dsa::kernels::avx512
