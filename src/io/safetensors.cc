#include "io/safetensors.h"

#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>
#include <utility>

#include "common/math.h"
#include "common/status_macros.h"
#include "io/packed_experts.h"

namespace dsa {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor data is used as it lies");

namespace dom = simdjson::dom;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr uint64_t kMaxDimension = uint64_t{1} << 62;
constexpr size_t kMaxRank = 64;

std::optional<DType> dtype_named(std::string_view name) {
  for (const DType dtype : kAllDTypes) {
    if (name == dtype_name(dtype)) return dtype;
  }
  return std::nullopt;
}

// Where a tensor's bytes lie in the data section.
struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct Located {
  StoredTensor tensor;
  Range range;
};

// Turns the header's JSON into tensors. Messages start with the file's name.
class HeaderReader {
 public:
  HeaderReader(const std::string& file, std::span<const std::byte> data)
      : file_(file), data_(data) {}

  Status read(dom::element root) {
    dom::object object;
    if (root.get(object) != simdjson::SUCCESS) {
      return corruption("{}: header is not a JSON object", file_);
    }
    located_.reserve(object.size());
    for (const dom::key_value_pair field : object) {
      DSA_RETURN_IF_ERROR(field.key == "__metadata__" ? read_metadata(field.value)
                                                      : read_tensor(field.key, field.value));
    }
    return check_layout();
  }

  std::vector<StoredTensor> take_tensors() {
    std::vector<StoredTensor> tensors;
    tensors.reserve(located_.size());
    for (Located& located : located_)
      tensors.push_back(std::move(located.tensor));
    return tensors;
  }

 private:
  Status read_metadata(dom::element value) {
    if (std::exchange(has_metadata_, true)) return corruption("{}: __metadata__ twice", file_);
    if (value.is_null()) return {};
    dom::object object;
    if (value.get(object) != simdjson::SUCCESS) {
      return corruption("{}: __metadata__ is not a JSON object", file_);
    }
    std::set<std::string_view> names;
    for (const dom::key_value_pair field : object) {
      if (!field.value.is_string()) {
        return corruption("{}: __metadata__ \"{:.200}\" is not a string", file_, field.key);
      }
      if (!names.insert(field.key).second) {
        return corruption("{}: __metadata__ \"{:.200}\" twice", file_, field.key);
      }
    }
    return {};
  }

  Status read_tensor(std::string_view name, dom::element value) {
    dom::object fields;
    if (value.get(fields) != simdjson::SUCCESS) {
      return wrong(name, "is not a JSON object");
    }
    Located located;
    located.tensor.name = name;
    bool has_dtype = false;
    bool has_shape = false;
    bool has_offsets = false;
    for (const dom::key_value_pair field : fields) {
      if (field.key == "dtype" && !std::exchange(has_dtype, true)) {
        DSA_RETURN_IF_ERROR(read_dtype(field.value, located.tensor));
      } else if (field.key == "shape" && !std::exchange(has_shape, true)) {
        DSA_RETURN_IF_ERROR(read_shape(field.value, located.tensor));
      } else if (field.key == "data_offsets" && !std::exchange(has_offsets, true)) {
        DSA_RETURN_IF_ERROR(read_offsets(field.value, located));
      } else {
        return wrong(name, fmt::format("has \"{:.200}\" twice or unexpectedly", field.key));
      }
    }
    if (!has_dtype || !has_shape || !has_offsets) {
      return wrong(name, "lacks one of dtype, shape, data_offsets");
    }
    DSA_RETURN_IF_ERROR(check_size(located));
    located_.push_back(std::move(located));
    return {};
  }

  Status read_dtype(dom::element value, StoredTensor& tensor) const {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS) return wrong(tensor.name, "dtype is not a string");
    tensor.dtype_text = text;
    tensor.dtype = dtype_named(text);
    return {};
  }

  Status read_shape(dom::element value, StoredTensor& tensor) const {
    dom::array dims;
    if (value.get(dims) != simdjson::SUCCESS || dims.size() > kMaxRank) {
      return wrong(tensor.name, fmt::format("shape is not an array of at most {}", kMaxRank));
    }
    for (const dom::element element : dims) {
      uint64_t dim = 0;
      if (element.get(dim) != simdjson::SUCCESS || dim > kMaxDimension) {
        return wrong(tensor.name, fmt::format("shape has {:.200}, want integers from 0 to 2^62",
                                              simdjson::minify(element)));
      }
      tensor.shape.push_back(static_cast<int64_t>(dim));
    }
    return {};
  }

  Status read_offsets(dom::element value, Located& located) const {
    dom::array pair;
    if (value.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
        pair.at(0).get(located.range.begin) != simdjson::SUCCESS ||
        pair.at(1).get(located.range.end) != simdjson::SUCCESS) {
      return wrong(located.tensor.name, "data_offsets is not a pair of integers from 0 up");
    }
    const auto [begin, end] = located.range;
    if (begin > end || end > data_.size()) {
      return wrong(located.tensor.name,
                   fmt::format("data_offsets [{}, {}], want begin <= end <= {} (bytes of data)",
                               begin, end, data_.size()));
    }
    located.tensor.data = data_.subspan(begin, end - begin);
    return {};
  }

