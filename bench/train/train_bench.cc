// Times forward_backward() of a model made from a seed, one document per batch:
//   train_bench CONFIG.json STAGE TOKENS [THREADS [REPETITIONS]]
// and prints one JSON object. STAGE: pretrain, warmup or sparse.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "dsa_measure/bench.h"

#include "backprop/train_model.h"
#include "measure/timing.h"

namespace {

std::optional<dsa::backprop::TrainStage> stage_of(std::string_view name) {
  if (name == "pretrain") return dsa::backprop::TrainStage::kPretrain;
  if (name == "warmup") return dsa::backprop::TrainStage::kWarmup;
  if (name == "sparse") return dsa::backprop::TrainStage::kSparse;
  return std::nullopt;
}

int64_t number(const char* text) {
  int64_t value = 0;
  const std::string_view view = text;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  return error == std::errc() && end == view.data() + view.size() ? value : -1;
}

int fail(const std::string& message) {
  fmt::print(stderr, "train_bench: {}\n", message);
  return 1;
}

std::vector<int32_t> random_tokens(int64_t n, int64_t vocab) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int32_t> token(0, static_cast<int32_t>(vocab - 1));
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  std::generate(tokens.begin(), tokens.end(), [&] { return token(random); });
  return tokens;
}

int run(const std::string& path,
        dsa::backprop::TrainStage stage,
        const char* name,
        int64_t n_tokens,
        int threads,
        int repetitions) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto config = dsa::parse_model_config(text, path);
  if (!config.ok()) return fail(config.status().message());
  dsa::ThreadPool pool(threads);
  auto model =
      dsa::backprop::TrainModel::create(*config, {.stage = stage, .max_tokens = n_tokens}, &pool);
  if (!model.ok()) return fail(model.status().message());
  const std::vector<int32_t> tokens = random_tokens(n_tokens, config->vocab_size);
  const dsa::backprop::DocumentSpan document = {0, n_tokens};
  dsa::backprop::TrainBatch batch;
  batch.tokens = tokens;
  batch.documents = {&document, 1};
  dsa::Status status;
  int n_steps = 0;
  std::clock_t begin = 0;
  const dsa::Timing time = dsa::time_repeatedly(repetitions, [&] {
    if (n_steps++ == 1) begin = std::clock();  // the first is not measured
    (*model)->zero_gradients();
    if (auto losses = (*model)->forward_backward(batch); !losses.ok()) status = losses.status();
  });
  const double cpu_seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC / time.n;
  if (!status.ok()) return fail(status.message());
  const auto machine = dsa::measure_machine(threads);
  if (!machine.ok()) return fail(machine.status().message());
  const double seconds = time.median / 1e3;
  const double rate = (*model)->step_flops(n_tokens) / seconds;
  int64_t n_parameters = 0;
  for (const dsa::backprop::Parameter& parameter : (*model)->parameters())
    n_parameters += static_cast<int64_t>(parameter.size);
  fmt::print(
      "{{\"stage\": \"{}\", \"tokens\": {}, \"threads\": {}, \"seconds\": {:.4f}, \"p10\": {:.4f}, "
      "\"p90\": {:.4f}, \"cpu_seconds\": {:.4f}, \"tokens_per_second\": "
      "{:.0f}, \"gflops\": {:.1f}, \"peak_gflops\": "
      "{:.1f}, "
      "\"share_of_peak\": {:.3f}, \"memory_mib\": {}, \"parameters\": {}}}\n",
      name, n_tokens, pool.n_threads(), seconds, time.low / 1e3, time.high / 1e3, cpu_seconds,
      static_cast<double>(n_tokens) / seconds, rate / 1e9, machine->f32_flops / 1e9,
      rate / machine->f32_flops, (*model)->memory_bytes() >> 20, n_parameters);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto stage = argc > 2 ? stage_of(argv[2]) : std::nullopt;
  const int64_t n_tokens = argc > 3 ? number(argv[3]) : -1;
  const int64_t threads = argc > 4 ? number(argv[4]) : 0;
  const int64_t repetitions = argc > 5 ? number(argv[5]) : 5;
  if (!stage || n_tokens < 1 || threads < 0 || threads > 4096 || repetitions < 1 ||
      repetitions > 1000) {
    return fail(
        "usage: train_bench CONFIG.json pretrain|warmup|sparse TOKENS [THREADS [REPETITIONS]]");
  }
  return run(argv[1], *stage, argv[2], n_tokens, static_cast<int>(threads),
             static_cast<int>(repetitions));
}
