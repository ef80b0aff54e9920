/* view.c - other shapes for the same storage. */
#include <stdio.h>
#include <string.h>

#include "tensor/tensor.h"

static orr_tensor *fail_reshape(const orr_tensor *x, int axes, const int64_t *shape) {
  char from[SHAPE_TEXT], to[SHAPE_TEXT];
  engine_fail(x->engine, ORR_SHAPE, "cannot reshape %s, %lld numbers, to %s",
              shape_text(from, x->axes, x->shape), (long long)x->count,
              shape_text(to, axes, shape));
  return NULL;
}

orr_tensor *orr_tensor_reshape(const orr_tensor *x, int axes, const int64_t *wanted) {
  if (!x) return NULL;
  int64_t shape[ORR_AXES] = {0}, count;
  int open = -1;
  if (axes < 0 || axes > ORR_AXES) {
    engine_fail(x->engine, ORR_SHAPE, "a tensor has 0 to %d axes, not %d", ORR_AXES, axes);
    return NULL;
  }
  for (int i = 0; i < axes; i++) {
    shape[i] = wanted[i];
    if (shape[i] != -1) continue;
    if (open >= 0) return fail_reshape(x, axes, wanted);
    open = i;
    shape[i] = 1;
  }
  if (!shape_count(x->engine, axes, shape, &count)) return NULL;
  if (open >= 0) {
    if (count == 0 || x->count % count) return fail_reshape(x, axes, wanted);
    shape[open] = x->count / count;
    count = x->count;
  }
  if (count != x->count) return fail_reshape(x, axes, wanted);
  orr_tensor *y = orr_tensor_is_contiguous(x) ? tensor_view(x) : orr_tensor_copy(x);
  if (!y) return NULL;
  y->axes = axes;
  int64_t stride = 1;
  for (int i = axes - 1; i >= 0; i--) {
    y->shape[i] = shape[i];
    y->strides[i] = stride;
    if (shape[i]) stride *= shape[i];
  }
  return y;
}

orr_tensor *orr_tensor_transpose(const orr_tensor *x, const int *order) {
  if (!x) return NULL;
  int swapped[ORR_AXES];
  bool seen[ORR_AXES] = {false};
  if (!order) {
    if (x->axes < 2) return tensor_view(x);
    for (int i = 0; i < x->axes; i++) swapped[i] = i;
    swapped[x->axes - 1] = x->axes - 2;
    swapped[x->axes - 2] = x->axes - 1;
    order = swapped;
  }
  for (int i = 0; i < x->axes; i++) {
    int axis = tensor_axis(x, order[i], "transpose");
    if (axis < 0) return NULL;
    if (seen[axis]) {
      engine_fail(x->engine, ORR_SHAPE, "transpose: axis %d is named twice", axis + 1);
      return NULL;
    }
    seen[axis] = true;
  }
  orr_tensor *y = tensor_view(x);
  for (int i = 0; y && i < x->axes; i++) {
    int axis = order[i] < 0 ? order[i] + x->axes : order[i];
    y->shape[i] = x->shape[axis];
    y->strides[i] = x->strides[axis];
  }
  return y;
}

orr_tensor *orr_tensor_broadcast(const orr_tensor *x, int axes, const int64_t *shape) {
  if (!x) return NULL;
  int64_t count;
  if (!shape_count(x->engine, axes, shape, &count)) return NULL;
  bool fits = axes >= x->axes;
  for (int i = 0; fits && i < x->axes; i++)
    fits = x->shape[i] == 1 || x->shape[i] == shape[i + axes - x->axes];
  if (!fits) {
    char from[SHAPE_TEXT], to[SHAPE_TEXT];
    engine_fail(x->engine, ORR_SHAPE, "cannot broadcast %s to %s",
                shape_text(from, x->axes, x->shape), shape_text(to, axes, shape));
    return NULL;
  }
  orr_tensor *y = tensor_view(x);
  if (!y) return NULL;
  strides_within(x, axes, y->strides);
  y->axes = axes;
  if (axes) memcpy(y->shape, shape, (size_t)axes * sizeof *shape);
  y->count = count;
  return y;
}

orr_tensor *orr_tensor_slice(const orr_tensor *x, int axis, int64_t first, int64_t last,
                             int64_t step) {
  if (!x || (axis = tensor_axis(x, axis, "slice")) < 0) return NULL;
  int64_t length = x->shape[axis];
  if (first < 0) first += length;
  if (last < 0) last += length;
  if (first < 0 || last > length || first > last || step < 1) {
    engine_fail(x->engine, ORR_SHAPE,
                "slice: %lld to %lld by %lld is not within axis %d, of length %lld",
                (long long)first + 1, (long long)last, (long long)step, axis + 1,
                (long long)length);
    return NULL;
  }
  orr_tensor *y = tensor_view(x);
  if (!y) return NULL;
  y->offset += first * y->strides[axis];
  y->shape[axis] = (last - first + step - 1) / step;
  y->strides[axis] *= step;
  tensor_recount(y);
  return y;
}

orr_tensor *orr_tensor_at(const orr_tensor *x, int axis, int64_t index) {
  if (!x || (axis = tensor_axis(x, axis, "index")) < 0) return NULL;
  int64_t length = x->shape[axis], wanted = index < 0 ? index + length : index;
  if (wanted < 0 || wanted >= length) {
    char text[SHAPE_TEXT];
    engine_fail(x->engine, ORR_SHAPE, "index: axis %d of %s has no entry %lld", axis + 1,
                shape_text(text, x->axes, x->shape), (long long)(index < 0 ? index : index + 1));
    return NULL;
  }
  orr_tensor *y = tensor_view(x);
  if (!y) return NULL;
  y->offset += wanted * y->strides[axis];
  y->axes--;
  for (int i = axis; i < y->axes; i++)
    y->shape[i] = y->shape[i + 1], y->strides[i] = y->strides[i + 1];
  tensor_recount(y);
  return y;
}

orr_tensor *orr_tensor_insert_axis(const orr_tensor *x, int axis) {
  if (!x) return NULL;
  int wanted = axis < 0 ? axis + x->axes + 1 : axis;
  if (wanted < 0 || wanted > x->axes || x->axes == ORR_AXES) {
    char text[SHAPE_TEXT];
    engine_fail(x->engine, ORR_SHAPE, "cannot insert axis %d into %s", axis < 0 ? axis : axis + 1,
                shape_text(text, x->axes, x->shape));
    return NULL;
  }
  orr_tensor *y = tensor_view(x);
  if (!y) return NULL;
  for (int i = y->axes; i > wanted; i--)
    y->shape[i] = y->shape[i - 1], y->strides[i] = y->strides[i - 1];
  y->shape[wanted] = 1;
  y->strides[wanted] = 0;
  y->axes++;
  return y;
}
