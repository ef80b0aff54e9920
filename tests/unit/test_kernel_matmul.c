/* The products against three plain loops, at all awkward sizes. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

static const char *const table_names[] = {"portable", "avx2", "avx512"};
#define EACH_TABLE(k)                                            \
  for (size_t table_ = 0; table_ < COUNT(table_names); table_++) \
    for (const kernels *k = kernels_named(table_names[table_]); k; k = NULL)

enum { LARGEST = 200, MOST_ROWS = 100 };

static const size_t sizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,   11,  12,  13,  15,
                               16, 17, 18, 19, 20, 21, 23, 31, 32,  33,  39,  40,  41,
                               47, 48, 64, 65, 80, 81, 96, 97, 100, 127, 128, 130, LARGEST};

typedef struct data {
  orr_real w[LARGEST * LARGEST], packed[LARGEST * LARGEST + 1], bias[LARGEST];
  orr_real x[(LARGEST + 1) * (MOST_ROWS + BLOCK)], dy[(LARGEST + 1) * (MOST_ROWS + BLOCK)];
  orr_real y[LARGEST * BLOCK + 1], sum[LARGEST * LARGEST + 1];
} data;

static void draw(orr_real *x, size_t n, orr_random *random) {
  for (size_t i = 0; i < n; i++) x[i] = (orr_real)(orr_random_uniform(random) - 0.5);
}

static data *data_new(uint64_t seed) {
  data *d = calloc(1, sizeof *d);
  orr_random random = orr_random_new(seed, 0);
  draw(d->w, COUNT(d->w), &random);
  draw(d->bias, COUNT(d->bias), &random);
  draw(d->x, COUNT(d->x), &random);
  draw(d->dy, COUNT(d->dy), &random);
  return d;
}

static void check_product(const kernels *k, data *d, size_t in, size_t out, bool bias,
                          bool transposed) {
  cr_assert_leq(packed_count(in, out), LARGEST * LARGEST);
  d->packed[packed_count(in, out)] = 42, d->y[out * BLOCK] = 42;
  k->pack(d->packed, d->w, in, out, transposed);
  k->matmul_block(d->y, d->packed, d->x, bias ? d->bias : NULL, in, out, NULL, NULL);
  cr_assert(d->packed[packed_count(in, out)] == 42 && d->y[out * BLOCK] == 42, "%s %zu x %zu",
            k->name, in, out);
  for (size_t o = 0; o < out; o++)
    for (size_t lane = 0; lane < BLOCK; lane++) {
      double want = bias ? (double)d->bias[o] : 0;
      for (size_t i = 0; i < in; i++)
        want +=
            (double)d->w[transposed ? o * in + i : i * out + o] * (double)d->x[i * BLOCK + lane];
      cr_assert(fabs((double)d->y[o * BLOCK + lane] - want) < 2e-5, "%s %zu x %zu: %g, not %g",
                k->name, in, out, (double)d->y[o * BLOCK + lane], want);
    }
}

/* The same panels from either form of the matrix, of any size, and nothing past them. */
Test(kernel_matmul, pack) {
  enum { MOST_IN = 140, MOST_OUT = 90, MOST = MOST_IN * MOST_OUT };
  static orr_real rows[MOST], columns[MOST], packed[MOST + 1], again[MOST + 1];
  EACH_TABLE(k)
  for (size_t in = 1; in <= MOST_IN; in = in < 12 ? in + 1 : in * 5 / 4)
    for (size_t out = 1; out <= MOST_OUT; out++) {
      for (size_t i = 0; i < in; i++)
        for (size_t o = 0; o < out; o++)
          rows[i * out + o] = columns[o * in + i] = (orr_real)(1 + i * out + o);
      packed[in * out] = again[in * out] = 42;
      k->pack(packed, rows, in, out, false);
      k->pack(again, columns, in, out, true);
      cr_assert_eq(memcmp(packed, again, (in * out + 1) * sizeof *packed), 0, "%s %zu x %zu",
                   k->name, in, out);
      cr_assert_eq(packed[in * out], 42);
      double sum = 0, count = (double)(in * out);
      for (size_t i = 0; i < in * out; i++) sum += (double)packed[i];
      cr_assert_eq(sum, count * (count + 1) / 2, "%s %zu x %zu", k->name, in, out);
    }
}

