#include "tokenizer/vocabulary.h"

#include <algorithm>

#include "common/status_macros.h"
#include "tokenizer/byte_level.h"

namespace dsa {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

// Fills the ids of a vocabulary and notes which are taken.
class Builder {
 public:
  Builder(std::size_t n_vocab, std::size_t n_added) : taken_(n_vocab + n_added) {
    added_.resize(taken_.size());
    vocabulary_.texts.resize(taken_.size());
    vocabulary_.special.resize(taken_.size());
    vocabulary_.mergeable = HashIndex(n_vocab);
  }

  Status add_spelled(const JsonField& vocab, std::string_view spelling, element value);
  Status add_token(const JsonField& field);
  Result<Vocabulary> finish(const JsonField& root, bool byte_fallback);

 private:
  Result<std::size_t> read_id(const JsonField& field) const;
  bool index_text(int32_t id);
  void find_bytes(bool byte_fallback);
  int32_t id_of_spelling(std::string_view spelling) const;
  Status check_id(const JsonField& content_field,
                  std::string_view content,
                  const JsonField& id_field,
                  std::size_t id) const;

  Vocabulary vocabulary_;
  std::vector<bool> taken_;
  std::vector<bool> added_;                  // by id, of added_tokens
  std::vector<std::string_view> spellings_;  // by id, of model.vocab
};

// With as many tokens as there are, no id can be larger without another one missing.
Result<std::size_t> Builder::read_id(const JsonField& field) const {
  DSA_ASSIGN_OR_RETURN(const int64_t id, field.integer());
  if (id >= 0 && static_cast<std::size_t>(id) < taken_.size()) return static_cast<std::size_t>(id);
  return field.corrupt(fmt::format("an id in [0, {}), the number of tokens", taken_.size()));
}

// False when another mergeable token has that text.
bool Builder::index_text(int32_t id) {
  const std::vector<std::string>& texts = vocabulary_.texts;
  const std::string& text = texts[static_cast<std::size_t>(id)];
  const auto same = [&](int32_t other) { return texts[static_cast<std::size_t>(other)] == text; };
  return vocabulary_.mergeable.insert(hash_bytes(text), id, same) < 0;
}

Status Builder::add_spelled(const JsonField& vocab, std::string_view spelling, element value) {
  const auto named = [&] {
    return JsonField(fmt::format("{}[\"{}\"]", vocab.path(), spelling), value);
  };
  int64_t number = -1;
  const bool plain = value.get(number) == simdjson::SUCCESS && number >= 0 &&
                     static_cast<std::size_t>(number) < taken_.size();
  if (!plain) {
    DSA_ASSIGN_OR_RETURN(const std::size_t checked, read_id(named()));
    number = static_cast<int64_t>(checked);
  }
  const auto id = static_cast<std::size_t>(number);
  if (taken_[id]) return named().corrupt("an id that no other token has");
  taken_[id] = true;
  spellings_.resize(std::max(spellings_.size(), id + 1));
  spellings_[id] = spelling;

  auto bytes = bytes_of_spelling(spelling);
  vocabulary_.texts[id] = bytes ? *std::move(bytes) : std::string(spelling);
  const auto id32 = static_cast<int32_t>(id);
  const bool fresh = bytes.has_value()
                         ? index_text(id32)
                         : vocabulary_.named.emplace(std::string(spelling), id32).second;
  return fresh ? Status() : named().corrupt("each token once");
}

// The id of a token of model.vocab or of an earlier added token, -1 for none.
int32_t Builder::id_of_spelling(std::string_view spelling) const {
  const auto bytes = bytes_of_spelling(spelling);
  if (const int32_t id = bytes ? vocabulary_.find(*bytes) : -1; id >= 0) return id;
  const auto named = vocabulary_.named.find(spelling);
  return named == vocabulary_.named.end() ? -1 : named->second;
}

// An added token is new, or one of model.vocab with the same id; a text or id it shares with no
// other token.
Status Builder::check_id(const JsonField& content_field,
                         std::string_view content,
                         const JsonField& id_field,
                         std::size_t id) const {
  const int32_t known = id_of_spelling(content);
  if (added_[id] || (taken_[id] && known != static_cast<int32_t>(id))) {
    return id_field.corrupt("an id that no other token has");
  }
  if (known >= 0 && known != static_cast<int32_t>(id)) {
    return content_field.corrupt(fmt::format("the id {} that this text has already", known));
  }
  if (taken_[id] && vocabulary_.texts[id] != content) {
    return content_field.unsupported("an added token that means itself, not the bytes it spells");
  }
  return Status();
}

Status Builder::add_token(const JsonField& field) {
  DSA_ASSIGN_OR_RETURN(const JsonField content_field, field.get("content"));
  DSA_ASSIGN_OR_RETURN(const std::string_view content, content_field.string());
  if (content.empty()) return content_field.corrupt("a text");
  DSA_ASSIGN_OR_RETURN(const JsonField id_field, field.get("id"));
  DSA_ASSIGN_OR_RETURN(const std::size_t id, read_id(id_field));
  DSA_RETURN_IF_ERROR(check_id(content_field, content, id_field, id));
  DSA_ASSIGN_OR_RETURN(const bool special, field.bool_or("special", false));
  DSA_ASSIGN_OR_RETURN(const bool normalized, field.bool_or("normalized", !special));

  const auto id32 = static_cast<int32_t>(id);
  taken_[id] = true;
  added_[id] = true;
  vocabulary_.texts[id] = std::string(content);
  vocabulary_.special[id] = special;
  vocabulary_.named.emplace(std::string(content), id32);
  auto& list = normalized ? vocabulary_.added_normalized : vocabulary_.added;
  AddedTokens::Token token{std::string(content), id32};
  DSA_ASSIGN_OR_RETURN(token.single_word, field.bool_or("single_word", false));
  DSA_ASSIGN_OR_RETURN(token.lstrip, field.bool_or("lstrip", false));
  DSA_ASSIGN_OR_RETURN(token.rstrip, field.bool_or("rstrip", false));
  list.push_back(std::move(token));
  return Status();
}

void Builder::find_bytes(bool byte_fallback) {
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    int32_t id = vocabulary_.find(text);
    if (id < 0 && byte_fallback) {
      id = vocabulary_.find(fmt::format("<0x{:02X}>", byte));
      if (id >= 0) vocabulary_.texts[static_cast<std::size_t>(id)] = text;
      if (id >= 0) vocabulary_.named.emplace(text, id);
    }
    vocabulary_.byte_ids[byte] = id;
  }
}

