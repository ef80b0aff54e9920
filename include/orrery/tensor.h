/* tensor.h - arrays with a shape: real numbers (float32, or double in the double build), bytes and
   int32 as storage for images and indices. Reference-counted; slices and transposes are views.

   Arithmetic is eager and broadcasts as NumPy does; it converts bytes and ints to reals first (ints
   past 2^24 lose digits in float32), and its results are real and contiguous. A NULL operand gives
   a NULL result, so an expression is checked once; the engine holds the first failure's message.
   Axes count from 0, negative ones from the end; in messages they count from 1. Makers return a new
   tensor that the caller frees. One tensor is used from one thread at a time. */
#ifndef ORR_TENSOR_H
#define ORR_TENSOR_H

#include "orrery/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ORR_AXES 8           /* most axes a tensor has */
#define ORR_ALL_AXES (-1000) /* as an axis of a reduction: over everything */

typedef enum orr_dtype { ORR_REAL, ORR_BYTE, ORR_INT } orr_dtype;

typedef struct orr_tensor orr_tensor;

/* A new tensor of zeros; NULL on overflow, bad sizes or no memory. Sizes of 0 are allowed. */
ORR_API orr_tensor *orr_tensor_new(orr_engine *engine, orr_dtype dtype, int axes,
                                   const int64_t *shape);
ORR_API orr_tensor *orr_tensor_retain(orr_tensor *tensor);
ORR_API void orr_tensor_free(orr_tensor *tensor); /* drops one hold; accepts NULL */

ORR_API orr_engine *orr_tensor_engine(const orr_tensor *tensor);
ORR_API orr_dtype orr_tensor_dtype(const orr_tensor *tensor);
ORR_API const char *orr_dtype_name(orr_dtype dtype); /* "real", "byte" or "int" */
ORR_API int orr_tensor_axes(const orr_tensor *tensor);
ORR_API const int64_t *orr_tensor_shape(const orr_tensor *tensor);
ORR_API int64_t orr_tensor_count(const orr_tensor *tensor);
ORR_API size_t orr_tensor_bytes(const orr_tensor *tensor); /* of its storage */
ORR_API bool orr_tensor_is_contiguous(const orr_tensor *tensor);
/* The first element; row-major when contiguous. Whoever writes through it calls
   orr_tensor_touch. */
ORR_API void *orr_tensor_data(orr_tensor *tensor);
/* Changes whenever the storage is written: packed weights are made anew when it does. */
ORR_API uint64_t orr_tensor_version(const orr_tensor *tensor);
ORR_API void orr_tensor_touch(orr_tensor *tensor);

/* Makers. Draws take from the engine's stream. */
ORR_API orr_tensor *orr_tensor_full(orr_engine *engine, orr_dtype dtype, int axes,
                                    const int64_t *shape, double value);
ORR_API orr_tensor *orr_tensor_number(orr_engine *engine, double value); /* no axes */
ORR_API orr_tensor *orr_tensor_from(orr_engine *engine, int axes, const int64_t *shape,
                                    const orr_real *values);
/* start, start + step ... below stop (above, when step < 0). */
ORR_API orr_tensor *orr_tensor_arange(orr_engine *engine, double start, double stop, double step);
ORR_API orr_tensor *orr_tensor_linspace(orr_engine *engine, double first, double last,
                                        int64_t count);
ORR_API orr_tensor *orr_tensor_eye(orr_engine *engine, int64_t n);
ORR_API orr_tensor *orr_tensor_normal(orr_engine *engine, int axes, const int64_t *shape,
                                      double mean, double deviation);
ORR_API orr_tensor *orr_tensor_uniform(orr_engine *engine, int axes, const int64_t *shape,
                                       double low, double high);
/* Whole numbers low .. high, both included, as ORR_INT. */
ORR_API orr_tensor *orr_tensor_integers(orr_engine *engine, int axes, const int64_t *shape,
                                        int64_t low, int64_t high);
ORR_API orr_tensor *orr_tensor_permutation(orr_engine *engine,
                                           int64_t n); /* of 0 .. n-1, ORR_INT */

/* Views share storage with x: what is written to one shows in the other. */
/* One size may be -1: whatever is left. A copy when x is not contiguous. */
ORR_API orr_tensor *orr_tensor_reshape(const orr_tensor *x, int axes, const int64_t *shape);
/* Axis i of the result is axis order[i] of x; NULL: the last two axes change places. */
ORR_API orr_tensor *orr_tensor_transpose(const orr_tensor *x, const int *order);
ORR_API orr_tensor *orr_tensor_broadcast(const orr_tensor *x, int axes, const int64_t *shape);
/* first <= i < last along the axis, every step-th; negative bounds count from the end. */
ORR_API orr_tensor *orr_tensor_slice(const orr_tensor *x, int axis, int64_t first, int64_t last,
                                     int64_t step);
