// dsa serve: the HTTP server.
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "dsa/chat.h"
#include "dsa/engine.h"
#include "dsa/scheduler.h"

#include "cli/command.h"
#include "cli/engine_options.h"
#include "cli/io.h"
#include "cli/loading.h"
#include "cli/options.h"
#include "cli/text.h"
#include "server/server.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;

constexpr const char* kFooter =
    "The server is reachable from this machine only. To expose it with --host, also set\n"
    "--api-keys and --tls-cert. SIGTERM or Ctrl-C lets running requests finish.\n"
    "\n"
    "Examples:\n"
    "  dsa serve -m models/dsa-13m\n"
    "  dsa serve -m DIR --cache-tokens 200000 --disk-cache /var/cache/dsa\n"
    "  dsa serve -m DIR --host 0.0.0.0 --api-keys keys --tls-cert cert.pem --tls-key key.pem\n"
    "  curl localhost:8080/v1/completions -H 'Content-Type: application/json' \\\n"
    "    -d '{\"prompt\": \"In the beginning\", \"max_tokens\": 16}'";

struct ServeOptions {
  ModelOptions model;
  server::ServerOptions server;
  dsa::SchedulerOptions scheduler;
  std::vector<std::string> names;
  int64_t cache_tokens = 0;  // 0: chosen
  int64_t max_sequences = 64;
  int64_t disk_megabytes = 10240;
  bool no_prefix_cache = false;
};

constexpr int64_t kMostSeconds = 86400 * 365;

template <class T>
Option add_number(App& app,
                  const char* group,
                  const std::string& name,
                  T& value,
                  int64_t least,
                  int64_t most,
                  const std::string& what) {
  return app.add_option(name, value, fmt::format("{} (default {})", what, value))
      .type_name("N")
      .check(whole_number(least, most))
      .group(group);
}

void add_network_options(App& app, server::ServerOptions& options) {
  const char* group = "Network";
  app.add_option("--host", options.host,
                 "IP address or name of this machine to listen on (default 127.0.0.1)")
      .type_name("HOST")
      .group(group);
  add_number(app, group, "--port", options.port, 0, 65535, "Port; 0: any free one");
  const auto certificate =
      app.add_option("--tls-cert", options.tls_certificate, "PEM file with the certificate chain")
          .type_name("FILE")
          .group(group);
  app.add_option("--tls-key", options.tls_key, "PEM file with the certificate's key")
      .type_name("FILE")
      .group(group)
      .needs(certificate);
  app.add_option("--api-keys", options.api_key_file, "File with one key on each line")
      .type_name("FILE")
      .group(group);
  app.add_option("--allowed-host", options.allowed_hosts,
                 "Name under which a reverse proxy passes requests on, besides localhost; may be "
                 "repeated")
      .type_name("NAME")
      .one_each()
      .group(group);
  app.add_option("--cors-origin", options.cors_origin,
                 "Origin whose pages may call the server; \"*\": any (default: none)")
      .type_name("ORIGIN")
      .group(group);
}

void add_limit_options(App& app, ServeOptions& all) {
  const char* group = "Limits";
  server::ServerOptions& options = all.server;
  add_number(app, group, "--max-connections", options.max_connections, 1, 65536,
             "Open connections");
  add_number(app, group, "--max-active", options.max_active, 1, 65536,
             "Completion requests in flight");
  add_number(app, group, "--max-waiting", all.scheduler.max_waiting, 1, 1 << 20,
             "Sequences that wait to be scheduled");
  add_number(app, group, "--max-body", options.max_body_bytes, 1024, int64_t{1} << 30,
             "Bytes of one request's body");
  add_number(app, group, "--max-bodies", options.max_bodies_bytes, 1024, int64_t{1} << 40,
             "Bytes of all request bodies held at a time");
  add_number(app, group, "--max-header", options.max_header_bytes, 1024, 1 << 20,
             "Bytes of a request's header");
  add_number(app, group, "--max-unsent", options.max_unsent_bytes, 4096, int64_t{1} << 30,
             "Unsent bytes after which a slow client is disconnected");
  add_number(app, group, "--max-prompt-tokens", options.max_prompt_tokens, 0, kLargestCount,
             "Tokens of a prompt; 0: limited only by the context");
  add_number(app, group, "--max-choices", options.max_choices, 1, 128,
             "Choices (n) of one request");
  add_number(app, group, "--request-timeout", options.request_seconds, 0, kMostSeconds,
             "Seconds one request may take; 0: no limit");
  add_number(app, group, "--read-timeout", options.read_seconds, 1, kMostSeconds,
             "Seconds in which a request must arrive completely");
  add_number(app, group, "--write-timeout", options.write_seconds, 1, kMostSeconds,
             "Seconds after which a client that reads nothing is disconnected");
  add_number(app, group, "--idle-timeout", options.idle_seconds, 1, kMostSeconds,
             "Seconds an idle connection stays open");
  add_number(app, group, "--shutdown-timeout", options.shutdown_seconds, 0, kMostSeconds,
             "Seconds running requests may still take at shutdown");
}

