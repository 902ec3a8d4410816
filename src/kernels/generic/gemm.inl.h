// Products for training. B is packed into panels of kGemmVectors vectors, transposed and widened on
// the way; elements of A are broadcast from where they lie. A tile of C stays in registers over
// kGemmDepth products.
// Requires DSA_TIER, the tier's tile.h (transpose) and kGemmRows, kGemmVectors before inclusion.
#pragma once

#include "kernels/generic/matmul_common.inl.h"
#include "kernels/generic/vector_loop.inl.h"
#include "kernels/train_kernels.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr size_t kPanel = kGemmVectors * F32::kLanes;
static_assert(kGemmWidth % kPanel == 0 && kGemmRows % 2 == 0);

// Where the elements of a tile of A lie: (i, p) at a + i * row + p * column.
struct TileOfA {
  const float* a;
  size_t row;
  size_t column;
};

template <size_t kRows>
DSA_LEAF void gemm_tile(const TileOfA& a,
                        const float* b,
                        size_t ldb,
                        size_t depth,
                        float* c,
                        size_t ldc,
                        size_t columns,
                        bool accumulate) {
  F32 acc[kRows][kGemmVectors];
  unroll<kRows>([&](auto i) { unroll<kGemmVectors>([&](auto v) { acc[i][v] = zero(); }); });
  // Four rows share a pointer: the others are reached by index registers.
  constexpr size_t kPointers = (kRows + 3) / 4;
  const float* rows[kPointers];
  unroll<kPointers>([&](auto r) { rows[r] = a.a + 4 * r * a.row; });
  const size_t row = a.row;
  const size_t row3 = 3 * a.row;
  for (size_t p = 0; p < depth; ++p, b += ldb) {
    F32 panel[kGemmVectors];
    unroll<kGemmVectors>([&](auto v) { panel[v] = load(b + v * F32::kLanes); });
    unroll<kRows>([&](auto i) {
      constexpr size_t kPart = i % 4;
      const float* at = rows[i / 4] + (kPart == 3 ? row3 : kPart * row);
      const F32 x = set(*at);
      unroll<kGemmVectors>([&](auto v) { acc[i][v] = fma(x, panel[v], acc[i][v]); });
    });
    unroll<kPointers>([&](auto r) { rows[r] += a.column; });
  }
  unroll<kRows>([&](auto i) {
    float* out = c + i * ldc;
    unroll<kGemmVectors>([&](auto v) {
      constexpr size_t kFirst = v * F32::kLanes;
      if (kFirst >= columns) return;
      float* at = out + kFirst;
      if (columns - kFirst >= F32::kLanes) {
        store(at, accumulate ? add(load(at), acc[i][v]) : acc[i][v]);
      } else {
        const size_t n = columns - kFirst;
        store_first(at, n, accumulate ? add(load_first(at, n), acc[i][v]) : acc[i][v]);
      }
    });
  });
}

inline F32 widened(const float* p, size_t n) {
  return load_first(p, n);
}
struct Bf16Element {
  uint16_t bits;
};
struct F16Element {
  uint16_t bits;
};
inline F32 widened(const Bf16Element* p, size_t n) {
  return as_float(shift_left<16>(load_u16_first(&p->bits, n)));
}
inline F32 widened(const F16Element* p, size_t n) {
  return f16_value(load_u16_first(&p->bits, n));
}

// Rows p of B, `columns` values each, one panel row apart; zero up to the panel's width.
template <class T>
void pack_panel(const T* b, size_t ldb, size_t depth, size_t columns, float* out) {
  for (size_t p = 0; p < depth; ++p) {
    unroll<kGemmVectors>([&](auto v) {
      constexpr size_t kFirst = v * F32::kLanes;
      const size_t n = columns > kFirst ? smaller(columns - kFirst, F32::kLanes) : 0;
      store(out + p * kPanel + kFirst, n == 0 ? zero() : widened(b + p * ldb + kFirst, n));
    });
  }
}

// One block of the same of B^T: row j of b is column j of the panel. At most kLanes rows, steps.
template <class T>
void pack_block_transposed(const T* b, size_t ldb, size_t steps, size_t rows, float* to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (steps == F32::kLanes && rows == F32::kLanes) return transpose(b, ldb, to, kPanel);
  }
  float block[F32::kLanes * F32::kLanes];
  for (size_t j = 0; j < F32::kLanes; ++j)
    store(block + j * F32::kLanes, j < rows ? widened(b + j * ldb, steps) : zero());
  if (steps == F32::kLanes) return transpose(block, F32::kLanes, to, kPanel);
  for (size_t step = 0; step < steps; ++step) {
    for (size_t j = 0; j < F32::kLanes; ++j)
      to[step * kPanel + j] = block[j * F32::kLanes + step];
  }
}

