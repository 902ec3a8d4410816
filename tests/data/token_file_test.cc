#include "data/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "dsa/bpe_trainer.h"
#include "dsa/token_data.h"

#include "data/control_ids.h"
#include "tests/data/token_bytes.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<TokenFile> parse(const std::string& bytes) {
  return TokenFile::parse(std::as_bytes(std::span(bytes)), "t");
}

Tokenizer tokenizer() {
  auto trainer = BpeTrainer::create({.vocab_size = 264});
  EXPECT_TRUE(trainer.ok());
  auto parsed = Tokenizer::parse(trainer->train());
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return std::move(parsed).value();
}

std::vector<int32_t> document(const TokenFile& file, uint64_t i) {
  const TokenFile::Document d = file.document(i);
  std::vector<int32_t> ids;
  for (uint64_t t = d.begin; t < d.end; ++t)
    ids.push_back(file.token(t));
  return ids;
}

std::string with(std::string bytes, size_t offset, uint64_t value, size_t size) {
  std::memcpy(bytes.data() + offset, &value, size);
  test::fix_checksums(&bytes);
  return bytes;
}

void expect_refused(const std::string& bytes, const std::string& words) {
  const auto file = parse(bytes);
  ASSERT_FALSE(file.ok()) << words;
  EXPECT_THAT(file.status().message(), HasSubstr(words));
}

TEST(TokenFile, GivesTheDocumentsThatWereWritten) {
  const TempDir dir;
  const Tokenizer t = tokenizer();
  const std::string a = dir.write("a.txt", "one\n---\ntwo\n---\n\n---\n");
  const std::string b = dir.write("b.txt", "<｜end▁of▁sentence｜>");
  const auto report = write_token_file(t, {a, b}, "---", dir.file("x.tok"));
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->n_documents, 4);
  const auto file = TokenFile::open(dir.file("x.tok"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->n_documents(), 4U);
  EXPECT_EQ(file->vocab_size(), 264U);
  EXPECT_EQ(file->vocabulary_hash(), vocabulary_hash(t));
  EXPECT_THAT(document(*file, 0), ElementsAre(0, 8 + 'o', 8 + 'n', 8 + 'e', 8 + '\n', 1));
  EXPECT_THAT(document(*file, 1), ElementsAre(0, 8 + 't', 8 + 'w', 8 + 'o', 8 + '\n', 1));
  EXPECT_EQ(document(*file, 3).size(), 2 + std::string("<｜end▁of▁sentence｜>").size());
  EXPECT_EQ(dir.n_files(), 3U);
}

TEST(TokenFile, IsNotWrittenWithoutText) {
  const TempDir dir;
  const Tokenizer t = tokenizer();
  const std::string empty = dir.write("a.txt", "");
  EXPECT_EQ(write_token_file(t, {empty}, "", dir.file("x")).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(write_token_file(t, {dir.file("none")}, "", dir.file("x")).status().code(),
            StatusCode::kNotFound);
  const auto stop = [](int64_t, int64_t) { return false; };
  const std::string text = dir.write("b.txt", "b");
  EXPECT_FALSE(write_token_file(t, {text}, "", dir.file("x"), stop).ok());
  EXPECT_EQ(dir.n_files(), 2U);
}

TEST(TokenFile, RefusesWhatContradictsItself) {
  const std::string good = test::token_bytes({{1, 2, 3}, {4, 5}});
  ASSERT_TRUE(parse(good).ok()) << parse(good).status().message();
  expect_refused(good.substr(0, 63), "63 bytes");
  expect_refused(good.substr(0, good.size() - 1), "bytes, want");
  expect_refused(with(good, 0, 'X', 1), "no token file");
  expect_refused(with(good, 8, 2, 4), "version 2, want 1");
  expect_refused(with(good, 12, 3, 4), "3 bytes per token");
  expect_refused(with(good, 16, 5, 4), "token 4 is 5, want less than 5");
  expect_refused(with(good, 16, 0, 4), "ids below 0");
  expect_refused(with(good, 32, UINT64_MAX, 8), "documents of");
  expect_refused(with(good, 40, 6, 8), "6 documents of 5 tokens");
  expect_refused(with(good, good.size() - 32, 0, 8), "document 0 ends at 0");
  expect_refused(with(good, good.size() - 16, 9, 8), "document 1 ends at 9");
  std::string flipped = good;
  flipped[70] = static_cast<char>(flipped[70] ^ 1);
  expect_refused(flipped, "checksum of the data");
  flipped = good;
  flipped[20] = 1;
  expect_refused(flipped, "checksum of the header");
}

TEST(TokenFile, HashesTokenizersByWhatTheirIdsSpell) {
  auto trainer = BpeTrainer::create({.vocab_size = 266});
  ASSERT_TRUE(trainer.ok() && trainer->add("abab abab").ok());
  const auto other = Tokenizer::parse(trainer->train());
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(vocabulary_hash(tokenizer()), vocabulary_hash(tokenizer()));
  EXPECT_NE(vocabulary_hash(*other), vocabulary_hash(tokenizer()));
}

TEST(TextFiles, ListsFoldersInTheOrderOfTheirPaths) {
  const TempDir dir;
  std::filesystem::create_directories(dir.file("b/c"));
  std::filesystem::create_directories(dir.file(".git"));
  dir.write("b/c/2.txt", "");
  dir.write("b/1.txt", "");
  dir.write(".git/x", "");
  dir.write("z", "");
  const auto files = list_text_files({dir.path(), dir.file("z")});
  ASSERT_TRUE(files.ok()) << files.status().message();
  EXPECT_THAT(*files, ElementsAre(dir.file("b/1.txt"), dir.file("b/c/2.txt"), dir.file("z"),
                                  dir.file("z")));
  EXPECT_EQ(list_text_files({dir.file("none")}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(list_text_files({"/dev/null"}).status().code(), StatusCode::kInvalidArgument);
  std::filesystem::create_directories(dir.file("empty"));
  EXPECT_FALSE(list_text_files({dir.file("empty")}).ok());
}

}  // namespace
}  // namespace dsa
