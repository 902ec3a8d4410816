#include "cli/loading.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/io.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;
using dsa::StatusCode;
using nlohmann::ordered_json;

// The JSON object in dir/name; an empty one when there is no such file.
Result<ordered_json> read_optional_object(const std::string& dir, const std::string& name) {
  const std::string path = (std::filesystem::path(dir) / name).string();
  auto text = read_input(path);
  if (!text.ok() && text.status().code() == StatusCode::kNotFound) return ordered_json::object();
  if (!text.ok()) return text.status();
  auto document = parse_json(*text, path);
  if (document.ok() && !document->is_object()) {
    return Status(StatusCode::kCorruption, path + ": is not a JSON object");
  }
  return document;
}

// object[field] as T; `fallback` when absent or null.
template <class T>
Result<T> read_field(const ordered_json& object,
                     const std::string& path,
                     const char* field,
                     T fallback) {
  const auto found = object.find(field);
  if (found == object.end() || found->is_null()) return fallback;
  const bool fits = std::is_same_v<T, bool> ? found->is_boolean() : found->is_number();
  if (!fits) {
    return Status(StatusCode::kCorruption,
                  fmt::format("{}: {}: {}, want a {}", path, field, one_line(found->dump()),
                              std::is_same_v<T, bool> ? "boolean" : "number"));
  }
  return found->get<T>();
}

Result<std::vector<int32_t>> prompt_prefix(const std::string& dir,
                                           const dsa::Model& model,
                                           const dsa::Tokenizer& tokenizer) {
  const auto stored = tokenizer.prefix_ids();
  if (!stored.empty()) return std::vector<int32_t>(stored.begin(), stored.end());
  auto config = read_optional_object(dir, "tokenizer_config.json");
  if (!config.ok()) return config.status();
  auto add_bos = read_field<bool>(*config, dir + "/tokenizer_config.json", "add_bos_token", false);
  if (!add_bos.ok()) return add_bos.status();
  std::vector<int32_t> prefix;
  if (*add_bos && model.config().bos_token_id >= 0) prefix.push_back(model.config().bos_token_id);
  return prefix;
}

}  // namespace

Result<TextModel> load_text_model(const std::string& dir) {
  auto model = dsa::Model::open(dir);
  if (!model.ok()) return model.status();
  auto tokenizer = dsa::Tokenizer::open(dir);
  if (!tokenizer.ok()) return tokenizer.status();
  auto prefix = prompt_prefix(dir, **model, *tokenizer);
  if (!prefix.ok()) return prefix.status();
  return TextModel{std::move(*model), std::move(*tokenizer), std::move(*prefix)};
}

Result<std::vector<int32_t>> encode_prompt(const TextModel& model, std::string_view text) {
  auto encoded = model.tokenizer.encode(text);
  if (!encoded.ok()) return encoded.status();
  std::vector<int32_t> ids = model.prefix;
  ids.insert(ids.end(), encoded->begin(), encoded->end());
  return ids;
}

Result<dsa::SamplerOptions> default_sampling(const std::string& dir) {
  const std::string path = dir + "/generation_config.json";
  auto config = read_optional_object(dir, "generation_config.json");
  if (!config.ok()) return config.status();
  dsa::SamplerOptions options;
  auto do_sample = read_field<bool>(*config, path, "do_sample", false);
  if (!do_sample.ok()) return do_sample.status();
  if (!*do_sample) return options;
  auto temperature = read_field<float>(*config, path, "temperature", 1.0F);
  if (!temperature.ok()) return temperature.status();
  auto top_p = read_field<float>(*config, path, "top_p", 1.0F);
  if (!top_p.ok()) return top_p.status();
  auto top_k = read_field<int32_t>(*config, path, "top_k", 0);
  if (!top_k.ok()) return top_k.status();
  options.temperature = *temperature;
  options.top_p = *top_p;
  options.top_k = *top_k;
  return options;
}

std::string readable_text(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids) {
  dsa::StreamDecoder decoder(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    auto piece = decoder.push(id);
    if (piece.ok()) text += *piece;
  }
  return text + decoder.flush();
}

}  // namespace cli
