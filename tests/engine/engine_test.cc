#include "dsa/engine.h"

#include <gmock/gmock.h>

#include <numeric>

#include "dsa/forward.h"
#include "dsa/model.h"

#include "tests/engine/replay.h"

namespace dsa {
namespace {

std::shared_ptr<const Model> trained_model() {
  static const std::shared_ptr<const Model> model =
      open_model(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
  return model;
}

const std::vector<int32_t>& text_tokens() {
  static const std::vector<int32_t> tokens =
      read_expected(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32/expected_fp32.safetensors", 0)
          .tokens;
  return tokens;
}

std::span<const int32_t> tokens(size_t first, size_t n) {
  return std::span<const int32_t>(text_tokens()).subspan(first, n);
}

EngineOptions small() {
  EngineOptions options;
  options.cache_tokens = 512;
  options.max_batch_tokens = 128;
  options.n_threads = 2;
  return options;
}

std::unique_ptr<Engine> make(const EngineOptions& options) {
  auto engine = Engine::create(trained_model(), options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

std::vector<float> last_logits(Engine* engine, SequenceId id, std::span<const int32_t> input) {
  std::vector<float> result;
  ForwardHooks hooks;
  hooks.logits = [&result](const LogitsRow& row) {
    result.assign(row.logits.begin(), row.logits.end());
  };
  const Status status = engine->prefill(id, input, hooks);
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

std::string message_of(const EngineOptions& options) {
  return Engine::create(trained_model(), options).status().message();
}

TEST(Engine, NamesTheOptionItRefuses) {
  using testing::HasSubstr;
  EngineOptions options = small();
  options.cache_tokens = 0;
  EXPECT_THAT(message_of(options), HasSubstr("cache_tokens: 0, want"));
  options = small();
  options.attention.mode = AttentionMode::kWindow;
  EXPECT_THAT(message_of(options), HasSubstr("window: 0, want"));
  options = small();
  options.attention.keep_first = 40;
  options.attention.keep_recent = 25;
  EXPECT_THAT(message_of(options), HasSubstr("keep_recent: 25, want 0 to 24"));
  options = small();
  options.max_batch_tokens = -1;
  EXPECT_THAT(message_of(options), HasSubstr("max_batch_tokens: -1"));
}

TEST(Engine, RefusesATierThisCpuCannotRun) {
  const ForcedTier tier("itanium");
  const auto engine = Engine::create(trained_model(), small());
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(engine.status().message(), testing::HasSubstr("DSA_CPU_TIER: \"itanium\", want"));
}

TEST(Engine, RefusesStepsThatCannotBe) {
  const auto engine = make(small());
  const SequenceId id = *engine->create_sequence();
  const int32_t outside = 2048;
  const Step empty = {id, {}, RowsWanted::kNone};
  const Step bad_token = {id, {&outside, 1}, RowsWanted::kNone};
  const Step unknown = {id + 1, tokens(0, 1), RowsWanted::kNone};
  const Step large = {id, tokens(0, 129), RowsWanted::kNone};
  EXPECT_EQ(engine->forward({&empty, 1}, {}).code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(engine->forward({&bad_token, 1}, {}).message(),
              testing::HasSubstr("token 0 is 2048, want 0 to 2047"));
  EXPECT_EQ(engine->forward({&unknown, 1}, {}).code(), StatusCode::kNotFound);
  EXPECT_THAT(engine->forward({&large, 1}, {}).message(),
              testing::HasSubstr("129 tokens, want at most 128"));
  EXPECT_EQ(*engine->sequence_length(id), 0);
}

TEST(Engine, LosesNothingWhenThePoolIsExhausted) {
  EngineOptions options = small();
  options.cache_tokens = 128;
  const auto engine = make(options);
  const SequenceId id = *engine->create_sequence();
  const std::vector<float> before = last_logits(engine.get(), id, tokens(0, 100));
  const Step step = {id, tokens(100, 40), RowsWanted::kLast};
  const Status status = engine->forward({&step, 1}, {});
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(*engine->sequence_length(id), 100);
  EXPECT_EQ(engine->prefill(id, tokens(100, 200), {}).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(*engine->sequence_length(id), 100);

  // What was stored still serves: the same continuation as in an engine with room.
  const std::vector<float> here = last_logits(engine.get(), id, tokens(100, 20));
  const auto roomy = make(small());
  const SequenceId other = *roomy->create_sequence();
  last_logits(roomy.get(), other, tokens(0, 100));
  EXPECT_EQ(here, last_logits(roomy.get(), other, tokens(100, 20)));
}

TEST(Engine, GivesASequenceTheSameBitsAloneAndInABatch) {
  const auto run = [](bool alone) {
    const auto engine = make(small());
    const SequenceId first = *engine->create_sequence();
    const SequenceId second = *engine->create_sequence();
    EXPECT_TRUE(engine->prefill(first, tokens(0, 90), {}).ok());
    EXPECT_TRUE(engine->prefill(second, tokens(200, 70), {}).ok());
    std::vector<float> result;
    ForwardHooks hooks;
    hooks.logits = [&result, alone](const LogitsRow& row) {
      if (row.step != (alone ? 0 : 1)) return;
      result.insert(result.end(), row.logits.begin(), row.logits.end());
    };
    const Step batch[] = {{second, tokens(270, 33), RowsWanted::kAll},
                          {first, tokens(90, 1), RowsWanted::kLast}};
    const Status status =
        alone ? engine->forward({&batch[1], 1}, hooks) : engine->forward(batch, hooks);
    EXPECT_TRUE(status.ok()) << status.message();
    return result;
  };
  const std::vector<float> alone = run(true);
  EXPECT_EQ(alone.size(), 2048U);
  EXPECT_EQ(alone, run(false));
}

TEST(Engine, ContinuesAForkWithoutTouchingItsSource) {
  const auto engine = make(small());
  const SequenceId source = *engine->create_sequence();
  last_logits(engine.get(), source, tokens(0, 100));
  const int64_t free_before = engine->memory().n_free_pages;
  const SequenceId fork = *engine->fork_sequence(source);
  EXPECT_EQ(engine->memory().n_free_pages, free_before);  // every page is shared
  const std::vector<float> forked = last_logits(engine.get(), fork, tokens(300, 30));
  const std::vector<float> continued = last_logits(engine.get(), source, tokens(100, 30));
  EXPECT_EQ(*engine->sequence_length(fork), 130);

  const auto fresh = make(small());
  const SequenceId alone = *fresh->create_sequence();
  last_logits(fresh.get(), alone, tokens(0, 100));
  EXPECT_EQ(continued, last_logits(fresh.get(), alone, tokens(100, 30)));
  EXPECT_NE(continued, forked);

  EXPECT_TRUE(engine->release_sequence(source).ok());
  EXPECT_TRUE(engine->release_sequence(fork).ok());
  EXPECT_EQ(engine->memory().n_free_pages, engine->memory().n_pages);
  EXPECT_EQ(engine->release_sequence(fork).code(), StatusCode::kNotFound);
}

TEST(Engine, GivesTheSameBitsAsDenseAttentionWithinTheBudget) {
  EngineOptions dense = small();
  dense.attention.mode = AttentionMode::kDense;
  const auto sparse_engine = make(small());
  const auto dense_engine = make(dense);
  const std::vector<float> sparse =
      last_logits(sparse_engine.get(), *sparse_engine->create_sequence(), tokens(0, 64));
  EXPECT_EQ(sparse,
            last_logits(dense_engine.get(), *dense_engine->create_sequence(), tokens(0, 64)));
}

// The largest relative difference of two logit rows.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::fabs(double{a[i]} - double{b[i]}));
  }
  return worst;
}

TEST(Engine, SelectingEverythingEqualsDenseAttentionBeyondTheBudget) {
  EngineOptions all = small();
  all.kv_cache = all.index_cache = CacheFormat::kF32;
  all.attention.top_k = 400;
  EngineOptions dense = all;
  dense.attention.top_k = 0;
  dense.attention.mode = AttentionMode::kDense;
  const auto a = make(all);
  const auto b = make(dense);
  EXPECT_LE(distance(last_logits(a.get(), *a->create_sequence(), tokens(0, 300)),
                     last_logits(b.get(), *b->create_sequence(), tokens(0, 300))),
            1e-4);
}

struct Selected {
  std::vector<std::vector<int32_t>> rows;
  std::vector<std::vector<float>> scores;
};

Selected selections_of_first_layer(const EngineOptions& options, bool scores) {
  const auto engine = make(options);
  Selected result;
  ForwardHooks hooks;
  hooks.selection_scores = scores;
  hooks.selection = [&result](const SelectionRow& selection) {
    if (selection.layer != 0) return;
    EXPECT_EQ(selection.position, static_cast<int64_t>(result.rows.size()));
    result.rows.emplace_back(selection.positions.begin(), selection.positions.end());
    result.scores.emplace_back(selection.scores.begin(), selection.scores.end());
  };
  EXPECT_TRUE(engine->prefill(*engine->create_sequence(), tokens(0, 200), hooks).ok());
  return result;
}

TEST(Selection, KeepsTheFirstAndTheMostRecentInsideTheBudget) {
  EngineOptions options = small();
  options.attention.top_k = 32;
  options.attention.keep_first = 4;
  options.attention.keep_recent = 8;
  const Selected selected = selections_of_first_layer(options, false);
  for (size_t i = 0; i < selected.rows.size(); ++i) {
    const std::vector<int32_t>& row = selected.rows[i];
    ASSERT_EQ(row.size(), std::min<size_t>(i + 1, 32));
    EXPECT_TRUE(std::is_sorted(row.begin(), row.end()));
    EXPECT_EQ(std::adjacent_find(row.begin(), row.end()), row.end());
    if (i < 32) continue;
    for (size_t j = 0; j < 4; ++j)
      EXPECT_EQ(row[j], static_cast<int32_t>(j));
    for (size_t j = 0; j < 8; ++j)
      EXPECT_EQ(row[31 - j], static_cast<int32_t>(i - j));
  }
}

TEST(Selection, WindowSeesTheMostRecentTokens) {
  EngineOptions options = small();
  options.attention.mode = AttentionMode::kWindow;
  options.attention.window = 5;
  const Selected selected = selections_of_first_layer(options, true);
  EXPECT_THAT(selected.rows[2], testing::ElementsAre(0, 1, 2));
  EXPECT_THAT(selected.rows[100], testing::ElementsAre(96, 97, 98, 99, 100));
  EXPECT_TRUE(selected.scores[100].empty());
}

TEST(Selection, ReportsTheScoresOfWhatItChose) {
  EngineOptions small_budget = small();
  small_budget.attention.top_k = 16;
  EngineOptions large_budget = small();
  large_budget.attention.top_k = 256;
  const Selected few = selections_of_first_layer(small_budget, true);
  const Selected all = selections_of_first_layer(large_budget, true);
  // The first layer's scores do not depend on the budget; every row has them.
  for (size_t i = 0; i < 16; ++i)
    EXPECT_EQ(few.scores[i], all.scores[i]);
  for (size_t i = 0; i < few.rows.size(); ++i) {
    EXPECT_EQ(few.scores[i].size(), few.rows[i].size());
    EXPECT_EQ(all.scores[i].size(), i + 1);
  }
}

TEST(Prefill, StopsWhenProgressSaysSo) {
  const auto engine = make(small());
  const SequenceId id = *engine->create_sequence();
  std::vector<int64_t> seen;
  EXPECT_TRUE(engine
                  ->prefill(id, tokens(0, 300), {}, RowsWanted::kNone,
                            [&seen](int64_t done, int64_t total) {
                              EXPECT_EQ(total, 300);
                              seen.push_back(done);
                              return done < 200;
                            })
                  .ok());
  EXPECT_THAT(seen, testing::ElementsAre(128, 256));
  EXPECT_EQ(*engine->sequence_length(id), 256);
}

TEST(Memory, CachesTakeWhatTheEstimateSays) {
  for (const CacheFormat format : {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32}) {
    EngineOptions options = small();
    options.kv_cache = options.index_cache = format;
    const auto engine = make(options);
    const CacheEstimate estimate = estimate_cache(trained_model()->config(), options);
    EXPECT_EQ(engine->memory().latent_cache_bytes, estimate.latent_bytes);
    EXPECT_EQ(engine->memory().index_cache_bytes, estimate.index_bytes);
  }
}

TEST(Memory, IsWhatTheFormatsSayAtTheRealShape) {
  ModelConfig config = trained_model()->config();
  config.kv_lora_rank = 512;
  config.qk_rope_head_dim = 64;
  const CacheEstimate estimate = estimate_cache(config, EngineOptions());
  EXPECT_EQ(estimate.latent_bytes_per_token_layer, 656);
  EXPECT_EQ(estimate.index_bytes_per_token_layer, 132);
}

TEST(Sequences, AreLimitedAndReused) {
  EngineOptions options = small();
  options.max_sequences = 2;
  const auto engine = make(options);
  const SequenceId first = *engine->create_sequence();
  ASSERT_TRUE(engine->create_sequence().ok());
  EXPECT_EQ(engine->create_sequence().status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(engine->fork_sequence(first).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(engine->release_sequence(first).ok());
  EXPECT_EQ(engine->create_sequence().value(), first);
}

}  // namespace
}  // namespace dsa
