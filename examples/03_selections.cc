// Looks inside: which earlier tokens each layer selected for the last one, and what comes next.
//   example_03_selections [MODEL_DIR [TEXT_FILE]]
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "dsa/engine.h"
#include "dsa/forward.h"
#include "dsa/model.h"
#include "dsa/tokenizer.h"

#include "check.h"

namespace {

// Indices of the n largest values, largest first.
std::vector<size_t> largest(std::span<const float> values, size_t n) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  n = std::min(n, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n), order.end(),
                    [&](size_t a, size_t b) { return values[a] > values[b]; });
  order.resize(n);
  return order;
}

std::string read_text(const std::string& path, size_t n_bytes) {
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  text.resize(std::min(text.size(), n_bytes));
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string dir = argc > 1 ? argv[1] : "models/dsa-13m";
  const std::string path = argc > 2 ? argv[2] : "models/dsa-13m/heldout.txt";

  const auto model = check(dsa::Model::open(dir));
  const dsa::Tokenizer tokenizer = check(dsa::Tokenizer::open(dir));
  const std::vector<int32_t> tokens = check(tokenizer.encode(read_text(path, 6000)));
  if (tokens.empty()) {
    std::fprintf(stderr, "%s: no text\n", path.c_str());
    return 1;
  }
  const auto engine = check(dsa::Engine::create(model, {.cache_tokens = 4096}));
  const dsa::SequenceId sequence = check(engine->create_sequence());
  const auto last = static_cast<int64_t>(tokens.size()) - 1;

  dsa::ForwardHooks hooks;
  hooks.selection_scores = true;
  hooks.selection = [&](const dsa::SelectionRow& selection) {
    if (selection.position != last) return;
    std::printf("layer %lld: %zu of %zu tokens, best", static_cast<long long>(selection.layer),
                selection.positions.size(), tokens.size());
    for (const size_t i : largest(selection.scores, 5)) {
      const int32_t position = selection.positions[i];
      const std::string_view text = tokenizer.token_text(tokens[static_cast<size_t>(position)]);
      std::printf("  %d \"%.*s\"", position, static_cast<int>(text.size()), text.data());
    }
    std::printf("\n");
  };
  hooks.logits = [&](const dsa::LogitsRow& row) {
    std::printf("next after position %lld:", static_cast<long long>(row.position));
    for (const size_t id : largest(row.logits, 5)) {
      const std::string_view text = tokenizer.token_text(static_cast<int32_t>(id));
      std::printf("  \"%.*s\" %.2f", static_cast<int>(text.size()), text.data(),
                  static_cast<double>(row.logits[id]));
    }
    std::printf("\n");
  };
  check(engine->prefill(sequence, tokens, hooks));
  return 0;
}