/* In place or elsewhere: the bits of the product, then the activation. */
Test(kernel_matmul, product_with_activation) {
  enum { IN = 23, OUT = 130 };
  static orr_real plain[OUT * BLOCK], y[OUT * BLOCK], activated[OUT * BLOCK + 1];
  data *d = data_new(5);
  EACH_TABLE(k)
  for (size_t out = 1; out <= OUT; out += out < 50 ? 1 : 10) {
    k->pack(d->packed, d->w, IN, out, false);
    k->matmul_block(plain, d->packed, d->x, d->bias, IN, out, NULL, NULL);
    activated[out * BLOCK] = 42;
    k->matmul_block(y, d->packed, d->x, d->bias, IN, out, k->unary[UNARY_silu], activated);
    cr_assert_eq(memcmp(y, plain, out * BLOCK * sizeof *y), 0, "%s %zu", k->name, out);
    cr_assert_eq(activated[out * BLOCK], 42);
    k->matmul_block(y, d->packed, d->x, d->bias, IN, out, k->unary[UNARY_silu], y);
    k->unary[UNARY_silu](plain, plain, out * BLOCK);
    cr_assert_eq(memcmp(activated, plain, out * BLOCK * sizeof *y), 0, "%s %zu", k->name, out);
    cr_assert_eq(memcmp(y, plain, out * BLOCK * sizeof *y), 0, "%s %zu", k->name, out);
  }
  free(d);
}

Test(kernel_matmul, product) {
  data *d = data_new(1);
  EACH_TABLE(k)
  for (size_t i = 0; i < COUNT(sizes); i++)
    for (size_t o = 0; o < COUNT(sizes); o++) {
      if (sizes[i] > 48 && sizes[o] > 48 && (i + o) % 3) continue; /* to save time */
      check_product(k, d, sizes[i], sizes[o], (i + o) % 2, i % 2);
    }
  free(d);
}

static void check_outer(const kernels *k, data *d, size_t in, size_t out, int rows) {
  size_t x_stride = (in + 1) * BLOCK,
         dy_stride = (out + 1) * BLOCK; /* a gap, to see that strides count */
  orr_real *scratch = malloc((outer_scratch(out, rows) + 1) * sizeof *scratch);
  scratch[outer_scratch(out, rows)] = 42;
  memcpy(d->sum, d->w, in * out * sizeof *d->w);
  d->sum[in * out] = 42;
  k->outer_add(d->sum, d->x, x_stride, d->dy, dy_stride, in, out, rows, scratch);
  cr_assert(d->sum[in * out] == 42 && scratch[outer_scratch(out, rows)] == 42, "%s %zu x %zu",
            k->name, in, out);
  free(scratch);
  for (size_t i = 0; i < in; i++)
    for (size_t o = 0; o < out; o++) {
      double want = (double)d->w[i * out + o];
      for (size_t r = 0; r < (size_t)rows; r++)
        want += (double)d->x[r / BLOCK * x_stride + i * BLOCK + r % BLOCK] *
                (double)d->dy[r / BLOCK * dy_stride + o * BLOCK + r % BLOCK];
      cr_assert(fabs((double)d->sum[i * out + o] - want) < 2e-5,
                "%s %zu x %zu, %d rows: %g, not %g", k->name, in, out, rows,
                (double)d->sum[i * out + o], want);
    }
}

Test(kernel_matmul, outer) {
  static const int rows[] = {1, 15, 16, 17, 64, MOST_ROWS};
  data *d = data_new(2);
  EACH_TABLE(k)
  for (size_t i = 0; i < COUNT(sizes); i++)
    for (size_t o = 0; o < COUNT(sizes); o++) {
      if (sizes[i] > 48 && sizes[o] > 48 && (i + o) % 7) continue;
      check_outer(k, d, sizes[i], sizes[o], rows[(i * COUNT(sizes) + o) % COUNT(rows)]);
    }
  free(d);
}

