#include "grammar/dfa.h"

#include <algorithm>

namespace dsa::grammar {

const Dfa::Edge* Dfa::step(int32_t state, uint8_t byte) const {
  const std::vector<Edge>& edges = states[static_cast<size_t>(state)].edges;
  const auto takes = [byte](const Edge& edge) { return edge.first <= byte && byte <= edge.last; };
  const auto found = std::find_if(edges.begin(), edges.end(), takes);
  return found == edges.end() ? nullptr : &*found;
}

bool Dfa::accepts(std::string_view text) const {
  if (states.empty()) return false;
  int32_t state = 0;
  for (const char byte : text) {
    const Edge* edge = step(state, static_cast<uint8_t>(byte));
    if (edge == nullptr) return false;
    state = edge->to;
  }
  return states[static_cast<size_t>(state)].accepts;
}

}  // namespace dsa::grammar
