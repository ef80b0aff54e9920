/* tensor.h - arrays with a shape: real numbers (float32, or double in the double build), bytes and
   int32 as storage for images and indices. Reference-counted; slices and transposes are views. */
#ifndef ORR_TENSOR_H
#define ORR_TENSOR_H

#include "orrery/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ORR_AXES 8 /* most axes a tensor has */

typedef enum orr_dtype { ORR_REAL, ORR_BYTE, ORR_INT } orr_dtype;

typedef struct orr_tensor orr_tensor;

/* A new tensor of zeros; NULL on overflow, bad sizes or no memory. Sizes of 0 are allowed. */
ORR_API orr_tensor *orr_tensor_new(orr_engine *engine, orr_dtype dtype, int axes, const int64_t *shape);
ORR_API orr_tensor *orr_tensor_retain(orr_tensor *tensor);
ORR_API void orr_tensor_free(orr_tensor *tensor); /* drops one hold; accepts NULL */

ORR_API orr_engine *orr_tensor_engine(const orr_tensor *tensor);
ORR_API orr_dtype orr_tensor_dtype(const orr_tensor *tensor);
ORR_API int orr_tensor_axes(const orr_tensor *tensor);
ORR_API const int64_t *orr_tensor_shape(const orr_tensor *tensor);
ORR_API int64_t orr_tensor_count(const orr_tensor *tensor);
ORR_API size_t orr_tensor_bytes(const orr_tensor *tensor); /* of its storage */
ORR_API bool orr_tensor_is_contiguous(const orr_tensor *tensor);
/* The first element; row-major when contiguous. Whoever writes through it calls orr_tensor_touch. */
ORR_API void *orr_tensor_data(orr_tensor *tensor);
/* Changes whenever the storage is written: packed weights are made anew when it does. */
ORR_API uint64_t orr_tensor_version(const orr_tensor *tensor);
ORR_API void orr_tensor_touch(orr_tensor *tensor);

#ifdef __cplusplus
}
#endif
#endif
