// Keys that clients show as "Authorization: Bearer KEY".
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

namespace server {

class ApiKeys {
 public:
  // One key on each line; empty lines and lines that begin with "#" are left out.
  //   Errors  kNotFound, kIoError; kCorruption: no key, or one with a space in it
  static dsa::Result<ApiKeys> read(const std::string& path);

  bool empty() const { return digests_.empty(); }

  // Takes the same time whichever key it is, or none.
  bool allow(std::string_view authorization) const;

  // The key that the value of the header shows; "" for none. The scheme is written in any case.
  static std::string_view key_in(std::string_view authorization);

 private:
  using Digest = std::array<unsigned char, 32>;
  static Digest digest(std::string_view key);
  std::vector<Digest> digests_;
};

}  // namespace server
