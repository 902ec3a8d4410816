#include "dsa/train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "dsa/model.h"
#include "dsa/safetensors.h"

#include "io/checkpoint.h"
#include "tests/trainer/tiny_run.h"

namespace dsa::trainer {
namespace {

using ::testing::HasSubstr;

class Train : public testing::Test {
 protected:
  static void SetUpTestSuite() { runs_ = new TinyRuns(); }
  static void TearDownTestSuite() {
    delete runs_;
    runs_ = nullptr;
  }
  static TinyRuns* runs_;

  static void expect_refused(const TrainConfig& config, const std::string& words) {
    const auto report = train(config, {});
    ASSERT_FALSE(report.ok()) << words;
    EXPECT_THAT(report.status().message(), HasSubstr(words));
  }
};

TinyRuns* Train::runs_ = nullptr;

void expect_same_checkpoint(const std::string& a, const std::string& b) {
  for (const char* name : {"/model.safetensors", "/optimizer.safetensors", "/config.json",
                           "/training_state.json", "/tokenizer.json"}) {
    const std::string bytes = read_bytes(a + name);
    EXPECT_FALSE(bytes.empty()) << name;
    EXPECT_EQ(bytes, read_bytes(b + name)) << name;
  }
}

TEST_F(Train, LearnsInAllThreeStagesAndWritesModelsThatOpen) {
  std::map<std::string, std::vector<TrainStep>> steps;
  std::string init;
  for (const std::string stage : {"pretrain", "warmup", "sparse"}) {
    std::vector<std::string> more = {"optimizer.steps=25", "optimizer.learning_rate=0.01"};
    if (!init.empty()) more.push_back("init=" + init);
    TrainHooks hooks;
    hooks.step = [&](const TrainStep& step) {
      steps[stage].push_back(step);
      return true;
    };
    const TrainReport report = must_train(runs_->config(stage, "learn-" + stage, more), hooks);
    EXPECT_TRUE(report.finished);
    init = report.checkpoint;
    const auto model = Model::open(init);
    ASSERT_TRUE(model.ok()) << model.status().message();
    ASSERT_EQ(steps[stage].size(), 25U);
  }
  EXPECT_LT(steps["pretrain"].back().loss, steps["pretrain"].front().loss - 1);
  EXPECT_TRUE(std::isnan(steps["pretrain"].back().index_kl));
  EXPECT_TRUE(std::isnan(steps["warmup"].back().loss));
  EXPECT_LT(steps["warmup"].back().index_kl, steps["warmup"].front().index_kl);
  EXPECT_LT(steps["sparse"].back().loss, steps["pretrain"].back().loss + 0.2);
  EXPECT_TRUE(std::isfinite(steps["sparse"].back().index_kl));
}

TEST_F(Train, LeavesFrozenWeightsAsTheyWere) {
  const TrainReport report =
      must_train(runs_->config("warmup", "frozen", {"init=" + runs_->file("random")}));
  const auto before = Checkpoint::open(runs_->file("random"));
  const auto after = Checkpoint::open(report.checkpoint);
  ASSERT_TRUE(before.ok() && after.ok());
  int n_changed = 0;
  for (const StoredTensor& tensor : before->shards()[0].tensors()) {
    const StoredTensor* const other = after->shards()[0].find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    const bool same =
        std::equal(tensor.data.begin(), tensor.data.end(), other->data.begin(), other->data.end());
    const bool of_indexer = tensor.name.find(".indexer.") != std::string::npos;
    EXPECT_EQ(same, !of_indexer) << tensor.name;
    n_changed += same ? 0 : 1;
  }
  EXPECT_EQ(n_changed, 10);
}

TEST_F(Train, GoesOnToTheBitAfterABreak) {
  for (const std::string stage : {"pretrain", "warmup", "sparse"}) {
    std::vector<std::string> more = {"checkpoint.every=2", "optimizer.steps=7", "threads=2",
                                     stage == "sparse" ? "precision.bf16=true" : "seed=3"};
    if (stage != "pretrain") more.push_back("init=" + runs_->file("random"));
    const TrainReport straight = must_train(runs_->config(stage, stage + "-straight", more));
    TrainReport broken;
    for (int part = 0; part < 4; ++part) {
      TrainHooks hooks;
      int n = 0;
      hooks.step = [&](const TrainStep&) { return ++n < 2; };
      broken = must_train(runs_->config(stage, stage + "-broken", more), hooks);
      EXPECT_EQ(broken.finished, part == 3);
    }
    EXPECT_EQ(broken.steps, 7);
    expect_same_checkpoint(straight.checkpoint, broken.checkpoint);
    const auto log = [&](const std::string& run) {
      std::istringstream lines(read_bytes(runs_->file(stage + run) + "/log.jsonl"));
      std::vector<std::string> losses;
      for (std::string line; std::getline(lines, line);) {
        const auto entry = nlohmann::json::parse(line);
        losses.push_back(entry["loss"].dump() + entry["step"].dump());
      }
      return losses;
    };
    EXPECT_EQ(log("-straight"), log("-broken"));
  }
}

TEST_F(Train, KeepsTheNewestCheckpointsAndPointsToTheLast) {
  must_train(runs_->config("pretrain", "keep", {"checkpoint.every=1", "checkpoint.keep=2"}));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(runs_->file("keep")))
    names.push_back(entry.path().filename().string());
  EXPECT_THAT(names, testing::UnorderedElementsAre("step-00000005", "step-00000006", "latest",
                                                   "log.jsonl", "tokens.bin", ".lock"));
  EXPECT_EQ(std::filesystem::read_symlink(runs_->file("keep/latest")), "step-00000006");
}

TEST_F(Train, PointsToTheNewestCheckpointAgainAfterAKillBeforeThat) {
  const TrainConfig config = runs_->config("pretrain", "stale", {"checkpoint.every=3"});
  must_train(config);
  const std::string link = runs_->file("stale/latest");
  std::filesystem::remove(link);
  std::filesystem::create_symlink("step-00000003", link);
  must_train(config);
  EXPECT_EQ(std::filesystem::read_symlink(link), "step-00000006");
}

TEST_F(Train, KeepsOldCheckpointsWhereTheLinkCannotBeMade) {
  TrainHooks hooks;
  hooks.step = [&](const TrainStep& step) {
    if (step.step < 2) return true;
    std::filesystem::remove(runs_->file("nolink/latest"));
    std::filesystem::create_directories(runs_->file("nolink/latest/full"));
    return true;
  };
  const auto report = train(
      runs_->config("pretrain", "nolink", {"checkpoint.every=1", "checkpoint.keep=1"}), hooks);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.status().message(), HasSubstr("nolink/latest: cannot point to"));
  EXPECT_TRUE(std::filesystem::exists(runs_->file("nolink/step-00000001")));
}