Result<Vocabulary> Builder::finish(const JsonField& root, bool byte_fallback) {
  std::size_t n = taken_.size();
  while (n > 0 && !taken_[n - 1])
    --n;
  for (std::size_t id = 0; id < n; ++id) {
    if (taken_[id]) continue;
    return corruption("{}: no token has id {}, want one for every id below {}", root.path(), id, n);
  }
  if (n == 0) return corruption("{}: model.vocab: no tokens, want some", root.path());
  vocabulary_.texts.resize(n);
  vocabulary_.special.resize(n);
  find_bytes(byte_fallback);
  return std::move(vocabulary_);
}

// One merge, "left right" or ["left","right"].
class MergeReader {
 public:
  MergeReader(const JsonField& merges, const Vocabulary& vocabulary)
      : merges_(merges), vocabulary_(vocabulary) {}

  Result<Merge> read(std::size_t rank, element value);

 private:
  Result<int32_t> id_of(std::string_view spelling, std::size_t rank, element value);

  const JsonField& merges_;
  const Vocabulary& vocabulary_;
};

Result<Merge> MergeReader::read(std::size_t rank, element value) {
  std::string_view left;
  std::string_view right;
  if (std::string_view pair; value.get(pair) == simdjson::SUCCESS) {
    const std::size_t space = pair.find(' ');
    left = pair.substr(0, space);
    right = space == std::string_view::npos ? "" : pair.substr(space + 1);
  } else if (array parts; value.get(parts) == simdjson::SUCCESS && parts.size() == 2) {
    const bool strings =
        parts.at(0).get(left) == simdjson::SUCCESS && parts.at(1).get(right) == simdjson::SUCCESS;
    if (!strings) return merges_.element(rank, value).corrupt("two strings");
  }
  if (left.empty() || right.empty()) {
    return merges_.element(rank, value).corrupt("\"left right\" or [\"left\", \"right\"]");
  }
  DSA_ASSIGN_OR_RETURN(const int32_t left_id, id_of(left, rank, value));
  DSA_ASSIGN_OR_RETURN(const int32_t right_id, id_of(right, rank, value));
  DSA_ASSIGN_OR_RETURN(const int32_t both,
                       id_of(std::string(left) + std::string(right), rank, value));
  return Merge{left_id, right_id, both};
}

