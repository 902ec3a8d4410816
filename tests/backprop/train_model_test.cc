// What a trainer relies on: the same bits, sums over batches, frozen weights, errors.
#include "backprop/train_model.h"

#include <gmock/gmock.h>

#include <cstring>

#include "tests/backprop/oracle.h"
#include "tests/backprop/tiny_model.h"

namespace dsa::backprop {
namespace {

constexpr TrainStage kStages[] = {TrainStage::kPretrain, TrainStage::kWarmup, TrainStage::kSparse};

std::map<std::string, std::vector<float>> gradients(const TrainModel& model) {
  std::map<std::string, std::vector<float>> all;
  for (const Parameter& parameter : model.parameters()) {
    if (parameter.gradient == nullptr) continue;
    all[parameter.name].assign(parameter.gradient, parameter.gradient + parameter.size);
  }
  return all;
}

// Relative to the largest gradient of the tensor.
double greatest_difference(const std::vector<float>& got, const std::vector<float>& want) {
  double size = 1e-6;
  double difference = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    size = std::max(size, std::fabs(double{want[i]}));
    difference = std::max(difference, std::fabs(double{got[i]} - double{want[i]}));
  }
  return difference / size;
}

TrainLosses step(TrainModel* model, const TrainBatch& batch) {
  const auto losses = model->forward_backward(batch);
  EXPECT_TRUE(losses.ok()) << losses.status().message();
  return losses.ok() ? *losses : TrainLosses();
}

class Stages : public testing::TestWithParam<TrainStage> {
 protected:
  TrainModelOptions options() const { return {.stage = GetParam(), .max_tokens = 400}; }

