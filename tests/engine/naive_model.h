// The model in float64, written from the formulas of docs/architecture.md in the plainest way: one
// token at a time, every head expanded, every score kept. Oracle of the engine's forward pass.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "dsa/model_config.h"

#include "tests/engine/synthetic.h"

namespace dsa {

using Vector = std::vector<double>;

class NaiveModel {
 public:
  NaiveModel(const ModelConfig& config, const Tensors& tensors)
      : c_(config), tensors_(tensors), layers_(static_cast<size_t>(config.n_layers)) {}

  // Appends a token; returns the logits of its successor. selected[layer] of the last token are in
  // selection().
  Vector step(int32_t token) {
    const auto hidden = static_cast<size_t>(c_.hidden_size);
    const Matrix& embedding = get("model.embed_tokens.weight");
    const auto row = embedding.values.begin() + static_cast<std::ptrdiff_t>(hidden) * token;
    Vector x(row, row + static_cast<std::ptrdiff_t>(hidden));
    for (size_t i = 0; i < layers_.size(); ++i) {
      const std::string prefix = "model.layers." + std::to_string(i) + ".";
      add(&x, attention(i, prefix + "self_attn.", rms(x, prefix + "input_layernorm.weight")));
      const Vector normed = rms(x, prefix + "post_attention_layernorm.weight");
      add(&x, feed_forward(i, prefix + "mlp.", normed));
    }
    ++position_;
    hidden_ = x;
    return times("lm_head.weight", rms(x, "model.norm.weight"));
  }

  // The residual stream of the last token, before the final norm.
  const Vector& hidden() const { return hidden_; }

  const std::vector<std::vector<int32_t>>& selection() const { return selection_; }

  // Of the last token, by layer: the indexer's scores of all earlier tokens (empty where it does
  // not run), and the mean over heads of the attention to the selected ones.
  const std::vector<Vector>& index_scores() const { return index_scores_; }
  const std::vector<Vector>& mean_attention() const { return mean_attention_; }

  // The next step attends to these positions instead, by layer; empty: to what the indexer selects.
  void force_selection(std::vector<std::vector<int32_t>> selection) {
    forced_ = std::move(selection);
  }

 private:
  struct LayerCache {
    std::vector<Vector> latents;
    std::vector<Vector> ropes;
    std::vector<Vector> index_keys;
  };

  const Matrix& get(const std::string& name) const { return tensors_.at(name); }

  static void add(Vector* x, const Vector& y) {
    for (size_t i = 0; i < y.size(); ++i)
      (*x)[i] += y[i];
  }

  static double dot(const Vector& a, const Vector& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  }

  static Vector slice(const Vector& x, int64_t begin, int64_t n) {
    return Vector(x.begin() + begin, x.begin() + begin + n);
  }

  Vector times(const std::string& name, const Vector& x) const {
    const Matrix& w = get(name);
    Vector y(w.rows);
    for (size_t r = 0; r < w.rows; ++r) {
      for (size_t k = 0; k < w.cols; ++k)
        y[r] += w.values[r * w.cols + k] * x[k];
    }
    return y;
  }

