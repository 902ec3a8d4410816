#include "cache/prefix_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <set>

namespace dsa {
namespace {

TEST(PageKeys, DependOnTheRootAndEveryTokenUpToThePagesLast) {
  const std::vector<int32_t> tokens(200, 7);
  const std::vector<PageKey> keys = page_keys({}, tokens, 64);
  ASSERT_EQ(keys.size(), 3U);
  EXPECT_EQ(std::set<PageKey>(keys.begin(), keys.end()).size(), 3U);
  for (const size_t changed : {0U, 63U, 64U, 130U, 199U}) {
    std::vector<int32_t> other = tokens;
    other[changed] = 8;
    const std::vector<PageKey> others = page_keys({}, other, 64);
    for (size_t page = 0; page < 3; ++page)
      EXPECT_EQ(keys[page] == others[page], page < changed / 64);
  }
  EXPECT_NE(page_keys({1}, tokens, 64)[0], keys[0]);
  EXPECT_TRUE(page_keys({}, std::span(tokens).first(63), 64).empty());
}

// Few documents over few tokens, so that they share beginnings.
std::vector<PageKey> document(int number) {
  std::vector<int32_t> tokens;
  for (int page = 0; page < 4; ++page, number /= 2)
    tokens.insert(tokens.end(), 64, number % 2);
  return page_keys({}, tokens, 64);
}

// What the cache is to do, said in the plainest way: a map, and a clock.
struct SimpleModel {
  struct Page {
    int32_t page;
    int users;
    int unused_since;
  };
  std::map<PageKey, Page> pages;
  int clock = 0;

  std::optional<PageKey> oldest_unused() const {
    std::optional<PageKey> oldest;
    for (const auto& [key, page] : pages) {
      if (page.users > 0) continue;
      if (!oldest || page.unused_since < pages.at(*oldest).unused_since) oldest = key;
    }
    return oldest;
  }
};

TEST(PrefixCache, DoesWhatASimpleModelDoes) {
  const bool ok = rc::check("prefix cache", [] {
    PrefixCache cache;
    SimpleModel model;
    std::vector<std::pair<int, size_t>> readers;  // document, pages in use
    int32_t next_page = 0;
    const auto commands = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 1000));
    for (const int command : commands) {
      switch (command % 3) {
        case 0: {  // read a document: use what is there, insert the rest
          const int number = command / 3 % 16;
          for (const PageKey& key : document(number)) {
            const auto page = cache.use(key);
            const auto known = model.pages.find(key);
            RC_ASSERT(page.has_value() == (known != model.pages.end()));
            if (page) {
              RC_ASSERT(*page == known->second.page);
              ++known->second.users;
            } else {
              cache.insert(key, next_page);
              model.pages[key] = {next_page++, 1, 0};
            }
            RC_ASSERT(cache.contains(key) && cache.in_use(key));
          }
          readers.emplace_back(number, 4);
          break;
        }
        case 1: {  // a reader ends
          if (readers.empty()) break;
          const auto reader = readers.begin() + command / 3 % static_cast<int>(readers.size());
          const std::vector<PageKey> keys = document(reader->first);
          for (size_t i = keys.size(); i-- > 0;) {
            cache.unuse(keys[i]);
            SimpleModel::Page& page = model.pages.at(keys[i]);
            if (--page.users == 0) page.unused_since = ++model.clock;
          }
          readers.erase(reader);
          break;
        }
        default: {  // the pool wants a page
          const auto evicted = cache.evict();
          const auto expected = model.oldest_unused();
          RC_ASSERT(evicted.has_value() == expected.has_value());
          if (!evicted) break;
          RC_ASSERT(evicted->key == *expected);
          RC_ASSERT(evicted->page == model.pages.at(*expected).page);
          model.pages.erase(*expected);
        }
      }
      RC_ASSERT(cache.n_pages() == static_cast<int64_t>(model.pages.size()));
      const auto unused = std::count_if(model.pages.begin(), model.pages.end(),
                                        [](const auto& one) { return one.second.users == 0; });
      RC_ASSERT(cache.n_unused() == unused);
    }
    // Whatever is left of a document is its beginning: pages after a gap would be of no use.
    for (int number = 0; number < 16; ++number) {
      bool gap = false;
      for (const PageKey& key : document(number)) {
        RC_ASSERT(!gap || !cache.contains(key));
        gap = gap || !cache.contains(key);
      }
    }
  });
  EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace dsa
