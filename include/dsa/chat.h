// Chat encoding of DeepSeek-V3.2: turns messages into the prompt text and parses completions.
//
// Stateless, callable from any thread. JSON inside prompts is spelled as Python's json.dumps(...,
// ensure_ascii=False) does: ", " and ": " between things, keys in the order given, 1e20 as 1e+20,
// integers of any size digit by digit.
#pragma once

#include <cstdint>
#include <memory>
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
  std::string arguments;  // JSON text of an object; other text is written as one argument
  std::string id{};       // pairs it with its result
};

struct ChatMessage {
  std::string role;                  // system, developer, user, assistant or tool
  std::string content;               // for tool: the result
  std::string reasoning;             // assistant only
  std::vector<ToolCall> tool_calls;  // assistant only
  std::string tool_call_id;          // tool only: the call it answers; "": the next one
  bool prefix = false;               // the last message, by the assistant: the answer continues it
  std::string tools;            // system, developer: JSON array [{"type":"function",...}] or ""
  std::string response_format;  // system, developer: JSON schema or ""
};

struct ChatOptions {
  bool thinking = false;      // the answer begins with reasoning
  bool drop_thinking = true;  // omit reasoning from before the last user message; the encoding has
                              // no place for it there, so false has no effect
  bool add_bos = true;        // start with the begin-of-sentence token
  bool open_turn = true;      // when the last message leaves it to nobody to speak, it is the
                              // assistant's turn
};

// The messages of an OpenAI-style JSON array, e.g. [{"role":"user","content":"Hi"}]. Fields read:
// role, content, reasoning_content (or reasoning), tool_calls, tool_call_id, prefix, tools,
// response_format; others are ignored. Arguments of calls may be "", null or an object as well.
// Errors   kInvalidArgument: not JSON or nested deeper than 128; otherwise the message names the
//          index and the field, e.g. `messages[2].role: "bot", want ...`
Result<std::vector<ChatMessage>> parse_messages(std::string_view messages_json);

// The prompt, up to where the assistant's answer begins. Results of tools come in the order of
// their calls. A system message behind a user message or results is written at the end of that
// turn, after a blank line. Arguments that are no JSON object are one text argument "arguments".
// Errors   kInvalidArgument: an unknown role, a tool result without its call, a call without a
//          result among others that have one, a developer message without text, a prefix that
//          cannot be continued, tools or a schema that are not JSON; names index and field
Result<std::string> encode_chat(std::span<const ChatMessage> messages, const ChatOptions& options);
Result<std::string> encode_chat(std::string_view messages_json, const ChatOptions& options);

// Whether the answer to that prompt begins with reasoning: when thinking, unless it continues a
// message's content.
bool begins_with_reasoning(std::span<const ChatMessage> messages, const ChatOptions& options);

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

// What CompletionStream looks for.
struct CompletionFormat {
  enum class Calls : unsigned char {
    kText,  // part of the content, like any text
    kRead,
    kDropped  // left out, with all their markup
  };
  bool thinking = false;  // the text begins with reasoning
  Calls calls = Calls::kText;
  // As ChatMessage::tools, or "". A parameter whose tag does not say whether it is text is what its
  // schema says.
  std::string tools;
};

// Reads a completion that arrives piece by piece. For text that parse_completion() accepts the
// parts, concatenated, are what that gives; and they are the same for any text, wherever it was
// cut.
//
// Calls are read as models write them, also off the format: with other or no white space between
// the tags, attributes in any order, a `string` attribute missing or wrong (a value that is not
// JSON is text, and so is JSON of a kind that the schema does not have beside text), one JSON
// object in place of parameters, a parameter twice (the last one counts), no block around the
// calls. White space next to a block is left out unless text goes on behind it.
//
// What is no call is text as it stands, and calls beside it are read all the same. A call is given
// out when it has been read whole, or as it is written from 256 bytes on. One that breaks off, or
// leaves the format after that, keeps what was given out of its arguments; they are never closed,
// so that they are not JSON. A block of which no call has a name yet is dropped when the text ends.
//
// A block inside the reasoning is given out in finish(), unless calls follow the reasoning: then it
// was a draft of them and is dropped.
class CompletionStream {
 public:
  explicit CompletionStream(const CompletionFormat& format);
  ~CompletionStream();
  CompletionStream(CompletionStream&&) noexcept;
  CompletionStream& operator=(CompletionStream&&) noexcept;

  std::vector<CompletionPart> push(std::string_view text);
  std::vector<CompletionPart> finish();  // when the text has ended

  // Calls read whole, of those given out.
  int64_t n_whole_calls() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsa

#pragma GCC visibility pop