Result<int32_t> MergeReader::id_of(std::string_view spelling, std::size_t rank, element value) {
  const auto bytes = bytes_of_spelling(spelling);
  const int32_t id = bytes ? vocabulary_.find(*bytes) : -1;
  if (id >= 0) return id;
  return merges_.element(rank, value)
      .corrupt(fmt::format("\"{}\" to be in model.vocab, byte by byte", spelling));
}

}  // namespace

Result<Vocabulary> read_vocabulary(const JsonField& root) {
  DSA_ASSIGN_OR_RETURN(const JsonField model, root.get("model"));
  DSA_ASSIGN_OR_RETURN(const bool byte_fallback, model.bool_or("byte_fallback", false));
  DSA_ASSIGN_OR_RETURN(const JsonField vocab, model.get("vocab"));
  DSA_ASSIGN_OR_RETURN(const object tokens, vocab.object());
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> added, root.find("added_tokens"));
  array added_tokens;
  if (added) {
    DSA_ASSIGN_OR_RETURN(added_tokens, added->array());
  }
  // Counted by hand: simdjson's own sizes stop at 2^24 - 1.
  std::size_t n_vocab = 0;
  std::size_t n_added = 0;
  for (auto it = tokens.begin(); it != tokens.end(); ++it)
    ++n_vocab;
  if (added) {
    for (auto it = added_tokens.begin(); it != added_tokens.end(); ++it)
      ++n_added;
  }
  Builder builder(n_vocab, n_added);
  for (const auto& [spelling, id] : tokens) {
    DSA_RETURN_IF_ERROR(builder.add_spelled(vocab, spelling, id));
  }
  if (added) {
    std::size_t i = 0;
    for (const element token : added_tokens) {
      DSA_RETURN_IF_ERROR(builder.add_token(added->element(i++, token)));
    }
  }
  return builder.finish(root, byte_fallback);
}

Result<MergeTable> read_merges(const JsonField& root, const Vocabulary& vocabulary) {
  DSA_ASSIGN_OR_RETURN(const JsonField model, root.get("model"));
  DSA_ASSIGN_OR_RETURN(const JsonField merges, model.get("merges"));
  DSA_ASSIGN_OR_RETURN(const array entries, merges.array());
  std::size_t n_merges = 0;
  for (auto it = entries.begin(); it != entries.end(); ++it)
    ++n_merges;

  MergeTable table(n_merges);
  MergeReader reader(merges, vocabulary);
  for (const element entry : entries) {
    const std::size_t rank = table.size();
    DSA_ASSIGN_OR_RETURN(const Merge merge, reader.read(rank, entry));
    if (!table.add(merge)) return merges.element(rank, entry).corrupt("each merge once");
  }
  return table;
}

}  // namespace dsa
