#include "backprop/attention_layer.h"

#include <cstring>

#include "backprop/dense_attention.h"
#include "backprop/norms.h"
#include "backprop/rotation.h"
#include "backprop/sparse_attention.h"

namespace dsa::backprop {

namespace {

// Rows of kv_up: W_UK and W_UV of a head.
ParameterRows key_rows(const TrainDims& dims, const Parameter* kv_up, size_t h) {
  return {kv_up, h * dims.d_kv(), dims.d_nope};
}
ParameterRows value_rows(const TrainDims& dims, const Parameter* kv_up, size_t h) {
  return {kv_up, h * dims.d_kv() + dims.d_nope, dims.d_v};
}

// Columns of head h in rows of n_heads * width values.
Rows head_columns(const TrainDims& dims, float* data, size_t width, size_t h) {
  return {data + h * width, dims.n_heads * width};
}

template <class Make>
void run_for_heads(const LayerWork& work, const Make& make) {
  std::vector<Product> products;
  for (size_t h = 0; h < work.dims.n_heads; ++h)
    products.push_back(make(h));
  run_products(work.context, std::move(products));
}

void copy(const float* from, size_t n, float* to) {
  std::memcpy(to, from, n * sizeof(float));
}

// d_attention, and its products with the attention's output, which every softmax gradient needs.
void output_backward(const LayerWork& work,
                     const LayerParameters& parameters,
                     const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const size_t n = work.n_tokens();
  const size_t width = dims.n_heads * dims.d_v;
  const Rows d_middle = {shared.d_hidden, dims.hidden};
  run_products(work.context,
               {input_gradient(d_middle, n, parameters.o, {shared.d_attention, width}),
                weight_gradient(d_middle, {layer.attention, width}, n, parameters.o)});
  for_rows(work.context, n, [&](size_t t) {
    for (size_t h = 0; h < dims.n_heads; ++h) {
      const size_t at = (t * dims.n_heads + h) * dims.d_v;
      shared.delta[t * dims.n_heads + h] =
          work.context.train().dot(shared.d_attention + at, layer.attention + at, dims.d_v);
    }
  });
}

// From the gradients of keys and values to those of the rows.
void expanded_backward(const LayerWork& work,
                       const LayerParameters& parameters,
                       const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const size_t n = work.n_tokens();
  dense_attention_backward(work, layer);
  for_rows(work.context, n, [&](size_t t) {
    float* d_rope = shared.d_rows + t * dims.d_row() + dims.d_latent;
    std::memset(d_rope, 0, dims.d_rope * sizeof(float));
    for (size_t h = 0; h < dims.n_heads; ++h) {
      const float* d_key = shared.d_keys + (t * dims.n_heads + h) * dims.d_q();
      copy(d_key, dims.d_nope, shared.d_expanded + (t * dims.n_heads + h) * dims.d_kv());
      work.context.vector().add_scaled(d_key + dims.d_nope, 1.0F, dims.d_rope, d_rope);
    }
  });
  const Rows d_expanded = {shared.d_expanded, dims.n_heads * dims.d_kv()};
  run_products(work.context,
               {input_gradient(d_expanded, n, parameters.kv_up, {shared.d_rows, dims.d_row()}),
                weight_gradient(d_expanded, {layer.rows, dims.d_row()}, n, parameters.kv_up)});
}

void absorbed_backward(const LayerWork& work,
                       const LayerParameters& parameters,
                       const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const size_t n = work.n_tokens();
  const Parameter* kv_up = parameters.kv_up;
  run_for_heads(work, [&](size_t h) {
    return input_gradient(head_columns(dims, shared.d_attention, dims.d_v, h), n,
                          value_rows(dims, kv_up, h),
                          head_columns(dims, shared.d_absorbed_out, dims.d_latent, h));
  });
  run_for_heads(work, [&](size_t h) {
    return weight_gradient(head_columns(dims, shared.d_attention, dims.d_v, h),
                           head_columns(dims, layer.absorbed_out, dims.d_latent, h), n,
                           value_rows(dims, kv_up, h));
  });
  sparse_attention_backward(work, layer);
  run_for_heads(work, [&](size_t h) {
    return forward_product(head_columns(dims, shared.d_absorbed_q, dims.d_row(), h), n,
                           key_rows(dims, kv_up, h), head_columns(dims, shared.d_q, dims.d_q(), h));
  });
  run_for_heads(work, [&](size_t h) {
    return weight_gradient(head_columns(dims, layer.q, dims.d_q(), h),
                           head_columns(dims, shared.d_absorbed_q, dims.d_row(), h), n,
                           key_rows(dims, kv_up, h));
  });
  for_rows(work.context, n, [&](size_t t) {
    for (size_t h = 0; h < dims.n_heads; ++h) {
      const size_t head = t * dims.n_heads + h;
      copy(shared.d_absorbed_q + head * dims.d_row() + dims.d_latent, dims.d_rope,
           shared.d_q + head * dims.d_q() + dims.d_nope);
    }
  });
}

// Through RoPE, the up-projection and the norms of the low-rank vectors.
void projections_backward(const LayerWork& work,
                          const LayerParameters& parameters,
                          const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const size_t n = work.n_tokens();
  for_rows(work.context, n, [&](size_t t) {
    for (size_t h = 0; h < dims.n_heads; ++h) {
      rotate(work, work.config.rope_layout, t, true,
             shared.d_q + (t * dims.n_heads + h) * dims.d_q() + dims.d_nope);
    }
    float* d_low = shared.d_kv_low + t * dims.d_row();
    std::memset(d_low, 0, dims.d_latent * sizeof(float));
    copy(shared.d_rows + t * dims.d_row() + dims.d_latent, dims.d_rope, d_low + dims.d_latent);
    rotate(work, work.config.rope_layout, t, true, d_low + dims.d_latent);
    std::memset(shared.d_q_low + t * dims.q_rank, 0, dims.q_rank * sizeof(float));
  });
  const Rows d_q = {shared.d_q, dims.n_heads * dims.d_q()};
  const Rows d_c_q = {shared.d_c_q, dims.q_rank};
  run_products(work.context, {input_gradient(d_q, n, parameters.q_b, d_c_q),
                              weight_gradient(d_q, {layer.c_q, dims.q_rank}, n, parameters.q_b)});
  const Rows d_q_low = {shared.d_q_low, dims.q_rank};
  const Rows d_kv_low = {shared.d_kv_low, dims.d_row()};
  rms_norm_rows_backward(work, {layer.q_low, dims.q_rank}, parameters.q_a_norm, dims.q_rank, d_c_q,
                         d_q_low);
  rms_norm_rows_backward(work, {layer.kv_low, dims.d_row()}, parameters.kv_a_norm, dims.d_latent,
                         {shared.d_rows, dims.d_row()}, d_kv_low);
  const Rows normed = {layer.normed, dims.hidden};
  const Rows d_normed = {shared.d_normed, dims.hidden};
  run_products(work.context, {input_gradient(d_q_low, n, parameters.q_a, d_normed),
                              weight_gradient(d_q_low, normed, n, parameters.q_a),
                              weight_gradient(d_kv_low, normed, n, parameters.kv_a)});
  run_products(work.context, {accumulated(input_gradient(d_kv_low, n, parameters.kv_a, d_normed))});
}

}  // namespace

void project_attention(const LayerWork& work,
                       const LayerParameters& parameters,
                       const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const size_t n = work.n_tokens();
  const Rows normed = {layer.normed, dims.hidden};
  const Rows q_low = {layer.q_low, dims.q_rank};
  const Rows kv_low = {layer.kv_low, dims.d_row()};
  const Rows c_q = {layer.c_q, dims.q_rank};
  rms_norm_rows(work, {layer.input, dims.hidden}, parameters.input_norm, dims.hidden, normed);
  run_products(work.context, {forward_product(normed, n, parameters.q_a, q_low),
                              forward_product(normed, n, parameters.kv_a, kv_low)});
  rms_norm_rows(work, q_low, parameters.q_a_norm, dims.q_rank, c_q);
  rms_norm_rows(work, kv_low, parameters.kv_a_norm, dims.d_latent, {layer.rows, dims.d_row()});
  run_products(work.context,
               {forward_product(c_q, n, parameters.q_b, {layer.q, dims.n_heads * dims.d_q()})});
  for_rows(work.context, n, [&](size_t t) {
    float* rope = layer.rows + t * dims.d_row() + dims.d_latent;
    copy(kv_low.row(t) + dims.d_latent, dims.d_rope, rope);
    rotate(work, work.config.rope_layout, t, false, rope);
    for (size_t h = 0; h < dims.n_heads; ++h) {
      rotate(work, work.config.rope_layout, t, false,
             layer.q + (t * dims.n_heads + h) * dims.d_q() + dims.d_nope);
    }
  });
}

void expand_rows(const LayerWork& work,
                 const LayerParameters& parameters,
                 const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const size_t n = work.n_tokens();
  run_products(work.context, {forward_product({layer.rows, dims.d_row()}, n, parameters.kv_up,
                                              {layer.expanded, dims.n_heads * dims.d_kv()})});
  for_rows(work.context, n, [&](size_t t) {
    for (size_t h = 0; h < dims.n_heads; ++h) {
      const size_t head = t * dims.n_heads + h;
      float* key = layer.keys + head * dims.d_q();
      copy(layer.expanded + head * dims.d_kv(), dims.d_nope, key);
      copy(layer.rows + t * dims.d_row() + dims.d_latent, dims.d_rope, key + dims.d_nope);
    }
  });
}

void absorb_queries(const LayerWork& work,
                    const LayerParameters& parameters,
                    const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const size_t n = work.n_tokens();
  run_for_heads(work, [&](size_t h) {
    return input_gradient(head_columns(dims, layer.q, dims.d_q(), h), n,
                          key_rows(dims, parameters.kv_up, h),
                          head_columns(dims, layer.absorbed_q, dims.d_row(), h));
  });
  for_rows(work.context, n, [&](size_t t) {
    for (size_t h = 0; h < dims.n_heads; ++h) {
      const size_t head = t * dims.n_heads + h;
      copy(layer.q + head * dims.d_q() + dims.d_nope, dims.d_rope,
           layer.absorbed_q + head * dims.d_row() + dims.d_latent);
    }
  });
}

void expand_outputs(const LayerWork& work,
                    const LayerParameters& parameters,
                    const LayerState& layer) {
  const TrainDims& dims = work.dims;
  run_for_heads(work, [&](size_t h) {
    return forward_product(head_columns(dims, layer.absorbed_out, dims.d_latent, h),
                           work.n_tokens(), value_rows(dims, parameters.kv_up, h),
                           head_columns(dims, layer.attention, dims.d_v, h));
  });
}

void project_output(const LayerWork& work,
                    const LayerParameters& parameters,
                    const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const size_t n = work.n_tokens();
  copy(layer.input, n * dims.hidden, layer.middle);
  run_products(work.context,
               {accumulated(forward_product({layer.attention, dims.n_heads * dims.d_v}, n,
                                            parameters.o, {layer.middle, dims.hidden}))});
}

void attention_backward(const LayerWork& work,
                        const LayerParameters& parameters,
                        const LayerState& layer,
                        bool sparse) {
  const TrainDims& dims = work.dims;
  output_backward(work, parameters, layer);
  if (sparse) {
    absorbed_backward(work, parameters, layer);
  } else {
    expanded_backward(work, parameters, layer);
  }
  projections_backward(work, parameters, layer);
  rms_norm_rows_backward(work, {layer.input, dims.hidden}, parameters.input_norm, dims.hidden,
                         {work.shared.d_normed, dims.hidden}, {work.shared.d_hidden, dims.hidden});
}

}  // namespace dsa::backprop
