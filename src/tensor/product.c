/* product.c - matrix products on BLAS, and small dense systems. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

static orr_tensor *fail_product(const orr_tensor *a, const orr_tensor *b, const char *why) {
  char left[SHAPE_TEXT], right[SHAPE_TEXT];
  engine_fail(a->engine, ORR_SHAPE, "cannot multiply matrices %s and %s: %s",
              shape_text(left, a->axes, a->shape), shape_text(right, b->axes, b->shape), why);
  return NULL;
}

/* One matrix as gemm wants it: rows lie `leading` numbers apart, or columns do when transposed. */
typedef struct matrix {
  const orr_real *data;
  bool transposed;
  int leading;
} matrix;

static bool as_matrix(const orr_tensor *x, int64_t offset, matrix *m) {
  int64_t rows = x->shape[x->axes - 2], columns = x->shape[x->axes - 1];
  int64_t down = rows == 1 ? columns : x->strides[x->axes - 2];
  int64_t across = columns == 1 ? 1 : x->strides[x->axes - 1];
  m->data = (const orr_real *)tensor_const_data(x) + offset;
  m->transposed = false;
  if (across == 1 && down >= columns && down <= INT_MAX) {
    m->leading = (int)down;
    return true;
  }
  across = columns == 1 ? rows : x->strides[x->axes - 1];
  down = rows == 1 ? 1 : x->strides[x->axes - 2];
  m->transposed = true;
  m->leading = (int)across;
  return down == 1 && across >= rows && across <= INT_MAX;
}

/* a and b are real with two axes or more, their matrices readable by gemm. */
static orr_tensor *multiply(const orr_tensor *a, const orr_tensor *b, int axes,
                            const int64_t *shape) {
  orr_tensor *y = orr_tensor_new(a->engine, ORR_REAL, axes, shape);
  int64_t m = shape[axes - 2], n = shape[axes - 1], k = a->shape[a->axes - 1];
  if (!y || !y->count || !k) return y;
  int64_t strides[WALK_OPERANDS][ORR_AXES] = {{0}};
  int64_t batch[ORR_AXES], place = 0;
  orr_tensor left = *a, right = *b; /* headers only, for their leading axes */
  left.axes -= 2, right.axes -= 2;
  strides_within(&left, axes - 2, strides[0]);
  strides_within(&right, axes - 2, strides[1]);
  memcpy(batch, shape, sizeof(int64_t) * (size_t)(axes - 2));
  tensor_walk w;
  for (bool more = walk_start(&w, axes - 2, batch, 2, strides); more; more = walk_next(&w))
    for (int64_t i = 0; i < w.run; i++, place++) {
      matrix p, q;
      if (!as_matrix(a, w.offset[0] + i * w.step[0], &p)) p.leading = 0;
      if (!as_matrix(b, w.offset[1] + i * w.step[1], &q)) q.leading = 0;
      orr_real *out = (orr_real *)orr_tensor_data(y) + place * m * n;
      gemm(a->engine, p.transposed, q.transposed, (int)m, (int)n, (int)k, p.data, p.leading, q.data,
           q.leading, false, out, (int)n);
    }
  return y;
}

/* x as reals whose matrices gemm can read. */
static orr_tensor *readable(const orr_tensor *x) {
  matrix unused;
  orr_tensor *reals = tensor_any_reals(x);
  if (!reals || reals->count == 0 || as_matrix(reals, 0, &unused)) return reals;
  orr_tensor *packed = orr_tensor_copy(reals);
  orr_tensor_free(reals);
  return packed;
}

/* a and b have two axes or more. */
static orr_tensor *matmul_matrices(const orr_tensor *a, const orr_tensor *b) {
  int64_t m = a->shape[a->axes - 2], k = a->shape[a->axes - 1], n = b->shape[b->axes - 1];
  if (k != b->shape[b->axes - 2]) return fail_product(a, b, "the inner lengths differ");
  if (m > INT_MAX || k > INT_MAX || n > INT_MAX) return fail_product(a, b, "too large");
  orr_tensor left = *a, right = *b;
  int axes;
  int64_t shape[ORR_AXES];
  left.axes -= 2, right.axes -= 2;
  if (!shape_broadcast(&left, &right, "pair the matrices of", &axes, shape)) return NULL;
  shape[axes++] = m;
  shape[axes++] = n;
  orr_tensor *p = readable(a), *q = p ? readable(b) : NULL;
  orr_tensor *y = q ? multiply(p, q, axes, shape) : NULL;
  orr_tensor_free(p);
  orr_tensor_free(q);
  return y;
}

orr_tensor *orr_tensor_matmul(const orr_tensor *a, const orr_tensor *b) {
  if (!a || !b) return NULL;
  if (a->axes == 0 || b->axes == 0) return fail_product(a, b, "a number has no axes; use mul");
  orr_tensor *left = a->axes == 1 ? orr_tensor_insert_axis(a, 0) : tensor_view(a);
  orr_tensor *right = b->axes == 1 ? orr_tensor_insert_axis(b, 1) : tensor_view(b);
  orr_tensor *y = left && right ? matmul_matrices(left, right) : NULL;
  orr_tensor_free(left);
  orr_tensor_free(right);
  if (!y || (a->axes > 1 && b->axes > 1)) return y;
  /* The axes that were put in go again. */
  int64_t shape[ORR_AXES];
  int axes = 0;
  for (int i = 0; i < y->axes; i++) {
    bool row = i == y->axes - 2 && a->axes == 1, column = i == y->axes - 1 && b->axes == 1;
    if (!row && !column) shape[axes++] = y->shape[i];
  }
  orr_tensor *without = orr_tensor_reshape(y, axes, shape);
  orr_tensor_free(y);
  return without;
}

