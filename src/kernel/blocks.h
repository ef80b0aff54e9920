/* blocks.h - transposes: rows of numbers to blocks[feature][BLOCK] and back. Included by kernels.c only. */
#include "kernel/vector.h"

typedef orr_real four __attribute__((vector_size(4 * sizeof(orr_real))));
typedef orr_real four_in_memory
    __attribute__((vector_size(4 * sizeof(orr_real)), aligned(sizeof(orr_real)), may_alias));
#ifdef ORR_DOUBLE
typedef int64_t four_indices __attribute__((vector_size(32)));
#else
typedef int32_t four_indices __attribute__((vector_size(16)));
#endif

/* y[i * y_stride + j] = x_j[i] for i, j < 4 */
INLINE void transpose_four(orr_real *y, size_t y_stride, const orr_real *x0, const orr_real *x1,
                           const orr_real *x2, const orr_real *x3) {
  four a = *(const four_in_memory *)x0, b = *(const four_in_memory *)x1;
  four c = *(const four_in_memory *)x2, d = *(const four_in_memory *)x3;
  const four_indices low = {0, 4, 1, 5}, high = {2, 6, 3, 7};
  four ac_low = __builtin_shuffle(a, c, low), ac_high = __builtin_shuffle(a, c, high);
  four bd_low = __builtin_shuffle(b, d, low), bd_high = __builtin_shuffle(b, d, high);
  *(four_in_memory *)y = __builtin_shuffle(ac_low, bd_low, low);
  *(four_in_memory *)(y + y_stride) = __builtin_shuffle(ac_low, bd_low, high);
  *(four_in_memory *)(y + 2 * y_stride) = __builtin_shuffle(ac_high, bd_high, low);
  *(four_in_memory *)(y + 3 * y_stride) = __builtin_shuffle(ac_high, bd_high, high);
}

static void load_block(orr_real *block, const orr_real *const *rows, int valid, size_t features) {
  const orr_real *row[BLOCK];
  for (int lane = 0; lane < BLOCK; lane++) row[lane] = rows[lane < valid ? lane : valid - 1];
  size_t f = 0;
  for (; f + 4 <= features; f += 4)
    for (int lane = 0; lane < BLOCK; lane += 4)
      transpose_four(block + f * BLOCK + lane, BLOCK, row[lane] + f, row[lane + 1] + f, row[lane + 2] + f,
                     row[lane + 3] + f);
  for (; f < features; f++)
    for (int lane = 0; lane < BLOCK; lane++) block[f * BLOCK + lane] = row[lane][f];
}

static void store_block(orr_real *const *rows, const orr_real *block, int valid, size_t features) {
  int lane = 0;
  for (; lane + 4 <= valid; lane += 4) {
    orr_real *const *row = rows + lane;
    const orr_real *x = block + lane;
    size_t f = 0;
    for (; f + 4 <= features; f += 4, x += 4 * BLOCK) {
      orr_real part[16];
      transpose_four(part, 4, x, x + BLOCK, x + 2 * BLOCK, x + 3 * BLOCK);
      for (int i = 0; i < 4; i++) memcpy(row[i] + f, part + 4 * i, 4 * sizeof(orr_real));
    }
    for (; f < features; f++, x += BLOCK)
      for (int i = 0; i < 4; i++) row[i][f] = x[i];
  }
  for (; lane < valid; lane++)
    for (size_t f = 0; f < features; f++) rows[lane][f] = block[f * BLOCK + lane];
}
