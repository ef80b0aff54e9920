/* blocks.h - transposes: rows of numbers to blocks[feature][BLOCK] and back. Included by kernels.c
   only.

   The step is 4 features by LANES rows. Row 4 c + j holds its four numbers in chunk c of vector j,
   so that one 4 x 4 transpose inside every chunk at once gives, in vector j, feature j of all rows
   in order; and the same the other way. */
#ifndef KERNEL_BLOCKS_H
#define KERNEL_BLOCKS_H

#include "kernel/vector.h"

typedef orr_real four __attribute__((vector_size(4 * sizeof(orr_real))));
typedef orr_real four_in_memory
    __attribute__((vector_size(4 * sizeof(orr_real)), aligned(sizeof(orr_real)), may_alias));

/* Macros, for GCC warns of functions that take a vector wider than the processor's. */
#define load_four(x) (*(const four_in_memory *)(x))
#define store_four(y, x) (*(four_in_memory *)(y) = (x))

/* `several`: as many fours as a vector holds, at least one (with SSE2 in double one is two
   vectors). */
#if VECTOR_BYTES == 64 && !defined(ORR_DOUBLE)
enum { CHUNKS = 4 };
typedef vector several;
#define INTERLEAVE_LOW(a, b) \
  __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define INTERLEAVE_HIGH(a, b) \
  __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
INLINE several load_chunks(const orr_real *const *row, size_t at) {
  typedef orr_real eight __attribute__((vector_size(32)));
  eight low = __builtin_shufflevector(load_four(row[0] + at), load_four(row[4] + at), 0, 1, 2, 3, 4,
                                      5, 6, 7);
  eight high = __builtin_shufflevector(load_four(row[8] + at), load_four(row[12] + at), 0, 1, 2, 3,
                                       4, 5, 6, 7);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
INLINE void store_chunks(orr_real *const *row, size_t at, const several *x) {
  store_four(row[0] + at, (__builtin_shufflevector(*x, *x, 0, 1, 2, 3)));
  store_four(row[4] + at, (__builtin_shufflevector(*x, *x, 4, 5, 6, 7)));
  store_four(row[8] + at, (__builtin_shufflevector(*x, *x, 8, 9, 10, 11)));
  store_four(row[12] + at, (__builtin_shufflevector(*x, *x, 12, 13, 14, 15)));
}
#elif (VECTOR_BYTES == 32 && !defined(ORR_DOUBLE)) || VECTOR_BYTES == 64
enum { CHUNKS = 2 };
typedef vector several;
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
INLINE several load_chunks(const orr_real *const *row, size_t at) {
  return __builtin_shufflevector(load_four(row[0] + at), load_four(row[4] + at), 0, 1, 2, 3, 4, 5,
                                 6, 7);
}
INLINE void store_chunks(orr_real *const *row, size_t at, const several *x) {
  store_four(row[0] + at, (__builtin_shufflevector(*x, *x, 0, 1, 2, 3)));
  store_four(row[4] + at, (__builtin_shufflevector(*x, *x, 4, 5, 6, 7)));
}
#else
enum { CHUNKS = 1 };
typedef four several;
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
INLINE several load_chunks(const orr_real *const *row, size_t at) { return load_four(row[0] + at); }
INLINE void store_chunks(orr_real *const *row, size_t at, const several *x) {
  store_four(row[0] + at, *x);
}
#endif

typedef orr_real several_in_memory __attribute__((vector_size(CHUNKS * 4 * sizeof(orr_real)),
                                                  aligned(sizeof(orr_real)), may_alias));

/* x[j] of chunk c becomes what chunk c of x[0 .. 3] has at j. */
INLINE void transpose_chunks(several x[4]) {
  several ac_low = INTERLEAVE_LOW(x[0], x[2]), ac_high = INTERLEAVE_HIGH(x[0], x[2]);
  several bd_low = INTERLEAVE_LOW(x[1], x[3]), bd_high = INTERLEAVE_HIGH(x[1], x[3]);
  x[0] = INTERLEAVE_LOW(ac_low, bd_low), x[1] = INTERLEAVE_HIGH(ac_low, bd_low);
  x[2] = INTERLEAVE_LOW(ac_high, bd_high), x[3] = INTERLEAVE_HIGH(ac_high, bd_high);
}

static void load_block(orr_real *block, const orr_real *const *rows, int valid, size_t features) {
  const orr_real *row[BLOCK];
  for (int lane = 0; lane < BLOCK; lane++) row[lane] = rows[lane < valid ? lane : valid - 1];
  size_t f = 0;
  for (; f + 4 <= features; f += 4)
    for (int lane = 0; lane < BLOCK; lane += 4 * CHUNKS) {
      several x[4];
      UNROLL for (int j = 0; j < 4; j++) { x[j] = load_chunks(row + lane + j, f); }
      transpose_chunks(x);
      UNROLL for (size_t j = 0; j < 4; j++) {
        *(several_in_memory *)(block + (f + j) * BLOCK + lane) = x[j];
      }
    }
  for (; f < features; f++)
    for (int lane = 0; lane < BLOCK; lane++) block[f * BLOCK + lane] = row[lane][f];
}

static void store_block(orr_real *const *rows, const orr_real *block, int valid, size_t features) {
  int lane = 0;
  size_t whole = features / 4 * 4;
  for (; lane + 4 * CHUNKS <= valid; lane += 4 * CHUNKS) {
    for (size_t f = 0; f < whole; f += 4) {
      several x[4];
      UNROLL for (size_t j = 0; j < 4; j++) {
        x[j] = *(const several_in_memory *)(block + (f + j) * BLOCK + lane);
      }
      transpose_chunks(x);
      UNROLL for (int j = 0; j < 4; j++) { store_chunks(rows + lane + j, f, &x[j]); }
    }
    for (size_t f = whole; f < features; f++)
      for (int i = lane; i < lane + 4 * CHUNKS; i++) rows[i][f] = block[f * BLOCK + i];
  }
  for (; lane < valid; lane++)
    for (size_t f = 0; f < features; f++) rows[lane][f] = block[f * BLOCK + lane];
}

#endif