void add_cache_size_options(App& app, ServeOptions& options) {
  const char* group = "Caches and batching";
  app.add_option(
         "--cache-tokens", options.cache_tokens,
         "Capacity of the caches in tokens, shared by all sequences (default: four times the "
         "model's context, at most 65,536)")
      .type_name("N")
      .check(whole_number(64))
      .group(group);
  add_number(app, group, "--max-sequences", options.max_sequences, 1, 4096,
             "Sequences that run concurrently");
  app.add_option(
         "--max-step-ms", options.scheduler.max_step_ms,
         fmt::format(
             "Upper bound in ms on how long prefill may delay decoding streams (default {})",
             options.scheduler.max_step_ms))
      .type_name("MS")
      .range(1.0, 60000.0)
      .group(group);
  const auto anew = app.add_flag("--no-prefix-cache", options.no_prefix_cache,
                                 "Prefill every prompt in full, reuse no cached prefix")
                        .group(group);
  app.add_flag("--share-prompt-cache", options.server.share_prompts,
               "Let all API keys reuse each other's cached prompts")
      .group(group)
      .excludes(anew);
  const auto disk =
      app.add_option("--disk-cache", options.scheduler.disk.dir,
                     "Directory of a prefix cache that survives restarts (default: none)")
          .type_name("DIR")
          .group(group);
  add_number(app, group, "--disk-cache-mb", options.disk_megabytes, 1, int64_t{1} << 30,
             "Largest size of the disk cache in MiB")
      .needs(disk);
}

dsa::EngineOptions serving_options(const ServeOptions& options, const dsa::ModelConfig& config) {
  constexpr int64_t kMostByDefault = 65536;
  const int64_t n_tokens = options.cache_tokens > 0
                               ? options.cache_tokens
                               : std::min(4 * config.max_position, kMostByDefault);
  auto engine = engine_options(options.model, config.indexer.top_k, n_tokens);
  engine.max_sequences = options.max_sequences;
  return engine;
}

// Where generation_config.json does not say, what OpenAI's API has as default.
dsa::SamplerOptions default_sampling(const GenerationConfig& generation) {
  dsa::SamplerOptions sampling = generation.sampling;
  if (!generation.samples) sampling.temperature = 1.0F;
  return sampling;
}

// The last folder of the path as it was given; "." and ".." are names of none.
std::string folder_name(const std::string& dir) {
  std::filesystem::path path(dir);
  while (path.filename().empty() && path.has_relative_path())
    path = path.parent_path();
  std::string name = path.filename().string();
  if (name.empty() || name == "." || name == "..") {
    std::error_code unknown;
    name = std::filesystem::canonical(path, unknown).filename().string();
  }
  return name.empty() ? "model" : name;  // of "/"
}

Result<server::ModelInfo> model_info(const ServeOptions& options, TextModel text) {
  const dsa::ModelConfig& config = text.model->config();
  auto generation = read_generation_config(options.model.dir, config.vocab_size);
  if (!generation.ok()) return generation.status();
  server::ModelInfo info;
  info.name = options.names.empty() ? folder_name(options.model.dir) : options.names[0];
  if (!options.names.empty()) info.aliases.assign(options.names.begin() + 1, options.names.end());
  info.created = std::chrono::duration_cast<std::chrono::seconds>(
                     std::chrono::system_clock::now().time_since_epoch())
                     .count();
  info.tokenizer = std::make_shared<const dsa::Tokenizer>(std::move(text.tokenizer));
  info.chat = dsa::check_chat_encoding(config.model_type, *info.tokenizer);
  info.prefix = std::move(text.prefix);
  info.end_ids = config.eos_token_ids;
  info.end_ids.insert(info.end_ids.end(), generation->end_ids.begin(), generation->end_ids.end());
  std::sort(info.end_ids.begin(), info.end_ids.end());
  info.end_ids.erase(std::unique(info.end_ids.begin(), info.end_ids.end()), info.end_ids.end());
  info.sampling = default_sampling(*generation);
  info.grammar_tokens = dsa::GrammarTokens::create(*info.tokenizer, info.end_ids);
  info.vocab_size = config.vocab_size;
  info.n_layers = config.n_layers;
  return info;
}

// Every connection is an open file; the usual limit is below --max-connections.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Status serve(ServeOptions options) {
  if (options.server.tls_key.empty() != options.server.tls_certificate.empty()) {
    throw UsageError("--tls-cert", "want --tls-key with it");
  }
  if (options.no_prefix_cache && !options.scheduler.disk.dir.empty()) {
    throw UsageError("--disk-cache", "has no effect with --no-prefix-cache");
  }
  auto text = load_text_model(options.model.dir, options.model.config);
  if (!text.ok()) return text.status();
  const std::shared_ptr<const dsa::Model> model = text->model;
  options.scheduler.prefix_cache = !options.no_prefix_cache;
  options.scheduler.disk.max_bytes = options.disk_megabytes << 20;
  const dsa::EngineOptions engine = serving_options(options, model->config());
  auto info = model_info(options, std::move(*text));
  if (!info.ok()) return info.status();
  auto scheduler = dsa::Scheduler::create(model, engine, options.scheduler);
  if (!scheduler.ok()) return scheduler.status();
  info->max_context = (*scheduler)->max_context();
  raise_file_limit();
  std::signal(SIGPIPE, SIG_IGN);  // a client that went away is no reason to end
  std::signal(SIGXFSZ, SIG_IGN);  // nor is a file that may not grow: writing fails, that is enough
  return server::serve(options.server, std::move(*info), std::move(*scheduler));
}

}  // namespace

Action add_serve(App& app) {
  auto options = std::make_shared<ServeOptions>();
  app.add_option("-m,--model", options->model.dir, "Checkpoint directory")
      .type_name("DIR")
      .required();
  app.add_option("--served-model-name,--name", options->names,
                 "Name of the model in the API; of several, all are accepted and the first is in "
                 "answers (default: the directory's name)")
      .type_name("NAME");
  app.add_option("--log-file", options->server.log_file,
                 "File for the log (default: standard error)")
      .type_name("FILE");
  app.add_flag("-q,--quiet", options->server.quiet, "Do not log every request");
  add_network_options(app, options->server);
  add_limit_options(app, *options);
  add_cache_size_options(app, *options);
  add_model_options(app, options->model);
  app.footer(kFooter);
  return [options] { return serve(*options); };
}

}  // namespace cli
