// What training needs besides the forward kernels: products of any orientation and the row-wise
// pieces of the backward pass. f32 throughout; stored matrices may be f16 or bf16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/dtype.h"

namespace dsa::kernels {

// C[i,j] (+)= sum_p A(i,p) B(p,j)
//   A(i,p) = a[i * lda + p], transposed a[p * lda + i]
//   B(p,j) = b[p * ldb + j], transposed b[j * ldb + p]
// An element's sum runs over p in ascending chunks of kGemmDepth, each in ascending order: it does
// not depend on m, n or the element's place.
struct GemmArgs {
  const float* a = nullptr;
  size_t lda = 0;
  bool a_transposed = false;
  const void* b = nullptr;
  size_t ldb = 0;
  bool b_transposed = false;
  DType b_dtype = DType::kF32;  // F32, F16 or BF16
  size_t m = 0;
  size_t n = 0;
  size_t k = 0;
  float* c = nullptr;  // [m, n]; must not overlap a or b
  size_t ldc = 0;
  bool accumulate = false;   // false: C = A B, true: C += A B
  float* scratch = nullptr;  // kGemmScratch values, 64-byte aligned
};

inline constexpr size_t kGemmDepth = 256;
inline constexpr size_t kGemmWidth = 512;
inline constexpr size_t kGemmScratch = kGemmDepth * kGemmWidth;

// Rows of attention logits [m, n], row stride ld; entries j >= limit[i] are masked (limit null:
// none is; may be <= 0).
struct LogitRows {
  float* s = nullptr;
  size_t ld = 0;
  size_t m = 0;
  size_t n = 0;
  const int32_t* limit = nullptr;  // [m]
};

struct TrainKernels {
  void (*gemm)(const GemmArgs& args) noexcept;

  // to[c * ld_to + r] = from[r * ld_from + c] for r < rows, c < cols.
  void (*transpose)(const float* from,
                    size_t ld_from,
                    size_t rows,
                    size_t cols,
                    float* to,
                    size_t ld_to) noexcept;

  // s[i,j] <- exp(scale * s[i,j] - lse[i]); 0 where masked.
  void (*exp_rows)(const LogitRows& rows, float scale, const float* lse) noexcept;

  // sum[i,j] += factor * exp(scale * s[i,j] - lse[i]); nothing where masked. s is kept.
  void (*add_exp_rows)(const LogitRows& rows,
                       float scale,
                       const float* lse,
                       float factor,
                       float* sum,
                       size_t ld_sum) noexcept;

  // ds[i,j] <- scale * p[i,j] * (ds[i,j] - delta[i]), p of the same shape as ds.
  void (*softmax_backward)(
      const LogitRows& ds, const float* p, size_t ld_p, float scale, const float* delta) noexcept;

  float (*dot)(const float* x, const float* y, size_t n) noexcept;

  // y = rms_norm(x):  dx[i] += ...,  dweight[i] += dy[i] * x[i] / rms.   dweight may be null.
  void (*rms_norm_backward)(const float* x,
                            const float* weight,
                            const float* dy,
                            size_t n,
                            float eps,
                            float* dx,
                            float* dweight) noexcept;

  // y = layer_norm(x): dx[i] = ..., dweight and dbias are added to. dx may be dy.
  void (*layer_norm_backward)(const float* x,
                              const float* weight,
                              const float* dy,
                              size_t n,
                              float eps,
                              float* dx,
                              float* dweight,
                              float* dbias) noexcept;

  // y = silu(gate) * up:  gate <- dy * up * silu'(gate), up <- dy * silu(gate).
  void (*silu_mul_backward)(const float* dy, size_t n, float* gate, float* up) noexcept;

  // score[j] = sum_h w[h] * max(qk[h,j], 0);  qk: [n_heads, n], row stride ld.
  void (*index_scores)(
      const float* qk, size_t ld, size_t n_heads, size_t n, const float* w, float* scores) noexcept;

  // dw[h] += sum_j dscore[j] * max(qk[h,j], 0);  qk[h,j] <- dscore[j] * w[h] where qk > 0, else 0.
  void (*index_scores_backward)(float* qk,
                                size_t ld,
                                size_t n_heads,
                                size_t n,
                                const float* w,
                                const float* dscores,
                                float* dw) noexcept;

  // One query's KL(p || softmax(scores)) over n entries:
  //   returns sum_j p[j] * (ln max(p[j], 1e-10) - (scores[j] - lse))
  //   scores[j] <- factor * (exp(scores[j] - lse) - p[j])
  double (*kl_row)(const float* p, float* scores, size_t n, float lse, float factor) noexcept;
};

}  // namespace dsa::kernels