  // The size is known for the types this library reads; of others the elements can be counted.
  Status check_size(const Located& located) const {
    const StoredTensor& tensor = located.tensor;
    std::optional<uint64_t> bytes = tensor.dtype ? dtype_bytes(*tensor.dtype) : 1;
    for (const int64_t dim : tensor.shape) {
      bytes = checked_mul(*bytes, static_cast<uint64_t>(dim));
      if (!bytes || *bytes > INT64_MAX) {
        return wrong(tensor.name, fmt::format("shape {} overflows", shape_text(tensor.shape)));
      }
    }
    if (tensor.dtype && *bytes != tensor.data.size()) {
      return wrong(tensor.name, fmt::format("shape {} of {} needs {} bytes, data_offsets span {}",
                                            shape_text(tensor.shape), tensor.dtype_text, *bytes,
                                            tensor.data.size()));
    }
    return {};
  }

  // Sorts by place; what follows must begin where the one before it ends.
  Status check_layout() {
    std::sort(located_.begin(), located_.end(), [](const Located& a, const Located& b) {
      return std::pair(a.range.begin, a.range.end) < std::pair(b.range.begin, b.range.end);
    });
    uint64_t covered = 0;
    for (const Located& located : located_) {
      if (located.range.begin != covered) {
        return wrong(
            located.tensor.name,
            fmt::format("begins at byte {} of the data, want {} ({})", located.range.begin, covered,
                        located.range.begin < covered ? "it overlaps another"
                                                      : "there is a hole before it"));
      }
      covered = located.range.end;
    }
    if (covered != data_.size()) {
      return corruption("{}: tensors cover {} bytes of data, the file has {}", file_, covered,
                        data_.size());
    }
    return {};
  }

  Status wrong(std::string_view tensor, std::string_view what) const {
    return corruption("{}: tensor \"{:.200}\": {}", file_, tensor, what);
  }

  const std::string& file_;
  std::span<const std::byte> data_;
  bool has_metadata_ = false;
  std::vector<Located> located_;
};

// The header's JSON text and the data section.
struct Sections {
  std::string_view header;
  std::span<const std::byte> data;
};

Result<Sections> split(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < kLengthBytes) {
    return corruption("{}: {} bytes, want at least {}", name, bytes.size(), kLengthBytes);
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const uint64_t available = bytes.size() - kLengthBytes;
  if (length > std::min(available, kMaxHeaderBytes)) {
    return corruption("{}: header of {} bytes, want at most {} (the file's rest, and {} in all)",
                      name, length, std::min(available, kMaxHeaderBytes), kMaxHeaderBytes);
  }
  const auto header = bytes.subspan(kLengthBytes, length);
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  if (text.substr(0, 1) != "{") return corruption("{}: header does not begin with '{{'", name);
  return Sections{text, bytes.subspan(kLengthBytes + length)};
}

}  // namespace

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  DSA_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::open(path));
  DSA_ASSIGN_OR_RETURN(SafetensorsFile file, parse(mapped.bytes(), path));
  file.file_ = std::move(mapped);
  return file;
}

void SafetensorsFile::add_identity(Sha256* hash) const {
  if (!file_) return;
  constexpr size_t kWhole = size_t{64} << 20;  // read in tens of milliseconds
  constexpr size_t kHead = size_t{1} << 20;    // the header is here
  const std::string_view bytes(reinterpret_cast<const char*>(file_->bytes().data()),
                               file_->bytes().size());
  hash->add(fmt::format("{} bytes;", bytes.size()));
  if (bytes.size() <= kWhole) return hash->add(bytes);
  // Reading it all would take as long as reading a prompt: a state of a file stands for its bytes.
  hash->add(file_->state());
  hash->add(bytes.substr(0, kHead));
}

Result<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes,
                                               const std::string& name) {
  DSA_ASSIGN_OR_RETURN(const Sections sections, split(bytes, name));
  dom::parser parser;  // copies the text: it wants readable padding after it
  dom::element root;
  const auto failure = parser.parse(sections.header.data(), sections.header.size()).get(root);
  if (failure != simdjson::SUCCESS) {
    return corruption("{}: header is not JSON: {}", name, simdjson::error_message(failure));
  }
  HeaderReader reader(name, sections.data);
  DSA_RETURN_IF_ERROR(reader.read(root));

  SafetensorsFile file;
  file.name_ = name;
  file.tensors_ = reader.take_tensors();
  DSA_RETURN_IF_ERROR(file.index_names());
  return file;
}

Result<bool> SafetensorsFile::unpack_experts() {
  if (std::none_of(tensors_.begin(), tensors_.end(), is_packed_experts)) return false;
  DSA_ASSIGN_OR_RETURN(tensors_, dsa::unpack_experts(tensors_, name_));
  DSA_RETURN_IF_ERROR(index_names());
  return true;
}

Status SafetensorsFile::index_names() {
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), size_t{0});
  const auto name_of = [this](size_t i) -> const std::string& { return tensors_[i].name; };
  std::sort(by_name_.begin(), by_name_.end(),
            [&](size_t a, size_t b) { return name_of(a) < name_of(b); });
  const auto twin = std::adjacent_find(by_name_.begin(), by_name_.end(), [&](size_t a, size_t b) {
    return name_of(a) == name_of(b);
  });
  if (twin == by_name_.end()) return {};
  return corruption("{}: tensor \"{:.200}\" twice", name_, name_of(*twin));
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto place =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [this](size_t i, std::string_view n) { return tensors_[i].name < n; });
  if (place == by_name_.end() || tensors_[*place].name != name) return nullptr;
  return &tensors_[*place];
}

}  // namespace dsa
