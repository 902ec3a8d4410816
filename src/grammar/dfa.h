// Deterministic automata over bytes: what a number or a string with bounds is made of.
#pragma once

#include <cstddef>
#include <cstdint>
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
};

// Which states lead to one that accepts.
template <typename State>
std::vector<bool> useful_states(const std::vector<State>& states) {
  std::vector<std::vector<int32_t>> from(states.size());
  std::vector<bool> useful(states.size(), false);
  std::vector<std::size_t> todo;
  for (std::size_t i = 0; i < states.size(); ++i) {
    for (const auto& edge : states[i].edges)
      from[static_cast<std::size_t>(edge.to)].push_back(static_cast<int32_t>(i));
    if (!states[i].accepts) continue;
    useful[i] = true;
    todo.push_back(i);
  }
  while (!todo.empty()) {
    const std::size_t at = todo.back();
    todo.pop_back();
    for (const int32_t before : from[at]) {
      const auto i = static_cast<std::size_t>(before);
      if (useful[i]) continue;
      useful[i] = true;
      todo.push_back(i);
    }
  }
  return useful;
}

// Drops the edges after which nothing could be accepted, so that no text runs into a dead end.
// False when nothing at all is accepted.
template <typename State>
bool drop_dead_ends(std::vector<State>& states) {
  const std::vector<bool> useful = useful_states(states);
  for (State& state : states) {
    std::erase_if(state.edges,
                  [&](const auto& edge) { return !useful[static_cast<std::size_t>(edge.to)]; });
  }
  return !states.empty() && useful[0];
}

}  // namespace dsa::grammar
