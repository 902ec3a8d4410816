#include "server/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <random>
#include <string_view>
#include <utility>

#include "server/fields.h"
#include "server/page.h"

namespace server {
namespace {

uint64_t random_number() {
  std::random_device device;
  return (uint64_t{device()} << 32U) | device();
}

// "localhost:8080" and "[::1]:8080" without the port.
std::string_view host_name(std::string_view host) {
  const size_t bracket = host.find(']');
  if (bracket != std::string_view::npos) return host.substr(0, bracket + 1);
  return host.substr(0, host.find(':'));
}

// 127.0.0.1 and the rest of its network, as four numbers: 127.example.org is a name of anybody's.
bool is_loopback(std::string_view name) {
  int n_parts = 0;
  while (true) {
    const size_t dot = std::min(name.find('.'), name.size());
    int part = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + dot, part);
    if (error != std::errc() || end != name.data() + dot || part < 0 || part > 255) return false;
    if (n_parts++ == 0 && part != 127) return false;
    if (dot == name.size()) return n_parts == 4;
    name.remove_prefix(dot + 1);
  }
}

bool is_local_name(std::string_view host) {
  const std::string_view name = host_name(host);
  return name.empty() || name == "localhost" || name == "[::1]" || is_loopback(name);
}

bool is_json(std::string_view type) {
  std::string media(type.substr(0, type.find(';')));
  while (!media.empty() && (media.back() == ' ' || media.back() == '\t'))
    media.pop_back();
  std::transform(media.begin(), media.end(), media.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return media == "application/json";
}

// "a%2Fb" -> "a/b"; what is no escape stays.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* const digits = text.data() + i + 1;
    const bool escape = text[i] == '%' && text.size() - i > 2 &&
                        std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2;
    out += escape ? static_cast<char>(value) : text[i];
    if (escape) i += 2;
  }
  return out;
}

ApiError refusal(int status, std::string message, std::string code) {
  ApiError error;
  error.status = status;
  error.message = std::move(message);
  error.code = std::move(code);
  return error;
}

}  // namespace

const Api::Route Api::kRoutes[] = {
    {"GET", "/health", Access::kOpen, &Api::health, false},
    {"GET", "/metrics", Access::kKey, &Api::metrics, false},
    {"GET", "/v1/models", Access::kKey, &Api::models, false},
    {"GET", "/v1/models/", Access::kKey, &Api::models, false},
    {"POST", "/tokenize", Access::kKey, &Api::tokenize, true},
    {"POST", "/detokenize", Access::kKey, &Api::detokenize, true},
    {"POST", "/v1/completions", Access::kKey, &Api::completions, true},
    {"POST", "/v1/chat/completions", Access::kKey, &Api::chat_completions, true},
    {"POST", "/v1/selections", Access::kKey, &Api::selections, true},
};

void respond_json(const std::shared_ptr<Exchange>& exchange, const Json& json, int status) {
  HttpResponse response;
  response.status = status;
  response.body = dump(json);
  exchange->respond(std::move(response));
}

void respond_error(const std::shared_ptr<Exchange>& exchange, const ApiError& error) {
  exchange->respond(error_response(error));
}

Api::Api(ApiOptions options,
         ModelInfo model,
         ApiKeys keys,
         dsa::Scheduler& scheduler,
         Metrics& metrics,
         Generation::Report report)
    : options_(std::move(options)),
      model_(std::move(model)),
      keys_(std::move(keys)),
      scheduler_(&scheduler),
      metrics_(&metrics),
      report_(std::move(report)),
      next_id_(random_number()) {}

Api::Found Api::find(const HttpRequest& request) const {
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  Found found;
  for (const Route& route : kRoutes) {
    const std::string_view path = route.path;
    const bool folder = path.back() == '/';  // a model's name follows
    const bool fits = folder ? request.path.size() > path.size() &&
                                   std::string_view(request.path).substr(0, path.size()) == path
                             : request.path == path;
    if (!fits) continue;
    found.path_known = true;
    found.name = route.path;
    if (method == route.method) found.route = &route;
  }
  const bool is_page = method == "GET" && find_page(request.path) != nullptr;
  if (!found.path_known) found.name = is_page ? "page" : "other";
  found.refusal = refusal_of(request, found);
  return found;
}

bool Api::refuses(const HttpRequest& head) const {
  return find(head).refusal.has_value();
}

void Api::handle(std::shared_ptr<Exchange> exchange) {
  const Found found = find(exchange->request());
  exchange->set_route(found.name);
  add_cors(exchange);
  const bool asks = exchange->request().method == "OPTIONS" && found.path_known;
  if (asks && !options_.cors_origin.empty()) return preflight(exchange);
  if (found.refusal) return respond_error(exchange, *found.refusal);
  if (found.route == nullptr) return page(exchange);
  const auto handler = found.route->handler;
  if (!found.route->slow) return (this->*handler)(exchange);
  worker_.post([this, handler, exchange = std::move(exchange)] { (this->*handler)(exchange); });
}

