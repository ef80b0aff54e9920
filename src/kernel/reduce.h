/* reduce.h - sums and maxima along the middle axis of x[outer][n][inner], and over rows. Included
   by kernels.c only. Every result adds in a fixed order, so it does not depend on the instruction
   set. */
#ifndef KERNEL_REDUCE_H
#define KERNEL_REDUCE_H

#include "kernel/blocks.h"
#include "kernel/math.h"

/* BLOCK columns at a time in registers, then the rest one by one. */
#define REDUCE(name, combine)                                                              \
  static void name(orr_real *y, const orr_real *x, size_t outer, size_t n, size_t inner) { \
    for (size_t o = 0; o < outer; o++, y += inner, x += n * inner) {                       \
      size_t column = 0;                                                                   \
      for (; column + BLOCK <= inner; column += BLOCK) {                                   \
        orr_real total[BLOCK];                                                             \
        memcpy(total, x + column, sizeof total);                                           \
        for (size_t k = 1; k < n; k++) {                                                   \
          const orr_real *next = x + k * inner + column;                                   \
          EACH_LANE total[lane] = combine(total[lane], next[lane]);                        \
        }                                                                                  \
        memcpy(y + column, total, sizeof total);                                           \
      }                                                                                    \
      for (; column < inner; column++) {                                                   \
        orr_real total = x[column];                                                        \
        for (size_t k = 1; k < n; k++) total = combine(total, x[k * inner + column]);      \
        y[column] = total;                                                                 \
      }                                                                                    \
    }                                                                                      \
  }

#define PLUS(a, b) ((a) + (b))
REDUCE(sum_along, PLUS)
REDUCE(max_along, real_max)

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
