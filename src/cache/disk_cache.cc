#include "dsa/disk_cache.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "cache/disk_folders.h"
#include "cache/page_file.h"
#include "cache/page_pool.h"
#include "common/status_macros.h"

namespace dsa {

namespace {

// about.txt, which anybody may have written: no more of it than is sensible.
std::string read_about(const std::string& folder) {
  constexpr size_t kMost = 2000;
  std::ifstream file(folder + "/" + kAboutFile);
  std::string text(kMost, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

// A folder made by a version whose pages were all of one size does not say it.
int64_t page_tokens_of(const std::string& about) {
  const std::string_view second = std::string_view(about).substr(about.find('\n') + 1);
  int64_t tokens = 0;
  if (second.starts_with(kPageTokensLine)) {
    const std::string_view digits = second.substr(kPageTokensLine.size());
    std::from_chars(digits.data(), digits.data() + digits.size(), tokens);
  }
  return tokens >= kMinPageTokens && tokens <= kMaxPageTokens ? tokens : kDefaultPageTokens;
}

void delete_folder(const std::string& folder) {
  remove_unfinished(folder);
  ::unlink((folder + "/" + kAboutFile).c_str());
  ::rmdir(folder.c_str());  // stays where something else lies in it
}

}  // namespace

Result<std::vector<DiskCacheEntry>> list_disk_cache(const std::string& dir) {
  DSA_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_identities(dir));
  std::vector<DiskCacheEntry> entries;
  for (const std::string& name : names) {
    const std::string folder = dir + "/" + name;
    DSA_ASSIGN_OR_RETURN(const std::vector<PageFile> files, scan_page_files(folder));
    DiskCacheEntry entry;
    entry.identity = name;
    const std::string about = read_about(folder);
    entry.description = about.substr(0, about.find('\n'));
    entry.page_tokens = page_tokens_of(about);
    for (const PageFile& file : files) {
      ++entry.n_pages;
      entry.bytes += file.bytes;
      entry.last_used = std::max(entry.last_used, file.used_ns / 1'000'000'000);
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<DiskCacheVerification> verify_disk_cache(const std::string& dir) {
  DSA_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_identities(dir));
  DiskCacheVerification result;
  for (const std::string& name : names) {
    const std::string folder = dir + "/" + name;
    DSA_ASSIGN_OR_RETURN(const std::vector<PageFile> files, scan_page_files(folder));
    for (const PageFile& file : files) {
      const auto checked = check_page_file(folder, file.key);
      if (checked.ok()) {
        ++result.n_pages;
        result.bytes += file.bytes;
      } else if (checked.status().code() != StatusCode::kNotFound) {  // evicted meanwhile
        result.bad.push_back(checked.status().message());
      }
    }
  }
  return result;
}

Result<int64_t> purge_disk_cache(const std::string& dir, const std::string& identity) {
  DSA_ASSIGN_OR_RETURN(std::vector<std::string> names, list_identities(dir));
  if (!identity.empty()) {
    if (std::find(names.begin(), names.end(), identity) == names.end()) {
      return error(StatusCode::kNotFound, "{}: no identity {:.80}", dir, identity);
    }
    names = {identity};
  }
  int64_t freed = 0;
  for (const std::string& name : names) {
    const std::string folder = dir + "/" + name;
    DSA_ASSIGN_OR_RETURN(const std::vector<PageFile> files, scan_page_files(folder));
    for (const PageFile& file : files) {
      if (::unlink((folder + "/" + page_file_name(file.key)).c_str()) == 0) freed += file.bytes;
    }
    delete_folder(folder);
  }
  return freed;
}

}  // namespace dsa
