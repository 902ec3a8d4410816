#include "measure/machine.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "common/status_macros.h"
#include "formats/cache_layout.h"
#include "measure/timing.h"
#include "measure/yardstick.h"
#include "ops/context.h"
#include "runtime/aligned_buffer.h"
#include "runtime/cpu.h"

namespace dsa {

namespace {

constexpr int kSamples = 15;
constexpr size_t kTableBytes = size_t{256} << 20;  // beyond every cache
constexpr size_t kGatheredRows = 16384;

// The best of several short samples: a limit is what the machine does when nothing disturbs it.
template <class Work>
double best_seconds(const Work& work) {
  double best = 1e9;
  for (int sample = 0; sample < kSamples; ++sample)
    best = std::min(best, seconds_of(work));
  return best;
}

double peak(ThreadPool* pool, DotLoop loop) {
  if (loop == nullptr) return 0;
  const uint64_t rounds = uint64_t{400'000} * static_cast<uint64_t>(pool->n_threads());
  return loop(1) * static_cast<double>(rounds) /
         best_seconds([&] { run_dots(pool, loop, rounds); });
}

// Until every thread has a core of its own, or a second has passed: a limit measured too low would
// flatter everything that stands beside it.
void wait_for_cores(ThreadPool* pool, DotLoop loop) {
  ThreadPool alone(1);
  const double wanted = 0.9 * pool->n_threads() * peak(&alone, loop);
  const auto start = std::chrono::steady_clock::now();
  while (peak(pool, loop) < wanted && seconds_since(start) < 1)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

double read_bandwidth(const kernels::PeakKernels& kernels,
                      ThreadPool* pool,
                      const AlignedBuffer& table) {
  return static_cast<double>(table.size()) /
         best_seconds([&] { read_all(pool, kernels, table.data(), table.size()); });
}

double gather_bandwidth(const kernels::PeakKernels& kernels,
                        ThreadPool* pool,
                        const AlignedBuffer& table) {
  constexpr LatentLayout kLayout = {CacheFormat::kFp8, 512, 64};
  constexpr size_t kPiece = 512;
  std::vector<int32_t> rows(table.size() / kLayout.row_bytes());
  std::iota(rows.begin(), rows.end(), 0);
  std::shuffle(rows.begin(), rows.end(), std::mt19937(1));
  const size_t n_lists = rows.size() / kGatheredRows;  // each sample takes rows not read lately
  for (size_t list = 0; list < n_lists; ++list) {
    const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(list * kGatheredRows);
    std::sort(begin, begin + kGatheredRows);
  }
  size_t list = 0;
  std::atomic<uint64_t> sink = 0;
  const double seconds = best_seconds([&] {
    const int32_t* first = rows.data() + (list++ % n_lists) * kGatheredRows;
    pool->parallel_for(kGatheredRows / kPiece, [&](int64_t piece, int) {
      sink += kernels.gather(table.data(), kLayout.row_bytes(),
                             first + static_cast<size_t>(piece) * kPiece, kPiece);
    });
  });
  return static_cast<double>(kGatheredRows * kLayout.row_bytes()) / seconds;
}

}  // namespace

Result<MachineLimits> measure_machine(const kernels::KernelTable& table, ThreadPool* pool) {
  DSA_ASSIGN_OR_RETURN(const AlignedBuffer memory,
                       AlignedBuffer::allocate(kTableBytes, "table to read"));
  std::memset(memory.data(), 1, memory.size());
  const kernels::PeakKernels& kernels = *table.peak;
  wait_for_cores(pool, kernels.f32_dot);
  MachineLimits limits;
  limits.cpu = detect_cpu().model_name;
  limits.tier = table.tier_name;
  limits.n_threads = pool->n_threads();
  limits.f32_flops = peak(pool, kernels.f32_dot);
  limits.bf16_flops = std::max(peak(pool, kernels.bf16_dot), limits.f32_flops);
  limits.int8_ops = std::max(peak(pool, kernels.int8_dot), limits.f32_flops);
  limits.read_bytes = read_bandwidth(kernels, pool, memory);
  limits.gather_bytes = gather_bandwidth(kernels, pool, memory);
  return limits;
}

Result<MachineLimits> measure_machine(int n_threads) {
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  ThreadPool pool(n_threads);
  return measure_machine(*table, &pool);
}

}  // namespace dsa
