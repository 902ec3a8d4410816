#include "measure/machine.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>

#include "common/status_macros.h"
#include "formats/cache_layout.h"
#include "measure/timing.h"
#include "measure/yardstick.h"
#include "ops/context.h"
#include "runtime/cpu.h"

namespace dsa {

namespace {

constexpr int kSamples = 15;
constexpr size_t kTableBytes = size_t{256} << 20;  // beyond every cache
constexpr size_t kReadBytes = size_t{64} << 20;    // of it in a sample
constexpr size_t kGatheredRows = 16384;
constexpr uint64_t kRounds = 100'000;  // of dot products, a thread's
constexpr LatentLayout kRow = {CacheFormat::kFp8, 512, 64};

// Until every thread has a core of its own, or a second has passed: a limit measured too low would
// flatter everything that is compared with it.
void wait_for_cores(Executor* pool, DotLoop loop) {
  const auto best_of_some = [&](Executor* threads) {
    const auto rounds = kRounds * static_cast<uint64_t>(threads->n_threads());
    double best = 1e9;
    for (int i = 0; i < kSamples; ++i)
      best = std::min(best, seconds_of([&] { run_dots(threads, loop, rounds); }));
    return best;
  };
  ThreadPool alone(1);
  const double wanted = best_of_some(&alone) / 0.9;
  const auto start = std::chrono::steady_clock::now();
  while (best_of_some(pool) > wanted && seconds_since(start) < 1)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

}  // namespace

Result<Yardsticks> Yardsticks::create(const kernels::KernelTable& table, ThreadPool* pool) {
  DSA_RETURN_IF_ERROR(pool->status());
  Yardsticks made;
  made.kernels_ = &table;
  made.pool_ = pool;
  DSA_ASSIGN_OR_RETURN(made.table_, AlignedBuffer::allocate(kTableBytes, "table to read"));
  std::memset(made.table_.data(), 1, made.table_.size());
  made.rows_.resize(kTableBytes / kRow.row_bytes() / kGatheredRows * kGatheredRows);
  std::iota(made.rows_.begin(), made.rows_.end(), 0);
  std::shuffle(made.rows_.begin(), made.rows_.end(), std::mt19937(1));
  for (auto list = made.rows_.begin(); list != made.rows_.end(); list += kGatheredRows)
    std::sort(list, list + kGatheredRows);
  return made;
}

void Yardsticks::sample() {
  const kernels::PeakKernels& peak = *kernels_->peak;
  time_dots(kF32, peak.f32_dot);
  time_dots(kBF16, peak.bf16_dot);
  time_dots(kInt8, peak.int8_dot);
  time_read();
  time_gather();
  ++turn_;  // each sample takes memory that was not read lately
}

void Yardsticks::time_dots(Kind kind, DotLoop loop) {
  if (loop == nullptr) return;
  const uint64_t rounds = kRounds * static_cast<uint64_t>(pool_->n_threads());
  work_[kind] = loop(1) * static_cast<double>(rounds);
  seconds_[kind].push_back(seconds_of([&] { run_dots(pool_, loop, rounds); }));
}

void Yardsticks::time_read() {
  work_[kRead] = kReadBytes;
  const uint8_t* data = table_.data() + turn_ % (kTableBytes / kReadBytes) * kReadBytes;
  seconds_[kRead].push_back(
      seconds_of([&] { read_all(pool_, *kernels_->peak, data, kReadBytes); }));
}

void Yardsticks::time_gather() {
  constexpr size_t kPiece = 512;
  work_[kGather] = static_cast<double>(kGatheredRows * kRow.row_bytes());
  const int32_t* rows = rows_.data() + turn_ % (rows_.size() / kGatheredRows) * kGatheredRows;
  std::atomic<uint64_t> sink = 0;
  seconds_[kGather].push_back(seconds_of([&] {
    pool_->parallel_for(kGatheredRows / kPiece, [&](int64_t piece, int) {
      sink += kernels_->peak->gather(table_.data(), kRow.row_bytes(),
                                     rows + static_cast<size_t>(piece) * kPiece, kPiece);
    });
  }));
}

double Yardsticks::rate(Kind kind, int percentile) const {
  std::vector<double> seconds = seconds_[kind];
  if (seconds.empty()) return 0;
  std::sort(seconds.begin(), seconds.end());
  const size_t at = (seconds.size() - 1) * static_cast<size_t>(percentile) / 100;
  return work_[kind] / seconds[at];
}

MachineLimits Yardsticks::limits(int percentile) const {
  MachineLimits limits;
  limits.cpu = detect_cpu().model_name;
  limits.tier = kernels_->tier_name;
  limits.n_threads = pool_->n_threads();
  limits.f32_flops = rate(kF32, percentile);
  limits.bf16_flops = std::max(rate(kBF16, percentile), limits.f32_flops);
  limits.int8_ops = std::max(rate(kInt8, percentile), limits.f32_flops);
  limits.read_bytes = rate(kRead, percentile);
  limits.gather_bytes = rate(kGather, percentile);
  return limits;
}

// The best of several short samples: a limit is what the machine does when nothing disturbs it.
Result<MachineLimits> measure_machine(const kernels::KernelTable& table, ThreadPool* pool) {
  DSA_ASSIGN_OR_RETURN(Yardsticks yardsticks, Yardsticks::create(table, pool));
  wait_for_cores(pool, table.peak->f32_dot);
  for (int i = 0; i < kSamples; ++i)
    yardsticks.sample();
  return yardsticks.limits(0);
}

Result<MachineLimits> measure_machine(int n_threads) {
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  ThreadPool pool(n_threads);
  return measure_machine(*table, &pool);
}

}  // namespace dsa
