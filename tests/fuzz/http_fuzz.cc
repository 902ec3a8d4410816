// Any bytes from a client, in pieces of any size: answered as HTTP or not at all, and the
// connection closes.
#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "server/api_error.h"
#include "server/connection.h"

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

// A client that sends `input`, so much at a time, and then leaves.
class FuzzConnection : public server::Connection {
 public:
  FuzzConnection(server::ConnectionContext& context, std::string input, size_t piece)
      : Connection(context), input_(std::move(input)), piece_(piece) {}

  std::string output;
  bool is_closed = false;

 protected:
  void async_open(Done done) override { done({}, 0); }
  void async_read(char* bytes, size_t size, Done done) override {
    const size_t n = std::min({size, piece_, input_.size() - at_});
    std::memcpy(bytes, input_.data() + at_, n);
    at_ += n;
    const auto error = n > 0 ? boost::system::error_code() : boost::asio::error::eof;
    boost::asio::post(*context_->io, [done, error, n] { done(error, n); });
  }
  void async_write(const char* bytes, size_t size, Done done) override {
    output.append(bytes, size);
    boost::asio::post(*context_->io, [done, size] { done({}, size); });
  }
  void async_end(Done /*done*/) override {}
  void close_socket() override { is_closed = true; }

 private:
  std::string input_;
  size_t piece_;
  size_t at_ = 0;
};

// Answers at once, every second time with a stream.
void answer(const std::shared_ptr<server::Exchange>& exchange) {
  const server::HttpRequest& request = exchange->request();
  check(request.body.size() <= 4096);
  if (request.path.size() % 2 == 0) {
    server::HttpResponse response;
    response.body = request.body;
    return exchange->respond(std::move(response));
  }
  exchange->start_stream();
  exchange->write(request.path);
  exchange->finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  boost::asio::io_context io;
  server::HttpOptions options;
  options.max_body_bytes = 4096;
  options.max_bodies_bytes = 2048;
  options.max_header_bytes = 1024;
  server::Metrics metrics;
  const server::Handler handler = {
      answer, [](const server::HttpRequest& head) { return head.path.size() % 5 == 0; }};
  server::ConnectionContext context;
  context.io = &io;
  context.options = &options;
  context.handler = &handler;
  context.metrics = &metrics;
  context.forget = [](const std::shared_ptr<server::Connection>&) {};
  const size_t piece = 1 + data[0];
  const auto connection = std::make_shared<FuzzConnection>(
      context, std::string(reinterpret_cast<const char*>(data + 1), size - 1), piece);
  connection->start();
  io.run();
  check(connection->is_closed);
  check(metrics.body_bytes == 0);
  check(metrics.open_exchanges == 0 && metrics.open_streams == 0);
  check(connection->output.empty() || connection->output.rfind("HTTP/1.1 ", 0) == 0);
  return 0;
}
