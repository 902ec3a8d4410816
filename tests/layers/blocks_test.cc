// Blocks by themselves: where they put their output, and whose selection they follow.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "dsa/thread_pool.h"

#include "layers/feed_forward.h"
#include "layers/mla_dsa.h"
#include "layers/pool_options.h"
#include "layers/residual.h"
#include "layers/selection.h"
#include "model/random_source.h"
#include "model/weights.h"
#include "tests/engine/families.h"

namespace dsa {
namespace {

constexpr size_t kTokens = 40;  // twice the budget of the configuration

// Two blocks over random weights of five layers, of which the third and fourth share a selection.
struct Blocks {
  ModelConfig config = parse_model_config(glm_config().dump(), "config.json").value();
  RandomSource source{DType::kBF16, 3};
  LoadedWeights loaded = load_weights(config, source);
  PassOptions options;
  ThreadPool threads{1};
  OpContext context{select_kernels().value(), &threads};
  PagePool pool = make_pool();
  std::vector<int32_t> pages;
  Twins twins = read_by(context, layer(1));
  MlaDsaBlock attention{config, options, context, &pool, twins};
  FeedForwardBlock feed_forward{config, context, kTokens, twins};
  Residual residual{context, static_cast<size_t>(config.hidden_size), 1e-5F, twins};
  AlignedBuffer scratch;
  std::vector<int32_t> tokens = std::vector<int32_t>(kTokens);
  PlacedStep step;

  Blocks() {
    EXPECT_TRUE(loaded.problems.empty());
    EXPECT_TRUE(pool.numbers().acquire(1, &pages).ok());
    ScratchPlan plan;
    attention.plan(&plan);
    feed_forward.plan(&plan);
    residual.plan(&plan, kTokens);
    scratch = plan.allocate("test").value();
    step = {tokens, 0, pages};
    attention.begin({&step, 1});
    feed_forward.begin({&step, 1});
    residual.begin(kTokens);
    for (size_t i = 0; i < kTokens * residual.width(); ++i)
      residual.row(0)[i] = static_cast<float>((i * 37) % 101) / 50.0F - 1.0F;
  }

  PagePool make_pool() {
    options.max_batch_tokens = kTokens;
    options.attention.top_k = config.indexer.top_k;
    return PagePool::create(pool_options(config, options, 64)).value();
  }

  const LayerWeights& layer(size_t index) const { return loaded.weights.layers[index]; }
  Activation input(size_t index) {
    return residual.read(layer(index).input_norm, attention.input_twins(layer(index)));
  }
};

// A selection with memory of its own.
struct OwnSelection {
  Selection selection;
  AlignedBuffer memory;

  explicit OwnSelection(const Blocks& blocks) : selection(blocks.options, 64) {
    ScratchPlan plan;
    selection.plan(&plan, kTokens);
    memory = plan.allocate("test").value();
    selection.begin({&blocks.step, 1}, false);
  }

