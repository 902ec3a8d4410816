#include "tokenizer/call_reader.h"

#include <algorithm>

#include "tokenizer/chat_tokens.h"
#include "tokenizer/python_json.h"

namespace dsa::chat {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

// JSON is given out before it is whole only if its beginning is that of JSON.
constexpr std::size_t kProbe = 64;

std::string without_quotes(std::string quoted) {
  return quoted.substr(1, quoted.size() - 2);
}

std::string_view trimmed(std::string_view text) {
  const std::size_t end = text.find_last_not_of(kSpaces);
  return end == kNone ? std::string_view() : text.substr(0, end + 1);
}

// Whether the text at a '<' ends a value, does not, or is not long enough to say.
enum class Mark : unsigned char { kText, kUnfinished, kClose, kForeign };

Mark read_mark(std::string_view text, bool body, std::string_view end_mark) {
  Tag tag;
  const TagRead read = read_tag(text, tag);
  const Tag::Of closer = body ? Tag::Of::kInvoke : Tag::Of::kParameter;
  if (read == TagRead::kWhole && tag.is(closer, true)) return Mark::kClose;
  if (read == TagRead::kUnfinished) return Mark::kUnfinished;
  bool unfinished = false;
  for (const std::string_view mark : kForeignInValue) {
    if (starts_with(text, mark)) return Mark::kForeign;
    unfinished = unfinished || may_start_with(text, mark);
  }
  if (!end_mark.empty() && starts_with(text, end_mark)) return Mark::kForeign;
  unfinished = unfinished || (!end_mark.empty() && may_start_with(text, end_mark));
  return unfinished ? Mark::kUnfinished : Mark::kText;
}

}  // namespace

CallReader::CallReader(std::string name,
                       std::string_view tag,
                       const ParameterTypes& types,
                       std::string_view end_mark)
    : name_(std::move(name)),
      types_(&types),
      end_mark_(end_mark),
      text_(tag),
      n_understood_(tag.size()) {}

CallReader::Step CallReader::advance(std::string& held) {
  const Step result = step(held);
  const bool whole = result == Step::kClosed;
  if (!given_out_ && (whole || (n_understood_ >= kHeldCall && streams()))) give_out();
  if (given_out_ && in_value_) give_value();
  if (whole) out_ += names_.empty() ? "{}" : "}";
  return result;
}

CallReader::Step CallReader::step(std::string& held) {
  if (in_value_) return advance_value(held);
  const std::size_t spaces = std::min(held.find_first_not_of(kSpaces), held.size());
  take(held, spaces);
  // Before it is seen what follows: that may be in another piece.
  if (!given_out_ && n_understood_ >= kHeldCall) give_out();
  if (held.empty()) return Step::kNeedsMore;
  Tag tag;
  switch (read_tag(held, tag)) {
    case TagRead::kUnfinished:
      return Step::kNeedsMore;
    case TagRead::kNone: {
      const bool body = held.front() == '{' && names_.empty() && arguments_.empty() && !had_body_;
      if (!body) return Step::kMalformed;
      value_ = {};
      value_.body = in_value_ = had_body_ = true;
      return Step::kOn;
    }
    case TagRead::kWhole:
      break;
  }
  if (tag.is(Tag::Of::kInvoke, true)) {
    take(held, tag.size);
    return Step::kClosed;
  }
  return tag.is(Tag::Of::kParameter, false) && !had_body_ ? open_value(held, tag)
                                                          : Step::kMalformed;
}

CallReader::Step CallReader::open_value(std::string& held, const Tag& tag) {
  const std::string* name = tag.find("name");
  if (name == nullptr || name->empty()) return Step::kMalformed;
  // What was given out cannot be taken back.
  if (std::find(names_.begin(), names_.end(), *name) != names_.end()) return Step::kMalformed;
  take(held, tag.size);
  const std::string* text = tag.find("string");
  value_ = {};
  value_.name = *name;
  value_.text = text != nullptr && (*text == "true" || *text == "True");
  value_.kinds = types_->find(name_, *name);
  value_.begin = n_understood_;
  in_value_ = true;
  return Step::kOn;
}

CallReader::Step CallReader::advance_value(std::string& held) {
  std::size_t at = held.find('<');
  Mark mark = Mark::kText;
  while (at != kNone) {
    mark = read_mark(std::string_view(held).substr(at), value_.body, end_mark_);
    if (mark != Mark::kText) break;
    at = held.find('<', at + 1);
  }
  take_value(held, std::min(at, held.size()));
  decide_way();
  if (mark == Mark::kForeign) return Step::kMalformed;
  if (mark != Mark::kClose) return Step::kNeedsMore;
  if (value_.body) return close_body();
  Tag tag;
  read_tag(held, tag);
  // Given out as far as it goes before its end is: what follows depends on it.
  if (!given_out_ && n_understood_ >= kHeldCall && streams()) give_out();
  const Step closed = close_value();
  if (closed != Step::kMalformed) take(held, tag.size);
  return closed;
}

