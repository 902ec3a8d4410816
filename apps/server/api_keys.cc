#include "server/api_keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <boost/beast/core/string.hpp>
#include <fstream>

namespace server {

using dsa::Status;
using dsa::StatusCode;

ApiKeys::Digest ApiKeys::digest(std::string_view key) {
  Digest out{};
  const std::string text(key);
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data());
  return out;
}

dsa::Result<ApiKeys> ApiKeys::read(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Status(StatusCode::kNotFound, path + ": cannot open");
  ApiKeys keys;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    if (line.find_first_of(" \t") != std::string::npos) {
      return Status(StatusCode::kCorruption,
                    fmt::format("{}: line {}: has a space in it, want one key", path, number));
    }
    keys.digests_.push_back(digest(line));
  }
  if (file.bad()) return Status(StatusCode::kIoError, path + ": cannot read");
  if (keys.empty()) return Status(StatusCode::kCorruption, path + ": no key, want at least one");
  return keys;
}

std::string_view ApiKeys::key_in(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (!boost::beast::iequals(authorization.substr(0, kScheme.size()), kScheme)) return "";
  const size_t begin = authorization.find_first_not_of(' ', kScheme.size());
  return begin == std::string_view::npos ? "" : authorization.substr(begin);
}

bool ApiKeys::allow(std::string_view authorization) const {
  const std::string_view key = key_in(authorization);
  const Digest given = digest(key);
  int matches = 0;
  for (const Digest& known : digests_)
    matches += CRYPTO_memcmp(known.data(), given.data(), known.size()) == 0 ? 1 : 0;
  return !key.empty() && matches > 0;
}

}  // namespace server
