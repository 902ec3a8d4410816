// The messages of a request: JSON to ChatMessage.
#include "dsa/chat.h"

#include "common/status_macros.h"
#include "tokenizer/python_json.h"

namespace dsa {
namespace {

// A value of the request that knows where it stands.
struct Field {
  std::string path;
  const JsonValue* value;  // null: absent

  Field member(std::string_view key) const {
    const bool object = value != nullptr && value->kind == JsonKind::kObject;
    return {fmt::format("{}.{}", path, key), object ? value->find(key) : nullptr};
  }
  bool absent() const { return value == nullptr || value->kind == JsonKind::kNull; }
  Status wrong(std::string_view want) const {
    const char* got = value == nullptr ? "missing" : json_kind_name(value->kind);
    return invalid_argument("{}: {}, want {}", path, got, want);
  }
};

Result<std::string> required_string(const Field& field) {
  if (field.absent() || field.value->kind != JsonKind::kString) return field.wrong("a string");
  return field.value->text;
}

Result<std::string> optional_string(const Field& field) {
  return field.absent() ? Result<std::string>(std::string()) : required_string(field);
}

Status expect(const Field& field, JsonKind kind) {
  if (!field.absent() && field.value->kind == kind) return Status();
  return field.wrong(json_kind_name(kind));
}

Field element(const Field& list, std::size_t i) {
  return {fmt::format("{}[{}]", list.path, i), &list.value->members[i]};
}

Result<ToolCall> read_tool_call(const Field& call) {
  DSA_RETURN_IF_ERROR(expect(call, JsonKind::kObject));
  const Field function = call.member("function");
  DSA_RETURN_IF_ERROR(expect(function, JsonKind::kObject));
  ToolCall result;
  DSA_ASSIGN_OR_RETURN(result.name, required_string(function.member("name")));
  const Field arguments = function.member("arguments");
  const bool object = !arguments.absent() && arguments.value->kind == JsonKind::kObject;
  DSA_ASSIGN_OR_RETURN(result.arguments, object ? Result<std::string>(dump_json(*arguments.value))
                                                : optional_string(arguments));
  DSA_ASSIGN_OR_RETURN(result.id, optional_string(call.member("id")));
  return result;
}

Result<std::vector<ToolCall>> read_tool_calls(const Field& calls) {
  std::vector<ToolCall> result;
  if (calls.absent()) return result;
  DSA_RETURN_IF_ERROR(expect(calls, JsonKind::kArray));
  for (std::size_t i = 0; i < calls.value->members.size(); ++i) {
    DSA_ASSIGN_OR_RETURN(ToolCall call, read_tool_call(element(calls, i)));
    result.push_back(std::move(call));
  }
  return result;
}

// JSON text, or "" for a value that says nothing.
std::string dump_unless_empty(const Field& field) {
  return field.absent() || field.value->empty() ? std::string() : dump_json(*field.value);
}

Result<ChatMessage> read_message(const Field& message) {
  DSA_RETURN_IF_ERROR(expect(message, JsonKind::kObject));
  ChatMessage result;
  DSA_ASSIGN_OR_RETURN(result.role, required_string(message.member("role")));
  const Field content = message.member("content");
  DSA_ASSIGN_OR_RETURN(result.content,
                       result.role == "user" ? required_string(content) : optional_string(content));
  DSA_ASSIGN_OR_RETURN(result.reasoning, optional_string(message.member("reasoning_content")));
  if (result.reasoning.empty()) {
    DSA_ASSIGN_OR_RETURN(result.reasoning, optional_string(message.member("reasoning")));
  }
  DSA_ASSIGN_OR_RETURN(result.tool_calls, read_tool_calls(message.member("tool_calls")));
  DSA_ASSIGN_OR_RETURN(result.tool_call_id, optional_string(message.member("tool_call_id")));
  const Field prefix = message.member("prefix");
  if (!prefix.absent()) DSA_RETURN_IF_ERROR(expect(prefix, JsonKind::kBool));
  result.prefix = !prefix.absent() && prefix.value->text == "true";
  const Field tools = message.member("tools");
  if (!tools.absent()) DSA_RETURN_IF_ERROR(expect(tools, JsonKind::kArray));
  result.tools = dump_unless_empty(tools);
  result.response_format = dump_unless_empty(message.member("response_format"));
  return result;
}

}  // namespace

Result<std::vector<ChatMessage>> parse_messages(std::string_view messages_json) {
  auto json = parse_json(messages_json);
  if (!json.ok()) return invalid_argument("messages: {}", json.status().message());
  const Field messages{"messages", &*json};
  DSA_RETURN_IF_ERROR(expect(messages, JsonKind::kArray));
  std::vector<ChatMessage> result;
  for (std::size_t i = 0; i < json->members.size(); ++i) {
    DSA_ASSIGN_OR_RETURN(ChatMessage message, read_message(element(messages, i)));
    result.push_back(std::move(message));
  }
  return result;
}

}  // namespace dsa
