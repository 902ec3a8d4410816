#include "tokenizer/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "common/status_macros.h"

namespace dsa {
namespace {

// Makes pieces of the matches and gaps of a text, which come one after the other.
class PieceJoiner {
 public:
  explicit PieceJoiner(const SplitStage& split) : behavior_(split.behavior) {}

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

Status PreTokenizer::split(std::string_view text, RegexScratch& scratch, const Sink& sink) const {
  return from_stage(0, text, Call{scratch, sink});
}

// Each piece goes through all later stages before the next piece is cut: no list of pieces.
Status PreTokenizer::from_stage(std::size_t stage, std::string_view text, const Call& call) const {
  if (text.empty()) return Status();
  if (stage == stages_.size()) return call.sink(text);
  return std::visit([&](const auto& s) { return at_stage(s, stage + 1, text, call); },
                    stages_[stage]);
}

Status PreTokenizer::at_stage(const SplitStage& split,
                              std::size_t next,
                              std::string_view text,
                              const Call& call) const {
  PieceJoiner joiner(split);
  const auto take = [&](std::size_t begin, std::size_t end, bool is_match) {
    const auto piece = joiner.take({begin, end}, is_match != split.invert);
    if (!piece) return Status();
    return from_stage(next, text.substr(piece->begin, piece->end - piece->begin), call);
  };
  std::size_t done = 0;
  RegexMatches matches(split.regex, text, call.scratch);
  while (true) {
    DSA_ASSIGN_OR_RETURN(const std::optional<RegexMatch> match, matches.next());
    if (!match) break;
    if (match->begin > done) DSA_RETURN_IF_ERROR(take(done, match->begin, false));
    DSA_RETURN_IF_ERROR(take(match->begin, match->end, true));
    done = match->end;
  }
  if (done < text.size()) DSA_RETURN_IF_ERROR(take(done, text.size(), false));
  const RegexMatch last = joiner.rest();
  return from_stage(next, text.substr(last.begin, last.end - last.begin), call);
}

Status PreTokenizer::at_stage(const PrefixSpaceStage&,
                              std::size_t next,
                              std::string_view text,
                              const Call& call) const {
  if (text.front() == ' ') return from_stage(next, text, call);
  return from_stage(next, ' ' + std::string(text), call);
}

}  // namespace dsa