  std::vector<int32_t> of_last_token(size_t layer) {
    const auto positions = selection.row(0, kTokens - 1, layer).positions;
    return {positions.begin(), positions.end()};
  }
};

std::vector<float> run_attention(Blocks* blocks, size_t layer, Selection* selection) {
  std::vector<float> y(kTokens * blocks->residual.width());
  const Activation x = blocks->input(layer);
  blocks->attention.run(layer, blocks->layer(layer), x, selection,
                        {y.data(), blocks->residual.width(), false});
  return y;
}

TEST(AttentionBlock, FollowsTheSelectionItIsHanded) {
  Blocks blocks;
  OwnSelection first(blocks);
  OwnSelection second(blocks);
  run_attention(&blocks, 0, &first.selection);
  run_attention(&blocks, 1, &second.selection);
  ASSERT_NE(first.of_last_token(0), second.of_last_token(1));
  // Layer 2 shares what it is handed, whichever layer indexed last.
  const std::vector<int32_t> chosen = first.of_last_token(0);
  const std::vector<float> after_first = run_attention(&blocks, 2, &first.selection);
  const std::vector<float> after_second = run_attention(&blocks, 2, &second.selection);
  EXPECT_NE(after_first, after_second);
  EXPECT_EQ(run_attention(&blocks, 2, &first.selection), after_first);
  EXPECT_EQ(first.of_last_token(2), chosen);  // and leaves it as it was
}

// An output of its own, and in place on zeros: the same sums.
void expect_same_in_place(const std::vector<float>& apart,
                          const std::function<void(const BlockOutput&)>& run,
                          size_t width) {
  std::vector<float> in_place(apart.size(), 0.0F);
  run({in_place.data(), width, true});
  EXPECT_EQ(in_place, apart);
  std::vector<float> overwritten(apart.size(), 9.0F);
  run({overwritten.data(), width, false});
  EXPECT_EQ(overwritten, apart);
  std::vector<float> added(apart.size(), 1.0F);
  run({added.data(), width, true});
  for (size_t i = 0; i < apart.size(); ++i)
    ASSERT_NEAR(added[i] - 1.0F, apart[i], 1e-4F);
}

TEST(AttentionBlock, PutsItsOutputWhereTheResidualWantsIt) {
  Blocks blocks;
  OwnSelection own(blocks);
  const std::vector<float> apart = run_attention(&blocks, 0, &own.selection);
  const Activation x = blocks.input(0);
  expect_same_in_place(
      apart,
      [&](const BlockOutput& y) { blocks.attention.run(0, blocks.layer(0), x, &own.selection, y); },
      blocks.residual.width());
}

TEST(FeedForwardBlock, PutsItsOutputWhereTheResidualWantsIt) {
  Blocks blocks;
  for (const size_t layer : {size_t{0}, size_t{1}}) {  // dense, mixture of experts
    const LayerWeights& weights = blocks.layer(layer);
    const Activation x =
        blocks.residual.read(weights.post_attention_norm, blocks.feed_forward.input_twins(weights));
    std::vector<float> apart(kTokens * blocks.residual.width());
    const auto run = [&](const BlockOutput& y) { blocks.feed_forward.run(weights, x, y); };
    run({apart.data(), blocks.residual.width(), false});
    EXPECT_NE(apart, std::vector<float>(apart.size()));
    expect_same_in_place(apart, run, blocks.residual.width());
  }
}

TEST(Residual, TakesBlockOutputsInPlace) {
  Blocks blocks;
  const BlockOutput y = blocks.residual.output();
  EXPECT_TRUE(y.accumulate);
  EXPECT_EQ(y.data, blocks.residual.row(0));
  EXPECT_EQ(y.data + y.ld, blocks.residual.row(1));
}

TEST(Selection, IsSettledWherePositionsDecide) {
  Blocks blocks;
  const auto selected = [&blocks](AttentionMode mode) {
    blocks.options.attention.mode = mode;
    blocks.options.attention.window = 5;
    OwnSelection own(blocks);
    EXPECT_EQ(own.selection.needs_indexer(), mode == AttentionMode::kDsa);
    if (mode == AttentionMode::kDsa) return std::vector<int32_t>();
    return own.of_last_token(0);
  };
  EXPECT_EQ(selected(AttentionMode::kWindow), (std::vector<int32_t>{35, 36, 37, 38, 39}));
  EXPECT_EQ(selected(AttentionMode::kDense).size(), kTokens);
  EXPECT_TRUE(selected(AttentionMode::kDsa).empty());
}

TEST(Selection, HasScoresInTheLayersThatIndex) {
  Blocks blocks;
  OwnSelection own(blocks);
  own.selection.begin({&blocks.step, 1}, true);
  run_attention(&blocks, 1, &own.selection);
  EXPECT_EQ(own.selection.row(0, 5, 1).scores.size(), 6U);
  EXPECT_EQ(own.selection.row(0, 39, 1).scores.size(), 20U);
  run_attention(&blocks, 2, &own.selection);
  EXPECT_TRUE(own.selection.row(0, 39, 2).scores.empty());
  EXPECT_EQ(own.selection.row(0, 39, 2).positions.size(), 20U);
}

}  // namespace
}  // namespace dsa
