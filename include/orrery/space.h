/* space.h - named fields with shapes and bounds: what the numbers of an observation, an action or a
   state mean. A flat vector holds the fields one after the other, each row-major, so
   `values[field->offset + i]` is element i of a field. Immutable and reference-counted. */
#ifndef ORR_SPACE_H
#define ORR_SPACE_H

#include "orrery/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* To make a space, fill name, axes, shape and what else is known; zeros are fine. The space fills
   count and offset, and gives `low` and `high` always. */
typedef struct orr_field {
  const char *name; /* an identifier: s.velocity must be Lua */
  int axes;         /* 0: a number */
  int64_t shape[ORR_AXES];
  int64_t n;           /* discrete: whole values 0 .. n-1; 0: continuous */
  orr_dtype dtype;     /* how replay keeps it; in flat vectors everything is orr_real */
  const orr_real *low; /* `count` bounds, row-major; NULL: none (-infinity). Discrete: 0, n-1 */
  const orr_real *high;
  int64_t count;  /* product of the shape */
  int64_t offset; /* where the field starts in the flat vector */
} orr_field;

typedef struct orr_space orr_space;

enum { ORR_FIELD_NAME = 64 }; /* room for a field's name, its end included */

/* NULL with a message when a name is missing, twice or no identifier, when a shape is bad, or when
   a low bound is above its high bound. Everything is copied. */
ORR_API orr_space *orr_space_new(orr_engine *engine, const orr_field *fields, int count);
ORR_API orr_space *orr_space_retain(orr_space *space);
ORR_API void orr_space_free(orr_space *space); /* drops one hold; accepts NULL */

ORR_API orr_engine *orr_space_engine(const orr_space *space);
ORR_API int orr_space_fields(const orr_space *space);
ORR_API const orr_field *orr_space_field(const orr_space *space, int index);
ORR_API int64_t orr_space_size(const orr_space *space);        /* numbers in the flat vector */
ORR_API const orr_real *orr_space_low(const orr_space *space); /* flat, -infinity where unbounded */
ORR_API const orr_real *orr_space_high(const orr_space *space);

/* Index of the field, or -1 without a message. */
ORR_API int orr_space_find(const orr_space *space, const char *name);
/* The field, or NULL with a message that names the nearest one. `what` says whose field is meant,
   for the message: "observation". */
ORR_API const orr_field *orr_space_lookup(const orr_space *space, const char *name,
                                          const char *what);
/* Same names, shapes, kinds and bounds in the same order. */
ORR_API bool orr_space_equal(const orr_space *a, const orr_space *b);

/* Moves every value into its bounds; discrete ones to the nearest whole number. NaN stays. */
ORR_API void orr_space_clip(const orr_space *space, orr_real *values);
/* Uniform inside bounds, normal where a bound is missing. */
ORR_API void orr_space_sample(const orr_space *space, orr_random *random, orr_real *values);
/* Index of the first value that is infinite or NaN, or -1. */
ORR_API int64_t orr_space_first_non_finite(const orr_space *space, const orr_real *values);
/* Index of the first value that is outside its bounds by more than `slack`, or, where discrete, no
   whole number; -1 when there is none. NaN is outside. */
ORR_API int64_t orr_space_first_outside(const orr_space *space, const orr_real *values,
                                        orr_real slack);
/* Writes what a person calls element `index` of the flat vector, "velocity" or "tip[2]" (counted
   from 1 as in Lua), into `text`; returns text. */
ORR_API const char *orr_space_element_name(const orr_space *space, int64_t index, char *text,
                                           size_t size);
/* Writes "cos, sin, velocity" or "position[2], goal[2]"; returns text. */
ORR_API const char *orr_space_describe(const orr_space *space, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
