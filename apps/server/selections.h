// What DSA read to choose a token, as /v1/selections answers it: small even for long contexts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dsa/scheduler.h"
#include "dsa/tokenizer.h"

#include "server/json.h"

namespace server {

// The selections of one generated token.
struct TokenSelections {
  int64_t index = 0;     // among the generated tokens
  int64_t position = 0;  // in the sequence
  int32_t id = -1;
  std::vector<dsa::LayerSelection> layers;
};

// {"text": ..., "lengths": [...]}: lengths[i] is how many UTF-16 units of the text token i brought;
// a character of several tokens belongs to the last of them.
Json text_with_lengths(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids);

// Positions as differences, the first from 0.
Json deltas(std::span<const int32_t> positions);

// layers: those to list one by one. merged: of all layers, for each position that any selected
//   "layers"   how many did
//   "scores"   mean over the layers of the score's place between the layer's lowest (0) and highest
//              (1) selected score; a layer that did not select it counts 0
Json selections_json(const TokenSelections& token, const std::vector<int64_t>& layers, bool merged);

}  // namespace server
