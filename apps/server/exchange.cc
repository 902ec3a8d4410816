#include "server/exchange.h"

#include <fmt/format.h>

#include "server/api_error.h"
#include "server/connection.h"

namespace server {

const char* status_text(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Unknown";
  }
}

ConnectionExchange::ConnectionExchange(std::shared_ptr<Connection> connection,
                                       HttpRequest request,
                                       std::shared_ptr<Presence> presence,
                                       const HttpOptions& options,
                                       Metrics& metrics)
    : connection_(std::move(connection)),
      request_(std::move(request)),
      presence_(std::move(presence)),
      options_(&options),
      metrics_(&metrics),
      arrived_(std::chrono::steady_clock::now()) {
  ++metrics_->open_exchanges;
}

ConnectionExchange::~ConnectionExchange() {
  if (!ended_) {
    if (streaming_) {
      finish(true);
    } else {
      respond(error_response(500, "the request was dropped", "server_error"));
    }
  }
  --metrics_->open_exchanges;
}

std::string ConnectionExchange::head(int status, const std::string& content_type) const {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", status, status_text(status));
  if (!content_type.empty()) out += fmt::format("Content-Type: {}\r\n", content_type);
  for (const auto& [name, value] : headers_)
    out += fmt::format("{}: {}\r\n", name, value);
  out += "X-Content-Type-Options: nosniff\r\n";
  if (!request_.keep_alive) out += "Connection: close\r\n";
  return out;
}

void ConnectionExchange::respond(HttpResponse response) {
  status_ = response.status;
  for (auto& header : response.headers)
    headers_.push_back(std::move(header));
  std::string out = head(response.status, response.content_type);
  if (response.status != 204) out += fmt::format("Content-Length: {}\r\n", response.body.size());
  out += "\r\n";
  if (request_.method != "HEAD") out += response.body;
  presence_->answered = true;
  connection_->send(out);
  end(request_.keep_alive);
}

void ConnectionExchange::start_stream() {
  streaming_ = true;
  status_ = 200;
  ++metrics_->open_streams;
  if (!request_.can_chunk) request_.keep_alive = false;  // the end of the connection ends the text
  std::string out = head(200, "text/event-stream; charset=utf-8");
  out += "Cache-Control: no-store\r\n";
  out += "X-Accel-Buffering: no\r\n";  // nginx: each event at once
  if (request_.can_chunk) out += "Transfer-Encoding: chunked\r\n";
  connection_->send(out + "\r\n");
  connection_->begin_stream(framed(": keep-alive\n\n"));
}

std::string ConnectionExchange::framed(std::string_view text) const {
  if (!request_.can_chunk) return std::string(text);
  return fmt::format("{:x}\r\n{}\r\n", text.size(), text);
}

bool ConnectionExchange::write(std::string_view text) {
  if (gone() || text.empty()) return !gone();
  return connection_->send(framed(text));
}

void ConnectionExchange::finish(bool broken) {
  connection_->end_stream();
  if (streaming_) --metrics_->open_streams;
  if (broken) status_ = kClientGone;
  if (!broken) presence_->answered = true;
  if (!broken && request_.can_chunk && !gone()) connection_->send("0\r\n\r\n");
  end(request_.keep_alive && !broken);
}

void ConnectionExchange::end(bool keep_alive) {
  ended_ = true;
  metrics_->count_request(route_, status_);
  if (options_->on_answer) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - arrived_;
    options_->on_answer({request_.method, route_, status_, elapsed.count(),
                         static_cast<int64_t>(request_.body.size())});
  }
  {
    const std::lock_guard lock(presence_->mutex);
    presence_->callback = nullptr;
  }
  connection_->end_exchange(keep_alive);
}

bool ConnectionExchange::gone() const {
  return presence_->gone;
}

void ConnectionExchange::on_gone(std::function<void()> callback) {
  {
    const std::lock_guard lock(presence_->mutex);
    if (!presence_->gone) {
      presence_->callback = std::move(callback);
      return;
    }
  }
  callback();
}

void ConnectionExchange::add_header(std::string name, std::string value) {
  headers_.emplace_back(std::move(name), std::move(value));
}

void ConnectionExchange::refuse(int status, const std::string& why) {
  route_ = "unreadable";
  respond(error_response(status, why, status < 500 ? "invalid_request_error" : "server_error"));
}

}  // namespace server
