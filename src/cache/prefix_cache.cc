#include "cache/prefix_cache.h"

namespace dsa {

void PrefixCache::insert(const PageKey& key, int32_t page) {
  entries_[key] = {page, 1, {}};
}

std::optional<int32_t> PrefixCache::use(const PageKey& key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  Node& node = found->second;
  if (node.n_users++ == 0) unused_.erase(node.place);
  return node.page;
}

bool PrefixCache::in_use(const PageKey& key) const {
  const auto found = entries_.find(key);
  return found != entries_.end() && found->second.n_users > 0;
}

void PrefixCache::unuse(const PageKey& key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Node& node = found->second;
  if (--node.n_users == 0) node.place = unused_.insert(unused_.end(), key);
}

std::optional<PrefixCache::Entry> PrefixCache::evict() {
  if (unused_.empty()) return std::nullopt;
  const PageKey key = unused_.front();
  unused_.pop_front();
  const Entry evicted = {key, entries_.at(key).page};
  entries_.erase(key);
  return evicted;
}

}  // namespace dsa
