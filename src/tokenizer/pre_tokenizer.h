// Pre-tokenizer: cuts a text into the pieces that are merged on their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dsa/status.h"

#include "tokenizer/regex.h"

namespace dsa {

// What becomes of the matches of a pattern and of the gaps between them. With `invert` gaps and
// matches change places.
enum class SplitBehavior : uint8_t {
  kRemoved,             // matches are left out
  kIsolated,            // each match and each gap is a piece
  kContiguous,          // matches without a gap between them are one piece
  kMergedWithPrevious,  // a match ends the piece of the gap before it
  kMergedWithNext       // a match begins the piece of the gap after it
};

struct SplitStage {
  Pattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};

// Puts a space before a piece that does not begin with one.
struct PrefixSpaceStage {};

using PreTokenizerStage = std::variant<SplitStage, PrefixSpaceStage>;

class PreTokenizer {
 public:
  // A piece is valid during the call only. A failure ends the cutting and is passed on.
  using Sink = std::function<Status(std::string_view piece)>;

  // Errors   kCorruption, kUnsupported: see Pattern::alphabet, Regex::compile
  static Result<PreTokenizer> create(std::vector<PreTokenizerStage> stages);

  // Gives the non-empty pieces of `text`, which must be UTF-8 of less than 4 GiB, in order.
  // Errors   kResourceExhausted: see RegexMatches::next; what `sink` gave
  Status split(std::string_view text, RegexScratch& scratch, const Sink& sink) const;

 private:
  struct Cut {
    Regex regex;
    SplitBehavior behavior;
    bool invert;
  };
  using Stage = std::variant<Cut, PrefixSpaceStage>;
  struct Call;   // scratch and sink of one call
  struct Piece;  // of a text, in symbols

  explicit PreTokenizer(Alphabet alphabet) : alphabet_(std::move(alphabet)) {}
  Status from_stage(std::size_t stage, const Piece& piece, const Call& call) const;
  Status at_stage(const Cut& cut, std::size_t next, const Piece& piece, const Call& call) const;
  Status at_stage(const PrefixSpaceStage& prefix,
                  std::size_t next,
                  const Piece& piece,
                  const Call& call) const;

  Alphabet alphabet_;  // of all patterns: a text is read once
  std::vector<Stage> stages_;
};

}  // namespace dsa
