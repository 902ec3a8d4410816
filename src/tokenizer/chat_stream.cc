// A completion to its parts while it is being written.
#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "dsa/chat.h"

#include "tokenizer/call_reader.h"
#include "tokenizer/chat_tag.h"
#include "tokenizer/chat_tokens.h"
#include "tokenizer/parameter_types.h"

namespace dsa {

using namespace chat;
using Kind = CompletionPart::Kind;
using Calls = CompletionFormat::Calls;

namespace {

constexpr std::size_t kNone = std::string_view::npos;
constexpr std::size_t kLongestGap = 2;  // line breaks that the encoder writes before a block

}  // namespace

struct CompletionStream::Impl {
  enum class At : unsigned char { kText, kOpened, kCall, kDropping };
  // What stands at a '<' of the text.
  enum class Mark : unsigned char { kNone, kUnfinished, kEndThink, kTag };

  explicit Impl(const CompletionFormat& format)
      : calls(format.calls),
        types(format.tools),
        kind(format.thinking ? Kind::kReasoning : Kind::kContent) {}

  bool thinking() const { return kind == Kind::kReasoning; }

  bool advance();
  bool advance_text();
  bool advance_opened();
  bool advance_call();
  bool advance_dropping();
  Mark read_mark(std::string_view text, Tag& tag) const;
  bool take_tag(std::size_t gap, const Tag& tag);
  void begin_call(std::string& text, const Tag& tag);
  void end_reasoning();
  void end_block();
  void give_call();
  void give_text(std::string_view text);
  void give(Kind what, std::string_view text);
  void spill(std::string_view text);
  std::string cut(std::string& text, std::size_t n) const;
  void finish();

  Calls calls;
  ParameterTypes types;
  Kind kind;  // of text
  At at = At::kText;
  std::string held;           // not yet understood
  std::string pending;        // since a block began, until it has a call
  std::string gap;            // line breaks before the last block
  bool behind_block = false;  // no text since the last block
  bool in_block = false;      // its end is still to come
  bool said = false;          // some text of this kind was given out
  Tag::Of dropped = Tag::Of::kCalls;
  std::optional<CallReader> call;
  bool named = false;   // the open call's name was given out
  int64_t n_calls = 0;  // of content, or of reasoning
  int64_t n_whole = 0;
  std::vector<CompletionPart> drafts;  // calls inside the reasoning
  std::vector<CompletionPart> out;
};

// One step on what is held; false when more text is needed.
bool CompletionStream::Impl::advance() {
  switch (at) {
    case At::kText:
      return advance_text();
    case At::kOpened:
      return advance_opened();
    case At::kCall:
      return advance_call();
    case At::kDropping:
      return advance_dropping();
  }
  return false;
}

std::string CompletionStream::Impl::cut(std::string& text, std::size_t n) const {
  std::string out_of = text.substr(0, n);
  text.erase(0, n);
  return out_of;
}

void CompletionStream::Impl::give(Kind what, std::string_view text) {
  const bool is_call = what == Kind::kCallName || what == Kind::kCallArguments;
  auto& to = is_call && thinking() ? drafts : out;
  if (text.empty()) return;
  const bool joins = !to.empty() && to.back().kind == what && what != Kind::kCallName;
  if (joins) {
    to.back().text += text;
  } else {
    to.push_back({what, is_call ? n_calls - 1 : 0, std::string(text)});
  }
}

// Behind a block, text goes on after the line breaks that stood before it.
void CompletionStream::Impl::give_text(std::string_view text) {
  if (behind_block) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
    if (text.empty()) return;
    behind_block = false;
    if (said) give(kind, gap);
  }
  if (text.empty()) return;
  give(kind, text);
  said = true;
}

// What was taken for a block or a call is none.
void CompletionStream::Impl::spill(std::string_view text) {
  give_text(pending);
  give_text(text);
  pending.clear();
  at = At::kText;
}

CompletionStream::Impl::Mark CompletionStream::Impl::read_mark(std::string_view text,
                                                               Tag& tag) const {
  bool unfinished = false;
  if (thinking()) {
    if (starts_with(text, kEndThink)) return Mark::kEndThink;
    unfinished = may_start_with(text, kEndThink);
  }
  if (calls == Calls::kText) return unfinished ? Mark::kUnfinished : Mark::kNone;
  const TagRead read = read_tag(text, tag);
  if (read == TagRead::kUnfinished || unfinished) return Mark::kUnfinished;
  if (read == TagRead::kNone) return Mark::kNone;
  const std::string* name = tag.find("name");
  const bool calls_one = tag.is(Tag::Of::kInvoke, false) &&
                         (calls == Calls::kDropped || (name != nullptr && !name->empty()));
  const bool counts =
      tag.is(Tag::Of::kCalls, false) || calls_one || (in_block && tag.is(Tag::Of::kCalls, true));
  return counts ? Mark::kTag : Mark::kNone;
}

bool CompletionStream::Impl::advance_text() {
  Tag tag;
  Mark mark = Mark::kNone;
  std::size_t found = held.find('<');
  while (found != kNone) {
    mark = read_mark(std::string_view(held).substr(found), tag);
    if (mark != Mark::kNone) break;
    found = held.find('<', found + 1);
  }
  const std::size_t end = std::min(found, held.size());
  std::size_t n_gap = 0;
  const bool may_gap = calls != Calls::kText && mark != Mark::kEndThink;
  while (may_gap && n_gap < std::min(kLongestGap, end) && held[end - n_gap - 1] == '\n')
    ++n_gap;
  give_text(cut(held, end - n_gap));
  if (mark == Mark::kEndThink) {
    held.erase(0, kEndThink.size());
    end_reasoning();
    return true;
  }
  return mark == Mark::kTag && take_tag(n_gap, tag);
}

