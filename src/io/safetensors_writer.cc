#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "dsa/safetensors.h"

#include "common/math.h"
#include "common/status_macros.h"
#include "io/element_type.h"
#include "io/safetensors.h"

namespace dsa {
namespace {

static_assert(std::endian::native == std::endian::little, "values are written as they lie");

constexpr uint64_t kHeaderAlignment = 8;           // so that readers can map the data
constexpr uint64_t kMaxFileBytes = INT64_MAX / 2;  // far from where an off_t overflows

const char* type_name(ElementType type) {
  return dtype_name(dtype_of(type));
}

uint64_t element_bytes(ElementType type) {
  return dtype_bytes(dtype_of(type));
}

// Where a tensor goes in the data section, and how much of it is there.
struct Slot {
  TensorSpec spec;
  uint64_t begin = 0;
  uint64_t bytes = 0;
  uint64_t written = 0;
};

Result<uint64_t> tensor_bytes(const TensorSpec& spec) {
  uint64_t bytes = element_bytes(spec.type);
  for (const int64_t dim : spec.shape) {
    const auto product = dim >= 0 ? checked_mul(bytes, static_cast<uint64_t>(dim)) : std::nullopt;
    if (!product || *product > kMaxFileBytes) {
      return invalid_argument("tensor \"{}\": shape {} is negative or too large", spec.name,
                              shape_text(spec.shape));
    }
    bytes = *product;
  }
  return bytes;
}

Result<std::vector<Slot>> lay_out(const std::vector<TensorSpec>& tensors) {
  std::vector<Slot> slots;
  uint64_t end = 0;
  for (const TensorSpec& spec : tensors) {
    DSA_ASSIGN_OR_RETURN(const uint64_t bytes, tensor_bytes(spec));
    slots.push_back({.spec = spec, .begin = end, .bytes = bytes});
    end += bytes;
    if (end > kMaxFileBytes) return invalid_argument("tensor \"{}\": too large", spec.name);
  }
  return slots;
}

// The length and the JSON text, padded with spaces.
Result<std::string> header_of(const std::vector<Slot>& slots,
                              const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = {{"__metadata__", metadata}};
  std::set<std::string_view> names = {"__metadata__"};
  for (const Slot& slot : slots) {
    if (!names.insert(slot.spec.name).second) {
      return invalid_argument("tensor \"{}\": name is reserved or given twice", slot.spec.name);
    }
    // Not [name]: an ordered object looks through all of its keys.
    header.get_ref<nlohmann::ordered_json::object_t&>().push_back(
        {slot.spec.name,
         {{"dtype", type_name(slot.spec.type)},
          {"shape", slot.spec.shape},
          {"data_offsets", {slot.begin, slot.begin + slot.bytes}}}});
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    return invalid_argument("a tensor name or metadata is not UTF-8");
  }
  text.resize(round_up<uint64_t>(text.size(), kHeaderAlignment), ' ');
  const auto length = std::bit_cast<std::array<char, 8>>(uint64_t{text.size()});
  return std::string(length.data(), length.size()) + text;
}

Status io_error(const std::string& path, const char* action) {
  return error(StatusCode::kIoError, "{}: cannot {}: {}", path, action, std::strerror(errno));
}

Status write_at(int fd, const std::string& path, std::span<const std::byte> bytes, uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(path, "write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
  return {};
}

// The file that `path` names once symbolic links are followed; it need not exist.
//   Errors  kInvalidArgument: something is there that a file must not replace.
Result<std::string> resolve_target(const std::string& path) {
  struct stat info = {};
  if (path.empty()) return invalid_argument("\"\": want the path of a file to write");
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ELOOP) return io_error(path, "create");
  } else if (!S_ISREG(info.st_mode)) {
    return invalid_argument("{}: {}, want a regular file or none", path,
                            S_ISDIR(info.st_mode) ? "a directory" : "a device, pipe or socket");
  }
  namespace fs = std::filesystem;
  fs::path target = path;
  std::error_code not_a_link;
  for (fs::path next = fs::read_symlink(target, not_a_link); !not_a_link;
       next = fs::read_symlink(target, not_a_link)) {
    target = target.parent_path() / next;  // an absolute `next` stands alone
  }
  return target.string();
}

// A name in the directory of `path` that no other writer uses.
std::string temporary_name(const std::string& path) {
  static std::atomic<unsigned> counter = 0;
  return fmt::format("{}.{}-{}.tmp", path, ::getpid(), counter++);
}

}  // namespace

