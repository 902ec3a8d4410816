// Where the tests of this layer find their files.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "dsa/tokenizer.h"

namespace dsa::test {

// Files of the repository.
inline const std::string kBabyModel = DSA_SOURCE_DIR "/tests/checkpoints/baby-v32";

// Files next to the repository, which a user may lack.
inline const std::string kConformance = DSA_SOURCE_DIR "/../shared/conformance";
inline const std::string kDeepSeekTokenizer =
    kConformance + "/tokenizer/deepseek_v3_tokenizer.json";

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline const Tokenizer& baby_tokenizer() {
  static const Result<Tokenizer> result = Tokenizer::open(kBabyModel);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return *result;
}

// Parsed once; call only when the file is there.
inline const Tokenizer& deepseek_tokenizer() {
  static const Result<Tokenizer> result = Tokenizer::open(kDeepSeekTokenizer);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return *result;
}

}  // namespace dsa::test

#define DSA_SKIP_WITHOUT(path)                                \
  do {                                                        \
    if (!std::filesystem::exists(path)) {                     \
      GTEST_SKIP() << (path) << " is not there: not checked"; \
    }                                                         \
  } while (false)