TEST_F(Train, DoesNothingMoreToAFinishedRun) {
  const TrainConfig config = runs_->config("pretrain", "twice");
  const TrainReport first = must_train(config);
  const std::string bytes = read_bytes(first.checkpoint + "/optimizer.safetensors");
  const TrainReport second = must_train(config);
  EXPECT_TRUE(second.finished);
  EXPECT_EQ(second.checkpoint, first.checkpoint);
  EXPECT_EQ(read_bytes(second.checkpoint + "/optimizer.safetensors"), bytes);
}

TEST_F(Train, RefusesToGoOnWithOtherValues) {
  must_train(runs_->config("pretrain", "other"));
  expect_refused(runs_->config("pretrain", "other", {"optimizer.beta1=0.8"}),
                 "optimizer.beta1: 0.8 was 0.9");
  expect_refused(runs_->config("pretrain", "other", {"seed=2"}), "seed: 2 was 1");
  runs_->dir().write("other-text", "Other text. Other text.");
  expect_refused(runs_->config("pretrain", "other",
                               {"data.text=" + runs_->file("other-text"), "data.held_out=0.05",
                                "data.tokens=" + runs_->file("other.tok")}),
                 "document");
}

TEST_F(Train, GoesOnFromAnInitThatWasMovedButNotFromOneThatChanged) {
  namespace fs = std::filesystem;
  const auto config = [&](const std::string& init) {
    return runs_->config("sparse", "moved", {"init=" + runs_->file(init), "optimizer.steps=1"});
  };
  fs::copy(runs_->file("random"), runs_->file("first"), fs::copy_options::recursive);
  must_train(config("first"));
  fs::rename(runs_->file("first"), runs_->file("second"));
  must_train(config("second"));
  std::fstream weights(runs_->file("second/model.safetensors"),
                       std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-1, std::ios::end);
  weights.put('!');
  weights.close();
  expect_refused(config("second"), "holds another model than when");
}

