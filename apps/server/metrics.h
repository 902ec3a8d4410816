// What /metrics reports in addition to the scheduler's counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "dsa/scheduler.h"

namespace server {

// A histogram as Prometheus has them. Threads: any.
class Histogram {
 public:
  static constexpr std::array<double, 14> kBounds = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
                                                     0.2,   0.5,   1,     2,    5,    10,   60};
  void observe(double seconds);
  void write(std::string& out, const std::string& name, const std::string& help) const;

 private:
  mutable std::mutex mutex_;
  std::array<int64_t, kBounds.size() + 1> counts_{};
  double sum_ = 0;
};

// Threads: any.
struct Metrics {
  std::atomic<int64_t> open_connections{0};
  std::atomic<int64_t> connections_total{0};
  std::atomic<int64_t> refused_connections_total{0};
  std::atomic<int64_t> open_exchanges{0};  // requests that are being answered
  std::atomic<int64_t> open_streams{0};
  std::atomic<int64_t> body_bytes{0};  // of the requests that are being read or answered
  std::atomic<int64_t> vanished_clients_total{0};
  std::atomic<int64_t> slow_clients_total{0};
  std::atomic<int64_t> active_requests{0};  // generations, one for each request of the API
  Histogram first_token_seconds;
  Histogram inter_token_seconds;

  // path: of a route, so that their number is bounded.
  void count_request(const std::string& path, int status);
  std::string text(const dsa::SchedulerStats& stats) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> requests_;
};

}  // namespace server