ORR_API orr_tensor *orr_tensor_at(const orr_tensor *x, int axis,
                                  int64_t index);                          /* drops the axis */
ORR_API orr_tensor *orr_tensor_insert_axis(const orr_tensor *x, int axis); /* of length 1 */

/* Copies. */
ORR_API orr_tensor *orr_tensor_copy(const orr_tensor *x); /* fresh storage, contiguous */
ORR_API orr_tensor *
orr_tensor_contiguous(const orr_tensor *x); /* a view of x where it already is */
/* Reals become bytes and ints by rounding (halves to even), clipped to the range, NaN to 0. */
ORR_API orr_tensor *orr_tensor_convert(const orr_tensor *x, orr_dtype dtype);

/* Writes into x; y broadcasts to its shape and is converted to its dtype. */
ORR_API orr_status orr_tensor_assign(orr_tensor *x, const orr_tensor *y);
ORR_API orr_status orr_tensor_fill(orr_tensor *x, double value);

/* Elements by position in row-major order, 0 <= position < count. */
ORR_API double orr_tensor_get(const orr_tensor *x, int64_t position);
ORR_API orr_status orr_tensor_item(const orr_tensor *x,
                                   double *value); /* of a one-element tensor */
ORR_API orr_status orr_tensor_read(const orr_tensor *x, double *values);  /* all of them */
ORR_API orr_status orr_tensor_write(orr_tensor *x, const double *values); /* all of them */
ORR_API bool orr_tensor_all_finite(const orr_tensor *x);
/* Same shape and values, dtypes aside; NaN equals NaN. */
ORR_API bool orr_tensor_same(const orr_tensor *a, const orr_tensor *b);
/* The same within tolerance * (1 + |b|). */
ORR_API bool orr_tensor_close(const orr_tensor *a, const orr_tensor *b, double tolerance);

/* Elementwise: orr_tensor_tanh(x), orr_tensor_add(a, b) ..., one of each row of ops.def; and the
   same on plain doubles: orr_number_tanh(x). Comparisons give 1 or 0. */
#define UNARY(name, ...)                                      \
  ORR_API orr_tensor *orr_tensor_##name(const orr_tensor *x); \
  ORR_API double orr_number_##name(double x);
#define BINARY(name, ...)                                                          \
  ORR_API orr_tensor *orr_tensor_##name(const orr_tensor *a, const orr_tensor *b); \
  ORR_API double orr_number_##name(double a, double b);
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
/* a where the condition is not 0, else b. */
ORR_API orr_tensor *orr_tensor_select(const orr_tensor *condition, const orr_tensor *a,
                                      const orr_tensor *b);
ORR_API orr_tensor *orr_tensor_clamp(const orr_tensor *x, const orr_tensor *low,
                                     const orr_tensor *high);

/* Reductions, along one axis or ORR_ALL_AXES. keep: the axis stays, with length 1. The greatest,
   least and mean of nothing are failures. NaN among the values makes sums and extremes NaN. */
ORR_API orr_tensor *orr_tensor_sum(const orr_tensor *x, int axis, bool keep);
ORR_API orr_tensor *orr_tensor_mean(const orr_tensor *x, int axis, bool keep);
ORR_API orr_tensor *orr_tensor_max_along(const orr_tensor *x, int axis, bool keep);
ORR_API orr_tensor *orr_tensor_min_along(const orr_tensor *x, int axis, bool keep);
/* Mean squared distance from the mean, and its root; n - correction divides (0: population). */
ORR_API orr_tensor *orr_tensor_variance(const orr_tensor *x, int axis, bool keep, int correction);
ORR_API orr_tensor *orr_tensor_std(const orr_tensor *x, int axis, bool keep, int correction);
ORR_API orr_tensor *orr_tensor_norm(const orr_tensor *x, int axis, bool keep); /* Euclidean */
ORR_API orr_tensor *orr_tensor_logsumexp(const orr_tensor *x, int axis, bool keep);
/* Positions as ORR_INT; the first of equals, NaN ranking last (-0 equals 0). */
ORR_API orr_tensor *orr_tensor_argmax(const orr_tensor *x, int axis, bool keep);
ORR_API orr_tensor *orr_tensor_argmin(const orr_tensor *x, int axis, bool keep);

