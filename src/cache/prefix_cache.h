// Which pages of the pool hold prefixes that may come again: a radix tree over tokens, page by
// page.
//
// A page's key stands for the path from the root to it (cache/page_key.h), so that one table of
// keys is the tree: the page after a prefix is looked up by the key of prefix and page together.
//
// Thread safety   one thread at a time.
// Invariants
//   1. A page that somebody uses stays.
//   2. Users take the pages of a prefix first to last and give them back last to first. So among
//      unused pages one is always older than those it continues, and evict() takes ends of paths.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>

#include "cache/page_key.h"

namespace dsa {

class PrefixCache {
 public:
  struct Entry {
    PageKey key;
    int32_t page = -1;
  };

  bool contains(const PageKey& key) const { return entries_.count(key) != 0; }
  bool in_use(const PageKey& key) const;

  // Adds a page that is not there yet, with the caller as its user.
  void insert(const PageKey& key, int32_t page);

  // The page, with one more user; nothing when it is not there.
  std::optional<int32_t> use(const PageKey& key);
  void unuse(const PageKey& key);  // without effect where it is not there

  // Takes out the page that has been unused longest; nothing when all are in use.
  std::optional<Entry> evict();

  // fn(key, page) for every page.
  template <class Fn>
  void for_each(Fn fn) const {
    for (const auto& [key, node] : entries_)
      fn(key, node.page);
  }

  int64_t n_pages() const { return static_cast<int64_t>(entries_.size()); }
  int64_t n_unused() const { return static_cast<int64_t>(unused_.size()); }

 private:
  using Unused = std::list<PageKey>;  // the oldest first

  struct Node {
    int32_t page = -1;
    int64_t n_users = 0;
    Unused::iterator place;  // where n_users == 0
  };

  std::unordered_map<PageKey, Node, PageKeyHash> entries_;
  Unused unused_;
};

}  // namespace dsa
