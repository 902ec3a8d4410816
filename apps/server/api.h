// The endpoints: routes requests, checks keys and origins, reads bodies on a worker thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dsa/scheduler.h"

#include "server/api_keys.h"
#include "server/api_request.h"
#include "server/generation.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/model_info.h"
#include "server/worker.h"

namespace server {

struct ApiOptions {
  ApiLimits limits;
  int64_t max_active = 512;    // requests of the completion endpoints at a time
  bool share_prompts = false;  // among keys: one finds in the cache what another has sent
  std::string cors_origin;     // "": none; "*": any
  // Only local names and these are answered to, so that pages of others cannot reach a loopback.
  bool check_host = true;
  std::vector<std::string> allowed_hosts;  // as host_name() gives them
};

class Api {
 public:
  Api(ApiOptions options,
      ModelInfo model,
      ApiKeys keys,
      dsa::Scheduler& scheduler,
      Metrics& metrics,
      Generation::Report report);

  // On the I/O thread.
  void handle(std::shared_ptr<Exchange> exchange);
  // Whether handle() would refuse the request whatever its body is. On the I/O thread.
  bool refuses(const HttpRequest& head) const;

  // Finishes what was handed to the worker.
  void stop() { worker_.stop(); }

 private:
  using Shared = std::shared_ptr<Exchange>;
  enum class Access { kOpen, kKey };
  struct Route {
    const char* method;
    const char* path;
    Access access;
    void (Api::*handler)(const Shared&);
    bool slow;                 // on the worker
    bool names_model = false;  // a name follows the path
  };
  static const Route kRoutes[];

  struct Found {
    const Route* route = nullptr;  // null: of the page, or refused
    std::string name;              // for metrics and log
    bool path_known = false;
    std::optional<ApiError> refusal;
  };
  Found find(const HttpRequest& request) const;
  std::optional<ApiError> refusal_of(const HttpRequest& request, const Found& found) const;
  bool answers_to(const std::string& host) const;
  // Keys do not see what others have sent, unless options say so.
  std::string cache_salt(const Shared& exchange, const std::string& wanted) const;
  void add_cors(const Shared& exchange);
  void health(const Shared& exchange);
  void metrics(const Shared& exchange);
  void models(const Shared& exchange);
  void page(const Shared& exchange);
  void preflight(const Shared& exchange);
  void tokenize(const Shared& exchange);
  void detokenize(const Shared& exchange);
  void tokenizer_info(const Shared& exchange);
  void completions(const Shared& exchange);
  void chat_completions(const Shared& exchange);
  void selections(const Shared& exchange);

  bool has_room(const Shared& exchange);  // answers 429 where there is none
  void generate(const Shared& exchange, ApiRequestOr request);
  // The body as JSON; when it is none, answers and gives nothing.
  std::optional<Json> body(const Shared& exchange);
  GenerationContext context() const;
  std::string fresh_id(const char* prefix);

  ApiOptions options_;
  ModelInfo model_;
  ApiKeys keys_;
  dsa::Scheduler* scheduler_;
  Metrics* metrics_;
  Generation::Report report_;
  std::atomic<uint64_t> next_id_;
  Worker worker_;  // last: it uses all of the above
};

void respond_json(const std::shared_ptr<Exchange>& exchange, const Json& json, int status = 200);
void respond_error(const std::shared_ptr<Exchange>& exchange, const ApiError& error);

}  // namespace server
