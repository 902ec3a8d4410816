// Evaluation under every selection, against the engine and the float64 oracle.
#include <gmock/gmock.h>

#include "dsa/engine.h"

#include "tests/backprop/oracle.h"
#include "tests/backprop/tiny_model.h"
#include "tests/engine/replay.h"

namespace dsa::backprop {
namespace {

EvalResult evaluate(TrainModel* model, const TrainBatch& batch, const EvalOptions& options) {
  auto result = model->evaluate(batch, options);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? std::move(result).value() : EvalResult();
}

void expect_losses(const EvalResult& got, const std::vector<double>& want, double bound) {
  ASSERT_EQ(got.token_loss.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(std::isnan(got.token_loss[i]), std::isnan(want[i])) << i;
    if (std::isnan(want[i])) continue;
    EXPECT_LE(std::fabs(double{got.token_loss[i]} - want[i]), bound) << i;
  }
}

class Evaluate : public testing::TestWithParam<bool> {
 protected:
  Evaluate() : checkpoint_(GetParam() ? tiny_glm_config() : tiny_config()) {}

  std::unique_ptr<TrainModel> open(TrainStage stage) {
    return checkpoint_.open({.stage = stage, .max_tokens = 200}, &pool_);
  }

  TinyModel checkpoint_;
  TinyBatch documents_{{140, 1, 30}, 37, 9};
  ThreadPool pool_{2};
};

TEST_P(Evaluate, GivesTheLossesOfTheFloat64ModelInEveryStage) {
  for (const auto stage : {TrainStage::kPretrain, TrainStage::kWarmup, TrainStage::kSparse}) {
    const auto model = open(stage);
    expect_losses(evaluate(model.get(), documents_.view(), {.selection = EvalSelection::kDense}),
                  oracle_losses(checkpoint_.config(), checkpoint_.tensors(), documents_.view(),
                                OracleAttention::kDense)
                      .tokens,
                  1e-4);
    expect_losses(evaluate(model.get(), documents_.view(), {.selection = EvalSelection::kDsa}),
                  oracle_losses(checkpoint_.config(), checkpoint_.tensors(), documents_.view(),
                                OracleAttention::kIndexer)
                      .tokens,
                  1e-4);
  }
}

TEST_P(Evaluate, EverySelectionOfEverythingIsDense) {
  const auto model = open(TrainStage::kSparse);
  const EvalResult dense = evaluate(model.get(), documents_.view(), {});
  for (const auto selection : {EvalSelection::kDsa, EvalSelection::kWindow, EvalSelection::kRandom,
                               EvalSelection::kOracle}) {
    const EvalResult all = evaluate(model.get(), documents_.view(),
                                    {.selection = selection, .top_k = 140, .coverage = true});
    expect_losses(all, {dense.token_loss.begin(), dense.token_loss.end()}, 1e-4);
    EXPECT_EQ(all.best, dense.best);
    for (size_t i = 0; i < all.mass.size(); ++i) {
      EXPECT_LE(std::fabs(all.mass[i] - 1.0F), 1e-4F);
      EXPECT_EQ(all.recall[i], 1.0F);
    }
  }
}

TEST_P(Evaluate, TheOracleCoversMoreThanAnyOtherSelectionInTheFirstLayer) {
  const auto model = open(TrainStage::kSparse);
  const auto coverage = [&](EvalSelection selection) {
    return evaluate(model.get(), documents_.view(),
                    {.selection = selection, .top_k = 8, .coverage = true});
  };
  const EvalResult best = coverage(EvalSelection::kOracle);
  EXPECT_EQ(best.mass.size(), 3 * documents_.tokens.size());
  for (const auto selection :
       {EvalSelection::kDsa, EvalSelection::kWindow, EvalSelection::kRandom}) {
    const EvalResult other = coverage(selection);
    for (size_t i = 0; i < documents_.tokens.size(); ++i) {
      EXPECT_GE(best.mass[i], other.mass[i] - 1e-6F) << i;
      EXPECT_EQ(best.recall[i], 1.0F);
      EXPECT_LE(other.recall[i], 1.0F);
      EXPECT_GT(other.mass[i], 0.0F);
    }
  }
}

TEST_P(Evaluate, RandomSelectionsDependOnTheSeedAlone) {
  const auto model = open(TrainStage::kPretrain);
  const auto losses = [&](uint64_t seed) {
    auto result = evaluate(model.get(), documents_.view(),
                           {.selection = EvalSelection::kRandom, .top_k = 5, .seed = seed});
    result.token_loss.resize(139);  // the first document's
    return result.token_loss;
  };
  EXPECT_EQ(losses(1), losses(1));
  EXPECT_NE(losses(1), losses(2));
}

TEST_P(Evaluate, CoarserIndexKeysAndFewerHeadsChangeSelectionsALittle) {
  const auto model = open(TrainStage::kWarmup);
  const auto recall = [&](EvalOptions options) {
    options.selection = EvalSelection::kDsa;
    options.top_k = 16;
    options.coverage = true;
    const EvalResult result = evaluate(model.get(), documents_.view(), options);
    return std::accumulate(result.mass.begin(), result.mass.end(), 0.0);
  };
  const double exact = recall({});
  EXPECT_LE(std::fabs(recall({.index_format = EvalIndexFormat::kFp8}) - exact), 0.05 * exact);
  EXPECT_LE(std::fabs(recall({.index_format = EvalIndexFormat::kInt8}) - exact), 0.05 * exact);
  EXPECT_EQ(recall({.index_heads = 3}), exact);
  EXPECT_NE(recall({.index_heads = 1}), exact);
  EXPECT_NE(recall({.keep_recent = 8}), exact);
}

INSTANTIATE_TEST_SUITE_P(Families, Evaluate, testing::Bool(), [](const auto& test) {
  return test.param ? "Glm" : "DeepSeek";
});

TEST(EvaluateTest, RefusesOptionsByName) {
  const TinyModel checkpoint(tiny_config());
  const TinyBatch documents({5}, 37, 1);
  ThreadPool pool(1);
  const auto model = checkpoint.open({.max_tokens = 5}, &pool);
  const auto message = [&](const EvalOptions& options) {
    return model->evaluate(documents.view(), options).status().message();
  };
  EXPECT_EQ(message({.top_k = -2}), "top_k: -2, want at least 1");
  EXPECT_EQ(message({.top_k = 4, .keep_first = 3, .keep_recent = 2}),
            "keep_first, keep_recent: 3 and 2, want them within top_k = 4");
  EXPECT_EQ(message({.index_heads = 4}), "index_heads: 4, want 0 to 3");
}

// Outputs of DeepSeek's reference code, and of an independent implementation.
TEST(EvaluateTest, GivesTheReferencesLossesOnTheirCheckpoints) {
  int n_found = 0;
  for (const std::string dir : {DSA_SOURCE_DIR "/../shared/conformance/tiny-v32-yarn",
                                DSA_SOURCE_DIR "/tests/checkpoints/baby-v32"}) {
    if (!std::filesystem::exists(dir + "/expected_fp32.safetensors")) continue;
    ++n_found;
    const auto source = Checkpoint::open(dir);
    ASSERT_TRUE(source.ok()) << source.status().message();
    const auto config = parse_model_config(source->config_text(), dir);
    ASSERT_TRUE(config.ok()) << config.status().message();
    const Expected expected = read_expected(dir + "/expected_fp32.safetensors", config->n_layers);
    const auto n = expected.tokens.size();
    const auto vocab = static_cast<size_t>(config->vocab_size);
    std::vector<double> want(n, std::nan(""));
    for (size_t i = 0; i + 1 < n; ++i) {
      const Vector logits(expected.logits.begin() + static_cast<std::ptrdiff_t>(i * vocab),
                          expected.logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab));
      want[i] = log_sum_exp(logits) - logits[static_cast<size_t>(expected.tokens[i + 1])];
    }
    ThreadPool pool(2);
    auto model = TrainModel::create(
        *config, {.stage = TrainStage::kWarmup, .max_tokens = static_cast<int64_t>(n)}, *source,
        &pool);
    ASSERT_TRUE(model.ok()) << model.status().message();
    const DocumentSpan document = {0, static_cast<int64_t>(n)};
    TrainBatch batch;
    batch.tokens = expected.tokens;
    batch.documents = {&document, 1};
    expect_losses(evaluate(model->get(), batch, {.selection = EvalSelection::kDsa}), want, 5e-4);
  }
  EXPECT_GE(n_found, 1);
}

// The engine in f32, over its cache, token by token.
TEST(EvaluateTest, GivesTheEnginesLossesOverF32Caches) {
  const TinyModel checkpoint(tiny_config(), DType::kBF16);
  const TinyBatch documents({90}, 37, 2);
  EngineOptions options;
  options.kv_cache = CacheFormat::kF32;
  options.index_cache = CacheFormat::kF32;
  options.n_threads = 2;
  const Replay engine = replay(open_model(checkpoint.dir()), options, documents.tokens, 50);
  std::vector<double> want(90, std::nan(""));
  for (size_t i = 0; i + 1 < 90; ++i) {
    const Vector logits(engine.logits.begin() + static_cast<std::ptrdiff_t>(i * 37),
                        engine.logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * 37));
    want[i] = log_sum_exp(logits) - logits[static_cast<size_t>(documents.tokens[i + 1])];
  }
  ThreadPool pool(2);
  const auto model = checkpoint.open({.stage = TrainStage::kWarmup, .max_tokens = 90}, &pool);
  expect_losses(evaluate(model.get(), documents.view(), {.selection = EvalSelection::kDsa}), want,
                1e-4);
}

}  // namespace
}  // namespace dsa::backprop
