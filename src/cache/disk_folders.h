// The folders of a disk cache: one for each identity, named by it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

namespace dsa {

// Its first line is the description, for people; the second one names the tokens of a page.
inline constexpr const char* kAboutFile = "about.txt";
inline constexpr std::string_view kPageTokensLine = "page_tokens ";

bool is_identity(std::string_view name);

// Names of the identities' folders in `dir`, sorted.
//   Errors  kNotFound, kIoError.
Result<std::vector<std::string>> list_identities(const std::string& dir);

// Files that were being written when a process ended.
void remove_unfinished(const std::string& folder);

}  // namespace dsa
