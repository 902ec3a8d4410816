// The network side: accepts connections, reads requests within limits, hands them to a handler and
// sends what it answers. One thread, the one that calls run(), does all input and output.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "dsa/status.h"

#include "server/http.h"
#include "server/metrics.h"

namespace server {

// For the log.
struct AnsweredRequest {
  std::string method;
  std::string route;
  int status = 0;
  double seconds = 0;
  int64_t body_bytes = 0;  // of the request
};

struct HttpOptions {
  std::string host = "127.0.0.1";  // an address, also in brackets, or a name
  uint16_t port = 8080;            // 0: any free one
  std::string tls_certificate;     // PEM files; both or neither
  std::string tls_key;
  int64_t max_connections = 1024;
  int64_t max_body_bytes = int64_t{16} << 20;
  int64_t max_bodies_bytes = int64_t{256} << 20;  // of all requests being read or answered
  int64_t max_header_bytes = 16384;
  int64_t max_unsent_bytes = int64_t{1}
                             << 20;  // of one connection; a client further behind is cut off
  std::chrono::milliseconds read_timeout{30000};          // for a whole request
  std::chrono::milliseconds idle_timeout{75000};          // between two requests
  std::chrono::milliseconds write_timeout{30000};         // without any progress
  std::chrono::milliseconds quiet_interval{5000};         // between comments in a silent stream
  std::function<void(const AnsweredRequest&)> on_answer;  // any thread; may be empty
};

class HttpServer {
 public:
  // Binds and listens.
  //   Errors  kInvalidArgument (host), kIoError (the address is taken, ...), kNotFound or
  //           kCorruption (certificate, key)
  static dsa::Result<std::unique_ptr<HttpServer>> listen(const HttpOptions& options,
                                                         Handler handler,
                                                         Metrics& metrics);
  ~HttpServer();

  uint16_t port() const;
  bool on_loopback() const;

  // Serves until stop(). on_signal: called on this thread for each SIGTERM and SIGINT.
  void run(const std::function<void()>& on_signal);

  // Accepts nothing more and closes idle connections; those with an open exchange close when it is
  // answered. Any thread.
  void stop_accepting();
  // Closes every connection and lets run() return. Any thread; all exchanges must be gone before
  // the server is.
  void stop();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace server
