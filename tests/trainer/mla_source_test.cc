#include "trainer/mla_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

namespace dsa::trainer {
namespace {

constexpr int64_t kHidden = 24;
constexpr double kEps = 1e-6;

// One layer: a norm and the queries' matrix.
class PlainQueries : public TensorSource {
 public:
  PlainQueries() : norm_(kHidden), queries_(2 * kHidden) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (float& value : norm_)
      value = 0.5F + std::fabs(normal(random));
    for (float& value : queries_)
      value = normal(random);
    add("model.layers.0.input_layernorm.weight", {kHidden}, &norm_);
    add("model.layers.0.self_attn.q_proj.weight", {2, kHidden}, &queries_);
  }
  std::string source_name() const override { return "plain"; }
  using TensorSource::require;
  Result<const StoredTensor*> require(std::string_view name,
                                      std::span<const int64_t>,
                                      DTypeSet) const override {
    const auto place = tensors_.find(std::string(name));
    if (place == tensors_.end()) return Status(StatusCode::kNotFound, std::string(name));
    return &place->second;
  }
  std::vector<float>& norm() { return norm_; }

 private:
  void add(const std::string& name, std::vector<int64_t> shape, std::vector<float>* values) {
    StoredTensor& tensor = tensors_[name];
    tensor.name = name;
    tensor.dtype = DType::kF32;
    tensor.shape = std::move(shape);
    tensor.data = std::as_bytes(std::span(*values));
  }
  std::vector<float> norm_;
  std::vector<float> queries_;
  std::map<std::string, StoredTensor> tensors_;
};

ModelConfig config() {
  ModelConfig config;
  config.hidden_size = kHidden;
  config.n_layers = 1;
  return config;
}

const float* values(const StoredTensor& tensor) {
  const void* const data = tensor.data.data();
  return static_cast<const float*>(data);
}

std::vector<double> rms_norm(std::vector<double> x, const float* weight) {
  double sum = 0;
  for (const double value : x)
    sum += value * value;
  const double scale = 1 / std::sqrt(sum / static_cast<double>(x.size()) + kEps);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] *= scale * double{weight[i]};
  return x;
}

TEST(MlaSource, MakesALowRankQueryThatIsTheInputItself) {
  ModelConfig c = config();
  auto inner = std::make_unique<PlainQueries>();
  const std::vector<float> norm = inner->norm();
  const auto source = MlaSource::create(std::move(inner), &c);
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_EQ(c.q_lora_rank, kHidden);
  const std::string prefix = "model.layers.0.self_attn.";
  const auto down =
      (*source)->require(prefix + "q_a_proj.weight", {kHidden, kHidden}, {DType::kF32});
  const auto weight = (*source)->require(prefix + "q_a_layernorm.weight", {kHidden}, {DType::kF32});
  const auto up = (*source)->require(prefix + "q_b_proj.weight", {2, kHidden}, {DType::kF32});
  ASSERT_TRUE(down.ok() && weight.ok() && up.ok());
  EXPECT_EQ((*up)->name, prefix + "q_proj.weight");

  std::vector<double> hidden(kHidden);
  for (size_t i = 0; i < hidden.size(); ++i)
    hidden[i] = 3 * std::sin(static_cast<double>(i * i));
  const std::vector<double> x = rms_norm(hidden, norm.data());
  std::vector<double> low(kHidden);
  for (size_t r = 0; r < low.size(); ++r) {
    for (size_t i = 0; i < x.size(); ++i)
      low[r] += double{values(**down)[r * x.size() + i]} * x[i];
  }
  const std::vector<double> c_q = rms_norm(low, values(**weight));
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_LE(std::fabs(c_q[i] - x[i]), 1e-5 * std::fabs(x[i]) + 1e-9) << i;
}

TEST(MlaSource, RefusesANormWithAZero) {
  ModelConfig c = config();
  auto inner = std::make_unique<PlainQueries>();
  inner->norm()[5] = 0;
  const auto source = MlaSource::create(std::move(inner), &c);
  EXPECT_EQ(source.status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(source.status().message(), testing::HasSubstr("value 5 is 0"));
}

}  // namespace
}  // namespace dsa::trainer
