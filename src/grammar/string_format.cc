#include "grammar/string_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace dsa::grammar {
namespace {

struct Named {
  std::string_view name, pattern;
};

// Patterns may use those before them as <name>.
constexpr std::array<Named, 13> kPieces = {{
    {"month-day",
     "(01|03|05|07|08|10|12)-(0[1-9]|[12][0-9]|3[01])"
     "|(04|06|09|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"},
    {"leap-year", "[0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00"},
    {"date", "[0-9]{4}-<month-day>|<leap-year>-02-29"},
    {"minutes", "([01][0-9]|2[0-3]):[0-5][0-9]"},
    {"time", "<minutes>:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]<minutes>)"},
    {"n", "[0-9]{1,4}"},
    {"days", "<n>Y(<n>M(<n>D)?)?|<n>M(<n>D)?|<n>D"},
    {"hours", "T(<n>H(<n>M(<n>S)?)?|<n>M(<n>S)?|<n>S)"},
    {"byte", "25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]"},
    {"group", "[0-9a-fA-F]{1,4}"},
    {"label", "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"},
    {"host", "<label>(\\.<label>)*"},
    {"path-char", "[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}"},
}};

constexpr std::array<Named, 11> kFormats = {{
    {"date", "<date>"},  // RFC 3339, and no 30th of February
    {"time", "<time>"},
    {"date-time", "<date>T<time>"},
    {"duration", "P(<n>W|<days><hours>?|<hours>)"},
    {"uuid", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"},
    {"uuid4", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"},
    {"email", "[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@(<label>\\.)+[A-Za-z]{2,24}"},
    {"hostname", "<host>"},
    {"ipv4", "<byte>(\\.<byte>){3}"},
    {"ipv6",
     "(<group>:){7}<group>|(<group>:){1,7}:|(<group>:){1,6}:<group>"
     "|(<group>:){1,5}(:<group>){1,2}|(<group>:){1,4}(:<group>){1,3}"
     "|(<group>:){1,3}(:<group>){1,4}|(<group>:){1,2}(:<group>){1,5}"
     "|<group>:(:<group>){1,6}|:((:<group>){1,7}|:)"},
    {"uri",
     "[A-Za-z][A-Za-z0-9+.-]*:(//<host>(:[0-9]{1,4})?(/<path-char>*)*"
     "|<path-char>(<path-char>|/)*)(\\?(<path-char>|[/?])*)?(#(<path-char>|[/?])*)?"},
}};

}  // namespace

std::string format_pattern(std::string_view format) {
  const auto found = std::find_if(kFormats.begin(), kFormats.end(),
                                  [&](const Named& known) { return known.name == format; });
  if (found == kFormats.end()) return {};
  std::string pattern = fmt::format("^({})$", found->pattern);
  for (auto piece = kPieces.rbegin(); piece != kPieces.rend(); ++piece) {
    const std::string use = fmt::format("<{}>", piece->name);
    const std::string text = fmt::format("({})", piece->pattern);
    for (size_t at = pattern.find(use); at != std::string::npos; at = pattern.find(use, at))
      pattern.replace(at, use.size(), text);
  }
  return pattern;
}

}  // namespace dsa::grammar
