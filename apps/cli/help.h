// How --help looks: option, value, wrapped description; no list of what excludes what.
#pragma once

#include <memory>

namespace CLI {
class FormatterBase;
}

namespace cli {

std::shared_ptr<CLI::FormatterBase> make_help_formatter();

}  // namespace cli
