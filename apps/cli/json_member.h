// The text of one member of a JSON object, as it is spelled.
#pragma once

#include <string>
#include <string_view>

namespace cli {

// object: the text of a valid JSON object. Gives the last member of that name, which is the one a
// parser keeps; "" when there is none. Keys are compared as they are spelled.
std::string json_member(std::string_view object, std::string_view name);

}  // namespace cli
