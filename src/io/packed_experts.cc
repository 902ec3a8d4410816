#include "io/packed_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/status_macros.h"
#include "formats/cache_layout.h"

namespace dsa {
namespace {

constexpr size_t kMostSlices = size_t{1} << 22;
constexpr std::string_view kExperts = ".mlp.experts.";

struct Packed {
  std::string prefix;  // to "experts."
  bool gate_up = false;
  std::string suffix;  // "", "_scale_inv" or "_scale"
};

std::optional<Packed> packed_name(std::string_view name) {
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = name.substr(at + kExperts.size());
  for (const std::string_view matrix : {"gate_up_proj", "down_proj"}) {
    if (!rest.starts_with(matrix)) continue;
    const std::string_view suffix = rest.substr(matrix.size());
    if (!suffix.empty() && suffix != "_scale_inv" && suffix != "_scale") return std::nullopt;
    return Packed{std::string(name.substr(0, at + kExperts.size())), matrix == "gate_up_proj",
                  std::string(suffix)};
  }
  return std::nullopt;
}

// Rows [begin, begin + n) of one expert, under the name of its matrix.
StoredTensor slice(const StoredTensor& tensor,
                   const Packed& packed,
                   const char* matrix,
                   int64_t expert,
                   int64_t begin,
                   int64_t n) {
  const size_t n_rows = static_cast<size_t>(tensor.shape[0] * tensor.shape[1]);
  const size_t row_bytes = tensor.data.size() / n_rows;
  StoredTensor out;
  out.name = fmt::format("{}{}.{}.weight{}", packed.prefix, expert, matrix, packed.suffix);
  out.dtype = tensor.dtype;
  out.dtype_text = tensor.dtype_text;
  out.shape = {n, tensor.shape[2]};
  out.data = tensor.data.subspan(static_cast<size_t>(expert * tensor.shape[1] + begin) * row_bytes,
                                 static_cast<size_t>(n) * row_bytes);
  return out;
}

void unpack(const StoredTensor& tensor, std::vector<StoredTensor>* out) {
  const Packed packed = *packed_name(tensor.name);
  const int64_t rows = tensor.shape[1];
  for (int64_t expert = 0; expert < tensor.shape[0]; ++expert) {
    if (!packed.gate_up) {
      out->push_back(slice(tensor, packed, "down_proj", expert, 0, rows));
      continue;
    }
    out->push_back(slice(tensor, packed, "gate_proj", expert, 0, rows / 2));
    out->push_back(slice(tensor, packed, "up_proj", expert, rows / 2, rows / 2));
  }
}

// One block of 128 rows may not belong to both gate and up: its scale would.
Status check_blocks(std::span<const StoredTensor> tensors, const std::string& file) {
  for (const StoredTensor& tensor : tensors) {
    if (tensor.dtype != DType::kE4M3 || !is_packed_experts(tensor)) continue;
    const auto block = static_cast<int64_t>(kWeightBlock);
    if (!packed_name(tensor.name)->gate_up || tensor.shape[1] / 2 % block == 0) continue;
    return unsupported("{}: tensor \"{:.200}\": {} rows of gate and of up, want a multiple of {}",
                       file, tensor.name, tensor.shape[1] / 2, block);
  }
  return {};
}

}  // namespace

bool is_packed_experts(const StoredTensor& tensor) {
  if (tensor.shape.size() != 3 || !tensor.dtype || tensor.data.empty()) return false;
  const std::optional<Packed> packed = packed_name(tensor.name);
  return packed && (!packed->gate_up || tensor.shape[1] % 2 == 0);
}

Result<std::vector<StoredTensor>> unpack_experts(std::span<const StoredTensor> tensors,
                                                 const std::string& file) {
  DSA_RETURN_IF_ERROR(check_blocks(tensors, file));
  std::vector<StoredTensor> out;
  for (const StoredTensor& tensor : tensors) {
    if (!is_packed_experts(tensor)) {
      out.push_back(tensor);
      continue;
    }
    // Every slice has a byte at least, so that the sum cannot overflow.
    if (out.size() + 2 * static_cast<size_t>(tensor.shape[0]) > kMostSlices) {
      return corruption("{}: tensor \"{:.200}\": {} experts, want at most {} matrices in all", file,
                        tensor.name, tensor.shape[0], kMostSlices);
    }
    unpack(tensor, &out);
  }
  return out;
}

}  // namespace dsa
