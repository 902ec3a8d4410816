// Messages to the prompt.
#include "dsa/chat.h"

#include "common/status_macros.h"
#include "tokenizer/chat_tokens.h"
#include "tokenizer/chat_turns.h"
#include "tokenizer/python_json.h"

namespace dsa {
namespace {

using namespace chat;

constexpr std::string_view kToolsBefore =
    R"(## Tools

You have access to a set of tools you can use to answer the user's question.
You can invoke functions by writing a "<｜DSML｜function_calls>" block like the following as part of your reply to the user:
<｜DSML｜function_calls>
<｜DSML｜invoke name="$FUNCTION_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$FUNCTION_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜function_calls>

String and scalar parameters should be specified as is without any escaping or quotes, while lists and objects should use JSON format. The "string" attribute should be set to "true" for string type parameters and "false" for other types (numbers, booleans, arrays, objects).

If the thinking_mode is enabled, then after function results you should strongly consider outputting a thinking block. Here is an example:

<｜DSML｜function_calls>
...
</｜DSML｜function_calls>

<function_results>
...
</function_results>

<think>...thinking about results</think>

Here are the functions available in JSONSchema format:
<functions>
)";
constexpr std::string_view kToolsAfter = "</functions>\n";
constexpr std::string_view kResponseFormat =
    "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n";

class PromptWriter {
 public:
  PromptWriter(std::span<const ChatMessage> messages, const ChatOptions& options);
  Result<std::string> write();

 private:
  Status write_turn(const ChatTurn& turn);
  Status write_system(std::size_t i);
  Status write_notes(const ChatTurn& turn);
  Status write_user(const ChatTurn& turn);
  Status write_developer(const ChatTurn& turn);
  Status write_assistant(std::size_t i);
  Status write_tool_calls(std::size_t i);
  void write_arguments(const ToolCall& call);
  Status write_tool_result(const ChatTurn& turn);
  Status write_tools(std::size_t i);
  Status write_response_format(std::size_t i);
  void open_answer(std::size_t i);
  Status check_fields(std::size_t i) const;
  Status check_prefix(std::size_t i) const;

  template <class... Parts>
  void put(const Parts&... parts) {
    ((prompt_ += parts), ...);
  }

  std::span<const ChatMessage> messages_;
  ChatOptions options_;
  std::ptrdiff_t last_user_ = -1;  // index of the last user or developer message
  bool open_ = false;              // it is the assistant's turn
  std::string prompt_;
};

PromptWriter::PromptWriter(std::span<const ChatMessage> messages, const ChatOptions& options)
    : messages_(messages), options_(options) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role == "user" || role == "developer") last_user_ = static_cast<std::ptrdiff_t>(i);
  }
}

Result<std::string> PromptWriter::write() {
  if (options_.add_bos) put(kBegin);
  DSA_ASSIGN_OR_RETURN(const std::vector<ChatTurn> turns, arrange_turns(messages_));
  for (const ChatTurn& turn : turns)
    DSA_RETURN_IF_ERROR(write_turn(turn));
  if (options_.open_turn && !open_ && !turns.empty()) {
    put(kAssistant, options_.thinking ? kThink : kEndThink);
  }
  return std::move(prompt_);
}

Status PromptWriter::write_turn(const ChatTurn& turn) {
  const std::size_t i = turn.message;
  DSA_RETURN_IF_ERROR(check_fields(i));
  const std::string& role = messages_[i].role;
  if (role == "user") return write_user(turn);
  if (role == "developer") return write_developer(turn);
  if (role == "assistant") return write_assistant(i);
  if (role == "tool") return write_tool_result(turn);
  open_ = false;
  if (role == "system") return write_system(i);
  return invalid_argument("messages[{}].role: {}, want system, developer, user, assistant or tool",
                          i, dump_json_string(role));
}

// The encoding has no place for these fields in other roles: they would vanish.
Status PromptWriter::check_fields(std::size_t i) const {
  const ChatMessage& message = messages_[i];
  const bool instructs = message.role == "system" || message.role == "developer";
  const auto wrong = [&](const char* field, const char* want) {
    return invalid_argument("messages[{}].{}: given for role {}, want it only for {}", i, field,
                            dump_json_string(message.role), want);
  };
  if (!instructs && !message.tools.empty()) return wrong("tools", "system or developer");
  if (!instructs && !message.response_format.empty()) {
    return wrong("response_format", "system or developer");
  }
  if (message.role != "assistant" && !message.tool_calls.empty()) {
    return wrong("tool_calls", "assistant");
  }
  return message.prefix ? check_prefix(i) : Status();
}

Status PromptWriter::check_prefix(std::size_t i) const {
  const bool last = i + 1 == messages_.size();
  if (!last || messages_[i].role != "assistant") {
    return invalid_argument(
        "messages[{}].prefix: true, want it only for an assistant message at "
        "the end",
        i);
  }
  if (messages_[i].tool_calls.empty()) return Status();
  return invalid_argument("messages[{}].tool_calls: given, want only text in a message to continue",
                          i);
}

Status PromptWriter::write_system(std::size_t i) {
  put(messages_[i].content);
  DSA_RETURN_IF_ERROR(write_tools(i));
  return write_response_format(i);
}

