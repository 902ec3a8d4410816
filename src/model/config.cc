#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>

#include "dsa/model_config.h"

#include "common/status_macros.h"
#include "formats/limits.h"
#include "model/config_fields.h"

namespace dsa {

using nlohmann::json;

namespace {

// Bounds that keep every product of sizes below 2^62 and refuse nonsense by name.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = int64_t{1} << 16;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxExperts = int64_t{1} << 16;
constexpr int64_t kMaxPosition = int64_t{1} << 27;
constexpr double kTiny = 1e-30;
constexpr double kMinTheta = 1.001;  // YaRN divides by its logarithm
constexpr double kMaxTheta = 1e15;

// Fields with no influence on the forward pass, and why.
constexpr std::string_view kIgnored[] = {
    // Which code made or loads the file.
    "_name_or_path", "auto_map", "transformers_version", "use_cache",
    // The type of the weights: every tensor of the file tells its own.
    "dtype", "torch_dtype",
    // Training only.
    "attention_dropout", "aux_loss_alpha", "initializer_range", "output_router_logits",
    "router_aux_loss_coef", "seq_aux",
    // How other programs spread a model over devices.
    "ep_size", "pretraining_tp",
    // Multi-head latent attention: all heads share one latent; the width of its rope part is
    // qk_rope_head_dim.
    "head_dim", "num_key_value_heads",
    // Batches are not padded.
    "pad_token_id",
    // Multi-token prediction is not run.
    "index_share_for_mtp_iteration"};

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
  fields.expect("qk_head_dim", config.qk_nope_head_dim + config.qk_rope_head_dim);
  fields.expect("attention_bias", false);
  fields.expect("layer_types", std::vector<std::string>(static_cast<size_t>(config.n_layers),
                                                        "deepseek_sparse_attention"));
}

// rope_scaling (or rope_parameters, which newer files have instead): null, or one of the types
// "default" and "yarn".
Status read_rope_object(const json& object, const std::string& where, RopeConfig& rope) {
  ConfigFields fields(object, where);
  rope.theta = fields.number_or("rope_theta", rope.theta, kMinTheta, kMaxTheta);
  fields.expect("partial_rotary_factor", 1);
  const std::string type = fields.text_or("rope_type", fields.text_or("type", "default"));
  if (type == "yarn") {
    rope.factor = fields.number("factor", 1, 1e6);
    rope.beta_fast = fields.number_or("beta_fast", rope.beta_fast, kTiny, 1e6);
    rope.beta_slow = fields.number_or("beta_slow", rope.beta_slow, kTiny, 1e6);
    rope.mscale = fields.number("mscale", 0, 1e3);
    rope.mscale_all_dim = fields.number("mscale_all_dim", 0, 1e3);
    rope.original_max_position =
        fields.integer("original_max_position_embeddings", 1, kMaxPosition);
    if (rope.beta_fast < rope.beta_slow) fields.refuse_value("beta_fast", "at least beta_slow");
    // Only then do sine and cosine carry no factor of their own.
    if (rope.mscale != rope.mscale_all_dim) {
      fields.refuse_as_unsupported("mscale", "the value of mscale_all_dim");
    }
    fields.expect("truncate", true);
  } else if (type != "default") {
    fields.refuse_as_unsupported(fields.has("rope_type") ? "rope_type" : "type",
                                 "\"default\" or \"yarn\"");
  }
  return fields.finish({});
}

void read_rope(ConfigFields& fields, const std::string& name, RopeConfig& rope) {
  rope.theta = fields.number_or("rope_theta", 0, kMinTheta, kMaxTheta);
  const double outer_theta = rope.theta;
  if (fields.has("rope_scaling") && fields.has("rope_parameters")) {
    fields.refuse_as_unsupported("rope_scaling", "null together with rope_parameters");
  }
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (const json* const object = fields.object_or_null(key)) {
      fields.keep(read_rope_object(*object, fmt::format("{}: {}.", name, key), rope));
    }
  }
  if (rope.theta == 0) fields.refuse_value("rope_theta", "a number, here or in rope_parameters");
  if (outer_theta != 0 && outer_theta != rope.theta) {
    fields.refuse_value("rope_theta", fmt::format("{}, as the other place says", rope.theta));
  }
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

void read_experts(ConfigFields& fields, const Family& family, MoeConfig& moe) {
  moe.n_experts = fields.integer("n_routed_experts", 1, kMaxExperts);
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
  moe.first_dense_layers = fields.integer("first_k_dense_replace", 0, kMaxLayers);
  moe.layer_freq = fields.integer_or("moe_layer_freq", 1, 1, kMaxLayers);
  fields.expect("moe_router_dtype", "float32");
  read_scoring(fields, family, moe);
  check_experts(fields, moe);
}

// A second description of the layers in newer files; it has to agree with the first.
void check_layer_types(ConfigFields& fields, const ModelConfig& config) {
  std::vector<std::string> wanted;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    wanted.emplace_back(config.is_moe_layer(layer) ? "sparse" : "dense");
  }
  fields.expect("mlp_layer_types", wanted);
}

