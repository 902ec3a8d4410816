// Pages of an engine that outlive a sequence, or leave the pool.
#include "common/status_macros.h"
#include "engine/engine_impl.h"

namespace dsa {

namespace {

static_assert(kTokensPerPage == int64_t{kPageTokens});

Status check_held(const PagePool& pool, PageId page) {
  if (page >= 0 && page < pool.n_pages() && pool.holders(page) > 0) return {};
  return error(StatusCode::kNotFound, "page {}: nobody holds it", page);
}

Status check_size(const PagePool& pool, size_t n_bytes) {
  if (n_bytes == pool.page_bytes()) return {};
  return invalid_argument("page: {} bytes, want {}", n_bytes, pool.page_bytes());
}

}  // namespace

Result<PageId> Engine::hold_page(SequenceId id, int64_t index) {
  DSA_ASSIGN_OR_RETURN(const SequencePages* const sequence, impl_->find_idle(id));
  const int64_t n_pages = ceil_div(sequence->length(), kTokensPerPage);
  if (index < 0 || index >= n_pages) {
    return invalid_argument("sequence {}: page {}, want one of its {}", id, index, n_pages);
  }
  const PageId page = sequence->pages()[static_cast<size_t>(index)];
  impl_->pool->share(page);
  return page;
}

Status Engine::drop_page(PageId page) {
  DSA_RETURN_IF_ERROR(check_held(*impl_->pool, page));
  impl_->pool->release(page);
  return {};
}

Status Engine::append_page(SequenceId id, PageId page, int64_t n_tokens) {
  DSA_ASSIGN_OR_RETURN(SequencePages* const sequence, impl_->find_idle(id));
  DSA_RETURN_IF_ERROR(check_held(*impl_->pool, page));
  if (n_tokens < 1 || n_tokens > kTokensPerPage) {
    return invalid_argument("n_tokens: {}, want 1 to {}", n_tokens, kTokensPerPage);
  }
  if (sequence->length() % kTokensPerPage != 0) {
    return invalid_argument("sequence {}: {} tokens, want a multiple of {} to append a page to", id,
                            sequence->length(), kTokensPerPage);
  }
  sequence->append_page(&*impl_->pool, page, n_tokens);
  return {};
}

int64_t Engine::page_bytes() const {
  return static_cast<int64_t>(impl_->pool->page_bytes());
}

Status Engine::export_page(PageId page, std::span<uint8_t> bytes) const {
  DSA_RETURN_IF_ERROR(check_held(*impl_->pool, page));
  DSA_RETURN_IF_ERROR(check_size(*impl_->pool, bytes.size()));
  impl_->pool->export_page(page, bytes.data());
  return {};
}

Result<PageId> Engine::import_page(std::span<const uint8_t> bytes) {
  DSA_RETURN_IF_ERROR(check_size(*impl_->pool, bytes.size()));
  std::vector<PageId> page;
  DSA_RETURN_IF_ERROR(impl_->pool->acquire(1, &page));
  impl_->pool->import_page(page.front(), bytes.data());
  return page.front();
}

}  // namespace dsa