/* Done by ranges of inputs, with rows transposed once: the bits of the whole. */
static void check_ranges(const kernels *k, data *d, size_t in, size_t out, int rows) {
  size_t x_stride = in * BLOCK, dy_stride = out * BLOCK, stride = outer_stride(out);
  orr_real *scratch = malloc(2 * outer_scratch(out, rows) * sizeof *scratch);
  orr_real *dy_rows = scratch + outer_scratch(out, rows), *parts = d->packed;
  memcpy(d->sum, d->w, in * out * sizeof *d->w);
  memcpy(parts, d->w, in * out * sizeof *d->w);
  k->outer_add(d->sum, d->x, x_stride, d->dy, dy_stride, in, out, rows, scratch);
  k->transpose_rows(dy_rows, stride, d->dy, dy_stride, out, rows);
  for (size_t r = 0; r < (size_t)rows; r++)
    for (size_t o = 0; o < stride; o++) {
      orr_real want = o < out ? d->dy[r / BLOCK * dy_stride + o * BLOCK + r % BLOCK] : 0;
      cr_assert_eq(dy_rows[r * stride + o], want, "%s: row %zu, %zu", k->name, r, o);
    }
  for (size_t from = 0, count = 1; from < in; from += count, count = (count * 3 + 1) % 29) {
    if (count > in - from) count = in - from;
    orr_real *w = parts + from * out;
    const orr_real *x = d->x + from * BLOCK;
    if (out == 1) k->outer_add_column(w, x, x_stride, d->dy, dy_stride, count, rows);
    else k->outer_add_rows(w, x, x_stride, dy_rows, stride, count, out, rows);
  }
  cr_assert_eq(memcmp(parts, d->sum, in * out * sizeof *parts), 0, "%s %zu x %zu, %d rows", k->name,
               in, out, rows);
  free(scratch);
}

Test(kernel_matmul, outer_by_ranges) {
  static const int rows[] = {1, 16, 37, MOST_ROWS};
  static const size_t few[] = {1, 2, 5, 17, 34, 81, 128, LARGEST};
  data *d = data_new(6);
  EACH_TABLE(k)
  for (size_t i = 0; i < COUNT(few); i++)
    for (size_t o = 0; o < COUNT(few); o++)
      for (size_t r = 0; r < COUNT(rows); r++) check_ranges(k, d, few[i], few[o], rows[r]);
  free(d);
}

/* Lanes past the last row may hold anything. */
Test(kernel_matmul, outer_ignores_what_is_past_the_rows) {
  data *d = data_new(3);
  for (size_t f = 0; f < LARGEST; f++)
    for (size_t lane = 5; lane < BLOCK; lane++)
      d->x[f * BLOCK + lane] = d->dy[f * BLOCK + lane] = (orr_real)NAN;
  EACH_TABLE(k) {
    check_outer(k, d, 33, 17, 5);
    check_outer(k, d, 33, 1, 5);
  }
  free(d);
}

Test(kernel_matmul, gemm) {
  orr_engine *engine = orr_engine_new(NULL);
  data *d = data_new(4);
  static const int small[] = {1, 2, 5, 16, 33};
  for (int flags = 0; flags < 8; flags++)
    for (size_t s = 0; s < COUNT(small) * COUNT(small) * COUNT(small); s++) {
      int m = small[s % COUNT(small)], n = small[s / COUNT(small) % COUNT(small)];
      int k = small[s / COUNT(small) / COUNT(small)];
      bool ta = flags & 1, tb = flags & 2, accumulate = flags & 4;
      int lda = (ta ? m : k) + 1, ldb = (tb ? k : n) + 2, ldc = n + 3;
      for (int i = 0; i < m * ldc; i++) d->sum[i] = accumulate ? 1 : (orr_real)NAN;
      gemm(engine, ta, tb, m, n, k, d->x, lda, d->dy, ldb, accumulate, d->sum, ldc);
      for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
          double want = accumulate;
          for (int l = 0; l < k; l++)
            want += (double)d->x[ta ? l * lda + i : i * lda + l] *
                    (double)d->dy[tb ? j * ldb + l : l * ldb + j];
          cr_assert(fabs((double)d->sum[i * ldc + j] - want) < 1e-5, "%d x %d x %d flags %d", m, n,
                    k, flags);
        }
    }
  gemm(engine, false, false, 2, 2, 0, d->x, 1, d->dy, 2, false, d->sum, 2);
  cr_assert(d->sum[0] == 0 && d->sum[3] == 0, "a sum of nothing is 0");
  free(d);
  orr_engine_free(engine);
}
