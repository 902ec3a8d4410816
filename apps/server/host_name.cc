#include "server/host_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cctype>

namespace server {
namespace {

namespace ip = boost::asio::ip;
using Error = boost::system::error_code;

bool is_digit(unsigned char c) {
  return std::isdigit(c) != 0;
}

bool in_name(unsigned char c) {
  return std::isalnum(c) != 0 ||
         std::string_view("-._~%!$&'()*+,;=").find(static_cast<char>(c)) != std::string_view::npos;
}

std::string small_letters(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// ":8080", ":" and "".
bool is_port(std::string_view text) {
  return text.empty() || (text[0] == ':' && std::all_of(text.begin() + 1, text.end(), is_digit));
}

}  // namespace

std::optional<std::string> host_name(std::string_view authority) {
  const bool bracket = !authority.empty() && authority[0] == '[';
  const size_t end =
      bracket ? authority.find(']') : std::min(authority.find(':'), authority.size());
  if (end == std::string_view::npos) return std::nullopt;
  if (!is_port(authority.substr(end + (bracket ? 1 : 0)))) return std::nullopt;
  if (bracket) {
    Error error;
    const auto address = ip::make_address_v6(std::string(authority.substr(1, end - 1)), error);
    if (error) return std::nullopt;
    return fmt::format("[{}]", address.to_string());
  }
  std::string_view name = authority.substr(0, end);
  if (!std::all_of(name.begin(), name.end(), in_name)) return std::nullopt;
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  return small_letters(name);
}

bool is_local_name(std::string_view name) {
  constexpr std::string_view kBelowLocalhost = ".localhost";
  if (name.empty() || name == "localhost" || name == "[::1]") return true;
  if (name.size() > kBelowLocalhost.size() &&
      name.substr(name.size() - kBelowLocalhost.size()) == kBelowLocalhost) {
    return true;
  }
  // All four numbers: 127.example.org is a name of anybody's.
  Error error;
  const auto address = ip::make_address_v4(std::string(name), error);
  return !error && address.is_loopback();
}

Target read_target(std::string_view target) {
  Target out;
  const size_t scheme = target.find("://");
  const std::string name = small_letters(target.substr(0, std::min(scheme, target.size())));
  if (scheme != std::string_view::npos && (name == "http" || name == "https")) {
    target.remove_prefix(scheme + 3);
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    out.authority = std::string(target.substr(0, end));
    target.remove_prefix(end);
  }
  out.path = std::string(target.substr(0, target.find('?')));
  if (out.path.empty()) out.path.push_back('/');
  return out;
}

std::string endpoint_path(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || out.empty() || out.back() != '/') out += c;
  }
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  constexpr std::string_view kVersion = "/v1";
  while (out.compare(0, kVersion.size() + 1, "/v1/") == 0)
    out.erase(0, kVersion.size());
  return out;
}

}  // namespace server
