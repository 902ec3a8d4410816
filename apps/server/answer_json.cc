#include "server/answer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace server {
namespace {

using Kind = dsa::CompletionPart::Kind;

std::string readable(std::string_view bytes) {
  // What is not UTF-8 becomes U+FFFD, as in the text itself.
  return Json::parse(dump(Json(std::string(bytes)))).get<std::string>();
}

Json bytes_json(std::string_view bytes) {
  Json list = Json::array();
  for (const char byte : bytes)
    list.push_back(static_cast<unsigned char>(byte));
  return list;
}

// As OpenAI's completions name tokens: what is no text by its bytes, so that no two are one.
std::string token_name(const ModelInfo& model, int32_t id) {
  const std::string bytes(model.tokenizer->token_text(id));
  if (readable(bytes) == bytes) return bytes;
  std::string name = "bytes:";
  for (const char byte : bytes)
    name += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  return name;
}

Json token_json(const ModelInfo& model, int32_t id, float logprob) {
  const std::string_view bytes = model.tokenizer->token_text(id);
  return {{"token", readable(bytes)}, {"logprob", logprob}, {"bytes", bytes_json(bytes)}};
}

Json chat_logprobs(const ModelInfo& model, const std::vector<ShownToken>& tokens) {
  Json content = Json::array();
  for (const ShownToken& token : tokens) {
    Json entry = token_json(model, token.id, token.logprob.value_or(0));
    entry["top_logprobs"] = Json::array();
    for (const dsa::TokenLogprob& top : token.top)
      entry["top_logprobs"].push_back(token_json(model, top.id, top.logprob));
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json top_json(const ModelInfo& model, const std::vector<dsa::TokenLogprob>& top) {
  Json out = Json::object();
  for (const dsa::TokenLogprob& entry : top) {
    std::string name = token_name(model, entry.id);
    if (out.contains(name)) name = fmt::format("token_id:{}", entry.id);
    out[name] = entry.logprob;
  }
  return out;
}

Json completion_logprobs(const ModelInfo& model, const std::vector<ShownToken>& tokens) {
  Json out = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  for (const ShownToken& token : tokens) {
    out["tokens"].push_back(token_name(model, token.id));
    out["text_offset"].push_back(token.offset);
    out["token_logprobs"].push_back(token.logprob ? Json(*token.logprob) : Json());
    out["top_logprobs"].push_back(token.logprob ? top_json(model, token.top) : Json());
  }
  return out;
}

Json logprobs_json(const AnswerHead& head, const std::vector<ShownToken>& tokens, bool wanted) {
  if (!wanted) return nullptr;
  return head.chat ? chat_logprobs(*head.model, tokens) : completion_logprobs(*head.model, tokens);
}

Json head_json(const AnswerHead& head, bool chunk) {
  const char* object = !head.chat ? "text_completion"
                       : chunk    ? "chat.completion.chunk"
                                  : "chat.completion";
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model->name},
          {"system_fingerprint", nullptr}};
}

std::string call_id(const AnswerHead& head, int64_t choice, int64_t call) {
  return fmt::format("call_{}_{}_{}", head.id.substr(head.id.find('-') + 1), choice, call);
}

Json message_json(const AnswerHead& head, int64_t index, const WholeChoice& choice) {
  const bool no_text = choice.content.empty() && !choice.calls.empty();
  Json message = {{"role", "assistant"},
                  {"content", no_text ? Json() : Json(choice.content)},
                  {"refusal", nullptr}};
  if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
  if (choice.calls.empty()) return message;
  message["tool_calls"] = Json::array();
  for (size_t i = 0; i < choice.calls.size(); ++i) {
    const dsa::ToolCall& call = choice.calls[i];
    message["tool_calls"].push_back(
        {{"id", call_id(head, index, static_cast<int64_t>(i))},
         {"type", "function"},
         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return message;
}

Json delta_json(const AnswerHead& head, int64_t choice, const dsa::CompletionPart& part) {
  switch (part.kind) {
    case Kind::kReasoning:
      return {{"reasoning_content", part.text}};
    case Kind::kContent:
      return {{"content", part.text}};
    case Kind::kCallName: {
      Json call = {{"index", part.call},
                   {"id", call_id(head, choice, part.call)},
                   {"type", "function"},
                   {"function", {{"name", part.text}, {"arguments", ""}}}};
      return {{"tool_calls", Json::array({std::move(call)})}};
    }
    case Kind::kCallArguments: {
      Json call = {{"index", part.call}, {"function", {{"arguments", part.text}}}};
      return {{"tool_calls", Json::array({std::move(call)})}};
    }
  }
  return Json::object();
}

Json chunk_json(const AnswerHead& head, Json choice) {
  Json chunk = head_json(head, true);
  chunk["choices"] = Json::array({std::move(choice)});
  if (head.usage_follows) chunk["usage"] = nullptr;
  return chunk;
}

}  // namespace

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_cache_hit_tokens", usage.cache_hit_tokens},
          {"prompt_cache_miss_tokens", usage.cache_miss_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cache_hit_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

Json prompt_logprobs_json(const ModelInfo& model,
                          std::span<const dsa::PromptToken> tokens,
                          size_t most) {
  Json out = Json::array();
  for (const dsa::PromptToken& token : tokens) {
    Json entry = Json::object();
    const auto add = [&](int32_t id, float logprob, int64_t rank) {
      entry[std::to_string(id)] = {{"logprob", finite(logprob)},
                                   {"rank", rank},
                                   {"decoded_token", readable(model.tokenizer->token_text(id))}};
    };
    for (size_t i = 0; i < std::min(most, token.top.size()); ++i)
      add(token.top[i].id, token.top[i].logprob, static_cast<int64_t>(i) + 1);
    if (!entry.contains(std::to_string(token.id))) add(token.id, token.logprob, token.rank);
    out.push_back(token.rank > 0 ? std::move(entry) : Json());
  }
  return out;
}

void WholeChoice::add(AnswerPiece piece) {
  for (dsa::CompletionPart& part : piece.parts) {
    if (part.kind == Kind::kReasoning) reasoning += part.text;
    if (part.kind == Kind::kContent) content += part.text;
    if (part.kind == Kind::kCallName) calls.push_back({std::move(part.text), ""});
    if (part.kind == Kind::kCallArguments) calls.back().arguments += part.text;
  }
  std::move(piece.tokens.begin(), piece.tokens.end(), std::back_inserter(tokens));
}

Json whole_answer(const AnswerHead& head,
                  const std::vector<WholeChoice>& choices,
                  bool logprobs,
                  const Usage& usage) {
  Json answer = head_json(head, false);
  answer["choices"] = Json::array();
  for (size_t i = 0; i < choices.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    Json choice = {{"index", index}};
    if (head.chat) {
      choice["message"] = message_json(head, index, choices[i]);
    } else {
      choice["text"] = choices[i].content;
    }
    choice["logprobs"] = logprobs_json(head, choices[i].tokens, logprobs);
    choice["finish_reason"] = choices[i].finish_reason;
    if (!choices[i].prompt_logprobs.is_null()) {
      (head.chat ? answer : choice)["prompt_logprobs"] = choices[i].prompt_logprobs;
    }
    answer["choices"].push_back(std::move(choice));
  }
  answer["usage"] = usage_json(usage);
  return answer;
}

std::vector<Json> piece_chunks(
    const AnswerHead& head, int64_t choice, const AnswerPiece& piece, bool first, bool logprobs) {
  std::vector<Json> chunks;
  const auto add = [&](Json content, bool with_tokens) {
    static const std::vector<ShownToken> kNone;
    Json entry = {{"index", choice}};
    entry[head.chat ? "delta" : "text"] = std::move(content);
    const bool shows = logprobs && with_tokens;
    entry["logprobs"] = logprobs_json(head, with_tokens ? piece.tokens : kNone, shows);
    entry["finish_reason"] = nullptr;
    chunks.push_back(chunk_json(head, std::move(entry)));
  };
  if (!head.chat) {
    if (!piece.empty()) add(piece.parts.empty() ? "" : piece.parts[0].text, true);
    return chunks;
  }
  if (first) add({{"role", "assistant"}, {"content", ""}}, false);
  if (piece.parts.empty() && !piece.tokens.empty()) add({{"content", ""}}, true);
  for (size_t i = 0; i < piece.parts.size(); ++i)
    add(delta_json(head, choice, piece.parts[i]), i == 0);
  return chunks;
}

Json last_chunk(const AnswerHead& head, int64_t choice, const std::string& finish_reason) {
  Json entry = {{"index", choice}};
  entry[head.chat ? "delta" : "text"] = head.chat ? Json::object() : Json("");
  entry["logprobs"] = nullptr;
  entry["finish_reason"] = finish_reason;
  return chunk_json(head, std::move(entry));
}

Json usage_chunk(const AnswerHead& head, const Usage& usage) {
  Json chunk = head_json(head, true);
  chunk["choices"] = Json::array();
  chunk["usage"] = usage_json(usage);
  return chunk;
}

}  // namespace server
