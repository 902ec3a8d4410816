// Answers questions about a checkpoint, one JSON object a line on standard input, its answer a line
// on standard output:
//   quality_eval CHECKPOINT MAX_TOKENS [THREADS]      (the model's max_position bounds MAX_TOKENS)
//
//   {"op": "encode", "texts": [text, ...]}
//     -> {"tokens": [[id, ...], ...], "bytes": [[of each token's text, ...], ...]}
//   {"op": "evaluate", "tokens": [id, ...], ...members of EvalOptions by name}
//     -> {"loss": [of each token's successor, ...], "best": [the successor foreseen, ...]}, with
//        "coverage": true also "mass" and "recall", a list per layer
//
// It starts with {"layers": n, "top_k": k, "index_heads": n, "max_position": n, "parameters": n,
// "begin": id or null}. What is wrong is told on standard error and ends it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/thread_pool.h"
#include "dsa/tokenizer.h"

#include "backprop/train_model.h"
#include "common/status_macros.h"
#include "data/control_ids.h"
#include "io/open_source.h"

namespace {

using nlohmann::json;

// The value of a name in `names`; `fallback` where the request lacks the member.
template <class T>
dsa::Result<T> choice(const json& request,
                      const char* member,
                      const std::map<std::string, T>& names,
                      const char* fallback) {
  const auto found = names.find(request.value(member, fallback));
  if (found == names.end()) return dsa::invalid_argument("{}: not a known one", member);
  return found->second;
}

dsa::Result<dsa::backprop::EvalOptions> options_of(const json& request) {
  dsa::backprop::EvalOptions options;
  DSA_ASSIGN_OR_RETURN(options.selection, choice<dsa::backprop::EvalSelection>(
                                              request, "selection",
                                              {{"dense", dsa::backprop::EvalSelection::kDense},
                                               {"dsa", dsa::backprop::EvalSelection::kDsa},
                                               {"window", dsa::backprop::EvalSelection::kWindow},
                                               {"random", dsa::backprop::EvalSelection::kRandom},
                                               {"oracle", dsa::backprop::EvalSelection::kOracle}},
                                              "dense"));
  DSA_ASSIGN_OR_RETURN(options.index_format, choice<dsa::backprop::EvalIndexFormat>(
                                                 request, "index_format",
                                                 {{"f32", dsa::backprop::EvalIndexFormat::kF32},
                                                  {"fp8", dsa::backprop::EvalIndexFormat::kFp8},
                                                  {"int8", dsa::backprop::EvalIndexFormat::kInt8}},
                                                 "f32"));
  options.top_k = request.value("top_k", int64_t{0});
  options.keep_first = request.value("keep_first", int64_t{0});
  options.keep_recent = request.value("keep_recent", int64_t{0});
  options.index_heads = request.value("index_heads", int64_t{0});
  options.seed = request.value("seed", uint64_t{1});
  options.coverage = request.value("coverage", false);
  return options;
}

// [n_layers * n] as a list per layer.
json by_layer(const std::vector<float>& values, size_t n) {
  json out = json::array();
  for (size_t at = 0; at + n <= values.size(); at += n)
    out.push_back(std::vector<float>(values.begin() + static_cast<std::ptrdiff_t>(at),
                                     values.begin() + static_cast<std::ptrdiff_t>(at + n)));
  return out;
}

dsa::Result<json> evaluate(const json& request, dsa::backprop::TrainModel* model) {
  DSA_ASSIGN_OR_RETURN(const dsa::backprop::EvalOptions options, options_of(request));
  const auto tokens = request.at("tokens").get<std::vector<int32_t>>();
  const dsa::backprop::DocumentSpan document = {0, static_cast<int64_t>(tokens.size())};
  dsa::backprop::TrainBatch batch;
  batch.tokens = tokens;
  batch.documents = {&document, 1};
  DSA_ASSIGN_OR_RETURN(const dsa::backprop::EvalResult result, model->evaluate(batch, options));
  json answer = {{"loss", result.token_loss}, {"best", result.best}};
  if (options.coverage) {
    answer["mass"] = by_layer(result.mass, tokens.size());
    answer["recall"] = by_layer(result.recall, tokens.size());
  }
  return answer;
}

dsa::Result<json> encode(const json& request, const dsa::Tokenizer& tokenizer) {
  json answer = {{"tokens", json::array()}, {"bytes", json::array()}};
  for (const json& text : request.at("texts")) {
    DSA_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                         tokenizer.encode(text.get_ref<const std::string&>(), false));
    json sizes = json::array();
    for (const int32_t id : ids)
      sizes.push_back(tokenizer.token_text(id).size());
    answer["tokens"].push_back(ids);
    answer["bytes"].push_back(std::move(sizes));
  }
  return answer;
}

json description(const dsa::backprop::TrainModel& model, const dsa::Tokenizer& tokenizer) {
  const dsa::ModelConfig& config = model.config();
  int64_t n_parameters = 0;
  for (const dsa::backprop::Parameter& parameter : model.parameters())
    n_parameters += static_cast<int64_t>(parameter.size);
  const std::optional<int32_t> begin = dsa::control_ids(tokenizer).begin;
  return {{"layers", config.n_layers},
          {"top_k", config.indexer.top_k},
          {"index_heads", config.indexer.n_heads},
          {"max_position", config.max_position},
          {"parameters", n_parameters},
          {"begin", begin ? json(*begin) : json()}};
}

dsa::Status serve(const std::string& folder, int64_t max_tokens, int threads) {
  DSA_ASSIGN_OR_RETURN(const dsa::OpenedSource source, dsa::open_model_source(folder));
  DSA_ASSIGN_OR_RETURN(const dsa::ModelConfig config,
                       dsa::parse_model_config(source.config_text, source.config_path));
  DSA_ASSIGN_OR_RETURN(const dsa::Tokenizer tokenizer,
                       dsa::Tokenizer::open(folder + "/tokenizer.json"));
  dsa::ThreadPool pool(threads);
  // The stage that keeps no gradients and reads the weights where they are mapped.
  const dsa::backprop::TrainModelOptions options = {
      .stage = dsa::backprop::TrainStage::kWarmup,
      .max_tokens = std::min(max_tokens, config.max_position)};
  DSA_ASSIGN_OR_RETURN(const auto model,
                       dsa::backprop::TrainModel::create(config, options, *source.tensors, &pool));
  std::cout << description(*model, tokenizer).dump() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const json request = json::parse(line);
    dsa::Result<json> answer =
        request.at("op") == "encode" ? encode(request, tokenizer) : evaluate(request, model.get());
    if (!answer.ok()) return answer.status();
    std::cout << answer->dump() << std::endl;
  }
  return {};
}

int64_t number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : -1;
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t max_tokens = argc > 2 ? number(argv[2]) : -1;
  const int64_t threads = argc > 3 ? number(argv[3]) : 0;
  if (argc > 4 || max_tokens < 1 || threads < 0 || threads > 4096) {
    fmt::print(stderr, "usage: quality_eval CHECKPOINT MAX_TOKENS [THREADS]\n");
    return 2;
  }
  try {
    const dsa::Status status = serve(argv[1], max_tokens, static_cast<int>(threads));
    if (status.ok()) return 0;
    fmt::print(stderr, "quality_eval: {}\n", status.message());
  } catch (const json::exception& error) {
    fmt::print(stderr, "quality_eval: a request: {}\n", error.what());
  }
  return 1;
}
