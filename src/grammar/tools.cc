// The rules of DeepSeek-V3.2's tool calls: what chat_encode.cc writes and chat_parse.cc reads.
#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "grammar/rules.h"
#include "grammar/schema.h"
#include "grammar/schema_scalars.h"
#include "tokenizer/chat_tokens.h"
#include "tokenizer/python_json.h"

namespace dsa {
namespace {

using grammar::Rule;
using grammar::RuleBuilder;
using grammar::RuleId;
using namespace chat;

std::string cat(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const std::string_view part : parts)
    out += part;
  return out;
}

// Whether the schema wants text, which is written as it is, without quotes.
bool is_text(const JsonValue& schema) {
  const JsonValue* type = schema.find("type");
  return type != nullptr && type->kind == JsonKind::kString && type->text == "string" &&
         schema.find("enum") == nullptr && schema.find("const") == nullptr;
}

// An enumeration of text: its values without quotes.
std::vector<std::string> text_values(const JsonValue& schema) {
  std::vector<std::string> out;
  const JsonValue* values = schema.find("enum");
  if (values == nullptr) return out;
  for (const JsonValue& value : values->members) {
    const bool plain =
        value.kind == JsonKind::kString && value.text.find(kDsml) == std::string::npos;
    if (!plain) return {};
    out.push_back(value.text);
  }
  return out;
}

class ToolReader {
 public:
  explicit ToolReader(RuleBuilder& builder) : builder_(&builder) {}

  Result<RuleId> read(const JsonValue& function, const std::string& path) {
    const JsonValue* name = function.find("name");
    if (name == nullptr || name->kind != JsonKind::kString || name->text.empty()) {
      return invalid_argument("{}.name: want a string", path);
    }
    DSA_ASSIGN_OR_RETURN(std::vector<RuleId> parts, read_parameters(function, path));
    const bool none = parts.empty();
    parts.insert(parts.begin(), builder_->literal(cat({kOpenInvoke, name->text, "\">\n"})));
    parts.push_back(builder_->literal(cat({none ? "\n" : "", kCloseInvoke, "\n"})));
    return builder_->sequence(std::move(parts));
  }

 private:
  Result<std::vector<RuleId>> read_parameters(const JsonValue& function, const std::string& path) {
    std::vector<RuleId> parts;
    const JsonValue* schema = function.find("parameters");
    if (schema == nullptr || schema->kind == JsonKind::kNull) return parts;
    if (schema->kind != JsonKind::kObject) {
      return invalid_argument("{}.parameters: {}, want an object", path,
                              json_kind_name(schema->kind));
    }
    // The whole schema is read once as JSON: every keyword is checked, those of references too.
    const std::string root = path + ".parameters";
    DSA_RETURN_IF_ERROR(grammar::schema_rule(*schema, root, *builder_).status());
    const JsonValue* properties = schema->find("properties");
    const JsonValue* required = schema->find("required");
    if (properties == nullptr) return parts;
    for (const JsonValue& property : properties->members) {
      DSA_ASSIGN_OR_RETURN(const RuleId parameter, read_parameter(property, *schema, root));
      const bool wanted =
          required != nullptr &&
          std::any_of(required->members.begin(), required->members.end(),
                      [&](const JsonValue& name) { return name.text == property.key; });
      parts.push_back(wanted ? parameter : builder_->repeat(parameter, 0, 1));
    }
    return parts;
  }

  Result<RuleId> read_parameter(const JsonValue& property,
                                const JsonValue& root,
                                const std::string& path) {
    const std::string close = cat({kCloseParameter, "\n"});
    const std::string open = cat({kOpenParameter, property.key, kIsString});
    if (is_text(property)) {
      DSA_ASSIGN_OR_RETURN(
          const RuleId text,
          grammar::plain_string_rule({&property, path + "." + property.key}, *builder_));
      if (text >= 0) {
        return builder_->sequence(
            {builder_->literal(open + "true\">"), text, builder_->literal(close)});
      }
      return builder_->sequence({builder_->literal(open + "true\">"),
                                 builder_->raw(kCloseParameter), builder_->literal("\n")});
    }
    if (const auto values = text_values(property); !values.empty()) {
      std::vector<RuleId> choices;
      for (const std::string& value : values)
        choices.push_back(builder_->literal(value + close));
      return builder_->sequence(
          {builder_->literal(open + "true\">"), builder_->choice(std::move(choices))});
    }
    JsonValue schema = property;  // with the definitions that its references need
    for (const std::string_view table : {"$defs", "definitions"}) {
      const JsonValue* definitions = root.find(table);
      if (definitions != nullptr && schema.find(table) == nullptr) {
        schema.members.push_back(*definitions);
      }
    }
    DSA_ASSIGN_OR_RETURN(const RuleId value,
                         grammar::schema_rule(schema, path + "." + property.key, *builder_));
    return builder_->sequence(
        {builder_->literal(open + "false\">"), value, builder_->literal(close)});
  }

  RuleBuilder* builder_;
};

}  // namespace

Result<Grammar> Grammar::tool_calls(std::string_view tools_json,
                                    std::string_view name,
                                    int64_t max_calls) {
  DSA_ASSIGN_OR_RETURN(const JsonValue tools, parse_json(tools_json));
  if (tools.kind != JsonKind::kArray) return invalid_argument("tools: want an array");
  RuleBuilder builder;
  ToolReader reader(builder);
  std::vector<RuleId> calls;
  for (size_t i = 0; i < tools.members.size(); ++i) {
    const std::string path = fmt::format("tools[{}].function", i);
    const JsonValue* function = tools.members[i].find("function");
    if (function == nullptr) return invalid_argument("{}: missing, want an object", path);
    const JsonValue* own = function->find("name");
    if (!name.empty() && (own == nullptr || own->text != name)) continue;
    DSA_ASSIGN_OR_RETURN(const RuleId call, reader.read(*function, path));
    calls.push_back(call);
  }
  if (calls.empty()) return error(StatusCode::kNotFound, "tools: no function named \"{}\"", name);
  const RuleId call = builder.choice(std::move(calls));
  const RuleId block = builder.sequence({builder.literal(cat({"\n\n", kOpenCalls, "\n"})),
                                         builder.repeat(call, 1, max_calls > 0 ? max_calls : -1),
                                         builder.literal(kCloseCalls)});
  return Grammar(std::make_shared<const Rules>(builder.take(block)));
}

}  // namespace dsa
