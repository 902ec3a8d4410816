// dsa verify: kernels against their oracles, or a checkpoint against known outputs.
#include "dsa/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/command.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/text.h"
#include "cli/verify_checkpoint.h"

namespace cli {
namespace {

using dsa::KernelCheck;
using dsa::Status;
using dsa::StatusCode;

constexpr const char* kFooter =
    "Without -m every kernel of every instruction-set tier this CPU runs is compared with its\n"
    "float64 oracle. With -m and --expected the checkpoint is run and its logits and selections "
    "are\n"
    "compared with those in FILE (`tokens`, `logits`, `topk.L`), in f32 unless a cache format is\n"
    "given. Exits with 1 when something differs.\n"
    "\n"
    "Examples:\n"
    "  dsa verify\n"
    "  dsa verify -m tests/checkpoints/baby-v32 --expected "
    "tests/checkpoints/baby-v32/expected_fp32.safetensors\n"
    "  dsa verify -m DIR --expected FILE --kv-cache fp8 --index-cache fp8";

void print_table(const std::vector<KernelCheck>& checks) {
  size_t widest = 6;
  for (const KernelCheck& check : checks)
    widest = std::max(widest, check.kernel.size());
  print(fmt::format("{:<8} {:<{}} {:>7}  {:>17}\n", "tier", "kernel", widest, "cases",
                    "error / tolerance"));
  for (const KernelCheck& check : checks) {
    print(fmt::format("{:<8} {:<{}} {:>7}  {:>17.4f}  {}\n", check.tier, check.kernel, widest,
                      group_digits(check.n_cases), check.worst_error,
                      check.passed ? "ok" : "FAILED"));
  }
}

Status verify_all_kernels(bool json) {
  const auto checks = dsa::verify_kernels(nullptr);
  const auto n_failed = std::count_if(checks.begin(), checks.end(),
                                      [](const KernelCheck& check) { return !check.passed; });
  if (json) {
    auto list = Json::array();
    for (const KernelCheck& check : checks) {
      list.push_back({{"tier", check.tier},
                      {"kernel", check.kernel},
                      {"cases", check.n_cases},
                      {"worst_error_of_tolerance", check.worst_error},
                      {"passed", check.passed}});
    }
    print_json({{"passed", n_failed == 0}, {"checks", std::move(list)}});
  } else {
    print_table(checks);
    if (n_failed == 0) print(fmt::format("all {} checks passed\n", checks.size()));
  }
  if (n_failed == 0) return {};
  return Status(StatusCode::kCorruption,
                fmt::format("{} of {} kernel checks failed", n_failed, checks.size()));
}

void refuse_options_of_a_checkpoint(const App& app) {
  for (const std::string& name : app.given()) {
    if (name == "--json") continue;
    throw UsageError(name, "has no effect on kernels, want -m and --expected with it");
  }
}

}  // namespace

Action add_verify(App& app) {
  auto options = std::make_shared<VerifyOptions>();
  options->model.kv_cache = dsa::CacheFormat::kF32;
  options->model.index_cache = dsa::CacheFormat::kF32;
  const auto model =
      app.add_option("-m,--model", options->model.dir, "Checkpoint directory").type_name("DIR");
  const auto expected = app.add_option("--expected", options->expected,
                                       "File with the expected outputs (safetensors)")
                            .type_name("FILE");
  model.needs(expected);
  expected.needs(model);
  app.add_option("--prefill", options->n_prefill,
                 "Prefill the first P tokens, decode the others one by one (default: 7/8)")
      .type_name("P")
      .check(whole_number(1));
  app.add_option("--tolerance", options->tolerance,
                 "Largest difference of a logit with f32 caches (default 5e-4)")
      .type_name("X");
  add_model_options(app, options->model);
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options, app] {
    if (!options->model.dir.empty()) return verify_checkpoint(*options);
    refuse_options_of_a_checkpoint(app);
    return verify_all_kernels(options->json);
  };
}

}  // namespace cli
