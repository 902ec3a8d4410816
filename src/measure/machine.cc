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
  for (int sample = 0; sample < kSamples; ++sample) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, seconds_since(start));
  }
  return best;
}

double peak(ThreadPool* pool, double (*loop)(uint64_t) noexcept) {
  constexpr uint64_t kRounds = 400'000;
  if (loop == nullptr) return 0;
  const double operations = loop(1) * static_cast<double>(kRounds) * pool->n_threads();
  return operations / best_seconds([&] {
           pool->parallel_for(pool->n_threads(), [loop](int64_t, int) { loop(kRounds); });
         });
}

// Until every thread has a core of its own, or a second has passed: a limit measured too low would
// flatter everything that stands beside it.
void wait_for_cores(ThreadPool* pool, double (*loop)(uint64_t) noexcept) {
  ThreadPool alone(1);
  const double wanted = 0.9 * pool->n_threads() * peak(&alone, loop);
  const auto start = std::chrono::steady_clock::now();
  while (peak(pool, loop) < wanted && seconds_since(start) < 1)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

double read_bandwidth(const kernels::PeakKernels& kernels,
                      ThreadPool* pool,
                      const AlignedBuffer& table) {
  constexpr size_t kPiece = size_t{4} << 20;
  std::atomic<uint64_t> sink = 0;
  const auto n_pieces = static_cast<int64_t>(table.size() / kPiece);
  const double seconds = best_seconds([&] {
    pool->parallel_for(n_pieces, [&](int64_t piece, int) {
      sink += kernels.read(table.data() + static_cast<size_t>(piece) * kPiece, kPiece);
    });
  });
  return static_cast<double>(table.size()) / seconds;
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
