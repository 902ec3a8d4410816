// Deterministic automata over bytes: what a number or a string with bounds is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace dsa::grammar {

struct Dfa {
  struct Edge {
    uint8_t first = 0, last = 0;  // bytes first to last
    int32_t to = 0;
    bool ends_character = false;  // of a text whose characters are counted
  };
  struct State {
    std::vector<Edge> edges;  // no two share a byte
    bool accepts = false;
    int32_t least_more = 0;  // characters that must still come
  };
  std::vector<State> states;  // the first one starts

  const Edge* step(int32_t state, uint8_t byte) const;  // null: refused
  bool accepts(std::string_view text) const;
};

// For each state, the fewest edges to one that accepts; -1 where there is no way.
template <typename State>
std::vector<int32_t> steps_to_end(const std::vector<State>& states) {
  std::vector<std::vector<std::size_t>> from(states.size());
  std::vector<int32_t> steps(states.size(), -1);
  std::vector<std::size_t> reached;  // in the order of their steps
  for (std::size_t i = 0; i < states.size(); ++i) {
    for (const auto& edge : states[i].edges)
      from[static_cast<std::size_t>(edge.to)].push_back(i);
    if (!states[i].accepts) continue;
    steps[i] = 0;
    reached.push_back(i);
  }
  for (std::size_t next = 0; next < reached.size(); ++next) {
    for (const std::size_t before : from[reached[next]]) {
      if (steps[before] >= 0) continue;
      steps[before] = steps[reached[next]] + 1;
      reached.push_back(before);
    }
  }
  return steps;
}

// Drops the edges after which nothing could be accepted, so that no text runs into a dead end.
// False when nothing at all is accepted.
template <typename State>
bool drop_dead_ends(std::vector<State>& states) {
  const std::vector<int32_t> steps = steps_to_end(states);
  for (State& state : states) {
    std::erase_if(state.edges,
                  [&](const auto& edge) { return steps[static_cast<std::size_t>(edge.to)] < 0; });
  }
  return !states.empty() && steps[0] >= 0;
}

}  // namespace dsa::grammar
