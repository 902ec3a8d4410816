#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>

#include "dsa/model_config.h"

#include "common/status_macros.h"
#include "formats/limits.h"
#include "model/config_bounds.h"
#include "model/config_fields.h"
#include "model/config_rope.h"
#include "model/ignored_fields.h"
#include "model/read_config.h"

namespace dsa {

using nlohmann::json;

namespace {

// What sets one model family apart from another.
struct Family {
  const char* model_type;
  const char* architecture;
  bool indexer_rope_interleave;  // when the file does not say
  bool has_indexer;
  bool softmax_scores;  // when the file does not say
};

constexpr Family kFamilies[] = {{"deepseek_v32", "DeepseekV32ForCausalLM", false, true, false},
                                {"glm_moe_dsa", "GlmMoeDsaForCausalLM", true, true, false},
                                {"deepseek_v3", "DeepseekV3ForCausalLM", false, false, false},
                                {"deepseek_v2", "DeepseekV2ForCausalLM", false, false, true}};

RopeLayout layout(bool interleave) {
  return interleave ? RopeLayout::kInterleaved : RopeLayout::kHalfSplit;
}

void read_sizes(ConfigFields& fields, ModelConfig& config) {
  config.vocab_size = fields.integer("vocab_size", 1, kMaxWidth);
  config.hidden_size = fields.integer("hidden_size", 1, kMaxWidth);
  config.intermediate_size = fields.integer("intermediate_size", 1, kMaxWidth);
  config.n_layers = fields.integer("num_hidden_layers", 1, kMaxLayers);
  config.n_nextn_layers = fields.integer_or("num_nextn_predict_layers", 0, 0, kMaxLayers);
  config.max_position = fields.integer("max_position_embeddings", 1, kMaxPosition);
  config.rms_norm_eps = fields.number("rms_norm_eps", kTiny, 1);
  config.tie_word_embeddings = fields.boolean_or("tie_word_embeddings", false);
  fields.expect("hidden_act", "silu");
  fields.expect("mlp_bias", false);
  // Fields of the library that writes these files: other values would be another model.
  fields.expect("is_encoder_decoder", false);
  fields.expect("add_cross_attention", false);
  fields.expect("cross_attention_hidden_size", nullptr);
  fields.expect("pruned_heads", json::object());
}

// DeepSeek Sparse Attention in every layer, under its old name or its new one.
void check_attention_types(ConfigFields& fields, int64_t n_layers) {
  if (!fields.has("layer_types")) return;
  const std::vector<std::string> types = fields.texts_or_empty("layer_types");
  const auto is_sparse = [](const std::string& type) {
    return type == "indexed_attention" || type == "deepseek_sparse_attention";
  };
  if (static_cast<int64_t>(types.size()) == n_layers &&
      std::all_of(types.begin(), types.end(), is_sparse)) {
    return;
  }
  fields.refuse_as_unsupported("layer_types", fmt::format("{} times \"indexed_attention\" or "
                                                          "\"deepseek_sparse_attention\"",
                                                          n_layers));
}

void read_attention(ConfigFields& fields, const Family& family, ModelConfig& config) {
  config.n_heads = fields.integer("num_attention_heads", 1, kMaxHeads);
  config.q_lora_rank = family.has_indexer ? fields.integer("q_lora_rank", 1, kMaxWidth)
                                          : fields.integer_or("q_lora_rank", 0, 1, kMaxWidth);
  config.kv_lora_rank = fields.integer("kv_lora_rank", 1, kMaxWidth);
  config.qk_nope_head_dim = fields.integer("qk_nope_head_dim", 1, kMaxHeadDim);
  config.qk_rope_head_dim = fields.integer("qk_rope_head_dim", 2, kMaxHeadDim);
  config.v_head_dim = fields.integer("v_head_dim", 1, kMaxHeadDim);
  config.rope_layout = layout(fields.boolean_or("rope_interleave", true));
  // Elements of a cached row are read in pairs.
  if (config.kv_lora_rank % 2 != 0) fields.refuse_value("kv_lora_rank", "an even number");
  if (config.qk_rope_head_dim % 2 != 0) fields.refuse_value("qk_rope_head_dim", "an even number");
  if (fields.sound({"qk_nope_head_dim", "qk_rope_head_dim"})) {
    fields.expect("qk_head_dim", config.qk_nope_head_dim + config.qk_rope_head_dim);
  }
  fields.expect("attention_bias", false);
  fields.expect("use_bidirectional_attention", false);
  fields.expect("use_qk_norm", false);
  if (fields.sound({"num_hidden_layers"})) check_attention_types(fields, config.n_layers);
}

std::vector<IndexerKind> kinds_of_types(ConfigFields& fields, size_t n_layers) {
  const std::vector<std::string> types = fields.texts_or_empty("indexer_types");
  std::vector<IndexerKind> kinds;
  for (const std::string& type : types) {
    if (type == "full") kinds.push_back(IndexerKind::kFull);
    if (type == "shared") kinds.push_back(IndexerKind::kShared);
  }
  if (types.size() != n_layers || kinds.size() != n_layers) {
    fields.refuse_value("indexer_types", fmt::format("{} times \"full\" or \"shared\"", n_layers));
  }
  return kinds;
}

std::vector<IndexerKind> kinds_of_pattern(ConfigFields& fields, size_t n_layers) {
  const std::string pattern = fields.text_or("index_topk_pattern", "");
  if (pattern.size() != n_layers || pattern.find_first_not_of("FS") != std::string::npos) {
    fields.refuse_value("index_topk_pattern", fmt::format("{} letters F or S", n_layers));
  }
  std::vector<IndexerKind> kinds;
  for (const char letter : pattern) {
    kinds.push_back(letter == 'F' ? IndexerKind::kFull : IndexerKind::kShared);
  }
  return kinds;
}

// Layer i is full when max(i - offset + 1, 0) is a multiple of the frequency.
std::vector<IndexerKind> kinds_of_frequency(ConfigFields& fields, int64_t n_layers) {
  const int64_t freq = fields.integer_or("index_topk_freq", 1, 1, kMaxLayers);
  const int64_t offset = fields.integer_or("index_skip_topk_offset", 2, 0, kMaxLayers);
  std::vector<IndexerKind> kinds;
  for (int64_t i = 0; i < n_layers; ++i) {
    const bool full = std::max<int64_t>(i - offset + 1, 0) % freq == 0;
    kinds.push_back(full ? IndexerKind::kFull : IndexerKind::kShared);
  }
  return kinds;
}

// The schedule of full and shared indexers: a list overrides a pattern, which overrides a
// frequency. A file without any of them means full everywhere.
std::vector<IndexerKind> read_indexer_kinds(ConfigFields& fields, int64_t n_layers) {
  const auto n = static_cast<size_t>(n_layers);
  std::vector<IndexerKind> kinds = kinds_of_frequency(fields, n_layers);
  const char* source = "index_skip_topk_offset";
  if (fields.has("index_topk_pattern")) {
    source = "index_topk_pattern";
    kinds = kinds_of_pattern(fields, n);
  }
  if (fields.has("indexer_types")) {
    source = "indexer_types";
    kinds = kinds_of_types(fields, n);
  }
  if (!kinds.empty() && kinds[0] != IndexerKind::kFull) {
    fields.refuse_value(source, "a first layer that is full");
  }
  return kinds;
}

void read_indexer(ConfigFields& fields, const Family& family, ModelConfig& config) {
  IndexerConfig& indexer = config.indexer;
  indexer.n_heads = fields.integer("index_n_heads", 1, kMaxHeads);
  indexer.head_dim = fields.integer("index_head_dim", 2, int64_t{kMaxIndexDim});
  indexer.top_k = fields.integer("index_topk", 1, kMaxPosition);
  indexer.rope_layout =
      layout(fields.boolean_or("indexer_rope_interleave", family.indexer_rope_interleave));
  indexer.layers = read_indexer_kinds(fields, config.n_layers);
  // The Hadamard rotation needs a power of two; RoPE turns the head's first elements.
  if (!std::has_single_bit(static_cast<uint64_t>(indexer.head_dim)) ||
      indexer.head_dim < config.qk_rope_head_dim) {
    fields.refuse_value("index_head_dim", "a power of two, at least qk_rope_head_dim");
  }
}

void check_experts(ConfigFields& fields, const MoeConfig& moe) {
  if (!fields.sound({"n_routed_experts", "n_group", "topk_group"})) return;
  if (moe.n_experts % moe.n_groups != 0) {
    fields.refuse_value("n_group", fmt::format("a divisor of {} experts", moe.n_experts));
    return;
  }
  const int64_t group_size = moe.n_experts / moe.n_groups;
  if (moe.n_groups > 1 && group_size < 2) {  // a group's score is the sum of its best two
    fields.refuse_value("n_group", "at least two experts per group");
  }
  if (moe.top_k_groups > moe.n_groups) fields.refuse_value("topk_group", "at most n_group");
  if (moe.n_experts_per_token > moe.top_k_groups * group_size) {
    fields.refuse_value("num_experts_per_tok",
                        fmt::format("at most the {} experts of {} groups",
                                    moe.top_k_groups * group_size, moe.top_k_groups));
  }
}

// Sigmoid scores come with a bias for the choice, softmax scores without.
void read_scoring(ConfigFields& fields, const Family& family, MoeConfig& moe) {
  const std::string scores =
      fields.text_or("scoring_func", family.softmax_scores ? "softmax" : "sigmoid");
  moe.softmax_scores = scores == "softmax";
  moe.choice_bias = !moe.softmax_scores;
  if (!moe.softmax_scores) {
    if (scores != "sigmoid") {
      fields.refuse_as_unsupported("scoring_func", "\"sigmoid\" or \"softmax\"");
    }
    fields.expect("topk_method", "noaux_tc");
    return;
  }
  const std::string method = fields.text_or("topk_method", "greedy");
  if (method == "greedy") {
    moe.n_groups = moe.top_k_groups = 1;
  } else if (method != "group_limited_greedy") {
    fields.refuse_as_unsupported("topk_method",
                                 "\"greedy\" or \"group_limited_greedy\" with softmax scores");
  }
  // DeepSeek-V2's code leaves the factor out where weights are normalised.
  if (family.softmax_scores && moe.normalise_weights && moe.routed_scaling != 1) {
    fields.refuse_as_unsupported("routed_scaling_factor", "1 with norm_topk_prob");
  }
}

// n_routed_experts, which other names may repeat or stand for.
int64_t read_n_experts(ConfigFields& fields) {
  int64_t n = 0;
  for (const char* name : {"n_routed_experts", "num_experts", "num_local_experts"}) {
    const int64_t here = fields.integer_or(name, n, 1, kMaxExperts);
    if (n != 0 && here != n) fields.refuse_value(name, fmt::format("{}, as another field says", n));
    if (n == 0) n = here;
  }
  return n != 0 ? n : fields.integer("n_routed_experts", 1, kMaxExperts);
}

void read_experts(ConfigFields& fields, const Family& family, MoeConfig& moe) {
  moe.n_experts = read_n_experts(fields);
  moe.n_shared_experts = fields.integer_or("n_shared_experts", 0, 0, 64);
  moe.n_experts_per_token = fields.integer("num_experts_per_tok", 1, kMaxExperts);
  moe.intermediate_size = fields.integer("moe_intermediate_size", 1, kMaxWidth);
  const bool grouped = fields.text_or("topk_method", "noaux_tc") != "greedy";
  moe.n_groups = grouped ? fields.integer("n_group", 1, kMaxExperts)
                         : fields.integer_or("n_group", 1, 1, kMaxExperts);
  moe.top_k_groups = grouped ? fields.integer("topk_group", 1, kMaxExperts)
                             : fields.integer_or("topk_group", 1, 1, kMaxExperts);
  moe.routed_scaling = fields.number("routed_scaling_factor", kTiny, 1e6);
  moe.normalise_weights = fields.boolean_or("norm_topk_prob", true);
  moe.layer_freq = fields.integer_or("moe_layer_freq", 1, 1, kMaxLayers);
  fields.expect("moe_router_dtype", "float32");
  read_scoring(fields, family, moe);
  check_experts(fields, moe);
}

// mlp_layer_types says it of each layer; without it two numbers do. Files have both, the numbers
// then being defaults of the program that wrote them.
void read_dense_layers(ConfigFields& fields, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  if (!fields.has("mlp_layer_types")) {
    moe.first_dense_layers = fields.integer("first_k_dense_replace", 0, kMaxLayers);
    return;
  }
  moe.first_dense_layers = fields.integer_or("first_k_dense_replace", 0, 0, kMaxLayers);
  const std::vector<std::string> types = fields.texts_or_empty("mlp_layer_types");
  if (!fields.sound({"num_hidden_layers", "mlp_layer_types"})) return;
  std::vector<bool> mixtures;
  bool as_numbers_say = true;
  for (const std::string& type : types) {
    if (type != "sparse" && type != "dense") break;
    const auto layer = static_cast<int64_t>(mixtures.size());
    mixtures.push_back(type == "sparse");
    as_numbers_say = as_numbers_say && mixtures.back() == config.is_moe_layer(layer);
  }
  if (mixtures.size() != types.size() || static_cast<int64_t>(types.size()) != config.n_layers) {
    fields.refuse_as_unsupported("mlp_layer_types",
                                 fmt::format("{} times \"dense\" or \"sparse\"", config.n_layers));
  } else if (!as_numbers_say) {
    moe.layers = std::move(mixtures);
    moe.first_dense_layers =
        std::find(moe.layers.begin(), moe.layers.end(), true) - moe.layers.begin();
  }
}

void read_tokens(ConfigFields& fields, ModelConfig& config) {
  const int64_t last = (fields.sound({"vocab_size"}) ? config.vocab_size : kMaxWidth) - 1;
  config.bos_token_id = static_cast<int32_t>(fields.integer_or("bos_token_id", -1, 0, last));
  for (const int64_t id : fields.integers_or_empty("eos_token_id", 0, last)) {
    config.eos_token_ids.push_back(static_cast<int32_t>(id));
  }
}

// What is computed with is a weight's value, its code times its scale: the same whether a program
// dequantizes when it loads (`dequantize`) or when it multiplies. Which tensors are stored in e4m3
// shows in the file; so do their scales, which need not be powers of two.
void read_quantization(ConfigFields& fields, const std::string& name, ModelConfig& config) {
  const json* const object = fields.object_or_null("quantization_config");
  if (object == nullptr) return;
  ConfigFields quantization(*object, name + ": quantization_config.");
  if (!quantization.has("quant_method")) quantization.refuse_value("quant_method", "\"fp8\"");
  quantization.expect("quant_method", "fp8");
  quantization.expect("fmt", "e4m3");
  quantization.expect("expert_dtype", "fp8");
  quantization.expect("activation_scheme", "dynamic");
  const std::string scales = quantization.text_or("scale_fmt", "float");
  if (scales != "ue8m0" && scales != "float") {
    quantization.refuse_as_unsupported("scale_fmt", "\"ue8m0\" or \"float\"");
  }
  quantization.boolean_or("dequantize", false);
  quantization.texts_or_empty("modules_to_convert");
  if (!quantization.has("weight_block_size")) {
    quantization.refuse_as_unsupported("weight_block_size", "[128,128]");
  }
  quantization.expect("weight_block_size", json::array({128, 128}));
  fields.keep(quantization.finish(kIgnoredQuantizationFields));
  config.fp8_weights = true;
}

// nullptr (and a failure) for a model this library does not run.
const Family* read_family(ConfigFields& fields, bool needs_indexer, ModelConfig& config) {
  config.model_type = fields.text_or("model_type", "");
  for (const Family& family : kFamilies) {
    if (config.model_type != family.model_type) continue;
    if (needs_indexer && !family.has_indexer) {
      fields.refuse_as_unsupported("model_type",
                                   "a model with an indexer; `dsa train` gives this one an "
                                   "indexer in its stage \"warmup\"");
      return nullptr;
    }
    fields.expect("architectures", json::array({family.architecture}));
    return &family;
  }
  fields.refuse_as_unsupported("model_type", "\"deepseek_v32\" or \"glm_moe_dsa\"");
  return nullptr;
}

}  // namespace

bool ModelConfig::is_moe_layer(int64_t layer) const {
  if (!moe.layers.empty()) return moe.layers[static_cast<size_t>(layer)];
  return layer >= moe.first_dense_layers && layer % moe.layer_freq == 0;
}

bool ModelConfig::yarn_active() const {
  return rope.scaling == RopeScaling::kYarn && rope.factor > 1;
}

double ModelConfig::softmax_scale() const {
  const double scale = 1 / std::sqrt(static_cast<double>(qk_nope_head_dim + qk_rope_head_dim));
  if (!yarn_active()) return scale;
  const double mscale = 0.1 * rope.mscale_all_dim * std::log(rope.factor) + 1;
  return scale * mscale * mscale;
}

ReadConfig read_config(const std::string& text,
                       const std::string& name,
                       bool needs_indexer,
                       const ConfigOptions& options) {
  ReadConfig read;
  const Result<json> root = parse_json_object(text, name);
  if (!root.ok()) {
    read.problems.push_back(root.status());
    return read;
  }
  ModelConfig& config = read.config;
  ConfigFields fields(*root, name + ": ");
  const Family* const family = read_family(fields, needs_indexer, config);
  if (family == nullptr) {  // its other fields mean nothing here
    read.problems = fields.finish({}).problems;
    return read;
  }
  read_sizes(fields, config);
  read_attention(fields, *family, config);
  read_rope(fields, name, config);
  if (family->has_indexer) read_indexer(fields, *family, config);
  read_experts(fields, *family, config.moe);
  read_dense_layers(fields, config);
  read_tokens(fields, config);
  read_quantization(fields, name, config);
  FieldFindings findings = fields.finish(kIgnoredFields);
  read.problems = std::move(findings.problems);
  if (options.ignore_unknown_fields) {
    config.ignored_fields = std::move(findings.unknown);
    return read;
  }
  for (const std::string& field : findings.unknown) {
    if (read.problems.size() >= kMaxFieldProblems) break;
    read.problems.push_back(unsupported("{}: unknown field", field));
  }
  return read;
}

Result<ModelConfig> config_or_problem(ReadConfig read) {
  if (read.problems.empty()) return std::move(read.config);
  const Status& first = read.problems.front();
  const size_t n_others = read.problems.size() - 1;
  if (n_others == 0) return first;
  return error(first.code(), "{} (and {} more: `dsa inspect` lists them)", first.message(),
               n_others);
}

Result<ModelConfig> parse_model_config(const std::string& text,
                                       const std::string& name,
                                       const ConfigOptions& options) {
  return config_or_problem(read_config(text, name, true, options));
}

std::vector<Status> model_config_problems(const std::string& text,
                                          const std::string& name,
                                          const ConfigOptions& options) {
  return read_config(text, name, true, options).problems;
}

Result<ModelConfig> parse_mla_config(const std::string& text, const std::string& name) {
  return config_or_problem(read_config(text, name, false, {}));
}

}  // namespace dsa
