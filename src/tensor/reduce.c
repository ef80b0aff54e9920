/* reduce.c - one number from many: x seen as [outer][n][inner], the middle axis goes. */
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

/* What is left of x's shape without the axis. */
static orr_tensor *new_reduced(const orr_tensor *x, int axis, bool keep, orr_dtype dtype) {
  int64_t shape[ORR_AXES];
  int axes = 0;
  for (int i = 0; i < x->axes; i++) {
    bool goes = axis == ORR_ALL_AXES || i == axis;
    if (!goes || keep) shape[axes++] = goes ? 1 : x->shape[i];
  }
  return tensor_new_raw(x->engine, dtype, axes, shape);
}

/* The axis as 0 .. axes-1 or ORR_ALL_AXES; false when there is none such, or nothing along it. */
static bool find_axis(const orr_tensor *x, int *axis, const char *what, bool needs_some) {
  if (!x) return false;
  if (*axis != ORR_ALL_AXES && (*axis = tensor_axis(x, *axis, what)) < 0) return false;
  if (!needs_some || tensor_span(x, *axis).n > 0) return true;
  char text[SHAPE_TEXT];
  engine_fail(x->engine, ORR_SHAPE, "%s: %s has no numbers along that axis", what,
              shape_text(text, x->axes, x->shape));
  return false;
}

/* Long sums go by pieces, and the pieces' sums are summed the same way: the rounding error grows
   with the logarithm of n. Numbers that lie behind each other are added in LANES columns, which
   vectorises. The cut depends on n alone, so the bits do not depend on the machine. */
enum { PIECE = 64, LANES = 16 };

static orr_status sum_values(orr_engine *engine, orr_real *y, const orr_real *x, span s);

/* y from the sums of pieces that piece_sums writes, `count` for each of s.outer. */
static orr_status
sum_pieces(orr_engine *engine, orr_real *y, const orr_real *x, span s, size_t count,
           void (*piece_sums)(const kernels *, orr_real *, const orr_real *, span)) {
  orr_real *partial = engine_new(engine, s.outer * count * s.inner, sizeof *partial);
  if (!partial) return engine->status;
  for (size_t o = 0; o < s.outer; o++)
    piece_sums(engine_kernels(engine), partial + o * count * s.inner, x + o * s.n * s.inner, s);
  orr_status status = sum_values(engine, y, partial, (span){s.outer, count, s.inner});
  engine_free_memory(engine, partial);
  return status;
}

static void sum_rows(const kernels *kernel, orr_real *y, const orr_real *x, span s) {
  for (size_t k = 0; k < s.n; k += PIECE, y += s.inner)
    kernel->sum(y, x + k * s.inner, 1, s.n - k < PIECE ? s.n - k : PIECE, s.inner);
}

/* inner is 1: as many rows of LANES numbers as there are, and the rest as it is. */
static void sum_lanes(const kernels *kernel, orr_real *y, const orr_real *x, span s) {
  size_t rows = s.n / LANES;
  sum_rows(kernel, y, x, (span){1, rows, LANES});
  y += (rows + PIECE - 1) / PIECE * LANES;
  memcpy(y, x + rows * LANES, s.n % LANES * sizeof *y);
}

static orr_status sum_values(orr_engine *engine, orr_real *y, const orr_real *x, span s) {
  size_t rows = s.n / LANES;
  if (s.n == 0) memset(y, 0, s.outer * s.inner * sizeof *y);
  else if (s.n <= PIECE) engine_kernels(engine)->sum(y, x, s.outer, s.n, s.inner);
  else if (s.inner > 1) return sum_pieces(engine, y, x, s, (s.n + PIECE - 1) / PIECE, sum_rows);
  else
    return sum_pieces(engine, y, x, s, (rows + PIECE - 1) / PIECE * LANES + s.n % LANES, sum_lanes);
  return ORR_OK;
}

static void max_values(orr_engine *engine, orr_real *y, const orr_real *x, span s) {
  if (s.outer && s.inner) engine_kernels(engine)->max(y, x, s.outer, s.n, s.inner);
}

static orr_tensor *reduce(const orr_tensor *x, int axis, bool keep, const char *what,
                          bool greatest) {
  if (!find_axis(x, &axis, what, greatest)) return NULL;
  orr_tensor *reals = tensor_reals(x);
  orr_tensor *y = reals ? new_reduced(x, axis, keep, ORR_REAL) : NULL;
  span s = tensor_span(x, axis);
  if (y && greatest) max_values(x->engine, orr_tensor_data(y), tensor_const_data(reals), s);
  else if (y && sum_values(x->engine, orr_tensor_data(y), tensor_const_data(reals), s)) {
    orr_tensor_free(y);
    y = NULL;
  }
  orr_tensor_free(reals);
  return y;
}

orr_tensor *orr_tensor_sum(const orr_tensor *x, int axis, bool keep) {
  return reduce(x, axis, keep, "sum", false);
}

orr_tensor *orr_tensor_max_along(const orr_tensor *x, int axis, bool keep) {
  return reduce(x, axis, keep, "max_along", true);
}

/* result, after dropping what it was made from. */
static orr_tensor *drop(orr_tensor *result, orr_tensor *a, orr_tensor *b) {
  orr_tensor_free(a);
  orr_tensor_free(b);
  return result;
}

