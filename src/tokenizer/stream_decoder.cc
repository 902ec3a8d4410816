#include <utility>

#include "dsa/tokenizer.h"

#include "common/status_macros.h"
#include "tokenizer/utf8.h"

namespace dsa {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special) {}

Result<std::string> StreamDecoder::push(int32_t id) {
  if (id < 0 || id >= tokenizer_->vocab_size()) {
    return invalid_argument("id: {}, want one in [0, {})", id, tokenizer_->vocab_size());
  }
  std::string text;
  if (skip_special_ && tokenizer_->is_special(id)) return text;
  held_ += tokenizer_->token_text(id);
  held_.erase(0, append_well_formed(held_, text));
  return text;
}

std::string StreamDecoder::flush() {
  return std::exchange(held_, {}).empty() ? std::string() : std::string(kReplacement);
}

}  // namespace dsa
