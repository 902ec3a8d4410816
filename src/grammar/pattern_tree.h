// What a pattern says, as a tree.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "grammar/character_set.h"

namespace dsa::grammar {

enum class PatternKind : uint8_t {
  kCharacter,  // one of `set`
  kSequence,
  kChoice,
  kRepeat,  // children[0], least to most times
  kBegin,   // ^
  kEnd      // $
};

struct PatternNode {
  PatternKind kind = PatternKind::kSequence;
  CodePointSet set;
  std::vector<PatternNode> children;
  int64_t least = 0;
  int64_t most = -1;  // -1: no bound
};

// Errors   as pattern_dfa
Result<PatternNode> parse_pattern(std::string_view pattern);

}  // namespace dsa::grammar