static orr_tensor *by_number(orr_tensor *x, double number, binary_op op) {
  orr_tensor *b = x ? orr_tensor_number(x->engine, number) : NULL;
  return drop(tensor_binary(x, b, op), b, NULL);
}

orr_tensor *orr_tensor_min_along(const orr_tensor *x, int axis, bool keep) {
  if (!find_axis(x, &axis, "min_along", true)) return NULL;
  orr_tensor *negated = orr_tensor_neg(x), *most = reduce(negated, axis, keep, "min_along", true);
  return drop(orr_tensor_neg(most), negated, most);
}

orr_tensor *orr_tensor_mean(const orr_tensor *x, int axis, bool keep) {
  if (!find_axis(x, &axis, "mean", true)) return NULL;
  orr_tensor *sum = orr_tensor_sum(x, axis, keep);
  return drop(by_number(sum, (double)tensor_span(x, axis).n, BINARY_div), sum, NULL);
}

orr_tensor *orr_tensor_variance(const orr_tensor *x, int axis, bool keep, int correction) {
  if (!find_axis(x, &axis, "variance", true)) return NULL;
  double n = (double)tensor_span(x, axis).n;
  if (n - correction <= 0) {
    engine_fail(x->engine, ORR_SHAPE, "variance: %.0f numbers are too few for a correction of %d",
                n, correction);
    return NULL;
  }
  orr_tensor *mean = orr_tensor_mean(x, axis, true), *centred = orr_tensor_sub(x, mean);
  orr_tensor *square = orr_tensor_square(centred), *sum = orr_tensor_sum(square, axis, keep);
  drop(NULL, mean, centred);
  return drop(by_number(sum, n - correction, BINARY_div), square, sum);
}

orr_tensor *orr_tensor_std(const orr_tensor *x, int axis, bool keep, int correction) {
  orr_tensor *variance = orr_tensor_variance(x, axis, keep, correction);
  return drop(orr_tensor_sqrt(variance), variance, NULL);
}

orr_tensor *orr_tensor_norm(const orr_tensor *x, int axis, bool keep) {
  orr_tensor *square = orr_tensor_square(x), *sum = orr_tensor_sum(square, axis, keep);
  return drop(orr_tensor_sqrt(sum), square, sum);
}

/* The greatest along the axis, kept; 0 where it is infinite or NaN, so that subtracting it keeps
   exp(-inf) = 0 and lets an infinity or NaN through. */
static orr_tensor *shift_of(const orr_tensor *x, int axis) {
  orr_tensor *most = orr_tensor_max_along(x, axis, true), *finite = orr_tensor_is_finite(most);
  orr_tensor *shift = finite ? orr_tensor_masked_mul(finite, most) : NULL;
  return drop(shift, most, finite);
}

orr_tensor *orr_tensor_logsumexp(const orr_tensor *x, int axis, bool keep) {
  if (!find_axis(x, &axis, "logsumexp", true)) return NULL;
  orr_tensor *shift = shift_of(x, axis), *shifted = orr_tensor_sub(x, shift);
  orr_tensor *power = orr_tensor_exp(shifted), *sum = orr_tensor_sum(power, axis, keep);
  orr_tensor *log = orr_tensor_log(sum);
  orr_tensor *fitted = log ? orr_tensor_reshape(shift, log->axes, log->shape) : NULL;
  orr_tensor *y = orr_tensor_add(log, fitted);
  drop(NULL, shift, shifted);
  drop(NULL, power, sum);
  return drop(y, log, fitted);
}

orr_tensor *orr_tensor_softmax(const orr_tensor *x, int axis) {
  if (!find_axis(x, &axis, "softmax", true)) return NULL;
  orr_tensor *most = orr_tensor_max_along(x, axis, true), *shifted = orr_tensor_sub(x, most);
  orr_tensor *power = orr_tensor_exp(shifted), *sum = orr_tensor_sum(power, axis, true);
  orr_tensor *y = orr_tensor_div(power, sum);
  drop(NULL, most, shifted);
  return drop(y, power, sum);
}

/* Whether a ranks above b; NaN ranks below everything. */
static bool above(orr_real a, orr_real b) { return a > b || (b != b && a == a); }

static orr_tensor *arg_extreme(const orr_tensor *x, int axis, bool keep, const char *what,
                               orr_real sign) {
  if (!find_axis(x, &axis, what, true)) return NULL;
  orr_tensor *reals = tensor_reals(x);
  orr_tensor *y = reals ? new_reduced(x, axis, keep, ORR_INT) : NULL;
  span s = tensor_span(x, axis);
  const orr_real *values = reals ? tensor_const_data(reals) : NULL;
  int32_t *out = y ? orr_tensor_data(y) : NULL;
  for (size_t o = 0; y && o < s.outer; o++)
    for (size_t i = 0; i < s.inner; i++) {
      const orr_real *run = values + o * s.n * s.inner + i;
      size_t best = 0;
      for (size_t k = 1; k < s.n; k++)
        if (above(sign * run[k * s.inner], sign * run[best * s.inner])) best = k;
      out[o * s.inner + i] = (int32_t)best;
    }
  orr_tensor_free(reals);
  return y;
}

orr_tensor *orr_tensor_argmax(const orr_tensor *x, int axis, bool keep) {
  return arg_extreme(x, axis, keep, "argmax", 1);
}

orr_tensor *orr_tensor_argmin(const orr_tensor *x, int axis, bool keep) {
  return arg_extreme(x, axis, keep, "argmin", -1);
}
