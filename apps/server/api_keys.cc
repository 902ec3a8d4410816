#include "server/api_keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

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

bool ApiKeys::allow(std::string_view authorization) const {
  constexpr std::string_view kScheme = "Bearer ";
  const bool bearer = authorization.substr(0, kScheme.size()) == kScheme;
  const Digest given = digest(bearer ? authorization.substr(kScheme.size()) : "");
  int matches = 0;
  for (const Digest& key : digests_)
    matches += CRYPTO_memcmp(key.data(), given.data(), key.size()) == 0 ? 1 : 0;
  return bearer && matches > 0;
}

}  // namespace server