  Vector rms(const Vector& x, const std::string& name) const {
    const double mean = dot(x, x) / static_cast<double>(x.size());
    Vector y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] = x[i] / std::sqrt(mean + c_.rms_norm_eps) * get(name).values[i];
    }
    return y;
  }

  Vector layer_norm(const Vector& x, const std::string& name) const {
    const auto n = static_cast<double>(x.size());
    const double mean = std::accumulate(x.begin(), x.end(), 0.0) / n;
    double variance = 0;
    for (const double value : x)
      variance += (value - mean) * (value - mean) / n;
    Vector y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] = (x[i] - mean) / std::sqrt(variance + c_.indexer.norm_eps) *
                 get(name + ".weight").values[i] +
             get(name + ".bias").values[i];
    }
    return y;
  }

  double angle(size_t pair) const {
    const auto d = static_cast<double>(c_.qk_rope_head_dim);
    double frequency = std::pow(c_.rope.theta, -2.0 * static_cast<double>(pair) / d);
    if (c_.rope.scaling == RopeScaling::kLinear) frequency /= c_.rope.factor;
    if (c_.yarn_active()) {
      const auto turns = [&](double rotations) {
        return d *
               std::log(static_cast<double>(c_.rope.original_max_position) /
                        (rotations * 2 * std::numbers::pi)) /
               (2 * std::log(c_.rope.theta));
      };
      const double low = std::max(std::floor(turns(c_.rope.beta_fast)), 0.0);
      const double high = std::min(std::ceil(turns(c_.rope.beta_slow)), d - 1);
      const double span = high == low ? 0.001 : high - low;
      const double ramp = std::clamp((static_cast<double>(pair) - low) / span, 0.0, 1.0);
      frequency = frequency / c_.rope.factor * ramp + frequency * (1 - ramp);
    }
    return static_cast<double>(position_) * frequency;
  }

  // Rotates the d_rope elements from `begin` on.
  void rotate(Vector* x, int64_t begin, RopeLayout layout) const {
    const auto half = static_cast<size_t>(c_.qk_rope_head_dim / 2);
    for (size_t i = 0; i < half; ++i) {
      const bool interleaved = layout == RopeLayout::kInterleaved;
      double& a = (*x)[static_cast<size_t>(begin) + (interleaved ? 2 * i : i)];
      double& b = (*x)[static_cast<size_t>(begin) + (interleaved ? 2 * i + 1 : i + half)];
      const double cos = std::cos(angle(i)) * c_.rope.attention_factor;
      const double sin = std::sin(angle(i)) * c_.rope.attention_factor;
      const double rotated = a * cos - b * sin;
      b = a * sin + b * cos;
      a = rotated;
    }
  }

  // The indexer's Hadamard transform is left out: it does not change a dot product.
  std::vector<int32_t> select(LayerCache* cache,
                              const std::string& prefix,
                              const Vector& x,
                              const Vector& q_latent) {
    const IndexerConfig& indexer = c_.indexer;
    Vector key = layer_norm(times(prefix + "wk.weight", x), prefix + "k_norm");
    rotate(&key, 0, indexer.rope_layout);
    cache->index_keys.push_back(key);
    const Vector q = times(prefix + "wq_b.weight", q_latent);
    const Vector gates = times(prefix + "weights_proj.weight", x);
    Vector scores(cache->index_keys.size());
    for (int64_t h = 0; h < indexer.n_heads; ++h) {
      Vector head = slice(q, h * indexer.head_dim, indexer.head_dim);
      rotate(&head, 0, indexer.rope_layout);
      for (size_t t = 0; t < scores.size(); ++t) {
        scores[t] += gates[static_cast<size_t>(h)] * std::max(dot(head, cache->index_keys[t]), 0.0);
      }
    }
    last_scores_ = scores;
    const double factor = 1 / std::sqrt(static_cast<double>(indexer.n_heads * indexer.head_dim));
    for (double& score : last_scores_)
      score *= factor;
    std::vector<int32_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&scores](int32_t a, int32_t b) {
      const double sa = scores[static_cast<size_t>(a)];
      const double sb = scores[static_cast<size_t>(b)];
      return sa != sb ? sa > sb : a > b;
    });
    order.resize(std::min(order.size(), static_cast<size_t>(indexer.top_k)));
    std::sort(order.begin(), order.end());
    return order;
  }

  Vector attention(size_t index, const std::string& prefix, const Vector& x) {
    LayerCache& cache = layers_[index];
    const Vector q_latent =
        rms(times(prefix + "q_a_proj.weight", x), prefix + "q_a_layernorm.weight");
    const Vector kv = times(prefix + "kv_a_proj_with_mqa.weight", x);
    Vector rope = slice(kv, c_.kv_lora_rank, c_.qk_rope_head_dim);
    rotate(&rope, 0, c_.rope_layout);
    cache.latents.push_back(rms(slice(kv, 0, c_.kv_lora_rank), prefix + "kv_a_layernorm.weight"));
    cache.ropes.push_back(rope);
    last_scores_.clear();
    if (c_.indexer.layers[index] == IndexerKind::kFull) {
      shared_selection_ = select(&cache, prefix + "indexer.", x, q_latent);
    }
    if (!forced_.empty()) shared_selection_ = forced_[index];
    if (position_ == 0) {
      selection_.resize(layers_.size());
      index_scores_.resize(layers_.size());
      mean_attention_.resize(layers_.size());
    }
    selection_[index] = shared_selection_;
    index_scores_[index] = last_scores_;
    mean_attention_[index].assign(shared_selection_.size(), 0.0);
    const Vector q = times(prefix + "q_b_proj.weight", q_latent);
    Vector heads;
    for (int64_t h = 0; h < c_.n_heads; ++h) {
      const Vector out = attend_head(cache, prefix, q, h, &mean_attention_[index]);
      heads.insert(heads.end(), out.begin(), out.end());
    }
    return times(prefix + "o_proj.weight", heads);
  }

  Vector attend_head(const LayerCache& cache,
                     const std::string& prefix,
                     const Vector& q,
                     int64_t head,
                     Vector* mean) const {
    const int64_t d_q = c_.qk_nope_head_dim + c_.qk_rope_head_dim;
    Vector query = slice(q, head * d_q, d_q);
    rotate(&query, c_.qk_nope_head_dim, c_.rope_layout);
    Vector logits;
    std::vector<Vector> values;
    for (const int32_t t : shared_selection_) {
      const auto token = static_cast<size_t>(t);
      const Vector expanded =
          times_rows(prefix + "kv_b_proj.weight", head * (c_.qk_nope_head_dim + c_.v_head_dim),
                     c_.qk_nope_head_dim + c_.v_head_dim, cache.latents[token]);
      Vector key = slice(expanded, 0, c_.qk_nope_head_dim);
      key.insert(key.end(), cache.ropes[token].begin(), cache.ropes[token].end());
      values.push_back(slice(expanded, c_.qk_nope_head_dim, c_.v_head_dim));
      logits.push_back(dot(query, key) * c_.softmax_scale());
    }
    const double max = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (double& logit : logits)
      sum += logit = std::exp(logit - max);
    Vector out(static_cast<size_t>(c_.v_head_dim));
    for (size_t j = 0; j < values.size(); ++j) {
      (*mean)[j] += logits[j] / sum / static_cast<double>(c_.n_heads);
      for (size_t d = 0; d < out.size(); ++d)
        out[d] += logits[j] / sum * values[j][d];
    }
    return out;
  }

  Vector times_rows(const std::string& name, int64_t begin, int64_t n, const Vector& x) const {
    const Matrix& w = get(name);
    Vector y(static_cast<size_t>(n));
    for (size_t r = 0; r < y.size(); ++r) {
      const size_t row = (static_cast<size_t>(begin) + r) * w.cols;
      for (size_t k = 0; k < w.cols; ++k)
        y[r] += w.values[row + k] * x[k];
    }
    return y;
  }

  Vector mlp(const std::string& prefix, const Vector& x) const {
    Vector gate = times(prefix + "gate_proj.weight", x);
    const Vector up = times(prefix + "up_proj.weight", x);
    for (size_t i = 0; i < gate.size(); ++i)
      gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    return times(prefix + "down_proj.weight", gate);
  }

  Vector feed_forward(size_t index, const std::string& prefix, const Vector& x) const {
    if (!c_.is_moe_layer(static_cast<int64_t>(index))) return mlp(prefix, x);
    const MoeConfig& moe = c_.moe;
    Vector probability = times(prefix + "gate.weight", x);
    double total = 0;
    for (double& p : probability) {
      p = moe.softmax_scores ? std::exp(p) : 1 / (1 + std::exp(-p));
      total += p;
    }
    for (double& p : probability)
      p /= moe.softmax_scores ? total : 1.0;
    Vector choice = probability;
    if (moe.choice_bias) add(&choice, get(prefix + "gate.e_score_correction_bias").values);
    const auto per_group = static_cast<size_t>(moe.n_experts / moe.n_groups);
    std::vector<std::pair<double, size_t>> groups;
    for (size_t g = 0; g < static_cast<size_t>(moe.n_groups); ++g) {
      Vector members =
          slice(choice, static_cast<int64_t>(g * per_group), static_cast<int64_t>(per_group));
      std::sort(members.rbegin(), members.rend());
      const bool two = moe.choice_bias && members.size() > 1;
      groups.emplace_back(members[0] + (two ? members[1] : 0.0), g);
    }
    std::sort(groups.rbegin(), groups.rend());
    for (size_t i = static_cast<size_t>(moe.top_k_groups); i < groups.size(); ++i) {
      for (size_t e = 0; e < per_group; ++e) {
        choice[groups[i].second * per_group + e] = -std::numeric_limits<double>::infinity();
      }
    }
    std::vector<size_t> order(choice.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(),
              [&choice](size_t a, size_t b) { return choice[a] > choice[b]; });
    order.resize(static_cast<size_t>(moe.n_experts_per_token));
    double sum = 0;
    for (const size_t e : order)
      sum += probability[e];
    Vector out(x.size());
    for (const size_t e : order) {
      const Vector y = mlp(prefix + "experts." + std::to_string(e) + ".", x);
      const double weight =
          probability[e] / (moe.normalise_weights ? sum : 1.0) * moe.routed_scaling;
      for (size_t i = 0; i < out.size(); ++i)
        out[i] += weight * y[i];
    }
    if (moe.n_shared_experts > 0) add(&out, mlp(prefix + "shared_experts.", x));
    return out;
  }

  const ModelConfig& c_;
  const Tensors& tensors_;
  std::vector<LayerCache> layers_;
  std::vector<int32_t> shared_selection_;
  Vector last_scores_;
  Vector hidden_;
  std::vector<std::vector<int32_t>> selection_;
  std::vector<std::vector<int32_t>> forced_;
  std::vector<Vector> index_scores_;
  std::vector<Vector> mean_attention_;
  int64_t position_ = 0;
};

}  // namespace dsa
