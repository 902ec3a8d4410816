// Sequences and pages of an engine: what is dropped, what outlives a sequence or leaves the pool.
#include "common/status_macros.h"
#include "engine/engine_impl.h"

namespace dsa {

namespace {

Status check_held(const PagePool& pool, PageId page) {
  if (page >= 0 && page < pool.numbers().n_pages() && pool.numbers().holders(page) > 0) return {};
  return error(StatusCode::kNotFound, "page {}: nobody holds it", page);
}

Status check_size(const PagePool& pool, size_t n_bytes) {
  if (n_bytes == pool.memory().page_bytes()) return {};
  return invalid_argument("page: {} bytes, want {}", n_bytes, pool.memory().page_bytes());
}

}  // namespace

Status Engine::truncate(SequenceId id, int64_t length) {
  DSA_ASSIGN_OR_RETURN(SequencePages* const sequence, impl_->find_idle(id));
  const Status status = sequence->truncate(&*impl_->pool, length);
  if (status.ok()) return status;
  return error(status.code(), "sequence {}: {}", id, status.message());
}

Result<PageId> Engine::hold_page(SequenceId id, int64_t index) {
  DSA_ASSIGN_OR_RETURN(const SequencePages* const sequence, impl_->find_idle(id));
  const int64_t n_pages = ceil_div(sequence->length(), impl_->options.page_tokens);
  if (index < 0 || index >= n_pages) {
    return invalid_argument("sequence {}: page {}, want one of its {}", id, index, n_pages);
  }
  const PageId page = sequence->pages()[static_cast<size_t>(index)];
  impl_->pool->numbers().share(page);
  return page;
}

Status Engine::drop_page(PageId page) {
  DSA_RETURN_IF_ERROR(check_held(*impl_->pool, page));
  impl_->pool->numbers().release(page);
  return {};
}

Status Engine::append_page(SequenceId id, PageId page) {
  return append_page(id, page, impl_->options.page_tokens);
}

Status Engine::append_page(SequenceId id, PageId page, int64_t n_tokens) {
  const int64_t page_tokens = impl_->options.page_tokens;
  DSA_ASSIGN_OR_RETURN(SequencePages* const sequence, impl_->find_idle(id));
  DSA_RETURN_IF_ERROR(check_held(*impl_->pool, page));
  if (n_tokens < 1 || n_tokens > page_tokens) {
    return invalid_argument("n_tokens: {}, want 1 to {}", n_tokens, page_tokens);
  }
  if (sequence->length() % page_tokens != 0) {
    return invalid_argument("sequence {}: {} tokens, want a multiple of {} to append a page to", id,
                            sequence->length(), page_tokens);
  }
  return sequence->append_page(&*impl_->pool, page, n_tokens);
}

int64_t Engine::page_bytes() const {
  return static_cast<int64_t>(impl_->pool->memory().page_bytes());
}

Status Engine::export_page(PageId page, std::span<uint8_t> bytes) const {
  DSA_RETURN_IF_ERROR(check_held(*impl_->pool, page));
  DSA_RETURN_IF_ERROR(check_size(*impl_->pool, bytes.size()));
  impl_->pool->memory().export_page(page, bytes.data());
  return {};
}

Result<PageId> Engine::import_page(std::span<const uint8_t> bytes) {
  DSA_RETURN_IF_ERROR(check_size(*impl_->pool, bytes.size()));
  std::vector<PageId> page;
  DSA_RETURN_IF_ERROR(impl_->pool->numbers().acquire(1, &page));
  impl_->pool->memory().import_page(page.front(), bytes.data());
  return page.front();
}

}  // namespace dsa
