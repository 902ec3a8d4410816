#include "data/token_file.h"

#include "common/math.h"
#include "common/status_macros.h"

namespace dsa {
namespace {

constexpr uint64_t kHeaderBytes = sizeof(TokenFileHeader);
constexpr uint64_t kCheckedHeader = offsetof(TokenFileHeader, header_checksum);
constexpr uint64_t kDocumentBytes = 16;
constexpr uint32_t kMaxVocab = 1U << 24;
constexpr uint64_t kMost = uint64_t{1} << 48;  // tokens: no sum below overflows

}  // namespace

uint64_t checksum(std::span<const std::byte> bytes, uint64_t state) {
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    state = (state ^ word) * 0xD6E8FEB86659FD93U;
    state ^= state >> 32;
  }
  return state;
}

uint64_t vocabulary_hash(const Tokenizer& tokenizer) {
  uint64_t state = static_cast<uint64_t>(tokenizer.vocab_size());
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    std::string text(tokenizer.token_text(id));
    const uint64_t size = text.size();
    text.resize(round_up<size_t>(text.size(), 8), '\0');
    state = checksum(std::as_bytes(std::span(text)), state ^ (size << 40));
  }
  return state;
}

Result<TokenFile> TokenFile::open(const std::string& path) {
  DSA_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  DSA_ASSIGN_OR_RETURN(TokenFile tokens, parse(file.bytes(), path));
  tokens.file_ = std::move(file);
  return tokens;
}

Result<TokenFile> TokenFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  TokenFile file;
  file.bytes_ = bytes;
  if (bytes.size() < kHeaderBytes) {
    return corruption("{}: {} bytes, want a token file of at least {}", name, bytes.size(),
                      kHeaderBytes);
  }
  std::memcpy(&file.header_, bytes.data(), kHeaderBytes);
  if (std::memcmp(file.header_.magic, kTokenFileMagic, 8) != 0) {
    return corruption("{}: no token file, want one that begins with {}", name, kTokenFileMagic);
  }
  if (file.header_.version != 1) {
    return unsupported("{}: version {}, want 1", name, file.header_.version);
  }
  if (checksum(bytes.first(kCheckedHeader)) != file.header_.header_checksum) {
    return corruption("{}: the checksum of the header does not fit it", name);
  }
  DSA_RETURN_IF_ERROR(file.check_sizes(name, bytes.size()));
  file.table_ =
      kHeaderBytes + round_up<uint64_t>(file.header_.n_tokens * file.header_.token_bytes, 8);
  if (checksum(bytes.subspan(kHeaderBytes)) != file.header_.data_checksum) {
    return corruption("{}: the checksum of the data does not fit it", name);
  }
  DSA_RETURN_IF_ERROR(file.check_documents(name));
  DSA_RETURN_IF_ERROR(file.check_tokens(name));
  return file;
}

Status TokenFile::check_sizes(const std::string& name, uint64_t n_bytes) const {
  const TokenFileHeader& h = header_;
  if (h.token_bytes != 2 && h.token_bytes != 4) {
    return corruption("{}: {} bytes per token, want 2 or 4", name, h.token_bytes);
  }
  if (h.vocab_size < 1 || h.vocab_size > kMaxVocab) {
    return corruption("{}: ids below {}, want a bound of 1 to {}", name, h.vocab_size, kMaxVocab);
  }
  if (h.zero != 0) return corruption("{}: byte 20 is {}, want 0", name, h.zero);
  if (h.n_tokens > kMost || h.n_documents > h.n_tokens) {
    return corruption("{}: {} documents of {} tokens", name, h.n_documents, h.n_tokens);
  }
  const uint64_t want = kHeaderBytes + round_up<uint64_t>(h.n_tokens * h.token_bytes, 8) +
                        h.n_documents * kDocumentBytes;
  if (n_bytes != want) {
    return corruption("{}: {} bytes, want {} for {} tokens and {} documents", name, n_bytes, want,
                      h.n_tokens, h.n_documents);
  }
  return {};
}

Status TokenFile::check_documents(const std::string& name) const {
  uint64_t end = 0;
  for (uint64_t i = 0; i < header_.n_documents; ++i) {
    const uint64_t next = word(table_ + i * kDocumentBytes);
    if (next <= end || next > header_.n_tokens) {
      return corruption("{}: document {} ends at {}, want {} to {}", name, i, next, end + 1,
                        header_.n_tokens);
    }
    end = next;
  }
  if (end != header_.n_tokens) {
    return corruption("{}: the documents end at {}, want {}", name, end, header_.n_tokens);
  }
  return {};
}

Status TokenFile::check_tokens(const std::string& name) const {
  for (uint64_t i = 0; i < header_.n_tokens; ++i) {
    const auto id = static_cast<uint32_t>(token(i));
    if (id >= header_.vocab_size) {
      return corruption("{}: token {} is {}, want less than {}", name, i, id, header_.vocab_size);
    }
  }
  return {};
}

TokenFile::Document TokenFile::document(uint64_t i) const {
  const uint64_t at = table_ + i * kDocumentBytes;
  return {i == 0 ? 0 : word(at - kDocumentBytes), word(at), word(at + 8)};
}

int32_t TokenFile::token(uint64_t i) const {
  const std::byte* const at = bytes_.data() + kHeaderBytes + i * header_.token_bytes;
  if (header_.token_bytes == 2) {
    uint16_t id = 0;
    std::memcpy(&id, at, sizeof id);
    return id;
  }
  int32_t id = 0;
  std::memcpy(&id, at, sizeof id);
  return id;
}

}  // namespace dsa
