/* matmul.h - the two products that networks are made of, on blocks of BLOCK rows. Included by kernels.c
   only.

   Forward: a panel of `width` outputs keeps width x BLOCK sums in registers while it runs once over the
   inputs; each step loads one vector of x (or a few) and `width` weights. Weights lie in panels,
   packed[panel][in][width], the widths as equal as they can be: out = 200 at WIDEST = 6 is 30 panels of
   6 and 4 of 5. Nothing is padded.
   Backward: outer_add keeps a tile of w in registers while it runs over the rows. */
#include "kernel/vector.h"

/* Registers, of 32 (AVX-512, NEON) or 16: WIDEST * VECTORS sums, VECTORS of x, and a weight unless the
   instruction takes it from memory. */
#if defined(__AVX512F__)
enum { WIDEST = 20, VECTORS = 1, TILE_ROWS = 6, TILE_VECTORS = 4 };
#elif defined(__AVX2__)
enum { WIDEST = 6, VECTORS = 2, TILE_ROWS = 6, TILE_VECTORS = 2 };
#elif defined(__aarch64__)
enum { WIDEST = 6, VECTORS = 4, TILE_ROWS = 6, TILE_VECTORS = 4 };
#else
enum { WIDEST = 4, VECTORS = 2, TILE_ROWS = 4, TILE_VECTORS = 2 };
#endif

INLINE size_t panel_count(size_t out) { return (out + WIDEST - 1) / WIDEST; }

static void pack(orr_real *packed, const orr_real *w, size_t in, size_t out, bool transposed) {
  size_t panels = panel_count(out), start = 0;
  for (size_t panel = 0; panel < panels; panel++) {
    size_t width = out / panels + (panel < out % panels);
    for (size_t i = 0; i < in; i++, packed += width)
      for (size_t o = 0; o < width; o++)
        packed[o] = transposed ? w[(start + o) * in + i] : w[i * out + start + o];
    start += width;
  }
}

/* y[width][BLOCK] of one panel; width is a constant in every copy. */
INLINE void multiply_panel(orr_real *y, const orr_real *w, const orr_real *x, const orr_real *bias, size_t in,
                           int width) {
  for (int part = 0; part < BLOCK; part += VECTORS * LANES) {
    vector total[WIDEST][VECTORS];
    UNROLL for (int o = 0; o < width; o++)
      UNROLL for (int v = 0; v < VECTORS; v++) total[o][v] = splat(bias ? bias[o] : 0);
    const orr_real *weight = w, *input = x + part;
    for (size_t i = 0; i < in; i++, weight += width, input += BLOCK) {
      vector value[VECTORS];
      UNROLL for (int v = 0; v < VECTORS; v++) {
        value[v] = load(input + v * LANES);
        PIN(value[v]);
      }
      UNROLL for (int o = 0; o < width; o++) {
        vector one = splat(weight[o]);
        UNROLL for (int v = 0; v < VECTORS; v++) total[o][v] = multiply_add(one, value[v], total[o][v]);
      }
    }
    UNROLL for (int o = 0; o < width; o++)
      UNROLL for (int v = 0; v < VECTORS; v++) store(y + o * BLOCK + part + v * LANES, total[o][v]);
  }
}

#define PANEL(width)                                                                                    \
  case width: multiply_panel(y, w, x, bias, in, width < WIDEST ? width : WIDEST); break;
#define PANELS(a, b, c, d) PANEL(a) PANEL(b) PANEL(c) PANEL(d)

static void multiply_any_panel(orr_real *y, const orr_real *w, const orr_real *x, const orr_real *bias,
                               size_t in, size_t width) {
  switch (width) {
    PANELS(1, 2, 3, 4)
#if !defined(__x86_64__) || defined(__AVX2__)
    PANEL(5) PANEL(6)
#endif
#ifdef __AVX512F__
    PANELS(7, 8, 9, 10) PANELS(11, 12, 13, 14) PANELS(15, 16, 17, 18) PANEL(19) PANEL(20)
#endif
  }
}

