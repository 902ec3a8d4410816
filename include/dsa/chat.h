// Chat encoding of DeepSeek-V3.2: turns messages into the prompt text and parses completions.
//
// Stateless, callable from any thread. JSON inside prompts is spelled as Python's json.dumps(...,
// ensure_ascii=False) does: ", " and ": " between things, keys in the order given, 1e20 as 1e+20,
// integers of any size digit by digit.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

class Tokenizer;

// Whether conversations are written for a checkpoint as it was trained on them: its model_type (see
// ModelConfig) is DeepSeek-V3.2's, and its vocabulary is not one of another family, with tokens for
// turns such as <|user|> instead of <｜User｜>. A vocabulary with no tokens for turns at all, such
// as a small model's, will do: the encoding is text then. Errors   kUnsupported: another encoding;
// the message names the model type or the tokens
Status check_chat_encoding(std::string_view model_type, const Tokenizer& tokenizer);

struct ToolCall {
  std::string name;
  std::string arguments;  // JSON text of an object
};

struct ChatMessage {
  std::string role;                  // system, developer, user, assistant or tool
  std::string content;               // for tool: the result
  std::string reasoning;             // assistant only
  std::vector<ToolCall> tool_calls;  // assistant only
  std::string tools;            // system, developer: JSON array [{"type":"function",...}] or ""
  std::string response_format;  // system, developer: JSON schema or ""
};

struct ChatOptions {
  bool thinking = false;      // the answer begins with reasoning
  bool drop_thinking = true;  // omit reasoning from before the last user message; the encoding has
                              // no place for it there, so false has no effect
  bool add_bos = true;        // start with the begin-of-sentence token
};

// The messages of an OpenAI-style JSON array, e.g. [{"role":"user","content":"Hi"}]. Fields read:
// role, content, reasoning_content, tool_calls, tools, response_format; others are ignored.
// Errors   kInvalidArgument: not JSON or nested deeper than 128; otherwise the message names the
//          index and the field, e.g. `messages[2].role: "bot", want ...`
Result<std::vector<ChatMessage>> parse_messages(std::string_view messages_json);

// The prompt, up to where the assistant's answer begins.
// Errors   kInvalidArgument: an unknown role, a tool result without its call, a user message
//          or developer message without text, JSON text that is not JSON; names index and field
Result<std::string> encode_chat(std::span<const ChatMessage> messages, const ChatOptions& options);
Result<std::string> encode_chat(std::string_view messages_json, const ChatOptions& options);

struct ParsedCompletion {
  std::string content;
  std::string reasoning;
  std::vector<ToolCall> tool_calls;
};

// Parses the text a model generated after such a prompt (decode with special tokens kept: the tool
// block is made of them). The end-of-sentence token at the end may be missing.
// Errors   kInvalidArgument: names the byte offset at which the text leaves the format
Result<ParsedCompletion> parse_completion(std::string_view text, bool thinking);

// A piece of a completion while it is generated.
struct CompletionPart {
  enum class Kind : unsigned char { kReasoning, kContent, kCallName, kCallArguments };
  Kind kind = Kind::kContent;
  int64_t call = 0;  // of kCallName and kCallArguments: which call, from 0
  std::string text;  // kCallArguments: the next part of the JSON text
};

// parse_completion() for text that arrives piece by piece. The parts, concatenated, are what
// parse_completion() gives for the whole text, wherever it was cut. Text that violates the format
// is content if that becomes clear before the first call has a name, and dropped afterwards: a
// call that was begun is always closed with "}".
class CompletionStream {
 public:
  // tools: false treats tool calls as content.
  CompletionStream(bool thinking, bool tools);

  std::vector<CompletionPart> push(std::string_view text);
  std::vector<CompletionPart> finish();  // when the text has ended

 private:
  enum class At : unsigned char { kReasoning, kContent, kCalls, kCall, kAfter };

  bool advance(std::vector<CompletionPart>& out);
  bool advance_text(std::vector<CompletionPart>& out);
  bool advance_calls(std::vector<CompletionPart>& out);
  bool advance_call(std::vector<CompletionPart>& out);
  bool advance_argument(std::vector<CompletionPart>& out);
  bool leave(std::vector<CompletionPart>& out);
  void emit(std::vector<CompletionPart>& out, CompletionPart::Kind kind, std::string_view text);

  At at_;
  bool tools_;
  std::string held_;   // not yet understood
  std::string block_;  // since the tool block began, until a call has a name
  int64_t n_calls_ = 0;
  int64_t n_arguments_ = 0;  // of the open call
};

}  // namespace dsa

#pragma GCC visibility pop
