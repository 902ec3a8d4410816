// Normalizer: the Unicode normalization forms that a tokenizer file asks for, before
// pre-tokenizing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dsa {

enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(std::vector<NormalForm> forms) : forms_(std::move(forms)) {}

  bool changes_nothing() const { return forms_.empty(); }

  // `text` in one form after the other. Bytes that are not UTF-8 stay as they are, and what lies
  // between them is normalized on its own. At most 18 times as long as `text`.
  std::string normalize(std::string_view text) const;

 private:
  std::vector<NormalForm> forms_;
};

}  // namespace dsa
