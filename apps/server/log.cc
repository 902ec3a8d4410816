#include "server/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace server {

struct Log::Impl {
  // A thread of its own: a full pipe behind standard error must not hold up a token. What cannot be
  // written in time is dropped, the oldest first.
  explicit Impl(spdlog::sink_ptr sink)
      : pool(std::make_shared<spdlog::details::thread_pool>(kMostWaiting, 1)),
        logger(std::make_shared<spdlog::async_logger>(
            "dsa", std::move(sink), pool, spdlog::async_overflow_policy::overrun_oldest)) {
    logger->set_pattern("{\"time\":\"%Y-%m-%dT%H:%M:%S.%e%z\",\"level\":\"%l\",%v}");
    logger->flush_on(spdlog::level::info);
  }

  void write(spdlog::level::level_enum level, const std::string& event, const Json& fields) {
    Json line = {{"event", event}};
    line.update(fields);
    const std::string text = dump(line);
    logger->log(level, "{}", std::string_view(text).substr(1, text.size() - 2));
  }

  static constexpr size_t kMostWaiting = 8192;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
};

dsa::Result<std::unique_ptr<Log>> Log::open(const std::string& path) {
  try {
    spdlog::sink_ptr sink;
    if (path.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    }
    return std::unique_ptr<Log>(new Log(std::make_unique<Impl>(std::move(sink))));
  } catch (const spdlog::spdlog_ex& exception) {
    return dsa::Status(dsa::StatusCode::kIoError, path + ": cannot write: " + exception.what());
  }
}

Log::Log(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Log::~Log() = default;

void Log::info(const std::string& event, const Json& fields) {
  impl_->write(spdlog::level::info, event, fields);
}

void Log::warn(const std::string& event, const Json& fields) {
  impl_->write(spdlog::level::warn, event, fields);
}

}  // namespace server
