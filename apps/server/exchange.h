// The exchange of a connection: puts answers into the bytes of HTTP/1.1.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/http.h"
#include "server/http_server.h"
#include "server/metrics.h"

namespace server {

class Connection;
struct Presence;

class ConnectionExchange : public Exchange {
 public:
  ConnectionExchange(std::shared_ptr<Connection> connection,
                     HttpRequest request,
                     std::shared_ptr<Presence> presence,
                     const HttpOptions& options,
                     Metrics& metrics);
  ~ConnectionExchange() override;

  const HttpRequest& request() const override { return request_; }
  void respond(HttpResponse response) override;
  void start_stream() override;
  bool write(std::string_view text) override;
  void finish(bool broken) override;
  bool gone() const override;
  void on_gone(std::function<void()> callback) override;
  void add_header(std::string name, std::string value) override;
  void set_route(std::string route) override { route_ = std::move(route); }

  // An answer to what could not be read as a request.
  void refuse(int status, const std::string& why);

 private:
  std::string head(int status, const std::string& content_type) const;
  std::string framed(std::string_view text) const;  // as a chunk, where the client reads chunks
  void end(bool keep_alive);

  std::shared_ptr<Connection> connection_;
  HttpRequest request_;
  std::shared_ptr<Presence> presence_;
  const HttpOptions* options_;
  Metrics* metrics_;
  std::string route_ = "other";
  std::chrono::steady_clock::time_point arrived_;
  int status_ = 0;
  std::vector<std::pair<std::string, std::string>> headers_;
  bool streaming_ = false;
  bool ended_ = false;
};

}  // namespace server