TEST_F(Train, RefusesAStateOfAnotherStep) {
  const TrainReport report = must_train(runs_->config("pretrain", "step"));
  const std::string path = report.checkpoint + "/training_state.json";
  const auto state = nlohmann::ordered_json::parse(read_bytes(path));
  for (const int64_t step : {int64_t{3}, INT64_MAX}) {
    auto changed = state;
    changed["step"] = step;
    std::ofstream(path) << changed;
    expect_refused(runs_->config("pretrain", "step"), "want that of step-00000006");
  }
  auto later = state;
  later["step"] = 7;
  std::ofstream(path) << later;
  std::filesystem::rename(report.checkpoint, runs_->file("step/step-00000007"));
  expect_refused(runs_->config("pretrain", "step"), "want at most step 6");
}

TEST_F(Train, IgnoresWhatAKilledProcessLeft) {
  const TrainConfig config =
      runs_->config("pretrain", "left", {"checkpoint.every=2", "optimizer.steps=4"});
  std::filesystem::create_directories(runs_->file("left/.step-00000002.tmp"));
  std::filesystem::create_directories(runs_->file("left/.step-00000001.old"));
  runs_->dir().write("left/.step-00000002.tmp/model.safetensors", "half");
  runs_->dir().write("left/tokens.bin.123.tmp", "half");
  runs_->dir().write("left/log.jsonl.123.tmp", "half");
  EXPECT_TRUE(must_train(config).finished);
  EXPECT_FALSE(std::filesystem::exists(runs_->file("left/tokens.bin.123.tmp")));
  EXPECT_FALSE(std::filesystem::exists(runs_->file("left/log.jsonl.123.tmp")));
  EXPECT_FALSE(std::filesystem::exists(runs_->file("left/.step-00000002.tmp")));
  EXPECT_FALSE(std::filesystem::exists(runs_->file("left/.step-00000001.old")));
}

TEST_F(Train, RefusesAFolderThatAnotherRunUses) {
  const TrainConfig config = runs_->config("pretrain", "shared", {"optimizer.steps=1"});
  TrainHooks hooks;
  hooks.step = [&](const TrainStep&) {
    expect_refused(config, "shared/.lock: held by another run");
    return true;
  };
  must_train(config, hooks);
  must_train(config);  // the lock went with the run
}

TEST_F(Train, NamesADamagedCheckpoint) {
  const TrainReport report = must_train(runs_->config("pretrain", "damaged"));
  const std::string state = report.checkpoint + "/training_state.json";
  for (const char* text : {"", "{", "[]", "{\"step\":1}",
                           "{\"step\":-1,\"epoch\":0,\"sequence\":0,\"config\":{},\"data\":\"\"}",
                           "{\"step\":1,\"epoch\":0,\"sequence\":0,\"config\":3,\"data\":\"\"}"}) {
    std::ofstream(state) << text;
    EXPECT_FALSE(train(runs_->config("pretrain", "damaged"), {}).ok()) << text;
  }
}

