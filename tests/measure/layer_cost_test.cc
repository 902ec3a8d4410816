// The operations and bytes that every published share of a limit rests on, against counts by hand
// for a layer small enough to count.
#include "measure/layer_cost.h"

#include <gtest/gtest.h>

#include <cstddef>

namespace dsa {
namespace {

// Parts in the order of layer_cost().
enum Part : size_t { kProjections, kIndexer, kSelection, kAttention, kOutput };

MachineLimits limits() {
  MachineLimits limits;
  limits.f32_flops = 100;
  limits.bf16_flops = 200;
  limits.int8_ops = 400;
  limits.read_bytes = 10;
  limits.gather_bytes = 5;
  return limits;
}

ModelConfig shape() {
  ModelConfig config;
  config.hidden_size = 10;
  config.q_lora_rank = 4;
  config.kv_lora_rank = 6;
  config.qk_rope_head_dim = 2;
  config.qk_nope_head_dim = 3;
  config.v_head_dim = 5;
  config.n_heads = 2;
  config.indexer.n_heads = 3;
  config.indexer.head_dim = 8;
  config.indexer.top_k = 16;
  return config;
}

class LayerCost : public testing::Test {
 protected:
  // One token at the end of 100, weights in bf16, caches in fp8.
  LayerCost() : config_(shape()) {
    step_.shape = &config_;
    step_.options.weights = BenchWeights::kBF16;
    step_.context = 100;
    step_.n_tokens = 1;
    step_.sparse = true;
  }

  void expect(Part part, double flops, double bytes, double limit_seconds) const {
    const PartMeasure got = layer_cost(step_, limits())[part];
    EXPECT_DOUBLE_EQ(got.flops, flops) << got.name;
    EXPECT_DOUBLE_EQ(got.bytes, bytes) << got.name;
    EXPECT_DOUBLE_EQ(got.limit_ms, 1e3 * limit_seconds) << got.name;
    EXPECT_EQ(got.ms, 0) << got.name;
  }

  ModelConfig config_;
  LayerStep step_;
};

// Weights: W_qa 10x4, W_kva 10x(6+2), W_qb 4x2x(3+2), W_UK 2x3x6, indexer: W_ik 10x8,
// W_iw 10x3, W_iq 4x3x8.
constexpr double kDenseWeights = 40 + 80 + 40 + 36;
constexpr double kWeights = kDenseWeights + 80 + 30 + 96;

TEST_F(LayerCost, ADecodeStepReadsItsWeightsOnce) {
  expect(kProjections, 2 * kWeights, 2 * kWeights, 2 * kWeights / 10);
  // W_UV 2x6x5 and W_o 10x10.
  expect(kOutput, 2 * 160, 2 * 160, 2 * 160 / 10.0);
}

TEST_F(LayerCost, WeightsCountInTheirTypeAndF32ComputesAtItsOwnPeak) {
  step_.options.weights = BenchWeights::kFp8;
  expect(kOutput, 320, 160, 16);
  step_.options.weights = BenchWeights::kF32;
  expect(kOutput, 320, 640, 64);
  step_.n_tokens = 100;  // now the products bind: bytes are shared by 100 tokens
  expect(kOutput, 320, 6.4, 320.0 / 100);
  step_.options.weights = BenchWeights::kBF16;
  expect(kOutput, 320, 3.2, 320.0 / 200);
}

TEST_F(LayerCost, TheIndexerScoresEveryVisibleKeyAndTheSelectionReadsEveryScore) {
  // 3 heads x 8; a key is 8 codes and a scale.
  expect(kIndexer, 2 * 24 * 100, 12 * 100, 120);
  expect(kSelection, 0, 4 * 100, 40);
  step_.n_tokens = 20;  // the queries see 100, 99, ... 81: 90.5 on average; keys are shared
  expect(kIndexer, 48 * 90.5, 12 * 100 / 20.0, 48 * 90.5 / 200);
  expect(kSelection, 0, 4 * 90.5, 36.2);
  step_.int8_first = true;
  expect(kIndexer, 48 * 90.5, 60, 48 * 90.5 / 400);
  step_.int8_first = false;
  step_.options.index_cache = CacheFormat::kF32;
  expect(kIndexer, 48 * 90.5, 32 * 100 / 20.0, 48 * 90.5 / 100);
}

TEST_F(LayerCost, SparseAttentionGathersTheBudgetAlone) {
  // Absorbed: 2 heads, 16 rows, 8 to multiply and 6 to add. A row: 6 codes, a scale, 2 bf16.
  expect(kAttention, 2 * 2 * 16 * 14, 16 * 14, 16 * 14 / 5.0);
  step_.n_tokens = 20;  // the queries together cannot select more rows than there are
  expect(kAttention, 896, 100 / 20.0 * 14, 14);
  step_.options.kv_cache = CacheFormat::kF32;
  expect(kAttention, 896, 5 * 32, 32);
}

TEST_F(LayerCost, DenseAttentionReadsEveryRowAndTakesTheCheaperForm) {
  step_.sparse = false;
  step_.attention = AttentionMode::kDense;
  expect(kProjections, 2 * kDenseWeights, 2 * kDenseWeights, 2 * kDenseWeights / 10);
  expect(kIndexer, 0, 0, 0);
  expect(kSelection, 0, 0, 0);
  expect(kAttention, 4 * 100 * 14, 100 * 14, 140);
  // Expanded: 3 + 2 + 5 for each of the 90.5 visible pairs, and 6 x (3 + 5) for each of 100 rows.
  step_.n_tokens = 20;
  expect(kAttention, 4 * (90.5 * 10 + 48 * 100 / 20.0), 5 * 14, 4 * (905 + 240) / 200.0);
}

TEST_F(LayerCost, WithinTheBudgetOnlyTheIndexersKeyIsComputed) {
  step_.sparse = false;
  expect(kProjections, 2 * (kDenseWeights + 80), 2 * (kDenseWeights + 80),
         2 * (kDenseWeights + 80) / 10);
}

TEST_F(LayerCost, TheWholeIsTheSumOfTheParts) {
  LayerMeasure whole;
  whole.parts = layer_cost(step_, limits());
  EXPECT_DOUBLE_EQ(whole.flops(), 2 * kWeights + 4800 + 0 + 896 + 320);
  EXPECT_DOUBLE_EQ(whole.bytes(), 2 * kWeights + 1200 + 400 + 224 + 320);
  EXPECT_DOUBLE_EQ(whole.limit_ms(), 1e3 * (kWeights / 5 + 120 + 40 + 44.8 + 32));
  whole.ms_per_token.median = 2 * whole.limit_ms();
  EXPECT_DOUBLE_EQ(whole.efficiency(), 0.5);
}

}  // namespace
}  // namespace dsa
