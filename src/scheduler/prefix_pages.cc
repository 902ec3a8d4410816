#include "scheduler/prefix_pages.h"

namespace dsa::scheduler {

namespace {

// Calls that fail only on a mistake of this library's own: the page is then as good as not there.
bool done(const Status& status) {
  return status.ok();
}

}  // namespace

PrefixPages::PrefixPages(Engine* engine, std::unique_ptr<DiskTier> disk)
    : engine_(engine), disk_(std::move(disk)) {
  if (disk_) bytes_.resize(static_cast<size_t>(engine->page_bytes()));
}

bool PrefixPages::attach(SequenceId sequence,
                         const PageKey& key,
                         Source source,
                         int64_t n_reserved) {
  std::optional<int32_t> page = cache_.use(key);
  if (!page && source == Source::kPoolAndDisk && load(key, n_reserved)) page = cache_.use(key);
  if (!page) return false;
  if (done(engine_->append_page(sequence, *page))) return true;
  cache_.unuse(key);
  return false;
}

bool PrefixPages::load(const PageKey& key, int64_t n_reserved) {
  if (!disk_ || !disk_->read(key, bytes_) || !make_room(n_reserved + 1)) return false;
  const Result<PageId> page = engine_->import_page(bytes_);
  if (!page.ok()) return false;
  cache_.insert(key, *page);
  cache_.unuse(key);
  return true;
}

void PrefixPages::keep(SequenceId sequence, int64_t index, const PageKey& key) {
  if (cache_.use(key)) return;  // computed by two at the same time; theirs is the same
  const Result<PageId> page = engine_->hold_page(sequence, index);
  if (!page.ok()) return;
  cache_.insert(key, *page);
  save_page(key, *page);
}

bool PrefixPages::make_room(int64_t n) {
  while (engine_->memory().n_free_pages < n) {
    const std::optional<PrefixCache::Entry> oldest = cache_.evict();
    if (!oldest) return false;
    save_page(oldest->key, oldest->page);
    ++n_evictions_;
    if (!done(engine_->drop_page(oldest->page))) return false;
  }
  return true;
}

int64_t PrefixPages::n_available() const {
  return engine_->memory().n_free_pages + cache_.n_unused();
}

void PrefixPages::save_page(const PageKey& key, PageId page) {
  if (!disk_ || !disk_->wants(key)) return;
  std::vector<uint8_t> bytes(static_cast<size_t>(engine_->page_bytes()));
  if (done(engine_->export_page(page, bytes))) disk_->write(key, std::move(bytes));
}

void PrefixPages::save() {
  if (!disk_) return;
  cache_.for_each([this](const PageKey& key, int32_t page) {
    if (!disk_->has_room()) disk_->flush();
    save_page(key, page);
  });
}

void PrefixPages::flush() {
  if (disk_) disk_->flush();
}

void PrefixPages::add_to(SchedulerStats* stats) const {
  stats->n_pages = engine_->memory().n_pages;
  stats->n_free_pages = engine_->memory().n_free_pages;
  stats->n_cached_pages = cache_.n_pages();
  stats->n_evictable_pages = cache_.n_unused();
  stats->evictions_total = n_evictions_;
}

DiskCacheStats PrefixPages::disk_stats() const {
  return disk_ ? disk_->stats() : DiskCacheStats();
}

}  // namespace dsa::scheduler
