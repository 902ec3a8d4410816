// HTTP as the handlers see it: a request, and the exchange that answers it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace server {

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // "/v1/models", without the query
  std::string host;    // with the port where there is one
  std::string origin;
  std::string asked_headers;  // of a preflight: Access-Control-Request-Headers
  std::string authorization;
  std::string content_type;
  std::string content_encoding;
  std::string body;
  bool keep_alive = true;
  bool can_chunk = true;  // HTTP/1.1
};

inline constexpr int kClientGone = 499;  // in the log and the metrics; nobody reads it

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

const char* status_text(int status);

// One request on its way to its answer: respond() once, or start_stream(), write() any number of
// times and finish(). Dropped without an answer it sends status 500.
// Threads  any; calls on one exchange must follow one another.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;

  virtual void respond(HttpResponse response) = 0;

  // Status 200 and the headers of server-sent events. From here to finish(), a comment is sent
  // whenever nothing was for a while: clients and proxies give up on a silent connection.
  virtual void start_stream() = 0;
  // Never blocks. False once the client is gone or was cut off for reading too slowly.
  virtual bool write(std::string_view text) = 0;
  // broken: ends the connection so that the client sees that the stream is not whole.
  virtual void finish(bool broken = false) = 0;

  virtual bool gone() const = 0;
  // Called once, on the I/O thread, when the client goes away before the answer is complete; at
  // once when it already has.
  virtual void on_gone(std::function<void()> callback) = 0;
  // Headers of every answer to this request.
  virtual void add_header(std::string name, std::string value) = 0;
  // What metrics and log call the endpoint.
  virtual void set_route(std::string route) = 0;
};

struct Handler {
  std::function<void(std::shared_ptr<Exchange>)> handle;
  // Whether handle() would refuse the request whatever its body is: asked before there is one.
  std::function<bool(const HttpRequest& head)> refuses;
};

}  // namespace server
