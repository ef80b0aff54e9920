/* matmul.h - the two products that networks are made of, on blocks of BLOCK rows. Included by
   kernels.c only.

   Forward: a panel of `width` outputs keeps width x BLOCK sums in registers while it runs once over
   the inputs; each step loads one vector of x (or a few) and `width` weights, packed as pack.h
   says. Backward: outer_add keeps a tile of w in registers while it runs over the rows; what does
   not divide is again cut into tiles as equal as can be. */
#include "kernel/pack.h"
#include "kernel/reduce.h"

/* A tile of outer_add is TALLEST_v rows of v vectors, which leaves registers for v of dy and one of
   x. */
#if defined(__AVX512F__)
enum { TILE_VECTORS = 4, TALLEST_1 = 12, TALLEST_2 = 12, TALLEST_3 = 8, TALLEST_4 = 6 };
#elif defined(__AVX2__)
enum { TILE_VECTORS = 2, TALLEST_1 = 12, TALLEST_2 = 6 };
#elif defined(__aarch64__)
enum { TILE_VECTORS = 2, TALLEST_1 = 12, TALLEST_2 = 12 };
#else
enum { TILE_VECTORS = 2, TALLEST_1 = 8, TALLEST_2 = 4 };
#endif

/* Weights stream in order from the second-level cache: asked for this many numbers early. */
enum { AHEAD = 256 };

/* y[width][BLOCK] of one panel; width is a constant in every copy. */
INLINE void multiply_panel(orr_real *y, const orr_real *w, const orr_real *x, const orr_real *bias,
                           size_t in, int width) {
  for (int part = 0; part < BLOCK; part += VECTORS * LANES) {
    vector total[WIDEST][VECTORS];
    UNROLL for (int o = 0; o < width; o++) {
      vector start = splat(bias ? bias[o] : 0);
      UNROLL for (int v = 0; v < VECTORS; v++) { total[o][v] = start; }
    }
    const orr_real *weight = w, *input = x + part;
    for (size_t i = 0; i < in; i++, weight += width, input += BLOCK) {
      vector value[VECTORS];
      UNROLL for (int v = 0; v < VECTORS; v++) {
        value[v] = load(input + v * LANES);
        PIN(value[v]);
      }
      UNROLL for (int o = 0; o < width; o++) {
        if (VECTOR_BYTES == 64 && o % 16 == 0) __builtin_prefetch(weight + o + AHEAD);
        vector one = splat(weight[o]);
        UNROLL for (int v = 0; v < VECTORS; v++) {
          total[o][v] = multiply_add(one, value[v], total[o][v]);
        }
      }
    }
    UNROLL for (int o = 0; o < width; o++) {
      orr_real *to = y + o * BLOCK + part;
      UNROLL for (int v = 0; v < VECTORS; v++) { store(to + v * LANES, total[o][v]); }
    }
  }
}

static void multiply_any_panel(orr_real *y, const orr_real *w, const orr_real *x,
                               const orr_real *bias, size_t in, size_t width) {
  switch (width) {
#define PANEL(width) \
  case width: multiply_panel(y, w, x, bias, in, width < WIDEST ? width : WIDEST); break;
    EACH_WIDTH
#undef PANEL
  }
}

/* The activation runs panel by panel, while the sums are in the first-level cache. */
static void matmul_block(orr_real *y, const orr_real *packed, const orr_real *x,
                         const orr_real *bias, size_t in, size_t out,
                         void (*activation)(orr_real *y, const orr_real *x, size_t n),
                         orr_real *activated) {
  size_t panels = panel_count(out);
  for (size_t panel = 0, start = 0; panel < panels; panel++) {
    size_t width = panel_width(out, panels, panel);
    multiply_any_panel(y + start * BLOCK, packed, x, bias ? bias + start : NULL, in, width);
    if (activation) activation(activated + start * BLOCK, y + start * BLOCK, width * BLOCK);
    packed += in * width;
    start += width;
  }
}

/* Up to TILE_VECTORS vectors of outputs. */
typedef struct strip {
  const orr_real *dy;
  size_t out, x_stride, stride;
  int rows, last;
} strip;

/* w, a tile of `height` rows of `vectors` vectors, the last of them `last` numbers long. The rows
   of dy, already transposed, are `stride` apart. height and vectors are constants in every copy. */
INLINE void add_tile(const strip *s, orr_real *w, const orr_real *x, int height, int vectors) {
  vector total[TALLEST_1][TILE_VECTORS];
  const orr_real *dy = s->dy;
  int end = vectors - 1;
  UNROLL for (int i = 0; i < height; i++) {
    orr_real *row = w + (size_t)i * s->out;
    UNROLL for (int v = 0; v < end; v++) { total[i][v] = load(row + v * LANES); }
    total[i][end] =
        s->last == LANES ? load(row + end * LANES) : load_some(row + end * LANES, s->last);
  }
  for (int first = 0; first < s->rows; first += BLOCK, x += s->x_stride) {
    int lanes = s->rows - first < BLOCK ? s->rows - first : BLOCK;
    for (int lane = 0; lane < lanes; lane++, dy += s->stride) {
      vector value[TILE_VECTORS];
      UNROLL for (int v = 0; v < vectors; v++) {
        value[v] = load(dy + v * LANES);
        PIN(value[v]);
      }
      UNROLL for (int i = 0; i < height; i++) {
        vector one = splat(x[i * BLOCK + lane]);
        UNROLL for (int v = 0; v < vectors; v++) {
          total[i][v] = multiply_add(one, value[v], total[i][v]);
        }
      }
    }
  }
  UNROLL for (int i = 0; i < height; i++) {
    orr_real *row = w + (size_t)i * s->out;
    UNROLL for (int v = 0; v < end; v++) { store(row + v * LANES, total[i][v]); }
    if (s->last == LANES) store(row + end * LANES, total[i][end]);
    else store_some(row + end * LANES, total[i][end], s->last);
  }
}

