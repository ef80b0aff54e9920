/* join.c - several tensors into one, and entries picked by index. */
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

static orr_dtype common_dtype(const orr_tensor *const *parts, int count) {
  for (int i = 1; i < count; i++)
    if (parts[i]->dtype != parts[0]->dtype) return ORR_REAL;
  return parts[0]->dtype;
}

/* Checks that the parts agree outside the axis; its lengths add up to *length. */
static bool fits_along(const orr_tensor *const *parts, int count, int axis, int64_t *length) {
  const orr_tensor *first = parts[0];
  *length = 0;
  for (int p = 0; p < count; p++) {
    bool fits = parts[p]->axes == first->axes;
    for (int i = 0; fits && i < first->axes; i++)
      fits = i == axis || parts[p]->shape[i] == first->shape[i];
    if (!fits) {
      char left[SHAPE_TEXT], right[SHAPE_TEXT];
      engine_fail(first->engine, ORR_SHAPE,
                  "concat: part 1 is %s, part %d is %s: they may differ in axis %d only",
                  shape_text(left, first->axes, first->shape), p + 1,
                  shape_text(right, parts[p]->axes, parts[p]->shape), axis + 1);
      return false;
    }
    if (__builtin_add_overflow(*length, parts[p]->shape[axis], length)) *length = INT64_MAX;
  }
  return true;
}

static bool all_there(const orr_tensor *const *parts, int count) {
  for (int i = 0; i < count; i++)
    if (!parts[i]) return false;
  return count > 0;
}

orr_tensor *orr_tensor_concat(const orr_tensor *const *parts, int count, int axis) {
  int64_t length, shape[ORR_AXES], at = 0;
  if (!all_there(parts, count) || (axis = tensor_axis(parts[0], axis, "concat")) < 0 ||
      !fits_along(parts, count, axis, &length))
    return NULL;
  memcpy(shape, parts[0]->shape, sizeof shape);
  shape[axis] = length;
  orr_tensor *y =
      tensor_new_raw(parts[0]->engine, common_dtype(parts, count), parts[0]->axes, shape);
  for (int p = 0; y && p < count; p++) {
    int64_t next = at + parts[p]->shape[axis];
    orr_tensor *room = orr_tensor_slice(y, axis, at, next, 1);
    if (!room || orr_tensor_assign(room, parts[p])) {
      orr_tensor_free(y);
      y = NULL;
    }
    orr_tensor_free(room);
    at = next;
  }
  return y;
}

orr_tensor *orr_tensor_stack(const orr_tensor *const *parts, int count, int axis) {
  int64_t shape[ORR_AXES];
  if (!all_there(parts, count)) return NULL;
  const orr_tensor *first = parts[0];
  int wanted = axis < 0 ? axis + first->axes + 1 : axis;
  for (int p = 0; p < count; p++) {
    bool fits = parts[p]->axes == first->axes && first->axes < ORR_AXES && wanted >= 0 &&
                wanted <= first->axes;
    for (int i = 0; fits && i < first->axes; i++) fits = parts[p]->shape[i] == first->shape[i];
    if (fits) continue;
    char left[SHAPE_TEXT], right[SHAPE_TEXT];
    engine_fail(first->engine, ORR_SHAPE,
                "stack: cannot put %s (part 1) and %s (part %d) along a new axis %d",
                shape_text(left, first->axes, first->shape),
                shape_text(right, parts[p]->axes, parts[p]->shape), p + 1,
                axis < 0 ? axis : axis + 1);
    return NULL;
  }
  for (int i = 0; i < first->axes; i++) shape[i < wanted ? i : i + 1] = first->shape[i];
  shape[wanted] = count;
  orr_tensor *y = tensor_new_raw(first->engine, common_dtype(parts, count), first->axes + 1, shape);
  for (int p = 0; y && p < count; p++) {
    orr_tensor *room = orr_tensor_at(y, wanted, p);
    if (!room || orr_tensor_assign(room, parts[p])) {
      orr_tensor_free(y);
      y = NULL;
    }
    orr_tensor_free(room);
  }
  return y;
}

