#include "tokenizer/tokenizer_json.h"

#include <string>
#include <utility>

#include "common/status_macros.h"

namespace dsa {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::size_t kMaxStages = 64;  // each costs every piece a search and a stack frame

// What GPT-2 splits by; ByteLevel with use_regex means this pattern.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
    {"Removed", SplitBehavior::kRemoved},
    {"Isolated", SplitBehavior::kIsolated},
    {"Contiguous", SplitBehavior::kContiguous},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext}};

constexpr std::size_t kMaxNormalizers = 8;  // each may make a text longer
constexpr std::pair<std::string_view, NormalForm> kForms[] = {{"NFC", NormalForm::kNfc},
                                                              {"NFD", NormalForm::kNfd},
                                                              {"NFKC", NormalForm::kNfkc},
                                                              {"NFKD", NormalForm::kNfkd}};

// An object's "type", which must be a string.
Result<std::string_view> type_of(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const JsonField type, field.get("type"));
  return type.string();
}

Status wrong_type(const JsonField& field, std::string_view want) {
  DSA_ASSIGN_OR_RETURN(const JsonField type, field.get("type"));
  return type.unsupported(want);
}

Status add_normalizer(const JsonField& field, std::vector<NormalForm>& forms) {
  if (forms.size() >= kMaxNormalizers) return field.unsupported("at most 8 normalizers");
  DSA_ASSIGN_OR_RETURN(const std::string_view type, type_of(field));
  for (const auto& [known, form] : kForms) {
    if (type != known) continue;
    forms.push_back(form);
    return Status();
  }
  return wrong_type(field,
                    "null, \"NFC\", \"NFD\", \"NFKC\" or \"NFKD\", alone or in one Sequence");
}

Status check_decoder(const JsonField& root) {
  DSA_ASSIGN_OR_RETURN(const JsonField decoder, root.get("decoder"));
  DSA_ASSIGN_OR_RETURN(const std::string_view type, type_of(decoder));
  return type == "ByteLevel" ? Status() : wrong_type(decoder, "\"ByteLevel\"");
}

Status check_model(const JsonField& root) {
  DSA_ASSIGN_OR_RETURN(const JsonField model, root.get("model"));
  DSA_ASSIGN_OR_RETURN(const std::string_view type, type_of(model));
  if (type != "BPE") return wrong_type(model, "\"BPE\"");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    DSA_ASSIGN_OR_RETURN(const std::string_view text, model.string_or(affix, ""));
    if (!text.empty()) return unsupported("{}.{}: \"{}\", want null", model.path(), affix, text);
  }
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> dropout, model.find("dropout"));
  if (!dropout) return Status();
  double rate = 1.0;
  const bool none = dropout->value().get(rate) == simdjson::SUCCESS && rate == 0.0;
  return none ? Status() : dropout->unsupported("null or 0");
}

class PreTokenizerReader {
 public:
  Status add(const JsonField& field);
  Result<std::vector<PreTokenizerStage>> finish(const JsonField& field);

 private:
  Status add_sequence(const JsonField& field);
  Status add_split(const JsonField& field);
  Status add_digits(const JsonField& field);
  Status add_byte_level(const JsonField& field);
  Status add_pattern(const JsonField& field, std::string_view pattern, bool literal);

  std::vector<PreTokenizerStage> stages_;
  bool byte_level_ = false;
};

Status PreTokenizerReader::add(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const std::string_view type, type_of(field));
  if (byte_level_) return field.unsupported("nothing after ByteLevel");
  if (stages_.size() >= kMaxStages) return field.unsupported("at most 64 steps");
  if (type == "Split") return add_split(field);
  if (type == "Digits") return add_digits(field);
  if (type == "ByteLevel") return add_byte_level(field);
  return wrong_type(field, "\"Split\", \"Digits\" or \"ByteLevel\", alone or in one Sequence");
}

Status PreTokenizerReader::add_sequence(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const JsonField list, field.get("pretokenizers"));
  DSA_ASSIGN_OR_RETURN(const array steps, list.array());
  std::size_t i = 0;
  for (const element step : steps)
    DSA_RETURN_IF_ERROR(add(list.element(i++, step)));
  return Status();
}

Status PreTokenizerReader::add_pattern(const JsonField& field,
                                       std::string_view pattern,
                                       bool literal) {
  DSA_ASSIGN_OR_RETURN(Pattern read, Pattern::read(field.path(), pattern, literal));
  stages_.emplace_back(SplitStage{std::move(read)});
  return Status();
}

Status PreTokenizerReader::add_split(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const JsonField pattern, field.get("pattern"));
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> regex, pattern.find("Regex"));
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> literal, pattern.find("String"));
  if (regex.has_value() == literal.has_value()) return pattern.corrupt("one of Regex and String");
  const JsonField& text = regex ? *regex : *literal;
  DSA_ASSIGN_OR_RETURN(const std::string_view spelled, text.string());
  DSA_RETURN_IF_ERROR(add_pattern(text, spelled, literal.has_value()));

  DSA_ASSIGN_OR_RETURN(const JsonField behavior, field.get("behavior"));
  DSA_ASSIGN_OR_RETURN(const std::string_view name, behavior.string());
  auto& split = std::get<SplitStage>(stages_.back());
  DSA_ASSIGN_OR_RETURN(split.invert, field.bool_or("invert", false));
  for (const auto& [known, value] : kBehaviors) {
    if (name != known) continue;
    split.behavior = value;
    return Status();
  }
  return behavior.unsupported(
      "\"Removed\", \"Isolated\", \"Contiguous\", \"MergedWithPrevious\" or \"MergedWithNext\"");
}

