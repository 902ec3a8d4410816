// Pages that are held, copied out and put back; several steps of a sequence in one batch.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>

#include "dsa/engine.h"
#include "dsa/forward.h"
#include "dsa/model.h"

#include "tests/engine/replay.h"

namespace dsa {
namespace {

std::span<const int32_t> tokens(size_t first, size_t n) {
  static const std::vector<int32_t> all =
      read_expected(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32/expected_fp32.safetensors", 0)
          .tokens;
  return std::span<const int32_t>(all).subspan(first, n);
}

EngineOptions small(CacheFormat format) {
  EngineOptions options;
  options.kv_cache = format;
  options.index_cache = format;
  options.cache_tokens = 640;
  options.max_batch_tokens = 200;
  options.n_threads = 2;
  return options;
}

std::shared_ptr<const Model> model() {
  static const std::shared_ptr<const Model> opened =
      open_model(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
  return opened;
}

std::unique_ptr<Engine> make(const EngineOptions& options) {
  auto engine = Engine::create(model(), options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

std::vector<float> last_logits(Engine* engine, std::span<const Step> batch) {
  std::vector<float> result;
  ForwardHooks hooks;
  hooks.logits = [&result](const LogitsRow& row) {
    result.insert(result.end(), row.logits.begin(), row.logits.end());
  };
  const Status status = engine->forward(batch, hooks);
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

class EnginePages : public testing::TestWithParam<CacheFormat> {};

INSTANTIATE_TEST_SUITE_P(Formats,
                         EnginePages,
                         testing::Values(CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32),
                         [](const auto& format) { return cache_format_name(format.param); });

// 64 tokens see all of them, later ones select: both forms of attention are among the steps.
TEST_P(EnginePages, TakesSeveralStepsOfASequenceInOneBatchAsIfOneByOne) {
  const auto apart = make(small(GetParam()));
  const SequenceId first = *apart->create_sequence();
  std::vector<float> one_by_one;
  for (const auto& [begin, n] : {std::pair<size_t, size_t>{0, 64}, {64, 64}, {128, 33}, {161, 1}}) {
    const Step step = {first, tokens(begin, n), RowsWanted::kLast};
    const std::vector<float> logits = last_logits(apart.get(), {&step, 1});
    one_by_one.insert(one_by_one.end(), logits.begin(), logits.end());
  }

  const auto together = make(small(GetParam()));
  const SequenceId other = *together->create_sequence();
  const SequenceId second = *together->create_sequence();
  const Step before = {other, tokens(300, 20), RowsWanted::kNone};
  ASSERT_TRUE(together->forward({&before, 1}, {}).ok());
  const Step batch[] = {{second, tokens(0, 64), RowsWanted::kLast},
                        {other, tokens(320, 1), RowsWanted::kNone},
                        {second, tokens(64, 64), RowsWanted::kLast},
                        {second, tokens(128, 33), RowsWanted::kLast},
                        {second, tokens(161, 1), RowsWanted::kLast}};
  EXPECT_EQ(last_logits(together.get(), batch), one_by_one);
  EXPECT_EQ(*together->sequence_length(second), 162);
}

TEST_P(EnginePages, GivesTheSameBitsFromPagesThatWereHeldAfterTheirSequence) {
  const auto engine = make(small(GetParam()));
  const SequenceId first = *engine->create_sequence();
  const Step read[] = {{first, tokens(0, 64), RowsWanted::kNone},
                       {first, tokens(64, 64), RowsWanted::kNone}};
  ASSERT_TRUE(engine->forward(read, {}).ok());
  const PageId pages[] = {*engine->hold_page(first, 0), *engine->hold_page(first, 1)};
  const Step rest = {first, tokens(128, 30), RowsWanted::kLast};
  const std::vector<float> wanted = last_logits(engine.get(), {&rest, 1});
  ASSERT_TRUE(engine->release_sequence(first).ok());
  EXPECT_EQ(engine->memory().n_free_pages, 8);

  const SequenceId second = *engine->create_sequence();
  for (const PageId page : pages)
    ASSERT_TRUE(engine->append_page(second, page).ok());
  const Step again = {second, tokens(128, 30), RowsWanted::kLast};
  EXPECT_EQ(last_logits(engine.get(), {&again, 1}), wanted);
  ASSERT_TRUE(engine->release_sequence(second).ok());
  for (const PageId page : pages)
    EXPECT_TRUE(engine->drop_page(page).ok());
  EXPECT_EQ(engine->memory().n_free_pages, 10);
}

TEST_P(EnginePages, GivesTheSameBitsFromPagesThatLeftThePoolAndCameBack) {
  const auto source = make(small(GetParam()));
  const SequenceId first = *source->create_sequence();
  ASSERT_TRUE(source->prefill(first, tokens(0, 100), {}).ok());
  std::vector<std::vector<uint8_t>> bytes(2);
  for (size_t i = 0; i < 2; ++i) {
    bytes[i].resize(static_cast<size_t>(source->page_bytes()));
    const PageId page = *source->hold_page(first, static_cast<int64_t>(i));
    ASSERT_TRUE(source->export_page(page, bytes[i]).ok());
    ASSERT_TRUE(source->drop_page(page).ok());
  }
  const Step next = {first, tokens(100, 1), RowsWanted::kLast};
  const std::vector<float> wanted = last_logits(source.get(), {&next, 1});

  const auto target = make(small(GetParam()));
  const SequenceId second = *target->create_sequence();
  for (size_t i = 0; i < 2; ++i) {
    const auto page = target->import_page(bytes[i]);
    ASSERT_TRUE(page.ok()) << page.status().message();
    ASSERT_TRUE(target->append_page(second, *page, i == 0 ? 64 : 36).ok());
    ASSERT_TRUE(target->drop_page(*page).ok());
  }
  const Step again = {second, tokens(100, 1), RowsWanted::kLast};
  EXPECT_EQ(last_logits(target.get(), {&again, 1}), wanted);
  ASSERT_TRUE(target->release_sequence(second).ok());
  EXPECT_EQ(target->memory().n_free_pages, 10);
}

TEST_P(EnginePages, LetsTwoForksGrowWhereOnePageIsFree) {
  const auto engine = make(small(GetParam()));
  const SequenceId first = *engine->create_sequence();
  ASSERT_TRUE(engine->prefill(first, tokens(0, 70), {}).ok());
  const SequenceId second = *engine->fork_sequence(first);
  const std::vector<uint8_t> bytes(static_cast<size_t>(engine->page_bytes()));
  while (engine->memory().n_free_pages > 1)
    ASSERT_TRUE(engine->import_page(bytes).ok());
  const Step batch[] = {{first, tokens(70, 1), RowsWanted::kLast},
                        {second, tokens(70, 1), RowsWanted::kLast}};
  const std::vector<float> both = last_logits(engine.get(), batch);
  ASSERT_EQ(both.size() % 2, 0U);
  const auto half = both.begin() + static_cast<ptrdiff_t>(both.size() / 2);
  EXPECT_TRUE(std::equal(both.begin(), half, half, both.end()));
  EXPECT_EQ(engine->memory().n_free_pages, 0);
  EXPECT_NE(*engine->hold_page(first, 1), *engine->hold_page(second, 1));
}

// Pages of another size hold the same tokens in other places.
TEST_P(EnginePages, GivesTheSameBitsWithPagesOfAnySize) {
  std::vector<float> wanted;
  for (const int64_t page_tokens : {64, 16, 128, 256}) {
    EngineOptions options = small(GetParam());
    options.page_tokens = page_tokens;
    options.cache_tokens = 1024;
    const auto engine = make(options);
    EXPECT_EQ(engine->memory().n_pages, 1024 / page_tokens);
    const SequenceId first = *engine->create_sequence();
    std::vector<float> logits;
    const auto run = [&](SequenceId id, size_t begin, size_t n) {
      const Step step = {id, tokens(begin, n), RowsWanted::kAll};
      const std::vector<float> more = last_logits(engine.get(), {&step, 1});
      logits.insert(logits.end(), more.begin(), more.end());
    };
    run(first, 0, 100);
    run(first, 100, 70);
    const SequenceId second = *engine->fork_sequence(first);
    run(second, 170, 40);
    run(first, 200, 1);
    run(second, 210, 1);
    if (wanted.empty()) wanted = logits;
    EXPECT_EQ(logits, wanted) << page_tokens << " tokens a page";
    EXPECT_TRUE(engine->release_sequence(first).ok());
    EXPECT_TRUE(engine->release_sequence(second).ok());
    EXPECT_EQ(engine->memory().n_free_pages, engine->memory().n_pages);
  }
}

TEST(EnginePageErrors, NamePagesAndSizesThatCannotBe) {
  using testing::HasSubstr;
  const auto engine = make(small(CacheFormat::kFp8));
  const SequenceId id = *engine->create_sequence();
  ASSERT_TRUE(engine->prefill(id, tokens(0, 70), {}).ok());
  EXPECT_EQ(engine->hold_page(99, 0).status().code(), StatusCode::kNotFound);
  EXPECT_THAT(engine->hold_page(id, 2).status().message(), HasSubstr("page 2, want one of its 2"));
  EXPECT_THAT(engine->hold_page(id, -1).status().message(), HasSubstr("page -1"));
  EXPECT_EQ(engine->drop_page(5).code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->drop_page(-1).code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->drop_page(10).code(), StatusCode::kNotFound);
  const PageId page = *engine->hold_page(id, 0);
  EXPECT_THAT(engine->append_page(id, page).message(), HasSubstr("70 tokens, want a multiple"));
  const SequenceId empty = *engine->create_sequence();
  EXPECT_THAT(engine->append_page(empty, page, 65).message(), HasSubstr("n_tokens: 65"));
  EXPECT_EQ(engine->append_page(empty, 9).code(), StatusCode::kNotFound);
  std::vector<uint8_t> bytes(static_cast<size_t>(engine->page_bytes()) - 1);
  EXPECT_THAT(engine->export_page(page, bytes).message(), HasSubstr("bytes, want"));
  EXPECT_EQ(engine->import_page(bytes).status().code(), StatusCode::kInvalidArgument);
  bytes.resize(bytes.size() + 1);
  EXPECT_EQ(engine->export_page(9, bytes).code(), StatusCode::kNotFound);
  while (engine->memory().n_free_pages > 0)
    ASSERT_TRUE(engine->import_page(bytes).ok());
  EXPECT_EQ(engine->import_page(bytes).status().code(), StatusCode::kResourceExhausted);
}

TEST(EnginePageErrors, NameTheSizeOfAPageThatCannotBe) {
  for (const int64_t page_tokens : {0, 8, 48, 8192}) {
    EngineOptions options = small(CacheFormat::kFp8);
    options.page_tokens = page_tokens;
    const auto engine = Engine::create(model(), options);
    EXPECT_EQ(engine.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(engine.status().message(), testing::HasSubstr("page_tokens"));
  }
}

}  // namespace
}  // namespace dsa
