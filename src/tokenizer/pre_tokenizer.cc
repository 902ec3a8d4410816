#include "tokenizer/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "common/status_macros.h"

namespace dsa {
namespace {

// Makes pieces of the matches and gaps of a text, which come one after the other.
class PieceJoiner {
 public:
  explicit PieceJoiner(SplitBehavior behavior) : behavior_(behavior) {}

  // The piece, if any, that ends where this part begins.
  std::optional<RegexMatch> take(RegexMatch part, bool is_match) {
    if (behavior_ == SplitBehavior::kRemoved && is_match) {
      part.begin = part.end;
    } else if (joins(is_match)) {
      piece_.end = part.end;
      after_match_ = is_match;
      return std::nullopt;
    }
    after_match_ = is_match;
    return std::exchange(piece_, part);
  }

  RegexMatch rest() const { return piece_; }

 private:
  bool joins(bool is_match) const {
    if (behavior_ == SplitBehavior::kContiguous) return is_match == after_match_;
    if (behavior_ == SplitBehavior::kMergedWithPrevious) return is_match && !after_match_;
    return behavior_ == SplitBehavior::kMergedWithNext && !is_match && after_match_;
  }

  SplitBehavior behavior_;
  RegexMatch piece_{0, 0};
  bool after_match_ = false;
};

}  // namespace

struct PreTokenizer::Call {
  RegexScratch& scratch;
  const Sink& sink;
};

struct PreTokenizer::Piece {
  const SymbolText& whole;
  std::size_t begin;
  std::size_t end;

  std::string_view symbols() const { return whole.symbols().substr(begin, end - begin); }
  std::string_view text() const { return whole.text(begin, end); }
};

Result<PreTokenizer> PreTokenizer::create(std::vector<PreTokenizerStage> stages) {
  std::vector<const Pattern*> patterns;
  for (const PreTokenizerStage& stage : stages) {
    if (const auto* split = std::get_if<SplitStage>(&stage)) patterns.push_back(&split->pattern);
  }
  DSA_ASSIGN_OR_RETURN(Alphabet alphabet, Pattern::alphabet(patterns));
  PreTokenizer result(std::move(alphabet));
  for (const PreTokenizerStage& stage : stages) {
    const auto* split = std::get_if<SplitStage>(&stage);
    if (split == nullptr) {
      result.stages_.emplace_back(PrefixSpaceStage{});
      continue;
    }
    DSA_ASSIGN_OR_RETURN(Regex regex, Regex::compile(split->pattern, result.alphabet_));
    result.stages_.emplace_back(Cut{std::move(regex), split->behavior, split->invert});
  }
  return result;
}

Status PreTokenizer::split(std::string_view text, RegexScratch& scratch, const Sink& sink) const {
  const SymbolText whole(alphabet_, text);
  return from_stage(0, {whole, 0, whole.symbols().size()}, Call{scratch, sink});
}

// Each piece goes through all later stages before the next piece is cut: no list of pieces.
Status PreTokenizer::from_stage(std::size_t stage, const Piece& piece, const Call& call) const {
  if (piece.begin == piece.end) return Status();
  if (stage == stages_.size()) return call.sink(piece.text());
  return std::visit([&](const auto& s) { return at_stage(s, stage + 1, piece, call); },
                    stages_[stage]);
}

Status PreTokenizer::at_stage(const Cut& cut,
                              std::size_t next,
                              const Piece& piece,
                              const Call& call) const {
  const auto pass_on = [&](const RegexMatch& part) {
    return from_stage(next, {piece.whole, piece.begin + part.begin, piece.begin + part.end}, call);
  };
  PieceJoiner joiner(cut.behavior);
  const auto take = [&](std::size_t begin, std::size_t end, bool is_match) {
    const auto part = joiner.take({begin, end}, is_match != cut.invert);
    return part ? pass_on(*part) : Status();
  };
  std::size_t done = 0;
  const std::string_view symbols = piece.symbols();
  RegexMatches matches(cut.regex, symbols, call.scratch);
  while (true) {
    DSA_ASSIGN_OR_RETURN(const std::optional<RegexMatch> match, matches.next());
    if (!match) break;
    if (match->begin > done) DSA_RETURN_IF_ERROR(take(done, match->begin, false));
    DSA_RETURN_IF_ERROR(take(match->begin, match->end, true));
    done = match->end;
  }
  if (done < symbols.size()) DSA_RETURN_IF_ERROR(take(done, symbols.size(), false));
  return pass_on(joiner.rest());
}

Status PreTokenizer::at_stage(const PrefixSpaceStage&,
                              std::size_t next,
                              const Piece& piece,
                              const Call& call) const {
  if (piece.symbols().front() == ' ') return from_stage(next, piece, call);
  const std::string spaced = ' ' + std::string(piece.text());
  const SymbolText whole(alphabet_, spaced);
  return from_stage(next, {whole, 0, whole.symbols().size()}, call);
}

}  // namespace dsa
