#include "trainer/toml_text.h"

#include <cstddef>

#include "common/status_macros.h"
#include "tokenizer/utf8.h"

namespace dsa::trainer {

namespace {

// Of a well-formed character of two to four bytes.
uint32_t code_point(std::string_view character) {
  uint32_t value = static_cast<unsigned char>(character[0]) & (0x7FU >> character.size());
  for (const char byte : character.substr(1))
    value = value << 6 | (static_cast<unsigned char>(byte) & 0x3FU);
  return value;
}

bool begins_table_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '"' || c == '\'' || c == ']';  // toml++ refuses the empty name itself
}

class Rewriter {
 public:
  Rewriter(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  Result<std::string> run() {
    while (at_ < text_.size()) {
      const auto c = static_cast<unsigned char>(text_[at_]);
      DSA_RETURN_IF_ERROR(c < 0x80 ? take_ascii(text_[at_]) : take_letter());
    }
    return std::move(out_);
  }

 private:
  Status take_ascii(char c) {
    if (inside_ == 0 || c == '\n') DSA_RETURN_IF_ERROR(check_table_name(c));
    if (c == '\n') {
      ++line_;
      inside_ = 0;
    } else if (inside_ == 0) {
      return take_outside(c);
    } else if (inside_ == '\'') {
      return take_literal(c);
    } else if (inside_ == '"' && c == '\\') {
      copy();
      if (at_ == text_.size() || text_[at_] == '\n') return {};
      if (static_cast<unsigned char>(text_[at_]) >= 0x80) return refuse("an unknown escape");
    } else if (c == inside_) {
      inside_ = c == '#' ? '#' : '\0';
    }
    copy();
    return {};
  }

  // toml++ takes for granted that a name follows the brackets that begin a line.
  Status check_table_name(char c) {
    if (c == ' ' || c == '\t') return {};
    if (c == '[' && (begins_line_ || n_brackets_ == 1)) {
      ++n_brackets_;
    } else if (n_brackets_ > 0 && !begins_table_name(c)) {
      return refuse("a bracket without the name of a table");
    } else {
      n_brackets_ = 0;
    }
    begins_line_ = c == '\n';
    return {};
  }

  Status take_outside(char c) {
    const bool quote = c == '"' || c == '\'';
    if (quote && text_.substr(at_, 3) == std::string(3, c)) {
      return refuse("a text over several lines, want it on one");
    }
    if (quote || c == '#') inside_ = c;
    out_ += c == '\'' ? '"' : c;
    ++at_;
    return {};
  }

  // What stands for itself between single quotes is escaped between double ones.
  Status take_literal(char c) {
    if (c == '"' || c == '\\') out_ += '\\';
    if (c == '\'') inside_ = 0;
    out_ += c == '\'' ? '"' : c;
    ++at_;
    return {};
  }

  Status take_letter() {
    const std::string_view rest = text_.substr(at_);
    const Utf8Part part = first_utf8_part(rest);
    if (part.kind != Utf8Kind::kWhole) return refuse("a byte that is no UTF-8");
    if (inside_ == 0) return refuse("a character that is not ASCII outside a text");
    if (inside_ != '#') out_ += fmt::format("\\U{:08X}", code_point(rest.substr(0, part.n_bytes)));
    at_ += part.n_bytes;
    return {};
  }

  void copy() { out_ += text_[at_++]; }

  Status refuse(const char* what) const {
    return corruption("{}:{}: not TOML: {}", name_, line_, what);
  }

  std::string_view text_;
  const std::string& name_;
  std::string out_;
  size_t at_ = 0;
  size_t line_ = 1;
  bool begins_line_ = true;  // nothing but blanks before
  int n_brackets_ = 0;       // that begin the line, and nothing after them
  char inside_ = 0;  // '#', '"' or '\'': a comment or a text; it ends with the line at the latest
};

}  // namespace

Result<std::string> ascii_toml(std::string_view text, const std::string& name) {
  return Rewriter(text, name).run();
}

}  // namespace dsa::trainer
