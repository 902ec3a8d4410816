#include "server/http_server.h"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <optional>
#include <set>
#include <utility>

#include "server/connection.h"

namespace server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using dsa::Result;
using dsa::Status;
using dsa::StatusCode;
using Error = boost::system::error_code;
using TlsStream = asio::ssl::stream<tcp::socket>;

constexpr int kSendBufferBytes = 262144;
constexpr std::chrono::milliseconds kAcceptPause{100};  // when no more files can be opened

class PlainConnection : public Connection {
 public:
  PlainConnection(ConnectionContext& context, tcp::socket socket)
      : Connection(context), socket_(std::move(socket)) {}

 protected:
  void async_open(Done done) override { done({}, 0); }
  void async_read(char* data, size_t size, Done done) override {
    socket_.async_read_some(asio::buffer(data, size), std::move(done));
  }
  void async_write(const char* data, size_t size, Done done) override {
    socket_.async_write_some(asio::buffer(data, size), std::move(done));
  }
  void async_end(Done /*done*/) override {  // the open read sees the peer leave
    Error ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
  }
  void close_socket() override {
    Error ignored;
    socket_.close(ignored);
  }

 private:
  tcp::socket socket_;
};

class TlsConnection : public Connection {
 public:
  TlsConnection(ConnectionContext& context, tcp::socket socket, asio::ssl::context& tls)
      : Connection(context), stream_(std::move(socket), tls) {}

 protected:
  void async_open(Done done) override {
    stream_.async_handshake(TlsStream::server, [done](const Error& error) { done(error, 0); });
  }
  void async_read(char* data, size_t size, Done done) override {
    stream_.async_read_some(asio::buffer(data, size), std::move(done));
  }
  void async_write(const char* data, size_t size, Done done) override {
    stream_.async_write_some(asio::buffer(data, size), std::move(done));
  }
  void async_end(Done done) override {
    stream_.async_shutdown([done](const Error& error) { done(error, 0); });
  }
  void close_socket() override {
    Error ignored;
    stream_.next_layer().close(ignored);
  }

 private:
  TlsStream stream_;
};

Status io_error(const std::string& what, const Error& error) {
  return Status(StatusCode::kIoError, fmt::format("{}: {}", what, error.message()));
}

Result<std::unique_ptr<asio::ssl::context>> make_tls(const HttpOptions& options) {
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  Error error;
  tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression,
                   error);
  tls->use_certificate_chain_file(options.tls_certificate, error);
  if (error) {
    return Status(StatusCode::kCorruption, fmt::format("{}: cannot be used as certificate: {}",
                                                       options.tls_certificate, error.message()));
  }
  tls->use_private_key_file(options.tls_key, asio::ssl::context::pem, error);
  if (error) {
    return Status(StatusCode::kCorruption,
                  fmt::format("{}: cannot be used as the certificate's key: {}", options.tls_key,
                              error.message()));
  }
  return tls;
}

}  // namespace

struct HttpServer::Impl {
  Impl(const HttpOptions& options_, Handler handler_, Metrics& metrics_)
      : options(options_), handler(std::move(handler_)), metrics(&metrics_) {
    context.io = &io;
    context.options = &options;
    context.handler = &handler;
    context.metrics = metrics;
    context.forget = [this](const std::shared_ptr<Connection>& connection) {
      if (connections.erase(connection) > 0) --metrics->open_connections;
    };
  }

  Result<asio::ip::address> address();
  Status bind();
  void accept();
  void on_accept(const Error& error, tcp::socket socket);

  HttpOptions options;
  Handler handler;
  Metrics* metrics;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  asio::steady_timer pause{io};
  std::unique_ptr<asio::ssl::context> tls;
  std::set<std::shared_ptr<Connection>> connections;
  ConnectionContext context;
};

