#include "cli/tokenize_text.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "dsa/bpe_trainer.h"
#include "dsa/token_data.h"
#include "dsa/tokenizer.h"

#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Status stopped(const std::string& output) {
  return Status(dsa::StatusCode::kCancelled, output + ": not written: Ctrl-C");
}

}  // namespace

Status train_tokenizer(const TextJob& job) {
  const auto start = Clock::now();
  auto files = dsa::list_text_files(job.texts);
  if (!files.ok()) return files.status();
  auto trainer = dsa::BpeTrainer::create(
      {.vocab_size = static_cast<int32_t>(job.vocab_size), .min_count = job.min_count});
  if (!trainer.ok()) return trainer.status();
  int64_t n_bytes = 0;
  for (const std::string& file : *files) {
    auto text = dsa::read_text_file(file);
    if (!text.ok()) return text.status();
    if (const Status added = trainer->add(*text); !added.ok()) {
      return Status(added.code(), file + ": " + added.message());
    }
    n_bytes += static_cast<int64_t>(text->size());
    if (interrupted()) return stopped(job.output);
  }
  const std::string json = trainer->train([](int64_t, int64_t) { return !interrupted(); });
  if (interrupted()) return stopped(job.output);
  std::error_code ignored;
  const std::string path = std::filesystem::is_directory(job.output, ignored)
                               ? job.output + "/tokenizer.json"
                               : job.output;
  auto tokenizer = dsa::Tokenizer::parse(json, path);
  if (!tokenizer.ok()) return tokenizer.status();
  if (const Status written = dsa::write_text_file(path, json); !written.ok()) return written;
  if (job.quiet) return {};
  print(fmt::format("{}: {} tokens from {} of text in {} files, {}\n", path,
                    group_digits(tokenizer->vocab_size()), format_bytes(n_bytes),
                    group_digits(static_cast<int64_t>(files->size())),
                    format_seconds(seconds_since(start))));
  if (tokenizer->vocab_size() < job.vocab_size) {
    note(fmt::format("dsa tokenize: the text has pairs for {} of {} tokens only",
                     group_digits(tokenizer->vocab_size()), group_digits(job.vocab_size)));
  }
  return {};
}

Status pack_texts(const TextJob& job, const std::string& dir) {
  const auto start = Clock::now();
  auto files = dsa::list_text_files(job.texts);
  if (!files.ok()) return files.status();
  auto tokenizer = dsa::Tokenizer::open(dir);
  if (!tokenizer.ok()) return tokenizer.status();
  auto report = dsa::write_token_file(*tokenizer, *files, job.separator, job.output,
                                      [](int64_t, int64_t) { return !interrupted(); });
  if (!report.ok()) return report.status();
  if (job.quiet) return {};
  print(fmt::format("{}: {} tokens in {} documents from {} of text, {:.2f} bytes a token, {}\n",
                    job.output, group_digits(report->n_tokens), group_digits(report->n_documents),
                    format_bytes(report->n_bytes),
                    static_cast<double>(report->n_bytes) / static_cast<double>(report->n_tokens),
                    format_seconds(seconds_since(start))));
  return {};
}

}  // namespace cli
