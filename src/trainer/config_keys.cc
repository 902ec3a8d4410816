#include "trainer/config_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace dsa::trainer {
namespace {

constexpr double kMany = 1e9;
constexpr double kWide = 1 << 20;

std::vector<ConfigKey> root_keys(TrainConfig* c) {
  return {
      {"stage", &c->stage, 1, 0, "what is trained", {"pretrain", "warmup", "sparse"}},
      {"output", &c->output, 1, 0, "folder of the run: checkpoints and log.jsonl", {}},
      {"init", &c->init, 0, 0, "checkpoint to start from; empty: random weights", {}},
      {"seed", &c->seed, 0, 9e15, "seed of weights, data order and held-out documents", {}},
      {"threads", &c->threads, 0, 4096, "threads; 0: what `dsa cpu` says", {}},
  };
}

std::vector<ConfigKey> model_keys(TrainConfig::Model* m) {
  return {
      {"model.hidden", &m->hidden, 1, kWide, "width of the residual stream", {}},
      {"model.layers", &m->layers, 1, 4096, "decoder layers", {}},
      {"model.heads", &m->heads, 1, 4096, "attention heads", {}},
      {"model.q_lora_rank", &m->q_lora_rank, 1, kWide, "width of the low-rank query", {}},
      {"model.kv_lora_rank", &m->kv_lora_rank, 2, kWide, "width of the latent, even", {}},
      {"model.qk_nope_head_dim", &m->qk_nope_head_dim, 1, 65536, "head width without RoPE", {}},
      {"model.qk_rope_head_dim", &m->qk_rope_head_dim, 2, 65536, "head width with RoPE, even", {}},
      {"model.v_head_dim", &m->v_head_dim, 1, 65536, "width of a head's value", {}},
      {"model.intermediate", &m->intermediate, 1, kWide, "width of a dense MLP", {}},
      {"model.dense_layers", &m->dense_layers, 0, 4096, "first layers, with a dense MLP", {}},
      {"model.experts", &m->experts, 1, 65536, "routed experts per layer", {}},
      {"model.shared_experts", &m->shared_experts, 0, 64, "experts that every token uses", {}},
      {"model.experts_per_token", &m->experts_per_token, 1, 65536, "routed experts per token", {}},
      {"model.expert_intermediate", &m->expert_intermediate, 1, kWide, "width of an expert", {}},
      {"model.groups", &m->groups, 1, 65536, "groups of experts", {}},
      {"model.top_groups", &m->top_groups, 1, 65536, "groups a token may choose from", {}},
      {"model.routed_scaling", &m->routed_scaling, 1e-6, 1e6, "factor on routed experts", {}},
      {"model.rope_theta", &m->rope_theta, 1.001, 1e15, "base of the RoPE frequencies", {}},
      {"model.max_position", &m->max_position, 0, 1 << 27, "largest context; 0: data.context", {}},
      {"model.tie_embeddings", &m->tie_embeddings, 0, 0, "one matrix for embedding and output", {}},
      {"model.init_std", &m->init_std, 1e-6, 10, "standard deviation of random weights", {}},
  };
}

std::vector<ConfigKey> data_keys(TrainConfig* c) {
  return {
      {"indexer.heads", &c->indexer.heads, 1, 4096, "heads of a newly created indexer", {}},
      {"indexer.head_dim", &c->indexer.head_dim, 2, 256, "width of its heads, a power of two", {}},
      {"indexer.top_k",
       &c->indexer.top_k,
       0,
       1 << 27,
       "tokens selected per query; 0: the checkpoint's, or an eighth of data.context",
       {}},
      {"indexer.renew", &c->indexer.renew, 0, 0, "replace the indexers of init by new ones", {}},
      {"data.text", &c->data.text, 0, 0, "text files and folders, tokenized into data.tokens", {}},
      {"data.tokens",
       &c->data.tokens,
       0,
       0,
       "token file; created from data.text if it is missing (default: in output)",
       {}},
      {"data.tokenizer", &c->data.tokenizer, 0, 0, "folder with tokenizer.json; empty: init's", {}},
      {"data.separator", &c->data.separator, 0, 0, "line that ends a document within a file", {}},
      {"data.held_out", &c->data.held_out, 0, 0.5, "share of held-out tokens", {}},
      {"data.context", &c->data.context, 2, 1 << 24, "tokens per sequence", {}},
      {"batch.sequences", &c->batch.sequences, 1, 1 << 20, "sequences per step", {}},
      {"batch.sequences_per_pass",
       &c->batch.sequences_per_pass,
       1,
       1 << 20,
       "sequences computed at once; gradients of several passes are added up",
       {}},
  };
}

std::vector<ConfigKey> optimizer_keys(TrainConfig::Optimizer* o) {
  return {
      {"optimizer.steps", &o->steps, 1, kMany, "steps of the stage", {}},
      {"optimizer.learning_rate",
       &o->learning_rate,
       0,
       10,
       "highest learning rate; 0: pretrain 1e-3, warmup 1e-3, sparse 1e-4",
       {}},
      {"optimizer.indexer_learning_rate",
       &o->indexer_learning_rate,
       0,
       10,
       "learning rate of the indexers in sparse; 0: learning_rate",
       {}},
      {"optimizer.final_ratio",
       &o->final_ratio,
       -1,
       1,
       "ratio of the last learning rate to the highest; -1: pretrain 0.1, warmup and sparse 1",
       {}},
      {"optimizer.warmup_steps",
       &o->warmup_steps,
       -1,
       kMany,
       "steps of linear learning-rate warm-up; -1: a twentieth of the steps",
       {}},
      {"optimizer.beta1", &o->beta1, 0, 0.999999, "AdamW: decay of the first moment", {}},
      {"optimizer.beta2", &o->beta2, 0, 0.999999, "AdamW: decay of the second moment", {}},
      {"optimizer.eps", &o->eps, 1e-20, 1, "AdamW: epsilon", {}},
      {"optimizer.weight_decay", &o->weight_decay, 0, 10, "decoupled; not on norms and biases", {}},
      {"optimizer.clip", &o->clip, 0, 1e9, "largest norm of the gradient; 0: no clipping", {}},
      {"optimizer.expert_bias_rate",
       &o->expert_bias_rate,
       0,
       1,
       "change of the router's biases per step towards equal load",
       {}},
  };
}

std::vector<ConfigKey> run_keys(TrainConfig* c) {
  return {
      {"precision.bf16", &c->precision.bf16, 0, 0, "compute with bf16 copies of the weights", {}},
      {"precision.recompute",
       &c->precision.recompute,
       0,
       0,
       "save memory: recompute activations in the backward pass",
       {}},
      {"checkpoint.every",
       &c->checkpoint.every,
       0,
       kMany,
       "steps between checkpoints; 0: only at the end",
       {}},
      {"checkpoint.keep", &c->checkpoint.keep, 1, kMany, "newest checkpoints to keep", {}},
      {"checkpoint.weights",
       &c->checkpoint.weights,
       0,
       0,
       "type of the model's matrices",
       {"bf16", "f32"}},
      {"evaluate.every", &c->evaluate.every, 0, kMany, "steps between evaluations; 0: never", {}},
      {"evaluate.sequences",
       &c->evaluate.sequences,
       1,
       1 << 20,
       "held-out sequences per evaluation",
       {}},
  };
}

// How many letters must change to make one of the other.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t change = diagonal + (a[i] == b[j] ? 0U : 1U);
      diagonal = std::exchange(row[j + 1], std::min({change, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

}  // namespace

std::string ConfigKey::want() const {
  if (!choices.empty()) return fmt::format("\"{}\"", fmt::join(choices, "\" or \""));
  struct Wording {
    const ConfigKey& key;
    std::string operator()(std::string*) const { return key.min > 0 ? "a text" : "a text or \"\""; }
    std::string operator()(std::vector<std::string>*) const { return "a text or a list of texts"; }
    std::string operator()(int64_t*) const {
      return fmt::format("an integer from {:.0f} to {:.0f}", key.min, key.max);
    }
    std::string operator()(double*) const {
      return fmt::format("a number from {} to {}", key.min, key.max);
    }
    std::string operator()(bool*) const { return "true or false"; }
  };
  return std::visit(Wording{*this}, target);
}

std::vector<ConfigKey> config_keys(TrainConfig* config) {
  std::vector<ConfigKey> keys;
  for (auto part : {root_keys(config), model_keys(&config->model), data_keys(config),
                    optimizer_keys(&config->optimizer), run_keys(config)}) {
    keys.insert(keys.end(), part.begin(), part.end());
  }
  return keys;
}

std::string nearest_name(const std::vector<ConfigKey>& keys, const std::string& name) {
  const std::string cut = name.substr(0, 200);
  std::string best;
  size_t least = SIZE_MAX;
  for (const ConfigKey& key : keys) {
    // A key in the wrong table is as near as a misspelt one.
    const size_t d =
        std::min(distance(cut, key.name), distance(last_part(cut), last_part(key.name)) + 1);
    if (d < least) {
      least = d;
      best = key.name;
    }
  }
  return best;
}

}  // namespace dsa::trainer

namespace dsa {

std::vector<TrainKey> train_config_keys() {
  TrainConfig config;
  std::vector<TrainKey> keys;
  for (const trainer::ConfigKey& key : trainer::config_keys(&config))
    keys.push_back({key.name, key.want(), key.meaning});
  return keys;
}

}  // namespace dsa
