// Tokens dropped from the end of a sequence: what comes after is what would have come without them,
// and whoever shares its pages sees nothing of it.
#include <gmock/gmock.h>

#include "dsa/engine.h"
#include "dsa/forward.h"

#include "tests/engine/replay.h"

namespace dsa {
namespace {

using testing::HasSubstr;

std::span<const int32_t> tokens(size_t first, size_t n) {
  static const std::vector<int32_t> all =
      read_expected(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32/expected_fp32.safetensors", 0)
          .tokens;
  return std::span<const int32_t>(all).subspan(first, n);
}

class Truncate : public testing::TestWithParam<CacheFormat> {
 protected:
  Truncate() {
    static const std::shared_ptr<const Model> model =
        open_model(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
    EngineOptions options;
    options.kv_cache = GetParam();
    options.index_cache = GetParam();
    options.cache_tokens = 1280;
    options.n_threads = 2;
    auto made = Engine::create(model, options);
    EXPECT_TRUE(made.ok()) << made.status().message();
    engine_ = std::move(made).value();
  }

  SequenceId create() { return *engine_->create_sequence(); }

  // Logits of all tokens of one step.
  std::vector<float> append(SequenceId sequence, std::span<const int32_t> added) {
    std::vector<float> result;
    ForwardHooks hooks;
    hooks.logits = [&result](const LogitsRow& row) {
      result.insert(result.end(), row.logits.begin(), row.logits.end());
    };
    const Step step = {sequence, added, RowsWanted::kAll};
    const Status status = engine_->forward({&step, 1}, hooks);
    EXPECT_TRUE(status.ok()) << status.message();
    return result;
  }

  // Of `added` after the first `length` tokens of the text, in a sequence of their own.
  std::vector<float> computed(size_t length, std::span<const int32_t> added) {
    const SequenceId sequence = create();
    if (length > 0) append(sequence, tokens(0, length));
    const std::vector<float> result = append(sequence, added);
    EXPECT_TRUE(engine_->release_sequence(sequence).ok());
    return result;
  }

  // The first `length` tokens of the text in one step, then 50 of its tokens that come later.
  SequenceId longer_than(size_t length) {
    const SequenceId sequence = create();
    if (length > 0) append(sequence, tokens(0, length));
    append(sequence, tokens(300, 50));
    return sequence;
  }

  void truncate(SequenceId sequence, int64_t length) {
    const Status status = engine_->truncate(sequence, length);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(*engine_->sequence_length(sequence), length);
  }

  std::vector<uint8_t> bytes_of(PageId page) {
    std::vector<uint8_t> bytes(static_cast<size_t>(engine_->page_bytes()));
    EXPECT_TRUE(engine_->export_page(page, bytes).ok());
    return bytes;
  }

  int64_t n_free() const { return engine_->memory().n_free_pages; }

  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Formats,
                         Truncate,
                         testing::Values(CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32),
                         [](const auto& format) { return cache_format_name(format.param); });

// Up to 64 tokens everything is selected.
TEST_P(Truncate, LeavesASequenceThatNeverHadTheTokens) {
  for (const size_t length : std::initializer_list<size_t>{0, 1, 40, 63, 64, 65, 128, 140}) {
    const SequenceId sequence = longer_than(length);
    truncate(sequence, static_cast<int64_t>(length));
    EXPECT_EQ(append(sequence, tokens(200, 30)), computed(length, tokens(200, 30))) << length;
    EXPECT_EQ(append(sequence, tokens(230, 1)).size(),
              static_cast<size_t>(engine_->model().config().vocab_size));
    EXPECT_TRUE(engine_->release_sequence(sequence).ok());
  }
  EXPECT_EQ(n_free(), engine_->memory().n_pages);
}

TEST_P(Truncate, GivesBackWholePages) {
  const SequenceId sequence = longer_than(150);
  EXPECT_EQ(n_free(), 16);
  truncate(sequence, 129);
  EXPECT_EQ(n_free(), 17);
  truncate(sequence, 128);
  EXPECT_EQ(n_free(), 18);
  truncate(sequence, 0);
  EXPECT_EQ(n_free(), 20);
}

TEST_P(Truncate, LeavesForksAsTheyAre) {
  const SequenceId source = longer_than(100);
  const SequenceId fork = *engine_->fork_sequence(source);
  truncate(fork, 100);
  EXPECT_EQ(append(fork, tokens(200, 30)), computed(100, tokens(200, 30)));
  truncate(fork, 0);
  EXPECT_EQ(append(fork, tokens(0, 80)), computed(0, tokens(0, 80)));

  const SequenceId untouched = longer_than(100);
  EXPECT_EQ(append(source, tokens(400, 10)), append(untouched, tokens(400, 10)));
}

TEST_P(Truncate, LeavesHeldPagesAsTheyAre) {
  const SequenceId sequence = longer_than(70);
  const PageId whole = *engine_->hold_page(sequence, 0);
  const PageId begun = *engine_->hold_page(sequence, 1);
  const std::vector<uint8_t> before[] = {bytes_of(whole), bytes_of(begun)};
  truncate(sequence, 70);
  EXPECT_EQ(append(sequence, tokens(200, 30)), computed(70, tokens(200, 30)));
  truncate(sequence, 0);
  append(sequence, tokens(200, 70));
  EXPECT_EQ(bytes_of(whole), before[0]);
  EXPECT_EQ(bytes_of(begun), before[1]);
  EXPECT_TRUE(engine_->release_sequence(sequence).ok());
  EXPECT_EQ(n_free(), 18);
  EXPECT_TRUE(engine_->drop_page(whole).ok());
  EXPECT_TRUE(engine_->drop_page(begun).ok());
  EXPECT_EQ(n_free(), 20);
}

// As a cache of prefixes does it: the page is held by the cache and by two sequences.
TEST_P(Truncate, CutsOffInsideAPageThatOthersReadFrom) {
  const SequenceId reader = create();
  append(reader, tokens(0, 64));
  const PageId page = *engine_->hold_page(reader, 0);
  const SequenceId sequence = create();
  ASSERT_TRUE(engine_->append_page(sequence, page).ok());
  truncate(sequence, 10);
  append(sequence, tokens(300, 90));
  ASSERT_TRUE(engine_->release_sequence(sequence).ok());

  const std::vector<float> wanted = computed(64, tokens(200, 30));
  const SequenceId later = create();
  ASSERT_TRUE(engine_->append_page(later, page).ok());
  EXPECT_EQ(append(later, tokens(200, 30)), wanted);
  EXPECT_EQ(append(reader, tokens(200, 30)), wanted);
}

TEST_P(Truncate, RefusesLengthsAndSequencesThatCannotBe) {
  const SequenceId sequence = longer_than(20);
  EXPECT_EQ(engine_->truncate(99, 0).code(), StatusCode::kNotFound);
  const Status longer = engine_->truncate(sequence, 71);
  EXPECT_EQ(longer.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(longer.message(), HasSubstr("length: 71, want 0 to 70"));
  EXPECT_EQ(engine_->truncate(sequence, -1).code(), StatusCode::kInvalidArgument);
  ForwardHooks hooks;
  Status inside;
  hooks.logits = [&](const LogitsRow&) { inside = engine_->truncate(sequence, 20); };
  const Step step = {sequence, tokens(100, 1), RowsWanted::kLast};
  ASSERT_TRUE(engine_->forward({&step, 1}, hooks).ok());
  EXPECT_THAT(inside.message(), HasSubstr("under way"));
  EXPECT_EQ(*engine_->sequence_length(sequence), 71);
}

}  // namespace
}  // namespace dsa
