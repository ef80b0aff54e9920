/* tensor.h - what the files of src/tensor share: the struct, the walk over strided operands. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "base/base.h"
#include "base/source.h"
#include "kernel/kernel.h"
#include "orrery/tensor.h"

/* Bytes that views share; the elements follow the header, 64-byte aligned. */
typedef struct storage {
  atomic_int references;
  size_t bytes;
  uint64_t version;
} storage;

struct orr_tensor {
  atomic_int references;
  orr_dtype dtype;
  int axes;
  int64_t shape[ORR_AXES];
  int64_t strides[ORR_AXES]; /* in elements; 0 along broadcast axes */
  int64_t offset;            /* of the first element in the storage */
  int64_t count;
  storage *storage;
  orr_engine *engine;
};

size_t dtype_size(orr_dtype dtype);
/* As orr_tensor_new, with undefined values. */
orr_tensor *tensor_new_raw(orr_engine *engine, orr_dtype dtype, int axes, const int64_t *shape);
/* Makes *x contiguous of this shape, in the memory that it has where that suffices, as
   engine_make_room does: its first numbers stay then, and who else holds it sees its shape change.
   Otherwise values are undefined. False when there is no memory, *x being as it was. */
bool tensor_make_room(orr_engine *engine, orr_tensor **x, orr_dtype dtype, int axes,
                      const int64_t *shape);
/* Checks sizes and multiplies them; false, with a message, when bad or too large. */
bool shape_count(orr_engine *engine, int axes, const int64_t *shape, int64_t *count);
/* A view of x's storage with x's fields, to be changed by the caller (then tensor_recount). */
orr_tensor *tensor_view(const orr_tensor *x);
void tensor_recount(orr_tensor *x);
const void *tensor_const_data(const orr_tensor *x);
/* x as contiguous (or any) reals: a new hold on x itself where it is that already. */
orr_tensor *tensor_reals(const orr_tensor *x);
orr_tensor *tensor_any_reals(const orr_tensor *x);
/* Contiguous reals of one's own, to be changed in place. */
orr_tensor *tensor_reals_copy(const orr_tensor *x);
/* axis in 0 .. axes-1 from one that may be negative; -1, with a message, when out of range. */
int tensor_axis(const orr_tensor *x, int axis, const char *what);
/* "3x4", or "a number" without axes; text holds at least SHAPE_TEXT bytes. Returns text. */
enum { SHAPE_TEXT = 176 };
char *shape_text(char *text, int axes, const int64_t *shape);
bool shape_equal(int axes, const int64_t *a, int other_axes, const int64_t *b);
/* The common shape of a and b, or a message: "cannot <verb> 3x4 and 5x4: axis 1 is 3 against 5". */
bool shape_broadcast(const orr_tensor *a, const orr_tensor *b, const char *verb, int *axes,
                     int64_t *shape);
/* x's strides within a shape it broadcasts to. */
void strides_within(const orr_tensor *x, int axes, int64_t *strides);

/* A walk over operands of one shape, run by run: the innermost axis, after joining axes that lie
   behind each other in every operand, is the run. */
enum { WALK_OPERANDS = 3 };
typedef struct tensor_walk {
  int operands, axes;
  int64_t run;                   /* length of the innermost axis */
  int64_t step[WALK_OPERANDS];   /* strides along it */
  int64_t offset[WALK_OPERANDS]; /* of the current run */
  int64_t shape[ORR_AXES], strides[WALK_OPERANDS][ORR_AXES], index[ORR_AXES];
} tensor_walk;
/* Both return false when there is no (further) run. */
bool walk_start(tensor_walk *w, int axes, const int64_t *shape, int operands,
                int64_t strides[WALK_OPERANDS][ORR_AXES]);
bool walk_next(tensor_walk *w);

orr_tensor *tensor_unary(const orr_tensor *x, unary_op op);
orr_tensor *tensor_binary(const orr_tensor *a, const orr_tensor *b, binary_op op);

/* x seen as [outer][n][inner] around an axis. */
typedef struct span {
  size_t outer, n, inner;
} span;
span tensor_span(const orr_tensor *x, int axis);

/* Numbers as they stand in files, little-endian. */
typedef enum wire {
  WIRE_F16,
  WIRE_BF16,
  WIRE_F32,
  WIRE_F64,
  WIRE_BOOL,
  WIRE_U8,
  WIRE_I8,
  WIRE_I16,
  WIRE_U16,
  WIRE_I32,
  WIRE_U32,
  WIRE_I64,
  WIRE_U64,
  WIRE_COUNT
} wire;
size_t wire_size(wire type);
orr_dtype wire_dtype(wire type); /* what a tensor of it becomes */
wire wire_of(orr_dtype dtype);   /* what a tensor is written as */
/* Fills a fresh contiguous tensor from x->count numbers at `offset` of the source. */

orr_status wire_read(source *from, size_t offset, wire type, orr_tensor *x);

#endif
