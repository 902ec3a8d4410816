#include "tokenizer/pre_tokenizer.h"

#include "common/status_macros.h"
#include "tokenizer/utf8.h"

namespace dsa {

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
  std::size_t done = 0;
  for (std::size_t from = 0; from < text.size();) {
    DSA_ASSIGN_OR_RETURN(const std::optional<RegexMatch> match,
                         split.regex.find(text, from, call.scratch));
    if (!match) break;
    const std::string_view gap = text.substr(done, match->begin - done);
    const std::string_view found = text.substr(match->begin, match->end - match->begin);
    if (split.keep_gaps) DSA_RETURN_IF_ERROR(from_stage(next, gap, call));
    if (split.keep_matches) DSA_RETURN_IF_ERROR(from_stage(next, found, call));
    done = match->end;
    from = done;
    // An empty match only cuts; the search goes on one character later.
    if (found.empty() && from < text.size()) from += first_utf8_part(text.substr(from)).n_bytes;
  }
  return split.keep_gaps ? from_stage(next, text.substr(done), call) : Status();
}

Status PreTokenizer::at_stage(const PrefixSpaceStage&,
                              std::size_t next,
                              std::string_view text,
                              const Call& call) const {
  if (text.front() == ' ') return from_stage(next, text, call);
  return from_stage(next, ' ' + std::string(text), call);
}

}  // namespace dsa
