// Writes random checkpoints of any shape and storage type, and keeps their exact values.
#pragma once

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "dsa/model_config.h"

#include "formats/dtype.h"
#include "formats/float_bits.h"

namespace dsa {

struct Matrix {
  size_t rows = 0;
  size_t cols = 0;
  std::vector<double> values;
};

using Tensors = std::map<std::string, Matrix>;

class SyntheticCheckpoint {
 public:
  // matrix_type: of the linear layers; the rest is F32 or, where the format says so, BF16.
  SyntheticCheckpoint(const nlohmann::json& config, DType matrix_type, uint32_t seed)
      : config_(config), matrix_type_(matrix_type), random_(seed) {}

  // Tensors whose names contain the text have another type.
  void set_type(const std::string& text, DType type) { types_[text] = type; }

  // Creates `dir` with config.json and model.safetensors.
  void write(const std::string& dir) {
    const ModelConfig config = parse_model_config(config_.dump(), "config.json").value();
    add_all(config);
    std::filesystem::create_directories(dir);
    std::ofstream(dir + "/config.json") << config_.dump();
    std::ofstream file(dir + "/model.safetensors", std::ios::binary);
    std::string header = header_.dump();
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t size = header.size();
    char length[8];
    std::memcpy(length, &size, 8);
    file.write(length, 8);
    file.write(header.data(), static_cast<std::streamsize>(header.size()));
    file.write(data_.data(), static_cast<std::streamsize>(data_.size()));
  }

  const Tensors& tensors() const { return tensors_; }

 private:
  void add_all(const ModelConfig& c) {
    const auto n = [](int64_t value) { return static_cast<size_t>(value); };
    add("model.embed_tokens.weight", n(c.vocab_size), n(c.hidden_size), DType::kBF16, 1.0);
    add("lm_head.weight", n(c.vocab_size), n(c.hidden_size), DType::kBF16);
    add_norm("model.norm.weight", n(c.hidden_size));
    for (int64_t i = 0; i < c.n_layers; ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      const std::string attention = layer + "self_attn.";
      add_norm(layer + "input_layernorm.weight", n(c.hidden_size));
      add_norm(layer + "post_attention_layernorm.weight", n(c.hidden_size));
      add(attention + "q_a_proj.weight", n(c.q_lora_rank), n(c.hidden_size), matrix_type_);
      add_norm(attention + "q_a_layernorm.weight", n(c.q_lora_rank));
      add(attention + "q_b_proj.weight", n(c.n_heads * (c.qk_nope_head_dim + c.qk_rope_head_dim)),
          n(c.q_lora_rank), matrix_type_);
      add(attention + "kv_a_proj_with_mqa.weight", n(c.kv_lora_rank + c.qk_rope_head_dim),
          n(c.hidden_size), matrix_type_);
      add_norm(attention + "kv_a_layernorm.weight", n(c.kv_lora_rank));
      add(attention + "kv_b_proj.weight", n(c.n_heads * (c.qk_nope_head_dim + c.v_head_dim)),
          n(c.kv_lora_rank), matrix_type_);
      add(attention + "o_proj.weight", n(c.hidden_size), n(c.n_heads * c.v_head_dim), matrix_type_);
      if (c.indexer.layers[n(i)] == IndexerKind::kFull) {
        const std::string indexer = attention + "indexer.";
        add(indexer + "wq_b.weight", n(c.indexer.n_heads * c.indexer.head_dim), n(c.q_lora_rank),
            matrix_type_);
        add(indexer + "wk.weight", n(c.indexer.head_dim), n(c.hidden_size), matrix_type_);
        add(indexer + "weights_proj.weight", n(c.indexer.n_heads), n(c.hidden_size), DType::kBF16);
        add_norm(indexer + "k_norm.weight", n(c.indexer.head_dim));
        add(indexer + "k_norm.bias", n(c.indexer.head_dim), 0, DType::kF32, 0.1);
      }
      add_feed_forward(c, layer + "mlp.", c.is_moe_layer(i));
    }
  }