// A tag of a block, behind `n_gap` line breaks.
bool CompletionStream::Impl::take_tag(std::size_t n_gap, const Tag& tag) {
  const std::string breaks = cut(held, n_gap);
  if (!behind_block) gap = breaks;
  if (tag.closes) {
    held.erase(0, tag.size);
    in_block = false;
    end_block();
  } else if (calls == Calls::kDropped) {
    dropped = tag.of;
    at = At::kDropping;
  } else if (tag.of == Tag::Of::kInvoke) {
    pending = breaks;
    begin_call(held, tag);
  } else {
    pending = breaks + cut(held, tag.size);
    at = At::kOpened;
  }
  return true;
}

// Behind the tag that opens a block: a call, or the block's end.
bool CompletionStream::Impl::advance_opened() {
  pending += cut(held, std::min(held.find_first_not_of(kSpaces), held.size()));
  if (held.empty()) return false;
  Tag tag;
  const TagRead read = read_tag(held, tag);
  if (read == TagRead::kUnfinished) return false;
  const std::string* name = tag.find("name");
  if (read == TagRead::kWhole && tag.is(Tag::Of::kCalls, true)) {
    held.erase(0, tag.size);
    pending.clear();
    end_block();
  } else if (read == TagRead::kWhole && tag.is(Tag::Of::kInvoke, false) && name != nullptr &&
             !name->empty()) {
    begin_call(held, tag);
  } else {
    spill({});
  }
  return true;
}

void CompletionStream::Impl::begin_call(std::string& text, const Tag& tag) {
  const std::string written = cut(text, tag.size);
  const std::string_view end_mark = thinking() ? kEndThink : std::string_view();
  call.emplace(*tag.find("name"), written, types, end_mark);
  named = false;
  at = At::kCall;
}

bool CompletionStream::Impl::advance_call() {
  const CallReader::Step step = call->advance(held);
  give_call();
  if (step == CallReader::Step::kOn) return true;
  if (step == CallReader::Step::kNeedsMore) return false;
  if (call->given_out()) {
    if (step == CallReader::Step::kClosed) ++n_whole;
    in_block = true;
    end_block();
  } else {
    spill(call->text());
  }
  call.reset();
  return true;
}

void CompletionStream::Impl::give_call() {
  if (!call->given_out()) return;
  if (!named) {
    named = true;
    pending.clear();
    if (!thinking() && !drafts.empty()) {
      drafts.clear();
      n_whole = 0;
    }
    ++n_calls;
    give(Kind::kCallName, call->name());
  }
  give(Kind::kCallArguments, call->take_arguments());
}

bool CompletionStream::Impl::advance_dropping() {
  std::size_t at_tag = held.find('<');
  while (at_tag != kNone) {
    const std::string_view text = std::string_view(held).substr(at_tag);
    if (thinking() && starts_with(text, kEndThink)) break;
    Tag tag;
    const TagRead read = read_tag(text, tag);
    const bool unfinished =
        read == TagRead::kUnfinished || (thinking() && may_start_with(text, kEndThink));
    if (unfinished) {
      held.erase(0, at_tag);
      return false;
    }
    if (read == TagRead::kWhole && tag.is(dropped, true)) {
      at_tag += tag.size;
      break;
    }
    at_tag = held.find('<', at_tag + 1);
  }
  held.erase(0, std::min(at_tag, held.size()));
  if (at_tag == kNone) return false;
  in_block = dropped == Tag::Of::kInvoke;
  end_block();
  return true;
}

void CompletionStream::Impl::end_block() {
  behind_block = true;
  at = At::kText;
}

void CompletionStream::Impl::end_reasoning() {
  kind = Kind::kContent;
  behind_block = in_block = said = false;
  gap.clear();
  n_calls = 0;
}

// The text has ended. A tag that was begun is the beginning of what the end has cut off.
void CompletionStream::Impl::finish() {
  if (at == At::kCall) {
    call->cut();
    give_call();
  }
  if (at == At::kText) {
    const std::size_t tag = calls == Calls::kText ? kNone : held.find(kDsml);
    if (tag == kNone) give_text(held);
  }
  held.clear();
  pending.clear();
  std::move(drafts.begin(), drafts.end(), std::back_inserter(out));
  drafts.clear();
}

CompletionStream::CompletionStream(const CompletionFormat& format)
    : impl_(std::make_unique<Impl>(format)) {}
CompletionStream::~CompletionStream() = default;
CompletionStream::CompletionStream(CompletionStream&&) noexcept = default;
CompletionStream& CompletionStream::operator=(CompletionStream&&) noexcept = default;

std::vector<CompletionPart> CompletionStream::push(std::string_view text) {
  impl_->held += text;
  while (impl_->advance()) {
  }
  return std::exchange(impl_->out, {});
}

std::vector<CompletionPart> CompletionStream::finish() {
  impl_->finish();
  return std::exchange(impl_->out, {});
}

int64_t CompletionStream::n_whole_calls() const {
  return impl_->n_whole;
}

}  // namespace dsa
