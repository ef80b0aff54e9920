/* elementwise.h - loops over the formulas of ops.def. Included by kernels.c only. */
#include "kernel/vector.h"

#define UNARY(name, forward, ...)                                          \
  static void unary_##name(orr_real *y, const orr_real *input, size_t n) { \
    EACH(n) {                                                              \
      orr_real x = input[i];                                               \
      y[i] = (orr_real)(forward);                                          \
    }                                                                      \
  }

#define BINARY(name, forward, ...)                                                             \
  INLINE orr_real one_##name(orr_real a, orr_real b) { return (orr_real)(forward); }           \
  static void binary_##name(orr_real *y, const orr_real *a, const orr_real *b, size_t n) {     \
    EACH(n) y[i] = one_##name(a[i], b[i]);                                                     \
  }                                                                                            \
  static void by_number_##name(orr_real *y, const orr_real *a, orr_real b, size_t n) {         \
    EACH(n) y[i] = one_##name(a[i], b);                                                        \
  }                                                                                            \
  static void number_by_##name(orr_real *y, orr_real a, const orr_real *b, size_t n) {         \
    EACH(n) y[i] = one_##name(a, b[i]);                                                        \
  }                                                                                            \
  static void by_feature_##name(orr_real *y, const orr_real *a, const orr_real *b, size_t n) { \
    for (size_t f = 0; f < n; f++) {                                                           \
      orr_real right = b[f];                                                                   \
      EACH_LANE y[f * BLOCK + lane] = one_##name(a[f * BLOCK + lane], right);                  \
    }                                                                                          \
  }                                                                                            \
  static void feature_by_##name(orr_real *y, const orr_real *a, const orr_real *b, size_t n) { \
    for (size_t f = 0; f < n; f++) {                                                           \
      orr_real right = b[f];                                                                   \
      EACH_LANE y[f * BLOCK + lane] = one_##name(right, a[f * BLOCK + lane]);                  \
    }                                                                                          \
  }
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED

static void select_either(orr_real *y, const orr_real *condition, const orr_real *a,
                          const orr_real *b, size_t n) {
  EACH(n) {
    orr_real left = a[i], right = b[i];
    y[i] = condition[i] != 0 ? left : right;
  }
}
