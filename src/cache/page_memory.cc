#include "cache/page_memory.h"

#include <cstring>
#include <limits>

#include "common/math.h"
#include "common/status_macros.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

namespace {

constexpr const char* kUse = "cache";
constexpr size_t kAlignment = 64;  // of each plane

class HostMemory : public PageMemory {
 public:
  static Result<std::unique_ptr<PageMemory>> create(std::span<const Plane> planes,
                                                    size_t n_pages,
                                                    bool resident) {
    auto memory = std::make_unique<HostMemory>();
    uint64_t end = 0;
    for (const Plane& plane : planes) {
      memory->parts_.push_back({end, plane.stride()});
      memory->page_bytes_ += plane.stride();
      const std::optional<uint64_t> bytes = checked_mul(plane.stride(), n_pages);
      constexpr uint64_t kMost = std::numeric_limits<int64_t>::max() - kAlignment;
      if (!bytes || *bytes > kMost - end) {
        return error(StatusCode::kResourceExhausted,
                     "{} of layer {}: {} pages of {} bytes do not fit in memory", plane.name,
                     plane.layer, n_pages, plane.stride());
      }
      end = round_up<uint64_t>(end + *bytes, kAlignment);
    }
    DSA_ASSIGN_OR_RETURN(memory->buffer_, AlignedBuffer::allocate(end, kUse));
    if (resident) DSA_RETURN_IF_ERROR(memory->buffer_.make_resident(kUse));
    return std::unique_ptr<PageMemory>(std::move(memory));
  }

  size_t page_bytes() const override { return page_bytes_; }

  void copy_page(int32_t from, int32_t to) override {
    for (size_t i = 0; i < parts_.size(); ++i)
      std::memcpy(plane(i).page(to), plane(i).page(from), parts_[i].stride);
  }

  void export_page(int32_t page, uint8_t* bytes) const override {
    for (size_t i = 0; i < parts_.size(); bytes += parts_[i++].stride)
      std::memcpy(bytes, plane(i).page(page), parts_[i].stride);
  }

  void import_page(int32_t page, const uint8_t* bytes) override {
    for (size_t i = 0; i < parts_.size(); bytes += parts_[i++].stride)
      std::memcpy(plane(i).page(page), bytes, parts_[i].stride);
  }

  PlaneView plane(size_t index) const override {
    return {buffer_.data() + parts_[index].offset, parts_[index].stride};
  }

 private:
  struct Part {
    size_t offset;  // of the plane's first page
    size_t stride;  // bytes of one
  };

  std::vector<Part> parts_;
  size_t page_bytes_ = 0;
  AlignedBuffer buffer_;
};

}  // namespace

Result<std::unique_ptr<PageMemory>> make_host_memory(std::span<const Plane> planes,
                                                     int64_t n_pages,
                                                     bool resident) {
  return HostMemory::create(planes, static_cast<size_t>(n_pages), resident);
}

}  // namespace dsa
