#include "grammar/dfa.h"

#include <algorithm>

namespace dsa::grammar {

const Dfa::Edge* Dfa::step(int32_t state, uint8_t byte) const {
  const std::vector<Edge>& edges = states[static_cast<size_t>(state)].edges;
  const auto takes = [byte](const Edge& edge) { return edge.first <= byte && byte <= edge.last; };
  const auto found = std::find_if(edges.begin(), edges.end(), takes);
  return found == edges.end() ? nullptr : &*found;
}

}  // namespace dsa::grammar
