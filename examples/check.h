// What the examples do with an error: say it and stop.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "dsa/status.h"

inline void check(const dsa::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  std::exit(1);
}

template <class T>
T check(dsa::Result<T> result) {
  check(result.status());
  return std::move(result).value();
}
