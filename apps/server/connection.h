// One connection: reads requests, one at a time, and sends what their exchanges write.
//
// There is always one read open unless the client has sent more than it may while it waits: that is
// how a client that goes away is noticed. Everything runs on the I/O thread but what Exchange says.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/http.h"
#include "server/http_server.h"
#include "server/outbox.h"

namespace server {

class Connection;

// What connections share.
struct ConnectionContext {
  boost::asio::io_context* io = nullptr;
  const HttpOptions* options = nullptr;
  const Handler* handler = nullptr;
  Metrics* metrics = nullptr;
  bool stopping = false;  // I/O thread only
  std::function<void(const std::shared_ptr<Connection>&)> forget;
};

// Whether the client of an exchange is still there.
struct Presence {
  std::atomic<bool> gone{false};
  std::atomic<bool> answered{false};  // leaving is no loss any more
  std::mutex mutex;
  std::function<void()> callback;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(ConnectionContext& context);
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  void close();          // at once
  void close_if_idle();  // between requests; one that has begun to come is not

  // From an exchange, on any thread. send: false when the client is gone or lags too far.
  bool send(std::string_view bytes);
  void end_exchange(bool keep_alive);
  // Between the two the comment is sent whenever nothing was for a while.
  void begin_stream(std::string comment);
  void end_stream();

 protected:
  using Done = std::function<void(const boost::system::error_code&, size_t)>;
  virtual void async_open(Done done) = 0;  // the handshake, where there is one
  virtual void async_read(char* data, size_t size, Done done) = 0;
  virtual void async_write(const char* data, size_t size, Done done) = 0;
  // Tells the peer that all was sent; `done`, where it is called, closes.
  virtual void async_end(Done done) = 0;
  virtual void close_socket() = 0;

  ConnectionContext* context_;

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  void begin_request();
  void read();
  void on_read(const boost::system::error_code& error, size_t n);
  void skip_empty_lines();
  void parse();
  void judge_head();
  void refuse(const boost::system::error_code& error);
  void refuse(int status, const std::string& why);
  void dispatch(HttpRequest request);
  bool hold_body(int64_t n_bytes);
  void on_exchange_end(bool keep_alive);
  void next_request();
  void break_silence(const std::string& comment);
  void flush();
  void on_write(const boost::system::error_code& error, size_t n);
  void end();
  void lose_client();
  // Closes the connection when the time is over.
  void arm(boost::asio::steady_timer& timer, std::chrono::milliseconds time);
  static void disarm(boost::asio::steady_timer& timer);

  std::unique_ptr<Parser> parser_;
  std::string input_;  // read and not yet parsed
  std::vector<char> chunk_;
  bool reading_ = false;
  bool judged_ = false;     // the head of the request; what it deserves was sent
  int64_t held_bytes_ = 0;  // of the metrics' body_bytes

  Outbox outbox_;
  std::string writing_;
  size_t written_ = 0;
  bool write_open_ = false;

  std::shared_ptr<Presence> presence_;  // of the open exchange
  bool answered_ = false;               // what is left to do for the open exchange is to send
  bool keep_alive_ = true;
  bool ending_ = false;
  bool closed_ = false;
  boost::asio::steady_timer read_timer_;
  boost::asio::steady_timer write_timer_;
  boost::asio::steady_timer quiet_timer_;
};

}  // namespace server
