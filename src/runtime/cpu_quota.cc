#include "runtime/cpu_quota.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace dsa {

namespace {

// The start of a file; empty when it cannot be read.
std::string read_start(const std::string& path, size_t most_bytes) {
  std::ifstream file(path, std::ios::binary);
  std::string text(most_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(most_bytes));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);)
    parts.push_back(part);
  return parts;
}

bool has_word(const std::string& list, std::string_view word) {
  const std::vector<std::string> words = split(list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string without_escapes(std::string_view text) {
  std::string plain;
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && text.size() - i > 3 &&
        std::all_of(&text[i + 1], &text[i] + 4, is_octal)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// A hierarchy of groups that can limit CPU time.
struct Mount {
  std::string root;  // the group that is seen at `folder`
  std::string folder;
  bool is_v2 = false;
};

// A line: id, parent, device, root, folder, options, tags..., "-", type, source, options.
std::vector<Mount> cpu_mounts(const std::string& mountinfo) {
  std::vector<Mount> mounts;
  for (const std::string& line : split(mountinfo, '\n')) {
    const std::vector<std::string> words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (dash - words.begin() < 6 || words.end() - dash < 4) continue;
    const bool is_v2 = dash[1] == "cgroup2";
    if (!is_v2 && (dash[1] != "cgroup" || !has_word(dash[3], "cpu"))) continue;
    mounts.push_back({without_escapes(words[3]), without_escapes(words[4]), is_v2});
  }
  return mounts;
}

// The process's group in the hierarchy of version 2, or of version 1 with the controller `cpu`.
// A line: number, controllers, path; the path may contain colons.
std::optional<std::string> group_of_process(const std::string& cgroup, bool is_v2) {
  for (const std::string& line : split(cgroup, '\n')) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (is_v2 ? controllers.empty() : has_word(controllers, "cpu")) return line.substr(second + 1);
  }
  return std::nullopt;
}

// Where `group` lies below the mount: "" or "/a/b". A group that is not below what is mounted (in a
// container that sees its host's path) is taken for the mounted one.
std::string path_below(const Mount& mount, std::string group) {
  constexpr size_t kLongestPath = 4096;
  while (group.ends_with('/'))
    group.pop_back();
  if (mount.root != "/") {
    if (!group.starts_with(mount.root)) return "";
    group.erase(0, mount.root.size());
  }
  const std::vector<std::string> parts = split(group, '/');
  const bool leads_up = std::find(parts.begin(), parts.end(), "..") != parts.end();
  return group.starts_with('/') && !leads_up && group.size() <= kLongestPath ? group : "";
}

std::optional<int64_t> number(std::string_view word) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (failure != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

std::optional<CpuQuota> quota_of_group(const std::string& root,
                                       const std::string& folder,
                                       bool is_v2) {
  constexpr size_t kMostBytes = 128;  // two numbers
  const std::string file = folder + (is_v2 ? "/cpu.max" : "/cpu.cfs_quota_us");
  std::istringstream words(
      read_start(root + file, kMostBytes) + " " +
      (is_v2 ? "" : read_start(root + folder + "/cpu.cfs_period_us", kMostBytes)));
  std::string quota, period;
  words >> quota >> period;  // "max" and -1 are no limit
  const std::optional<int64_t> quota_us = number(quota), period_us = number(period);
  if (!quota_us || !period_us || *quota_us <= 0 || *period_us <= 0) return std::nullopt;
  return CpuQuota{*quota_us, *period_us, file};
}

}  // namespace

CpuQuota read_cpu_quota(const std::string& root) {
  constexpr size_t kMostBytes = size_t{1} << 20;
  const std::string cgroup = read_start(root + "/proc/self/cgroup", kMostBytes);
  CpuQuota smallest;
  for (const Mount& mount : cpu_mounts(read_start(root + "/proc/self/mountinfo", kMostBytes))) {
    const std::optional<std::string> group = group_of_process(cgroup, mount.is_v2);
    if (!group) continue;
    // From the process's own group up to the one that is mounted.
    std::string below = path_below(mount, *group);
    for (bool more = true; more;) {
      const std::optional<CpuQuota> found = quota_of_group(root, mount.folder + below, mount.is_v2);
      if (found && (smallest.quota_us == 0 || found->cpus() < smallest.cpus())) smallest = *found;
      more = !below.empty();
      if (more) below.resize(below.rfind('/'));
    }
  }
  return smallest;
}

}  // namespace dsa
