#include "cache/disk_tier.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "cache/disk_folders.h"
#include "cache/page_file.h"
#include "common/status_macros.h"

namespace dsa {

namespace {

// After a write failed, others would: a full disk is asked again no sooner.
constexpr std::chrono::seconds kRetryAfter(1);

// Makes the time of use survive the process.
void touch(const std::string& folder, const PageKey& key) {
  ::utimensat(AT_FDCWD, (folder + "/" + page_file_name(key)).c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

Status make_folder(const std::string& path, std::filesystem::perms perms) {
  std::error_code failure;
  if (std::filesystem::create_directories(path, failure)) {
    std::filesystem::permissions(path, perms, failure);
  }
  if (!failure) return {};
  return error(StatusCode::kIoError, "disk cache {}: cannot create: {}", path, failure.message());
}

}  // namespace

DiskTier::DiskTier(const DiskCacheOptions& options, int64_t page_bytes)
    : options_(options), file_bytes_(page_bytes + kPageFileHeaderBytes) {}

Result<std::unique_ptr<DiskTier>> DiskTier::open(const DiskCacheOptions& options,
                                                 const std::string& identity,
                                                 const std::string& description,
                                                 int64_t page_bytes) {
  std::unique_ptr<DiskTier> tier(new DiskTier(options, page_bytes));
  DSA_RETURN_IF_ERROR(make_folder(options.dir, std::filesystem::perms::owner_all));
  DSA_RETURN_IF_ERROR(tier->lock());
  DSA_RETURN_IF_ERROR(tier->add_own_folder(identity, description));
  DSA_RETURN_IF_ERROR(tier->index_folders());
  tier->start();
  return tier;
}

Status DiskTier::lock() {
  const std::string path = options_.dir + "/lock";
  lock_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) {
    return error(StatusCode::kIoError, "{}: cannot create: {}", path, std::strerror(errno));
  }
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno == EWOULDBLOCK) {
    return error(StatusCode::kResourceExhausted, "{}: locked by another process", path);
  }
  return error(StatusCode::kIoError, "{}: cannot lock: {}", path, std::strerror(errno));
}

Status DiskTier::add_own_folder(const std::string& identity, const std::string& description) {
  folders_.push_back(options_.dir + "/" + identity);
  DSA_RETURN_IF_ERROR(make_folder(folders_.front(), std::filesystem::perms::owner_all));
  // For people; a disk too full for it is no reason not to start.
  std::ofstream(folders_.front() + "/" + kAboutFile) << description << '\n';
  return {};
}

Status DiskTier::index_folders() {
  DSA_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_identities(options_.dir));
  for (const std::string& name : names) {
    const std::string path = options_.dir + "/" + name;
    if (path != folders_.front()) folders_.push_back(path);
  }
  struct Found {
    int64_t used_ns;
    File file;
  };
  std::vector<Found> found;
  for (size_t i = 0; i < folders_.size(); ++i) {
    remove_unfinished(folders_[i]);
    const auto files = scan_page_files(folders_[i]);
    if (!files.ok()) continue;  // a stranger's folder that cannot be read takes no part
    for (const PageFile& file : *files)
      found.push_back({file.used_ns, {file.key, i, file.bytes}});
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return std::tie(a.used_ns, a.file.key) < std::tie(b.used_ns, b.file.key);
  });
  for (const Found& one : found)
    add(one.file);
  std::vector<std::string> removed;  // where the bound has become smaller
  make_room(0, &removed);
  for (const std::string& path : removed)
    ::unlink(path.c_str());
  return {};
}

void DiskTier::start() {
  writer_ = std::thread([this] { run(); });
}

DiskTier::~DiskTier() {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

bool DiskTier::present(const PageKey& key) const {
  return pending_.count(key) != 0 || by_key_.count(key) != 0;
}

bool DiskTier::contains(const PageKey& key) const {
  const std::lock_guard<std::mutex> hold(mutex_);
  return present(key);
}

bool DiskTier::wants(const PageKey& key) {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (present(key)) return false;
  if (room() && std::chrono::steady_clock::now() >= retry_) return true;
  ++stats_.dropped;
  return false;
}

bool DiskTier::room() const {
  return stats_.pending_bytes + file_bytes_ - kPageFileHeaderBytes <= options_.max_pending_bytes;
}

bool DiskTier::has_room() const {
  const std::lock_guard<std::mutex> hold(mutex_);
  return room();
}

void DiskTier::write(const PageKey& key, std::vector<uint8_t> content) {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (present(key)) return;
    if (!room()) {
      ++stats_.dropped;
      return;
    }
    stats_.pending_bytes += static_cast<int64_t>(content.size());
    pending_[key] = std::make_shared<const std::vector<uint8_t>>(std::move(content));
    queue_.push_back(key);
  }
  changed_.notify_all();
}

