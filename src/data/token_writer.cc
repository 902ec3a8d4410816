#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "dsa/token_data.h"

#include "common/math.h"
#include "common/status_macros.h"
#include "data/control_ids.h"
#include "data/token_file.h"
#include "io/atomic_file.h"

namespace dsa {
namespace {

class TokenWriter {
 public:
  static Result<TokenWriter> create(const Tokenizer& tokenizer, const std::string& path) {
    DSA_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
    TokenWriter writer(tokenizer, std::move(file));
    const TokenFileHeader blank{};
    DSA_RETURN_IF_ERROR(writer.file_.append(std::as_bytes(std::span(&blank, 1))));
    return writer;
  }

  // Texts without tokens are left out.
  Status add(std::string_view text) {
    DSA_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer_->encode(text, false));
    if (ids.empty()) return {};
    if (marks_.begin) ids.insert(ids.begin(), *marks_.begin);
    if (marks_.end) ids.push_back(*marks_.end);
    std::string bytes(ids.size() * token_bytes_, '\0');
    for (size_t i = 0; i < ids.size(); ++i)  // little-endian: the low bytes come first
      std::memcpy(bytes.data() + i * token_bytes_, &ids[i], token_bytes_);
    n_tokens_ += ids.size();
    std::string padded = bytes;
    padded.resize(round_up<size_t>(bytes.size(), 8), '\0');
    documents_.push_back({n_tokens_, checksum(std::as_bytes(std::span(padded)))});
    return write(bytes);
  }

  Status finish() {
    DSA_RETURN_IF_ERROR(write(std::string(pending_.empty() ? 0 : 8 - pending_.size(), '\0')));
    const auto table = std::as_bytes(std::span(documents_));
    state_ = checksum(table, state_);
    DSA_RETURN_IF_ERROR(file_.append(table));
    TokenFileHeader header{};
    std::memcpy(header.magic, kTokenFileMagic, sizeof header.magic);
    header.version = 1;
    header.token_bytes = static_cast<uint32_t>(token_bytes_);
    header.vocab_size = static_cast<uint32_t>(tokenizer_->vocab_size());
    header.vocabulary_hash = vocabulary_hash(*tokenizer_);
    header.n_tokens = n_tokens_;
    header.n_documents = documents_.size();
    header.data_checksum = state_;
    const auto bytes = std::as_bytes(std::span(&header, 1));
    header.header_checksum = checksum(bytes.first(offsetof(TokenFileHeader, header_checksum)));
    DSA_RETURN_IF_ERROR(file_.write_at(0, bytes));
    return file_.commit();
  }

  uint64_t n_tokens() const { return n_tokens_; }
  uint64_t n_documents() const { return documents_.size(); }

 private:
  struct Entry {
    uint64_t end;
    uint64_t hash;
  };

  TokenWriter(const Tokenizer& tokenizer, AtomicFile file)
      : tokenizer_(&tokenizer),
        marks_(control_ids(tokenizer)),
        token_bytes_(tokenizer.vocab_size() <= 65536 ? 2 : 4),
        file_(std::move(file)) {}

  // The checksum takes whole words: what is left over waits in pending_.
  Status write(const std::string& bytes) {
    DSA_RETURN_IF_ERROR(file_.append(std::as_bytes(std::span(bytes))));
    pending_ += bytes;
    const size_t whole = pending_.size() / 8 * 8;
    state_ = checksum(std::as_bytes(std::span(pending_)).first(whole), state_);
    pending_.erase(0, whole);
    return {};
  }

  const Tokenizer* tokenizer_;
  ControlIds marks_;
  size_t token_bytes_;
  AtomicFile file_;
  std::string pending_;
  uint64_t state_ = checksum({});
  uint64_t n_tokens_ = 0;
  std::vector<Entry> documents_;
};

// The parts of `text` between lines that are `separator` and nothing else.
std::vector<std::string_view> cut(std::string_view text, const std::string& separator) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t line = 0; !separator.empty() && line < text.size();) {
    const size_t end = std::min(text.find('\n', line), text.size());
    std::string_view content = text.substr(line, end - line);
    if (content.ends_with('\r')) content.remove_suffix(1);
    if (content == separator) {
      parts.push_back(text.substr(begin, line - begin));
      begin = std::min(end + 1, text.size());
    }
    line = end + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

}  // namespace

Result<TokenFileReport> write_token_file(const Tokenizer& tokenizer,
                                         const std::vector<std::string>& files,
                                         const std::string& separator,
                                         const std::string& path,
                                         const std::function<bool(int64_t, int64_t)>& progress) {
  DSA_ASSIGN_OR_RETURN(TokenWriter writer, TokenWriter::create(tokenizer, path));
  TokenFileReport report;
  for (const std::string& file : files) {
    DSA_ASSIGN_OR_RETURN(const std::string text, read_text_file(file));
    for (const std::string_view part : cut(text, separator)) {
      const Status added = writer.add(part);
      if (!added.ok()) return error(added.code(), "{}: {}", file, added.message());
    }
    report.n_bytes += static_cast<int64_t>(text.size());
    ++report.n_files;
    if (progress && !progress(report.n_files, static_cast<int64_t>(files.size()))) {
      return error(StatusCode::kCancelled, "{}: not written: stopped", path);
    }
  }
  report.n_tokens = static_cast<int64_t>(writer.n_tokens());
  report.n_documents = static_cast<int64_t>(writer.n_documents());
  if (report.n_documents == 0) {
    return invalid_argument("{}: no text in {} files, want a document", path, report.n_files);
  }
  DSA_RETURN_IF_ERROR(writer.finish());
  return report;
}

}  // namespace dsa