Status PromptWriter::write_tools(std::size_t i) {
  if (messages_[i].tools.empty()) return Status();
  const auto tools = parse_json(messages_[i].tools);
  if (!tools.ok()) return invalid_argument("messages[{}].tools: {}", i, tools.status().message());
  if (tools->kind != JsonKind::kArray) {
    return invalid_argument("messages[{}].tools: {}, want an array", i,
                            json_kind_name(tools->kind));
  }
  put("\n\n", kToolsBefore);
  for (std::size_t t = 0; t < tools->members.size(); ++t) {
    const JsonValue& tool = tools->members[t];
    const JsonValue* function = tool.find("function");
    if (function == nullptr || function->kind != JsonKind::kObject) {
      return invalid_argument("messages[{}].tools[{}].function: {}, want an object", i, t,
                              function ? json_kind_name(function->kind) : "missing");
    }
    put(dump_json(*function), "\n");
  }
  put(kToolsAfter);
  return Status();
}

Status PromptWriter::write_response_format(std::size_t i) {
  if (messages_[i].response_format.empty()) return Status();
  const auto schema = parse_json(messages_[i].response_format);
  if (!schema.ok()) {
    return invalid_argument("messages[{}].response_format: {}", i, schema.status().message());
  }
  put("\n\n", kResponseFormat, dump_json(*schema));
  return Status();
}

Status PromptWriter::write_notes(const ChatTurn& turn) {
  for (const std::size_t note : turn.notes) {
    DSA_RETURN_IF_ERROR(check_fields(note));
    put("\n\n");
    DSA_RETURN_IF_ERROR(write_system(note));
  }
  return Status();
}

Status PromptWriter::write_user(const ChatTurn& turn) {
  put(kUser, messages_[turn.message].content);
  DSA_RETURN_IF_ERROR(write_notes(turn));
  open_answer(turn.message);
  return Status();
}

// It is the assistant's turn to speak: it thinks only in answer to the last user message.
void PromptWriter::open_answer(std::size_t i) {
  const bool thinks = options_.thinking && static_cast<std::ptrdiff_t>(i) == last_user_;
  put(kAssistant, thinks ? kThink : kEndThink);
  open_ = true;
}

Status PromptWriter::write_developer(const ChatTurn& turn) {
  const std::size_t i = turn.message;
  if (messages_[i].content.empty()) {
    return invalid_argument("messages[{}].content: empty, want text for role \"developer\"", i);
  }
  put(kUser);
  DSA_RETURN_IF_ERROR(write_tools(i));
  DSA_RETURN_IF_ERROR(write_response_format(i));
  put("\n\n# The user's message is: ", messages_[i].content);
  DSA_RETURN_IF_ERROR(write_notes(turn));
  open_answer(i);
  return Status();
}

// Reasoning is shown only after the last user message, whatever drop_thinking says.
Status PromptWriter::write_assistant(std::size_t i) {
  const ChatMessage& message = messages_[i];
  if (message.prefix && !open_) put(kAssistant, options_.thinking ? kThink : kEndThink);
  open_ = message.prefix;
  if (options_.thinking && static_cast<std::ptrdiff_t>(i) > last_user_) {
    put(message.reasoning);
    if (message.prefix && message.content.empty()) return Status();  // the reasoning goes on
    put(kEndThink);
  }
  put(message.content);
  if (message.prefix) return Status();
  DSA_RETURN_IF_ERROR(write_tool_calls(i));
  put(kEnd);
  return Status();
}

Status PromptWriter::write_tool_calls(std::size_t i) {
  const std::vector<ToolCall>& calls = messages_[i].tool_calls;
  if (calls.empty()) return Status();
  put("\n\n", kOpenCalls, "\n");
  for (std::size_t call = 0; call < calls.size(); ++call) {
    put(kOpenInvoke, calls[call].name, "\">\n");
    write_arguments(calls[call]);
    put("\n", kCloseInvoke, "\n");
  }
  put(kCloseCalls);
  return Status();
}

// What a model wrote and is no object stays as it wrote it: the result says what was wrong with it.
void PromptWriter::write_arguments(const ToolCall& call) {
  const auto argument = [this](std::string_view name, bool text, std::string_view value) {
    put(kOpenParameter, name, kIsString, text ? "true" : "false", "\">", value, kCloseParameter);
  };
  if (call.arguments.find_first_not_of(" \t\r\n") == std::string::npos) return;
  const auto arguments = parse_json(call.arguments);
  if (!arguments.ok() || arguments->kind != JsonKind::kObject) {
    return argument("arguments", true, call.arguments);
  }
  for (std::size_t a = 0; a < arguments->members.size(); ++a) {
    const JsonValue& value = arguments->members[a];
    const bool text = value.kind == JsonKind::kString;
    put(a > 0 ? "\n" : "");
    argument(value.key, text, text ? value.text : dump_json(value));
  }
}

// One message for each result; after the last one the assistant goes on.
Status PromptWriter::write_tool_result(const ChatTurn& turn) {
  const std::size_t i = turn.message;
  put(turn.first_result ? "\n\n<function_results>" : "", "\n<result>", messages_[i].content,
      "</result>");
  if (!turn.last_result) return Status();
  put("\n</function_results>");
  DSA_RETURN_IF_ERROR(write_notes(turn));
  const bool thinks = options_.thinking && static_cast<std::ptrdiff_t>(i) >= last_user_;
  put("\n\n", thinks ? kThink : kEndThink);
  open_ = true;
  return Status();
}

}  // namespace

Result<std::string> encode_chat(std::span<const ChatMessage> messages, const ChatOptions& options) {
  return PromptWriter(messages, options).write();
}

Result<std::string> encode_chat(std::string_view messages_json, const ChatOptions& options) {
  DSA_ASSIGN_OR_RETURN(const std::vector<ChatMessage> messages, parse_messages(messages_json));
  return encode_chat(messages, options);
}

bool begins_with_reasoning(std::span<const ChatMessage> messages, const ChatOptions& options) {
  const bool continues =
      !messages.empty() && messages.back().prefix && !messages.back().content.empty();
  return options.thinking && !continues;
}

}  // namespace dsa
