// The ids that mark the begin and the end of a document.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "dsa/tokenizer.h"

#include "tokenizer/chat_tokens.h"

namespace dsa {

struct ControlIds {
  std::optional<int32_t> begin;
  std::optional<int32_t> end;
};

// DeepSeek's names, else <s> and </s>.
inline ControlIds control_ids(const Tokenizer& tokenizer) {
  const auto first_of = [&](std::initializer_list<std::string_view> names) {
    std::optional<int32_t> found;
    for (const std::string_view name : names) {
      const std::optional<int32_t> id = tokenizer.token_id(name);
      if (!found && id && tokenizer.is_special(*id)) found = id;
    }
    return found;
  };
  return {first_of({chat::kBegin, "<s>"}), first_of({chat::kEnd, "</s>"})};
}

}  // namespace dsa
