#include "dsa/tokenizer.h"

#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <mutex>
#include <system_error>

#include "common/status_macros.h"
#include "io/lfs_pointer.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary.h"

namespace dsa {
namespace {

struct Scratch {
  RegexScratch regex;
  BpeScratch bpe;
};

// Hands a Scratch to each call and keeps it, with its cache of words, for the next one.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto scratch = std::move(idle_.back());
        idle_.pop_back();
        return scratch;
      }
    }
    return std::make_unique<Scratch>();
  }

  void give_back(std::unique_ptr<Scratch> scratch) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kMaxIdle) idle_.push_back(std::move(scratch));
  }

 private:
  static constexpr std::size_t kMaxIdle = 64;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

Status check_size(std::string_view text) {
  constexpr std::size_t kMaxBytes = std::numeric_limits<int32_t>::max();
  if (text.size() < kMaxBytes) return Status();
  return invalid_argument("text: {} bytes, want less than {}", text.size(), kMaxBytes);
}

}  // namespace

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  Bpe bpe;
  bool ignore_merges;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  AddedTokens added;
  AddedTokens added_normalized;
  AffixIds affixes;
  mutable ScratchPool pool;

  // One call of encode().
  struct Encoding {
    Scratch& scratch;
    std::vector<int32_t>& ids;
  };
  Status encode_around(const AddedTokens& tokens, std::string_view text, Encoding& out) const;
  Status encode_normalized(std::string_view text, bool special_tokens, Encoding& out) const;
  Status encode_text(std::string_view text, Encoding& out) const;
  Status encode_piece(std::string_view piece, Encoding& out) const;
};

// Added tokens are cut out first; what lies between is text.
Status Tokenizer::Impl::encode_around(const AddedTokens& tokens,
                                      std::string_view text,
                                      Encoding& out) const {
  const auto between = [&](std::size_t begin, std::size_t end) {
    const std::string_view part = text.substr(begin, end - begin);
    return &tokens == &added ? encode_normalized(part, true, out) : encode_text(part, out);
  };
  std::size_t done = 0;
  std::size_t from = 0;
  while (const auto match = tokens.find(text, from)) {
    if (match->begin > done) DSA_RETURN_IF_ERROR(between(done, match->begin));
    out.ids.push_back(match->id);
    done = match->end;
    from = match->content_end;
  }
  return done < text.size() ? between(done, text.size()) : Status();
}

Status Tokenizer::Impl::encode_normalized(std::string_view text,
                                          bool special_tokens,
                                          Encoding& out) const {
  const auto encode = [&](std::string_view normal) {
    return special_tokens ? encode_around(added_normalized, normal, out) : encode_text(normal, out);
  };
  if (normalizer.changes_nothing() || is_ascii(text)) return encode(text);
  const std::string normal = normalizer.normalize(text);
  DSA_RETURN_IF_ERROR(check_size(normal));
  return encode(normal);
}

// The pre-tokenizer needs UTF-8: each run of other bytes is a piece of its own.
Status Tokenizer::Impl::encode_text(std::string_view text, Encoding& out) const {
  if (text.empty()) return Status();
  const PreTokenizer::Sink sink = [&](std::string_view piece) { return encode_piece(piece, out); };
  if (simdjson::validate_utf8(text.data(), text.size())) {
    return pre_tokenizer.split(text, out.scratch.regex, sink);
  }
  std::size_t done = 0;
  bool done_whole = true;
  for (std::size_t at = 0; at <= text.size();) {
    const bool end = at == text.size();
    const Utf8Part part = end ? Utf8Part{1, Utf8Kind::kWhole} : first_utf8_part(text.substr(at));
    const bool whole = part.kind == Utf8Kind::kWhole;
    if (end || whole != done_whole) {
      const std::string_view run = text.substr(done, at - done);
      DSA_RETURN_IF_ERROR(done_whole ? pre_tokenizer.split(run, out.scratch.regex, sink)
                                     : encode_piece(run, out));
      done = at;
      done_whole = whole;
    }
    at += part.n_bytes;
  }
  return Status();
}

