#include "server/chat_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace server {
namespace {

struct MessageField {
  const char* name;
  const char* note;
};

constexpr MessageField kRead[] = {{"role", ""},      {"content", ""},    {"reasoning_content", ""},
                                  {"reasoning", ""}, {"tool_calls", ""}, {"tool_call_id", ""},
                                  {"prefix", ""}};

constexpr const char* kOwnForm =
    "reasoning in a service's own form; reasoning_content has the text";
constexpr const char* kAnswer = "what an answer has beside its text, sent back with it";

// Fields that clients send and that say nothing to the model, each with its reason.
constexpr MessageField kPassedOver[] = {
    {"name", "the encoding has no place for names of speakers; a result is known by its call"},
    {"cache_control", "what to keep in a cache; every prompt is kept"},
    {"reasoning_details", kOwnForm},
    {"thinking_blocks", kOwnForm},
    {"reasoning_signature", kOwnForm},
    {"signature", kOwnForm},
    {"provider_specific_fields", kAnswer},
    {"provider_metadata", kAnswer},
    {"extra_content", kAnswer},
    {"additional_kwargs", kAnswer},
    {"response_metadata", kAnswer},
    {"usage_metadata", kAnswer},
    {"usage", kAnswer},
    {"metadata", kAnswer},
    {"annotations", kAnswer},
    {"citations", kAnswer},
    {"logprobs", kAnswer},
    {"token_ids", kAnswer},
    {"finish_reason", kAnswer},
    {"stop_reason", kAnswer},
    {"parsed", kAnswer},
    {"model", kAnswer},
    {"index", kAnswer},
    {"id", kAnswer},
    {"object", kAnswer},
    {"type", kAnswer},
    {"status", kAnswer},
    {"created", kAnswer},
    {"created_at", kAnswer},
    {"timestamp", kAnswer},
};

// Fields that do say something, and where it has to go.
constexpr MessageField kElsewhere[] = {
    {"refusal", "want its text as content"},
    {"audio", "want text as content"},
    {"images", "want text as content"},
    {"function_call", "want tool_calls"},
};

template <size_t n>
const MessageField* find_field(const MessageField (&fields)[n], const std::string& name) {
  const auto found = std::find_if(std::begin(fields), std::end(fields),
                                  [&](const MessageField& field) { return name == field.name; });
  return found == std::end(fields) ? nullptr : &*found;
}

bool says_nothing(const Json& value) {
  return value.is_null() || value == Json(false) || value == Json("") ||
         (value.is_structured() && value.empty());
}

void check_field(Fields& fields,
                 const std::string& path,
                 const std::string& name,
                 const Json& value) {
  const bool known = find_field(kRead, name) != nullptr || find_field(kPassedOver, name) != nullptr;
  if (known || says_nothing(value)) return;
  const MessageField* elsewhere = find_field(kElsewhere, name);
  fields.refuse(path + "." + name.substr(0, 100),
                elsewhere != nullptr ? fmt::format("given, {}", elsewhere->note) : "unknown field");
}

// The text of one part of content; null when it is no text.
const Json* text_of(const Json& part) {
  if (part.is_string()) return &part;
  if (!part.is_object()) return nullptr;
  const Json type = part.value("type", Json());
  const bool refuses = type == Json("refusal");
  if (!refuses && type != Json("text") && type != Json("input_text") &&
      type != Json("output_text")) {
    return nullptr;
  }
  const auto text = part.find(refuses ? "refusal" : "text");
  return text != part.end() && text->is_string() ? &*text : nullptr;
}

// Parts are paragraphs of one text: each begins on a line of its own.
void join_content(Fields& fields, const std::string& path, Json& message) {
  const auto content = message.find("content");
  if (content == message.end() || !content->is_array()) return;
  std::string joined;
  for (const Json& part : *content) {
    const Json* text = text_of(part);
    if (text == nullptr) {
      fields.refuse(path + ".content", part, "parts of type \"text\"");
      return;
    }
    const auto& piece = text->get_ref<const std::string&>();
    if (!joined.empty() && !piece.empty()) joined += '\n';
    joined += piece;
  }
  *content = joined;
}

void read_message(Fields& fields, const std::string& path, Json& message) {
  if (!message.is_object()) return fields.refuse(path, message, "an object");
  for (const auto& field : message.items())
    check_field(fields, path, field.key(), field.value());
  // What OpenAI calls developer is a system message; V3.2 means something else by that name.
  if (message.value("role", Json()) == Json("developer")) message["role"] = "system";
  join_content(fields, path, message);
}

// vLLM's way to say what DeepSeek's API says with `prefix` in the message.
void read_continuation(Fields& fields, Json& messages) {
  const bool continues = fields.flag("continue_final_message", false);
  const bool begins = fields.flag("add_generation_prompt", !continues);
  Json& last = messages.back();
  const bool marked = last.value("prefix", Json()) == Json(true);
  if (continues && begins) {
    fields.refuse("add_generation_prompt", "true, want false with continue_final_message");
  } else if (!begins && !continues && !marked) {
    fields.refuse("add_generation_prompt", "false, want it only with continue_final_message");
  } else if (continues && last.value("role", Json()) != Json("assistant")) {
    fields.refuse("continue_final_message", "true, want an assistant message at the end");
  } else if (continues) {
    last["prefix"] = true;
  }
}

}  // namespace

Json read_messages(Fields& fields) {
  const Json* given = fields.find("messages");
  if (given == nullptr) {
    fields.refuse("messages", "missing, want an array");
    return {};
  }
  if (!given->is_array() || given->empty()) {
    fields.refuse("messages", *given, "an array of at least one message");
    return {};
  }
  Json messages = *given;
  for (size_t i = 0; i < messages.size() && !fields.error(); ++i)
    read_message(fields, fmt::format("messages[{}]", i), messages[i]);
  if (!fields.error()) read_continuation(fields, messages);
  return messages;
}

}  // namespace server