/* All of the inputs against one strip. Heights that a strip's tiles cannot have are dropped here.
   */
/* clang-format off */
#define TILE(height, vectors)                                                  \
  case height:                                                                 \
    if (height <= TALLEST_##vectors)                                           \
      add_tile(s, w, x, height <= TALLEST_##vectors ? height : 1, vectors);    \
    break;
#define TILES(a, b, c, d, vectors) \
  TILE(a, vectors) TILE(b, vectors) TILE(c, vectors) TILE(d, vectors)
#define STRIP(vectors)                                                                         \
  static void add_strip_##vectors(const strip *s, orr_real *w, const orr_real *x, size_t in) { \
    size_t tiles = (in + TALLEST_##vectors - 1) / TALLEST_##vectors;                           \
    for (size_t tile = 0; tile < tiles; tile++) {                                              \
      size_t height = in / tiles + (tile < in % tiles);                                        \
      switch (height) {                                                                        \
        TILES(1, 2, 3, 4, vectors) TILES(5, 6, 7, 8, vectors) TILES(9, 10, 11, 12, vectors)    \
      }                                                                                        \
      w += height * s->out;                                                                    \
      x += height * BLOCK;                                                                     \
    }                                                                                          \
  }
/* clang-format on */
STRIP(1)
STRIP(2)
#ifdef __AVX512F__
STRIP(3)
STRIP(4)
#endif

/* dy[out][BLOCK] of all blocks as scratch[row][stride]. */
static void transpose_rows(orr_real *scratch, size_t stride, const orr_real *dy, size_t dy_stride,
                           size_t out, int rows) {
  for (int first = 0; first < rows; first += BLOCK, dy += dy_stride) {
    orr_real *row[BLOCK];
    for (int lane = 0; lane < BLOCK; lane++) row[lane] = scratch + (size_t)(first + lane) * stride;
    store_block(row, dy, BLOCK, out);
    if (out == stride) continue;
    for (int lane = 0; lane < BLOCK; lane++)
      memset(row[lane] + out, 0, (stride - out) * sizeof *dy);
  }
}

/* One output, BLOCK rows: products of whole blocks of lanes, which then fold as in row_add. */
static void add_column(orr_real *w, const orr_real *x, const orr_real *dy, size_t in) {
  const four d[4] = {load_four(dy), load_four(dy + 4), load_four(dy + 8), load_four(dy + 12)};
  size_t i = 0;
  for (; i + 4 <= in; i += 4) {
    four sums[4];
    UNROLL for (size_t j = 0; j < 4; j++) {
      const orr_real *a = x + (i + j) * BLOCK;
      sums[j] = (load_four(a) * d[0] + load_four(a + 4) * d[1]) +
                (load_four(a + 8) * d[2] + load_four(a + 12) * d[3]);
    }
    store_four(w + i, load_four(w + i) + finish_fold(sums));
  }
  for (; i < in; i++) {
    orr_real product[BLOCK];
    EACH_LANE product[lane] = x[i * BLOCK + (size_t)lane] * dy[lane];
    add_lanes(w + i, product, BLOCK, BLOCK);
  }
}

static void outer_add_column(orr_real *w, const orr_real *x, size_t x_stride, const orr_real *dy,
                             size_t dy_stride, size_t in, int rows) {
  for (; rows >= BLOCK; rows -= BLOCK, x += x_stride, dy += dy_stride) add_column(w, x, dy, in);
  for (size_t i = 0; rows > 0 && i < in; i++) {
    orr_real product[BLOCK];
    EACH_LANE product[lane] = x[i * BLOCK + (size_t)lane] * dy[lane];
    add_lanes(w + i, product, BLOCK, rows);
  }
}

static void outer_add_rows(orr_real *w, const orr_real *x, size_t x_stride, const orr_real *dy,
                           size_t stride, size_t in, size_t out, int rows) {
  size_t vectors = (out + LANES - 1) / LANES, strips = (vectors + TILE_VECTORS - 1) / TILE_VECTORS;
  strip s = {.out = out, .x_stride = x_stride, .rows = rows, .stride = stride};
  for (size_t i = 0, o = 0; i < strips; i++) {
    size_t count = vectors / strips + (i < vectors % strips), end = o + count * LANES;
    s.dy = dy + o;
    s.last = end <= out ? LANES : (int)(out + LANES - end);
    switch (count) {
    case 1: add_strip_1(&s, w + o, x, in); break;
    case 2: add_strip_2(&s, w + o, x, in); break;
#ifdef __AVX512F__
    case 3: add_strip_3(&s, w + o, x, in); break;
    case 4: add_strip_4(&s, w + o, x, in); break;
#endif
    }
    o = end;
  }
}

static void outer_add(orr_real *w, const orr_real *x, size_t x_stride, const orr_real *dy,
                      size_t dy_stride, size_t in, size_t out, int rows, orr_real *scratch) {
  if (out == 1) {
    outer_add_column(w, x, x_stride, dy, dy_stride, in, rows);
    return;
  }
  size_t stride = outer_stride(out);
  transpose_rows(scratch, stride, dy, dy_stride, out, rows);
  outer_add_rows(w, x, x_stride, scratch, stride, in, out, rows);
}
