// Losses against the float64 oracle, and every gradient against its finite differences.
#include <gtest/gtest.h>

#include "tests/backprop/oracle.h"
#include "tests/backprop/tiny_model.h"
#include "tests/engine/replay.h"

namespace dsa::backprop {
namespace {

struct Case {
  std::string name;
  nlohmann::json config;
  TrainStage stage;
};

void PrintTo(const Case& test, std::ostream* out) {
  *out << test.name;
}

std::string stage_name(TrainStage stage) {
  switch (stage) {
    case TrainStage::kPretrain:
      return "Pretrain";
    case TrainStage::kWarmup:
      return "Warmup";
    case TrainStage::kSparse:
      return "Sparse";
  }
  return "?";
}

std::vector<Case> cases() {
  nlohmann::json softmax = tiny_config();
  softmax["scoring_func"] = "softmax";
  softmax["topk_method"] = "group_limited_greedy";
  std::vector<Case> all;
  for (const TrainStage stage : {TrainStage::kPretrain, TrainStage::kWarmup, TrainStage::kSparse}) {
    all.push_back({"DeepSeek" + stage_name(stage), tiny_config(), stage});
    all.push_back({"Glm" + stage_name(stage), tiny_glm_config(), stage});
  }
  all.push_back({"SoftmaxRouting", softmax, TrainStage::kPretrain});
  return all;
}

// What the stage minimises, with the scales of the batch below.
class Objective {
 public:
  static constexpr double kLmScale = 0.7;
  static constexpr double kIndexScale = 0.3;

  Objective(const TinyModel& model, const TinyBatch& batch, TrainStage stage)
      : config_(model.config()), tensors_(model.tensors()), batch_(batch) {
    base_ = oracle_losses(
        config_, tensors_, batch_.view(),
        stage == TrainStage::kSparse ? OracleAttention::kIndexer : OracleAttention::kDense);
  }

  const OracleLosses& base() const { return base_; }

  // The derivative along a direction of one tensor: of the KL for the indexer's, whose inputs and
  // target do not move with it; of the language-model loss for the others, at the same selection.
  double slope(const std::string& name, const Vector& direction) {
    constexpr double kStep = 1e-7;  // a larger one meets the kinks of the indexer's ReLU
    Vector& values = tensors_.at(name).values;
    const Vector kept = values;
    double difference = 0;
    for (const double sign : {1.0, -1.0}) {
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = kept[i] + sign * kStep * direction[i];
      const OracleLosses losses =
          oracle_losses(config_, tensors_, batch_.view(), OracleAttention::kForced, &base_);
      difference +=
          sign * (name.find(".indexer.") == std::string::npos ? kLmScale * losses.lm
                                                              : kIndexScale * losses.all_kl());
    }
    values = kept;
    return difference / (2 * kStep);
  }

 private:
  ModelConfig config_;
  Tensors tensors_;
  const TinyBatch& batch_;
  OracleLosses base_;
};

struct Slope {
  std::string name;
  Vector direction;
  double value = 0;
};

// For each trained tensor: one random direction, and an element alone.
std::vector<Slope> finite_differences(const TrainModel& model, Objective* objective) {
  std::vector<Slope> slopes;
  std::mt19937 random(11);
  for (const Parameter& parameter : model.parameters()) {
    if (parameter.gradient == nullptr) continue;
    for (int i = 0; i < 2; ++i) {
      Slope slope = {parameter.name, Vector(parameter.size), 0};
      if (i == 0) {
        std::normal_distribution<double> normal;
        for (double& x : slope.direction)
          x = normal(random);
      } else {
        slope.direction[random() % parameter.size] = 1;
      }
      slope.value = objective->slope(slope.name, slope.direction);
      slopes.push_back(std::move(slope));
    }
  }
  return slopes;
}

double norm(const Vector& x) {
  return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
}

// f32 against f64: relative to what a direction of that length could give.
constexpr double kGradientBound = 1e-4;

void expect_slope(const TrainModel& model, const Slope& slope) {
  const Parameter* parameter = model.find(slope.name);
  ASSERT_NE(parameter, nullptr);
  const Vector gradient(parameter->gradient, parameter->gradient + parameter->size);
  const double along =
      std::inner_product(gradient.begin(), gradient.end(), slope.direction.begin(), 0.0);
  const double bound = kGradientBound * (norm(gradient) * norm(slope.direction) + 1e-3);
  EXPECT_LE(std::fabs(along - slope.value), bound)
      << slope.name << ": " << along << ", want " << slope.value;
}

class Gradients : public testing::TestWithParam<Case> {};

TEST_P(Gradients, AgreeWithFiniteDifferencesInEveryTier) {
  const TinyModel checkpoint(GetParam().config);
  const TinyBatch documents({9, 1, 17}, 37, 3);
  Objective objective(checkpoint, documents, GetParam().stage);
  std::vector<Slope> slopes;
  for (const std::string& tier : cpu_info().runnable) {
    const ForcedTier forced(tier);
    ThreadPool pool(2);
    const auto model = checkpoint.open({.stage = GetParam().stage, .max_tokens = 31}, &pool);
    ASSERT_NE(model, nullptr);
    if (slopes.empty()) slopes = finite_differences(*model, &objective);
    TrainBatch batch = documents.view();
    batch.lm_scale = Objective::kLmScale;
    batch.index_scale = Objective::kIndexScale;
    const auto losses = model->forward_backward(batch);
    ASSERT_TRUE(losses.ok()) << losses.status().message();
    if (losses->has_lm) {
      EXPECT_EQ(losses->n_targets, 24);
      EXPECT_LE(std::fabs(losses->lm_sum - objective.base().lm), 1e-4) << tier;
    }
    for (size_t i = 0; i < losses->index_kl_sum.size(); ++i) {
      EXPECT_LE(std::fabs(losses->index_kl_sum[i] - objective.base().kl[i]), 1e-4) << tier;
    }
    for (const Slope& slope : slopes)
      expect_slope(*model, slope);
  }
}

INSTANTIATE_TEST_SUITE_P(Stages, Gradients, testing::ValuesIn(cases()), [](const auto& test) {
  return test.param.name;
});

}  // namespace
}  // namespace dsa::backprop
