// dsa cache: lists, verifies and purges a server's cache on disk.
#include <fmt/format.h>

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "dsa/disk_cache.h"
#include "dsa/scheduler.h"

#include "cli/command.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::Status;
using dsa::StatusCode;

constexpr const char* kFooter =
    "DIR is the directory given to `dsa serve --disk-cache`. Every action may run while a server\n"
    "uses the directory: a page that is gone is a cache miss.\n"
    "\n"
    "Examples:\n"
    "  dsa cache ls DIR\n"
    "  dsa cache verify DIR --json\n"
    "  dsa cache purge DIR --identity 3f5a...\n"
    "  dsa cache purge DIR";

struct CacheOptions {
  std::string action;
  std::string dir;
  std::string identity;
  bool json = false;
};

std::string utc_time(int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts = {};
  char text[32] = "?";
  if (::gmtime_r(&time, &parts) != nullptr) {
    std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  }
  return text;
}

Status list(const CacheOptions& options) {
  const auto entries = dsa::list_disk_cache(options.dir);
  if (!entries.ok()) return entries.status();
  auto shown = Json::array();
  int64_t n_pages = 0;
  int64_t bytes = 0;
  for (const dsa::DiskCacheEntry& entry : *entries) {
    n_pages += entry.n_pages;
    bytes += entry.bytes;
    if (options.json) {
      shown.push_back({{"identity", entry.identity},
                       {"description", one_line(entry.description)},
                       {"pages", entry.n_pages},
                       {"tokens", entry.n_pages * entry.page_tokens},
                       {"bytes", entry.bytes},
                       {"last_used", entry.last_used}});
      continue;
    }
    print(fmt::format("{}\n  {} tokens in {} pages, {}{}\n  {}\n", entry.identity,
                      group_digits(entry.n_pages * entry.page_tokens), group_digits(entry.n_pages),
                      format_bytes(entry.bytes),
                      entry.n_pages > 0 ? ", last used " + utc_time(entry.last_used) : "",
                      one_line(entry.description)));
  }
  if (options.json) {
    print_json({{"identities", std::move(shown)}, {"pages", n_pages}, {"bytes", bytes}});
  } else {
    print(fmt::format("{} pages, {}\n", group_digits(n_pages), format_bytes(bytes)));
  }
  return {};
}

Status verify(const CacheOptions& options) {
  const auto verified = dsa::verify_disk_cache(options.dir);
  if (!verified.ok()) return verified.status();
  std::vector<std::string> bad;
  for (const std::string& one : verified->bad)
    bad.push_back(one_line(one));
  if (options.json) {
    print_json({{"pages", verified->n_pages}, {"bytes", verified->bytes}, {"bad", bad}});
  } else {
    for (const std::string& one : bad)
      print(one + "\n");
    print(fmt::format("{} pages intact, {}\n", group_digits(verified->n_pages),
                      format_bytes(verified->bytes)));
  }
  if (bad.empty()) return {};
  return Status(StatusCode::kCorruption,
                fmt::format("{}: {} pages are corrupt", options.dir, bad.size()));
}

Status purge(const CacheOptions& options) {
  const auto freed = dsa::purge_disk_cache(options.dir, options.identity);
  if (!freed.ok()) return freed.status();
  if (options.json) {
    print_json({{"freed_bytes", *freed}});
  } else {
    print(fmt::format("{} freed\n", format_bytes(*freed)));
  }
  return {};
}

Status run_action(const CacheOptions& options) {
  if (!options.identity.empty() && options.action != "purge") {
    throw UsageError("--identity", "has no effect on " + options.action);
  }
  if (options.action == "ls") return list(options);
  return options.action == "verify" ? verify(options) : purge(options);
}

}  // namespace

Action add_cache(App& app) {
  auto options = std::make_shared<CacheOptions>();
  app.add_option("ACTION", options->action, "ls, verify or purge")
      .required()
      .one_of({"ls", "verify", "purge"})
      .type_name("");
  app.add_option("DIR", options->dir, "Directory of the cache").required();
  app.add_option("--identity", options->identity,
                 "purge: delete only the pages of this identity, as shown by ls")
      .type_name("ID");
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options] { return run_action(*options); };
}

}  // namespace cli
