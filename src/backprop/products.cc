#include "backprop/products.h"

#include <algorithm>

#include "common/math.h"

namespace dsa::backprop {

namespace {

constexpr size_t kRowStep = 12;     // of C, as a tile of the widest tier
constexpr size_t kColumnStep = 32;  // the same of its columns
constexpr size_t kLeastRows = 96;   // rows that repay packing the other matrix

const void* element(const void* data, DType dtype, size_t index) {
  return static_cast<const uint8_t*>(data) + index * dtype_bytes(dtype);
}

struct Piece {
  size_t product = 0;
  size_t row = 0;
  size_t column = 0;
  size_t rows = 0;
  size_t columns = 0;
};

// Cuts C along the rows, which leaves each thread one packing of B, or where there are few along
// the columns.
void cut(const Product& product, size_t index, size_t n_pieces, std::vector<Piece>* pieces) {
  if (product.m == 0 || product.n == 0) return;
  const bool by_rows = product.m >= kLeastRows * n_pieces || product.m >= product.n;
  const size_t extent = by_rows ? product.m : product.n;
  const size_t step = round_up(ceil_div(extent, n_pieces), by_rows ? kRowStep : kColumnStep);
  for (size_t at = 0; at < extent; at += step) {
    const size_t n = std::min(step, extent - at);
    pieces->push_back(by_rows ? Piece{index, at, 0, n, product.n}
                              : Piece{index, 0, at, product.m, n});
  }
}

Product part_of(const Product& whole, const Piece& piece) {
  Product part = whole;
  part.a += piece.row * (whole.a_transposed ? 1 : whole.lda);
  part.b = element(whole.b, whole.b_dtype, piece.column * (whole.b_transposed ? whole.ldb : 1));
  part.c += piece.row * whole.ldc + piece.column;
  part.m = piece.rows;
  part.n = piece.columns;
  return part;
}

}  // namespace

ParameterRows::ParameterRows(const Parameter* whole)
    : ParameterRows(whole, 0, static_cast<size_t>(whole->shape[0])) {}

ParameterRows::ParameterRows(const Parameter* whole, size_t first_row, size_t n_rows)
    : parameter(whole),
      first(first_row),
      rows(n_rows),
      cols(static_cast<size_t>(whole->shape[1])) {}

Product forward_product(const Rows& x, size_t n, const ParameterRows& w, const Rows& y) {
  Product product;
  product.a = x.data;
  product.lda = x.ld;
  product.b = element(w.parameter->data, w.parameter->dtype, w.first * w.cols);
  product.ldb = w.cols;
  product.b_transposed = true;
  product.b_dtype = w.parameter->dtype;
  product.m = n;
  product.n = w.rows;
  product.k = w.cols;
  product.c = y.data;
  product.ldc = y.ld;
  return product;
}

Product input_gradient(const Rows& dy, size_t n, const ParameterRows& w, const Rows& dx) {
  Product product = forward_product(dy, n, w, dx);
  product.b_transposed = false;
  product.n = w.cols;
  product.k = w.rows;
  return product;
}

Product weight_gradient(const Rows& dy, const Rows& x, size_t n, const ParameterRows& w) {
  Product product;
  product.a = dy.data;
  product.lda = dy.ld;
  product.a_transposed = true;
  product.b = x.data;
  product.ldb = x.ld;
  product.m = w.rows;
  product.n = w.cols;
  product.k = n;
  product.c = w.parameter->gradient + w.first * w.cols;
  product.ldc = w.cols;
  product.accumulate = true;
  return product;
}

void run_products(const TrainContext& context, std::vector<Product> products) {
  if (products.empty()) return;
  std::vector<Piece> pieces;
  const size_t wanted = 2 * context.n_threads();
  const size_t each =
      context.n_threads() == 1 ? 1 : std::max<size_t>(1, ceil_div(wanted, products.size()));
  for (size_t i = 0; i < products.size(); ++i)
    cut(products[i], i, each, &pieces);
  context.pool->parallel_for(static_cast<int64_t>(pieces.size()), [&](int64_t item, int worker) {
    const Piece& piece = pieces[static_cast<size_t>(item)];
    Product part = part_of(products[piece.product], piece);
    part.scratch = context.worker_scratch(worker);
    context.train().gemm(part);
  });
}

}  // namespace dsa::backprop
