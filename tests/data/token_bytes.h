// Token files in memory, and the checksums that make changed ones well-formed again.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "data/token_file.h"

namespace dsa::test {

inline void fix_checksums(std::string* bytes) {
  if (bytes->size() < sizeof(TokenFileHeader)) return;
  TokenFileHeader header;
  std::memcpy(&header, bytes->data(), sizeof header);
  const auto all = std::as_bytes(std::span(*bytes));
  header.data_checksum = checksum(all.subspan(sizeof header));
  const auto words = std::as_bytes(std::span(&header, 1));
  header.header_checksum = checksum(words.first(offsetof(TokenFileHeader, header_checksum)));
  std::memcpy(bytes->data(), &header, sizeof header);
}

// Ids of two bytes.
inline std::string token_bytes(const std::vector<std::vector<uint16_t>>& documents,
                               uint32_t vocab_size = 1000) {
  TokenFileHeader header{};
  std::memcpy(header.magic, kTokenFileMagic, sizeof header.magic);
  header.version = 1;
  header.token_bytes = 2;
  header.vocab_size = vocab_size;
  header.n_documents = documents.size();
  std::string ids;
  std::vector<uint64_t> table;
  for (const std::vector<uint16_t>& document : documents) {
    ids.append(reinterpret_cast<const char*>(document.data()), document.size() * 2);
    header.n_tokens += document.size();
    table.push_back(header.n_tokens);
    table.push_back(document.size() * 77 + document[0]);
  }
  ids.resize((ids.size() + 7) / 8 * 8, '\0');
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes += ids;
  bytes.append(reinterpret_cast<const char*>(table.data()), table.size() * 8);
  fix_checksums(&bytes);
  return bytes;
}

}  // namespace dsa::test
