/* copy.c - values from one place and dtype to another. */
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

static int32_t to_int(double x) {
  if (!(x > -2147483648.0)) return x != x ? 0 : INT32_MIN;
  return x >= 2147483647.0 ? INT32_MAX : (int32_t)nearbyint(x);
}

static uint8_t to_byte(double x) {
  if (!(x > 0)) return 0;
  return x >= 255 ? 255 : (uint8_t)nearbyint(x);
}

/* One run: y[i * step] = x[i * step], converted. */
#define RUN(To, From, expression)     \
  do {                                \
    To *to = y;                       \
    const From *from = x;             \
    for (int64_t i = 0; i < n; i++) { \
      From value = from[i * x_step];  \
      to[i * y_step] = expression;    \
    }                                 \
  } while (0)

static void copy_run(orr_dtype to_type, void *y, int64_t y_step, orr_dtype from_type, const void *x,
                     int64_t x_step, int64_t n) {
  if (to_type == from_type && y_step == 1 && x_step == 1) {
    memcpy(y, x, (size_t)n * dtype_size(to_type));
  } else if (to_type == ORR_REAL) {
    if (from_type == ORR_REAL) RUN(orr_real, orr_real, value);
    else if (from_type == ORR_INT) RUN(orr_real, int32_t, (orr_real)value);
    else RUN(orr_real, uint8_t, value);
  } else if (to_type == ORR_INT) {
    if (from_type == ORR_REAL) RUN(int32_t, orr_real, to_int(value));
    else if (from_type == ORR_INT) RUN(int32_t, int32_t, value);
    else RUN(int32_t, uint8_t, value);
  } else {
    if (from_type == ORR_REAL) RUN(uint8_t, orr_real, to_byte(value));
    else if (from_type == ORR_INT) RUN(uint8_t, int32_t, to_byte(value));
    else RUN(uint8_t, uint8_t, value);
  }
}

/* y takes x's values; x broadcasts to y's shape. They do not overlap. */
static void copy_values(orr_tensor *y, const orr_tensor *x) {
  int64_t strides[WALK_OPERANDS][ORR_AXES];
  tensor_walk w;
  memcpy(strides[0], y->strides, sizeof y->strides);
  strides_within(x, y->axes, strides[1]);
  char *to = orr_tensor_data(y);
  const char *from = tensor_const_data(x);
  int64_t to_size = (int64_t)dtype_size(y->dtype), from_size = (int64_t)dtype_size(x->dtype);
  for (bool more = walk_start(&w, y->axes, y->shape, 2, strides); more; more = walk_next(&w))
    copy_run(y->dtype, to + w.offset[0] * to_size, w.step[0], x->dtype,
             from + w.offset[1] * from_size, w.step[1], w.run);
}

static orr_tensor *copy_as(const orr_tensor *x, orr_dtype dtype) {
  orr_tensor *y = tensor_new_raw(x->engine, dtype, x->axes, x->shape);
  if (y) copy_values(y, x);
  return y;
}

orr_tensor *orr_tensor_copy(const orr_tensor *x) { return x ? copy_as(x, x->dtype) : NULL; }
orr_tensor *orr_tensor_convert(const orr_tensor *x, orr_dtype dtype) {
  return x ? copy_as(x, dtype) : NULL;
}

orr_tensor *orr_tensor_contiguous(const orr_tensor *x) {
  if (!x) return NULL;
  return orr_tensor_is_contiguous(x) ? tensor_view(x) : orr_tensor_copy(x);
}

/* Holding x itself spares a view; the count is atomic and not part of the value. */
static orr_tensor *hold(const orr_tensor *x) {
  return orr_tensor_retain((orr_tensor *)(uintptr_t)x);
}

orr_tensor *tensor_reals(const orr_tensor *x) {
  if (!x) return NULL;
  return x->dtype == ORR_REAL && orr_tensor_is_contiguous(x) ? hold(x) : copy_as(x, ORR_REAL);
}

orr_tensor *tensor_any_reals(const orr_tensor *x) {
  if (!x) return NULL;
  return x->dtype == ORR_REAL ? hold(x) : copy_as(x, ORR_REAL);
}

orr_tensor *tensor_reals_copy(const orr_tensor *x) { return x ? copy_as(x, ORR_REAL) : NULL; }

orr_status orr_tensor_assign(orr_tensor *x, const orr_tensor *y) {
  if (!x || !y) return x ? x->engine->status : y ? y->engine->status : ORR_ARGUMENT;
  orr_tensor *fitted = orr_tensor_broadcast(y, x->axes, x->shape);
  if (!fitted && x->engine->status != ORR_SHAPE) return x->engine->status;
  if (!fitted) {
    char to[SHAPE_TEXT], from[SHAPE_TEXT];
    return engine_fail(x->engine, ORR_SHAPE, "cannot assign %s to %s",
                       shape_text(from, y->axes, y->shape), shape_text(to, x->axes, x->shape));
  }
  if (y->storage == x->storage) { /* they may overlap */
    orr_tensor *apart = orr_tensor_copy(fitted);
    orr_tensor_free(fitted);
    if (!apart) return x->engine->status;
    fitted = apart;
  }
  copy_values(x, fitted);
  orr_tensor_touch(x);
  orr_tensor_free(fitted);
  return ORR_OK;
}

