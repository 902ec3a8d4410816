// Matrix products of one thread at the shapes of DeepSeek-V3.2, against the core's peaks.
//
//   flops    of the products     of_flops   share of the multiply-add peak
//   weights  bytes per second    of_read    share of the memory's read bandwidth
//
// DSA_CPU_TIER chooses the tier.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dsa/thread_pool.h"

#include "formats/dtype.h"
#include "kernels/tiers.h"
#include "measure/machine.h"

namespace {

using dsa::DType;
using dsa::kernels::MatmulArgs;
using dsa::kernels::MatmulFn;

constexpr std::size_t kColdBytes = std::size_t{128} << 20;  // weights that no cache holds

struct Shape {
  bool transposed = true;
  DType activation = DType::kF32;
  DType weight = DType::kF32;
  std::size_t m = 0;
  std::size_t n = 0;  // 0: as many as make kColdBytes of weights
  std::size_t k = 0;
  float scale = 0.015625F;
};

struct Context {
  const dsa::kernels::KernelTable* table;
  dsa::MachineLimits peak;
};

MatmulFn select(const dsa::kernels::MatmulKernels& kernels, const Shape& shape) {
  const bool f32 = shape.activation == DType::kF32;
  const auto& by_weight = shape.transposed ? (f32 ? kernels.nt_f32 : kernels.nt_bf16)
                                           : (f32 ? kernels.nn_f32 : kernels.nn_bf16);
  const MatmulFn fns[] = {by_weight.f32, by_weight.f16, by_weight.bf16, by_weight.e4m3};
  return fns[static_cast<std::size_t>(shape.weight)];
}

void multiply(benchmark::State& state, Context context, Shape shape) {
  const std::size_t element = dsa::dtype_bytes(shape.weight);
  if (shape.n == 0) shape.n = kColdBytes / (shape.k * element);
  // Bytes 0x38 and 0x3C make ordinary values in every type, none subnormal.
  std::vector<unsigned char> weights(shape.n * shape.k * element);
  for (std::size_t i = 0; i < weights.size(); ++i)
    weights[i] = i % 3 == 0 ? 0x38 : 0x3C;
  std::vector<float> scales((shape.n / 128 + 1) * (shape.k / 128 + 1), shape.scale);
  std::vector<unsigned char> a(shape.m * shape.k * dsa::dtype_bytes(shape.activation), 0x3C);
  std::vector<float> c(shape.m * shape.n);

  const std::size_t cols = shape.transposed ? shape.k : shape.n;
  const MatmulArgs args = {
      .a = a.data(),
      .lda = shape.k,
      .m = shape.m,
      .w = {.data = weights.data(), .ld = cols, .scale = scales.data(), .scale_ld = cols / 128 + 1},
      .n = shape.n,
      .k = shape.k,
      .c = c.data(),
      .ldc = shape.n};
  const MatmulFn fn = select(*context.table->matmul, shape);
  for (auto _ : state) {
    fn(args);
    benchmark::DoNotOptimize(c.data());
    benchmark::ClobberMemory();
  }
  const double runs = static_cast<double>(state.iterations());
  const double flops = 2.0 * static_cast<double>(shape.m * shape.n * shape.k) * runs;
  const double bytes = static_cast<double>(weights.size()) * runs;
  const double peak =
      shape.activation == DType::kF32 ? context.peak.f32_flops : context.peak.bf16_flops;
  using benchmark::Counter;
  state.counters["flops"] = Counter(flops, Counter::kIsRate);
  state.counters["of_flops"] = Counter(flops / peak, Counter::kIsRate);
  state.counters["weights"] = Counter(bytes, Counter::kIsRate);
  state.counters["of_read"] = Counter(bytes / context.peak.read_bytes, Counter::kIsRate);
}

std::vector<Shape> all_shapes() {
  std::vector<Shape> shapes;
  const std::pair<DType, DType> types[] = {
      {DType::kBF16, DType::kE4M3}, {DType::kBF16, DType::kBF16}, {DType::kF32, DType::kF32},
      {DType::kF32, DType::kF16},   {DType::kF32, DType::kBF16},  {DType::kF32, DType::kE4M3}};
  for (const auto& [activation, weight] : types) {
    for (const std::size_t m : {1UL, 2UL, 4UL})  // decoding: bound by the weights' bytes
      shapes.push_back({true, activation, weight, m, 0, 7168});
    for (const std::size_t m : {8UL, 16UL, 64UL, 256UL})
      shapes.push_back({true, activation, weight, m, 512, 7168});
    shapes.push_back({true, activation, weight, 64, 2048, 512});
    shapes.push_back({true, activation, weight, 64, 512, 16384});  // rows 4096 bytes apart
    shapes.push_back({true, activation, weight, 64, 512, 1536});
    shapes.push_back({true, activation, weight, 64, 512, 2048});
    if (weight == DType::kE4M3)  // scales that are not powers of two
      shapes.push_back({true, activation, weight, 64, 512, 7168, 0.02F});
    // Absorbed attention: W^UK of one head from the left; 128 heads at a time when m = 1.
    shapes.push_back({false, activation, weight, 1, 512, 128 * 128});
    shapes.push_back({false, activation, weight, 64, 512, 128});
  }
  return shapes;
}

std::string name_of(const Shape& shape) {
  return std::string(shape.transposed ? "nt/" : "nn/") + dsa::dtype_name(shape.activation) + "x" +
         dsa::dtype_name(shape.weight) + "/m" + std::to_string(shape.m) + "/n" +
         std::to_string(shape.n) + "/k" + std::to_string(shape.k) +
         (shape.scale == 0.02F ? "/scale0.02" : "");
}

}  // namespace

int main(int argc, char** argv) {
  const dsa::kernels::KernelTable* table = dsa::kernels::chosen_table();
  if (table == nullptr) return 1;
  dsa::ThreadPool pool(1);
  const auto peak = dsa::measure_machine(*table, &pool);
  if (!peak.ok()) return 1;
  const Context context = {table, *peak};
  benchmark::AddCustomContext("tier", table->tier_name);
  benchmark::AddCustomContext("f32 peak, flops/s", std::to_string(context.peak.f32_flops));
  benchmark::AddCustomContext("bf16 peak, flops/s", std::to_string(context.peak.bf16_flops));
  benchmark::AddCustomContext("read peak, bytes/s", std::to_string(context.peak.read_bytes));
  for (const Shape& shape : all_shapes()) {
    benchmark::RegisterBenchmark(name_of(shape).c_str(), multiply, context, shape)
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
