#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace server {
namespace {

void head(std::string& out, const std::string& name, const char* type, const std::string& help) {
  fmt::format_to(std::back_inserter(out), "# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

template <class T>
void value(
    std::string& out, const std::string& name, const char* type, const char* help, T number) {
  head(out, name, type, help);
  fmt::format_to(std::back_inserter(out), "{} {}\n", name, number);
}

void write_steps(std::string& out, const dsa::StepHistogram& steps) {
  const std::string name = "dsa_step_seconds";
  head(out, name, "histogram", "Duration of engine steps.");
  int64_t sum = 0;
  for (size_t i = 0; i < dsa::StepHistogram::kBuckets; ++i) {
    sum += steps.counts[i];
    const bool last = i + 1 == dsa::StepHistogram::kBuckets;
    const std::string bound =
        last ? "+Inf" : fmt::format("{}", dsa::StepHistogram::kBoundsMs[i] / 1000);
    fmt::format_to(std::back_inserter(out), "{}_bucket{{le=\"{}\"}} {}\n", name, bound, sum);
  }
  fmt::format_to(std::back_inserter(out), "{0}_sum {1}\n{0}_count {2}\n", name, steps.sum_seconds,
                 sum);
  value(out, "dsa_step_longest_seconds", "gauge", "Longest engine step.", steps.longest_seconds);
}

void write_finished(std::string& out, const dsa::SchedulerStats& stats) {
  const std::string name = "dsa_sequences_finished_total";
  head(out, name, "counter", "Sequences by why they ended.");
  for (size_t i = 0; i < std::size(stats.finished_total); ++i) {
    fmt::format_to(std::back_inserter(out), "{}{{reason=\"{}\"}} {}\n", name,
                   dsa::finish_reason_name(static_cast<dsa::FinishReason>(i)),
                   stats.finished_total[i]);
  }
}

void write_scheduler(std::string& out, const dsa::SchedulerStats& s) {
  const auto gauge = [&out](const char* name, const char* help, int64_t n) {
    value(out, name, "gauge", help, n);
  };
  const auto counter = [&out](const char* name, const char* help, int64_t n) {
    value(out, name, "counter", help, n);
  };
  gauge("dsa_sequences_running", "Sequences that run.", s.n_running);
  gauge("dsa_sequences_waiting", "Sequences in the queue.", s.n_waiting);
  gauge("dsa_sequences_preempted", "Waiting sequences that had begun.", s.n_preempted);
  counter("dsa_sequences_submitted_total", "Sequences accepted.", s.submitted_total);
  counter("dsa_sequences_refused_total", "Sequences refused.", s.refused_total);
  write_finished(out, s);
  counter("dsa_prefilled_tokens_total", "Prompt tokens computed.", s.prefilled_tokens_total);
  counter("dsa_decoded_tokens_total", "Tokens generated.", s.decoded_tokens_total);
  counter("dsa_prompt_cache_hit_tokens_total", "Prompt tokens found in the prefix cache.",
          s.cache_hit_tokens_total);
  counter("dsa_prompt_cache_miss_tokens_total", "Prompt tokens not found in the prefix cache.",
          s.cache_miss_tokens_total);
  counter("dsa_preemptions_total", "Sequences that gave up their pages.", s.preemptions_total);
  gauge("dsa_pages", "Pages of the cache.", s.n_pages);
  gauge("dsa_pages_free", "Pages that hold nothing.", s.n_free_pages);
  gauge("dsa_pages_cached", "Pages in the prefix cache.", s.n_cached_pages);
  gauge("dsa_pages_evictable", "Pages of the prefix cache that no sequence uses.",
        s.n_evictable_pages);
  counter("dsa_evictions_total", "Pages dropped from the prefix cache.", s.evictions_total);
  write_steps(out, s.steps);
  gauge("dsa_disk_pages", "Pages on disk for this checkpoint.", s.disk.n_pages);
  gauge("dsa_disk_bytes", "Bytes of the cache on disk.", s.disk.bytes);
  counter("dsa_disk_hits_total", "Pages read from disk.", s.disk.hits);
  counter("dsa_disk_misses_total", "Pages looked for on disk and not there.", s.disk.misses);
  counter("dsa_disk_writes_total", "Pages written to disk.", s.disk.writes);
  counter("dsa_disk_evictions_total", "Pages removed from disk.", s.disk.evictions);
  counter("dsa_disk_errors_total", "Failures of the cache on disk.", s.disk.errors);
  counter("dsa_disk_dropped_total", "Pages not written to disk.", s.disk.dropped);
  gauge("dsa_disk_pending_bytes", "Bytes that wait to be written to disk.", s.disk.pending_bytes);
}

}  // namespace

void Histogram::observe(double seconds) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  const std::lock_guard lock(mutex_);
  ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  sum_ += seconds;
}

void Histogram::write(std::string& out, const std::string& name, const std::string& help) const {
  const std::lock_guard lock(mutex_);
  head(out, name, "histogram", help);
  int64_t sum = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    sum += counts_[i];
    const std::string bound = i < kBounds.size() ? fmt::format("{}", kBounds[i]) : "+Inf";
    fmt::format_to(std::back_inserter(out), "{}_bucket{{le=\"{}\"}} {}\n", name, bound, sum);
  }
  fmt::format_to(std::back_inserter(out), "{0}_sum {1}\n{0}_count {2}\n", name, sum_, sum);
}

void Metrics::count_request(const std::string& path, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{path, status}];
}

std::string Metrics::text(const dsa::SchedulerStats& stats) const {
  std::string out;
  value(out, "dsa_http_connections_open", "gauge", "Open connections.", open_connections.load());
  value(out, "dsa_http_connections_total", "counter", "Connections accepted.",
        connections_total.load());
  value(out, "dsa_http_connections_refused_total", "counter", "Connections beyond the limit.",
        refused_connections_total.load());
  value(out, "dsa_http_requests_open", "gauge", "HTTP requests being answered.",
        open_exchanges.load());
  value(out, "dsa_http_body_bytes", "gauge", "Bodies of requests being read or answered.",
        body_bytes.load());
  value(out, "dsa_http_streams_open", "gauge", "Event streams being sent.", open_streams.load());
  value(out, "dsa_http_clients_vanished_total", "counter",
        "Clients that left before their answer was complete.", vanished_clients_total.load());
  value(out, "dsa_http_clients_slow_total", "counter", "Clients cut off for reading too slowly.",
        slow_clients_total.load());
  value(out, "dsa_requests_active", "gauge", "Generation requests being worked on.",
        active_requests.load());
  head(out, "dsa_http_requests_total", "counter", "Answered requests by path and status.");
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, count] : requests_) {
      fmt::format_to(std::back_inserter(out),
                     "dsa_http_requests_total{{path=\"{}\",code=\"{}\"}} {}\n", key.first,
                     key.second, count);
    }
  }
  first_token_seconds.write(out, "dsa_first_token_seconds",
                            "From the request's arrival at the queue to its first token.");
  inter_token_seconds.write(out, "dsa_inter_token_seconds", "Between two tokens of a sequence.");
  write_scheduler(out, stats);
  return out;
}

}  // namespace server
