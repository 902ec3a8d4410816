// Pre-tokenizer: cuts a text into the pieces that are merged on their own.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dsa/status.h"

#include "tokenizer/regex.h"

namespace dsa {

// Every match of a pattern and every gap between matches is a piece, or only one of the two kinds.
struct SplitStage {
  Regex regex;
  bool keep_matches = true;
  bool keep_gaps = true;
};

// Puts a space before a piece that does not begin with one.
struct PrefixSpaceStage {};

using PreTokenizerStage = std::variant<SplitStage, PrefixSpaceStage>;

class PreTokenizer {
 public:
  // A piece is valid during the call only. A failure ends the cutting and is passed on.
  using Sink = std::function<Status(std::string_view piece)>;

  explicit PreTokenizer(std::vector<PreTokenizerStage> stages) : stages_(std::move(stages)) {}

  // Gives the non-empty pieces of `text`, which must be UTF-8, in order.
  // Errors   kResourceExhausted: see Regex::find; what `sink` gave
  Status split(std::string_view text, RegexScratch& scratch, const Sink& sink) const;

 private:
  struct Call;  // scratch and sink of one call

  Status from_stage(std::size_t stage, std::string_view text, const Call& call) const;
  Status at_stage(const SplitStage& split,
                  std::size_t next,
                  std::string_view text,
                  const Call& call) const;
  Status at_stage(const PrefixSpaceStage& prefix,
                  std::size_t next,
                  std::string_view text,
                  const Call& call) const;

  std::vector<PreTokenizerStage> stages_;
};

}  // namespace dsa
