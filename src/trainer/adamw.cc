#include "trainer/adamw.h"

#include <algorithm>
#include <cmath>

namespace dsa::trainer {
namespace {

constexpr size_t kChunk = size_t{1} << 15;  // fixed: sums do not depend on the number of threads

struct Factors {
  float mean;  // beta1 and what is added
  float mean_new;
  float square;
  float square_new;
  float rate;  // corrected for the first steps
  float keep;  // 1 - rate * decay
  float root;  // of the correction of the squares
  float eps;
  float gradient;
};

void update_chunk(const Factors& f, size_t n, const float* g, float* m, float* v, float* w) {
  for (size_t i = 0; i < n; ++i) {
    const float gradient = g[i] * f.gradient;
    m[i] = f.mean * m[i] + f.mean_new * gradient;
    v[i] = f.square * v[i] + f.square_new * (gradient * gradient);
    w[i] = f.keep * w[i] - f.rate * (m[i] / (std::sqrt(v[i]) * f.root + f.eps));
  }
}

}  // namespace

AdamW::AdamW(std::span<const backprop::Parameter> parameters,
             const AdamWOptions& options,
             ThreadPool* pool)
    : options_(options), pool_(pool) {
  for (const backprop::Parameter& parameter : parameters) {
    if (parameter.gradient == nullptr || parameter.value == nullptr) continue;
    const size_t slot = slots_.size();
    slots_.push_back(
        {&parameter, std::vector<float>(parameter.size), std::vector<float>(parameter.size)});
    for (size_t begin = 0; begin < parameter.size; begin += kChunk)
      chunks_.push_back({slot, begin, std::min(begin + kChunk, parameter.size)});
  }
}

double AdamW::gradient_norm(bool of_indexer) const {
  std::vector<double> sums(chunks_.size());
  pool_->parallel_for(static_cast<int64_t>(chunks_.size()), [&](int64_t item, int) {
    const SlotPart& chunk = chunks_[static_cast<size_t>(item)];
    const backprop::Parameter& parameter = *slots_[chunk.slot].parameter;
    if (parameter.of_indexer != of_indexer) return;
    double sum = 0;
    for (size_t i = chunk.begin; i < chunk.end; ++i)
      sum +=
          static_cast<double>(parameter.gradient[i]) * static_cast<double>(parameter.gradient[i]);
    sums[static_cast<size_t>(item)] = sum;
  });
  double total = 0;
  for (const double sum : sums)
    total += sum;
  return std::sqrt(total);
}

void AdamW::update(int64_t step, const UpdateGroup& model, const UpdateGroup& indexer) {
  const auto t = static_cast<double>(step);
  const double mean_correction = 1 - std::pow(options_.beta1, t);
  const double square_correction = 1 - std::pow(options_.beta2, t);
  pool_->parallel_for(static_cast<int64_t>(chunks_.size()), [&](int64_t item, int) {
    const SlotPart& chunk = chunks_[static_cast<size_t>(item)];
    Slot& slot = slots_[chunk.slot];
    const backprop::Parameter& parameter = *slot.parameter;
    const UpdateGroup& group = parameter.of_indexer ? indexer : model;
    const double decay =
        parameter.role == backprop::ParameterRole::kMatrix ? options_.weight_decay : 0;
    Factors f{};
    f.mean = static_cast<float>(options_.beta1);
    f.mean_new = static_cast<float>(1 - options_.beta1);
    f.square = static_cast<float>(options_.beta2);
    f.square_new = static_cast<float>(1 - options_.beta2);
    f.rate = static_cast<float>(group.rate / mean_correction);
    f.keep = static_cast<float>(1 - group.rate * decay);
    f.root = static_cast<float>(1 / std::sqrt(square_correction));
    f.eps = static_cast<float>(options_.eps);
    f.gradient = static_cast<float>(group.gradient_scale);
    update_chunk(f, chunk.end - chunk.begin, parameter.gradient + chunk.begin,
                 slot.mean.data() + chunk.begin, slot.square.data() + chunk.begin,
                 parameter.value + chunk.begin);
  });
}

}  // namespace dsa::trainer
