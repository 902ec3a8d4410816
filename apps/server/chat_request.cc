// The part of a chat request that becomes the prompt.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/api_request.h"
#include "server/chat_messages.h"
#include "server/fields.h"

namespace server {
namespace {

struct ToolChoice {
  bool none = false;
  bool required = false;
  std::string name;  // required: this one
};

ToolChoice read_tool_choice(Fields& fields, bool has_tools) {
  ToolChoice choice;
  const Json* value = fields.find("tool_choice");
  if (value == nullptr) return choice;
  const Json* name = nullptr;
  if (value->is_object() && value->value("type", Json()) == Json("function")) {
    const auto function = value->find("function");
    if (function != value->end() && function->is_object() && function->contains("name")) {
      name = &(*function)["name"];
    }
  }
  if (*value == Json("none")) {
    choice.none = true;
  } else if (*value == Json("required")) {
    choice.required = true;
  } else if (name != nullptr && name->is_string()) {
    choice.required = true;
    choice.name = name->get<std::string>();
  } else if (*value != Json("auto")) {
    fields.refuse("tool_choice", *value,
                  "\"auto\", \"none\", \"required\" or {\"type\":\"function\",\"function\":"
                  "{\"name\":...}}");
  }
  if (choice.required && !has_tools) fields.refuse("tool_choice", "given, want tools with it");
  return choice;
}

void check_tools(Fields& fields, const Json& tools) {
  if (!tools.is_array()) return fields.refuse("tools", tools, "an array of tools");
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    if (!tools[i].is_object()) return fields.refuse(path, tools[i], "an object");
    if (tools[i].value("type", Json()) != Json("function")) {
      return fields.refuse(path + ".type", tools[i].value("type", Json()), "\"function\"");
    }
    const Json function = tools[i].value("function", Json());
    if (!function.is_object()) return fields.refuse(path + ".function", function, "an object");
    const Json name = function.value("name", Json());
    if (!name.is_string() || name.get<std::string>().empty()) {
      return fields.refuse(path + ".function.name", name, "a name");
    }
  }
}

// What goes into the first system message in addition to its text.
struct SystemExtras {
  std::string tools;
  std::string schema;
};

void read_tools(Fields& fields, SystemExtras& extras, ChatPrompt& prompt) {
  const Json* tools = fields.find("tools");
  if (tools != nullptr && *tools == Json::array()) tools = nullptr;  // clients that have none
  const ToolChoice choice = read_tool_choice(fields, tools != nullptr);
  const bool parallel = fields.flag("parallel_tool_calls", true);
  if (tools == nullptr || fields.error()) return;
  check_tools(fields, *tools);
  if (fields.error()) return;
  using Calls = dsa::CompletionFormat::Calls;
  prompt.format.calls = choice.none ? Calls::kDropped : Calls::kRead;
  if (choice.none) return;
  extras.tools = dump(*tools);
  prompt.format.tools = extras.tools;
  if (!choice.required) return;
  auto grammar = dsa::Grammar::tool_calls(extras.tools, choice.name, parallel ? 0 : 1);
  if (grammar.ok()) {
    prompt.grammar = std::move(*grammar);
    return;
  }
  ApiError error = api_error(grammar.status());
  error.status = 400;
  if (grammar.status().code() == dsa::StatusCode::kNotFound) error.param = "tool_choice";
  fields.adopt(error);
}

// Names in a schema's errors begin with "$"; the request's path takes its place.
void adopt_schema_error(Fields& fields, const dsa::Status& status) {
  const std::string path = "response_format.json_schema.schema";
  ApiError error = api_error(status);
  const bool rooted = error.message.rfind('$', 0) == 0;
  if (rooted) error.message.replace(0, 1, path);
  error.param = rooted && !error.param.empty() ? path + error.param.substr(1) : path;
  fields.adopt(error);
}

void read_response_format(Fields& fields, SystemExtras& extras, ChatPrompt& prompt) {
  const Json* value = fields.find("response_format");
  if (value == nullptr) return;
  Fields format(*value, "response_format");
  const auto type = format.text("type");
  const Json* schema_field = format.find("json_schema");
  format.refuse_unread();
  fields.adopt(format.error());
  if (fields.error()) return;
  if (type && *type == "text") return;
  if (type && *type == "json_object") {
    prompt.grammar = dsa::Grammar::json_object();
  } else if (type && *type == "json_schema" && schema_field != nullptr) {
    Fields described(*schema_field, "response_format.json_schema");
    const Json* schema = described.find("schema");
    for (const char* harmless : {"name", "description", "strict"})
      described.ignore(harmless);
    described.refuse_unread();
    if (schema == nullptr) described.refuse("schema", "missing, want a JSON schema");
    fields.adopt(described.error());
    if (fields.error()) return;
    extras.schema = dump(*schema);
    auto grammar = dsa::Grammar::json_schema(extras.schema);
    if (!grammar.ok()) return adopt_schema_error(fields, grammar.status());
    prompt.grammar = std::move(*grammar);
  } else {
    fields.refuse("response_format", *value,
                  "type \"text\", \"json_object\" or \"json_schema\" with json_schema");
  }
}

// Any of the ways clients ask for reasoning.
bool read_thinking(Fields& fields) {
  bool thinking = false;
  if (const auto effort = fields.text("reasoning_effort")) {
    constexpr const char* kEfforts[] = {"none", "minimal", "low", "medium", "high", "xhigh"};
    if (std::find(std::begin(kEfforts), std::end(kEfforts), *effort) == std::end(kEfforts)) {
      fields.refuse("reasoning_effort", Json(*effort), "none, minimal, low, medium or high");
    }
    thinking = *effort != "none" && *effort != "minimal";
  }
  if (const Json* value = fields.find("thinking")) {
    Fields options(*value, "thinking");
    const auto type = options.text("type");
    if (type && *type != "enabled" && *type != "disabled") {
      options.refuse("type", Json(*type), "\"enabled\" or \"disabled\"");
    }
    options.refuse_unread();
    fields.adopt(options.error());
    if (type) thinking = *type == "enabled";
  }
  if (const Json* value = fields.find("chat_template_kwargs")) {
    Fields options(*value, "chat_template_kwargs");
    thinking = options.flag("thinking", options.flag("enable_thinking", thinking));
    options.refuse_unread();
    fields.adopt(options.error());
  }
  return thinking;
}

// There is a system message for the extras where none was given; errors are those of the messages
// as they were sent.
dsa::Result<std::string> encode(std::vector<dsa::ChatMessage> messages,
                                const SystemExtras& extras,
                                const dsa::ChatOptions& options) {
  auto plain = dsa::encode_chat(messages, options);
  if (!plain.ok() || (extras.tools.empty() && extras.schema.empty())) return plain;
  if (messages.front().role != "system") {
    dsa::ChatMessage system;
    system.role = "system";
    messages.insert(messages.begin(), system);
  }
  messages.front().tools = extras.tools;
  messages.front().response_format = extras.schema;
  return dsa::encode_chat(messages, options);
}

// Text and the beginning of the answer.
void write_prompt(Fields& fields,
                  const Json& json,
                  const SystemExtras& extras,
                  bool thinking,
                  ChatPrompt& prompt) {
  dsa::ChatOptions options;
  options.thinking = thinking;
  auto messages = dsa::parse_messages(dump(json));
  if (!messages.ok()) return fields.adopt(api_error(messages.status()));
  prompt.format.thinking = dsa::begins_with_reasoning(*messages, options);
  auto text = encode(std::move(*messages), extras, options);
  if (!text.ok()) return fields.adopt(api_error(text.status()));
  prompt.text = std::move(*text);
}

}  // namespace

ChatPrompt read_chat_prompt(Fields& fields, const ModelInfo& model) {
  if (!model.chat.ok()) fields.refuse("messages", model.chat.message() + " (/v1/completions)");
  ChatPrompt prompt;
  SystemExtras extras;
  const bool thinking = read_thinking(fields);
  const Json messages = read_messages(fields);
  read_tools(fields, extras, prompt);
  const bool forced_tools = prompt.grammar.has_value();
  read_response_format(fields, extras, prompt);
  if (forced_tools && fields.find("response_format") != nullptr) {
    fields.refuse("response_format", "given with a required tool_choice, want one of them");
  }
  if (fields.error()) return prompt;
  const bool continues = messages.back().value("prefix", Json()) == Json(true);
  if (continues && prompt.grammar && !forced_tools) {
    fields.refuse("response_format", "given with a message to continue, want one of them");
    return prompt;
  }
  write_prompt(fields, messages, extras, thinking, prompt);
  if (prompt.grammar && prompt.format.thinking) prompt.grammar = prompt.grammar->after_reasoning();
  return prompt;
}

}  // namespace server