// How a value that is not read whole may be given out. Every choice depends on its first bytes
// alone, however they arrive.
void CallReader::decide_way() {
  if (value_.way != Way::kUndecided || value_.body) return;
  if (value_.text) {
    value_.way = Way::kText;
    return;
  }
  const std::size_t first = value_.written.find_first_not_of(kSpaces);
  if (first == kNone) return;
  const char begun = value_.written[first];
  if (is_text(begun, value_.kinds)) {
    value_.way = Way::kText;
  } else if (begun != '{' && begun != '[') {
    value_.way = Way::kHeld;
  } else {
    const std::size_t room = kHeldCall - std::min(kHeldCall, value_.begin);
    const std::size_t probe = std::max(room, kProbe);
    if (value_.written.size() < probe) return;
    const bool json = begins_json(std::string_view(value_.written).substr(0, probe));
    value_.way = json ? Way::kJson : Way::kHeld;
  }
}

bool CallReader::streams() const {
  return !in_value_ || value_.way == Way::kText || value_.way == Way::kJson;
}

CallReader::Step CallReader::close_value() {
  in_value_ = false;
  const bool text = value_.way == Way::kText;
  if (!given_out_ || !(text || value_.way == Way::kJson)) {
    add_argument(value_.name, argument_json(value_.written, text, value_.kinds));
    return Step::kOn;
  }
  give_value();
  if (text) out_ += '"';
  return text || parse_json(value_.written).ok() ? Step::kOn : Step::kMalformed;
}

CallReader::Step CallReader::close_body() {
  const auto object = parse_json(value_.written);
  if (!object.ok() || object->kind != JsonKind::kObject) return Step::kMalformed;
  in_value_ = false;
  for (const JsonValue& member : object->members)
    add_argument(member.key, dump_json(member));
  return Step::kOn;
}

// Gives out what has come of an open value, its name first.
void CallReader::give_value() {
  const bool text = value_.way == Way::kText;
  if (!text && value_.way != Way::kJson) return;
  if (!value_.named) {
    begin_argument(value_.name);
    if (text) out_ += '"';
    value_.named = true;
  }
  const std::string_view rest = std::string_view(value_.written).substr(value_.n_given);
  value_.n_given = value_.written.size();
  out_ += text ? without_quotes(dump_json_string(rest)) : std::string(rest);
}

void CallReader::begin_argument(const std::string& name) {
  out_ += (names_.empty() ? "{" : ", ") + dump_json_string(name) + ": ";
  names_.push_back(name);
}

// Of a parameter written twice the last value counts.
void CallReader::add_argument(const std::string& name, std::string json) {
  if (given_out_) {
    begin_argument(name);
    out_ += json;
    return;
  }
  const auto same = std::find_if(arguments_.begin(), arguments_.end(),
                                 [&](const auto& argument) { return argument.first == name; });
  if (same != arguments_.end()) {
    same->second = std::move(json);
  } else {
    arguments_.emplace_back(name, std::move(json));
  }
}

void CallReader::give_out() {
  given_out_ = true;
  text_.clear();
  for (const auto& [name, json] : arguments_) {
    if (in_value_ && name == value_.name) continue;  // the later one counts
    begin_argument(name);
    out_ += json;
  }
  arguments_.clear();
}

// The arguments stay open, also where all that was written of them is an object of its own.
void CallReader::cut() {
  if (!given_out_) give_out();
  if (in_value_ && value_.body) {
    std::string_view body = trimmed(value_.written);
    if (parse_json(body).ok()) body.remove_suffix(1);
    out_ += body;
    return;
  }
  if (in_value_) {
    if (value_.way != Way::kText) value_.way = Way::kJson;
    give_value();
  } else if (names_.empty()) {
    out_ += '{';
  }
}

std::string CallReader::take_arguments() {
  if (!given_out_) return {};
  return std::exchange(out_, {});
}

void CallReader::take(std::string& held, std::size_t n) {
  if (!given_out_) text_.append(held, 0, n);
  n_understood_ += n;
  held.erase(0, n);
}

void CallReader::take_value(std::string& held, std::size_t n) {
  value_.written.append(held, 0, n);
  take(held, n);
}

}  // namespace dsa::chat