Status PreTokenizerReader::add_digits(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const bool each, field.bool_or("individual_digits", false));
  DSA_RETURN_IF_ERROR(add_pattern(field, "\\p{N}", false));
  std::get<SplitStage>(stages_.back()).behavior =
      each ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  return Status();
}

// Both flags are on where the file leaves them out.
Status PreTokenizerReader::add_byte_level(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const bool prefix, field.bool_or("add_prefix_space", true));
  DSA_ASSIGN_OR_RETURN(const bool use_regex, field.bool_or("use_regex", true));
  byte_level_ = true;
  if (prefix) stages_.emplace_back(PrefixSpaceStage{});
  return use_regex ? add_pattern(field, kGpt2Pattern, false) : Status();
}

Result<std::vector<PreTokenizerStage>> PreTokenizerReader::finish(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const std::string_view type, type_of(field));
  DSA_RETURN_IF_ERROR(type == "Sequence" ? add_sequence(field) : add(field));
  if (!byte_level_) return field.unsupported("a ByteLevel at the end");
  return std::move(stages_);
}

class PostProcessorReader {
 public:
  explicit PostProcessorReader(std::size_t n_tokens) : n_tokens_(n_tokens) {}
  Status add(const JsonField& field);
  AffixIds ids;

 private:
  Status add_template(const JsonField& field);
  Status add_special(const JsonField& processor, const JsonField& special);

  std::size_t n_tokens_;
  bool after_text_ = false;
};

// ByteLevel here only trims offsets, which this library does not give.
Status PostProcessorReader::add(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const std::string_view type, type_of(field));
  if (type == "ByteLevel") return Status();
  if (type == "TemplateProcessing") return add_template(field);
  return wrong_type(field, "\"ByteLevel\" or \"TemplateProcessing\", alone or in one Sequence");
}

Status PostProcessorReader::add_template(const JsonField& field) {
  if (after_text_) return field.unsupported("one TemplateProcessing");
  DSA_ASSIGN_OR_RETURN(const JsonField single, field.get("single"));
  DSA_ASSIGN_OR_RETURN(const array parts, single.array());
  std::size_t i = 0;
  for (const element value : parts) {
    const JsonField part = single.element(i++, value);
    DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> text, part.find("Sequence"));
    if (text) {
      if (after_text_) return part.unsupported("the text once");
      after_text_ = true;
      continue;
    }
    DSA_ASSIGN_OR_RETURN(const JsonField special, part.get("SpecialToken"));
    DSA_RETURN_IF_ERROR(add_special(field, special));
  }
  return after_text_ ? Status() : single.unsupported("a Sequence, the text");
}

Status PostProcessorReader::add_special(const JsonField& processor, const JsonField& special) {
  DSA_ASSIGN_OR_RETURN(const JsonField name_field, special.get("id"));
  DSA_ASSIGN_OR_RETURN(const std::string_view name, name_field.string());
  DSA_ASSIGN_OR_RETURN(const JsonField table, processor.get("special_tokens"));
  DSA_ASSIGN_OR_RETURN(const JsonField entry, table.get(name));
  DSA_ASSIGN_OR_RETURN(const JsonField list, entry.get("ids"));
  DSA_ASSIGN_OR_RETURN(const array values, list.array());
  std::size_t i = 0;
  for (const element value : values) {
    const JsonField field = list.element(i++, value);
    DSA_ASSIGN_OR_RETURN(const int64_t id, field.integer());
    if (id < 0 || static_cast<std::size_t>(id) >= n_tokens_) {
      return field.corrupt(fmt::format("an id in [0, {})", n_tokens_));
    }
    (after_text_ ? ids.suffix : ids.prefix).push_back(static_cast<int32_t>(id));
  }
  return Status();
}

}  // namespace

Status check_supported(const JsonField& root) {
  DSA_RETURN_IF_ERROR(check_model(root));
  return check_decoder(root);
}

Result<Normalizer> read_normalizer(const JsonField& root) {
  std::vector<NormalForm> forms;
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> field, root.find("normalizer"));
  if (!field) return Normalizer();
  DSA_ASSIGN_OR_RETURN(const std::string_view type, type_of(*field));
  if (type != "Sequence") {
    DSA_RETURN_IF_ERROR(add_normalizer(*field, forms));
    return Normalizer(std::move(forms));
  }
  DSA_ASSIGN_OR_RETURN(const JsonField list, field->get("normalizers"));
  DSA_ASSIGN_OR_RETURN(const array steps, list.array());
  std::size_t i = 0;
  for (const element step : steps)
    DSA_RETURN_IF_ERROR(add_normalizer(list.element(i++, step), forms));
  return Normalizer(std::move(forms));
}

Result<std::vector<PreTokenizerStage>> read_pre_tokenizer(const JsonField& root) {
  DSA_ASSIGN_OR_RETURN(const JsonField field, root.get("pre_tokenizer"));
  return PreTokenizerReader().finish(field);
}

Result<AffixIds> read_post_processor(const JsonField& root, std::size_t n_tokens) {
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> field, root.find("post_processor"));
  PostProcessorReader reader(n_tokens);
  if (!field) return std::move(reader.ids);
  DSA_ASSIGN_OR_RETURN(const std::string_view type, type_of(*field));
  if (type != "Sequence") {
    DSA_RETURN_IF_ERROR(reader.add(*field));
    return std::move(reader.ids);
  }
  DSA_ASSIGN_OR_RETURN(const JsonField list, field->get("processors"));
  DSA_ASSIGN_OR_RETURN(const array steps, list.array());
  std::size_t i = 0;
  for (const element step : steps)
    DSA_RETURN_IF_ERROR(reader.add(list.element(i++, step)));
  return std::move(reader.ids);
}

}  // namespace dsa
