// `dsa verify` notices each kernel that is broken: its checks over tables with one entry replaced.
#include "dsa/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/verify_checks.h"
#include "kernels/tiers.h"

namespace dsa {
namespace {

using kernels::AttentionKernels;
using kernels::IndexerKernels;
using kernels::IndexEstimateKernels;
using kernels::TrainKernels;
using kernels::VectorKernels;

std::vector<std::string> failed(const std::function<void(const ReportCheck&)>& verify) {
  std::vector<std::string> names;
  verify([&names](const std::string& kernel, const CaseLog& log) {
    if (!log.result("", kernel).passed) names.push_back(kernel);
  });
  return names;
}

template <class Table>
struct Broken {
  const char* what;
  void (*replace)(Table*);
};

// Tables are nothing but functions: one case for each, so that a new one is not forgotten.
template <class Table, size_t n>
constexpr bool one_for_each(const Broken<Table> (&)[n], size_t n_others) {
  return n + n_others == sizeof(Table) / sizeof(void (*)());
}

// clang-format off
const Broken<VectorKernels> kVector[] = {
    {"rms_norm", [](auto* t) { t->rms_norm = [](auto, auto, size_t, float, auto) noexcept {}; }},
    {"layer_norm", [](auto* t) { t->layer_norm = [](auto, auto, auto, size_t, float, auto) noexcept {}; }},
    {"rope_interleaved", [](auto* t) { t->rope_interleaved = t->rope_half_split; }},
    {"rope_half_split", [](auto* t) { t->rope_half_split = t->rope_interleaved; }},
    {"hadamard", [](auto* t) { t->hadamard = [](auto, size_t) noexcept {}; }},
    {"silu_mul", [](auto* t) { t->silu_mul = [](auto, auto, size_t, auto) noexcept {}; }},
    {"add_scaled", [](auto* t) { t->add_scaled = [](auto, float, size_t, auto) noexcept {}; }},
    {"softmax", [](auto* t) { t->softmax = [](auto, size_t) noexcept {}; }},
    {"log_sum_exp", [](auto* t) { t->log_sum_exp = [](auto, size_t) noexcept { return 0.0F; }; }},
    {"f32_to_bf16", [](auto* t) { t->f32_to_bf16 = [](auto, size_t, auto) noexcept {}; }},
    {"bf16_to_f32", [](auto* t) { t->bf16_to_f32 = t->f16_to_f32; }},
    {"f16_to_f32", [](auto* t) { t->f16_to_f32 = t->bf16_to_f32; }},
    {"quantize_e4m3", [](auto* t) { t->quantize_e4m3 = [](auto, size_t, auto) noexcept { return 1.0F; }; }},
    {"dequantize_e4m3", [](auto* t) { t->dequantize_e4m3 = [](auto, size_t, float, auto) noexcept {}; }},
};
const Broken<AttentionKernels> kAttention[] = {
    {"attend", [](auto* t) { t->attend = [](auto&) noexcept {}; }},
    {"merge", [](auto* t) { t->merge = [](auto, auto, size_t, size_t, size_t, auto, auto) noexcept {}; }},
    {"online_softmax", [](auto* t) { t->online_softmax = [](auto&) noexcept {}; }},
};
const Broken<IndexerKernels> kIndexer[] = {
    {"index_scores", [](auto* t) { t->scores = [](auto&) noexcept {}; }},
    {"index_scores", [](auto* t) { t->pack_query = [](CacheFormat, auto, auto, size_t, size_t, auto) noexcept {}; }},
    {"top_k", [](auto* t) { t->top_k = [](auto, size_t, size_t k, auto, auto) noexcept { return k; }; }},
};
const Broken<IndexEstimateKernels> kEstimate[] = {
    {"index_estimates", [](auto* t) { t->pack = [](auto, auto, size_t, size_t, auto) noexcept { return 0.0F; }; }},
    {"index_estimates", [](auto* t) { t->estimates = [](auto&, auto) noexcept {}; }},
    {"within_reach", [](auto* t) { t->within_reach = [](auto, auto, float, float, size_t, auto, size_t) noexcept { return size_t{0}; }; }},
    {"index_scores_at", [](auto* t) { t->scores_at = [](auto&, auto, size_t) noexcept {}; }},
};
const Broken<TrainKernels> kTrain[] = {
    {"gemm", [](auto* t) { t->gemm = [](auto&) noexcept {}; }},
    {"transpose", [](auto* t) { t->transpose = [](auto, size_t, size_t, size_t, auto, size_t) noexcept {}; }},
    {"exp_rows", [](auto* t) { t->exp_rows = [](auto&, float, auto) noexcept {}; }},
    {"add_exp_rows", [](auto* t) { t->add_exp_rows = [](auto&, float, auto, float, auto, size_t) noexcept {}; }},
    {"softmax_backward", [](auto* t) { t->softmax_backward = [](auto&, auto, size_t, float, auto) noexcept {}; }},
    {"dot", [](auto* t) { t->dot = [](auto, auto, size_t) noexcept { return 0.0F; }; }},
    {"rms_norm_backward", [](auto* t) { t->rms_norm_backward = [](auto, auto, auto, size_t, float, auto, auto) noexcept {}; }},
    {"layer_norm_backward", [](auto* t) { t->layer_norm_backward = [](auto, auto, auto, size_t, float, auto, auto, auto) noexcept {}; }},
    {"silu_mul_backward", [](auto* t) { t->silu_mul_backward = [](auto, size_t, auto, auto) noexcept {}; }},
    {"index_scores_train", [](auto* t) { t->index_scores = [](auto, size_t, size_t, size_t, auto, auto) noexcept {}; }},
    {"index_scores_backward", [](auto* t) { t->index_scores_backward = [](auto, size_t, size_t, size_t, auto, auto, auto) noexcept {}; }},
    {"kl_row", [](auto* t) { t->kl_row = [](auto, auto, size_t, float, float) noexcept { return 0.0; }; }},
};
// clang-format on

static_assert(one_for_each(kVector, 0));
static_assert(one_for_each(kAttention, 1));  // attend_scratch_bytes
static_assert(one_for_each(kIndexer, 3));    // two sizes, and the estimates
static_assert(one_for_each(kEstimate, 1));   // packed_bytes
static_assert(one_for_each(kTrain, 0));

// Every case of a table: the check of that kernel fails.
template <class Table, size_t n>
void expect_noticed(const Table& good,
                    const Broken<Table> (&cases)[n],
                    void (*verify)(const Table&, const ReportCheck&)) {
  EXPECT_THAT(failed([&](const ReportCheck& report) { verify(good, report); }), testing::IsEmpty());
  for (const Broken<Table>& broken : cases) {
    Table table = good;
    broken.replace(&table);
    EXPECT_THAT(failed([&](const ReportCheck& report) { verify(table, report); }),
                testing::Contains(testing::StartsWith(broken.what)))
        << broken.what;
  }
}

TEST(Verify, NoticesEachBrokenVectorKernel) {
  expect_noticed(*kernels::chosen_table()->vector, kVector, verify_vector_kernels);
}

TEST(Verify, NoticesEachBrokenAttentionKernel) {
  expect_noticed(*kernels::chosen_table()->attention, kAttention, verify_attention_kernels);
}

TEST(Verify, NoticesEachBrokenIndexerKernel) {
  expect_noticed(*kernels::chosen_table()->indexer, kIndexer, verify_indexer_kernels);
}

TEST(Verify, NoticesEachBrokenEstimate) {
  const IndexerKernels& good = *kernels::chosen_table()->indexer;
  if (good.estimate == nullptr) GTEST_SKIP() << "the tiers of this CPU have no estimates";
  for (const auto& broken : kEstimate) {
    IndexEstimateKernels estimate = *good.estimate;
    broken.replace(&estimate);
    IndexerKernels table = good;
    table.estimate = &estimate;
    EXPECT_THAT(failed([&](const ReportCheck& report) { verify_indexer_kernels(table, report); }),
                testing::Contains(testing::StartsWith(broken.what)))
        << broken.what;
  }
}

TEST(Verify, NoticesEachBrokenTrainingKernel) {
  expect_noticed(*kernels::chosen_table()->train, kTrain, verify_train_kernels);
}

}  // namespace
}  // namespace dsa
