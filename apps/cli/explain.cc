#include "cli/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/io.h"
#include "cli/json.h"
#include "cli/loading.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr int64_t kNeighbours = 6;  // tokens shown on each side

// "the Lord [God] of hosts" around ids[position].
std::string surrounding_text(const dsa::Tokenizer& tokenizer,
                             std::span<const int32_t> ids,
                             int64_t position) {
  const auto n = static_cast<int64_t>(ids.size());
  const int64_t begin = std::max<int64_t>(position - kNeighbours, 0);
  const int64_t end = std::min(position + 1 + kNeighbours, n);
  const auto text = [&tokenizer, ids](int64_t from, int64_t to) {
    const auto part = ids.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from));
    return one_line(readable_text(tokenizer, part));
  };
  return fmt::format("{}[{}]{}", text(begin, position), text(position, position + 1),
                     text(position + 1, end));
}

}  // namespace

void Explain::add(const dsa::SelectionRow& selection) {
  Layer layer;
  layer.query = selection.position;
  layer.n_selected = static_cast<int64_t>(selection.positions.size());
  layer.scored = selection.scores.size() == selection.positions.size();
  for (size_t i = 0; i < selection.positions.size(); ++i) {
    layer.best.push_back({selection.positions[i], layer.scored ? selection.scores[i] : 0.0F});
  }
  const auto better = [](const Token& a, const Token& b) {
    return a.score != b.score ? a.score > b.score : a.position > b.position;
  };
  const auto n = static_cast<std::ptrdiff_t>(std::min(n_best_, layer.n_selected));
  std::partial_sort(layer.best.begin(), layer.best.begin() + n, layer.best.end(), better);
  layer.best.resize(static_cast<size_t>(n));
  layers_[selection.layer] = std::move(layer);
}

std::string Explain::table(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids) const {
  if (layers_.empty()) return "";
  const Layer& first = layers_.begin()->second;
  std::string out = fmt::format(
      "Best {} of the tokens selected for position {}: {}\n\n"
      "layer  position       score  text\n",
      n_best_, group_digits(first.query), surrounding_text(tokenizer, ids, first.query));
  for (const auto& [index, layer] : layers_) {
    std::string label = std::to_string(index);
    for (const Token& token : layer.best) {
      out += fmt::format("{:>5}  {:>8}  {:>10}  {}\n", label, group_digits(token.position),
                         layer.scored ? fmt::format("{:.4f}", token.score) : "-",
                         surrounding_text(tokenizer, ids, token.position));
      label.clear();
    }
  }
  return out;
}

Json Explain::json(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids) const {
  Json out = Json::array();
  for (const auto& [index, layer] : layers_) {
    Json best = Json::array();
    for (const Token& token : layer.best) {
      Json entry = {{"position", token.position}};
      entry.set("score", layer.scored ? Json(token.score) : nullptr);
      entry.set("token", ids[static_cast<size_t>(token.position)]);
      entry.set("text", surrounding_text(tokenizer, ids, token.position));
      best.push_back(std::move(entry));
    }
    out.push_back({{"layer", index},
                   {"position", layer.query},
                   {"n_selected", layer.n_selected},
                   {"best", std::move(best)}});
  }
  return out;
}

}  // namespace cli