void read_tokens(ConfigFields& fields, ModelConfig& config) {
  const int64_t last = config.vocab_size - 1;
  config.bos_token_id = static_cast<int32_t>(fields.integer_or("bos_token_id", -1, 0, last));
  for (const int64_t id : fields.integers_or_empty("eos_token_id", 0, last)) {
    config.eos_token_ids.push_back(static_cast<int32_t>(id));
  }
}

void read_quantization(ConfigFields& fields, const std::string& name, ModelConfig& config) {
  // Which tensors are stored in e4m3 shows in the file, so the list of exceptions is not needed.
  static constexpr std::string_view kIgnoredHere[] = {"modules_to_not_convert", "ignored_layers"};
  const json* const object = fields.object_or_null("quantization_config");
  if (object == nullptr) return;
  ConfigFields quantization(*object, name + ": quantization_config.");
  if (!quantization.has("quant_method")) quantization.refuse_value("quant_method", "\"fp8\"");
  quantization.expect("quant_method", "fp8");
  quantization.expect("fmt", "e4m3");
  quantization.expect("activation_scheme", "dynamic");
  quantization.expect("scale_fmt", "ue8m0");
  if (!quantization.has("weight_block_size")) {
    quantization.refuse_as_unsupported("weight_block_size", "[128,128]");
  }
  quantization.expect("weight_block_size", json::array({128, 128}));
  fields.keep(quantization.finish(kIgnoredHere));
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
  return layer >= moe.first_dense_layers && layer % moe.layer_freq == 0;
}

bool ModelConfig::yarn_active() const {
  return rope.factor > 1 && max_position > rope.original_max_position;
}

double ModelConfig::softmax_scale() const {
  const double scale = 1 / std::sqrt(static_cast<double>(qk_nope_head_dim + qk_rope_head_dim));
  if (!yarn_active()) return scale;
  const double mscale = 0.1 * rope.mscale_all_dim * std::log(rope.factor) + 1;
  return scale * mscale * mscale;
}

namespace {

Result<ModelConfig> parse_config(const std::string& text,
                                 const std::string& name,
                                 bool needs_indexer) {
  DSA_ASSIGN_OR_RETURN(const json root, parse_json_object(text, name));
  ModelConfig config;
  ConfigFields fields(root, name + ": ");
  const Family* const family = read_family(fields, needs_indexer, config);
  if (family == nullptr) return fields.finish({});
  read_sizes(fields, config);
  read_attention(fields, *family, config);
  read_rope(fields, name, config.rope);
  if (family->has_indexer) read_indexer(fields, *family, config);
  read_experts(fields, *family, config.moe);
  check_layer_types(fields, config);
  read_tokens(fields, config);
  read_quantization(fields, name, config);
  DSA_RETURN_IF_ERROR(fields.finish(kIgnored));
  return config;
}

}  // namespace

Result<ModelConfig> parse_model_config(const std::string& text, const std::string& name) {
  return parse_config(text, name, true);
}

Result<ModelConfig> parse_mla_config(const std::string& text, const std::string& name) {
  return parse_config(text, name, false);
}

}  // namespace dsa