Status Tokenizer::Impl::encode_piece(std::string_view piece, Encoding& out) const {
  if (ignore_merges) {
    if (const int32_t id = vocabulary.find(piece); id >= 0) {
      out.ids.push_back(id);
      return Status();
    }
  }
  return bpe.append(piece, out.scratch.bpe, out.ids);
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::open(const std::string& path) {
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  const std::string file = folder ? path + "/tokenizer.json" : path;
  if (!std::filesystem::exists(file, ignored)) {
    return error(StatusCode::kNotFound, "{}: no such file", file);
  }
  simdjson::padded_string text;
  if (const auto code = simdjson::padded_string::load(file).get(text)) {
    return error(StatusCode::kIoError, "{}: {}", file, simdjson::error_message(code));
  }
  if (is_lfs_pointer(text)) return error(StatusCode::kNotFound, "{}: {}", file, kLfsPointer);
  return parse(std::string_view(text), file);
}

Result<Tokenizer> Tokenizer::parse(std::string_view json, std::string_view name) {
  simdjson::dom::parser parser;
  simdjson::dom::element document;
  if (const auto code = parser.parse(json.data(), json.size()).get(document)) {
    return corruption("{}: {}", name, simdjson::error_message(code));
  }
  const JsonField root(std::string(name), document);
  DSA_RETURN_IF_ERROR(check_supported(root));
  DSA_ASSIGN_OR_RETURN(const JsonField model, root.get("model"));
  DSA_ASSIGN_OR_RETURN(const bool ignore_merges, model.bool_or("ignore_merges", false));
  DSA_ASSIGN_OR_RETURN(Vocabulary vocabulary, read_vocabulary(root));
  DSA_ASSIGN_OR_RETURN(MergeTable merges, read_merges(root, vocabulary));
  DSA_ASSIGN_OR_RETURN(Normalizer normalizer, read_normalizer(root));
  DSA_ASSIGN_OR_RETURN(std::vector<PreTokenizerStage> stages, read_pre_tokenizer(root));
  DSA_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::create(std::move(stages)));
  DSA_ASSIGN_OR_RETURN(AffixIds affixes, read_post_processor(root, vocabulary.texts.size()));

  Bpe bpe(vocabulary.byte_ids, std::move(merges));
  AddedTokens added(std::move(vocabulary.added));
  for (AddedTokens::Token& token : vocabulary.added_normalized)
    token.content = normalizer.normalize(token.content);
  AddedTokens added_normalized(std::move(vocabulary.added_normalized));
  return Tokenizer(std::unique_ptr<Impl>(new Impl{std::move(vocabulary),
                                                  std::move(bpe),
                                                  ignore_merges,
                                                  std::move(normalizer),
                                                  std::move(pre_tokenizer),
                                                  std::move(added),
                                                  std::move(added_normalized),
                                                  std::move(affixes),
                                                  {}}));
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool special_tokens) const {
  DSA_RETURN_IF_ERROR(check_size(text));
  std::vector<int32_t> ids;
  std::unique_ptr<Scratch> scratch = impl_->pool.take();
  scratch->regex.allow_steps_for(text.size());
  Impl::Encoding out{*scratch, ids};
  const Status status = special_tokens ? impl_->encode_around(impl_->added, text, out)
                                       : impl_->encode_normalized(text, false, out);
  impl_->pool.give_back(std::move(scratch));
  DSA_RETURN_IF_ERROR(status);
  return ids;
}

Result<std::string> Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size()) {
      return invalid_argument("ids[{}]: {}, want an id in [0, {})", i, ids[i], vocab_size());
    }
    if (!skip_special || !is_special(ids[i])) text += token_text(ids[i]);
  }
  return text;
}

int32_t Tokenizer::vocab_size() const {
  return static_cast<int32_t>(impl_->vocabulary.texts.size());
}

std::string_view Tokenizer::token_text(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return impl_->vocabulary.texts[static_cast<std::size_t>(id)];
}

std::optional<int32_t> Tokenizer::token_id(std::string_view text) const {
  const Vocabulary& vocabulary = impl_->vocabulary;
  if (const auto named = vocabulary.named.find(text); named != vocabulary.named.end()) {
    return named->second;
  }
  const int32_t id = vocabulary.find(text);
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && impl_->vocabulary.special[static_cast<std::size_t>(id)];
}

std::span<const int32_t> Tokenizer::prefix_ids() const {
  return impl_->affixes.prefix;
}
std::span<const int32_t> Tokenizer::suffix_ids() const {
  return impl_->affixes.suffix;
}

}  // namespace dsa