template <class T>
void pack_panel_transposed(const T* b, size_t ldb, size_t depth, size_t columns, float* out) {
  for (size_t first = 0; first < kPanel; first += F32::kLanes) {
    const size_t rows = columns > first ? smaller(columns - first, F32::kLanes) : 0;
    for (size_t p = 0; p < depth; p += F32::kLanes) {
      pack_block_transposed(b + first * ldb + p, ldb, smaller(depth - p, F32::kLanes), rows,
                            out + p * kPanel + first);
    }
  }
}

// Columns [j, j + n) and rows [p, p + depth) of B as panels.
template <class T>
void pack_block(const GemmArgs& args, size_t p, size_t depth, size_t j, size_t n) {
  const void* data = args.b;
  const T* b = static_cast<const T*>(data);
  for (size_t first = 0; first < n; first += kPanel) {
    const size_t columns = smaller(n - first, kPanel);
    float* out = args.scratch + first * depth;
    if (args.b_transposed) {
      pack_panel_transposed(b + (j + first) * args.ldb + p, args.ldb, depth, columns, out);
    } else {
      pack_panel(b + p * args.ldb + j + first, args.ldb, depth, columns, out);
    }
  }
}

void pack(const GemmArgs& args, size_t p, size_t depth, size_t j, size_t n) {
  switch (args.b_dtype) {
    case DType::kF16:
      return pack_block<F16Element>(args, p, depth, j, n);
    case DType::kBF16:
      return pack_block<Bf16Element>(args, p, depth, j, n);
    default:
      return pack_block<float>(args, p, depth, j, n);
  }
}

// C's columns [j, j + n), products [p, p + depth).
void gemm_block(const GemmArgs& args, size_t p, size_t depth, size_t j, size_t n) {
  // So few rows do not repay packing, where the panels lie in B as they are.
  constexpr size_t kFewRows = 2 * kGemmRows;
  const bool direct = args.m <= kFewRows && !args.b_transposed && args.b_dtype == DType::kF32;
  const size_t packed_from = direct ? n / kPanel * kPanel : 0;
  if (packed_from < n) pack(args, p, depth, j + packed_from, n - packed_from);
  const size_t row = args.a_transposed ? 1 : args.lda;
  const size_t column = args.a_transposed ? args.lda : 1;
  const bool accumulate = args.accumulate || p > 0;
  const void* data = args.b;
  const float* in_b = static_cast<const float*>(data) + (direct ? p * args.ldb + j : 0);
  for (size_t i = 0; i < args.m; i += kGemmRows) {
    const TileOfA a = {args.a + i * row + p * column, row, column};
    float* c = args.c + i * args.ldc + j;
    with_constant<kGemmRows>(smaller(args.m - i, kGemmRows), [&](auto rows) {
      for (size_t first = 0; first < n; first += kPanel) {
        const bool in_place = first < packed_from;
        const float* panel = in_place ? in_b + first : args.scratch + (first - packed_from) * depth;
        gemm_tile<rows>(a, panel, in_place ? args.ldb : kPanel, depth, c + first, args.ldc,
                        smaller(n - first, kPanel), accumulate);
      }
    });
  }
}

void gemm(const GemmArgs& args) noexcept {
  if (args.k == 0 && !args.accumulate) {
    for (size_t i = 0; i < args.m; ++i) {
      for_each_vector(args.n,
                      [&](size_t j, auto part) { store(args.c + i * args.ldc + j, zero(), part); });
    }
  }
  for (size_t j = 0; j < args.n; j += kGemmWidth) {
    const size_t n = smaller(args.n - j, kGemmWidth);
    for (size_t p = 0; p < args.k; p += kGemmDepth)
      gemm_block(args, p, smaller(args.k - p, kGemmDepth), j, n);
  }
}

// Blocks of kLanes x kLanes, and the edges one by one.
void transpose_matrix(
    const float* from, size_t ld_from, size_t rows, size_t cols, float* to, size_t ld_to) noexcept {
  const size_t whole_rows = rows / F32::kLanes * F32::kLanes;
  const size_t whole_cols = cols / F32::kLanes * F32::kLanes;
  for (size_t r = 0; r < whole_rows; r += F32::kLanes) {
    for (size_t c = 0; c < whole_cols; c += F32::kLanes)
      transpose(from + r * ld_from + c, ld_from, to + c * ld_to + r, ld_to);
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = r < whole_rows ? whole_cols : 0; c < cols; ++c)
      to[c * ld_to + r] = from[r * ld_from + c];
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