  void add_feed_forward(const ModelConfig& c, const std::string& prefix, bool moe) {
    const auto hidden = static_cast<size_t>(c.hidden_size);
    const auto add_mlp = [this, hidden](const std::string& name, int64_t inner) {
      const auto n = static_cast<size_t>(inner);
      add(name + "gate_proj.weight", n, hidden, matrix_type_);
      add(name + "up_proj.weight", n, hidden, matrix_type_);
      add(name + "down_proj.weight", hidden, n, matrix_type_);
    };
    if (!moe) return add_mlp(prefix, c.intermediate_size);
    const auto experts = static_cast<size_t>(c.moe.n_experts);
    add(prefix + "gate.weight", experts, hidden, DType::kBF16);
    add(prefix + "gate.e_score_correction_bias", experts, 0, DType::kF32, 0.1);
    for (size_t e = 0; e < experts; ++e) {
      add_mlp(prefix + "experts." + std::to_string(e) + ".", c.moe.intermediate_size);
    }
    if (c.moe.n_shared_experts > 0) {
      add_mlp(prefix + "shared_experts.", c.moe.n_shared_experts * c.moe.intermediate_size);
    }
  }

  void add_norm(const std::string& name, size_t n) { add(name, n, 0, DType::kF32, 0.1, 1.0); }

  // cols == 0: a vector. sigma == 0: 1 / sqrt(cols).
  void add(const std::string& name,
           size_t rows,
           size_t cols,
           DType type,
           double sigma = 0,
           double mean = 0) {
    for (const auto& [text, other] : types_) {
      if (name.find(text) != std::string::npos) type = other;
    }
    Matrix matrix = {rows, cols, {}};
    const size_t width = cols == 0 ? 1 : cols;
    if (sigma == 0) sigma = 1.0 / std::sqrt(static_cast<double>(width));
    std::normal_distribution<float> normal(static_cast<float>(mean), static_cast<float>(sigma));
    const size_t blocks_wide = (width + 127) / 128;
    std::vector<float> scales((rows + 127) / 128 * blocks_wide);
    std::uniform_real_distribution<float> uniform(0.002F, 0.004F);
    for (float& scale : scales)
      scale = uniform(random_);
    const size_t begin = data_.size();
    for (size_t i = 0; i < rows * width; ++i) {
      const float scale = scales[i / width / 128 * blocks_wide + i % width / 128];
      matrix.values.push_back(append(normal(random_), type, scale));
    }
    nlohmann::json shape = {rows};
    if (cols != 0) shape.push_back(cols);
    header_[name] = {
        {"dtype", dtype_name(type)}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
    align();
    if (type == DType::kE4M3) add_scales(name + "_scale_inv", scales, blocks_wide);
    tensors_[name] = std::move(matrix);
  }

  void add_scales(const std::string& name, const std::vector<float>& scales, size_t cols) {
    const size_t begin = data_.size();
    for (const float scale : scales)
      append(scale, DType::kF32, 1);
    header_[name] = {{"dtype", "F32"},
                     {"shape", {scales.size() / cols, cols}},
                     {"data_offsets", {begin, data_.size()}}};
  }

  // Appends the value in its storage type; returns what a reader gets.
  double append(float value, DType type, float scale) {
    const auto put = [this](auto bits) {
      char bytes[sizeof bits];
      std::memcpy(bytes, &bits, sizeof bits);
      data_.append(bytes, sizeof bits);
    };
    switch (type) {
      case DType::kF16: {
        // Any 16 bits are a half: take those of a value of the wanted size.
        const auto bits = static_cast<uint16_t>(half_bits(value));
        put(bits);
        return f16_to_f32(bits);
      }
      case DType::kBF16: {
        const uint16_t bits = f32_to_bf16(value);
        put(bits);
        return bf16_to_f32(bits);
      }
      case DType::kE4M3: {
        const uint8_t code = f32_to_e4m3(value / scale);
        put(code);
        return static_cast<double>(e4m3_to_f32(code)) * static_cast<double>(scale);
      }
      default:
        put(value);
        return value;
    }
  }

  // Truncating conversion of a value of moderate size.
  static uint32_t half_bits(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t exponent = (bits >> 23) & 0xFFU;
    if (exponent < 113 || exponent > 141) return (bits >> 16) & 0x8000U;
    return ((bits >> 16) & 0x8000U) | ((exponent - 112) << 10) | ((bits >> 13) & 0x3FFU);
  }

  // The format wants no holes, so padding is a tensor of its own.
  void align() {
    const size_t begin = data_.size();
    const size_t end = (begin + 7) / 8 * 8;
    if (end == begin) return;
    data_.resize(end, '\0');
    header_["padding." + std::to_string(begin)] = {
        {"dtype", "U8"}, {"shape", {end - begin}}, {"data_offsets", {begin, end}}};
  }

  nlohmann::json config_;
  DType matrix_type_;
  std::map<std::string, DType> types_;
  std::mt19937 random_;
  nlohmann::json header_ = nlohmann::json::object();
  std::string data_;
  Tensors tensors_;
};

}  // namespace dsa
