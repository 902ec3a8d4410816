// /tokenize and /detokenize.
#include <fmt/format.h>

#include <utility>

#include "server/api.h"
#include "server/fields.h"

namespace server {
namespace {

// The text of `prompt` or `messages`.
std::vector<int32_t> encode(Fields& fields, const ModelInfo& model) {
  const bool special = fields.flag("add_special_tokens", true);
  const auto prompt = fields.text("prompt");
  if (fields.find("messages") != nullptr && prompt) {
    fields.refuse("prompt", "given with messages, want one of them");
  }
  std::string text;
  if (prompt) {
    text = *prompt;
    for (const char* other :
         {"tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
          "thinking", "chat_template_kwargs", "continue_final_message", "add_generation_prompt"}) {
      if (fields.find(other) != nullptr) fields.refuse(other, "given, want it only with messages");
    }
  } else {
    text = read_chat_prompt(fields, model).text;
  }
  if (fields.error()) return {};
  auto ids = model.tokenizer->encode(text);
  if (!ids.ok()) {
    fields.refuse(prompt ? "prompt" : "messages", ids.status().message());
    return {};
  }
  if (prompt && special) ids->insert(ids->begin(), model.prefix.begin(), model.prefix.end());
  return std::move(*ids);
}

}  // namespace

// {"prompt": text} or {"messages": [...]} -> {"count", "max_model_len", "tokens", "token_strs"}
void Api::tokenize(const Shared& exchange) {
  const auto json = body(exchange);
  if (!json) return;
  Fields fields(*json, "");
  fields.ignore("model");
  const bool strings = fields.flag("return_token_strs", false);
  const std::vector<int32_t> ids = encode(fields, model_);
  fields.refuse_unread();
  if (fields.error()) return respond_error(exchange, *fields.error());
  Json out = {{"count", ids.size()}, {"max_model_len", model_.max_context}, {"tokens", ids}};
  if (strings) {
    Json texts = Json::array();
    for (const int32_t id : ids)
      texts.push_back(std::string(model_.tokenizer->token_text(id)));
    out["token_strs"] = std::move(texts);
  }
  respond_json(exchange, out);
}

// What vLLM's endpoint of that name tells of a tokenizer: the tokens with a role, as texts.
void Api::tokenizer_info(const Shared& exchange) {
  const auto text = [this](const std::vector<int32_t>& ids) {
    return ids.empty() ? Json() : Json(std::string(model_.tokenizer->token_text(ids.front())));
  };
  respond_json(exchange, {{"tokenizer_class", "dsa"},
                          {"bos_token", text(model_.prefix)},
                          {"eos_token", text(model_.end_ids)},
                          {"pad_token", text(model_.end_ids)},
                          {"model_max_length", model_.max_context},
                          {"chat_template", nullptr}});
}

// {"tokens": [ids]} -> {"prompt": text}; bytes that are not UTF-8 become U+FFFD.
void Api::detokenize(const Shared& exchange) {
  const auto json = body(exchange);
  if (!json) return;
  Fields fields(*json, "");
  fields.ignore("model");
  const Json* tokens = fields.find("tokens");
  std::string text;
  if (tokens == nullptr || !tokens->is_array()) {
    fields.refuse("tokens", tokens == nullptr ? Json() : *tokens, "an array of token ids");
  } else {
    dsa::StreamDecoder decoder(*model_.tokenizer);
    for (const Json& token : *tokens) {
      const auto id = whole_number(token);
      if (!id || *id < 0 || *id >= model_.tokenizer->vocab_size()) {
        fields.refuse("tokens", token,
                      fmt::format("token ids from 0 to {}", model_.tokenizer->vocab_size() - 1));
        break;
      }
      auto piece = decoder.push(static_cast<int32_t>(*id));
      if (piece.ok()) text += *piece;
    }
    text += decoder.flush();
  }
  fields.refuse_unread();
  if (fields.error()) return respond_error(exchange, *fields.error());
  respond_json(exchange, {{"prompt", text}});
}

}  // namespace server