  TinyModel checkpoint_{tiny_config()};
  TinyBatch documents_{{300, 1, 60, 39}, 37, 5};  // across the edges of every tile
  ThreadPool pool_{2};
};

TEST_P(Stages, TheSameCallsGiveTheSameBits) {
  const auto first = checkpoint_.open(options(), &pool_);
  const auto second = checkpoint_.open(options(), &pool_);
  const TrainLosses losses = step(first.get(), documents_.view());
  step(second.get(), documents_.view());
  second->zero_gradients();
  const TrainLosses again = step(second.get(), documents_.view());
  EXPECT_EQ(losses.lm_sum, again.lm_sum);
  EXPECT_EQ(losses.index_kl_sum, again.index_kl_sum);
  EXPECT_EQ(gradients(*first), gradients(*second));
}

TEST_P(Stages, AnyNumberOfThreadsGivesTheSameGradientsWithinRounding) {
  const auto two = checkpoint_.open(options(), &pool_);
  step(two.get(), documents_.view());
  const auto want = gradients(*two);
  for (const int n_threads : {1, 5}) {
    ThreadPool pool(n_threads);
    const auto model = checkpoint_.open(options(), &pool);
    step(model.get(), documents_.view());
    for (const auto& [name, gradient] : gradients(*model))
      EXPECT_LE(greatest_difference(gradient, want.at(name)), 1e-4) << name << n_threads;
  }
}

TEST_P(Stages, ComputingActivationsAgainChangesNoBit) {
  const auto kept = checkpoint_.open(options(), &pool_);
  TrainModelOptions recompute = options();
  recompute.recompute = true;
  const auto lean = checkpoint_.open(recompute, &pool_);
  step(kept.get(), documents_.view());
  step(lean.get(), documents_.view());
  EXPECT_EQ(gradients(*kept), gradients(*lean));
  if (GetParam() != TrainStage::kWarmup) {
    EXPECT_LT(lean->memory_bytes(), kept->memory_bytes());
  }
}

TEST_P(Stages, PackedDocumentsGiveTheSumOfEachAlone) {
  const auto packed = checkpoint_.open(options(), &pool_);
  TrainBatch batch = documents_.view();
  batch.lm_scale = 0.5;
  batch.index_scale = 0.25;
  const TrainLosses together = step(packed.get(), batch);
  const auto apart = checkpoint_.open(options(), &pool_);
  double lm_sum = 0;
  double kl_sum = 0;
  for (const DocumentSpan& document : documents_.documents) {
    const DocumentSpan alone = {0, document.end - document.begin};
    TrainBatch one = batch;
    one.tokens =
        batch.tokens.subspan(static_cast<size_t>(document.begin), static_cast<size_t>(alone.end));
    one.documents = {&alone, 1};
    const TrainLosses losses = step(apart.get(), one);
    lm_sum += losses.lm_sum;
    kl_sum += losses.index_kl() * static_cast<double>(losses.n_queries);
  }
  EXPECT_LE(std::fabs(together.lm_sum - lm_sum), 1e-3);
  EXPECT_LE(std::fabs(together.index_kl() * static_cast<double>(together.n_queries) - kl_sum),
            1e-3);
  const auto want = gradients(*apart);
  for (const auto& [name, gradient] : gradients(*packed))
    EXPECT_LE(greatest_difference(gradient, want.at(name)), 1e-4) << name;
}

TEST_P(Stages, LongDocumentsHaveTheLossesOfTheFloat64Model) {
  const auto model = checkpoint_.open(options(), &pool_);
  const TrainLosses losses = step(model.get(), documents_.view());
  const OracleLosses want = oracle_losses(
      checkpoint_.config(), checkpoint_.tensors(), documents_.view(),
      GetParam() == TrainStage::kSparse ? OracleAttention::kIndexer : OracleAttention::kDense);
  if (losses.has_lm) {
    EXPECT_LE(std::fabs(losses.lm_sum - want.lm), 1e-5 * want.lm);
  }
  for (size_t i = 0; i < losses.index_kl_sum.size(); ++i)
    EXPECT_LE(std::fabs(losses.index_kl_sum[i] - want.kl[i]), 1e-4 * want.kl[i]) << i;
}

TEST_P(Stages, TrainsWhatTheStageTrainsAndReadsTheRestInPlace) {
  const TinyModel stored(tiny_config(), DType::kBF16);
  const auto model = stored.open(options(), &pool_);
  for (const Parameter& parameter : model->parameters()) {
    const bool bias = parameter.role == ParameterRole::kRouterBias;
    const bool trained = !bias && (GetParam() == TrainStage::kSparse ||
                                   parameter.of_indexer == (GetParam() == TrainStage::kWarmup));
    EXPECT_EQ(parameter.gradient != nullptr, trained) << parameter.name;
    ASSERT_NE(parameter.data, nullptr) << parameter.name;
    if (trained || parameter.role != ParameterRole::kMatrix) {
      EXPECT_EQ(parameter.dtype, DType::kF32) << parameter.name;
      continue;
    }
    EXPECT_EQ(parameter.value, nullptr) << parameter.name;
    EXPECT_EQ(parameter.dtype, DType::kBF16) << parameter.name;
    const auto tensor = stored.checkpoint().require(
        parameter.name, std::span<const int64_t>(parameter.shape), {DType::kBF16});
    ASSERT_TRUE(tensor.ok());
    EXPECT_EQ(parameter.data, static_cast<const void*>((*tensor)->data.data()));
  }
}

std::string stage_name(const testing::TestParamInfo<TrainStage>& test) {
  switch (test.param) {
    case TrainStage::kPretrain:
      return "Pretrain";
    case TrainStage::kWarmup:
      return "Warmup";
    case TrainStage::kSparse:
      return "Sparse";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(Of, Stages, testing::ValuesIn(kStages), stage_name);

class TrainModelTest : public testing::Test {
 protected:
  TinyModel checkpoint_{tiny_config()};
  TinyBatch documents_{{12, 8}, 37, 6};
  ThreadPool pool_{2};
};

TEST_F(TrainModelTest, GradientsAddUpOverBatches) {
  const auto model = checkpoint_.open({.max_tokens = 20}, &pool_);
  step(model.get(), documents_.view());
  const auto once = gradients(*model);
  step(model.get(), documents_.view());
  for (const auto& [name, twice] : gradients(*model)) {
    std::vector<float> want = once.at(name);
    for (float& x : want)
      x *= 2;
    EXPECT_LE(greatest_difference(twice, want), 1e-6) << name;
  }
}

TEST_F(TrainModelTest, TheSeedDecidesEveryValueAndNamesDoNotDependOnTheirOrder) {
  const auto make = [&](uint64_t seed) {
    return TrainModel::create(checkpoint_.config(), {.max_tokens = 20, .seed = seed}, &pool_)
        .value();
  };
  const auto a = make(1);
  const auto b = make(1);
  const auto c = make(2);
  for (const Parameter& parameter : a->parameters()) {
    const size_t bytes = parameter.size * sizeof(float);
    EXPECT_EQ(std::memcmp(parameter.value, b->find(parameter.name)->value, bytes), 0);
    if (parameter.role == ParameterRole::kMatrix) {
      EXPECT_NE(std::memcmp(parameter.value, c->find(parameter.name)->value, bytes), 0);
    }
  }
}

TEST_F(TrainModelTest, MakesIndexersThatTheSourceLacks) {
  TrainModelOptions options = {.stage = TrainStage::kWarmup, .max_tokens = 20};
  options.new_indexers = true;
  const auto model = checkpoint_.open(options, &pool_);
  const Parameter* made = model->find("model.layers.0.self_attn.indexer.wk.weight");
  const Vector& stored =
      checkpoint_.tensors().at("model.layers.0.self_attn.indexer.wk.weight").values;
  EXPECT_NE(double{made->value[0]}, stored[0]);
  EXPECT_LE(std::fabs(double{made->value[0]}), 0.2);
}

TEST_F(TrainModelTest, CountsTheTokensOfEveryExpert) {
  const auto model = checkpoint_.open({.max_tokens = 20}, &pool_);
  step(model.get(), documents_.view());
  EXPECT_TRUE(model->expert_counts(0).empty());
  for (const int64_t layer : {1, 2}) {
    const auto counts = model->expert_counts(layer);
    EXPECT_EQ(counts.size(), 6U);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}), 40);
  }
  model->zero_expert_counts();
  EXPECT_EQ(model->expert_counts(1)[0], 0);
}

