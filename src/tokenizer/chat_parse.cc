// A completion back to its parts.
#include <algorithm>

#include "dsa/chat.h"

#include "common/status_macros.h"
#include "tokenizer/chat_tokens.h"
#include "tokenizer/python_json.h"

namespace dsa {
namespace {

using namespace chat;

constexpr std::size_t kNone = std::string_view::npos;

class CompletionParser {
 public:
  explicit CompletionParser(std::string_view text) : text_(text) {}
  Result<ParsedCompletion> parse(bool thinking);

 private:
  Result<std::string> parse_reasoning();
  Result<std::string> parse_content();
  Result<ToolCall> parse_call();
  Status parse_argument(std::vector<std::string>& names, std::string& arguments);
  Result<std::string> parse_value(bool is_string);
  Status check_plain(std::size_t begin, std::size_t end) const;

  bool skip(std::string_view wanted);
  Status expect(std::string_view wanted);
  Result<std::string_view> until(std::string_view stop);
  Status off_format(std::size_t at, std::string_view want) const;

  std::string_view text_;
  std::size_t at_ = 0;
};

Status CompletionParser::off_format(std::size_t at, std::string_view want) const {
  const bool end = at >= text_.size();
  return invalid_argument("completion: byte {}: {}, want {}", at,
                          end ? "the end" : "something else", want);
}

bool CompletionParser::skip(std::string_view wanted) {
  if (text_.substr(at_, wanted.size()) != wanted) return false;
  at_ += wanted.size();
  return true;
}

Status CompletionParser::expect(std::string_view wanted) {
  return skip(wanted) ? Status() : off_format(at_, dump_json_string(wanted));
}

// What comes before `stop`; goes on after it.
Result<std::string_view> CompletionParser::until(std::string_view stop) {
  const std::size_t end = text_.find(stop, at_);
  if (end == kNone) return off_format(text_.size(), dump_json_string(stop));
  const std::string_view found = text_.substr(at_, end - at_);
  at_ = end + stop.size();
  return found;
}

// A control token inside what should be text: the model left the format.
Status CompletionParser::check_plain(std::size_t begin, std::size_t end) const {
  const std::string_view part = text_.substr(begin, end - begin);
  for (const std::string_view token : {kBegin, kEnd, kThink, kEndThink, kDsml}) {
    if (const std::size_t found = part.find(token); found != kNone) {
      return off_format(begin + found, fmt::format("text without {}", token));
    }
  }
  return Status();
}

Result<std::string> CompletionParser::parse_reasoning() {
  const std::size_t begin = at_;
  DSA_ASSIGN_OR_RETURN(const std::string_view reasoning, until(kEndThink));
  DSA_RETURN_IF_ERROR(check_plain(begin, begin + reasoning.size()));
  return std::string(reasoning);
}

// Up to the tool block, the end token or the end, whichever is first.
Result<std::string> CompletionParser::parse_content() {
  const std::size_t calls = text_.find("\n\n" + std::string(kOpenCalls), at_);
  const std::size_t end = std::min({calls, text_.find(kEnd, at_), text_.size()});
  DSA_RETURN_IF_ERROR(check_plain(at_, end));
  std::string content(text_.substr(at_, end - at_));
  at_ = end;
  return content;
}

Result<ToolCall> CompletionParser::parse_call() {
  ToolCall call;
  DSA_ASSIGN_OR_RETURN(const std::string_view name, until("\">\n"));
  call.name = name;
  std::vector<std::string> names;
  while (skip(kOpenParameter))
    DSA_RETURN_IF_ERROR(parse_argument(names, call.arguments));
  if (names.empty()) skip("\n");  // the encoder leaves an empty line where no argument is
  DSA_RETURN_IF_ERROR(expect(kCloseInvoke));
  DSA_RETURN_IF_ERROR(expect("\n"));
  call.arguments = "{" + call.arguments + "}";
  return call;
}

Status CompletionParser::parse_argument(std::vector<std::string>& names, std::string& arguments) {
  const std::size_t begin = at_;
  DSA_ASSIGN_OR_RETURN(const std::string_view name, until(kIsString));
  if (std::find(names.begin(), names.end(), name) != names.end()) {
    return off_format(begin, "each parameter once");
  }
  const bool is_string = skip("true\">");
  if (!is_string) DSA_RETURN_IF_ERROR(expect("false\">"));
  DSA_ASSIGN_OR_RETURN(const std::string value, parse_value(is_string));
  DSA_RETURN_IF_ERROR(expect("\n"));
  arguments += fmt::format("{}{}: {}", names.empty() ? "" : ", ", dump_json_string(name), value);
  names.emplace_back(name);
  return Status();
}

// The JSON text of an argument: a string is quoted, anything else is JSON as it stands.
Result<std::string> CompletionParser::parse_value(bool is_string) {
  const std::size_t begin = at_;
  DSA_ASSIGN_OR_RETURN(const std::string_view value, until(kCloseParameter));
  for (const std::string_view mark : kForeignInValue) {
    if (const std::size_t found = value.find(mark); found != kNone) {
      return off_format(begin + found, dump_json_string(kCloseParameter));
    }
  }
  if (is_string) return dump_json_string(value);
  if (const auto json = parse_json(value); !json.ok()) {
    return off_format(begin, fmt::format("JSON ({})", json.status().message()));
  }
  return std::string(value);
}

Result<ParsedCompletion> CompletionParser::parse(bool thinking) {
  ParsedCompletion result;
  if (thinking) {
    DSA_ASSIGN_OR_RETURN(result.reasoning, parse_reasoning());
  }
  DSA_ASSIGN_OR_RETURN(result.content, parse_content());
  if (skip("\n\n")) {
    DSA_RETURN_IF_ERROR(expect(kOpenCalls));
    DSA_RETURN_IF_ERROR(expect("\n"));
    while (skip(kOpenInvoke)) {
      DSA_ASSIGN_OR_RETURN(ToolCall call, parse_call());
      result.tool_calls.push_back(std::move(call));
    }
    DSA_RETURN_IF_ERROR(expect(kCloseCalls));
  }
  if (at_ < text_.size()) DSA_RETURN_IF_ERROR(expect(kEnd));
  if (at_ < text_.size()) return off_format(at_, "the end");
  return result;
}

}  // namespace

Result<ParsedCompletion> parse_completion(std::string_view text, bool thinking) {
  return CompletionParser(text).parse(thinking);
}

}  // namespace dsa
