// Names of hosts and paths of endpoints as requests write them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace server {

// The name of a host with or without a port, as names are compared (RFC 9110, 4.2.3): in small
// letters, without port and final dot; IPv6 addresses in brackets and in their shortest form.
// "Example.ORG.:8080" -> "example.org"; "" -> ""; nothing for what is no host.
std::optional<std::string> host_name(std::string_view authority);

// Whether such a name is this machine's to everybody: localhost and what ends with .localhost,
// 127.0.0.0/8, [::1]; also "", for no name.
bool is_local_name(std::string_view name);

// The authority and path, without query, of a request's target: a path, or a whole URI as proxies
// send it. No authority where the target has none.
struct Target {
  std::optional<std::string> authority;
  std::string path;
};
Target read_target(std::string_view target);

// What endpoints are told apart by: one slash for several, none at the end, no "/v1" before it.
// "/v1/models/", "//models", "/v1/v1/models" -> "/models"
std::string endpoint_path(std::string_view path);

}  // namespace server
