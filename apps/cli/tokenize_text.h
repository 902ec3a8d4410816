// What `dsa tokenize` makes of whole texts: a tokenizer, or a file of tokens to train on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dsa/status.h"

namespace cli {

struct TextJob {
  std::vector<std::string> texts;  // files and folders
  std::string output;
  std::string separator;
  int64_t vocab_size = 4096;
  int64_t min_count = 2;
  bool quiet = false;
};

// Learns a tokenizer and writes it to job.output (a file, or tokenizer.json in a folder).
dsa::Status train_tokenizer(const TextJob& job);

// Tokenizes the texts with the tokenizer of `dir` into the token file job.output.
dsa::Status pack_texts(const TextJob& job, const std::string& dir);

}  // namespace cli
