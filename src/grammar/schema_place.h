// A schema inside a document, that knows where it stands.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dsa/status.h"

#include "tokenizer/python_json.h"

namespace dsa::grammar {

struct Place {
  const JsonValue* value;
  std::string path;

  Place member(const JsonValue& child, std::string_view key) const;
  Status wrong(std::string_view want) const;  // kInvalidArgument
};

// The whole number under `key`, 0 to 2^30.
Result<int64_t> read_count(const Place& place, std::string_view key, int64_t otherwise);

// Both bounds; kInvalidArgument when the least is more than the most.
struct Counts {
  int64_t least = 0;
  int64_t most = -1;  // -1: no bound
};
Result<Counts> read_counts(const Place& place, std::string_view least, std::string_view most);

}  // namespace dsa::grammar
