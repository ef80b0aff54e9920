/* pack.h - weights in panels for matmul_block: packed[panel][in][width], the widths as equal as
   they can be: out = 200 at WIDEST = 6 is 30 panels of 6 and 4 of 5. Nothing is padded. Included by
   kernels.c only. */
#ifndef KERNEL_PACK_H
#define KERNEL_PACK_H

#include "kernel/blocks.h"

/* Registers, of 32 (AVX-512, NEON) or 16: WIDEST * VECTORS sums, VECTORS of x, and a weight unless
   the instruction takes it from memory. EACH_WIDTH: PANEL(width) for each width there may be. */
/* clang-format off */
#define FOUR_WIDTHS PANEL(1) PANEL(2) PANEL(3) PANEL(4)
#define SIX_WIDTHS FOUR_WIDTHS PANEL(5) PANEL(6)
#if defined(__AVX512F__)
enum { WIDEST = 20, VECTORS = 1 };
#define EACH_WIDTH                                                                  \
  SIX_WIDTHS PANEL(7) PANEL(8) PANEL(9) PANEL(10) PANEL(11) PANEL(12) PANEL(13)     \
  PANEL(14) PANEL(15) PANEL(16) PANEL(17) PANEL(18) PANEL(19) PANEL(20)
#elif defined(__AVX2__)
enum { WIDEST = 6, VECTORS = 2 };
#define EACH_WIDTH SIX_WIDTHS
#elif defined(__aarch64__)
enum { WIDEST = 6, VECTORS = 4 };
#define EACH_WIDTH SIX_WIDTHS
#else
enum { WIDEST = 4, VECTORS = 2 };
#define EACH_WIDTH FOUR_WIDTHS
#endif
/* clang-format on */

INLINE size_t panel_count(size_t out) { return (out + WIDEST - 1) / WIDEST; }
INLINE size_t panel_width(size_t out, size_t panels, size_t panel) {
  return out / panels + (panel < out % panels);
}

/* Columns of w[in][out]; width is a constant in every copy. */
INLINE void copy_panel(orr_real *packed, const orr_real *w, size_t in, size_t out, size_t width) {
  for (size_t i = 0; i < in; i++, packed += width, w += out)
    memcpy(packed, w, width * sizeof *packed);
}

/* A chunk of so many rows of a few panels stays in the first-level cache, where the next panel
   finds the rest of its lines. */
enum { PACK_ROWS = 128 };

static void pack_columns(orr_real *packed, const orr_real *w, size_t in, size_t out) {
  size_t panels = panel_count(out);
  for (size_t first = 0; first < in; first += PACK_ROWS) {
    size_t rows = in - first < PACK_ROWS ? in - first : PACK_ROWS;
    for (size_t panel = 0, start = 0; panel < panels; panel++) {
      size_t width = panel_width(out, panels, panel);
      orr_real *to = packed + start * in + first * width;
      const orr_real *from = w + first * out + start;
      switch (width) {
#define PANEL(width) \
  case width: copy_panel(to, from, rows, out, width); break;
        EACH_WIDTH
#undef PANEL
      }
      start += width;
    }
  }
}

/* Four rows of w, four numbers each, to four places of the panel. */
INLINE void transpose_four(orr_real *to, size_t width, const orr_real *const *row, size_t at) {
  four x[4];
  UNROLL for (int j = 0; j < 4; j++) { x[j] = load_four(row[j] + at); }
  four ac_low = __builtin_shufflevector(x[0], x[2], 0, 4, 1, 5);
  four ac_high = __builtin_shufflevector(x[0], x[2], 2, 6, 3, 7);
  four bd_low = __builtin_shufflevector(x[1], x[3], 0, 4, 1, 5);
  four bd_high = __builtin_shufflevector(x[1], x[3], 2, 6, 3, 7);
  store_four(to, __builtin_shufflevector(ac_low, bd_low, 0, 4, 1, 5));
  store_four(to + width, __builtin_shufflevector(ac_low, bd_low, 2, 6, 3, 7));
  store_four(to + 2 * width, __builtin_shufflevector(ac_high, bd_high, 0, 4, 1, 5));
  store_four(to + 3 * width, __builtin_shufflevector(ac_high, bd_high, 2, 6, 3, 7));
}

/* packed[in][width] from `width` rows of `in` numbers. The transposes write whole vectors, past the
   width too: right to left and then down, so that what they spoil is written after. `spare` keeps
   the end for single numbers, where nothing follows. */
static void pack_panel(orr_real *packed, const orr_real *w, size_t in, size_t width, bool spare) {
  const orr_real *row[WIDEST + BLOCK];
  for (size_t o = 0; o < WIDEST + BLOCK; o++) row[o] = w + (o < width ? o : width - 1) * in;
  size_t i = 0, end = spare && in >= 4 ? in - 4 : in, last = (width - 1) / (4 * CHUNKS);
  for (; i + 4 <= end; i += 4) {
    orr_real *to = packed + i * width;
    for (size_t chunk = last + 1; chunk-- > 0;) {
      size_t o = chunk * 4 * CHUNKS;
      if (width - o <= 4) {
        transpose_four(to + o, width, row + o, i);
        continue;
      }
      several x[4];
      UNROLL for (int j = 0; j < 4; j++) { x[j] = load_chunks(row + o + j, i); }
      transpose_chunks(x);
      UNROLL for (size_t j = 0; j < 4; j++) { *(several_in_memory *)(to + o + j * width) = x[j]; }
    }
  }
  for (; i < in; i++)
    for (size_t o = 0; o < width; o++) packed[i * width + o] = row[o][i];
}

static void pack(orr_real *packed, const orr_real *w, size_t in, size_t out, bool transposed) {
  size_t panels = panel_count(out);
  if (!transposed) pack_columns(packed, w, in, out);
  else
    for (size_t panel = 0, start = 0; panel < panels; panel++) {
      size_t width = panel_width(out, panels, panel);
      pack_panel(packed + start * in, w + start * in, in, width, panel + 1 == panels);
      start += width;
    }
}

#endif
