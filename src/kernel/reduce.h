/* reduce.h - sums and maxima along the middle axis of x[outer][n][inner], and over rows. Included
   by kernels.c only. Every result adds in a fixed order, so it does not depend on the instruction
   set. */
#ifndef KERNEL_REDUCE_H
#define KERNEL_REDUCE_H

#include "kernel/blocks.h"
#include "kernel/math.h"

/* Rows of fewer than BLOCK columns, many of them: row k goes to partial result k % parts, a power
   of two chosen so that a turn is MANY numbers or a little more; the partial results then fold in
   halves. */
enum { MANY = 128, FEW_ROWS = 64 };

INLINE size_t partial_rows(size_t n, size_t inner) {
  size_t parts = BLOCK;
  while (parts * inner < MANY && 2 * parts <= n / 2) parts *= 2;
  return parts;
}

#define REDUCE(name, combine)                                                                      \
  /* One block of columns in registers, in the order of the rows. */                               \
  static void name##_block(orr_real *y, const orr_real *x, size_t n, size_t inner) {               \
    orr_real total[BLOCK];                                                                         \
    memcpy(total, x, sizeof total);                                                                \
    for (size_t k = 1; k < n; k++) {                                                               \
      const orr_real *next = x + k * inner;                                                        \
      EACH_LANE total[lane] = combine(total[lane], next[lane]);                                    \
    }                                                                                              \
    memcpy(y, total, sizeof total);                                                                \
  }                                                                                                \
  /* Fewer columns, few rows: in the order of the rows too. */                                     \
  static void name##_few(orr_real *y, const orr_real *x, size_t n, size_t inner) {                 \
    orr_real total[BLOCK];                                                                         \
    for (size_t i = 0; i < inner; i++) total[i] = x[i];                                            \
    for (size_t k = 1; k < n; k++)                                                                 \
      for (size_t i = 0; i < inner; i++) total[i] = combine(total[i], x[k * inner + i]);           \
    for (size_t i = 0; i < inner; i++) y[i] = total[i];                                            \
  }                                                                                                \
  static void name##_many(orr_real *y, const orr_real *x, size_t n, size_t inner) {                \
    orr_real total[2 * MANY];                                                                      \
    size_t parts = partial_rows(n, inner), period = parts * inner, count = n * inner;              \
    memcpy(total, x, period * sizeof *x);                                                          \
    size_t at = period;                                                                            \
    for (; at + period <= count; at += period)                                                     \
      EACH(period) total[i] = combine(total[i], x[at + i]);                                        \
    EACH(count - at) total[i] = combine(total[i], x[at + i]);                                      \
    for (parts /= 2; parts > 0; parts /= 2)                                                        \
      EACH(parts *inner) total[i] = combine(total[i], total[parts * inner + i]);                   \
    memcpy(y, total, inner * sizeof *y);                                                           \
  }                                                                                                \
  /* Rows of a matrix, BLOCK side by side. */                                                      \
  static size_t name##_rows(orr_real *y, const orr_real *x, size_t outer, size_t n) {              \
    orr_real block[FEW_ROWS * BLOCK];                                                              \
    size_t o = 0;                                                                                  \
    for (; o + BLOCK <= outer; o += BLOCK) {                                                       \
      const orr_real *row[BLOCK];                                                                  \
      for (size_t lane = 0; lane < BLOCK; lane++) row[lane] = x + (o + lane) * n;                  \
      load_block(block, row, BLOCK, n);                                                            \
      name##_block(y + o, block, n, BLOCK);                                                        \
    }                                                                                              \
    return o;                                                                                      \
  }                                                                                                \
  static void name##_along(orr_real *y, const orr_real *x, size_t outer, size_t n, size_t inner) { \
    size_t o = inner == 1 && n < FEW_ROWS ? name##_rows(y, x, outer, n) : 0;                       \
    for (y += o * inner, x += o * n * inner; o < outer; o++, y += inner, x += n * inner) {         \
      if (inner < BLOCK && n < FEW_ROWS) name##_few(y, x, n, inner);                               \
      else if (inner < BLOCK) name##_many(y, x, n, inner);                                         \
      else                                                                                         \
        for (size_t column = 0; column < inner; column += BLOCK) {                                 \
          size_t from = column + BLOCK <= inner ? column : inner - BLOCK; /* some twice */         \
          name##_block(y + from, x + from, n, inner);                                              \
        }                                                                                          \
    }                                                                                              \
  }

#define PLUS(a, b) ((a) + (b))
REDUCE(sum, PLUS)
REDUCE(max, real_max)

/* Lanes i, i + 4, i + 8, i + 12 add first, (0 + 4) + (8 + 12); then the four sums,
   (0 + 1) + (2 + 3). */
INLINE four fold_lanes(const orr_real *x) {
  return (load_four(x) + load_four(x + 4)) + (load_four(x + 8) + load_four(x + 12));
}

/* The four sums of each of four features, added up. */
INLINE four finish_fold(const four x[4]) {
  four low = __builtin_shufflevector(x[0], x[1], 0, 4, 2, 6) +
             __builtin_shufflevector(x[0], x[1], 1, 5, 3, 7);
  four high = __builtin_shufflevector(x[2], x[3], 0, 4, 2, 6) +
              __builtin_shufflevector(x[2], x[3], 1, 5, 3, 7);
  return __builtin_shufflevector(low, high, 0, 1, 4, 5) +
         __builtin_shufflevector(low, high, 2, 3, 6, 7);
}

static void add_lanes(orr_real *y, const orr_real *x, int lanes, int valid) {
  orr_real part[BLOCK] = {0};
  memcpy(part, x, (size_t)(valid < lanes ? valid : lanes) * sizeof *x);
  four sums = fold_lanes(part);
  *y += (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static void row_add(orr_real *y, const orr_real *x, size_t features, int lanes, int valid) {
  size_t f = 0;
  for (; lanes == BLOCK && valid == BLOCK && f + 4 <= features; f += 4) {
    four sums[4];
    UNROLL for (size_t j = 0; j < 4; j++) { sums[j] = fold_lanes(x + (f + j) * BLOCK); }
    store_four(y + f, load_four(y + f) + finish_fold(sums));
  }
  if (lanes == 1)
    for (; f < features; f++) y[f] += x[f];
  else
    for (; f < features; f++) add_lanes(y + f, x + f * (size_t)lanes, lanes, valid);
}

#endif