bool DiskTier::read(const PageKey& key, std::span<uint8_t> content) {
  std::unique_lock<std::mutex> hold(mutex_);
  const auto waiting = pending_.find(key);
  if (waiting != pending_.end() && waiting->second->size() == content.size()) {
    ++stats_.hits;
    std::copy(waiting->second->begin(), waiting->second->end(), content.begin());
    return true;
  }
  if (!present(key)) {
    ++stats_.misses;
    return false;
  }
  hold.unlock();
  const Status status = read_page_file(folders_.front(), key, content);
  hold.lock();
  const auto found = by_key_.find(key);  // it may have been evicted meanwhile
  if (status.ok()) {
    ++stats_.hits;
    if (found != by_key_.end()) files_.splice(files_.end(), files_, found->second);
    hold.unlock();
    touch(folders_.front(), key);
    return true;
  }
  ++(status.code() == StatusCode::kNotFound ? stats_.misses : stats_.errors);
  if (found != by_key_.end()) drop(found->second);
  hold.unlock();
  // A page that is not as it was written would be found so again.
  ::unlink((folders_.front() + "/" + page_file_name(key)).c_str());
  return false;
}

void DiskTier::flush() {
  std::unique_lock<std::mutex> hold(mutex_);
  changed_.wait(hold, [this] { return pending_.empty(); });
}

DiskCacheStats DiskTier::stats() const {
  const std::lock_guard<std::mutex> hold(mutex_);
  return stats_;
}

void DiskTier::add(const File& file) {
  const auto place = files_.insert(files_.end(), file);
  stats_.bytes += file.bytes;
  if (file.folder != 0) return;
  by_key_[file.key] = place;
  ++stats_.n_pages;
}

void DiskTier::drop(Files::iterator place) {
  stats_.bytes -= place->bytes;
  if (place->folder == 0) {
    by_key_.erase(place->key);
    --stats_.n_pages;
  }
  files_.erase(place);
}

bool DiskTier::make_room(int64_t n_bytes, std::vector<std::string>* removed) {
  while (stats_.bytes + n_bytes > options_.max_bytes && !files_.empty()) {
    const File oldest = files_.front();
    drop(files_.begin());
    removed->push_back(folders_[oldest.folder] + "/" + page_file_name(oldest.key));
    ++stats_.evictions;
  }
  return stats_.bytes + n_bytes <= options_.max_bytes;
}

void DiskTier::run() {
  std::unique_lock<std::mutex> hold(mutex_);
  for (;;) {
    changed_.wait(hold, [this] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const PageKey key = queue_.front();
    queue_.pop_front();
    const Content content = pending_.at(key);
    std::vector<std::string> removed;
    const bool fits =
        std::chrono::steady_clock::now() >= retry_ && make_room(file_bytes_, &removed);
    Status status;
    hold.unlock();
    for (const std::string& path : removed)
      ::unlink(path.c_str());
    if (fits) {
      status = write_page_file(folders_.front(), key, *content);
      if (status.code() == StatusCode::kNotFound) {  // the folder was purged
        status = make_folder(folders_.front(), std::filesystem::perms::owner_all);
        if (status.ok()) status = write_page_file(folders_.front(), key, *content);
      }
    }
    hold.lock();
    if (!fits) {
      ++stats_.dropped;
    } else if (!status.ok()) {
      ++stats_.errors;
      retry_ = std::chrono::steady_clock::now() + kRetryAfter;
    } else {
      add({key, 0, file_bytes_});
      ++stats_.writes;
    }
    pending_.erase(key);
    stats_.pending_bytes -= static_cast<int64_t>(content->size());
    changed_.notify_all();
  }
}

}  // namespace dsa
