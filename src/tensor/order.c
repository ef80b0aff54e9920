/* order.c - work along one axis that keeps the shape: sorts and running sums. */
#include <string.h>

#include "tensor/tensor.h"

/* Whether entry i stays in front of entry j, i before j: ascending, NaN last, equals in order. */
static bool in_order(const orr_real *values, int32_t i, int32_t j) {
  return values[i] <= values[j] || values[j] != values[j];
}

/* Merge sort from below: order[0 .. n) of values; `other` holds n more. */
static void sort_run(const orr_real *values, int32_t *order, int32_t *other, size_t n) {
  for (size_t i = 0; i < n; i++) order[i] = (int32_t)i;
  int32_t *from = order, *to = other;
  for (size_t width = 1; width < n; width *= 2) {
    for (size_t start = 0; start < n; start += 2 * width) {
      size_t middle = start + width < n ? start + width : n;
      size_t end = start + 2 * width < n ? start + 2 * width : n;
      size_t i = start, j = middle;
      for (size_t k = start; k < end; k++) {
        bool left = i < middle && (j >= end || in_order(values, from[i], from[j]));
        to[k] = left ? from[i++] : from[j++];
      }
    }
    int32_t *swap = from;
    from = to;
    to = swap;
  }
  if (from != order) memcpy(order, from, n * sizeof *order);
}

/* The axis exchanged with the last one: a view. */
static orr_tensor *axis_last(const orr_tensor *x, int axis) {
  int order[ORR_AXES];
  for (int i = 0; i < x->axes; i++) order[i] = i;
  order[axis] = x->axes - 1;
  order[x->axes - 1] = axis;
  return orr_tensor_transpose(x, order);
}

/* Sorts the last axis of contiguous reals. */
static orr_tensor *sort_last(const orr_tensor *x, orr_dtype dtype) {
  size_t n = (size_t)x->shape[x->axes - 1], runs = n ? (size_t)x->count / n : 0;
  if (n > INT32_MAX) {
    engine_fail(x->engine, ORR_SHAPE, "sort: %zu numbers along an axis are too many", n);
    return NULL;
  }
  orr_tensor *y = tensor_new_raw(x->engine, dtype, x->axes, x->shape);
  int32_t *order = y ? engine_new(x->engine, 2 * n + 1, sizeof *order) : NULL;
  if (!order) {
    orr_tensor_free(y);
    return NULL;
  }
  for (size_t r = 0; r < runs; r++) {
    const orr_real *values = (const orr_real *)tensor_const_data(x) + r * n;
    sort_run(values, order, order + n, n);
    orr_real *reals = (orr_real *)orr_tensor_data(y) + r * n;
    if (dtype == ORR_INT) memcpy((int32_t *)orr_tensor_data(y) + r * n, order, n * sizeof *order);
    else
      for (size_t i = 0; i < n; i++) reals[i] = values[order[i]];
  }
  engine_free_memory(x->engine, order);
  return y;
}

static orr_tensor *sort_along(const orr_tensor *x, int axis, const char *what, orr_dtype dtype) {
  if (!x || (axis = tensor_axis(x, axis, what)) < 0) return NULL;
  orr_tensor *turned = axis_last(x, axis), *reals = tensor_reals(turned);
  orr_tensor *sorted = reals ? sort_last(reals, dtype) : NULL;
  orr_tensor *back = sorted ? axis_last(sorted, axis) : NULL, *y = orr_tensor_contiguous(back);
  orr_tensor_free(turned);
  orr_tensor_free(reals);
  orr_tensor_free(sorted);
  orr_tensor_free(back);
  return y;
}

orr_tensor *orr_tensor_sort(const orr_tensor *x, int axis) {
  return sort_along(x, axis, "sort", ORR_REAL);
}

orr_tensor *orr_tensor_argsort(const orr_tensor *x, int axis) {
  return sort_along(x, axis, "argsort", ORR_INT);
}

orr_tensor *orr_tensor_cumsum(const orr_tensor *x, int axis, bool backwards) {
  if (!x || (axis = tensor_axis(x, axis, "cumsum")) < 0) return NULL;
  orr_tensor *y = tensor_reals_copy(x);
  if (!y) return NULL;
  span s = tensor_span(y, axis);
  orr_real *values = orr_tensor_data(y);
  for (size_t o = 0; o < s.outer; o++)
    for (size_t i = 0; i < s.inner; i++) {
      orr_real *run = values + o * s.n * s.inner + i;
      double sum = 0;
      for (size_t k = 0; k < s.n; k++) {
        orr_real *place = run + (backwards ? s.n - 1 - k : k) * s.inner;
        sum += (double)*place;
        *place = (orr_real)sum;
      }
    }
  return y;
}
