#include "io/checkpoint.h"

#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "common/status_macros.h"
#include "digest/sha256.h"

namespace dsa {
namespace {

namespace dom = simdjson::dom;

using WeightMap = std::map<std::string, std::string>;              // tensor -> shard's file name
using ShardMap = std::map<std::string, std::vector<std::string>>;  // the other way round

constexpr size_t kMaxTextBytes = 100'000'000;  // of config.json and of the index

Result<std::string> read_text(const std::string& path) {
  DSA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  if (file.bytes().size() > kMaxTextBytes) {
    return corruption("{}: {} bytes, want at most {}", path, file.bytes().size(), kMaxTextBytes);
  }
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// An index may only name files in its own directory.
bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

Status read_weight_map(dom::element root, const std::string& index, WeightMap& map) {
  dom::object object;
  if (root["weight_map"].get(object) != simdjson::SUCCESS) {
    return corruption("{}: no object \"weight_map\"", index);
  }
  for (const dom::key_value_pair field : object) {
    std::string_view shard;
    if (field.value.get(shard) != simdjson::SUCCESS || !is_plain_file_name(shard)) {
      return corruption(
          "{}: tensor \"{:.200}\" is in {:.200}, want the name of a file next to the index", index,
          field.key, simdjson::minify(field.value));
    }
    if (!map.emplace(field.key, shard).second) {
      return corruption("{}: tensor \"{:.200}\" twice", index, field.key);
    }
  }
  return {};
}

Result<WeightMap> parse_index(const std::string& index) {
  DSA_ASSIGN_OR_RETURN(const std::string text, read_text(index));
  dom::parser parser;
  dom::element root;
  const auto failure = parser.parse(text).get(root);
  if (failure != simdjson::SUCCESS) {
    return corruption("{}: not JSON: {}", index, simdjson::error_message(failure));
  }
  WeightMap map;
  DSA_RETURN_IF_ERROR(read_weight_map(root, index, map));
  return map;
}

ShardMap by_shard(const WeightMap& map) {
  ShardMap shards;
  for (const auto& [tensor, shard] : map)
    shards[shard].push_back(tensor);
  return shards;
}

// What the shard holds is where the map places it.
Status check_shard(const SafetensorsFile& file,
                   const std::string& shard_name,
                   const WeightMap& map,
                   const std::string& index) {
  for (const StoredTensor& tensor : file.tensors()) {
    const auto place = map.find(tensor.name);
    if (place == map.end()) {
      return corruption("{}: tensor \"{:.200}\" is not in {}", file.name(), tensor.name, index);
    }
    if (place->second != shard_name) {
      return corruption("{}: tensor \"{:.200}\" is here, {} places it in {}", file.name(),
                        tensor.name, index, place->second);
    }
  }
  return {};
}

std::string dtype_names(DTypeSet dtypes) {
  std::vector<const char*> names;
  for (const DType dtype : kAllDTypes) {
    if (dtypes.contains(dtype)) names.push_back(dtype_name(dtype));
  }
  return fmt::format("{}", fmt::join(names, " or "));
}

}  // namespace

// Made when they are first asked for: few checkpoints have such tensors.
struct Checkpoint::Copies {
  struct Copy {
    StoredTensor tensor;
    std::unique_ptr<std::byte[]> bytes;
  };
  std::mutex mutex;
  std::map<const StoredTensor*, Copy> made;
};

Checkpoint::Checkpoint() : copies_(std::make_unique<Copies>()) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Result<Checkpoint> Checkpoint::open(const std::string& dir) {
  Checkpoint checkpoint;
  checkpoint.dir_ = dir;
  checkpoint.config_path_ = dir + "/config.json";
  DSA_ASSIGN_OR_RETURN(checkpoint.config_text_, read_text(checkpoint.config_path_));
  DSA_RETURN_IF_ERROR(checkpoint.open_files());
  DSA_RETURN_IF_ERROR(checkpoint.unpack_experts());
  checkpoint.index_tensors();
  return checkpoint;
}

Result<Checkpoint> Checkpoint::open_file(const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.dir_ = path;
  DSA_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::open(path));
  checkpoint.shards_.push_back(std::move(file));
  checkpoint.index_tensors();
  return checkpoint;
}

Status Checkpoint::open_files() {
  const std::string single = dir_ + "/model.safetensors";
  const std::string index = dir_ + "/model.safetensors.index.json";
  if (exists(single)) {
    DSA_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::open(single));
    shards_.push_back(std::move(file));
    if (exists(index)) notes_.push_back(dir_ + ": model.safetensors is read, its index is not");
    return {};
  }
  if (!exists(index)) {
    return error(StatusCode::kNotFound, "{}: no model.safetensors and no {}", dir_,
                 "model.safetensors.index.json");
  }
  return open_shards(index);
}

