// Messages to the prompt.
#include "dsa/chat.h"

#include "common/status_macros.h"
#include "tokenizer/chat_tokens.h"
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
  Status write_message(std::size_t i);
  Status write_system(std::size_t i);
  Status write_user(std::size_t i);
  Status write_developer(std::size_t i);
  Status write_assistant(std::size_t i);
  Status write_tool_calls(std::size_t i);
  Status write_arguments(std::size_t i, std::size_t call);
  Status write_tool_results(std::size_t i);
  Status write_tools(std::size_t i);
  Status write_response_format(std::size_t i);
  void write_speaker(std::string_view content, std::size_t i);
  Status check_fields(std::size_t i) const;

  template <class... Parts>
  void put(const Parts&... parts) {
    ((prompt_ += parts), ...);
  }

  std::span<const ChatMessage> messages_;
  ChatOptions options_;
  std::ptrdiff_t last_user_ = -1;  // index of the last user or developer message
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
  for (std::size_t i = 0; i < messages_.size(); ++i)
    DSA_RETURN_IF_ERROR(write_message(i));
  return std::move(prompt_);
}

Status PromptWriter::write_message(std::size_t i) {
  DSA_RETURN_IF_ERROR(check_fields(i));
  const std::string& role = messages_[i].role;
  if (role == "system") return write_system(i);
  if (role == "user") return write_user(i);
  if (role == "developer") return write_developer(i);
  if (role == "assistant") return write_assistant(i);
  if (role == "tool") return write_tool_results(i);
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
  return Status();
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

// Ends with the assistant's turn to speak: it thinks only in answer to the last user message.
void PromptWriter::write_speaker(std::string_view content, std::size_t i) {
  const bool thinks = options_.thinking && static_cast<std::ptrdiff_t>(i) == last_user_;
  put(content, kAssistant, thinks ? kThink : kEndThink);
}

Status PromptWriter::write_user(std::size_t i) {
  put(kUser);
  write_speaker(messages_[i].content, i);
  return Status();
}

Status PromptWriter::write_developer(std::size_t i) {
  if (messages_[i].content.empty()) {
    return invalid_argument("messages[{}].content: empty, want text for role \"developer\"", i);
  }
  put(kUser);
  DSA_RETURN_IF_ERROR(write_tools(i));
  DSA_RETURN_IF_ERROR(write_response_format(i));
  put("\n\n# The user's message is: ");
  write_speaker(messages_[i].content, i);
  return Status();
}

// Reasoning is shown only after the last user message, whatever drop_thinking says.
Status PromptWriter::write_assistant(std::size_t i) {
  const ChatMessage& message = messages_[i];
  if (options_.thinking && static_cast<std::ptrdiff_t>(i) > last_user_) {
    if (message.reasoning.empty() && message.tool_calls.empty()) {
      return invalid_argument(
          "messages[{}].reasoning_content: empty, want text in thinking mode after the last user "
          "message",
          i);
    }
    put(message.reasoning, kEndThink);
  }
  put(message.content);
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
    DSA_RETURN_IF_ERROR(write_arguments(i, call));
    put("\n", kCloseInvoke, "\n");
  }
  put(kCloseCalls);
  return Status();
}

Status PromptWriter::write_arguments(std::size_t i, std::size_t call) {
  const auto arguments = parse_json(messages_[i].tool_calls[call].arguments);
  const auto wrong = [&](std::string_view got) {
    return invalid_argument(
        "messages[{}].tool_calls[{}].function.arguments: {}, want the JSON text of an object", i,
        call, got);
  };
  if (!arguments.ok()) return wrong(arguments.status().message());
  if (arguments->kind != JsonKind::kObject) return wrong(json_kind_name(arguments->kind));
  for (std::size_t a = 0; a < arguments->members.size(); ++a) {
    const JsonValue& value = arguments->members[a];
    const bool text = value.kind == JsonKind::kString;
    put(a > 0 ? "\n" : "", kOpenParameter, value.key, kIsString, text ? "true" : "false", "\">",
        text ? value.text : dump_json(value), kCloseParameter);
  }
  return Status();
}

// Results follow the calls they answer, one message each, and close when all calls are answered.
Status PromptWriter::write_tool_results(std::size_t i) {
  std::size_t caller = i;
  while (caller > 0 && messages_[caller].role == "tool")
    --caller;
  const std::size_t n_calls = messages_[caller].tool_calls.size();
  const std::size_t n_results = i - caller;
  if (n_results == 0 || n_results > n_calls) {
    return invalid_argument("messages[{}].role: \"tool\", want one for each tool call before it",
                            i);
  }
  put(n_results == 1 ? "\n\n<function_results>" : "", "\n<result>", messages_[i].content,
      "</result>");
  const bool last = i + 1 == messages_.size() || messages_[i + 1].role != "tool";
  if (n_results < n_calls) {
    if (!last) return Status();
    return invalid_argument("messages[{}].tool_calls: followed by {} tool messages, want {}",
                            caller, n_results, n_calls);
  }
  const bool thinks = options_.thinking && static_cast<std::ptrdiff_t>(i) >= last_user_;
  put("\n</function_results>\n\n", thinks ? kThink : kEndThink);
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

}  // namespace dsa
