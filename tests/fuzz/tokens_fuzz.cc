// Any bytes as a token file: refused, or documents and sequences that stay inside it. The checksums
// are made to fit, so that the checks behind them are reached.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "data/sequences.h"
#include "data/token_file.h"
#include "tests/data/token_bytes.h"

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

void walk(const dsa::TokenFile& file) {
  std::vector<uint64_t> documents;
  for (uint64_t i = 0; i < file.n_documents(); ++i) {
    const auto document = file.document(i);
    check(document.begin < document.end && document.end <= file.n_tokens());
    documents.push_back(i);
  }
  for (uint64_t t = 0; t < file.n_tokens(); ++t)
    check(static_cast<uint32_t>(file.token(t)) < file.vocab_size());
  auto order = dsa::SequenceOrder::create(file, documents, 3, file.vocab_size());
  if (!order.ok()) return;
  for (int i = 0; i < 20; ++i) {
    for (const dsa::Segment& segment : order->next())
      check(segment.size >= 1 && segment.begin + segment.size < file.n_tokens());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto as_it_is = dsa::TokenFile::parse(std::as_bytes(std::span(bytes)), "fuzz");
  if (as_it_is.ok()) walk(*as_it_is);
  dsa::test::fix_checksums(&bytes);
  const auto file = dsa::TokenFile::parse(std::as_bytes(std::span(bytes)), "fuzz");
  if (file.ok()) {
    walk(*file);
  } else {
    check(!file.status().message().empty());
  }
  return 0;
}
