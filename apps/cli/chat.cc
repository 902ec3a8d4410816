// dsa run --chat: turns of a conversation; the cache is kept from one to the next.
#include "dsa/chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::ChatMessage;
using dsa::Result;
using dsa::Status;
using dsa::StatusCode;

// The next line of standard input without its end; nothing at the end or after Ctrl-C.
std::optional<std::string> read_line() {
  char* buffer = nullptr;
  size_t capacity = 0;
  const ssize_t n = ::getline(&buffer, &capacity, stdin);
  const std::unique_ptr<char, decltype(&std::free)> owner(buffer, &std::free);
  if (n <= 0 || interrupted()) return std::nullopt;
  std::string line(buffer, static_cast<size_t>(n));
  if (line.back() == '\n') line.pop_back();
  return line;
}

class Chat {
 public:
  Chat(const RunOptions& options, Runner& runner) : options_(&options), runner_(&runner) {
    if (!options.system.empty()) messages_.push_back(message("system", options.system));
  }

  Status answer(const std::string& user_text) {
    messages_.push_back(message("user", user_text));
    auto prompt = next_prompt();
    if (!prompt.ok()) return prompt.status();
    const auto n_prompt = static_cast<int64_t>(prompt->size());
    if (n_prompt >= runner_->context) return does_not_fit(n_prompt);
    const GenerateOptions generate = generate_options(*options_, *runner_);
    auto generation = runner_->generator->generate(*prompt, generate, [this](auto piece) {
      if (!options_->json) print(piece);
      (void)flush_stdout();  // a failure is kept and reported at the end
    });
    if (!generation.ok()) return generation.status();
    remember(*prompt, *generation);
    report(*generation);
    return Status();
  }

  void finish() const {
    if (!options_->json) return;
    Json document = {{"model", options_->model.dir}, {"turns", turns_}};
    document.update(runner_json(*runner_));
    print_json(document);
  }

 private:
  static ChatMessage message(const char* role, const std::string& content) {
    ChatMessage out;
    out.role = role;
    out.content = content;
    return out;
  }

  Status does_not_fit(int64_t n_prompt) const {
    return Status(StatusCode::kResourceExhausted,
                  fmt::format("conversation: {} tokens, want at most {} in a context of {} (--ctx)",
                              group_digits(n_prompt), group_digits(runner_->context - 1),
                              group_digits(runner_->context)));
  }

  // When the new prompt goes on from the text in the cache, the ids of that text stay as they are:
  // the model's own tokens need not be those the tokenizer would choose for the same text.
  Result<std::vector<int32_t>> next_prompt() {
    const dsa::ChatOptions chat_options{options_->thinking, true, true};
    auto text = dsa::encode_chat(messages_, chat_options);
    if (!text.ok()) return text.status();
    std::vector<int32_t> ids;
    std::string_view rest = *text;
    if (!held_text_.empty() && rest.substr(0, held_text_.size()) == held_text_) {
      const auto held = runner_->generator->held();
      ids.assign(held.begin(), held.end());
      rest.remove_prefix(held_text_.size());
    }
    auto encoded = runner_->text.tokenizer.encode(rest);
    if (!encoded.ok()) return encoded.status();
    ids.insert(ids.end(), encoded->begin(), encoded->end());
    prompt_text_ = std::move(*text);
    return ids;
  }

  // Adds the answer to the conversation, and notes what text the cache now holds.
  void remember(std::span<const int32_t> prompt, const GeneratedText& generation) {
    const auto held = runner_->generator->held();
    const auto written = held.subspan(std::min(prompt.size(), held.size()));
    held_text_ = prompt_text_ + readable_text(runner_->text.tokenizer, written);
    ChatMessage reply = message("assistant", generation.text);
    auto parsed = dsa::parse_completion(generation.text, options_->thinking);
    if (parsed.ok()) {
      reply.content = parsed->content;
      reply.reasoning = parsed->reasoning;
      reply.tool_calls = parsed->tool_calls;
    }
    messages_.push_back(std::move(reply));
  }

  void report(const GeneratedText& generation) {
    if (options_->json) {
      auto turn = generation_json(generation);
      if (runner_->explain) turn.set("explain", explanation_json());
      turns_.push_back(std::move(turn));
      return;
    }
    print("\n");
    (void)flush_stdout();
    if (runner_->explain) {
      print(runner_->explain->table(runner_->text.tokenizer, runner_->generator->held()));
      (void)flush_stdout();
    }
    if (!options_->quiet) note(report_line(*runner_, generation));
  }

  Json explanation_json() const {
    return runner_->explain->json(runner_->text.tokenizer, runner_->generator->held());
  }

  const RunOptions* options_;
  Runner* runner_;
  std::vector<ChatMessage> messages_;
  std::string prompt_text_;
  std::string held_text_;  // what the cache holds; empty before the first turn
  Json turns_ = Json::array();
};

}  // namespace

Status chat(const RunOptions& options, Runner& runner) {
  Chat conversation(options, runner);
  const bool interactive = stdin_is_terminal() && !options.json;
  while (!interrupted()) {
    if (interactive) std::fputs("> ", stderr);
    const auto line = read_line();
    if (!line) break;
    if (line->empty()) continue;
    if (auto status = conversation.answer(*line); !status.ok()) {
      conversation.finish();
      return status;
    }
  }
  if (interactive) note("");
  conversation.finish();
  return Status();
}

}  // namespace cli
