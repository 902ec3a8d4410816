// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cli {

// 34512 -> "34,512"
std::string group_digits(int64_t value);

// {2, 3} -> "[2, 3]"
std::string shape_text(const std::vector<int64_t>& shape);

// 17421368 -> "17.4 MB" (decimal units)
std::string format_bytes(int64_t bytes);

// 0.34 -> "0.34 s", 83 -> "1:23", 3723 -> "1:02:03"
std::string format_seconds(double seconds);

// Events per second, three significant digits or all before the point: "31.2", "2,806".
std::string format_rate(int64_t n, double seconds);

}  // namespace cli
