// `dsa serve`: network, endpoints and scheduler put together, from start to a clean end.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dsa/scheduler.h"
#include "dsa/status.h"

#include "server/model_info.h"

namespace server {

struct ServerOptions {
  std::string host = "127.0.0.1";  // an address, also in brackets, or a name
  // Names besides the local ones under which requests may come; where there are none, any may, but
  // on a loopback address without keys.
  std::vector<std::string> allowed_hosts;
  uint16_t port = 8080;  // 0: any free one
  std::string api_key_file;
  std::string tls_certificate;
  std::string tls_key;
  std::string cors_origin;
  int64_t max_connections = 1024;
  int64_t max_active = 512;
  int64_t max_body_bytes = int64_t{16} << 20;
  int64_t max_bodies_bytes = int64_t{256} << 20;
  int64_t max_header_bytes = 16384;
  int64_t max_unsent_bytes = int64_t{1} << 20;
  int64_t max_prompt_tokens = 0;  // 0: what the context allows
  int64_t max_choices = 16;
  bool share_prompts = false;
  int64_t request_seconds = 600;  // 0: no bound
  int64_t read_seconds = 30;
  int64_t write_seconds = 30;
  int64_t idle_seconds = 75;
  int64_t shutdown_seconds = 30;
  std::string log_file;  // "": standard error
  bool quiet = false;    // no line for each request
};

// Serves until SIGTERM or SIGINT; then lets requests finish for as long as the options say. A
// second signal ends them at once.
//   Errors  an address, certificate, key or file that cannot be used
dsa::Status serve(const ServerOptions& options,
                  ModelInfo model,
                  std::unique_ptr<dsa::Scheduler> scheduler);

}  // namespace server
