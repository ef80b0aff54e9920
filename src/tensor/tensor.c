/* tensor.c - shapes, storage shared by views, and the walk over strided operands that all
   elementwise work and every copy goes through. */
#include <stdio.h>
#include <string.h>

#include "tensor/tensor.h"

/* The header of a storage takes this much, so that the elements keep the alignment. */
enum { STORAGE_ROOM = ORR_ALIGNMENT };
_Static_assert(sizeof(storage) <= STORAGE_ROOM, "the storage header must fit before the elements");

size_t dtype_size(orr_dtype dtype) {
  return dtype == ORR_REAL ? sizeof(orr_real) : dtype == ORR_INT ? sizeof(int32_t) : 1;
}

const char *orr_dtype_name(orr_dtype dtype) {
  return dtype == ORR_REAL   ? "real"
         : dtype == ORR_INT  ? "int"
         : dtype == ORR_BYTE ? "byte"
                             : "unknown";
}

bool shape_equal(int axes, const int64_t *a, int other_axes, const int64_t *b) {
  if (axes != other_axes) return false;
  for (int i = 0; i < axes; i++)
    if (a[i] != b[i]) return false;
  return true;
}

char *shape_text(char *text, int axes, const int64_t *shape) {
  size_t used = 0;
  snprintf(text, SHAPE_TEXT, "a number");
  for (int i = 0; i < axes; i++)
    used += (size_t)snprintf(text + used, SHAPE_TEXT - used, "%s%lld", i ? "x" : "",
                             (long long)shape[i]);
  return text;
}

bool shape_count(orr_engine *engine, int axes, const int64_t *shape, int64_t *count) {
  if (axes < 0 || axes > ORR_AXES) {
    engine_fail(engine, ORR_SHAPE, "a tensor has 0 to %d axes, not %d", ORR_AXES, axes);
    return false;
  }
  /* Zeros are left out of the overflow check: strides multiply the other sizes. */
  int64_t product = 1, all = 1;
  for (int i = 0; i < axes; i++) {
    if (shape[i] < 0) {
      engine_fail(engine, ORR_SHAPE, "axis %d cannot have length %lld", i + 1, (long long)shape[i]);
      return false;
    }
    if (shape[i] &&
        (__builtin_mul_overflow(product, shape[i], &product) || product > INT64_MAX / 64)) {
      char text[SHAPE_TEXT];
      engine_fail(engine, ORR_MEMORY, "a tensor of %s is too large for any memory",
                  shape_text(text, axes, shape));
      return false;
    }
    if (!shape[i]) all = 0;
  }
  *count = all ? product : 0;
  return true;
}

static void set_shape(orr_tensor *x, int axes, const int64_t *shape) {
  x->axes = axes;
  if (axes) memcpy(x->shape, shape, (size_t)axes * sizeof *shape);
  int64_t stride = 1;
  for (int i = axes - 1; i >= 0; i--) {
    x->strides[i] = stride;
    if (shape[i]) stride *= shape[i];
  }
}

static orr_tensor *new_header(orr_engine *engine, orr_dtype dtype, int axes, const int64_t *shape) {
  orr_tensor *x = engine_new_zeroed(engine, 1, sizeof *x);
  if (!x) return NULL;
  atomic_init(&x->references, 1);
  x->dtype = dtype;
  set_shape(x, axes, shape);
  x->engine = orr_engine_retain(engine);
  return x;
}

static void free_header(orr_tensor *x) {
  orr_engine *engine = x->engine;
  engine_free_memory(engine, x);
  orr_engine_free(engine);
}

orr_tensor *tensor_new_raw(orr_engine *engine, orr_dtype dtype, int axes, const int64_t *shape) {
  int64_t count;
  if (dtype != ORR_REAL && dtype != ORR_BYTE && dtype != ORR_INT) {
    engine_fail(engine, ORR_ARGUMENT, "no such dtype: %d", (int)dtype);
    return NULL;
  }
  if (!shape_count(engine, axes, shape, &count)) return NULL;
  orr_tensor *x = new_header(engine, dtype, axes, shape);
  if (!x) return NULL;
  x->count = count;
  size_t bytes = (size_t)count * dtype_size(dtype);
  x->storage = engine_new(engine, bytes + STORAGE_ROOM, 1);
  if (!x->storage) {
    char text[SHAPE_TEXT];
    engine_fail_in(engine, "a tensor of %s", shape_text(text, axes, shape));
    free_header(x);
    return NULL;
  }
  atomic_init(&x->storage->references, 1);
  x->storage->bytes = bytes;
  x->storage->version = 1;
  return x;
}

orr_tensor *orr_tensor_new(orr_engine *engine, orr_dtype dtype, int axes, const int64_t *shape) {
  orr_tensor *x = tensor_new_raw(engine, dtype, axes, shape);
  if (x) memset(orr_tensor_data(x), 0, x->storage->bytes);
  return x;
}

bool tensor_make_room(orr_engine *engine, orr_tensor **x, orr_dtype dtype, int axes,
                      const int64_t *shape) {
  int64_t count;
  if (!shape_count(engine, axes, shape, &count)) return false;
  if (*x && (*x)->dtype == dtype && (*x)->offset == 0 &&
      (size_t)count * dtype_size(dtype) <= (*x)->storage->bytes) {
    set_shape(*x, axes, shape);
    (*x)->count = count;
    return true;
  }
  orr_tensor *made = tensor_new_raw(engine, dtype, axes, shape);
  if (!made) return false;
  orr_tensor_free(*x);
  *x = made;
  return true;
}

orr_tensor *orr_tensor_retain(orr_tensor *x) {
  if (x) atomic_fetch_add(&x->references, 1);
  return x;
}

