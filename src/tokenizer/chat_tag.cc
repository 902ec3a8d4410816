#include "tokenizer/chat_tag.h"

#include "tokenizer/chat_tokens.h"

namespace dsa::chat {
namespace {

constexpr std::size_t kLongestTag = 1024;

constexpr std::pair<std::string_view, Tag::Of> kWords[] = {{"function_calls", Tag::Of::kCalls},
                                                           {"invoke", Tag::Of::kInvoke},
                                                           {"parameter", Tag::Of::kParameter}};

bool is_space(char c) {
  return kSpaces.find(c) != std::string_view::npos;
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// Every step says kWhole where it has read its part and the text goes on behind it.
class TagReader {
 public:
  TagReader(std::string_view text, Tag& tag) : text_(text.substr(0, kLongestTag)), tag_(&tag) {}

  TagRead read() {
    if (const TagRead opening = read_opening(); opening != TagRead::kWhole) return opening;
    while (true) {
      const bool apart = skip_spaces();
      if (ended()) return TagRead::kUnfinished;
      if (text_[at_] == '>') break;
      if (!apart || tag_->closes) return TagRead::kNone;
      if (const TagRead one = read_attribute(); one != TagRead::kWhole) return one;
    }
    tag_->size = at_ + 1;
    return TagRead::kWhole;
  }

 private:
  bool ended() const { return at_ >= text_.size(); }

  bool skip_spaces() {
    const std::size_t before = at_;
    while (!ended() && is_space(text_[at_]))
      ++at_;
    return at_ > before;
  }

  std::string_view read_word() {
    const std::size_t begin = at_;
    while (!ended() && is_letter(text_[at_]))
      ++at_;
    return text_.substr(begin, at_ - begin);
  }

  TagRead read_opening() {
    constexpr std::string_view open = "<｜DSML｜";
    constexpr std::string_view close = "</｜DSML｜";
    tag_->closes = starts_with(text_, close);
    if (!tag_->closes && !starts_with(text_, open)) {
      const bool more = may_start_with(text_, open) || may_start_with(text_, close);
      return more ? TagRead::kUnfinished : TagRead::kNone;
    }
    at_ = (tag_->closes ? close : open).size();
    const std::string_view word = read_word();
    for (const auto& [name, of] : kWords) {
      if (ended() && starts_with(name, word)) return TagRead::kUnfinished;
      if (word != name) continue;
      tag_->of = of;
      return TagRead::kWhole;
    }
    return TagRead::kNone;
  }

  TagRead read_attribute() {
    const std::string name(read_word());
    skip_spaces();
    if (ended()) return TagRead::kUnfinished;
    if (name.empty() || text_[at_] != '=') return TagRead::kNone;
    ++at_;
    skip_spaces();
    if (ended()) return TagRead::kUnfinished;
    const char quote = text_[at_];
    const bool quoted = quote == '"' || quote == '\'';
    if (quoted) ++at_;
    const std::size_t begin = at_;
    while (!ended() && !value_ends(quoted, quote))
      ++at_;
    if (ended()) return TagRead::kUnfinished;
    tag_->attributes.emplace_back(name, text_.substr(begin, at_ - begin));
    if (quoted) ++at_;
    return TagRead::kWhole;
  }

  // A quote ends a value only before a space or the end of the tag: a name may have one in it.
  bool value_ends(bool quoted, char quote) const {
    const auto ends = [](char c) { return c == '>' || is_space(c); };
    if (!quoted) return ends(text_[at_]);
    return text_[at_] == quote && at_ + 1 < text_.size() && ends(text_[at_ + 1]);
  }

  std::string_view text_;
  Tag* tag_;
  std::size_t at_ = 0;
};

}  // namespace

const std::string* Tag::find(std::string_view name) const {
  for (const auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

TagRead read_tag(std::string_view text, Tag& tag) {
  tag = Tag();
  const TagRead read = TagReader(text, tag).read();
  return read == TagRead::kUnfinished && text.size() >= kLongestTag ? TagRead::kNone : read;
}

bool starts_with(std::string_view text, std::string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

bool may_start_with(std::string_view text, std::string_view beginning) {
  return starts_with(beginning, text.substr(0, beginning.size()));
}

}  // namespace dsa::chat
