// Runs given tokens through an engine and hands out what every position produced.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "dsa/engine.h"
#include "dsa/status.h"

namespace cli {

// The tokens in a safetensors file (`tokens`, i32 [n]) or in JSON (an array, or an object with the
// array `tokens`; "-" is standard input).
//   Errors  those of reading; kCorruption names the field; an empty list is kInvalidArgument.
dsa::Result<std::vector<int32_t>> read_tokens(const std::string& path);

struct Trace {
  std::span<const int32_t> tokens;
  int64_t n_prefill = 0;  // the first so many at once, the rest one by one; 1..n
  bool quiet = false;
  // Positions come in ascending order, for selections within each layer. A status that is not ok
  // ends the run.
  std::function<dsa::Status(int64_t position, std::span<const float> logits)> logits;
  std::function<dsa::Status(int64_t layer, int64_t position, std::span<const int32_t> row)>
      selection;  // row: selection_width() positions, ascending, -1 padded
};

// Columns of a selection: the budget, the window or every position. A budget or window beyond the
// checkpoint's own budget and n_tokens is cut, since nothing could fill it.
int64_t selection_width(const dsa::Engine& engine, int64_t n_tokens);

// Ends early and well when Ctrl-C is pressed.
dsa::Status run_trace(dsa::Engine& engine, const Trace& trace);

}  // namespace cli
