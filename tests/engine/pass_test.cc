// Passes that are advanced from outside: interleaved, dropped, ended by hooks that throw.
#include <gmock/gmock.h>

#include <optional>
#include <stdexcept>

#include "dsa/engine.h"

#include "tests/engine/families.h"
#include "tests/engine/random_family.h"

namespace dsa {
namespace {

using testing::HasSubstr;

// Layers that index and layers that share their selection.
const RandomFamily& family() {
  static const RandomFamily glm("pass_glm", glm_config(), DType::kBF16);
  return glm;
}

size_t n_pieces() {
  return 2 * static_cast<size_t>(family().model()->config().n_layers) + 1;
}

const std::vector<int32_t>& all_tokens() {
  static const std::vector<int32_t> tokens = family().random_tokens(400, 7);
  return tokens;
}

std::span<const int32_t> tokens(size_t first, size_t n) {
  return std::span<const int32_t>(all_tokens()).subspan(first, n);
}

std::unique_ptr<Engine> make_engine(int64_t max_interleaved_tokens = 64) {
  EngineOptions options;
  options.cache_tokens = 512;
  options.max_batch_tokens = 128;
  options.max_interleaved_tokens = max_interleaved_tokens;
  options.n_threads = 1;
  auto engine = Engine::create(family().model(), options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

// Everything that a pass hands out, in order.
struct Record {
  std::vector<float> logits;
  std::vector<float> hidden;
  std::vector<int32_t> selected;
  std::vector<float> scores;

  bool operator==(const Record&) const = default;

  ForwardHooks hooks() {
    ForwardHooks hooks;
    hooks.logits = [this](const LogitsRow& row) {
      logits.insert(logits.end(), row.logits.begin(), row.logits.end());
    };
    hooks.hidden = [this](const HiddenRow& row) {
      hidden.insert(hidden.end(), row.hidden.begin(), row.hidden.end());
    };
    hooks.selection = [this](const SelectionRow& row) {
      selected.insert(selected.end(), row.positions.begin(), row.positions.end());
      scores.insert(scores.end(), row.scores.begin(), row.scores.end());
    };
    hooks.selection_scores = true;
    return hooks;
  }
};

Step step_of(SequenceId sequence, std::span<const int32_t> input) {
  return {sequence, input, RowsWanted::kAll, RowsWanted::kLast};
}

Pass begin(Engine* engine, const Step& step, Record* record) {
  Result<Pass> pass = engine->begin({&step, 1}, record->hooks());
  EXPECT_TRUE(pass.ok()) << pass.status().message();
  return std::move(pass).value();
}

Record forward(Engine* engine, const Step& step) {
  Record record;
  const Status status = engine->forward({&step, 1}, record.hooks());
  EXPECT_TRUE(status.ok()) << status.message();
  return record;
}

// A sequence of `n` tokens from `first` on; n is no multiple of a page.
SequenceId sequence_of(Engine* engine, size_t first, size_t n) {
  const SequenceId id = *engine->create_sequence();
  EXPECT_TRUE(engine->prefill(id, tokens(first, n), {}, RowsWanted::kNone).ok());
  return id;
}

TEST(Pass, HasAPieceForEachHalfOfALayerAndOneForTheEnd) {
  const auto engine = make_engine();
  const SequenceId id = sequence_of(engine.get(), 0, 30);
  Record record;
  Pass pass = begin(engine.get(), step_of(id, tokens(30, 40)), &record);
  for (size_t i = 0; i + 1 < n_pieces(); ++i) {
    EXPECT_TRUE(pass.under_way());
    EXPECT_TRUE(pass.advance()) << i;
    EXPECT_EQ(*engine->sequence_length(id), 30);
    EXPECT_TRUE(record.logits.empty());
  }
  EXPECT_FALSE(pass.advance());
  EXPECT_FALSE(pass.under_way());
  EXPECT_FALSE(pass.advance());
  EXPECT_EQ(*engine->sequence_length(id), 70);
  const SequenceId same = sequence_of(engine.get(), 0, 30);
  EXPECT_TRUE(record == forward(engine.get(), step_of(same, tokens(30, 40))));
}

// Both passes select; layers that share a selection must find that of their own pass.
TEST(Pass, GivesTheSameBitsInterleavedWithAnotherInEveryOrder) {
  const auto engine = make_engine();
  const auto sequences = [&] {
    return std::pair(sequence_of(engine.get(), 0, 30), sequence_of(engine.get(), 100, 50));
  };
  const auto release = [&](std::pair<SequenceId, SequenceId> ids) {
    EXPECT_TRUE(engine->release_sequence(ids.first).ok());
    EXPECT_TRUE(engine->release_sequence(ids.second).ok());
  };
  const auto alone = sequences();
  const Record first_alone = forward(engine.get(), step_of(alone.first, tokens(30, 9)));
  const Record second_alone = forward(engine.get(), step_of(alone.second, tokens(150, 5)));
  release(alone);
  for (size_t i = 0; i < n_pieces(); ++i) {
    for (size_t j = 0; j <= n_pieces(); ++j) {
      // The second begins after i pieces of the first and has j before the first goes on.
      const auto [one, other] = sequences();
      Record first, second;
      Pass a = begin(engine.get(), step_of(one, tokens(30, 9)), &first);
      for (size_t k = 0; k < i; ++k)
        EXPECT_TRUE(a.advance());
      Pass b = begin(engine.get(), step_of(other, tokens(150, 5)), &second);
      for (size_t k = 0; k < j; ++k)
        b.advance();
      // Then the two alternate.
      for (bool more = true; more;) {
        more = a.advance();
        more = b.advance() || more;
      }
      ASSERT_TRUE(first == first_alone) << i << " " << j;
      ASSERT_TRUE(second == second_alone) << i << " " << j;
      EXPECT_EQ(*engine->sequence_length(one), 39);
      EXPECT_EQ(*engine->sequence_length(other), 55);
      release({one, other});
    }
  }
}

TEST(Pass, CanBeFollowedByAnotherWhileTheSecondIsUnderWay) {
  const auto engine = make_engine();
  const SequenceId ids[] = {sequence_of(engine.get(), 0, 30), sequence_of(engine.get(), 50, 30),
                            sequence_of(engine.get(), 90, 30)};
  Record records[3];
  Pass first = begin(engine.get(), step_of(ids[0], tokens(30, 9)), &records[0]);
  Pass second = begin(engine.get(), step_of(ids[1], tokens(80, 4)), &records[1]);
  while (first.advance()) {
  }
  // The larger scratch is free again.
  Pass third = begin(engine.get(), step_of(ids[2], tokens(120, 100)), &records[2]);
  while (third.advance()) {
    EXPECT_FALSE(engine->decode(ids[0], 1).ok());  // both are taken
  }
  while (second.advance()) {
  }
  for (size_t i = 0; i < 3; ++i) {
    const size_t begins[] = {30, 80, 120};
    const size_t sizes[] = {9, 4, 100};
    const SequenceId same = sequence_of(engine.get(), begins[i] - 30, 30);
    EXPECT_TRUE(records[i] == forward(engine.get(), step_of(same, tokens(begins[i], sizes[i]))));
    EXPECT_TRUE(engine->release_sequence(same).ok());
  }
}

TEST(Pass, CopiesTheBatch) {
  const auto engine = make_engine();
  std::vector<int32_t> input(all_tokens().begin(), all_tokens().begin() + 20);
  Record record;
  Pass pass = begin(engine.get(), step_of(*engine->create_sequence(), input), &record);
  std::fill(input.begin(), input.end(), 1);
  while (pass.advance()) {
  }
  const Step same = step_of(*engine->create_sequence(), tokens(0, 20));
  EXPECT_TRUE(record == forward(engine.get(), same));
}

TEST(Pass, LeavesEverythingAsItWasWhenItIsDropped) {
  const auto engine = make_engine();
  const SequenceId id = sequence_of(engine.get(), 0, 70);
  const SequenceId source = sequence_of(engine.get(), 100, 70);
  const SequenceId fork = *engine->fork_sequence(source);
  const int64_t n_free = engine->memory().n_free_pages;
  for (size_t n = 0; n < n_pieces(); ++n) {
    const Step batch[] = {step_of(id, tokens(200, 60)), step_of(fork, tokens(270, 1)),
                          step_of(id, tokens(260, 10))};
    Record record;
    {
      Result<Pass> pass = engine->begin(batch, record.hooks());
      ASSERT_TRUE(pass.ok()) << pass.status().message();
      for (size_t i = 0; i < n; ++i)
        EXPECT_TRUE(pass->advance());
    }
    EXPECT_EQ(*engine->sequence_length(id), 70);
    EXPECT_EQ(*engine->sequence_length(fork), 70);
    // The fork may go on in a page of its own.
    EXPECT_GE(engine->memory().n_free_pages, n_free - 1);
  }
  const Record got = forward(engine.get(), step_of(id, tokens(70, 20)));
  const Record of_fork = forward(engine.get(), step_of(fork, tokens(170, 20)));
  const Record of_source = forward(engine.get(), step_of(source, tokens(170, 20)));
  const auto fresh = make_engine();
  const SequenceId same = sequence_of(fresh.get(), 0, 70);
  const SequenceId other = sequence_of(fresh.get(), 100, 70);
  EXPECT_TRUE(got == forward(fresh.get(), step_of(same, tokens(70, 20))));
  EXPECT_TRUE(of_fork == of_source);
  EXPECT_TRUE(of_source == forward(fresh.get(), step_of(other, tokens(170, 20))));
}

struct HookFailed : std::runtime_error {
  HookFailed() : std::runtime_error("hook") {}
};

// The engine is usable, and the sequence of 70 tokens is as it was.
void expect_unchanged(Engine* engine, SequenceId id) {
  EXPECT_EQ(*engine->sequence_length(id), 70);
  const auto fresh = make_engine();
  const SequenceId same = sequence_of(fresh.get(), 0, 70);
  const Step step = step_of(id, tokens(70, 20));
  EXPECT_TRUE(forward(engine, step) == forward(fresh.get(), step_of(same, tokens(70, 20))));
  EXPECT_TRUE(engine->release_sequence(id).ok());
  EXPECT_EQ(engine->memory().n_free_pages, engine->memory().n_pages);
}

TEST(Hooks, MayThrowFromLogits) {
  const auto engine = make_engine();
  const SequenceId id = sequence_of(engine.get(), 0, 70);
  ForwardHooks hooks;
  hooks.logits = [](const LogitsRow& row) {
    if (row.position == 75) throw HookFailed();
  };
  const Step step = step_of(id, tokens(200, 64));
  EXPECT_THROW((void)engine->forward({&step, 1}, hooks), HookFailed);
  EXPECT_THROW((void)engine->prefill(id, tokens(200, 64), hooks, RowsWanted::kAll), HookFailed);
  hooks.logits = [](const LogitsRow&) { throw HookFailed(); };
  EXPECT_THROW((void)engine->decode(id, 5, hooks), HookFailed);
  expect_unchanged(engine.get(), id);
}

TEST(Hooks, MayThrowFromSelectionsOfAnyLayerAndHiddenRows) {
  const auto engine = make_engine();
  const SequenceId id = sequence_of(engine.get(), 0, 70);
  const Step step = step_of(id, tokens(200, 64));
  for (int64_t layer = 0; layer < family().model()->config().n_layers; ++layer) {
    ForwardHooks hooks;
    hooks.selection = [layer](const SelectionRow& row) {
      if (row.layer == layer && row.position == 90) throw HookFailed();
    };
    EXPECT_THROW((void)engine->forward({&step, 1}, hooks), HookFailed);
  }
  ForwardHooks hooks;
  hooks.hidden = [](const HiddenRow&) { throw HookFailed(); };
  Result<Pass> pass = engine->begin({&step, 1}, hooks);
  ASSERT_TRUE(pass.ok());
  for (size_t i = 0; i + 1 < n_pieces(); ++i)
    EXPECT_TRUE(pass->advance());
  EXPECT_THROW(pass->advance(), HookFailed);
  EXPECT_FALSE(pass->under_way());
  EXPECT_FALSE(pass->advance());
  expect_unchanged(engine.get(), id);
}

TEST(Hooks, LeaveAnotherPassAloneWhenTheyThrow) {
  const auto engine = make_engine();
  const SequenceId id = sequence_of(engine.get(), 0, 70);
  const SequenceId other = sequence_of(engine.get(), 100, 30);
  Record record;
  Pass pass = begin(engine.get(), step_of(other, tokens(130, 40)), &record);
  ForwardHooks hooks;
  hooks.logits = [](const LogitsRow&) { throw HookFailed(); };
  while (pass.advance()) {
    EXPECT_THROW((void)engine->decode(id, 5, hooks), HookFailed);
  }
  const SequenceId same = sequence_of(engine.get(), 100, 30);
  EXPECT_TRUE(record == forward(engine.get(), step_of(same, tokens(130, 40))));
  EXPECT_TRUE(engine->release_sequence(same).ok());
  EXPECT_TRUE(engine->release_sequence(other).ok());
  expect_unchanged(engine.get(), id);
}

TEST(Hooks, MayDropTheirPassAndCannotAdvanceIt) {
  const auto engine = make_engine();
  const SequenceId id = sequence_of(engine.get(), 0, 70);
  const Step step = step_of(id, tokens(200, 64));
  std::optional<Pass> pass;
  int calls = 0;
  ForwardHooks hooks;
  hooks.selection = [&](const SelectionRow& row) {
    if (row.layer != 1 || ++calls != 1) return;
    EXPECT_FALSE(pass->advance());
    EXPECT_TRUE(pass->under_way());
    pass.reset();
    EXPECT_FALSE(engine->release_sequence(id).ok());  // until the piece has ended
  };
  pass.emplace(std::move(engine->begin({&step, 1}, hooks)).value());
  EXPECT_TRUE(pass->advance());
  EXPECT_TRUE(pass->advance());
  EXPECT_FALSE(pass->advance());
  EXPECT_FALSE(pass.has_value());
  expect_unchanged(engine.get(), id);
}

TEST(Hooks, MayComputeOtherSequences) {
  const auto engine = make_engine();
  const SequenceId id = sequence_of(engine.get(), 0, 70);
  const SequenceId other = sequence_of(engine.get(), 100, 30);
  std::vector<float> inner;
  ForwardHooks hooks;
  hooks.logits = [&](const LogitsRow&) {
    const auto logits = engine->decode(other, 5);
    ASSERT_TRUE(logits.ok()) << logits.status().message();
    inner.assign(logits->begin(), logits->end());
  };
  // The logits of the outer decode() are its own, whatever its hook computes.
  const auto outer = engine->decode(id, 9, hooks);
  ASSERT_TRUE(outer.ok());
  const std::vector<float> got(outer->begin(), outer->end());
  const auto fresh = make_engine();
  const auto want = fresh->decode(sequence_of(fresh.get(), 0, 70), 9);
  EXPECT_EQ(got, std::vector<float>(want->begin(), want->end()));
  const auto want_inner = fresh->decode(sequence_of(fresh.get(), 100, 30), 5);
  EXPECT_EQ(inner, std::vector<float>(want_inner->begin(), want_inner->end()));
}

TEST(Pass, KeepsItsSequencesFromOtherUse) {
  const auto engine = make_engine(4);
  const SequenceId id = sequence_of(engine.get(), 0, 70);
  const SequenceId other = sequence_of(engine.get(), 100, 30);
  Record record;
  Pass pass = begin(engine.get(), step_of(id, tokens(70, 20)), &record);
  const std::string computed = "sequence 0: a pass that is under way computes it, want another";
  EXPECT_EQ(engine->decode(id, 1).status().message(), computed);
  EXPECT_EQ(engine->prefill(id, tokens(0, 2), {}).message(), computed);
  EXPECT_EQ(engine->release_sequence(id).message(), computed);
  EXPECT_EQ(engine->fork_sequence(id).status().message(), computed);
  EXPECT_EQ(engine->hold_page(id, 0).status().message(), computed);
  const Step large = step_of(other, tokens(0, 5));
  EXPECT_THAT(engine->forward({&large, 1}, {}).message(),
              HasSubstr("5 tokens, want at most 4 while another pass is under way"));
  Pass second = begin(engine.get(), step_of(other, tokens(130, 4)), &record);
  const SequenceId third = *engine->create_sequence();
  EXPECT_EQ(engine->decode(third, 1).status().message(),
            "passes under way: 3, want at most 2 with max_interleaved_tokens 4");
}

TEST(Pass, IsAloneWithoutTheOptionForAnother) {
  const auto engine = make_engine(0);
  const SequenceId other = sequence_of(engine.get(), 100, 30);
  Record record;
  Pass pass = begin(engine.get(), step_of(*engine->create_sequence(), tokens(0, 20)), &record);
  EXPECT_EQ(engine->decode(other, 1).status().message(),
            "passes under way: 2, want at most 1 with max_interleaved_tokens 0");
  while (pass.advance()) {
  }
  EXPECT_TRUE(engine->decode(other, 1).ok());
}

TEST(Pass, CanBeMoved) {
  const auto engine = make_engine(4);
  const SequenceId id = sequence_of(engine.get(), 0, 70);
  const SequenceId other = sequence_of(engine.get(), 100, 30);
  Record record, dropped;
  Pass from = begin(engine.get(), step_of(id, tokens(70, 20)), &record);
  Pass to = begin(engine.get(), step_of(other, tokens(130, 4)), &dropped);
  to = std::move(from);
  EXPECT_TRUE(engine->release_sequence(other).ok());  // its pass was dropped
  EXPECT_FALSE(from.under_way());  // NOLINT(bugprone-use-after-move): what is promised of it
  while (to.advance()) {
  }
  EXPECT_EQ(*engine->sequence_length(id), 90);
}

}  // namespace
}  // namespace dsa
