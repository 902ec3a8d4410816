// Planes of states beside planes of entries, through all that can become of a sequence: forked, cut
// off, gone on from pages of a prefix cache, from pages on disk.
#include <gmock/gmock.h>

#include <cstring>
#include <numeric>

#include "dsa/disk_cache.h"

#include "cache/disk_tier.h"
#include "cache/prefix_cache.h"
#include "cache/sequence.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using testing::HasSubstr;

using Sizes = std::initializer_list<size_t>;

constexpr int64_t kPool = 4;  // tokens of a pooled entry

// What a layer with a recurrence and with pooled entries carries from token to token.
struct State {
  uint64_t recurrence = 0;
  uint64_t open_pool = 0;  // of the tokens since the last whole one
};

// Such a layer. A token's entry says what the recurrence has come to, so that it depends on every
// token before.
class Layer {
 public:
  explicit Layer(int64_t n_pages, int64_t page_tokens = 16) {
    PagePoolOptions options;
    options.page_tokens = page_tokens;
    options.n_pages = n_pages;
    const auto n = static_cast<size_t>(page_tokens);
    options.planes = {{0, "entries", 1, n * sizeof(uint64_t)},
                      {0, "state", 1, 0, sizeof(State)},
                      {0, "pooled", kPool, n / kPool * sizeof(uint64_t)}};
    auto made = PagePool::create(options);
    EXPECT_TRUE(made.ok()) << made.status().message();
    pool_.emplace(std::move(made).value());
  }

  PagePool* pool() { return &*pool_; }

  void append(SequencePages* sequence, std::span<const int32_t> tokens) {
    const auto n = static_cast<int64_t>(tokens.size());
    ASSERT_TRUE(sequence->reserve(pool(), n).ok());
    for (int64_t i = 0; i < n; ++i)
      store(*sequence, sequence->length() + i, tokens[static_cast<size_t>(i)]);
    sequence->commit(n);
  }

  // All that the layer would read of the sequence.
  std::vector<uint64_t> content(const SequencePages& sequence) {
    std::vector<uint64_t> all;
    for (int64_t t = 0; t < sequence.length(); ++t) {
      all.push_back(value(entry("entries", sequence, t, 1)));
      if ((t + 1) % kPool == 0) all.push_back(value(entry("pooled", sequence, t, kPool)));
    }
    const State state = state_after(sequence, sequence.length());
    all.push_back(state.recurrence);
    all.push_back(state.open_pool);
    return all;
  }

 private:
  void store(const SequencePages& sequence, int64_t t, int32_t token) {
    State state = state_after(sequence, t);
    state.recurrence = state.recurrence * 31 + static_cast<uint64_t>(token) + 1;
    state.open_pool += static_cast<uint64_t>(token);
    std::memcpy(entry("entries", sequence, t, 1), &state.recurrence, sizeof(uint64_t));
    if ((t + 1) % kPool == 0) {
      std::memcpy(entry("pooled", sequence, t, kPool), &state.open_pool, sizeof(uint64_t));
      state.open_pool = 0;
    }
    const int32_t page = state_page(pool()->page(), sequence.pages(), t + 1);
    std::memcpy(pool()->plane(0, "state").page(page), &state, sizeof(state));
  }

  State state_after(const SequencePages& sequence, int64_t length) {
    State state;
    if (length == 0) return state;
    const int32_t page = state_page(pool()->page(), sequence.pages(), length);
    std::memcpy(&state, pool()->plane(0, "state").page(page), sizeof(state));
    return state;
  }

  uint8_t* entry(const char* plane, const SequencePages& sequence, int64_t t, int64_t per_entry) {
    const PageSize size = pool()->page();
    const auto token = static_cast<size_t>(t);
    const int32_t page = sequence.pages()[size.page(token)];
    return pool()->plane(0, plane).page(page) +
           size.slot(token) / static_cast<size_t>(per_entry) * sizeof(uint64_t);
  }

  static uint64_t value(const uint8_t* bytes) {
    uint64_t value = 0;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }

  std::optional<PagePool> pool_;
};

