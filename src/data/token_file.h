// Reader of a token file: documents of token ids, mapped. The file is taken as hostile.
//
// Layout, little-endian:
//   0   8   magic "DSATOKEN"
//   8   4   version, 1
//   12  4   bytes of a token id: 2 or 4
//   16  4   ids are below this
//   20  4   zero
//   24  8   hash of the tokenizer's vocabulary
//   32  8   number of tokens
//   40  8   number of documents
//   48  8   checksum of everything from byte 64 on
//   56  8   checksum of bytes 0 .. 55
//   64      the ids, document after document, zeros up to a multiple of 8 bytes
//           per document u64 end (tokens of all documents up to and with it), u64 hash of its ids
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "dsa/status.h"
#include "dsa/tokenizer.h"

#include "io/mapped_file.h"

namespace dsa {

struct TokenFileHeader {
  char magic[8];
  uint32_t version;
  uint32_t token_bytes;
  uint32_t vocab_size;
  uint32_t zero;
  uint64_t vocabulary_hash;
  uint64_t n_tokens;
  uint64_t n_documents;
  uint64_t data_checksum;
  uint64_t header_checksum;
};
static_assert(sizeof(TokenFileHeader) == 64);

inline constexpr char kTokenFileMagic[] = "DSATOKEN";

// Of the words of `bytes`, whose number is a multiple of 8; `state` is what went before.
uint64_t checksum(std::span<const std::byte> bytes, uint64_t state = 0x9E3779B97F4A7C15U);

// Two tokenizers with the same hash give every id the same text.
uint64_t vocabulary_hash(const Tokenizer& tokenizer);

// Thread safety  const members may be called from any thread.
class TokenFile {
 public:
  struct Document {
    uint64_t begin;
    uint64_t end;
    uint64_t hash;
  };

  // Errors  those of MappedFile::open; kCorruption: what the file says and what was wanted
  static Result<TokenFile> open(const std::string& path);
  // Over bytes that the caller keeps alive, at a multiple of 8.
  static Result<TokenFile> parse(std::span<const std::byte> bytes, const std::string& name);

  uint64_t n_tokens() const { return header_.n_tokens; }
  uint64_t n_documents() const { return header_.n_documents; }
  uint32_t vocab_size() const { return header_.vocab_size; }
  uint64_t vocabulary_hash() const { return header_.vocabulary_hash; }
  uint64_t data_checksum() const { return header_.data_checksum; }  // names the contents

  Document document(uint64_t i) const;
  int32_t token(uint64_t i) const;

 private:
  TokenFile() = default;
  Status check_sizes(const std::string& name, uint64_t n_bytes) const;
  Status check_documents(const std::string& name) const;
  Status check_tokens(const std::string& name) const;
  uint64_t word(uint64_t offset) const {
    uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }

  std::optional<MappedFile> file_;
  std::span<const std::byte> bytes_;
  TokenFileHeader header_{};
  uint64_t table_ = 0;  // offset of the documents
};

}  // namespace dsa
