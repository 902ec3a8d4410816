#include "server/selections.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace server {
namespace {

struct Merged {
  int64_t n_layers = 0;
  double score = 0;
};

// Three significant digits are enough for a picture.
Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == 0) return 0;
  const double scale = std::pow(10.0, 2 - std::floor(std::log10(std::fabs(value))));
  return std::round(value * scale) / scale;
}

int64_t utf16_units(std::string_view utf8) {
  int64_t n = 0;
  for (const char c : utf8) {
    const auto byte = static_cast<unsigned char>(c);
    n += (byte & 0xC0U) != 0x80U ? 1 : 0;
    n += byte >= 0xF0U ? 1 : 0;  // beyond the first plane: two units
  }
  return n;
}

Json layer_json(const dsa::LayerSelection& layer) {
  Json scores = Json::array();
  for (const float score : layer.scores)
    scores.push_back(rounded(static_cast<double>(score)));
  return {
      {"layer", layer.layer}, {"deltas", deltas(layer.positions)}, {"scores", std::move(scores)}};
}

void merge(const dsa::LayerSelection& layer, std::map<int32_t, Merged>& out) {
  const bool scored = layer.scores.size() == layer.positions.size() && !layer.scores.empty();
  double low = 0;
  double range = 0;
  if (scored) {
    const auto [least, most] = std::minmax_element(layer.scores.begin(), layer.scores.end());
    low = static_cast<double>(*least);
    range = static_cast<double>(*most) - low;
  }
  for (size_t i = 0; i < layer.positions.size(); ++i) {
    Merged& entry = out[layer.positions[i]];
    ++entry.n_layers;
    if (scored && range > 0) entry.score += (static_cast<double>(layer.scores[i]) - low) / range;
  }
}

Json merged_json(const std::vector<dsa::LayerSelection>& layers) {
  std::map<int32_t, Merged> all;
  for (const dsa::LayerSelection& layer : layers)
    merge(layer, all);
  std::vector<int32_t> positions;
  Json counts = Json::array();
  Json scores = Json::array();
  const auto n = static_cast<double>(std::max<size_t>(layers.size(), 1));
  for (const auto& [position, entry] : all) {
    positions.push_back(position);
    counts.push_back(entry.n_layers);
    scores.push_back(rounded(entry.score / n));
  }
  return {{"deltas", deltas(positions)}, {"layers", counts}, {"scores", scores}};
}

}  // namespace

Json text_with_lengths(const dsa::Tokenizer& tokenizer, std::span<const int32_t> ids) {
  dsa::StreamDecoder decoder(tokenizer);
  std::string text;
  Json lengths = Json::array();
  for (const int32_t id : ids) {
    const auto piece = decoder.push(id);
    lengths.push_back(piece.ok() ? utf16_units(*piece) : 0);
    if (piece.ok()) text += *piece;
  }
  const std::string rest = decoder.flush();
  if (!rest.empty()) lengths.back() = lengths.back().get<int64_t>() + utf16_units(rest);
  return {{"text", text + rest}, {"lengths", std::move(lengths)}};
}

Json deltas(std::span<const int32_t> positions) {
  Json out = Json::array();
  int32_t last = 0;
  for (const int32_t position : positions) {
    out.push_back(position - last);
    last = position;
  }
  return out;
}

Json selections_json(const TokenSelections& token,
                     const std::vector<int64_t>& layers,
                     bool merged) {
  Json out = {{"index", token.index}, {"position", token.position}, {"id", token.id}};
  size_t most = 0;
  Json listed = Json::array();
  for (const dsa::LayerSelection& layer : token.layers) {
    most = std::max(most, layer.positions.size());
    if (std::find(layers.begin(), layers.end(), layer.layer) != layers.end()) {
      listed.push_back(layer_json(layer));
    }
  }
  // The token at `position` was chosen by the query before it, which saw as many tokens.
  out["n_visible"] = token.position;
  out["n_read"] = most;
  out["layers"] = std::move(listed);
  if (merged) out["merged"] = merged_json(token.layers);
  return out;
}

}  // namespace server