/* Along one axis, keeping the shape. Sorts are ascending and stable, NaN last. */
ORR_API orr_tensor *orr_tensor_softmax(const orr_tensor *x, int axis);
ORR_API orr_tensor *orr_tensor_cumsum(const orr_tensor *x, int axis, bool backwards);
ORR_API orr_tensor *orr_tensor_sort(const orr_tensor *x, int axis);
ORR_API orr_tensor *orr_tensor_argsort(const orr_tensor *x, int axis); /* ORR_INT */

/* Products on the last two axes, the axes before them broadcasting; a vector is a row on the left
   and a column on the right, as in NumPy. */
ORR_API orr_tensor *orr_tensor_matmul(const orr_tensor *a, const orr_tensor *b);
ORR_API orr_tensor *orr_tensor_dot(const orr_tensor *a,
                                   const orr_tensor *b); /* sum of a b, last axis */
ORR_API orr_tensor *orr_tensor_outer(const orr_tensor *a, const orr_tensor *b); /* of two vectors */
/* x of A x = b for A of ... x n x n and b of n or n x m, by elimination with partial pivoting;
   ORR_NUMBER when A is singular. */
ORR_API orr_tensor *orr_tensor_solve(const orr_tensor *a, const orr_tensor *b);

/* Entries by index (any dtype, whole numbers from 0). */
/* Of the first axis: the result's shape is index's, then what follows x's first axis. */
ORR_API orr_tensor *orr_tensor_gather(const orr_tensor *x, const orr_tensor *index);
/* Of the last axis, one list per vector: x of ... x n, index of ... x k gives ... x k. */
ORR_API orr_tensor *orr_tensor_gather_along(const orr_tensor *x, const orr_tensor *index);

/* Joins along an axis of theirs, or along a new one. dtypes that differ become real. */
ORR_API orr_tensor *orr_tensor_concat(const orr_tensor *const *parts, int count, int axis);
ORR_API orr_tensor *orr_tensor_stack(const orr_tensor *const *parts, int count, int axis);

/* Shape, dtype and aligned values, "..." for the middle of large ones, as snprintf: at most size
   bytes with the final 0 are written, the length of the whole text is returned. */
ORR_API size_t orr_tensor_text(const orr_tensor *x, char *text, size_t size);

/* NumPy's .npy. Floats of any width become real, whole numbers int or byte where they fit (a value
   that does not fit is an error), Fortran order is turned around; big-endian and record types are
   refused. Files are written whole or not at all. */
ORR_API orr_tensor *orr_npy_read(orr_engine *engine, const char *path);
ORR_API orr_status orr_npy_write(const orr_tensor *x, const char *path);

/* Named tensors with some text, in memory; its file form is safetensors. */
typedef struct orr_bundle orr_bundle;
ORR_API orr_bundle *orr_bundle_new(orr_engine *engine);
ORR_API void orr_bundle_free(orr_bundle *bundle); /* accepts NULL */
/* Keeps a hold of its own on x. A name that is there already is an error. */
ORR_API orr_status orr_bundle_add(orr_bundle *bundle, const char *name, orr_tensor *x);
ORR_API orr_status orr_bundle_add_text(orr_bundle *bundle, const char *key, const char *text);
ORR_API int orr_bundle_count(const orr_bundle *bundle);
ORR_API const char *orr_bundle_name(const orr_bundle *bundle, int i);   /* in order of offset */
ORR_API orr_tensor *orr_bundle_tensor(const orr_bundle *bundle, int i); /* the bundle's hold */
/* The tensor of that name, the bundle's hold; NULL, with a message, when there is none. */
ORR_API orr_tensor *orr_bundle_find(const orr_bundle *bundle, const char *name);
ORR_API const char *orr_bundle_text(const orr_bundle *bundle, const char *key); /* NULL: none */
ORR_API int orr_bundle_text_count(const orr_bundle *bundle);
ORR_API const char *orr_bundle_text_key(const orr_bundle *bundle, int i);
ORR_API const char *orr_bundle_text_at(const orr_bundle *bundle, int i);
/* Checked as hostile input; values that are not finite are refused unless allowed. */
ORR_API orr_bundle *orr_bundle_read(orr_engine *engine, const char *path, bool allow_not_finite);
/* The same from memory; `label` stands for the file in messages. */
ORR_API orr_bundle *orr_bundle_parse(orr_engine *engine, const void *bytes, size_t size,
                                     const char *label, bool allow_not_finite);
ORR_API orr_status orr_bundle_write(const orr_bundle *bundle, const char *path);

#ifdef __cplusplus
}
#endif
#endif
