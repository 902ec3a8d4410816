#include "server/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "server/api.h"
#include "server/host_name.h"
#include "server/http_server.h"
#include "server/log.h"

namespace server {
namespace {

using dsa::Status;

constexpr std::chrono::milliseconds kPoll{20};
constexpr std::chrono::seconds kSendRest{5};  // for answers that are complete but not yet sent

// "::1" -> "[::1]"
std::string in_url(const std::string& host) {
  const bool bare_v6 = std::count(host.begin(), host.end(), ':') > 1 && host.front() != '[';
  return bare_v6 ? fmt::format("[{}]", host) : host;
}

HttpOptions http_options(const ServerOptions& options, Log& log) {
  HttpOptions http;
  http.host = options.host;
  http.port = options.port;
  http.tls_certificate = options.tls_certificate;
  http.tls_key = options.tls_key;
  http.max_connections = options.max_connections;
  http.max_body_bytes = options.max_body_bytes;
  http.max_bodies_bytes = options.max_bodies_bytes;
  http.max_header_bytes = options.max_header_bytes;
  http.max_unsent_bytes = options.max_unsent_bytes;
  http.read_timeout = std::chrono::seconds(options.read_seconds);
  http.write_timeout = std::chrono::seconds(options.write_seconds);
  http.idle_timeout = std::chrono::seconds(options.idle_seconds);
  if (options.quiet) return http;
  http.on_answer = [&log](const AnsweredRequest& entry) {
    log.info("http", {{"method", entry.method},
                      {"path", entry.route},
                      {"status", entry.status},
                      {"seconds", entry.seconds},
                      {"body_bytes", entry.body_bytes}});
  };
  return http;
}

ApiOptions api_options(const ServerOptions& options) {
  ApiOptions api;
  api.limits.max_prompt_tokens = options.max_prompt_tokens;
  api.limits.max_choices = options.max_choices;
  api.limits.request_seconds = options.request_seconds;
  api.max_active = options.max_active;
  api.share_prompts = options.share_prompts;
  api.cors_origin = options.cors_origin;
  return api;
}

// In the form in which they are compared.
dsa::Result<std::vector<std::string>> allowed_hosts(const std::vector<std::string>& given) {
  std::vector<std::string> names;
  for (const std::string& host : given) {
    const auto name = host_name(in_url(host));
    if (!name || name->empty()) {
      return Status(dsa::StatusCode::kInvalidArgument,
                    fmt::format("--allowed-host: \"{}\", want the name of a host", host));
    }
    names.push_back(*name);
  }
  return names;
}

Json report_json(const GenerationReport& report) {
  return {{"id", report.id},
          {"chat", report.chat},
          {"stream", report.stream},
          {"choices", report.n_choices},
          {"status", report.status},
          {"outcome", report.outcome},
          {"prompt_tokens", report.usage.prompt_tokens},
          {"cache_hit_tokens", report.usage.cache_hit_tokens},
          {"completion_tokens", report.usage.completion_tokens},
          {"queue_seconds", report.queue_seconds},
          {"first_token_seconds", report.first_token_seconds},
          {"total_seconds", report.total_seconds}};
}

// Ends the server on a thread of its own, so that streams go on until they are done.
class Shutdown {
 public:
  Shutdown(HttpServer& http, dsa::Scheduler& scheduler, Metrics& metrics, Log& log, int64_t seconds)
      : http_(&http), scheduler_(&scheduler), metrics_(&metrics), log_(&log), seconds_(seconds) {}
  ~Shutdown() {
    if (thread_.joinable()) thread_.join();
  }

  // For each signal.
  void begin() {
    if (begun_) {
      hurry_ = true;
      return;
    }
    begun_ = true;
    log_->info("shutdown", {{"open_requests", metrics_->open_exchanges.load()},
                            {"patience_seconds", seconds_}});
    http_->stop_accepting();
    thread_ = std::thread([this] { run(); });
  }

 private:
  using Clock = std::chrono::steady_clock;

  void run() {
    const auto wait_for = [this](std::chrono::milliseconds time, const auto& done) {
      const auto until = Clock::now() + time;
      while (!done() && !hurry_ && Clock::now() < until)
        std::this_thread::sleep_for(kPoll);
    };
    // Requests that are still being read may be submitted; then the scheduler refuses more.
    wait_for(std::chrono::seconds(seconds_), [this] { return metrics_->open_connections == 0; });
    const bool whole = scheduler_->shutdown(std::chrono::milliseconds(0));
    wait_for(kSendRest, [this] { return metrics_->open_connections == 0; });
    log_->info("stopped", {{"all_finished", whole}});
    http_->stop();
  }

  HttpServer* http_;
  dsa::Scheduler* scheduler_;
  Metrics* metrics_;
  Log* log_;
  int64_t seconds_;
  bool begun_ = false;
  std::atomic<bool> hurry_{false};
  std::thread thread_;
};

}  // namespace

Status serve(const ServerOptions& options,
             ModelInfo model,
             std::unique_ptr<dsa::Scheduler> scheduler) {
  auto log = Log::open(options.log_file);
  if (!log.ok()) return log.status();
  ApiKeys keys;
  if (!options.api_key_file.empty()) {
    auto read = ApiKeys::read(options.api_key_file);
    if (!read.ok()) return read.status();
    keys = std::move(*read);
  }
  ApiOptions limits = api_options(options);
  auto hosts = allowed_hosts(options.allowed_hosts);
  if (!hosts.ok()) return hosts.status();
  limits.allowed_hosts = std::move(*hosts);
  Metrics metrics;
  std::unique_ptr<Api> api;
  auto http = HttpServer::listen(
      http_options(options, **log),
      Handler{[&api](std::shared_ptr<Exchange> exchange) { api->handle(std::move(exchange)); },
              [&api](const HttpRequest& head) { return api->refuses(head); }},
      metrics);
  if (!http.ok()) return http.status();
  limits.check_host = !limits.allowed_hosts.empty() || ((*http)->on_loopback() && keys.empty());
  const std::string name = model.name;
  Log* const logger = log->get();
  api = std::make_unique<Api>(limits, std::move(model), std::move(keys), *scheduler, metrics,
                              [logger, quiet = options.quiet](const GenerationReport& report) {
                                if (!quiet) logger->info("generation", report_json(report));
                              });
  scheduler->start();
  const char* scheme = options.tls_certificate.empty() ? "http" : "https";
  logger->info("listening",
               {{"url", fmt::format("{}://{}:{}", scheme, in_url(options.host), (*http)->port())},
                {"model", name},
                {"max_context", scheduler->max_context()}});
  {
    Shutdown shutdown(**http, *scheduler, metrics, **log, options.shutdown_seconds);
    (*http)->run([&shutdown] { shutdown.begin(); });
  }
  api->stop();
  scheduler.reset();  // ends the engine's thread: from here on nothing answers
  return Status();
}

}  // namespace server