TEST_F(Train, NamesKeysThatContradictEachOther) {
  expect_refused(runs_->config("warmup", "x"), "init: absent");
  const std::string init = "init=" + runs_->file("random");
  expect_refused(runs_->config("sparse", "x", {init, "model.hidden=3"}), "model.hidden");
  expect_refused(runs_->config("sparse", "x", {init, "indexer.heads=3"}), "indexer.renew");
  expect_refused(runs_->config("sparse", "x", {init, "data.context=1000"}), "max_position, 128");
  for (const std::string key : {"optimizer.indexer_learning_rate=0.1",
                                "optimizer.expert_bias_rate=0.1", "precision.recompute=true"}) {
    expect_refused(runs_->config("warmup", "x", {init, key}), key.substr(0, key.find('=')));
  }
  expect_refused(runs_->config("sparse", "x", {"indexer.renew=true"}), "want init with it");
  expect_refused(runs_->config("pretrain", "x", {"model.groups=3"}), "n_group");
  expect_refused(runs_->config("pretrain", "x", {"model.kv_lora_rank=15"}), "kv_lora_rank");
  expect_refused(runs_->config("pretrain", "x", {"data.text=" + runs_->file("none")}), "none");
  expect_refused(runs_->config("pretrain", "x", {"data.tokenizer=" + runs_->file("none")}),
                 "none/tokenizer.json");
  expect_refused(runs_->config("pretrain", "x", {"data.text=[]"}), "want data.text");
}

TEST_F(Train, RefusesMoreTensorsThanAModelMayHave) {
  const auto report =
      train(runs_->config("pretrain", "x", {"model.layers=4096", "model.experts=65536"}), {});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(report.status().message(), HasSubstr("tensors, want at most"));
}

TEST_F(Train, NamesADamagedTokenFile) {
  runs_->dir().write("bad.tok", "DSATOKEN but not more");
  expect_refused(runs_->config("pretrain", "x", {"data.tokens=" + runs_->file("bad.tok")}),
                 "bad.tok");
}

TEST_F(Train, StopsWhereGradientsAreNotFinite) {
  expect_refused(runs_->config("pretrain", "nan",
                               {"optimizer.learning_rate=10", "optimizer.weight_decay=10",
                                "optimizer.steps=400"}),
                 "learning_rate");
}

TEST_F(Train, SaysHowToGoOnFromTheLastCheckpointBeforeSuchAGradient) {
  const TrainConfig config =
      runs_->config("pretrain", "nan_later",
                    {"optimizer.learning_rate=10", "optimizer.weight_decay=10",
                     "optimizer.steps=400", "evaluate.every=0", "checkpoint.every=1"});
  const auto report = train(config, {});
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.status().message(), HasSubstr("init = \"" + config.output + "/step-"));
  EXPECT_THAT(report.status().message(), HasSubstr("another output than " + config.output));
}

TEST_F(Train, EndsWhilePackingWithoutATokenFile) {
  const TrainConfig config = runs_->config("pretrain", "packing");
  TrainHooks hooks;
  int64_t n_files = 0;
  hooks.packing = [&](int64_t done, int64_t files) {
    n_files = files;
    return done < 3;
  };
  const auto report = train(config, hooks);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().code(), StatusCode::kCancelled);
  EXPECT_THAT(report.status().message(), HasSubstr("stopped"));
  EXPECT_EQ(n_files, 12);
  EXPECT_FALSE(std::filesystem::exists(config.output + "/tokens.bin"));
}

TEST_F(Train, SaysWhetherTheTextWasPacked) {
  const TrainConfig config = runs_->config("pretrain", "packed");
  std::vector<bool> packed;
  TrainHooks hooks;
  hooks.start = [&](const TrainStart& start) {
    packed.push_back(start.packed);
    EXPECT_EQ(start.tokens, config.output + "/tokens.bin");
  };
  must_train(config, hooks);
  must_train(config, hooks);
  EXPECT_EQ(packed, (std::vector<bool>{true, false}));
}

