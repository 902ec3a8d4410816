#include "server/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <cctype>
#include <charconv>
#include <random>
#include <string_view>
#include <utility>

#include "server/fields.h"
#include "server/host_name.h"
#include "server/page.h"

namespace server {
namespace {

uint64_t random_number() {
  std::random_device device;
  return (uint64_t{device()} << 32U) | device();
}

// Names of types and encodings have no case.
bool names(std::string_view text, std::string_view name) {
  while (text.ends_with(' ') || text.ends_with('\t'))
    text.remove_suffix(1);
  return boost::beast::iequals(text, name);
}

bool is_json(std::string_view type) {
  return names(type.substr(0, type.find(';')), "application/json");
}

bool is_identity(std::string_view encoding) {
  return encoding.empty() || names(encoding, "identity");
}

// Names of headers with commas between them.
bool is_header_list(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~, ").find(static_cast<char>(c)) !=
               std::string_view::npos;
  });
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
    {"GET", "/v1/models/", Access::kKey, &Api::models, false, true},
    {"POST", "/tokenize", Access::kKey, &Api::tokenize, true},
    {"POST", "/detokenize", Access::kKey, &Api::detokenize, true},
    {"GET", "/tokenizer_info", Access::kKey, &Api::tokenizer_info, false},
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
  const std::string wanted = endpoint_path(request.path);
  Found found;
  for (const Route& route : kRoutes) {
    std::string path = endpoint_path(route.path);
    bool fits = wanted == path;
    if (route.names_model) {
      path += '/';
      fits = wanted.size() > path.size() && wanted.compare(0, path.size(), path) == 0;
    }
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
  if (!answers_to(request.host)) {
    return refusal(403,
                   fmt::format("Host: {}, want a name of this machine or one given with "
                               "--allowed-host",
                               shown(Json(request.host))),
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
  if (request.method == "POST" && !is_identity(request.content_encoding)) {
    return refusal(415,
                   fmt::format("Content-Encoding: {}, want the body as it is, without one",
                               shown(Json(request.content_encoding))),
                   "unsupported_media_type");
  }
  if (request.method == "POST" && !is_json(request.content_type)) {
    return refusal(415,
                   fmt::format("Content-Type: {}, want \"application/json\"",
                               shown(Json(request.content_type))),
                   "unsupported_media_type");
  }
  return std::nullopt;
}

bool Api::answers_to(const std::string& host) const {
  if (!options_.check_host) return true;
  const auto name = host_name(host);
  const auto& more = options_.allowed_hosts;
  return name && (is_local_name(*name) || std::find(more.begin(), more.end(), *name) != more.end());
}

void Api::add_cors(const Shared& exchange) {
  const std::string& origin = options_.cors_origin;
  if (origin.empty() || exchange->request().origin.empty()) return;
  exchange->add_header("Access-Control-Allow-Origin", origin);
  if (origin != "*") exchange->add_header("Vary", "Origin");
}

// The clients' own headers (x-stainless-...) are many and differ: what is asked for is allowed.
void Api::preflight(const Shared& exchange) {
  const std::string& asked = exchange->request().asked_headers;
  HttpResponse response;
  response.status = 204;
  response.content_type.clear();
  response.headers = {{"Access-Control-Allow-Methods", "GET, POST"},
                      {"Access-Control-Allow-Headers",
                       is_header_list(asked) ? asked : "authorization, content-type"},
                      {"Vary", "Access-Control-Request-Headers"},
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
  const auto model = [this](const std::string& name) -> Json {
    return {{"id", name},
            {"object", "model"},
            {"created", model_.created},
            {"owned_by", "dsa"},
            {"max_model_len", model_.max_context}};
  };
  const std::string prefix = "/models/";
  const std::string path = endpoint_path(exchange->request().path);
  if (path.size() <= prefix.size()) {
    Json list = Json::array({model(model_.name)});
    for (const std::string& alias : model_.aliases)
      list.push_back(model(alias));
    return respond_json(exchange, {{"object", "list"}, {"data", std::move(list)}});
  }
  const std::string name = percent_decoded(std::string_view(path).substr(prefix.size()));
  if (model_.is_called(name)) return respond_json(exchange, model(name));
  ApiError error =
      refusal(404, fmt::format("model: {}, want {}", shown(Json(name)), model_.listed_names()),
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
  return fmt::format("Bearer {}\n{}", ApiKeys::key_in(exchange->request().authorization), wanted);
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
