/* init.c - how parameters start. Everything is drawn in double, element by element in row-major
   order, so the numbers depend on the stream alone. */
#include <math.h>
#include <stdio.h>

#include "nn/nn.h"

const char *nn_shape_text(char *text, int axes, const int64_t *shape) {
  if (axes == 0) {
    snprintf(text, NN_SHAPE_TEXT, "a number");
    return text;
  }
  size_t used = 0;
  text[0] = 0;
  for (int i = 0; i < axes && used < NN_SHAPE_TEXT; i++)
    used += (size_t)snprintf(text + used, NN_SHAPE_TEXT - used, "%s%lld", i ? " x " : "",
                             (long long)shape[i]);
  return text;
}

/* The numbers of x, to be written; NULL with a message when it cannot be initialised. */
static orr_real *numbers(orr_tensor *x) {
  if (!x) return NULL;
  if (orr_tensor_dtype(x) != ORR_REAL || !orr_tensor_is_contiguous(x)) {
    engine_fail(orr_tensor_engine(x), ORR_ARGUMENT,
                "only contiguous tensors of reals can be initialised, this one is %s%s",
                orr_dtype_name(orr_tensor_dtype(x)),
                orr_tensor_is_contiguous(x) ? "" : " and not contiguous");
    return NULL;
  }
  return orr_tensor_data(x);
}

orr_status orr_init_uniform(orr_tensor *x, orr_random *random, double low, double high) {
  orr_real *to = numbers(x);
  if (!to) return x ? orr_engine_status(orr_tensor_engine(x)) : ORR_ARGUMENT;
  int64_t count = orr_tensor_count(x);
  for (int64_t i = 0; i < count; i++)
    to[i] = (orr_real)(low + (high - low) * orr_random_uniform(random));
  orr_tensor_touch(x);
  return ORR_OK;
}

orr_status orr_init_normal(orr_tensor *x, orr_random *random, double mean, double deviation) {
  orr_real *to = numbers(x);
  if (!to) return x ? orr_engine_status(orr_tensor_engine(x)) : ORR_ARGUMENT;
  int64_t count = orr_tensor_count(x);
  for (int64_t i = 0; i < count; i++)
    to[i] = (orr_real)(mean + deviation * orr_random_normal(random));
  orr_tensor_touch(x);
  return ORR_OK;
}

orr_status orr_init_truncated_normal(orr_tensor *x, orr_random *random, double mean,
                                     double deviation, double low, double high) {
  orr_real *to = numbers(x);
  if (!to) return x ? orr_engine_status(orr_tensor_engine(x)) : ORR_ARGUMENT;
  if (!(low < high))
    return engine_fail(orr_tensor_engine(x), ORR_ARGUMENT,
                       "a truncated normal needs low < high, not %g and %g", low, high);
  int64_t count = orr_tensor_count(x);
  for (int64_t i = 0; i < count; i++) {
    double draw = mean + deviation * orr_random_normal(random);
    /* Bounds far out in a tail must not loop for ever. */
    for (int tries = 0; (draw < low || draw > high) && tries < 1000; tries++)
      draw = mean + deviation * orr_random_normal(random);
    to[i] = (orr_real)(draw < low ? low : draw > high ? high : draw);
  }
  orr_tensor_touch(x);
  return ORR_OK;
}

/* Makes `vectors` vectors of length n (one after the other) orthonormal: Gram-Schmidt, twice, which
   is orthogonal to rounding. From normal draws the result is uniform over rotations. */
static void orthonormalise(double *v, int64_t vectors, int64_t n) {
  for (int64_t i = 0; i < vectors; i++) {
    double *a = v + i * n;
    for (int pass = 0; pass < 2; pass++)
      for (int64_t j = 0; j < i; j++) {
        const double *b = v + j * n;
        double dot = 0;
        for (int64_t k = 0; k < n; k++) dot += a[k] * b[k];
        for (int64_t k = 0; k < n; k++) a[k] -= dot * b[k];
      }
    double length = 0;
    for (int64_t k = 0; k < n; k++) length += a[k] * a[k];
    length = sqrt(length);
    for (int64_t k = 0; k < n; k++) a[k] /= length;
  }
}

orr_status orr_init_orthogonal(orr_tensor *x, orr_random *random, double gain) {
  orr_real *to = numbers(x);
  if (!to) return x ? orr_engine_status(orr_tensor_engine(x)) : ORR_ARGUMENT;
  orr_engine *engine = orr_tensor_engine(x);
  int axes = orr_tensor_axes(x);
  if (axes < 2)
    return engine_fail(engine, ORR_SHAPE, "an orthogonal matrix needs two axes, the tensor has %d",
                       axes);
  int64_t rows = orr_tensor_shape(x)[axes - 2], columns = orr_tensor_shape(x)[axes - 1];
  if (rows == 0 || columns == 0) return ORR_OK;
  bool wide = rows < columns;
  int64_t vectors = wide ? rows : columns, length = wide ? columns : rows;
  size_t size;
  if (!multiply_sizes((size_t)vectors, (size_t)length, &size))
    return engine_fail(engine, ORR_MEMORY, "a matrix of %lld x %lld is too large", (long long)rows,
                       (long long)columns);
  double *v = engine_new(engine, size, sizeof *v);
  if (!v) return ORR_MEMORY;
  for (int64_t first = 0; first < orr_tensor_count(x); first += rows * columns) {
    for (size_t i = 0; i < size; i++) v[i] = orr_random_normal(random);
    orthonormalise(v, vectors, length);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < columns; c++)
        to[first + r * columns + c] =
            (orr_real)(gain * (wide ? v[r * length + c] : v[c * length + r]));
  }
  engine_free_memory(engine, v);
  orr_tensor_touch(x);
  return ORR_OK;
}

static const char *const init_names[] = {
#define INIT(name, ...) #name,
#include "orrery/inits.def"
#undef INIT
};

static const char *const init_docs[] = {
#define INIT(name, doc) doc,
#include "orrery/inits.def"
#undef INIT
};

const char *orr_init_name(orr_init init) {
  return (int)init >= 0 && init < ORR_INIT_COUNT ? init_names[init] : NULL;
}

const char *orr_init_doc(orr_init init) {
  return (int)init >= 0 && init < ORR_INIT_COUNT ? init_docs[init] : NULL;
}
