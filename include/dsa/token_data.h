// Training data: lists text files and tokenizes them into one token file that training maps
// (docs/formats.md, "Token files").
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dsa/status.h"
#include "dsa/tokenizer.h"

#pragma GCC visibility push(default)

namespace dsa {

// The regular files that `paths` name: a file itself; for a folder, all files in it and below it,
// in the order of their paths. In folders, names that begin with a dot are skipped.
//   Errors  kNotFound, kIoError: a path, with the system's reason; kInvalidArgument: a device, or
//           there is no file at all
Result<std::vector<std::string>> list_text_files(const std::vector<std::string>& paths);

// The contents of one file.   Errors  kNotFound, kIoError, kInvalidArgument (no regular file)
Result<std::string> read_text_file(const std::string& path);

// Writes one file; it is replaced as a whole or not at all.   Errors  kIoError
Status write_text_file(const std::string& path, const std::string& text);

struct TokenFileReport {
  int64_t n_files = 0;
  int64_t n_documents = 0;
  int64_t n_bytes = 0;   // of text
  int64_t n_tokens = 0;  // with begin and end marks
};

// Tokenizes files (each is one document, or several where separator is not empty and stands alone
// on a line) and writes them to `path`, which is replaced as a whole. A document is the
// begin-of-sentence token, its text and the end-of-sentence token, as far as the tokenizer has
// them; control tokens spelled in the text are text. Documents without text are left out.
// progress(files done, files) may be null; when it returns false nothing is written.
//   Errors  kNotFound, kIoError, kInvalidArgument: a file; no document with text;
//           kCancelled: progress gave false
Result<TokenFileReport> write_token_file(
    const Tokenizer& tokenizer,
    const std::vector<std::string>& files,
    const std::string& separator,
    const std::string& path,
    const std::function<bool(int64_t, int64_t)>& progress = nullptr);

}  // namespace dsa

#pragma GCC visibility pop