Status Checkpoint::open_shards(const std::string& index) {
  DSA_ASSIGN_OR_RETURN(const WeightMap map, parse_index(index));
  for (const auto& [shard, tensors] : by_shard(map)) {
    Result<SafetensorsFile> file = SafetensorsFile::open(dir_ + "/" + shard);
    if (!file.ok() && file.status().code() == StatusCode::kNotFound) {
      notes_.push_back(
          fmt::format("{}, {} tensors in it", file.status().message(), tensors.size()));
      for (const std::string& tensor : tensors)
        absent_.emplace(tensor, file.status().message());
      continue;
    }
    if (!file.ok()) return file.status();
    DSA_RETURN_IF_ERROR(check_shard(*file, shard, map, index));
    for (const std::string& tensor : tensors) {
      if (file->find(tensor) != nullptr) continue;
      std::string reason = fmt::format("{} places it in {}, which lacks it", index, shard);
      notes_.push_back(fmt::format("tensor \"{:.200}\": {}", tensor, reason));
      absent_.emplace(tensor, std::move(reason));
    }
    shards_.push_back(std::move(file).value());
  }
  constexpr size_t kMostNotes = 20;
  if (notes_.size() > kMostNotes) {
    const size_t n_more = notes_.size() - kMostNotes;
    notes_.resize(kMostNotes);
    notes_.push_back(fmt::format("{}: {} more tensors or shards are not there", index, n_more));
  }
  return {};
}

Status Checkpoint::unpack_experts() {
  bool any = false;
  for (SafetensorsFile& shard : shards_) {
    DSA_ASSIGN_OR_RETURN(const bool some, shard.unpack_experts());
    any = any || some;
  }
  if (any) notes_.push_back(dir_ + ": packed experts are read as one matrix each");
  return {};
}

std::string Checkpoint::identity() const {
  Sha256 hash;
  hash.add(config_text_);
  for (const SafetensorsFile& shard : shards_)
    shard.add_identity(&hash);
  return to_hex(hash.finish());
}

std::vector<SourceFile> Checkpoint::files() const {
  std::vector<SourceFile> files;
  for (const SafetensorsFile& shard : shards_)
    files.push_back({shard.name(), shard.tensors()});
  return files;
}

void Checkpoint::index_tensors() {
  for (const SafetensorsFile& shard : shards_) {
    for (const StoredTensor& tensor : shard.tensors())
      entries_.push_back({&tensor, &shard});
  }
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.tensor->name < b.tensor->name; });
}

const Checkpoint::Entry* Checkpoint::find_entry(std::string_view name) const {
  const auto place = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const Entry& entry, std::string_view n) { return entry.tensor->name < n; });
  if (place == entries_.end() || place->tensor->name != name) return nullptr;
  return &*place;
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const Entry* const entry = find_entry(name);
  return entry == nullptr ? nullptr : entry->tensor;
}

const StoredTensor* Checkpoint::aligned(const StoredTensor& tensor) const {
  const auto address = std::bit_cast<uintptr_t>(tensor.data.data());
  if (address % dtype_alignment(*tensor.dtype) == 0) return &tensor;
  const std::lock_guard<std::mutex> lock(copies_->mutex);
  Copies::Copy& copy = copies_->made[&tensor];
  if (copy.bytes == nullptr) {
    copy.bytes = std::make_unique<std::byte[]>(tensor.data.size());
    std::memcpy(copy.bytes.get(), tensor.data.data(), tensor.data.size());
    copy.tensor = tensor;
    copy.tensor.data = {copy.bytes.get(), tensor.data.size()};
  }
  return &copy.tensor;
}

Result<const StoredTensor*> Checkpoint::require(std::string_view name,
                                                std::span<const int64_t> shape,
                                                DTypeSet dtypes) const {
  const Entry* const entry = find_entry(name);
  if (entry == nullptr) {
    const auto absent = absent_.find(name);
    return error(StatusCode::kNotFound, "{}: no tensor \"{:.200}\", want {} {}{}", dir_, name,
                 dtype_names(dtypes), shape_text(shape),
                 absent == absent_.end() ? "" : ": " + absent->second);
  }
  const StoredTensor& tensor = *entry->tensor;
  const std::string& file = entry->shard->name();
  if (!std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end())) {
    return corruption("{}: tensor \"{:.200}\": shape {}, want {}", file, name,
                      shape_text(tensor.shape), shape_text(shape));
  }
  if (!tensor.dtype || !dtypes.contains(*tensor.dtype)) {
    return unsupported("{}: tensor \"{:.200}\": {:.60}, want {}", file, name, tensor.dtype_text,
                       dtype_names(dtypes));
  }
  return aligned(tensor);
}

}  // namespace dsa
