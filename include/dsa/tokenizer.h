// Tokenizer: text to token ids and back, from a Hugging Face tokenizer.json of byte-level BPE.
//
// Done     model BPE (merges as "a b" or ["a","b"], ignore_merges, byte_fallback);
//          normalizer NFC, NFD, NFKC, NFKD and Sequence of them;
//          pre_tokenizer Split (Regex or String; all behaviors; invert), Digits, ByteLevel
//          (add_prefix_space, use_regex) and Sequence of them; decoder ByteLevel;
//          post_processor ByteLevel, TemplateProcessing and Sequence of them; added tokens with
//          single_word, lstrip, rstrip and normalized.
// Passed over   truncation and padding: a text is encoded in full, and alone.
// Refused  by name: every other type, dropout.
// Unicode  of the `tokenizers` library 0.23: classes of Unicode 16.0, normalization of 9.0. They
// are
//          compiled in, so ids do not depend on the system's libraries.
// Threads  every const function may be called from several threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

class Tokenizer {
 public:
  // `path` is a tokenizer.json or a directory that holds one.
  // Errors   kNotFound, kIoError: the file cannot be read
  //          kCorruption: not JSON, a field of the wrong type, an id that is missing, repeated or
  //          out of range, a merge of unknown tokens, a pattern that is not a regular expression
  //          kUnsupported: something of the Refused list; the message names the field
  static Result<Tokenizer> open(const std::string& path);

  // The same from the text of the file; `name` is what errors call it.
  static Result<Tokenizer> parse(std::string_view json, std::string_view name = "tokenizer.json");

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Token ids of `text`, without the prefix_ids() and suffix_ids() of the post-processor.
  // special_tokens: an added token spelled out in the text becomes its id (leftmost first, the
  //   longest of those that start there). When false the text is only text: use that for input
  //   that must not be able to write control tokens.
  // Bytes that are not UTF-8 are encoded byte by byte, so decode(encode(x)) gives any x back,
  //   unless a Split of the file removes text, add_prefix_space adds a space, a normalizer changes
  //   the text or an added token takes white space (lstrip, rstrip).
  // Cost     linear in the text, n log n in the longest run the pre-tokenizer leaves whole.
  // Errors   kInvalidArgument: 2 GiB of text or more, normalized or not; a byte that no token of
  // the vocabulary spells
  //          kResourceExhausted: a pattern of the file backtracks without end on this text
  Result<std::vector<int32_t>> encode(std::string_view text, bool special_tokens = true) const;

  // The bytes that `ids` stand for: not always UTF-8, a token may end inside a character
  // (StreamDecoder mends that). skip_special leaves out the tokens that the file marks special.
  // Errors   kInvalidArgument: an id outside [0, vocab_size())
  Result<std::string> decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // Number of ids, added tokens included; they are 0 .. vocab_size()-1. A model's own vocabulary
  // may be larger (padding rows): such ids have no text.
  int32_t vocab_size() const;

  // The bytes of one token, empty for an id outside the vocabulary. Valid as long as the tokenizer.
  std::string_view token_text(int32_t id) const;

  // The id with that text: an added token first, then one of the vocabulary.
  std::optional<int32_t> token_id(std::string_view text) const;

  // True for a token that the file marks special, such as the end of a sentence.
  bool is_special(int32_t id) const;

  // What the file's post-processor puts before and after a text; often empty.
  std::span<const int32_t> prefix_ids() const;
  std::span<const int32_t> suffix_ids() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Turns ids that arrive one by one into text that is valid UTF-8 at every step.
//
// The results of push() and flush(), concatenated, are decode() of the same ids with every maximal
// ill-formed part replaced by one U+FFFD.
// Threads  one at a time; the tokenizer must outlive the decoder.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false);

  // The text that became complete with this token: maybe empty, since the bytes of an unfinished
  // character (at most three) are held back.
  // Errors   kInvalidArgument: an id outside the vocabulary; nothing is stored then
  Result<std::string> push(int32_t id);

  // Ends the text: U+FFFD for an unfinished character, otherwise "". Ready for a new text after.
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string held_;
};

}  // namespace dsa

#pragma GCC visibility pop
