// Which tokens the last query looked at: the best of every layer's selection.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "dsa/forward.h"
#include "dsa/tokenizer.h"

#include "cli/json.h"

namespace cli {

class Explain {
 public:
  explicit Explain(int64_t n_best) : n_best_(n_best) {}

  void clear() { layers_.clear(); }

  // Remembers the selection; a later one of the same layer takes its place.
  void add(const dsa::SelectionRow& selection);

  // ids: the tokens of the sequence, by position.
  std::string table(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids) const;
  Json json(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids) const;

 private:
  struct Token {
    int64_t position = 0;
    float score = 0;
  };
  struct Layer {
    int64_t query = 0;  // position
    int64_t n_selected = 0;
    bool scored = false;      // false: the layer's indexer did not run, the most recent are listed
    std::vector<Token> best;  // best first
  };

  int64_t n_best_;
  std::map<int64_t, Layer> layers_;
};

}  // namespace cli
