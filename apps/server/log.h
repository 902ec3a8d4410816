// Structured logs: one JSON object on each line, never with text of a prompt or an answer.
#pragma once

#include <memory>
#include <string>

#include "dsa/status.h"

#include "server/json.h"

namespace server {

// Threads  any.
class Log {
 public:
  // path: "" for standard error.   Errors  kIoError
  static dsa::Result<std::unique_ptr<Log>> open(const std::string& path);
  ~Log();

  // {"time": ..., "level": "info", "event": event, ...fields}
  void info(const std::string& event, const Json& fields);
  void warn(const std::string& event, const Json& fields);

 private:
  struct Impl;
  explicit Log(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace server