TEST_F(TrainModelTest, RoundsWeightsToBf16OnlyWhenTold) {
  TrainModelOptions options = {.max_tokens = 20};
  options.bf16_weights = true;
  const auto model = checkpoint_.open(options, &pool_);
  const Parameter* q_a = model->find("model.layers.0.self_attn.q_a_proj.weight");
  ASSERT_EQ(q_a->dtype, DType::kBF16);
  const double before = step(model.get(), documents_.view()).lm_sum;
  q_a->value[0] += 3.0F;
  EXPECT_EQ(step(model.get(), documents_.view()).lm_sum, before);
  model->weights_changed();
  EXPECT_NE(step(model.get(), documents_.view()).lm_sum, before);
}

TEST_F(TrainModelTest, TiedEmbeddingsCollectBothGradients) {
  nlohmann::json config = tiny_config();
  config["tie_word_embeddings"] = true;
  const auto parsed = parse_model_config(config.dump(), "config.json").value();
  auto tied = TrainModel::create(parsed, {.max_tokens = 20}, &pool_).value();
  auto apart = TrainModel::create(checkpoint_.config(), {.max_tokens = 20}, &pool_).value();
  EXPECT_EQ(tied->find("lm_head.weight"), nullptr);
  const Parameter* embedding = tied->find("model.embed_tokens.weight");
  const Parameter* head = apart->find("lm_head.weight");
  std::copy_n(embedding->value, embedding->size, head->value);
  EXPECT_EQ(step(tied.get(), documents_.view()).lm_sum,
            step(apart.get(), documents_.view()).lm_sum);
  std::vector<float> sum(head->gradient, head->gradient + head->size);
  const float* other = apart->find("model.embed_tokens.weight")->gradient;
  for (size_t i = 0; i < sum.size(); ++i)
    sum[i] += other[i];
  EXPECT_LE(greatest_difference({embedding->gradient, embedding->gradient + embedding->size}, sum),
            1e-5);
}

