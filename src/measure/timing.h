// Repeats work and says how long it took.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include "dsa_measure/bench.h"

namespace dsa {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

template <class Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return seconds_since(start);
}

// Of samples in seconds; at least one.
inline Timing timing_of(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const size_t last = seconds.size() - 1;
  const auto at = [&](size_t percent) { return seconds[(last * percent + 50) / 100] * 1e3; };
  return {at(50), at(10), at(90), static_cast<int>(seconds.size())};
}

// Calls work() once unmeasured, then `repetitions` times, and on until kLeastSeconds have passed;
// after each call between(), whose time does not count.
template <class Work, class Between>
Timing time_repeatedly(int repetitions, const Work& work, const Between& between) {
  constexpr double kLeastSeconds = 0.2;
  constexpr size_t kMostSamples = 1000;
  work();
  std::vector<double> seconds;
  double total = 0;
  while (static_cast<int>(seconds.size()) < repetitions ||
         (total < kLeastSeconds && seconds.size() < kMostSamples)) {
    seconds.push_back(seconds_of(work));
    total += seconds.back();
    between();
  }
  return timing_of(std::move(seconds));
}

template <class Work>
Timing time_repeatedly(int repetitions, const Work& work) {
  return time_repeatedly(repetitions, work, [] {});
}

}  // namespace dsa
