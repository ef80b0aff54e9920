/* kernels.c - one table of kernels. This file is compiled once for each instruction set, under
   flags that every object shares

     -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math

   (none of which changes a result; the first keeps the compiler from fusing where math.h does not),
   and flags of its own:

     kernels.portable.o  -DKERNELS=kernels_portable
     kernels.avx2.o      -DKERNELS=kernels_avx2 -mavx2 -mfma
     kernels.avx512.o    -DKERNELS=kernels_avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma
                         -mprefer-vector-width=512

   The last two on x86-64 only; choose.c finds out at run time which are linked and which run. On
   arm64 the portable table is NEON. Tables agree to rounding, not to the bit: fused multiply-adds
   round once. Link-time optimisation must stay off for these objects. */
#include "kernel/kernel.h"

/* Vectors wider than the processor's go to inline functions only, so how they would be passed
   between objects does not matter. */
#pragma GCC diagnostic ignored "-Wpsabi"
/* activations.h takes the place of some of the loops over ops.def. */
#pragma GCC diagnostic ignored "-Woverride-init"

#ifndef KERNELS
#define KERNELS kernels_portable
#endif

#include "kernel/math.h"

#include "kernel/activations.h"
#include "kernel/blocks.h"
#include "kernel/draw.h"
#include "kernel/elementwise.h"
#include "kernel/matmul.h"
#include "kernel/reduce.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static bool supported(void) {
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

extern const kernels KERNELS;
const kernels KERNELS = {
    .name = TEXT(KERNELS) + sizeof "kernels_" - 1,
    .supported = supported,
#define STRUCTURED(...)
#define BINARY(...)
#define UNARY(op, ...) .unary[UNARY_##op] = unary_##op,
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#define UNARY(...)
#define BINARY(op, ...)                                                                \
  .binary[BINARY_##op] = binary_##op, .binary_by_number[BINARY_##op] = by_number_##op, \
  .number_by_binary[BINARY_##op] = number_by_##op,                                     \
  .binary_by_feature[BINARY_##op] = by_feature_##op,                                   \
  .feature_by_binary[BINARY_##op] = feature_by_##op,
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
#ifndef ORR_DOUBLE
    .unary[UNARY_sigmoid] = vectors_sigmoid,
    .unary[UNARY_silu] = vectors_silu,
    .unary[UNARY_tanh] = vectors_tanh,
    .unary[UNARY_exp] = vectors_exp,
    .unary[UNARY_softplus] = vectors_softplus,
#endif
    .select = select_either,
    .sum = sum_along,
    .max = max_along,
    .load_block = load_block,
    .store_block = store_block,
    .pack = pack,
    .matmul_block = matmul_block,
    .outer_add = outer_add,
    .transpose_rows = transpose_rows,
    .outer_add_rows = outer_add_rows,
    .outer_add_column = outer_add_column,
    .row_add = row_add,
    .normal = draw_normal,
    .uniform = draw_uniform,
};