orr_tensor *orr_tensor_dot(const orr_tensor *a, const orr_tensor *b) {
  if (!a || !b) return NULL;
  if (a->axes == 0 || b->axes == 0) return orr_tensor_mul(a, b);
  orr_tensor *product = orr_tensor_mul(a, b), *y = orr_tensor_sum(product, -1, false);
  orr_tensor_free(product);
  return y;
}

orr_tensor *orr_tensor_outer(const orr_tensor *a, const orr_tensor *b) {
  if (!a || !b) return NULL;
  if (a->axes != 1 || b->axes != 1) {
    char left[SHAPE_TEXT], right[SHAPE_TEXT];
    engine_fail(a->engine, ORR_SHAPE, "outer takes two vectors, not %s and %s",
                shape_text(left, a->axes, a->shape), shape_text(right, b->axes, b->shape));
    return NULL;
  }
  orr_tensor *column = orr_tensor_insert_axis(a, 1), *y = orr_tensor_mul(column, b);
  orr_tensor_free(column);
  return y;
}

/* Elimination with partial pivoting on [A | B], n x (n + m), in double. Returns the column where no
   pivot is left, or -1. */
static int64_t eliminate(double *work, int64_t n, int64_t m) {
  int64_t width = n + m;
  double scale = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) scale = fmax(scale, fabs(work[i * width + j]));
  for (int64_t c = 0; c < n; c++) {
    int64_t pivot = c;
    for (int64_t r = c + 1; r < n; r++)
      if (fabs(work[r * width + c]) > fabs(work[pivot * width + c])) pivot = r;
    /* Below this nothing of float32 input is left but rounding. */
    if (!(fabs(work[pivot * width + c]) > scale * 1e-14)) return c;
    for (int64_t j = 0; j < width; j++) {
      double swap = work[c * width + j];
      work[c * width + j] = work[pivot * width + j];
      work[pivot * width + j] = swap;
    }
    for (int64_t r = c + 1; r < n; r++) {
      double factor = work[r * width + c] / work[c * width + c];
      if (factor == 0) continue;
      for (int64_t j = c; j < width; j++) work[r * width + j] -= factor * work[c * width + j];
    }
  }
  for (int64_t c = n - 1; c >= 0; c--)
    for (int64_t j = n; j < width; j++) {
      double sum = work[c * width + j];
      for (int64_t k = c + 1; k < n; k++) sum -= work[c * width + k] * work[k * width + j];
      work[c * width + j] = sum / work[c * width + c];
    }
  return -1;
}

/* Solves each of `systems`, a and b contiguous reals, into x. */
static orr_status solve_systems(orr_tensor *x, const orr_tensor *a, const orr_tensor *b,
                                int64_t systems, int64_t n, int64_t m) {
  double *work = engine_new(x->engine, (size_t)(n * (n + m)), sizeof *work);
  if (!work) return x->engine->status;
  int64_t stuck = -1;
  for (int64_t s = 0; s < systems && stuck < 0; s++) {
    const orr_real *p = (const orr_real *)tensor_const_data(a) + s * n * n;
    const orr_real *q = (const orr_real *)tensor_const_data(b) + s * n * m;
    orr_real *out = (orr_real *)orr_tensor_data(x) + s * n * m;
    for (int64_t i = 0; i < n; i++) {
      for (int64_t j = 0; j < n; j++) work[i * (n + m) + j] = (double)p[i * n + j];
      for (int64_t j = 0; j < m; j++) work[i * (n + m) + n + j] = (double)q[i * m + j];
    }
    stuck = eliminate(work, n, m);
    for (int64_t i = 0; i < n && stuck < 0; i++)
      for (int64_t j = 0; j < m; j++) out[i * m + j] = (orr_real)work[i * (n + m) + n + j];
  }
  engine_free_memory(x->engine, work);
  if (stuck < 0) return ORR_OK;
  return engine_fail(x->engine, ORR_NUMBER,
                     "solve: the %lldx%lld matrix is singular or not finite (column %lld)",
                     (long long)n, (long long)n, (long long)stuck + 1);
}

orr_tensor *orr_tensor_solve(const orr_tensor *a, const orr_tensor *b) {
  if (!a || !b) return NULL;
  int64_t n = a->axes >= 2 ? a->shape[a->axes - 1] : -1;
  bool vector = b->axes == a->axes - 1;
  bool fits = n >= 0 && a->shape[a->axes - 2] == n && (vector || b->axes == a->axes);
  for (int i = 0; fits && i < a->axes - 1; i++) fits = a->shape[i] == b->shape[i];
  if (!fits) {
    char left[SHAPE_TEXT], right[SHAPE_TEXT];
    engine_fail(a->engine, ORR_SHAPE, "solve takes n x n and n or n x m, not %s and %s",
                shape_text(left, a->axes, a->shape), shape_text(right, b->axes, b->shape));
    return NULL;
  }
  int64_t m = vector ? 1 : b->shape[b->axes - 1];
  orr_tensor *p = tensor_reals(a), *q = p ? tensor_reals(b) : NULL;
  orr_tensor *x = q ? tensor_new_raw(a->engine, ORR_REAL, b->axes, b->shape) : NULL;
  if (x && x->count && solve_systems(x, p, q, x->count / (n * m), n, m)) {
    orr_tensor_free(x);
    x = NULL;
  }
  orr_tensor_free(p);
  orr_tensor_free(q);
  return x;
}