void orr_tensor_free(orr_tensor *x) {
  if (!x || atomic_fetch_sub(&x->references, 1) != 1) return;
  if (atomic_fetch_sub(&x->storage->references, 1) == 1) engine_free_memory(x->engine, x->storage);
  free_header(x);
}

orr_tensor *tensor_view(const orr_tensor *x) {
  orr_tensor *view = engine_new(x->engine, 1, sizeof *view);
  if (!view) return NULL;
  memcpy(view, x, sizeof *view);
  atomic_init(&view->references, 1);
  atomic_fetch_add(&x->storage->references, 1);
  orr_engine_retain(x->engine);
  return view;
}

void tensor_recount(orr_tensor *x) {
  x->count = 1;
  for (int i = 0; i < x->axes; i++) x->count *= x->shape[i];
}

orr_engine *orr_tensor_engine(const orr_tensor *x) { return x->engine; }
orr_dtype orr_tensor_dtype(const orr_tensor *x) { return x->dtype; }
int orr_tensor_axes(const orr_tensor *x) { return x->axes; }
const int64_t *orr_tensor_shape(const orr_tensor *x) { return x->shape; }
int64_t orr_tensor_count(const orr_tensor *x) { return x->count; }
size_t orr_tensor_bytes(const orr_tensor *x) { return x->storage->bytes; }
uint64_t orr_tensor_version(const orr_tensor *x) { return x->storage->version; }
void orr_tensor_touch(orr_tensor *x) { x->storage->version++; }

bool orr_tensor_is_contiguous(const orr_tensor *x) {
  int64_t stride = 1;
  if (x->count == 0) return true;
  for (int i = x->axes - 1; i >= 0; i--) {
    if (x->shape[i] != 1 && x->strides[i] != stride) return false;
    stride *= x->shape[i];
  }
  return true;
}

void *orr_tensor_data(orr_tensor *x) {
  return (char *)x->storage + STORAGE_ROOM + (size_t)x->offset * dtype_size(x->dtype);
}

const void *tensor_const_data(const orr_tensor *x) {
  return (const char *)x->storage + STORAGE_ROOM + (size_t)x->offset * dtype_size(x->dtype);
}

int tensor_axis(const orr_tensor *x, int axis, const char *what) {
  int wanted = axis < 0 ? axis + x->axes : axis;
  if (wanted >= 0 && wanted < x->axes) return wanted;
  char text[SHAPE_TEXT];
  engine_fail(x->engine, ORR_SHAPE, "%s: no axis %d in %s, which has %d", what,
              axis < 0 ? axis : axis + 1, shape_text(text, x->axes, x->shape), x->axes);
  return -1;
}

span tensor_span(const orr_tensor *x, int axis) {
  span s = {1, 1, 1};
  if (axis == ORR_ALL_AXES) return (span){1, (size_t)x->count, 1};
  for (int i = 0; i < axis; i++) s.outer *= (size_t)x->shape[i];
  s.n = (size_t)x->shape[axis];
  for (int i = axis + 1; i < x->axes; i++) s.inner *= (size_t)x->shape[i];
  return s;
}

bool shape_broadcast(const orr_tensor *a, const orr_tensor *b, const char *verb, int *axes,
                     int64_t *shape) {
  *axes = a->axes > b->axes ? a->axes : b->axes;
  for (int i = 0; i < *axes; i++) {
    int in_a = i - (*axes - a->axes), in_b = i - (*axes - b->axes);
    int64_t m = in_a < 0 ? 1 : a->shape[in_a], n = in_b < 0 ? 1 : b->shape[in_b];
    if (m != n && m != 1 && n != 1) {
      char left[SHAPE_TEXT], right[SHAPE_TEXT];
      engine_fail(a->engine, ORR_SHAPE, "cannot %s %s and %s: axis %d is %lld against %lld", verb,
                  shape_text(left, a->axes, a->shape), shape_text(right, b->axes, b->shape), i + 1,
                  (long long)m, (long long)n);
      return false;
    }
    shape[i] = m == 1 ? n : m;
  }
  return true;
}

void strides_within(const orr_tensor *x, int axes, int64_t *strides) {
  for (int i = 0; i < axes; i++) {
    int own = i - (axes - x->axes);
    strides[i] = own < 0 || x->shape[own] == 1 ? 0 : x->strides[own];
  }
}

bool walk_start(tensor_walk *w, int axes, const int64_t *shape, int operands,
                int64_t strides[WALK_OPERANDS][ORR_AXES]) {
  memset(w, 0, sizeof *w);
  w->operands = operands;
  for (int i = 0; i < axes; i++) {
    if (shape[i] == 0) return false;
    if (shape[i] == 1) continue;
    int last = w->axes - 1;
    bool joins = last >= 0;
    for (int k = 0; k < operands && joins; k++)
      joins = w->strides[k][last] == strides[k][i] * shape[i];
    if (!joins) last = w->axes++, w->shape[last] = 1;
    w->shape[last] *= shape[i];
    for (int k = 0; k < operands; k++) w->strides[k][last] = strides[k][i];
  }
  if (w->axes == 0) w->axes = 1, w->shape[0] = 1;
  w->run = w->shape[w->axes - 1];
  for (int k = 0; k < operands; k++) w->step[k] = w->strides[k][w->axes - 1];
  return true;
}

bool walk_next(tensor_walk *w) {
  for (int i = w->axes - 2; i >= 0; i--) {
    for (int k = 0; k < w->operands; k++) w->offset[k] += w->strides[k][i];
    if (++w->index[i] < w->shape[i]) return true;
    for (int k = 0; k < w->operands; k++) w->offset[k] -= w->strides[k][i] * w->shape[i];
    w->index[i] = 0;
  }
  return false;
}