orr_status orr_tensor_fill(orr_tensor *x, double value) {
  int64_t strides[WALK_OPERANDS][ORR_AXES];
  tensor_walk w;
  memcpy(strides[0], x->strides, sizeof x->strides);
  orr_real real = (orr_real)value;
  int32_t whole = to_int(value);
  uint8_t byte = to_byte(value);
  const void *from = x->dtype == ORR_REAL  ? (const void *)&real
                     : x->dtype == ORR_INT ? (const void *)&whole
                                           : &byte;
  char *to = orr_tensor_data(x);
  int64_t size = (int64_t)dtype_size(x->dtype);
  for (bool more = walk_start(&w, x->axes, x->shape, 1, strides); more; more = walk_next(&w))
    copy_run(x->dtype, to + w.offset[0] * size, w.step[0], x->dtype, from, 0, w.run);
  orr_tensor_touch(x);
  return ORR_OK;
}

static double read_one(orr_dtype dtype, const void *data, int64_t i) {
  if (dtype == ORR_REAL) return (double)((const orr_real *)data)[i];
  return dtype == ORR_INT ? (double)((const int32_t *)data)[i] : (double)((const uint8_t *)data)[i];
}

double orr_tensor_get(const orr_tensor *x, int64_t position) {
  int64_t offset = 0;
  for (int i = x->axes - 1; i >= 0; i--) {
    offset += position % x->shape[i] * x->strides[i];
    position /= x->shape[i];
  }
  return read_one(x->dtype, tensor_const_data(x), offset);
}

orr_status orr_tensor_item(const orr_tensor *x, double *value) {
  if (!x) return ORR_ARGUMENT;
  if (x->count != 1) {
    char text[SHAPE_TEXT];
    return engine_fail(x->engine, ORR_SHAPE, "item: %s is not one number",
                       shape_text(text, x->axes, x->shape));
  }
  *value = orr_tensor_get(x, 0);
  return ORR_OK;
}

orr_status orr_tensor_read(const orr_tensor *x, double *values) {
  int64_t strides[WALK_OPERANDS][ORR_AXES];
  tensor_walk w;
  memcpy(strides[0], x->strides, sizeof x->strides);
  int64_t at = 0;
  const void *data = tensor_const_data(x);
  for (bool more = walk_start(&w, x->axes, x->shape, 1, strides); more; more = walk_next(&w))
    for (int64_t i = 0; i < w.run; i++)
      values[at++] = read_one(x->dtype, data, w.offset[0] + i * w.step[0]);
  return ORR_OK;
}

orr_status orr_tensor_write(orr_tensor *x, const double *values) {
  int64_t strides[WALK_OPERANDS][ORR_AXES];
  tensor_walk w;
  memcpy(strides[0], x->strides, sizeof x->strides);
  int64_t at = 0;
  void *data = orr_tensor_data(x);
  for (bool more = walk_start(&w, x->axes, x->shape, 1, strides); more; more = walk_next(&w))
    for (int64_t i = 0; i < w.run; i++) {
      int64_t place = w.offset[0] + i * w.step[0];
      double value = values[at++];
      if (x->dtype == ORR_REAL) ((orr_real *)data)[place] = (orr_real)value;
      else if (x->dtype == ORR_INT) ((int32_t *)data)[place] = to_int(value);
      else ((uint8_t *)data)[place] = to_byte(value);
    }
  orr_tensor_touch(x);
  return ORR_OK;
}

bool orr_tensor_all_finite(const orr_tensor *x) {
  int64_t strides[WALK_OPERANDS][ORR_AXES];
  tensor_walk w;
  if (x->dtype != ORR_REAL) return true;
  memcpy(strides[0], x->strides, sizeof x->strides);
  const orr_real *data = tensor_const_data(x);
  for (bool more = walk_start(&w, x->axes, x->shape, 1, strides); more; more = walk_next(&w))
    for (int64_t i = 0; i < w.run; i++)
      if (!isfinite(data[w.offset[0] + i * w.step[0]])) return false;
  return true;
}

/* tolerance < 0: equal to the bit, apart from NaN. */
static bool alike(const orr_tensor *a, const orr_tensor *b, double tolerance) {
  if (!a || !b || a->axes != b->axes) return false;
  for (int i = 0; i < a->axes; i++)
    if (a->shape[i] != b->shape[i]) return false;
  int64_t strides[WALK_OPERANDS][ORR_AXES];
  tensor_walk w;
  memcpy(strides[0], a->strides, sizeof a->strides);
  memcpy(strides[1], b->strides, sizeof b->strides);
  const void *left = tensor_const_data(a), *right = tensor_const_data(b);
  for (bool more = walk_start(&w, a->axes, a->shape, 2, strides); more; more = walk_next(&w))
    for (int64_t i = 0; i < w.run; i++) {
      double x = read_one(a->dtype, left, w.offset[0] + i * w.step[0]);
      double y = read_one(b->dtype, right, w.offset[1] + i * w.step[1]);
      if (x == y || (x != x && y != y)) continue;
      if (!(tolerance >= 0) || !(fabs(x - y) <= tolerance * (1 + fabs(y)))) return false;
    }
  return true;
}

bool orr_tensor_same(const orr_tensor *a, const orr_tensor *b) { return alike(a, b, -1); }
bool orr_tensor_close(const orr_tensor *a, const orr_tensor *b, double tolerance) {
  return alike(a, b, tolerance);
}
