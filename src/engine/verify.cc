#include "dsa/verify.h"

#include "engine/verify_checks.h"
#include "kernels/tiers.h"

namespace dsa {

std::vector<KernelCheck> verify_kernels(const std::function<void(const KernelCheck&)>& done) {
  std::vector<KernelCheck> checks;
  for (const kernels::Tier& tier : kernels::tiers()) {
    if (!tier.runs_here) continue;
    const kernels::KernelTable* table = tier.table;
    const ReportCheck report = [&](const std::string& kernel, const CaseLog& log) {
      checks.push_back(log.result(table->tier_name, kernel));
      if (done) done(checks.back());
    };
    verify_vector_kernels(*table->vector, report);
    verify_matmul_kernels(*table->matmul, report);
    verify_indexer_kernels(*table->indexer, report);
    verify_attention_kernels(*table->attention, report);
    verify_train_kernels(*table->train, report);
  }
  return checks;
}

}  // namespace dsa
