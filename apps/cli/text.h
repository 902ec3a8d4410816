// Words and numbers as people write and read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cli {

// "a,b" -> {"a", "b"}; at least one word, none after a delimiter at the end
std::vector<std::string> split(const std::string& text, char delimiter);

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
