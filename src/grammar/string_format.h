// JSON schema's `format`.
#pragma once

#include <string>
#include <string_view>

namespace dsa::grammar {

// The pattern of a format's texts; "" for a format that only describes. Each is a part of what its
// RFC allows that every reader takes, e.g. a URI's host is a name or an IPv4 address.
std::string format_pattern(std::string_view format);

}  // namespace dsa::grammar