/* All of an index tensor, checked against 0 .. limit-1. NULL, with a message, when out of range. */
static int64_t *read_indices(const orr_tensor *index, int64_t limit, const char *what) {
  orr_engine *engine = index->engine;
  double *values = engine_new(engine, (size_t)index->count + 1, sizeof *values);
  int64_t *indices = values ? engine_new(engine, (size_t)index->count + 1, sizeof *indices) : NULL;
  if (indices) orr_tensor_read(index, values);
  for (int64_t i = 0; indices && i < index->count; i++) {
    if (values[i] >= 0 && values[i] < (double)limit && values[i] == floor(values[i])) {
      indices[i] = (int64_t)values[i];
      continue;
    }
    engine_fail(engine, ORR_SHAPE, "%s: index %lld asks for entry %g of %lld (counted from 1)",
                what, (long long)i + 1, values[i] + 1, (long long)limit);
    engine_free_memory(engine, indices);
    indices = NULL;
  }
  engine_free_memory(engine, values);
  return indices;
}

orr_tensor *orr_tensor_gather(const orr_tensor *x, const orr_tensor *index) {
  if (!x || !index || tensor_axis(x, 0, "gather") < 0) return NULL;
  int64_t shape[2 * ORR_AXES];
  int axes = index->axes + x->axes - 1;
  memcpy(shape, index->shape, (size_t)index->axes * sizeof *shape);
  memcpy(shape + index->axes, x->shape + 1, (size_t)(x->axes - 1) * sizeof *shape);
  int64_t *indices = read_indices(index, x->shape[0], "gather");
  orr_tensor *from = indices ? orr_tensor_contiguous(x) : NULL;
  orr_tensor *y = from ? tensor_new_raw(x->engine, x->dtype, axes, shape) : NULL;
  size_t row = x->shape[0] ? (size_t)(x->count / x->shape[0]) * dtype_size(x->dtype) : 0;
  for (int64_t i = 0; y && row && i < index->count; i++)
    memcpy((char *)orr_tensor_data(y) + (size_t)i * row,
           (const char *)tensor_const_data(from) + (size_t)indices[i] * row, row);
  orr_tensor_free(from);
  engine_free_memory(x->engine, indices);
  return y;
}

orr_tensor *orr_tensor_gather_along(const orr_tensor *x, const orr_tensor *index) {
  if (!x || !index || tensor_axis(x, -1, "gather_along") < 0) return NULL;
  bool fits = x->axes == index->axes;
  for (int i = 0; fits && i < x->axes - 1; i++) fits = x->shape[i] == index->shape[i];
  if (!fits) {
    char left[SHAPE_TEXT], right[SHAPE_TEXT];
    engine_fail(x->engine, ORR_SHAPE,
                "gather_along: an index of %s does not fit %s: all axes but the last agree",
                shape_text(right, index->axes, index->shape), shape_text(left, x->axes, x->shape));
    return NULL;
  }
  int64_t n = x->shape[x->axes - 1], k = index->shape[x->axes - 1];
  int64_t *indices = read_indices(index, n, "gather_along");
  orr_tensor *from = indices ? orr_tensor_contiguous(x) : NULL;
  orr_tensor *y = from ? tensor_new_raw(x->engine, x->dtype, x->axes, index->shape) : NULL;
  size_t size = dtype_size(x->dtype);
  for (int64_t i = 0; y && i < index->count; i++)
    memcpy((char *)orr_tensor_data(y) + (size_t)i * size,
           (const char *)tensor_const_data(from) + (size_t)(i / k * n + indices[i]) * size, size);
  orr_tensor_free(from);
  engine_free_memory(x->engine, indices);
  return y;
}
