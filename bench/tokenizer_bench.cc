// Encoding speed in bytes of text per second on one thread, with DeepSeek-V3's tokenizer when it is
// next to the repository, else with the baby model's (the label says which).
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "dsa/tokenizer.h"

namespace {

constexpr std::size_t kBytes = 1 << 20;

const std::string kRoot = DSA_SOURCE_DIR;

std::string tokenizer_path() {
  const std::string deepseek =
      kRoot + "/../shared/conformance/tokenizer/deepseek_v3_tokenizer.json";
  return std::filesystem::exists(deepseek) ? deepseek
                                           : kRoot + "/tests/checkpoints/baby-v32/tokenizer.json";
}

const dsa::Tokenizer& tokenizer() {
  static const auto result = dsa::Tokenizer::open(tokenizer_path());
  if (!result.ok()) std::abort();
  return *result;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string english() {
  return read_file(kRoot + "/tests/checkpoints/baby-v32/heldout.txt");
}

// The sources of this repository.
std::string code() {
  std::string text;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot + "/src")) {
    if (entry.path().extension() == ".cc") text += read_file(entry.path());
  }
  return text;
}

// Words drawn at random, so that phrases do not repeat as a copied page would.
std::string from_words(const std::vector<std::string>& words, std::size_t bytes) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < bytes)
    text += words[random() % words.size()];
  return text;
}

std::string chinese() {
  return from_words({"我们", "中国", "的",     "是",   "在",   "模型", "语言", "学习", "数据",
                     "可以", "人工", "智能",   "注意", "力",   "计算", "时间", "问题", "研究",
                     "方法", "结果", "北京",   "世界", "经济", "发展", "大学", "学生", "老师",
                     "今天", "天气", "怎么样", "一个", "不",   "了",   "有",   "和",   "这",
                     "他",   "稀疏", "索引",   "缓存", "，",   "，",   "。",   "！",   "\n"},
                    kBytes);
}

std::string digits_and_emoji() {
  return from_words({"1", "42", "2024", "3.14", "1,000,000", " ", " ", "👋", "🌍",
                     "👩‍👩‍👧‍👦", "🇩🇪", "\t", "-", "/", "99%"},
                    kBytes);
}

// Each source takes turns with `share` bytes of 4096.
std::string mixed() {
  const std::vector<std::pair<std::string, std::size_t>> sources = {
      {english(), 1600}, {code(), 1200}, {chinese(), 900}, {digits_and_emoji(), 396}};
  std::string text;
  for (std::size_t round = 0; text.size() < kBytes; ++round) {
    for (const auto& [source, share] : sources) {
      text += source.substr(round * share % (source.size() - share), share);
    }
  }
  return text;
}

void encode(benchmark::State& state, const std::string& text) {
  std::size_t n_ids = 0;
  for (auto _ : state) {
    const auto ids = tokenizer().encode(text);
    if (!ids.ok()) state.SkipWithError(ids.status().message().c_str());
    n_ids = ids.ok() ? ids->size() : 0;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
  state.counters["tokens"] = static_cast<double>(n_ids);
  state.SetLabel(std::filesystem::path(tokenizer_path()).filename().string());
}

void open_file(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(dsa::Tokenizer::open(tokenizer_path()));
}

void decode_stream(benchmark::State& state) {
  const auto ids = tokenizer().encode(mixed());
  for (auto _ : state) {
    dsa::StreamDecoder decoder(tokenizer());
    for (const int32_t id : *ids)
      benchmark::DoNotOptimize(decoder.push(id));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(ids->size()));
}

BENCHMARK(open_file)->Unit(benchmark::kMillisecond);
BENCHMARK(decode_stream)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, mixed, mixed())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, english, english())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, code, code())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, chinese, chinese())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, digits_and_emoji, digits_and_emoji())->Unit(benchmark::kMillisecond);
// Runs that the pre-tokenizer leaves whole.
BENCHMARK_CAPTURE(encode, one_letter, std::string(kBytes, 'a'))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, spaces, std::string(kBytes, ' '))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, newlines, std::string(kBytes, '\n'))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, zero_bytes, std::string(kBytes, '\0'))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, not_utf8, std::string(kBytes, '\xFF'))->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