struct SafetensorsWriter::State {
  State(std::string path, const std::string& resolved, std::vector<Slot> tensors)
      : name(std::move(path)),
        target(resolved),
        temporary(temporary_name(resolved)),
        slots(std::move(tensors)) {
    for (size_t i = 0; i < slots.size(); ++i)
      by_name.emplace(slots[i].spec.name, i);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  ~State() {
    if (fd < 0) return;
    ::close(fd);
    ::unlink(temporary.c_str());
  }

  Status open(const std::string& header);
  Result<Slot*> find(std::string_view tensor, std::optional<ElementType> type);
  Status append(std::string_view tensor,
                std::optional<ElementType> type,
                std::span<const std::byte> bytes);
  Status commit();

  std::string name;    // as the caller spelled it, for messages
  std::string target;  // with links followed
  std::string temporary;
  std::vector<Slot> slots;
  std::unordered_map<std::string_view, size_t> by_name;  // of slots, whose names it refers to
  uint64_t data_begin = 0;
  int fd = -1;  // -1 before open() and after commit()
};

Status SafetensorsWriter::State::open(const std::string& header) {
  fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return io_error(name, "create");
  data_begin = header.size();
  return write_at(fd, name, std::as_bytes(std::span(header)), 0);
}

// type: nothing for bytes of any.
Result<Slot*> SafetensorsWriter::State::find(std::string_view tensor,
                                             std::optional<ElementType> type) {
  const auto place = by_name.find(tensor);
  if (place == by_name.end()) {
    return invalid_argument("{}: no tensor \"{}\" was declared", name, tensor);
  }
  Slot& slot = slots[place->second];
  if (!type || slot.spec.type == *type) return &slot;
  return invalid_argument("{}: tensor \"{}\": given {} values, want {}", name, tensor,
                          type_name(*type), type_name(slot.spec.type));
}

Status SafetensorsWriter::State::append(std::string_view tensor,
                                        std::optional<ElementType> type,
                                        std::span<const std::byte> bytes) {
  if (fd < 0) return invalid_argument("{}: already committed", name);
  DSA_ASSIGN_OR_RETURN(Slot* const slot, find(tensor, type));
  if (bytes.size() > slot->bytes - slot->written) {
    const uint64_t element = element_bytes(slot->spec.type);
    return invalid_argument("{}: tensor \"{}\": {} more values, want at most {}", name, tensor,
                            bytes.size() / element, (slot->bytes - slot->written) / element);
  }
  DSA_RETURN_IF_ERROR(write_at(fd, name, bytes, data_begin + slot->begin + slot->written));
  slot->written += bytes.size();
  return {};
}

Status SafetensorsWriter::State::commit() {
  if (fd < 0) return invalid_argument("{}: already committed", name);
  for (const Slot& slot : slots) {
    if (slot.written == slot.bytes) continue;
    return invalid_argument("{}: tensor \"{}\": {} values, want {}", name, slot.spec.name,
                            slot.written / element_bytes(slot.spec.type),
                            slot.bytes / element_bytes(slot.spec.type));
  }
  if (::fsync(fd) != 0) return io_error(name, "write");  // else a crash could leave it empty
  if (::rename(temporary.c_str(), target.c_str()) != 0) return io_error(name, "replace");
  ::close(std::exchange(fd, -1));
  return {};
}

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::string& path,
    const std::vector<TensorSpec>& tensors,
    const std::map<std::string, std::string>& metadata) {
  DSA_ASSIGN_OR_RETURN(std::vector<Slot> slots, lay_out(tensors));
  DSA_ASSIGN_OR_RETURN(const std::string header, header_of(slots, metadata));
  DSA_ASSIGN_OR_RETURN(const std::string target, resolve_target(path));
  auto state = std::make_unique<State>(path, target, std::move(slots));
  DSA_RETURN_IF_ERROR(state->open(header));
  return SafetensorsWriter(std::move(state));
}

Status SafetensorsWriter::append(std::string_view name, std::span<const float> values) {
  return state_->append(name, ElementType::kF32, std::as_bytes(values));
}

Status SafetensorsWriter::append(std::string_view name, std::span<const int32_t> values) {
  return state_->append(name, ElementType::kI32, std::as_bytes(values));
}

Status SafetensorsWriter::append_bytes(std::string_view name, std::span<const std::byte> bytes) {
  return state_->append(name, std::nullopt, bytes);
}

Status SafetensorsWriter::commit() {
  return state_->commit();
}

}  // namespace dsa
