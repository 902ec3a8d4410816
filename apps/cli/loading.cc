#include "cli/loading.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/io.h"
#include "cli/options.h"

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

// Fields of one file; null counts as absent. The first failure sticks.
class Fields {
 public:
  Fields(const ordered_json& object, std::string path) : object_(&object), path_(std::move(path)) {}

  bool flag_or(const char* field, bool fallback) {
    const ordered_json* const value = find(field);
    if (value == nullptr) return fallback;
    if (value->is_boolean()) return value->get<bool>();
    refuse(field, *value, "true or false");
    return fallback;
  }

  float number_or(const char* field, float fallback) {
    const ordered_json* const value = find(field);
    if (value == nullptr) return fallback;
    const bool fits = value->is_number() &&
                      std::fabs(value->get<double>()) <= double{std::numeric_limits<float>::max()};
    if (fits) return value->get<float>();
    refuse(field, *value, "a number");
    return fallback;
  }

  // Within [0, most].
  int32_t integer_or(const char* field, int32_t fallback, int64_t most) {
    const ordered_json* const value = find(field);
    return value == nullptr ? fallback : integer(field, *value, most);
  }

  // One integer or a list of them.
  std::vector<int32_t> integers_or_none(const char* field, int64_t most) {
    const ordered_json* const value = find(field);
    if (value == nullptr) return {};
    if (!value->is_array()) return {integer(field, *value, most)};
    std::vector<int32_t> out;
    for (const ordered_json& entry : *value)
      out.push_back(integer(field, entry, most));
    return out;
  }

  bool has(const char* field) const { return find(field) != nullptr; }

  void refuse(const char* field, const ordered_json& value, std::string_view wanted) {
    if (!status_.ok()) return;
    status_ = Status(StatusCode::kCorruption,
                     fmt::format("{}: {}: {}, want {}", path_, field, shown(value), wanted));
  }

  const Status& status() const { return status_; }

 private:
  const ordered_json* find(const char* field) const {
    const auto found = object_->find(field);
    return found == object_->end() || found->is_null() ? nullptr : &*found;
  }

  int32_t integer(const char* field, const ordered_json& value, int64_t most) {
    // Programs write whole numbers as 4.0, too. `most` fits 32 bits.
    const double number = value.is_number() ? value.get<double>() : -1;
    const bool fits =
        number >= 0 && number <= static_cast<double>(most) && number == std::trunc(number);
    if (fits) return static_cast<int32_t>(number);
    refuse(field, value, fmt::format("a whole number from 0 to {}", most));
    return 0;
  }

  const ordered_json* object_;
  std::string path_;
  Status status_;
};

// The id of tokenizer_config.json's bos_token, a text or an added token; -1: there is none.
int32_t id_of_bos_token(const ordered_json& config, const dsa::Tokenizer& tokenizer) {
  const auto token = config.find("bos_token");
  if (token == config.end()) return -1;
  const auto content = token->is_object() ? token->find("content") : token;
  if ((token->is_object() && content == token->end()) || !content->is_string()) return -1;
  const auto ids = tokenizer.encode(content->get<std::string>());
  return ids.ok() && ids->size() == 1 ? ids->front() : -1;
}

Result<std::vector<int32_t>> prompt_prefix(const std::string& dir,
                                           const dsa::Model& model,
                                           const dsa::Tokenizer& tokenizer) {
  const auto stored = tokenizer.prefix_ids();
  if (!stored.empty()) return std::vector<int32_t>(stored.begin(), stored.end());
  auto config = read_optional_object(dir, "tokenizer_config.json");
  if (!config.ok()) return config.status();
  Fields fields(*config, dir + "/tokenizer_config.json");
  const bool add_bos = fields.flag_or("add_bos_token", false);
  int32_t bos = model.config().bos_token_id;
  if (add_bos && bos < 0) bos = id_of_bos_token(*config, tokenizer);
  if (add_bos && bos < 0) {
    fields.refuse("add_bos_token", true, "a bos_token_id in config.json or false");
  }
  if (!fields.status().ok()) return fields.status();
  return add_bos ? std::vector<int32_t>{bos} : std::vector<int32_t>{};
}

}  // namespace

Result<TextModel> load_text_model(const std::string& dir, const dsa::ConfigOptions& options) {
  auto model = open_model(dir, options);
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

Result<GenerationConfig> read_generation_config(const std::string& dir, int64_t vocab_size) {
  const std::string path = dir + "/generation_config.json";
  auto config = read_optional_object(dir, "generation_config.json");
  if (!config.ok()) return config.status();
  Fields fields(*config, path);
  GenerationConfig out;
  out.end_ids = fields.integers_or_none("eos_token_id", vocab_size - 1);
  if (fields.has("do_sample")) out.samples = fields.flag_or("do_sample", false);
  if (out.samples.value_or(false)) {
    out.sampling.temperature = fields.number_or("temperature", 1.0F);
    out.sampling.top_p = fields.number_or("top_p", 1.0F);
    out.sampling.top_k = fields.integer_or("top_k", 0, std::numeric_limits<int32_t>::max());
  }
  if (!fields.status().ok()) return fields.status();
  const auto sampler = dsa::Sampler::create(out.sampling);
  if (sampler.ok()) return out;
  return Status(StatusCode::kCorruption, path + ": " + sampler.status().message());
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