TEST_F(TrainModelTest, GivenTargetsReplaceTheNextToken) {
  const auto model = checkpoint_.open({.max_tokens = 20}, &pool_);
  std::vector<int32_t> targets(20, -1);
  targets[4] = documents_.tokens[5];
  TrainBatch batch = documents_.view();
  batch.targets = targets;
  const TrainLosses losses = step(model.get(), batch);
  EXPECT_EQ(losses.n_targets, 1);
  const OracleLosses want = oracle_losses(checkpoint_.config(), checkpoint_.tensors(),
                                          documents_.view(), OracleAttention::kDense);
  EXPECT_LE(std::fabs(losses.lm() - want.tokens[4]), 1e-5);
  targets[4] = -1;
  EXPECT_EQ(step(model.get(), batch).lm(), 0.0);
}

TEST_F(TrainModelTest, RefusesBatchesByNameAndChangesNoGradient) {
  const auto model = checkpoint_.open({.max_tokens = 20}, &pool_);
  const auto refused = [&](const TrainBatch& batch) {
    const auto losses = model->forward_backward(batch);
    EXPECT_FALSE(losses.ok());
    EXPECT_EQ(losses.status().code(), StatusCode::kInvalidArgument);
    return losses.status().message();
  };
  const TrainBatch good = documents_.view();
  TrainBatch batch;
  EXPECT_EQ(refused(batch), "batch: 0 tokens, want 1 to max_tokens = 20");
  const std::vector<int32_t> wrong(20, 37);
  batch = good;
  batch.tokens = wrong;
  EXPECT_EQ(refused(batch), "batch: token 0 is 37, want 0 to 36");
  batch = good;
  batch.targets = wrong;
  EXPECT_EQ(refused(batch), "batch: target 0 is 37, want -1 to 36");
  batch.targets = batch.targets.first(3);
  EXPECT_EQ(refused(batch), "batch: 3 targets, want 20 or none");
  batch = good;
  batch.documents = batch.documents.first(1);
  EXPECT_EQ(refused(batch), "batch: documents end at 12, want 20");
  const DocumentSpan gap[] = {{0, 5}, {6, 20}};
  batch.documents = gap;
  EXPECT_THAT(refused(batch),
              testing::StartsWith("batch: document [6, 20), want it to begin at 5"));
  batch = good;
  batch.lm_scale = std::nan("");
  EXPECT_THAT(refused(batch), testing::StartsWith("batch: scale of a loss nan"));
  for (const auto& [name, gradient] : gradients(*model))
    EXPECT_THAT(gradient, testing::Each(0.0F)) << name;
}

TEST_F(TrainModelTest, RefusesOptionsAndIncompleteSourcesByName) {
  const auto message = [&](const TrainModelOptions& options) {
    const auto model = TrainModel::create(checkpoint_.config(), options, &pool_);
    EXPECT_FALSE(model.ok());
    return model.status().message();
  };
  EXPECT_THAT(message({.max_tokens = 0}), testing::StartsWith("max_tokens: 0, want 1"));
  EXPECT_THAT(message({.top_k = -1}), testing::StartsWith("top_k: -1, want at least 1"));
  EXPECT_THAT(message({.init_std = -1}), testing::StartsWith("init_std: -1, want"));
  ModelConfig wider = checkpoint_.config();
  wider.intermediate_size += 1;
  const auto model = TrainModel::create(wider, {}, checkpoint_.checkpoint(), &pool_);
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(model.status().message(), testing::HasSubstr("model.layers.0.mlp.gate_proj.weight"));
}

TEST_F(TrainModelTest, StepFlopsGrowLinearlyOnceTheBudgetIsFull) {
  const auto model = checkpoint_.open({.stage = TrainStage::kPretrain, .max_tokens = 20}, &pool_);
  EXPECT_GT(model->step_flops(2000), 2.1 * model->step_flops(1000));  // attention is quadratic
  EXPECT_GT(model->step_flops(1), 0);
}

TEST(TrainModel, NamesATensorWhoseSizeFitsNoMemory) {
  ModelConfig config = TinyModel(tiny_config()).config();
  config.vocab_size = config.hidden_size = int64_t{1} << 32;  // the product is 0 modulo 2^64
  ThreadPool pool(1);
  const auto model = TrainModel::create(config, {.max_tokens = 8}, &pool);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(model.status().message(), testing::HasSubstr("model.embed_tokens.weight"));
}

}  // namespace
}  // namespace dsa::backprop
