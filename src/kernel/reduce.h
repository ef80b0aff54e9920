/* reduce.h - sums and maxima along the middle axis of x[outer][n][inner], and over rows. Included by
   kernels.c only. Every result adds in a fixed order, so it does not depend on the instruction set. */
#include "kernel/vector.h"
#include "kernel/math.h"

/* BLOCK columns at a time in registers, then the rest one by one. */
#define REDUCE(name, combine)                                                                   \
  static void name(orr_real *y, const orr_real *x, size_t outer, size_t n, size_t inner) {      \
    for (size_t o = 0; o < outer; o++, y += inner, x += n * inner) {                            \
      size_t column = 0;                                                                        \
      for (; column + BLOCK <= inner; column += BLOCK) {                                        \
        orr_real total[BLOCK];                                                                  \
        memcpy(total, x + column, sizeof total);                                                \
        for (size_t k = 1; k < n; k++) {                                                        \
          const orr_real *next = x + k * inner + column;                                        \
          for (int lane = 0; lane < BLOCK; lane++) total[lane] = combine(total[lane], next[lane]); \
        }                                                                                       \
        memcpy(y + column, total, sizeof total);                                                \
      }                                                                                         \
      for (; column < inner; column++) {                                                        \
        orr_real total = x[column];                                                             \
        for (size_t k = 1; k < n; k++) total = combine(total, x[k * inner + column]);           \
        y[column] = total;                                                                      \
      }                                                                                         \
    }                                                                                           \
  }

#define PLUS(a, b) ((a) + (b))
REDUCE(sum_along, PLUS)
REDUCE(max_along, real_max)

/* One row's lanes add in pairs: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */
static void row_add(orr_real *y, const orr_real *x, size_t features, int lanes, int valid) {
  if (lanes == 1) {
    for (size_t f = 0; f < features; f++) y[f] += x[f];
    return;
  }
  for (size_t f = 0; f < features; f++, x += lanes) {
    orr_real part[BLOCK] = {0};
    if (valid == BLOCK) memcpy(part, x, sizeof part);
    else for (int lane = 0; lane < valid; lane++) part[lane] = x[lane];
    for (int half = BLOCK / 2; half; half /= 2)
      for (int lane = 0; lane < half; lane++) part[lane] += part[lane + half];
    y[f] += part[0];
  }
}
