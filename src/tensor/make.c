/* make.c - tensors from nothing: ramps, constants, draws. */
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

orr_tensor *orr_tensor_full(orr_engine *engine, orr_dtype dtype, int axes, const int64_t *shape,
                            double value) {
  orr_tensor *x = tensor_new_raw(engine, dtype, axes, shape);
  if (x) orr_tensor_fill(x, value);
  return x;
}

orr_tensor *orr_tensor_number(orr_engine *engine, double value) {
  return orr_tensor_full(engine, ORR_REAL, 0, NULL, value);
}

orr_tensor *orr_tensor_from(orr_engine *engine, int axes, const int64_t *shape,
                            const orr_real *values) {
  orr_tensor *x = tensor_new_raw(engine, ORR_REAL, axes, shape);
  if (x && x->count) memcpy(orr_tensor_data(x), values, x->storage->bytes);
  return x;
}

orr_tensor *orr_tensor_arange(orr_engine *engine, double start, double stop, double step) {
  double length = ceil((stop - start) / step);
  if (step == 0 || !(length < 1e15)) {
    engine_fail(engine, ORR_ARGUMENT, "arange: %g to %g by %g never ends", start, stop, step);
    return NULL;
  }
  int64_t n = length > 0 ? (int64_t)length : 0;
  orr_tensor *x = tensor_new_raw(engine, ORR_REAL, 1, &n);
  for (int64_t i = 0; x && i < n; i++)
    ((orr_real *)orr_tensor_data(x))[i] = (orr_real)(start + (double)i * step);
  return x;
}

orr_tensor *orr_tensor_linspace(orr_engine *engine, double first, double last, int64_t n) {
  orr_tensor *x = tensor_new_raw(engine, ORR_REAL, 1, &n);
  orr_real *values = x ? orr_tensor_data(x) : NULL;
  for (int64_t i = 0; x && i < n; i++) {
    double share = n > 1 ? (double)i / (double)(n - 1) : 0;
    values[i] = (orr_real)(first * (1 - share) + last * share);
  }
  return x;
}

orr_tensor *orr_tensor_eye(orr_engine *engine, int64_t n) {
  orr_tensor *x = orr_tensor_new(engine, ORR_REAL, 2, (int64_t[]){n, n});
  for (int64_t i = 0; x && i < n; i++) ((orr_real *)orr_tensor_data(x))[i * n + i] = 1;
  return x;
}

/* By the kernel that also draws within programs (kernel/draw.h): four words of the stream make four
   numbers, from the next whole block of four on. That block's number, as row and step, tells these
   draws from earlier and later ones of the stream; the kernel's key is a mixture, so that they
   share no bits with what orr_random_bits gives. */
static void draw_normals(orr_engine *engine, orr_tensor *x) {
  orr_random *random = &engine->random;
  uint64_t first = (random->counter + 3) / 4;
  engine_kernels(engine)->normal(orr_tensor_data(x), (size_t)x->count, 1,
                                 random->key ^ mix_bits(random->stream), 0, (uint32_t)(first >> 32),
                                 0, (uint32_t)first);
  random->counter = 4 * (first + ((uint64_t)x->count + 3) / 4);
}

orr_tensor *orr_tensor_normal(orr_engine *engine, int axes, const int64_t *shape, double mean,
                              double deviation) {
  orr_tensor *x = tensor_new_raw(engine, ORR_REAL, axes, shape);
  if (!x) return NULL;
  draw_normals(engine, x);
  orr_real *values = orr_tensor_data(x);
  bool standard = mean == 0 && deviation == 1;
  for (int64_t i = 0; !standard && i < x->count; i++)
    values[i] = (orr_real)(mean + deviation * (double)values[i]);
  return x;
}

orr_tensor *orr_tensor_uniform(orr_engine *engine, int axes, const int64_t *shape, double low,
                               double high) {
  orr_tensor *x = tensor_new_raw(engine, ORR_REAL, axes, shape);
  orr_real *values = x ? orr_tensor_data(x) : NULL;
  for (int64_t i = 0; x && i < x->count; i++) {
    orr_real value = (orr_real)(low + (high - low) * orr_random_uniform(&engine->random));
    /* Rounding to float must not reach the open end. */
    values[i] = (double)value >= high && high > low ? (orr_real)low : value;
  }
  return x;
}

orr_tensor *orr_tensor_integers(orr_engine *engine, int axes, const int64_t *shape, int64_t low,
                                int64_t high) {
  if (low > high || low < INT32_MIN || high > INT32_MAX) {
    engine_fail(engine, ORR_ARGUMENT, "whole numbers from %lld to %lld: not a range of int32",
                (long long)low, (long long)high);
    return NULL;
  }
  orr_tensor *x = tensor_new_raw(engine, ORR_INT, axes, shape);
  int32_t *values = x ? orr_tensor_data(x) : NULL;
  if (x)
    orr_random_indices(&engine->random, (uint64_t)(high - low) + 1, (int32_t)low, x->count, values);
  return x;
}

orr_tensor *orr_tensor_permutation(orr_engine *engine, int64_t n) {
  if (n > INT32_MAX) {
    engine_fail(engine, ORR_ARGUMENT, "permutation: %lld is more than int32 holds", (long long)n);
    return NULL;
  }
  orr_tensor *x = tensor_new_raw(engine, ORR_INT, 1, &n);
  int32_t *values = x ? orr_tensor_data(x) : NULL;
  for (int64_t i = 0; x && i < n; i++) values[i] = (int32_t)i;
  if (x) orr_random_shuffle(&engine->random, values, n);
  return x;
}
