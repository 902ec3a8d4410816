#include "io/checkpoint.h"

#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <map>
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

// The map and the shard must agree about every tensor that either of them names.
Status check_shard(const SafetensorsFile& file,
                   const ShardMap::value_type& shard,
                   const WeightMap& map,
                   const std::string& index) {
  const auto& [shard_name, wanted] = shard;
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
  for (const std::string& tensor : wanted) {
    if (file.find(tensor) == nullptr) {
      return corruption("{}: no tensor \"{:.200}\", which {} places here", file.name(), tensor,
                        index);
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

Result<Checkpoint> Checkpoint::open(const std::string& dir) {
  Checkpoint checkpoint;
  checkpoint.dir_ = dir;
  checkpoint.config_path_ = dir + "/config.json";
  DSA_ASSIGN_OR_RETURN(checkpoint.config_text_, read_text(checkpoint.config_path_));
  DSA_RETURN_IF_ERROR(checkpoint.open_shards());
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

Status Checkpoint::open_shards() {
  const std::string single = dir_ + "/model.safetensors";
  const std::string index = dir_ + "/model.safetensors.index.json";
  if (exists(single)) {
    DSA_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::open(single));
    shards_.push_back(std::move(file));
    has_unread_index_ = exists(index);
    return {};
  }
  if (!exists(index)) {
    return error(StatusCode::kNotFound, "{}: no model.safetensors and no {}", dir_,
                 "model.safetensors.index.json");
  }
  DSA_ASSIGN_OR_RETURN(const WeightMap map, parse_index(index));
  for (const ShardMap::value_type& shard : by_shard(map)) {
    DSA_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::open(dir_ + "/" + shard.first));
    DSA_RETURN_IF_ERROR(check_shard(file, shard, map, index));
    shards_.push_back(std::move(file));
  }
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

Result<const StoredTensor*> Checkpoint::require(std::string_view name,
                                                std::span<const int64_t> shape,
                                                DTypeSet dtypes) const {
  const Entry* const entry = find_entry(name);
  if (entry == nullptr) {
    return error(StatusCode::kNotFound, "{}: no tensor \"{:.200}\", want {} {}", dir_, name,
                 dtype_names(dtypes), shape_text(shape));
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
  if (std::bit_cast<uintptr_t>(tensor.data.data()) % dtype_alignment(*tensor.dtype) != 0) {
    return unsupported("{}: tensor \"{:.200}\": {} at an address that is no multiple of {} bytes",
                       file, name, tensor.dtype_text, dtype_alignment(*tensor.dtype));
  }
  return &tensor;
}

}  // namespace dsa