// An address, "[::1]", or a name that has one; of several, one of IPv4, which every client tries.
Result<asio::ip::address> HttpServer::Impl::address() {
  std::string host = options.host;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  Error error;
  const auto given = asio::ip::make_address(host, error);
  if (!error) return given;
  if (host == "localhost") return asio::ip::address(asio::ip::address_v4::loopback());
  tcp::resolver resolver(io);
  std::optional<asio::ip::address> found;
  for (const auto& entry : resolver.resolve(host, "", tcp::resolver::passive, error)) {
    const auto address = entry.endpoint().address();
    if (!found || (address.is_v4() && !found->is_v4())) found = address;
  }
  if (!error && found) return *found;
  return Status(StatusCode::kInvalidArgument,
                fmt::format("host: \"{}\", want an IP address or a name of this machine ({})",
                            options.host, error.message()));
}

Status HttpServer::Impl::bind() {
  const auto where = address();
  if (!where.ok()) return where.status();
  Error error;
  const tcp::endpoint endpoint(*where, options.port);
  const std::string name = fmt::format("{}:{}", options.host, options.port);
  acceptor.open(endpoint.protocol(), error);
  if (error) return io_error(name, error);
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  acceptor.bind(endpoint, error);
  if (error) return io_error(name, error);
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  return error ? io_error(name, error) : Status();
}

void HttpServer::Impl::accept() {
  acceptor.async_accept(
      [this](const Error& error, tcp::socket socket) { on_accept(error, std::move(socket)); });
}

void HttpServer::Impl::on_accept(const Error& error, tcp::socket socket) {
  if (!acceptor.is_open()) return;
  if (error) {
    pause.expires_after(kAcceptPause);
    pause.async_wait([this](const Error& cancelled) {
      if (!cancelled) accept();
    });
    return;
  }
  ++metrics->connections_total;
  if (static_cast<int64_t>(connections.size()) >= options.max_connections) {
    ++metrics->refused_connections_total;  // the socket closes: there is no memory set aside for it
    return accept();
  }
  Error ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  // Else the kernel takes megabytes for a client that does not read.
  socket.set_option(asio::socket_base::send_buffer_size(kSendBufferBytes), ignored);
  std::shared_ptr<Connection> connection;
  if (tls) {
    connection = std::make_shared<TlsConnection>(context, std::move(socket), *tls);
  } else {
    connection = std::make_shared<PlainConnection>(context, std::move(socket));
  }
  connections.insert(connection);
  ++metrics->open_connections;
  connection->start();
  accept();
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const HttpOptions& options,
                                                       Handler handler,
                                                       Metrics& metrics) {
  auto impl = std::make_unique<Impl>(options, std::move(handler), metrics);
  if (!options.tls_certificate.empty()) {
    auto tls = make_tls(options);
    if (!tls.ok()) return tls.status();
    impl->tls = std::move(*tls);
  }
  if (auto status = impl->bind(); !status.ok()) return status;
  impl->accept();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

uint16_t HttpServer::port() const {
  Error ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

bool HttpServer::on_loopback() const {
  Error ignored;
  return impl_->acceptor.local_endpoint(ignored).address().is_loopback();
}

void HttpServer::run(const std::function<void()>& on_signal) {
  asio::signal_set signals(impl_->io, SIGTERM, SIGINT);
  std::function<void()> wait = [&] {
    signals.async_wait([&](const Error& error, int) {
      if (error) return;
      on_signal();
      wait();
    });
  };
  wait();
  impl_->io.run();
}

void HttpServer::stop_accepting() {
  asio::post(impl_->io, [impl = impl_.get()] {
    Error ignored;
    impl->context.stopping = true;
    impl->acceptor.close(ignored);
    impl->pause.cancel();
    const auto open = impl->connections;
    for (const auto& connection : open)
      connection->close_if_idle();
  });
}

void HttpServer::stop() {
  asio::post(impl_->io, [impl = impl_.get()] {
    const auto open = impl->connections;
    for (const auto& connection : open)
      connection->close();
    impl->io.stop();
  });
}

}  // namespace server
