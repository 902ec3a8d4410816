#include "backprop/feed_forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backprop/norms.h"
#include "ops/moe.h"

namespace dsa::backprop {

namespace {

size_t n_chosen(const LayerWork& work) {
  return static_cast<size_t>(work.config.moe.n_experts_per_token);
}
size_t n_experts(const LayerWork& work) {
  return static_cast<size_t>(work.config.moe.n_experts);
}
size_t expert_width(const LayerWork& work) {
  return static_cast<size_t>(work.config.moe.intermediate_size);
}
size_t inner_width(const MlpParameters& mlp) {
  return static_cast<size_t>(mlp.gate->shape[0]);
}

Rows post_normed(const LayerWork& work, const LayerState& layer) {
  return {layer.post_normed, work.dims.hidden};
}

// Rows of the entries that chose each expert: fn(expert, first entry, entries).
template <class Fn>
void for_experts(const LayerWork& work, const LayerState& layer, const Fn& fn) {
  for (size_t e = 0; e < n_experts(work); ++e) {
    const auto first = static_cast<size_t>(layer.starts[e]);
    const auto last = static_cast<size_t>(layer.starts[e + 1]);
    if (last > first) fn(e, first, last - first);
  }
}

void route_tokens(const LayerWork& work,
                  const LayerParameters& parameters,
                  const LayerState& layer) {
  const MoeConfig& moe = work.config.moe;
  const size_t experts = n_experts(work);
  RouterConfig config;
  config.n_experts = experts;
  config.n_chosen = n_chosen(work);
  config.n_groups = static_cast<size_t>(moe.n_groups);
  config.n_chosen_groups = static_cast<size_t>(moe.top_k_groups);
  config.normalise = moe.normalise_weights;
  config.scaling = static_cast<float>(moe.routed_scaling);
  config.softmax = moe.softmax_scores;
  config.bias = parameters.router_bias == nullptr ? nullptr : vector_of(parameters.router_bias);
  run_products(work.context, {forward_product(post_normed(work, layer), work.n_tokens(),
                                              parameters.router, {layer.router, experts})});
  for_rows(work.context, work.n_tokens(), [&](size_t t) {
    float* scores = layer.router + t * experts;
    route(config, scores, layer.experts + t * config.n_chosen,
          layer.expert_weights + t * config.n_chosen);
    if (moe.softmax_scores) {
      work.context.vector().softmax(scores, experts);
    } else {
      std::transform(scores, scores + experts, scores,
                     [](float x) { return 1.0F / (1.0F + std::exp(-x)); });
    }
  });
}

// The (token, slot) pairs by expert; within an expert by token.
void sort_by_expert(const LayerWork& work, const LayerState& layer) {
  const size_t n_entries = work.n_tokens() * n_chosen(work);
  std::fill_n(layer.starts, n_experts(work) + 1, 0);
  for (size_t i = 0; i < n_entries; ++i)
    ++layer.starts[layer.experts[i] + 1];
  for (size_t e = 0; e < n_experts(work); ++e)
    layer.starts[e + 1] += layer.starts[e];
  std::vector<int32_t> next(layer.starts, layer.starts + n_experts(work));
  for (size_t i = 0; i < n_entries; ++i)
    layer.order[next[static_cast<size_t>(layer.experts[i])]++] = static_cast<int32_t>(i);
}

// to[entry] = from[token of the entry]
void gather_tokens(const LayerWork& work, const LayerState& layer, const float* from, float* to) {
  const size_t width = work.dims.hidden;
  for_rows(work.context, work.n_tokens() * n_chosen(work), [&](size_t i) {
    const size_t token = static_cast<size_t>(layer.order[i]) / n_chosen(work);
    std::memcpy(to + i * width, from + token * width, width * sizeof(float));
  });
}

// The entry of each (token, slot) pair: the inverse of order.
std::vector<int32_t> entries_of(const LayerWork& work, const LayerState& layer) {
  std::vector<int32_t> entries(work.n_tokens() * n_chosen(work));
  for (size_t i = 0; i < entries.size(); ++i)
    entries[static_cast<size_t>(layer.order[i])] = static_cast<int32_t>(i);
  return entries;
}

// to[token] += weight * from[entry] over the token's experts in ascending order; weights null: 1.
void scatter_tokens(const LayerWork& work,
                    const LayerState& layer,
                    const float* from,
                    const float* weights,
                    float* to) {
  const size_t width = work.dims.hidden;
  const size_t slots = n_chosen(work);
  const std::vector<int32_t> entries = entries_of(work, layer);
  for_rows(work.context, work.n_tokens(), [&](size_t t) {
    for (size_t slot = 0; slot < slots; ++slot) {
      const auto entry = static_cast<size_t>(entries[t * slots + slot]);
      work.context.vector().add_scaled(from + entry * width,
                                       weights == nullptr ? 1.0F : weights[t * slots + slot], width,
                                       to + t * width);
    }
  });
}

void silu_rows(
    const LayerWork& work, const float* gate, const float* up, size_t n, size_t width, float* out) {
  for_rows(work.context, n, [&](size_t i) {
    work.context.vector().silu_mul(gate + i * width, up + i * width, width, out + i * width);
  });
}

void experts_inner(const LayerWork& work,
                   const LayerParameters& parameters,
                   const LayerState& layer) {
  const Rows inputs = {work.shared.expert_input, work.dims.hidden};
  const Rows gate = {layer.expert_gate, expert_width(work)};
  const Rows up = {layer.expert_up, expert_width(work)};
  gather_tokens(work, layer, layer.post_normed, inputs.data);
  std::vector<Product> products;
  for_experts(work, layer, [&](size_t e, size_t first, size_t n) {
    const MlpParameters& expert = parameters.experts[e];
    products.push_back(forward_product(inputs.from(first), n, expert.gate, gate.from(first)));
    products.push_back(forward_product(inputs.from(first), n, expert.up, up.from(first)));
  });
  run_products(work.context, std::move(products));
}

void add_experts(const LayerWork& work,
                 const LayerParameters& parameters,
                 const LayerState& layer) {
  const Rows inner = {work.shared.expert_inner, expert_width(work)};
  const Rows outputs = {work.shared.expert_output, work.dims.hidden};
  silu_rows(work, layer.expert_gate, layer.expert_up, work.n_tokens() * n_chosen(work), inner.ld,
            inner.data);
  std::vector<Product> products;
  for_experts(work, layer, [&](size_t e, size_t first, size_t n) {
    products.push_back(
        forward_product(inner.from(first), n, parameters.experts[e].down, outputs.from(first)));
  });
  run_products(work.context, std::move(products));
  scatter_tokens(work, layer, outputs.data, layer.expert_weights, work.shared.hidden);
}

void mlp_backward(const LayerWork& work, const MlpParameters& mlp, const LayerState& layer) {
  const size_t n = work.n_tokens();
  const size_t width = inner_width(mlp);
  const Rows d_out = {work.shared.d_hidden, work.dims.hidden};
  const Rows d_inner = {work.shared.d_inner, width};
  const Rows inner = {work.shared.inner, width};
  const Rows gate = {layer.gate, width};
  const Rows up = {layer.up, width};
  const Rows d_normed = {work.shared.d_normed, work.dims.hidden};
  silu_rows(work, gate.data, up.data, n, width, inner.data);
  run_products(work.context, {input_gradient(d_out, n, mlp.down, d_inner),
                              weight_gradient(d_out, inner, n, mlp.down)});
  for_rows(work.context, n, [&](size_t t) {
    work.context.train().silu_mul_backward(d_inner.row(t), width, gate.row(t), up.row(t));
  });
  run_products(work.context, {weight_gradient(gate, post_normed(work, layer), n, mlp.gate),
                              weight_gradient(up, post_normed(work, layer), n, mlp.up),
                              accumulated(input_gradient(gate, n, mlp.gate, d_normed))});
  run_products(work.context, {accumulated(input_gradient(up, n, mlp.up, d_normed))});
}

// Gradients of the experts, and of the weights of the pairs into d_expert_weights.
void experts_backward(const LayerWork& work,
                      const LayerParameters& parameters,
                      const LayerState& layer) {
  const SharedState& shared = work.shared;
  const size_t n_entries = work.n_tokens() * n_chosen(work);
  const size_t width = expert_width(work);
  const Rows d_out = {shared.expert_output, work.dims.hidden};
  const Rows inner = {shared.expert_inner, width};
  const Rows d_inner = {shared.d_expert_inner, width};
  const Rows gate = {layer.expert_gate, width};
  const Rows up = {layer.expert_up, width};
  const Rows inputs = {shared.expert_input, work.dims.hidden};
  gather_tokens(work, layer, shared.d_hidden, d_out.data);
  gather_tokens(work, layer, layer.post_normed, inputs.data);
  silu_rows(work, gate.data, up.data, n_entries, width, inner.data);
  std::vector<Product> products;
  for_experts(work, layer, [&](size_t e, size_t first, size_t n) {
    products.push_back(
        input_gradient(d_out.from(first), n, parameters.experts[e].down, d_inner.from(first)));
  });
  run_products(work.context, std::move(products));
  for_rows(work.context, n_entries, [&](size_t i) {
    const auto pair = static_cast<size_t>(layer.order[i]);
    const float weight = layer.expert_weights[pair];
    shared.d_expert_weights[pair] = work.context.train().dot(d_inner.row(i), inner.row(i), width);
    const auto scale = [weight](float& x) { x *= weight; };
    std::for_each(d_inner.row(i), d_inner.row(i) + width, scale);
    std::for_each(d_out.row(i), d_out.row(i) + work.dims.hidden, scale);
  });
  products.clear();
  for_experts(work, layer, [&](size_t e, size_t first, size_t n) {
    products.push_back(
        weight_gradient(d_out.from(first), inner.from(first), n, parameters.experts[e].down));
  });
  run_products(work.context, std::move(products));
  for_rows(work.context, n_entries, [&](size_t i) {
    work.context.train().silu_mul_backward(d_inner.row(i), width, gate.row(i), up.row(i));
  });
  products.clear();
  std::vector<Product> second;  // adds to what the first wrote
  for_experts(work, layer, [&](size_t e, size_t first, size_t n) {
    const MlpParameters& expert = parameters.experts[e];
    const Rows x = inputs.from(first);
    products.push_back(weight_gradient(gate.from(first), x, n, expert.gate));
    products.push_back(weight_gradient(up.from(first), x, n, expert.up));
    products.push_back(input_gradient(gate.from(first), n, expert.gate, d_out.from(first)));
    second.push_back(accumulated(input_gradient(up.from(first), n, expert.up, d_out.from(first))));
  });
  run_products(work.context, std::move(products));
  run_products(work.context, std::move(second));
  scatter_tokens(work, layer, d_out.data, nullptr, shared.d_normed);
}

//   weight_i = s p_i / P, P = sum of the chosen p  ->  dp_i = (s / P) (dw_i - sum_j dw_j p_j / P)
// and from p to the logits by the sigmoid's slope or the softmax's.
void router_backward(const LayerWork& work,
                     const LayerParameters& parameters,
                     const LayerState& layer) {
  const SharedState& shared = work.shared;
  const size_t experts = n_experts(work);
  const size_t slots = n_chosen(work);
  const auto scaling = static_cast<float>(work.config.moe.routed_scaling);
  for_rows(work.context, work.n_tokens(), [&](size_t t) {
    const float* p = layer.router + t * experts;
    const int32_t* chosen = layer.experts + t * slots;
    const float* d_weight = shared.d_expert_weights + t * slots;
    float* d_logit = shared.d_router + t * experts;
    std::fill_n(d_logit, experts, 0.0F);
    float sum = 1e-20F;
    float mean = 0;
    for (size_t i = 0; i < slots; ++i) {
      sum += p[chosen[i]];
      mean += d_weight[i] * p[chosen[i]];
    }
    const bool normalise = work.config.moe.normalise_weights;
    const float factor = normalise ? scaling / sum : scaling;
    mean = normalise ? mean / sum : 0.0F;
    float along = 0;  // softmax: sum over the experts of p dp
    for (size_t i = 0; i < slots; ++i) {
      const float score = p[chosen[i]];
      const float slope = factor * (d_weight[i] - mean) * score;
      along += slope;
      d_logit[chosen[i]] = work.config.moe.softmax_scores ? slope : slope * (1.0F - score);
    }
    for (size_t e = 0; work.config.moe.softmax_scores && e < experts; ++e)
      d_logit[e] -= along * p[e];
  });
  const Rows d_router = {shared.d_router, experts};
  run_products(
      work.context,
      {weight_gradient(d_router, post_normed(work, layer), work.n_tokens(), parameters.router),
       accumulated(input_gradient(d_router, work.n_tokens(), parameters.router,
                                  {shared.d_normed, work.dims.hidden}))});
}

}  // namespace

void feed_forward_inner(const LayerWork& work,
                        const LayerParameters& parameters,
                        const LayerState& layer,
                        int64_t* counts) {
  const size_t n = work.n_tokens();
  const Rows x = post_normed(work, layer);
  rms_norm_rows(work, {layer.middle, work.dims.hidden}, parameters.post_attention_norm,
                work.dims.hidden, x);
  if (parameters.mlp.gate != nullptr) {
    const size_t width = inner_width(parameters.mlp);
    run_products(work.context, {forward_product(x, n, parameters.mlp.gate, {layer.gate, width}),
                                forward_product(x, n, parameters.mlp.up, {layer.up, width})});
  }
  if (parameters.router == nullptr) return;
  route_tokens(work, parameters, layer);
  sort_by_expert(work, layer);
  if (counts != nullptr) {
    for (size_t e = 0; e < n_experts(work); ++e)
      counts[e] += layer.starts[e + 1] - layer.starts[e];
  }
  experts_inner(work, parameters, layer);
}

void feed_forward(const LayerWork& work,
                  const LayerParameters& parameters,
                  const LayerState& layer,
                  int64_t* counts) {
  feed_forward_inner(work, parameters, layer, counts);
  const size_t n = work.n_tokens();
  std::memcpy(work.shared.hidden, layer.middle, n * work.dims.hidden * sizeof(float));
  if (parameters.mlp.gate != nullptr) {
    const size_t width = inner_width(parameters.mlp);
    silu_rows(work, layer.gate, layer.up, n, width, work.shared.inner);
    run_products(work.context,
                 {accumulated(forward_product({work.shared.inner, width}, n, parameters.mlp.down,
                                              {work.shared.hidden, work.dims.hidden}))});
  }
  if (parameters.router != nullptr) add_experts(work, parameters, layer);
}

void feed_forward_backward(const LayerWork& work,
                           const LayerParameters& parameters,
                           const LayerState& layer) {
  const Rows d_normed = {work.shared.d_normed, work.dims.hidden};
  std::memset(d_normed.data, 0, work.n_tokens() * work.dims.hidden * sizeof(float));
  if (parameters.mlp.gate != nullptr) mlp_backward(work, parameters.mlp, layer);
  if (parameters.router != nullptr) {
    experts_backward(work, parameters, layer);
    router_backward(work, parameters, layer);
  }
  rms_norm_rows_backward(work, {layer.middle, work.dims.hidden}, parameters.post_attention_norm,
                         work.dims.hidden, d_normed, {work.shared.d_hidden, work.dims.hidden});
}

}  // namespace dsa::backprop
