#include "server/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <limits>
#include <utility>

#include "server/exchange.h"
#include "server/host_name.h"

namespace server {
namespace {

namespace http = boost::beast::http;
using Error = boost::system::error_code;

constexpr size_t kChunkBytes = 16384;
constexpr size_t kMaxAhead = 65536;  // bytes of further requests while one is being answered
constexpr std::chrono::milliseconds kEndTimeout{2000};
constexpr std::string_view kLastChunk = "0\r\n\r\n";

std::string text(boost::beast::string_view view) {
  return {view.data(), view.size()};
}

HttpRequest head_of(const http::request<http::string_body>& message) {
  HttpRequest request;
  request.method = text(message.method_string());
  Target target = read_target(text(message.target()));
  request.path = std::move(target.path);
  request.host = target.authority.value_or(text(message[http::field::host]));
  request.origin = text(message[http::field::origin]);
  request.authorization = text(message[http::field::authorization]);
  request.content_type = text(message[http::field::content_type]);
  request.content_encoding = text(message[http::field::content_encoding]);
  request.asked_headers = text(message[http::field::access_control_request_headers]);
  request.keep_alive = message.keep_alive();
  request.can_chunk = message.version() >= 11;
  return request;
}

// What makes a header one that is not to be answered; "" for nothing.
std::string fault_of(const http::request_parser<http::string_body>& parser) {
  const auto& header = parser.get();
  // Beast takes the body to be empty where it does not know an encoding; another reader of the same
  // bytes might not, and see another request in it.
  if (header.find(http::field::transfer_encoding) != header.end() &&
      (!parser.chunked() || header.version() < 11 ||
       !boost::beast::iequals(header[http::field::transfer_encoding], "chunked"))) {
    return http::make_error_code(http::error::bad_transfer_encoding).message();
  }
  const size_t n_hosts = header.count(http::field::host);
  if (n_hosts > 1) return "Host: given twice, want it once";
  if (n_hosts == 0 && header.version() >= 11) return "Host: missing, want it since HTTP/1.1";
  if (!host_name(head_of(header).host)) return "Host: want a name and a port or none";
  return "";
}

int status_of(const Error& error) {
  if (error == http::error::header_limit) return 431;
  if (error == http::error::body_limit) return 413;
  return 400;
}

}  // namespace

Connection::Connection(ConnectionContext& context)
    : context_(&context),
      chunk_(kChunkBytes),
      outbox_(context.options->max_unsent_bytes),
      read_timer_(*context.io),
      write_timer_(*context.io),
      quiet_timer_(*context.io) {}

void Connection::start() {
  arm(read_timer_, context_->options->read_timeout);
  async_open([self = shared_from_this()](const Error& error, size_t) {
    if (error) return self->close();
    self->begin_request();
    self->read();
  });
}

void Connection::arm(boost::asio::steady_timer& timer, std::chrono::milliseconds time) {
  timer.expires_after(time);
  timer.async_wait([weak = weak_from_this(), &timer](const Error& error) {
    const auto self = weak.lock();
    if (!self || error) return;
    // It may have been set anew after this call was on its way.
    if (timer.expiry() <= boost::asio::steady_timer::clock_type::now()) self->close();
  });
}

void Connection::disarm(boost::asio::steady_timer& timer) {
  timer.expires_at(boost::asio::steady_timer::time_point::max());
}

void Connection::begin_request() {
  parser_ = std::make_unique<Parser>();
  parser_->eager(true);
  parser_->header_limit(static_cast<uint32_t>(context_->options->max_header_bytes));
  parser_->body_limit(static_cast<uint64_t>(context_->options->max_body_bytes));
  judged_ = false;
}

void Connection::read() {
  if (reading_ || closed_) return;
  if (presence_ && input_.size() > kMaxAhead) return;
  reading_ = true;
  async_read(
      chunk_.data(), chunk_.size(),
      [self = shared_from_this()](const Error& error, size_t n) { self->on_read(error, n); });
}

void Connection::on_read(const Error& error, size_t n) {
  reading_ = false;
  if (closed_) return;
  if (error) return close();
  if (ending_) return read();  // taken and dropped: unread bytes would reset the connection
  const bool was_idle = !presence_ && input_.empty() && !parser_->got_some();
  input_.append(chunk_.data(), n);
  if (was_idle) arm(read_timer_, context_->options->read_timeout);
  if (!presence_) parse();
  read();
}

// Empty lines before a request, which some clients leave after the body of the one before.
void Connection::skip_empty_lines() {
  if (parser_->got_some()) return;
  const size_t begin = input_.find_first_not_of("\r\n");
  input_.erase(0, begin);
}

void Connection::parse() {
  skip_empty_lines();
  Error error;
  while (!input_.empty() && !parser_->is_done()) {
    // Nothing shorter ends a body, and Beast before 1.86 asserts that a last chunk never comes in
    // pieces.
    if (parser_->is_header_done() && parser_->chunked() && input_.size() < kLastChunk.size()) break;
    const size_t used = parser_->put(boost::asio::buffer(input_), error);
    input_.erase(0, used);
    if (error == http::error::need_more) error = {};
    if (error) return refuse(error);
    if (used == 0) break;
  }
  if (parser_->is_header_done()) {
    const std::string fault = fault_of(*parser_);
    if (!fault.empty()) return refuse(400, "the request could not be read: " + fault);
    if (!hold_body(static_cast<int64_t>(parser_->get().body().size()))) {
      return refuse(503, "request bodies: no memory left for another one, want it later");
    }
  }
  if (parser_->is_done()) {
    HttpRequest request = head_of(parser_->get());
    request.body = std::move(parser_->get().body());
    return dispatch(std::move(request));
  }
  // What the parser leaves is a line that has not ended: of the header, a chunk or a trailer.
  if (input_.size() > static_cast<size_t>(context_->options->max_header_bytes)) {
    return refuse(http::make_error_code(http::error::header_limit));
  }
  if (parser_->is_header_done() && !judged_) judge_head();
}

// Before the body is there: nobody without a key is listened to for longer.
void Connection::judge_head() {
  judged_ = true;
  HttpRequest head = head_of(parser_->get());
  if (context_->handler->refuses(head)) {
    head.keep_alive = false;  // the body that comes is not read
    return dispatch(std::move(head));
  }
  const auto expects = parser_->get()[http::field::expect];
  if (boost::beast::iequals(expects, "100-continue")) send("HTTP/1.1 100 Continue\r\n\r\n");
}

// Counts the body of this connection's request; false when all of them are too many bytes. One
// alone is never too many: it has a limit of its own.
bool Connection::hold_body(int64_t n_bytes) {
  const int64_t more = n_bytes - std::exchange(held_bytes_, n_bytes);
  const int64_t all = context_->metrics->body_bytes += more;
  return all <= context_->options->max_bodies_bytes || all == held_bytes_;
}

// What cannot be read as HTTP is answered once, and that is the end of the connection.
void Connection::refuse(const Error& error) {
  refuse(status_of(error), "the request could not be read: " + error.message());
}

void Connection::refuse(int status, const std::string& why) {
  HttpRequest request;
  request.keep_alive = false;
  presence_ = std::make_shared<Presence>();
  auto exchange = std::make_shared<ConnectionExchange>(
      shared_from_this(), std::move(request), presence_, *context_->options, *context_->metrics);
  exchange->refuse(status, why);
}

void Connection::dispatch(HttpRequest request) {
  disarm(read_timer_);
  if (context_->stopping) request.keep_alive = false;
  begin_request();
  presence_ = std::make_shared<Presence>();
  auto exchange = std::make_shared<ConnectionExchange>(
      shared_from_this(), std::move(request), presence_, *context_->options, *context_->metrics);
  context_->handler->handle(std::move(exchange));
}

bool Connection::send(std::string_view bytes) {
  switch (outbox_.put(bytes)) {
    case Outbox::Put::kQueued:
      return true;
    case Outbox::Put::kFirst:
      boost::asio::post(*context_->io, [self = shared_from_this()] { self->flush(); });
      return true;
    case Outbox::Put::kFull:
      break;
  }
  boost::asio::post(*context_->io, [self = shared_from_this()] {
    if (!self->closed_) ++self->context_->metrics->slow_clients_total;
    self->close();
  });
  return false;
}

void Connection::flush() {
  if (write_open_ || closed_) return;
  if (written_ == writing_.size()) {
    writing_ = outbox_.take();
    written_ = 0;
  }
  if (writing_.empty()) {
    if (answered_) next_request();
    return;
  }
  write_open_ = true;
  arm(write_timer_, context_->options->write_timeout);
  async_write(
      writing_.data() + written_, writing_.size() - written_,
      [self = shared_from_this()](const Error& error, size_t n) { self->on_write(error, n); });
}

void Connection::on_write(const Error& error, size_t n) {
  write_open_ = false;
  disarm(write_timer_);
  if (closed_) return;
  if (error) return close();
  written_ += n;
  outbox_.sent(n);
  flush();
}

void Connection::begin_stream(std::string comment) {
  outbox_.open_stream();
  boost::asio::post(*context_->io, [self = shared_from_this(), comment = std::move(comment)] {
    self->break_silence(comment);
  });
}

void Connection::end_stream() {
  outbox_.close_stream();
}

// The first time that it is called something was sent just before.
void Connection::break_silence(const std::string& comment) {
  if (closed_) return;
  const auto put = outbox_.put_in_silence(comment);
  if (!put) return;  // the stream is over
  if (*put == Outbox::Put::kFirst) flush();
  quiet_timer_.expires_after(context_->options->quiet_interval);
  quiet_timer_.async_wait([weak = weak_from_this(), comment](const Error& error) {
    const auto self = weak.lock();
    if (self && !error) self->break_silence(comment);
  });
}

void Connection::end_exchange(bool keep_alive) {
  boost::asio::post(*context_->io,
                    [self = shared_from_this(), keep_alive] { self->on_exchange_end(keep_alive); });
}

void Connection::on_exchange_end(bool keep_alive) {
  if (closed_) return;
  answered_ = true;
  keep_alive_ = keep_alive;
  flush();
}

// The answer has left.
void Connection::next_request() {
  answered_ = false;
  presence_.reset();
  hold_body(0);
  if (!keep_alive_ || context_->stopping) return end();
  arm(read_timer_, context_->options->idle_timeout);
  if (!input_.empty()) parse();
  read();
}

// All was sent: says so, and gives the client a moment to read it and to leave.
void Connection::end() {
  ending_ = true;
  arm(write_timer_, kEndTimeout);
  async_end([self = shared_from_this()](const Error&, size_t) { self->close(); });
  read();
}

void Connection::close_if_idle() {
  const bool reads = !input_.empty() || parser_->got_some();
  if (!presence_ && !ending_ && !reads) close();
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  const auto self = shared_from_this();
  disarm(read_timer_);
  disarm(write_timer_);
  disarm(quiet_timer_);
  outbox_.close();
  hold_body(0);
  close_socket();
  lose_client();
  context_->forget(self);
}

void Connection::lose_client() {
  if (!presence_) return;
  const auto presence = std::exchange(presence_, nullptr);
  if (presence->answered) return;
  std::function<void()> callback;
  {
    const std::lock_guard lock(presence->mutex);
    presence->gone = true;
    callback = std::exchange(presence->callback, nullptr);
  }
  ++context_->metrics->vanished_clients_total;
  if (callback) callback();
}

}  // namespace server