std::vector<int32_t> numbers(int32_t first, size_t n) {
  std::vector<int32_t> tokens(n);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

std::vector<int32_t> joined(std::vector<int32_t> tokens, const std::vector<int32_t>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

// What the tokens come to without any detour.
std::vector<uint64_t> computed(const std::vector<int32_t>& tokens) {
  Layer layer(20);
  SequencePages sequence;
  layer.append(&sequence, tokens);
  return layer.content(sequence);
}

TEST(SequenceState, GoesOnFromStepToStepAndFromPageToPage) {
  Layer layer(20);
  SequencePages sequence;
  size_t done = 0;
  for (const size_t n : Sizes{1, 15, 16, 7, 9, 1, 1, 20, 3}) {
    layer.append(&sequence, numbers(static_cast<int32_t>(done), n));
    done += n;
    EXPECT_EQ(layer.content(sequence), computed(numbers(0, done))) << done;
  }
}

TEST(SequenceState, OfAForkAndOfItsSourceGoTheirOwnWays) {
  for (const size_t n : Sizes{16, 21, 32}) {
    Layer layer(20);
    SequencePages first;
    layer.append(&first, numbers(0, n));
    SequencePages second = first.fork(layer.pool());
    layer.append(&second, numbers(100, 30));
    layer.append(&first, numbers(200, 3));
    EXPECT_EQ(layer.content(first), computed(joined(numbers(0, n), numbers(200, 3))));
    EXPECT_EQ(layer.content(second), computed(joined(numbers(0, n), numbers(100, 30))));
  }
}

TEST(SequenceState, ComesBackWhereASequenceIsCutAtTheEndOfAPage) {
  for (const int64_t length : {0, 16, 32, 40}) {
    Layer layer(20);
    SequencePages sequence;
    layer.append(&sequence, numbers(0, 40));
    SequencePages source = sequence.fork(layer.pool());
    ASSERT_TRUE(sequence.truncate(layer.pool(), length).ok());
    EXPECT_EQ(sequence.length(), length);
    layer.append(&sequence, numbers(100, 20));
    EXPECT_EQ(layer.content(sequence),
              computed(joined(numbers(0, static_cast<size_t>(length)), numbers(100, 20))));
    EXPECT_EQ(layer.content(source), computed(numbers(0, 40)));
  }
}

TEST(SequenceState, IsNotKeptInsideAPage) {
  Layer layer(20);
  SequencePages sequence;
  layer.append(&sequence, numbers(0, 40));
  const std::vector<uint64_t> before = layer.content(sequence);
  for (const int64_t length : {1, 15, 33, 39}) {
    const Status status = sequence.truncate(layer.pool(), length);
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    EXPECT_THAT(status.message(), HasSubstr("want 40 or a multiple of 16"));
  }
  EXPECT_EQ(layer.content(sequence), before);
  SequencePages other;
  const Status status = other.append_page(layer.pool(), sequence.pages()[0], 5);
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_THAT(status.message(), HasSubstr("n_tokens: 5, want 16"));
  EXPECT_EQ(other.length(), 0);
}

TEST(SequenceState, GoesOnFromThePagesOfAPrefixCache) {
  Layer layer(20);
  const std::vector<int32_t> prompt = numbers(0, 40);
  const std::vector<PageKey> keys = page_keys({}, prompt, 16);
  ASSERT_EQ(keys.size(), 2U);
  PrefixCache cache;
  SequencePages first;
  layer.append(&first, prompt);
  for (size_t i = 0; i < keys.size(); ++i) {
    layer.pool()->numbers().share(first.pages()[i]);
    cache.insert(keys[i], first.pages()[i]);
  }
  first.release(layer.pool());

  SequencePages second;
  for (const PageKey& key : keys)
    ASSERT_TRUE(second.append_page(layer.pool(), *cache.use(key), 16).ok());
  layer.append(&second, numbers(500, 11));
  EXPECT_EQ(layer.content(second), computed(joined(numbers(0, 32), numbers(500, 11))));
  ASSERT_TRUE(second.truncate(layer.pool(), 16).ok());
  layer.append(&second, numbers(600, 5));
  EXPECT_EQ(layer.content(second), computed(joined(numbers(0, 16), numbers(600, 5))));
}

TEST(SequenceState, GoesOnFromThePagesOfADisk) {
  const TempDir dir;
  DiskCacheOptions options;
  options.dir = dir.path();
  const std::vector<PageKey> keys = page_keys({}, numbers(0, 40), 16);
  {
    Layer layer(20);
    SequencePages sequence;
    layer.append(&sequence, numbers(0, 40));
    const size_t page_bytes = layer.pool()->memory().page_bytes();
    EXPECT_EQ(page_bytes, 16 * 8 + 4 * 8 + sizeof(State));
    auto tier = DiskTier::open(options, std::string(64, 'a'), "", static_cast<int64_t>(page_bytes));
    ASSERT_TRUE(tier.ok()) << tier.status().message();
    for (size_t i = 0; i < keys.size(); ++i) {
      std::vector<uint8_t> bytes(page_bytes);
      layer.pool()->memory().export_page(sequence.pages()[i], bytes.data());
      (*tier)->write(keys[i], std::move(bytes));
    }
  }
  Layer layer(20);
  PagePool* const pool = layer.pool();
  const size_t page_bytes = pool->memory().page_bytes();
  auto tier = DiskTier::open(options, std::string(64, 'a'), "", static_cast<int64_t>(page_bytes));
  ASSERT_TRUE(tier.ok()) << tier.status().message();
  SequencePages sequence;
  std::vector<int32_t> pages;
  ASSERT_TRUE(pool->numbers().acquire(5, &pages).ok());  // other pages than they were written from
  for (const PageKey& key : keys) {
    std::vector<uint8_t> bytes(page_bytes);
    ASSERT_TRUE((*tier)->read(key, bytes));
    ASSERT_TRUE(pool->numbers().acquire(1, &pages).ok());
    pool->memory().import_page(pages.back(), bytes.data());
    ASSERT_TRUE(sequence.append_page(pool, pages.back(), 16).ok());
  }
  layer.append(&sequence, numbers(500, 11));
  EXPECT_EQ(layer.content(sequence), computed(joined(numbers(0, 32), numbers(500, 11))));
}

TEST(SequenceState, DoesNotDependOnHowManyTokensAPageHolds) {
  for (const int64_t page_tokens : {16, 32, 64, 256}) {
    Layer layer(20, page_tokens);
    SequencePages sequence;
    layer.append(&sequence, numbers(0, 21));
    layer.append(&sequence, numbers(21, 60));
    EXPECT_EQ(layer.content(sequence), computed(numbers(0, 81))) << page_tokens;
  }
}

}  // namespace
}  // namespace dsa