static void matmul_block(orr_real *y, const orr_real *packed, const orr_real *x, const orr_real *bias,
                         size_t in, size_t out) {
  size_t panels = panel_count(out);
  for (size_t panel = 0; panel < panels; panel++) {
    size_t width = out / panels + (panel < out % panels);
    multiply_any_panel(y, packed, x, bias, in, width);
    packed += in * width;
    y += BLOCK * width;
    if (bias) bias += width;
  }
}

/* A tile of w: `height` rows of `vectors` vectors, or of a partial vector of `columns` numbers when
   vectors is 0. dy[rows][stride] is the transposed block. */
INLINE void add_tile(orr_real *w, size_t out, const orr_real *x, size_t x_stride, const orr_real *dy,
                     size_t stride, int rows, int height, int vectors, int columns) {
  vector total[TILE_ROWS][TILE_VECTORS];
  bool partial = vectors == 0;
  int count = partial ? 1 : vectors;
  UNROLL for (int i = 0; i < height; i++) {
    if (partial) {
      orr_real some[LANES] = {0};
      memcpy(some, w + (size_t)i * out, (size_t)columns * sizeof *w);
      total[i][0] = load(some);
    } else {
      UNROLL for (int v = 0; v < count; v++) total[i][v] = load(w + (size_t)i * out + v * LANES);
    }
  }
  for (int first = 0; first < rows; first += BLOCK, x += x_stride) {
    int lanes = rows - first < BLOCK ? rows - first : BLOCK;
    for (int lane = 0; lane < lanes; lane++, dy += stride) {
      vector value[TILE_VECTORS];
      UNROLL for (int v = 0; v < count; v++) {
        value[v] = load(dy + v * LANES);
        PIN(value[v]);
      }
      UNROLL for (int i = 0; i < height; i++) {
        vector one = splat(x[i * BLOCK + lane]);
        UNROLL for (int v = 0; v < count; v++) total[i][v] = multiply_add(one, value[v], total[i][v]);
      }
    }
  }
  UNROLL for (int i = 0; i < height; i++) {
    if (partial) {
      orr_real some[LANES];
      store(some, total[i][0]);
      memcpy(w + (size_t)i * out, some, (size_t)columns * sizeof *w);
    } else {
      UNROLL for (int v = 0; v < count; v++) store(w + (size_t)i * out + v * LANES, total[i][v]);
    }
  }
}

/* All of the inputs against one strip of outputs. */
#define STRIP(name, vectors)                                                                            \
  static void name(orr_real *w, size_t out, const orr_real *x, size_t x_stride, const orr_real *dy,     \
                   size_t stride, size_t in, int rows, int columns) {                                   \
    size_t i = 0;                                                                                       \
    for (; i + TILE_ROWS <= in; i += TILE_ROWS)                                                         \
      add_tile(w + i * out, out, x + i * BLOCK, x_stride, dy, stride, rows, TILE_ROWS, vectors, columns); \
    for (; i < in; i++)                                                                                 \
      add_tile(w + i * out, out, x + i * BLOCK, x_stride, dy, stride, rows, 1, vectors, columns);       \
  }
STRIP(add_strip, TILE_VECTORS)
STRIP(add_narrow_strip, 1)
STRIP(add_partial_strip, 0)

static void outer_add(orr_real *w, const orr_real *x, size_t x_stride, const orr_real *dy, size_t dy_stride,
                      size_t in, size_t out, int rows, orr_real *scratch) {
  size_t stride = (out + BLOCK - 1) / BLOCK * BLOCK, o = 0;
  for (int first = 0; first < rows; first += BLOCK, dy += dy_stride) {
    orr_real *row[BLOCK];
    for (int lane = 0; lane < BLOCK; lane++) row[lane] = scratch + (size_t)(first + lane) * stride;
    store_block(row, dy, BLOCK, out);
    for (int lane = 0; lane < BLOCK; lane++)
      for (size_t past = out; past < stride; past++) row[lane][past] = 0;
  }
  for (; o + TILE_VECTORS * LANES <= out; o += TILE_VECTORS * LANES)
    add_strip(w + o, out, x, x_stride, scratch + o, stride, in, rows, 0);
  for (; o + LANES <= out; o += LANES)
    add_narrow_strip(w + o, out, x, x_stride, scratch + o, stride, in, rows, 0);
  if (o < out) add_partial_strip(w + o, out, x, x_stride, scratch + o, stride, in, rows, (int)(out - o));
}
