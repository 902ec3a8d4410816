// Some steps of gradient descent with momentum on a checkpoint, for comparison with another
// implementation (torch_steps.py):
//   train_steps DIR STAGE STEPS RATE OUT LENGTH...
// DIR: a checkpoint, and tokens.i32, as many little-endian int32 as the documents' LENGTHs add up
// to. Prints the losses of each step as JSON; writes the gradients of the last, in the order of
// "parameters", to OUT as f32.
#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backprop/train_model.h"
#include "io/open_source.h"

namespace {

constexpr float kMomentum = 0.9F;

int fail(const std::string& message) {
  fmt::print(stderr, "train_steps: {}\n", message);
  return 1;
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<int32_t> read_tokens(const std::string& path, size_t n) {
  std::vector<int32_t> tokens(n);
  std::ifstream file(path, std::ios::binary);
  void* bytes = tokens.data();
  file.read(static_cast<char*>(bytes), static_cast<std::streamsize>(n * sizeof(int32_t)));
  if (!file) return {};
  return tokens;
}

class Descent {
 public:
  Descent(dsa::backprop::TrainModel* model, float rate) : model_(model), rate_(rate) {}

  void step() {
    for (const dsa::backprop::Parameter& parameter : model_->parameters()) {
      if (parameter.gradient == nullptr) continue;
      std::vector<float>& velocity = velocity_[parameter.name];
      velocity.resize(parameter.size);
      for (size_t i = 0; i < parameter.size; ++i) {
        velocity[i] = kMomentum * velocity[i] + parameter.gradient[i];
        parameter.value[i] -= rate_ * velocity[i];
      }
    }
    model_->weights_changed();
  }

 private:
  dsa::backprop::TrainModel* model_;
  float rate_;
  std::map<std::string, std::vector<float>> velocity_;
};

int write_gradients(const dsa::backprop::TrainModel& model, const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  std::vector<std::string> names;
  for (const dsa::backprop::Parameter& parameter : model.parameters()) {
    if (parameter.gradient == nullptr) continue;
    names.push_back(fmt::format("\"{}\"", parameter.name));
    const void* bytes = parameter.gradient;
    file.write(static_cast<const char*>(bytes),
               static_cast<std::streamsize>(parameter.size * sizeof(float)));
  }
  if (!file.flush()) return fail(path + ": cannot be written");
  fmt::print("{{\"parameters\": [{}]}}\n", fmt::join(names, ", "));
  return 0;
}

int run(const std::string& dir,
        dsa::backprop::TrainStage stage,
        int n_steps,
        float rate,
        const std::string& out,
        const std::vector<dsa::backprop::DocumentSpan>& documents) {
  const auto source = dsa::open_model_source(dir);
  if (!source.ok()) return fail(source.status().message());
  const auto config = dsa::parse_model_config(source->config_text, source->config_path);
  if (!config.ok()) return fail(config.status().message());
  const int64_t n = documents.back().end;
  const std::vector<int32_t> tokens = read_tokens(dir + "/tokens.i32", static_cast<size_t>(n));
  if (tokens.empty()) return fail(dir + "/tokens.i32: too short");
  dsa::ThreadPool pool(0);
  auto model = dsa::backprop::TrainModel::create(*config, {.stage = stage, .max_tokens = n},
                                                 *source->tensors, &pool);
  if (!model.ok()) return fail(model.status().message());
  dsa::backprop::TrainBatch batch;
  batch.tokens = tokens;
  batch.documents = documents;
  Descent descent(model->get(), rate);
  for (int i = 0; i < n_steps; ++i) {
    (*model)->zero_gradients();
    const auto losses = (*model)->forward_backward(batch);
    if (!losses.ok()) return fail(losses.status().message());
    fmt::print("{{\"lm\": {:.9g}, \"index_kl\": {:.9g}}}\n", losses->lm(), losses->index_kl());
    if (i + 1 < n_steps) descent.step();
  }
  return write_gradients(**model, out);
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string_view, dsa::backprop::TrainStage> stages = {
      {"pretrain", dsa::backprop::TrainStage::kPretrain},
      {"warmup", dsa::backprop::TrainStage::kWarmup},
      {"sparse", dsa::backprop::TrainStage::kSparse}};
  if (argc < 7 || stages.count(argv[2]) == 0) {
    return fail("usage: train_steps DIR pretrain|warmup|sparse STEPS RATE OUT LENGTH...");
  }
  const auto n_steps = number<int>(argv[3]);
  const auto rate = number<float>(argv[4]);
  if (!n_steps || *n_steps < 1 || !rate) return fail("STEPS, RATE: want a count and a number");
  std::vector<dsa::backprop::DocumentSpan> documents;
  for (int i = 6; i < argc; ++i) {
    const auto length = number<int32_t>(argv[i]);
    if (!length || *length < 1) return fail(fmt::format("LENGTH: {}, want at least 1", argv[i]));
    const int64_t begin = documents.empty() ? 0 : documents.back().end;
    documents.push_back({begin, begin + *length});
  }
  return run(argv[1], stages.at(argv[2]), *n_steps, *rate, argv[5], documents);
}