std::optional<ApiError> Api::refusal_of(const HttpRequest& request, const Found& found) const {
  const bool open = found.route != nullptr && found.route->access == Access::kOpen;
  const bool needs_key = found.route != nullptr && !open && !keys_.empty();
  const bool is_page = found.name == "page";
  if (options_.check_host && !is_local_name(request.host)) {
    return refusal(
        403, fmt::format("Host: {}, want the name of this machine", shown(Json(request.host))),
        "wrong_host");
  }
  if (!found.path_known && !is_page) {
    return refusal(404, fmt::format("{}: no such endpoint", shown(Json(request.path))),
                   "not_found");
  }
  if (found.route == nullptr && !is_page) {
    return refusal(405,
                   fmt::format("{}: method {} is not for this endpoint", shown(Json(request.path)),
                               shown(Json(request.method))),
                   "method_not_allowed");
  }
  if (needs_key && !keys_.allow(request.authorization)) {
    return refusal(401, "Authorization: want \"Bearer KEY\" with one of the server's keys",
                   "invalid_api_key");
  }
  if (request.method == "POST" && !is_json(request.content_type)) {
    return refusal(415,
                   fmt::format("Content-Type: {}, want \"application/json\"",
                               shown(Json(request.content_type))),
                   "unsupported_media_type");
  }
  return std::nullopt;
}

void Api::add_cors(const Shared& exchange) {
  const std::string& origin = options_.cors_origin;
  if (origin.empty() || exchange->request().origin.empty()) return;
  exchange->add_header("Access-Control-Allow-Origin", origin);
  if (origin != "*") exchange->add_header("Vary", "Origin");
}

void Api::preflight(const Shared& exchange) {
  HttpResponse response;
  response.status = 204;
  response.content_type.clear();
  response.headers = {{"Access-Control-Allow-Methods", "GET, POST"},
                      {"Access-Control-Allow-Headers", "authorization, content-type"},
                      {"Access-Control-Max-Age", "600"}};
  exchange->respond(std::move(response));
}

void Api::page(const Shared& exchange) {
  const PageFile* file = find_page(exchange->request().path);
  HttpResponse response;
  response.content_type = file->content_type;
  response.body = file->content;
  response.headers = {{"Cache-Control", "no-cache"},
                      {"Content-Security-Policy",
                       "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"}};
  exchange->respond(std::move(response));
}

void Api::health(const Shared& exchange) {
  respond_json(exchange, {{"status", "ok"}});
}

void Api::metrics(const Shared& exchange) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = metrics_->text(scheduler_->stats());
  exchange->respond(std::move(response));
}

void Api::models(const Shared& exchange) {
  const Json model = {{"id", model_.name},
                      {"object", "model"},
                      {"created", model_.created},
                      {"owned_by", "dsa"},
                      {"max_model_len", model_.max_context}};
  const std::string prefix = "/v1/models/";
  const std::string& path = exchange->request().path;
  if (path.size() <= prefix.size()) {
    return respond_json(exchange, {{"object", "list"}, {"data", Json::array({model})}});
  }
  const std::string name = percent_decoded(std::string_view(path).substr(prefix.size()));
  if (name == model_.name) return respond_json(exchange, model);
  ApiError error =
      refusal(404, fmt::format("model: {}, want \"{}\"", shown(Json(name)), model_.name),
              "model_not_found");
  error.param = "model";
  respond_error(exchange, error);
}

std::optional<Json> Api::body(const Shared& exchange) {
  auto json = parse_json(exchange->request().body);
  if (json.ok()) return std::move(*json);
  ApiError error = api_error(json.status());
  error.param.clear();
  respond_error(exchange, error);
  return std::nullopt;
}

void Api::completions(const Shared& exchange) {
  const auto json = body(exchange);
  if (json) generate(exchange, read_completion_request(*json, model_, options_.limits));
}

void Api::chat_completions(const Shared& exchange) {
  const auto json = body(exchange);
  if (json) generate(exchange, read_chat_request(*json, model_, options_.limits));
}

GenerationContext Api::context() const {
  return {scheduler_, &model_, metrics_,
          std::chrono::milliseconds(options_.limits.request_seconds * 1000)};
}

std::string Api::fresh_id(const char* prefix) {
  return fmt::format("{}-{:016x}", prefix, next_id_++);
}

std::string Api::cache_salt(const Shared& exchange, const std::string& wanted) const {
  if (keys_.empty() || options_.share_prompts) return wanted;
  return exchange->request().authorization + "\n" + wanted;
}

bool Api::has_room(const Shared& exchange) {
  if (metrics_->active_requests < options_.max_active) return true;
  ApiError error = refusal(
      429, fmt::format("{} requests are in flight, want fewer", options_.max_active), "overloaded");
  error.type = "rate_limit_error";
  respond_error(exchange, error);
  return false;
}

void Api::generate(const Shared& exchange, ApiRequestOr request) {
  if (const auto* error = std::get_if<ApiError>(&request)) return respond_error(exchange, *error);
  if (!has_room(exchange)) return;
  auto& wanted = std::get<ApiRequest>(request);
  wanted.cache_salt = cache_salt(exchange, wanted.cache_salt);
  const std::string id = fresh_id(wanted.chat ? "chatcmpl" : "cmpl");
  std::make_shared<Generation>(context(), std::move(wanted), exchange, id, report_)->start();
}

}  // namespace server
