// Training from a configuration file: what `dsa train` runs.
//
//   auto config = dsa::read_train_config("configs/pretrain.toml", {"optimizer.steps=100"});
//   dsa::TrainHooks hooks;
//   auto report = dsa::train(*config, hooks);
//
// docs/training.md explains stages and keys; docs/formats.md what a run's folder holds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

// The values of a configuration file. Members of a struct are keys of the table that its comment
// names; the others are keys of the root. train_config_keys() lists ranges and meanings.
struct TrainConfig {
  std::string stage;   // "pretrain", "warmup" or "sparse"
  std::string output;  // folder of the run
  std::string init;    // checkpoint to start from; empty: random weights
  int64_t seed = 1;
  int64_t threads = 0;

  struct Model {  // [model]; only for a run without init
    int64_t hidden = 256;
    int64_t layers = 6;
    int64_t heads = 8;
    int64_t q_lora_rank = 128;
    int64_t kv_lora_rank = 128;
    int64_t qk_nope_head_dim = 32;
    int64_t qk_rope_head_dim = 32;
    int64_t v_head_dim = 32;
    int64_t intermediate = 768;
    int64_t dense_layers = 1;
    int64_t experts = 8;
    int64_t shared_experts = 1;
    int64_t experts_per_token = 2;
    int64_t expert_intermediate = 128;
    int64_t groups = 1;
    int64_t top_groups = 1;
    double routed_scaling = 1;
    double rope_theta = 10000;
    int64_t max_position = 0;  // 0: data.context
    bool tie_embeddings = false;
    double init_std = 0.02;
  } model;

  struct Indexer {  // [indexer]; of newly created indexers
    int64_t heads = 8;
    int64_t head_dim = 128;
    int64_t top_k = 0;  // 0: the checkpoint's, or an eighth of data.context
    bool renew = false;
  } indexer;

  struct Data {  // [data]
    std::vector<std::string> text;
    std::string tokens;
    std::string tokenizer;
    std::string separator;
    double held_out = 0.05;
    int64_t context = 1024;
  } data;

  struct Batch {  // [batch]
    int64_t sequences = 8;
    int64_t sequences_per_pass = 1;
  } batch;

  struct Optimizer {  // [optimizer]; 0: what the stage's recipe says
    int64_t steps = 1000;
    double learning_rate = 0;
    double indexer_learning_rate = 0;
    double final_ratio = -1;  // last learning rate / highest; -1: the recipe's
    int64_t warmup_steps = -1;
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;
    double weight_decay = 0.1;
    double clip = 1;
    double expert_bias_rate = 0.001;
  } optimizer;

  struct Precision {  // [precision]
    bool bf16 = false;
    bool recompute = false;
  } precision;

  struct Checkpoints {  // [checkpoint]
    int64_t every = 100;
    int64_t keep = 2;
    std::string weights = "bf16";
  } checkpoint;

  struct Evaluate {  // [evaluate]
    int64_t every = 100;
    int64_t sequences = 8;
  } evaluate;

  std::vector<std::string> given;  // names of the keys that were set
};

// Reads the file, then each override "table.key=value" (a value in TOML, or a plain word for text).
//   Errors  kNotFound, kIoError; kCorruption: not TOML, with the line; a key of another type or out
//           of its range, with what was wanted; an unknown key, with the nearest known one
Result<TrainConfig> read_train_config(const std::string& path,
                                      const std::vector<std::string>& overrides);

// The same from text; `name` starts the messages.
Result<TrainConfig> parse_train_config(const std::string& text,
                                       const std::string& name,
                                       const std::vector<std::string>& overrides);

struct TrainKey {
  std::string name;  // "optimizer.steps"
  std::string want;  // "an integer from 1 to 1000000000"
  std::string meaning;
};
std::vector<TrainKey> train_config_keys();

// What is known when a run begins.
struct TrainStart {
  std::string stage;
  int64_t n_parameters = 0;
  int64_t n_trained = 0;  // of them
  int64_t memory_bytes = 0;
  bool packed = false;   // data.text was tokenized; false: the token file existed
  std::string tokens;    // the token file
  int64_t n_tokens = 0;  // of the training documents
  int64_t n_held_out_tokens = 0;
  int64_t first_step = 0;  // steps done before; > 0: resumed
  int64_t n_steps = 0;
  int n_threads = 0;
};

struct TrainStep {
  int64_t step = 0;          // from 1
  int64_t tokens = 0;        // of this step
  double loss = 0;           // cross-entropy per token, natural logarithm; NaN in warmup
  double index_kl = 0;       // per query and indexer; NaN in pretrain
  double gradient_norm = 0;  // before clipping
  double learning_rate = 0;
  double seconds = 0;
  double flops = 0;  // multiply-adds times two, nothing counted twice
};

struct TrainEvaluation {
  int64_t step = 0;
  double loss = 0;    // held-out; dense attention in pretrain, else over the selected rows
  double recall = 0;  // share of dense attention's k best rows that are selected; NaN in pretrain
  double mass = 0;    // share of dense attention's weights on the selected rows; likewise
};

// Each may be null. When a hook returns false, the run saves a checkpoint and returns.
struct TrainHooks {
  // Before the start, while text is tokenized; stopping there leaves nothing behind.
  std::function<bool(int64_t files_done, int64_t files)> packing;
  std::function<void(const TrainStart&)> start;
  std::function<bool(const TrainStep&)> step;
  std::function<void(const TrainEvaluation&)> evaluation;
  std::function<void(const std::string& path)> saved;
};

struct TrainReport {
  std::string checkpoint;  // the last one
  int64_t steps = 0;       // done in all, earlier runs included
  bool finished = false;   // false: a hook ended it
};

// Starts or resumes a run: if `output` holds checkpoints of the same configuration, the run resumes
// from the newest one and gives the same bits as an uninterrupted run (with the same number of
// threads). Values of checkpoint, evaluate and threads may differ, optimizer.steps may
// not.
//   Errors  kInvalidArgument: keys that contradict each other, the data or the model; gradients
//           that are not finite; kNotFound, kIoError, kCorruption, kUnsupported: files;
//           kResourceExhausted: memory; packing returned false. What was saved stays.
Result<TrainReport> train(const TrainConfig& config, const TrainHooks& hooks);

}  // namespace dsa

#pragma GCC visibility pop
