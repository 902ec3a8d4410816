// Bounds that the readers of files and of arguments enforce and buffers below them rely on.
#pragma once

#include <cstddef>

namespace dsa {

inline constexpr size_t kMaxIndexDim = 256;  // elements of an indexer key or of a query's head

}  // namespace dsa
