// HTTP as it comes over the wire, without a network.
#include "server/connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace server {
namespace {

// A client that sends `input`, so many bytes at a time, and reads what comes until it is closed.
class ScriptedConnection : public Connection {
 public:
  ScriptedConnection(ConnectionContext& context, std::string input, size_t piece)
      : Connection(context), input_(std::move(input)), piece_(piece) {}

  std::string output;

 protected:
  void async_open(Done done) override { done({}, 0); }
  void async_read(char* bytes, size_t size, Done done) override {
    const size_t n = std::min({size, piece_, input_.size() - at_});
    if (n == 0) return wait_for_end(std::move(done));
    std::memcpy(bytes, input_.data() + at_, n);
    at_ += n;
    boost::asio::post(*context_->io, [done, n] { done({}, n); });
  }
  void async_write(const char* bytes, size_t size, Done done) override {
    output.append(bytes, size);
    boost::asio::post(*context_->io, [done, size] { done({}, size); });
  }
  void async_end(Done /*done*/) override { leave(); }
  void close_socket() override {}

 private:
  void wait_for_end(Done done) {
    waiting_ = std::move(done);
    if (left_) leave();
  }
  void leave() {
    left_ = true;
    if (waiting_) {
      boost::asio::post(*context_->io, [done = std::exchange(waiting_, nullptr)] {
        done(boost::asio::error::eof, 0);
      });
    }
  }

  std::string input_;
  size_t piece_;
  size_t at_ = 0;
  bool left_ = false;
  Done waiting_;
};

struct Served {
  std::vector<HttpRequest> requests;
  std::string output;
};

using Handle = std::function<void(boost::asio::io_context&, std::shared_ptr<Exchange>)>;

Served serve(const std::string& input, const Handle& handle, size_t piece = 7) {
  Served served;
  boost::asio::io_context io;
  HttpOptions options;
  options.quiet_interval = std::chrono::milliseconds(20);
  Metrics metrics;
  const Handler handler = {[&](std::shared_ptr<Exchange> exchange) {
                             served.requests.push_back(exchange->request());
                             handle(io, std::move(exchange));
                           },
                           [](const HttpRequest&) { return false; }};
  ConnectionContext context;
  context.io = &io;
  context.options = &options;
  context.handler = &handler;
  context.metrics = &metrics;
  context.forget = [](const std::shared_ptr<Connection>&) {};
  const auto connection = std::make_shared<ScriptedConnection>(context, input, piece);
  connection->start();
  io.run();
  served.output = connection->output;
  return served;
}

void answer_ok(boost::asio::io_context& /*io*/, const std::shared_ptr<Exchange>& exchange) {
  exchange->respond({});
}

Served serve_ok(const std::string& input) {
  return serve(input, answer_ok);
}

TEST(Connection, AnAbsoluteTargetIsReadAsPathAndHost) {
  const Served served = serve_ok(
      "GET http://Example.org:80/v1/models?x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(served.requests.size(), 1U);
  EXPECT_EQ(served.requests[0].path, "/v1/models");
  EXPECT_EQ(served.requests[0].host, "Example.org:80");
}

TEST(Connection, EmptyLinesBeforeARequestAreLeftOut) {
  const Served served = serve_ok(
      "\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"
      "\r\n\nGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(served.requests.size(), 2U);
  EXPECT_EQ(served.requests[1].path, "/b");
}

TEST(Connection, AHostIsWantedOnceSinceHttp11AndWantedWhole) {
  for (const char* wrong : {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
                            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
                            "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n"}) {
    const Served served = serve_ok(wrong);
    EXPECT_TRUE(served.requests.empty()) << wrong;
    EXPECT_EQ(served.output.rfind("HTTP/1.1 400 ", 0), 0U) << wrong;
    EXPECT_NE(served.output.find("Host: "), std::string::npos) << wrong;
  }
  EXPECT_EQ(serve_ok("GET / HTTP/1.0\r\n\r\n").requests.size(), 1U);
}

TEST(Connection, CommentsKeepASilentStreamOpenAndEndWithIt) {
  const std::string requests =
      "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  const auto speak_late = [](boost::asio::io_context& io, std::shared_ptr<Exchange> exchange) {
    if (exchange->request().path == "/b") return exchange->respond({});
    exchange->start_stream();
    auto timer = std::make_shared<boost::asio::steady_timer>(io, std::chrono::milliseconds(90));
    timer->async_wait([timer, exchange](const boost::system::error_code&) {
      exchange->write("data: x\n\n");
      exchange->finish();
    });
  };
  const std::string output = serve(requests, speak_late).output;
  const std::string comment = "e\r\n: keep-alive\n\n\r\n";
  const size_t head = output.find("\r\n\r\n") + 4;
  const size_t data = output.find("9\r\ndata: x\n\n\r\n0\r\n\r\nHTTP/1.1 200 OK");
  ASSERT_NE(data, std::string::npos) << output;
  const std::string between = output.substr(head, data - head);
  EXPECT_GE(between.size(), 2 * comment.size());
  for (size_t at = 0; at < between.size(); at += comment.size())
    EXPECT_EQ(between.substr(at, comment.size()), comment);
}

TEST(Connection, AStreamThatSpeaksHasNoComments) {
  const auto speak = [](boost::asio::io_context&, const std::shared_ptr<Exchange>& exchange) {
    exchange->start_stream();
    exchange->write("data: x\n\n");
    exchange->finish();
  };
  const std::string output =
      serve("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", speak).output;
  EXPECT_EQ(output.find("keep-alive"), std::string::npos);
}

}  // namespace
}  // namespace server