// The random model's tensors under another configuration: without indexers.
void write_mla(const std::string& from,
               const std::string& to,
               nlohmann::json config,
               bool low_rank) {
  std::filesystem::create_directories(to);
  std::filesystem::copy_file(from + "/tokenizer.json", to + "/tokenizer.json");
  for (const char* key :
       {"index_n_heads", "index_head_dim", "index_topk", "indexer_rope_interleave"})
    config.erase(key);
  std::ofstream(to + "/config.json") << config;
  const auto source = Checkpoint::open(from);
  ASSERT_TRUE(source.ok());
  std::vector<TensorSpec> specs;
  std::vector<std::span<const std::byte>> data;
  const bool bias = config["topk_method"] == "noaux_tc";
  for (const StoredTensor& tensor : source->shards()[0].tensors()) {
    if (tensor.name.find(".indexer.") != std::string::npos) continue;
    if (!bias && tensor.name.ends_with("e_score_correction_bias")) continue;
    if (!low_rank && tensor.name.find(".q_a_") != std::string::npos) continue;
    TensorSpec spec = {tensor.name, ElementType::kF32, tensor.shape};
    std::span<const std::byte> bytes = tensor.data;
    if (!low_rank && tensor.name.ends_with("q_b_proj.weight")) {
      spec.name.replace(spec.name.find("q_b_proj"), 8, "q_proj");
      spec.shape = {32, 32};
      bytes = source->shards()[0].find("model.embed_tokens.weight")->data.first(32 * 32 * 4);
    }
    specs.push_back(spec);
    data.push_back(bytes);
  }
  auto writer = SafetensorsWriter::create(to + "/model.safetensors", specs);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  for (size_t i = 0; i < specs.size(); ++i)
    ASSERT_TRUE(writer->append_bytes(specs[i].name, data[i]).ok());
  ASSERT_TRUE(writer->commit().ok());
}

TEST_F(Train, GivesAnMlaModelAnIndexer) {
  struct Case {
    const char* name;
    const char* type;
    const char* architecture;
    bool low_rank;
  };
  for (const Case& c : {Case{"v3", "deepseek_v3", "DeepseekV3ForCausalLM", true},
                        Case{"v2", "deepseek_v2", "DeepseekV2ForCausalLM", true},
                        Case{"v2-lite", "deepseek_v2", "DeepseekV2ForCausalLM", false}}) {
    auto config = nlohmann::json::parse(read_bytes(runs_->file("random/config.json")));
    config["model_type"] = c.type;
    config["architectures"] = {c.architecture};
    if (std::string(c.type) == "deepseek_v2") {
      config["scoring_func"] = "softmax";
      config["topk_method"] = "greedy";
      config["norm_topk_prob"] = false;
    }
    if (!c.low_rank) config["q_lora_rank"] = nullptr;
    const std::string mla = runs_->file(std::string("mla-") + c.name);
    write_mla(runs_->file("random"), mla, config, c.low_rank);
    EXPECT_FALSE(Model::open(mla).ok());
    std::vector<TrainStep> steps;
    TrainHooks hooks;
    hooks.step = [&](const TrainStep& step) {
      steps.push_back(step);
      return true;
    };
    const TrainReport report = must_train(
        runs_->config("warmup", std::string("indexer-") + c.name,
                      {"init=" + mla, "indexer.heads=2", "indexer.head_dim=16", "indexer.top_k=8",
                       "optimizer.learning_rate=0.01", "optimizer.steps=15", "data.tokenizer="}),
        hooks);
    ASSERT_EQ(steps.size(), 15U) << c.name;
    EXPECT_LT(steps.back().index_kl, steps.front().index_kl) << c.name;
    const auto model = Model::open(report.checkpoint);
    ASSERT_TRUE(model.ok()) << model.status().message();
    EXPECT_EQ((*model)->config().model_type, "deepseek_v32");
    EXPECT_EQ((*model)->config().indexer.top_k, 8);
    EXPECT_EQ((*model)->config().moe.softmax_scores, std::string(c.type) == "deepseek_v2");
  }
}

}  // namespace
}  // namespace dsa::trainer
