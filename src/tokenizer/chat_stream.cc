// A completion to its parts while it is being written.
#include <algorithm>
#include <string>

#include "dsa/chat.h"

#include "tokenizer/chat_tokens.h"
#include "tokenizer/python_json.h"

namespace dsa {
namespace {

using namespace chat;
using Kind = CompletionPart::Kind;

constexpr std::size_t kNone = std::string_view::npos;

bool starts_with(std::string_view text, std::string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

// Whether more text could make it start so.
bool may_start_with(std::string_view text, std::string_view beginning) {
  return starts_with(beginning, text.substr(0, beginning.size()));
}

// Bytes at the end that could be the beginning of `marker`.
std::size_t open_end(std::string_view text, std::string_view marker) {
  std::size_t n = std::min(text.size(), marker.size() - 1);
  while (n > 0 && text.substr(text.size() - n) != marker.substr(0, n))
    --n;
  return n;
}

std::string calls_marker() {
  return "\n\n" + std::string(kOpenCalls);
}

}  // namespace

CompletionStream::CompletionStream(bool thinking, bool tools)
    : at_(thinking ? At::kReasoning : At::kContent), tools_(tools) {}

void CompletionStream::emit(std::vector<CompletionPart>& out, Kind kind, std::string_view text) {
  if (text.empty()) return;
  const bool joins = !out.empty() && out.back().kind == kind && kind != Kind::kCallName;
  if (joins) {
    out.back().text += text;
  } else {
    out.push_back({kind, std::max<int64_t>(n_calls_ - 1, 0), std::string(text)});
  }
}

std::vector<CompletionPart> CompletionStream::push(std::string_view text) {
  std::vector<CompletionPart> out;
  held_ += text;
  if (at_ == At::kCalls && n_calls_ == 0) block_ += text;
  while (advance(out)) {
  }
  return out;
}

std::vector<CompletionPart> CompletionStream::finish() {
  std::vector<CompletionPart> out;
  if (at_ == At::kReasoning) emit(out, Kind::kReasoning, held_);
  if (at_ == At::kContent) emit(out, Kind::kContent, held_);
  if (at_ == At::kCalls || at_ == At::kCall) leave(out);
  held_.clear();
  at_ = At::kAfter;
  return out;
}

// One step on what is held; false when more text is needed.
bool CompletionStream::advance(std::vector<CompletionPart>& out) {
  switch (at_) {
    case At::kReasoning:
    case At::kContent:
      return advance_text(out);
    case At::kCalls:
      return advance_calls(out);
    case At::kCall:
      return advance_call(out);
    case At::kAfter:
      held_.clear();
      return false;
  }
  return false;
}

bool CompletionStream::advance_text(std::vector<CompletionPart>& out) {
  const bool reasoning = at_ == At::kReasoning;
  if (!reasoning && !tools_) {
    emit(out, Kind::kContent, held_);
    held_.clear();
    return false;
  }
  const std::string marker = reasoning ? std::string(kEndThink) : calls_marker();
  const std::size_t found = held_.find(marker);
  const std::size_t end = found != kNone ? found : held_.size() - open_end(held_, marker);
  emit(out, reasoning ? Kind::kReasoning : Kind::kContent, std::string_view(held_).substr(0, end));
  if (found == kNone) {
    held_.erase(0, end);
    return false;
  }
  if (!reasoning) block_ = held_.substr(found);
  held_.erase(0, found + marker.size());
  at_ = reasoning ? At::kContent : At::kCalls;
  return true;
}

// Between calls: a line break, then a call or the end of the block.
bool CompletionStream::advance_calls(std::vector<CompletionPart>& out) {
  const std::string open = "\n" + std::string(kOpenInvoke);
  const std::string close = "\n" + std::string(kCloseCalls);
  if (starts_with(held_, close)) {
    at_ = At::kAfter;
    return true;
  }
  if (!starts_with(held_, open)) {
    return may_start_with(held_, open) || may_start_with(held_, close) ? false : leave(out);
  }
  const std::size_t end = held_.find("\">\n", open.size());
  if (end == kNone) return false;
  ++n_calls_;
  n_arguments_ = 0;
  emit(out, Kind::kCallName, std::string_view(held_).substr(open.size(), end - open.size()));
  held_.erase(0, end + 3);
  at_ = At::kCall;
  return true;
}

// Inside a call: an argument, or its end.
bool CompletionStream::advance_call(std::vector<CompletionPart>& out) {
  if (starts_with(held_, kOpenParameter)) return advance_argument(out);
  const std::string close = std::string(kCloseInvoke) + "\n";
  const std::string close_empty = "\n" + close;  // the empty line where no argument is
  const bool may_be_empty = n_arguments_ == 0;
  for (const std::string& end : {close, close_empty}) {
    const bool fits = end.front() != '\n' || may_be_empty;
    if (!fits || !starts_with(held_, end)) continue;
    emit(out, Kind::kCallArguments, n_arguments_ == 0 ? "{}" : "}");
    held_.erase(0, end.size() - 1);  // the line break belongs to what follows
    at_ = At::kCalls;
    return true;
  }
  const bool open = may_start_with(held_, kOpenParameter) || may_start_with(held_, close) ||
                    (may_be_empty && may_start_with(held_, close_empty));
  return open ? false : leave(out);
}

bool CompletionStream::advance_argument(std::vector<CompletionPart>& out) {
  const std::string end = std::string(kCloseParameter) + "\n";
  const std::size_t close = held_.find(kCloseParameter);
  if (close == kNone || held_.size() < close + end.size()) return false;
  const std::string_view argument =
      std::string_view(held_).substr(kOpenParameter.size(), close - kOpenParameter.size());
  const std::size_t name_end = argument.find(kIsString);
  if (name_end == kNone || held_[close + end.size() - 1] != '\n') return leave(out);
  const std::string_view name = argument.substr(0, name_end);
  std::string_view value = argument.substr(name_end + kIsString.size());
  const bool is_string = starts_with(value, "true\">");
  if (!is_string && !starts_with(value, "false\">")) return leave(out);
  value.remove_prefix(is_string ? 6 : 7);
  if (!is_string && !parse_json(value).ok()) return leave(out);
  const std::string json = is_string ? dump_json_string(value) : std::string(value);
  emit(out, Kind::kCallArguments,
       (n_arguments_ == 0 ? "{" : ", ") + dump_json_string(name) + ": " + json);
  ++n_arguments_;
  held_.erase(0, close + end.size());
  return true;
}

// The text has left the format.
bool CompletionStream::leave(std::vector<CompletionPart>& out) {
  if (at_ == At::kCall) emit(out, Kind::kCallArguments, n_arguments_ == 0 ? "{}" : "}");
  const bool content = n_calls_ == 0;
  if (content) emit(out, Kind::kContent, block_);
  held_.clear();
  block_.clear();
  tools_ = false;
  at_ = content ? At::kContent : At::kAfter;
  return true;
}

}  // namespace dsa
