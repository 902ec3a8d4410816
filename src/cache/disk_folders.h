// The folders of a disk cache: one for each identity, named by it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

namespace dsa {

inline constexpr const char* kAboutFile = "about.txt";

bool is_identity(std::string_view name);

// Names of the identities' folders in `dir`, sorted.
//   Errors  kNotFound, kIoError.
Result<std::vector<std::string>> list_identities(const std::string& dir);

// Files that were being written when a process ended.
void remove_unfinished(const std::string& folder);

}  // namespace dsa
