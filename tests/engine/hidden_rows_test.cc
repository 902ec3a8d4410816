// Rows of the residual stream that a pass hands out, against the float64 model.
#include <gmock/gmock.h>

#include "dsa/engine.h"

#include "tests/engine/families.h"
#include "tests/engine/naive_model.h"
#include "tests/engine/random_family.h"

namespace dsa {
namespace {

constexpr double kF32Bound = 5e-4;  // as of logits: values of the order of 1

EngineOptions in_f32() {
  EngineOptions options;
  options.kv_cache = options.index_cache = CacheFormat::kF32;
  options.cache_tokens = 256;
  options.n_threads = 2;
  return options;
}

struct Row {
  size_t step;
  int64_t position;
  std::vector<float> values;
};

ForwardHooks recording(std::vector<Row>* rows) {
  ForwardHooks hooks;
  hooks.hidden = [rows](const HiddenRow& row) {
    rows->push_back({row.step, row.position, {row.hidden.begin(), row.hidden.end()}});
  };
  return hooks;
}

void expect_rows(const nlohmann::json& config, const std::string& name) {
  const RandomFamily family(name, config, DType::kBF16);
  const auto engine = std::move(Engine::create(family.model(), in_f32())).value();
  const std::vector<int32_t> tokens = family.random_tokens(60, 3);
  std::vector<Row> rows;
  const Step step = {*engine->create_sequence(), tokens, RowsWanted::kNone, RowsWanted::kAll};
  ASSERT_TRUE(engine->forward({&step, 1}, recording(&rows)).ok());
  ASSERT_EQ(rows.size(), tokens.size());
  NaiveModel naive(family.model()->config(), family.tensors());
  for (size_t i = 0; i < tokens.size(); ++i) {
    naive.step(tokens[i]);
    const std::vector<float> want(naive.hidden().begin(), naive.hidden().end());
    EXPECT_EQ(rows[i].position, static_cast<int64_t>(i));
    EXPECT_THAT(differences(rows[i].values, want), testing::Each(testing::Le(kF32Bound))) << i;
  }
}

TEST(HiddenRows, AreTheResidualStreamBeforeTheFinalNorm) {
  expect_rows(deepseek_config(), "hidden_deepseek");
  expect_rows(glm_config(), "hidden_glm");
}

TEST(HiddenRows, AreThoseThatEachStepWantsWhateverItsLogits) {
  const RandomFamily family("hidden_choice", deepseek_config(), DType::kBF16);
  const auto engine = std::move(Engine::create(family.model(), in_f32())).value();
  const std::vector<int32_t> tokens = family.random_tokens(20, 4);
  const std::span<const int32_t> all(tokens);
  const SequenceId first = *engine->create_sequence();
  const SequenceId second = *engine->create_sequence();
  const SequenceId third = *engine->create_sequence();
  const Step batch[] = {{first, all.first(5), RowsWanted::kAll, RowsWanted::kLast},
                        {second, all.first(7), RowsWanted::kNone, RowsWanted::kNone},
                        {third, all.first(3), RowsWanted::kNone, RowsWanted::kAll},
                        {first, all.subspan(5, 2), RowsWanted::kLast, RowsWanted::kAll}};
  std::vector<Row> rows;
  size_t n_logits = 0;
  ForwardHooks hooks = recording(&rows);
  hooks.logits = [&n_logits](const LogitsRow&) { ++n_logits; };
  ASSERT_TRUE(engine->forward(batch, hooks).ok());
  EXPECT_EQ(n_logits, 6U);
  std::vector<std::pair<size_t, int64_t>> places;
  for (const Row& row : rows) {
    places.emplace_back(row.step, row.position);
    EXPECT_EQ(row.values.size(), 144U);
  }
  EXPECT_EQ(places, (std::vector<std::pair<size_t, int64_t>>{
                        {0, 4}, {2, 0}, {2, 1}, {2, 2}, {3, 5}, {3, 6}}));
}

}  // namespace
}  // namespace dsa
