/* kernel.h - plain loops over numbers. Each table is the same source compiled for one instruction
   set; engine_kernels() gives the best one that the processor runs, or the one the host named.

   Values of a sample are stored feature-major in blocks of `lanes` rows, X[feature][lanes]; one
   layer's output block is the next one's input. lanes is BLOCK for batches and 1 for single values,
   so an op written for a trailing lanes axis serves both. */
#ifndef KERNEL_H
#define KERNEL_H

#include "base/base.h"

enum { BLOCK = 16 }; /* rows per block: one AVX-512, two AVX2 or four NEON registers of float32 */

typedef enum unary_op {
#define UNARY(name, ...) UNARY_##name,
#define BINARY(...)
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
  UNARY_COUNT
} unary_op;

typedef enum binary_op {
#define UNARY(...)
#define BINARY(name, ...) BINARY_##name,
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
  BINARY_COUNT
} binary_op;

typedef struct kernels {
  const char *name;
  bool (*supported)(void);

  /* Elementwise over n numbers; y may be any of the operands. */
  void (*unary[UNARY_COUNT])(orr_real *y, const orr_real *x, size_t n);
  void (*binary[BINARY_COUNT])(orr_real *y, const orr_real *a, const orr_real *b, size_t n);
  void (*binary_by_number[BINARY_COUNT])(orr_real *y, const orr_real *a, orr_real b, size_t n);
  void (*number_by_binary[BINARY_COUNT])(orr_real *y, orr_real a, const orr_real *b, size_t n);
  /* y[f][BLOCK] = a[f][BLOCK] op b[f]: rows against one value per feature, and the reverse. */
  void (*binary_by_feature[BINARY_COUNT])(orr_real *y, const orr_real *a, const orr_real *b,
                                          size_t features);
  void (*feature_by_binary[BINARY_COUNT])(orr_real *y, const orr_real *a, const orr_real *b,
                                          size_t features);
  void (*select)(orr_real *y, const orr_real *condition, const orr_real *a, const orr_real *b,
                 size_t n);

  /* y[outer][inner] from x[outer][n][inner]. n >= 1. Sums add in an order that (n, inner) fixes,
     the same on every processor: that of the index where inner >= BLOCK or n < 64, else partial
     sums of every so manieth, see kernel/reduce.h. */
  void (*sum)(orr_real *y, const orr_real *x, size_t outer, size_t n, size_t inner);
  void (*max)(orr_real *y, const orr_real *x, size_t outer, size_t n, size_t inner);

  /* Blocks of BLOCK rows and row-major matrices. rows[i] points at row i of `features` numbers;
     `valid` rows are given, the lanes past them repeat the last one. */
  void (*load_block)(orr_real *block, const orr_real *const *rows, int valid, size_t features);
  void (*store_block)(orr_real *const *rows, const orr_real *block, int valid, size_t features);

  /* Weights w[in][out] (or [out][in] when transposed) in panels for matmul_block. */
  void (*pack)(orr_real *packed, const orr_real *w, size_t in, size_t out, bool transposed);
  /* y[out][BLOCK] = bias[out] + sum over in of w[in][out] x[in][BLOCK]; bias may be NULL.
     Sums run over `in` in order, the bias first. Unless activation is NULL, a table's unary
     function, it then gives activated[out][BLOCK] from y, piece by piece; activated may be y. */
  void (*matmul_block)(orr_real *y, const orr_real *packed, const orr_real *x, const orr_real *bias,
                       size_t in, size_t out,
                       void (*activation)(orr_real *y, const orr_real *x, size_t n),
                       orr_real *activated);
  /* w[in][out] += sum over `rows` rows of x[row][in] dy[row][out]: the gradient of a weight matrix.
     Row r is lane r % BLOCK of block r / BLOCK; consecutive blocks of x[in][BLOCK] lie x_stride
     numbers apart, those of dy[out][BLOCK] dy_stride. The order of the sums is fixed. Several
     blocks at once read and write w only once. `scratch` holds outer_scratch(out, rows) numbers. */
  void (*outer_add)(orr_real *w, const orr_real *x, size_t x_stride, const orr_real *dy,
                    size_t dy_stride, size_t in, size_t out, int rows, orr_real *scratch);
  /* outer_add in two steps, to share the first among callers that each do some of the inputs, from
     i0 on: with w + i0 * out, x + i0 * BLOCK and in = how many. The bits are those of the whole.
       transpose_rows: dy of all blocks as dy_rows[row][stride], stride = outer_stride(out), zeros
     past `out`; dy_rows holds outer_scratch(out, rows) numbers.
       outer_add_rows: adds the products.
       outer_add_column: the whole for out == 1, which outer_add treats apart; dy as it comes. */
  void (*transpose_rows)(orr_real *dy_rows, size_t stride, const orr_real *dy, size_t dy_stride,
                         size_t out, int rows);
  void (*outer_add_rows)(orr_real *w, const orr_real *x, size_t x_stride, const orr_real *dy_rows,
                         size_t stride, size_t in, size_t out, int rows);
  void (*outer_add_column)(orr_real *w, const orr_real *x, size_t x_stride, const orr_real *dy,
                           size_t dy_stride, size_t in, int rows);
  /* y[f] += sum over the first `valid` lanes of x[f][lanes]. */
  void (*row_add)(orr_real *y, const orr_real *x, size_t features, int lanes, int valid);

  /* Draws keyed by (key, site, step, iteration, row, element): block[f][lanes] for rows row0 ...;
     the numbers do not depend on how rows are cut into blocks nor on `lanes` (1 .. BLOCK). site
     tells draws of one program apart. See kernel/draw.h for the counters. */
  void (*normal)(orr_real *block, size_t features, int lanes, uint64_t key, uint32_t site,
                 uint32_t step, uint32_t iteration, uint32_t row0);
  void (*uniform)(orr_real *block, size_t features, int lanes, uint64_t key, uint32_t site,
                  uint32_t step, uint32_t iteration, uint32_t row0);
} kernels;

/* Never NULL. A name that is unknown or that this processor cannot run is logged once as a warning
   and gives the best table instead. Any thread of the engine may call it. */
const kernels *engine_kernels(orr_engine *engine);
/* NULL when there is no such table, or this processor cannot run it. */
const kernels *kernels_named(const char *name);

/* Numbers that pack() writes for a matrix of in x out. */
size_t packed_count(size_t in, size_t out);
/* `out` rounded up to BLOCK and to what caches like; and the numbers of scratch for outer_add. */
size_t outer_stride(size_t out);
size_t outer_scratch(size_t out, int rows);

/* c[m][n] (+)= op(a)[m][k] op(b)[k][n], row-major with leading dimensions, on OpenBLAS at one
   thread: for eager work, never on the control path. */
void gemm(orr_engine *engine, bool transpose_a, bool transpose_b, int m, int n, int k,
          const orr_real *a, int lda, const orr_real *b, int ldb, bool accumulate, orr_real *c,
          int ldc);

const char *unary_name(unary_op op);
const char *binary_name(binary_op op);

#endif
