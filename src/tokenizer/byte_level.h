// The alphabet of byte-level BPE: files spell every byte as one printable character.
//
// 33-126, 161-172 and 174-255 stand for themselves (as code points); the other 68 bytes are, in
// ascending order, U+0100, U+0101, ... so a space is U+0120.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dsa {

// The bytes that `spelling` (UTF-8) stands for; nothing when a character is not of the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelling);

// How files spell `bytes`, in UTF-8.
std::string spelling_of_bytes(std::string_view bytes);

}  // namespace dsa
