/* arithmetic.c - elementwise work with broadcasting: one tensor function per row of ops.def. */
#include <string.h>

#include "tensor/tensor.h"

orr_tensor *tensor_unary(const orr_tensor *x, unary_op op) {
  if (!x) return NULL;
  const kernels *kernel = engine_kernels(x->engine);
  if (x->dtype == ORR_REAL && orr_tensor_is_contiguous(x)) {
    orr_tensor *y = tensor_new_raw(x->engine, ORR_REAL, x->axes, x->shape);
    if (y) kernel->unary[op](orr_tensor_data(y), tensor_const_data(x), (size_t)x->count);
    return y;
  }
  orr_tensor *y = tensor_reals_copy(x);
  if (y) kernel->unary[op](orr_tensor_data(y), orr_tensor_data(y), (size_t)y->count);
  return y;
}

/* Strided operands are gathered into pieces of this many numbers. */
enum { PIECE = 256 };

static void gather_run(orr_real *piece, const orr_real *x, int64_t step, int64_t n) {
  for (int64_t i = 0; i < n; i++) piece[i] = x[i * step];
}

/* y[0 .. n) = a op b along one run. */
static void binary_run(const kernels *kernel, binary_op op, orr_real *y, const orr_real *a,
                       int64_t a_step, const orr_real *b, int64_t b_step, int64_t n) {
  if (a_step == 1 && b_step == 1) {
    kernel->binary[op](y, a, b, (size_t)n);
  } else if (a_step == 1 && b_step == 0) {
    kernel->binary_by_number[op](y, a, *b, (size_t)n);
  } else if (a_step == 0 && b_step == 1) {
    kernel->number_by_binary[op](y, *a, b, (size_t)n);
  } else {
    orr_real left[PIECE], right[PIECE];
    for (int64_t i = 0; i < n; i += PIECE) {
      int64_t length = n - i < PIECE ? n - i : PIECE;
      gather_run(left, a + i * a_step, a_step, length);
      gather_run(right, b + i * b_step, b_step, length);
      kernel->binary[op](y + i, left, right, (size_t)length);
    }
  }
}

/* a and b real and broadcasting to y, which is contiguous. */
static void binary_values(orr_tensor *y, const orr_tensor *a, const orr_tensor *b, binary_op op) {
  const kernels *kernel = engine_kernels(y->engine);
  const orr_real *left = tensor_const_data(a), *right = tensor_const_data(b);
  orr_real *out = orr_tensor_data(y);
  int64_t strides[WALK_OPERANDS][ORR_AXES];
  tensor_walk w;
  strides_within(y, y->axes, strides[0]);
  strides_within(a, y->axes, strides[1]);
  strides_within(b, y->axes, strides[2]);
  for (bool more = walk_start(&w, y->axes, y->shape, 3, strides); more; more = walk_next(&w))
    binary_run(kernel, op, out + w.offset[0], left + w.offset[1], w.step[1], right + w.offset[2],
               w.step[2], w.run);
}

orr_tensor *tensor_binary(const orr_tensor *a, const orr_tensor *b, binary_op op) {
  int axes;
  int64_t shape[ORR_AXES];
  if (!a || !b || !shape_broadcast(a, b, binary_name(op), &axes, shape)) return NULL;
  orr_tensor *left = tensor_any_reals(a), *right = left ? tensor_any_reals(b) : NULL;
  orr_tensor *y = right ? tensor_new_raw(a->engine, ORR_REAL, axes, shape) : NULL;
  if (y) binary_values(y, left, right, op);
  orr_tensor_free(left);
  orr_tensor_free(right);
  return y;
}

#define UNARY(name, ...) \
  orr_tensor *orr_tensor_##name(const orr_tensor *x) { return tensor_unary(x, UNARY_##name); }
#define BINARY(name, ...)                                                   \
  orr_tensor *orr_tensor_##name(const orr_tensor *a, const orr_tensor *b) { \
    return tensor_binary(a, b, BINARY_##name);                              \
  }
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED

/* x repeated to the shape, as contiguous reals. */
static orr_tensor *spread_to(const orr_tensor *x, int axes, const int64_t *shape) {
  orr_tensor *view = orr_tensor_broadcast(x, axes, shape), *reals = tensor_reals(view);
  orr_tensor_free(view);
  return reals;
}

orr_tensor *orr_tensor_select(const orr_tensor *condition, const orr_tensor *a,
                              const orr_tensor *b) {
  if (!condition || !a || !b) return NULL;
  int axes;
  int64_t shape[ORR_AXES];
  if (!shape_broadcast(a, b, "select between", &axes, shape)) return NULL;
  orr_tensor *left = spread_to(a, axes, shape);
  bool fits = left && shape_broadcast(condition, left, "select by", &axes, shape);
  orr_tensor_free(left);
  if (!fits) return NULL;
  orr_tensor *c = spread_to(condition, axes, shape);
  left = c ? spread_to(a, axes, shape) : NULL;
  orr_tensor *right = left ? spread_to(b, axes, shape) : NULL;
  orr_tensor *y = right ? tensor_new_raw(a->engine, ORR_REAL, axes, shape) : NULL;
  if (y)
    engine_kernels(a->engine)->select(orr_tensor_data(y), tensor_const_data(c),
                                      tensor_const_data(left), tensor_const_data(right),
                                      (size_t)y->count);
  orr_tensor_free(c);
  orr_tensor_free(left);
  orr_tensor_free(right);
  return y;
}

orr_tensor *orr_tensor_clamp(const orr_tensor *x, const orr_tensor *low, const orr_tensor *high) {
  orr_tensor *above = orr_tensor_max(x, low), *y = orr_tensor_min(above, high);
  orr_tensor_free(above);
  return y;
}
