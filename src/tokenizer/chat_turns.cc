#include "tokenizer/chat_turns.h"

#include <algorithm>
#include <optional>
#include <string>

#include "common/status_macros.h"
#include "tokenizer/python_json.h"

namespace dsa::chat {
namespace {

// The results that follow one message with calls.
class ResultPairing {
 public:
  ResultPairing(std::span<const ChatMessage> messages, std::size_t caller)
      : messages_(messages), caller_(caller), answers_(calls().size()) {
    has_ids_ = std::any_of(calls().begin(), calls().end(),
                           [](const ToolCall& call) { return !call.id.empty(); });
  }

  Status add(std::size_t result) {
    const std::string& id = messages_[result].tool_call_id;
    const bool by_id = has_ids_ && !id.empty();
    for (std::size_t i = 0; i < answers_.size(); ++i) {
      if (answers_[i] || (by_id && calls()[i].id != id)) continue;
      answers_[i] = result;
      ++n_results_;
      return Status();
    }
    return by_id
               ? wrong_id(result)
               : invalid_argument(
                     "messages[{}].role: \"tool\", want one for each tool call before it", result);
  }

  Status check_complete() const {
    const auto missing = std::find(answers_.begin(), answers_.end(), std::nullopt);
    if (n_results_ == 0 || missing == answers_.end()) return Status();
    const std::string& id = calls()[static_cast<std::size_t>(missing - answers_.begin())].id;
    return invalid_argument("messages[{}].tool_calls: followed by {} tool messages, want {}{}",
                            caller_, n_results_, answers_.size(),
                            id.empty() ? "" : "; none has the id " + dump_json_string(id));
  }

  std::size_t n_results() const { return n_results_; }

  void write(std::vector<ChatTurn>& turns) const {
    for (std::size_t i = 0; i < n_results_; ++i)
      turns.push_back({*answers_[i], i == 0, i + 1 == n_results_, {}});
  }

 private:
  const std::vector<ToolCall>& calls() const { return messages_[caller_].tool_calls; }

  Status wrong_id(std::size_t result) const {
    const std::string& id = messages_[result].tool_call_id;
    std::string ids;
    for (std::size_t i = 0; i < answers_.size(); ++i) {
      if (calls()[i].id == id) {
        return invalid_argument("messages[{}].tool_call_id: {}, answered in messages[{}] already",
                                result, dump_json_string(id), *answers_[i]);
      }
      ids += (i > 0 ? ", " : "") + dump_json_string(calls()[i].id);
    }
    return invalid_argument(
        "messages[{}].tool_call_id: {}, want an id of messages[{}].tool_calls: {}", result,
        dump_json_string(id), caller_, ids);
  }

  std::span<const ChatMessage> messages_;
  std::size_t caller_;
  bool has_ids_ = false;
  std::size_t n_results_ = 0;
  std::vector<std::optional<std::size_t>> answers_;  // of each call
};

class TurnArranger {
 public:
  explicit TurnArranger(std::span<const ChatMessage> messages) : messages_(messages) {}

  Result<std::vector<ChatTurn>> arrange() {
    while (at_ < messages_.size()) {
      const std::size_t begin = at_++;
      turns_.push_back({begin, false, false, {}});
      if (role(begin, "user") || role(begin, "developer")) take_notes();
      if (!messages_[begin].tool_calls.empty()) DSA_RETURN_IF_ERROR(take_results(begin));
      if (!role(begin, "tool")) continue;
      return invalid_argument("messages[{}].role: \"tool\", want one for each tool call before it",
                              begin);
    }
    return std::move(turns_);
  }

 private:
  bool role(std::size_t i, std::string_view wanted) const { return messages_[i].role == wanted; }

  void take_notes() {
    while (at_ < messages_.size() && role(at_, "system"))
      turns_.back().notes.push_back(at_++);
  }

  Status take_results(std::size_t caller) {
    ResultPairing pairing(messages_, caller);
    std::vector<std::size_t> notes;
    std::size_t end = at_;
    for (; end < messages_.size(); ++end) {
      if (role(end, "tool")) {
        DSA_RETURN_IF_ERROR(pairing.add(end));
      } else if (role(end, "system")) {
        notes.push_back(end);
      } else {
        break;
      }
    }
    DSA_RETURN_IF_ERROR(pairing.check_complete());
    if (pairing.n_results() == 0) return Status();
    pairing.write(turns_);
    turns_.back().notes = std::move(notes);
    at_ = end;
    return Status();
  }

  std::span<const ChatMessage> messages_;
  std::size_t at_ = 0;
  std::vector<ChatTurn> turns_;
};

}  // namespace

Result<std::vector<ChatTurn>> arrange_turns(std::span<const ChatMessage> messages) {
  return TurnArranger(messages).arrange();
}

}  // namespace dsa::chat
