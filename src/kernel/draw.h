/* draw.h - random numbers for blocks: Philox 4x32-10 (see base/random.c for the reference), BLOCK
   counters side by side. Included by kernels.c only.

   Counter: {row, element / 4, step, site}, each with all of its 32 bits; its four words belong to the
   elements 4 q .. 4 q + 3. Key: mix_bits(mix_bits(key) ^ iteration), which is one to one in the
   iteration. So two draws of one key share bits only if row, element, step, site and iteration are all
   equal. normal and uniform read the same words: they need different sites. */
#include "kernel/math.h"
#include "kernel/vector.h"

typedef struct words {
  uint32_t word[4][BLOCK];
} words;

/* Lane i is the counter {row + i * row_step, quad + i * quad_step, step, site}. */
static inline void philox_lanes(words *out, uint64_t key, uint32_t row, uint32_t row_step, uint32_t quad,
                                uint32_t quad_step, uint32_t step, uint32_t site) {
  uint32_t a[BLOCK], b[BLOCK], c[BLOCK], d[BLOCK];
  for (uint32_t lane = 0; lane < BLOCK; lane++) {
    a[lane] = row + lane * row_step, b[lane] = quad + lane * quad_step;
    c[lane] = step, d[lane] = site;
  }
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
    for (int lane = 0; lane < BLOCK; lane++) {
      uint64_t p = (uint64_t)0xD2511F53u * a[lane], q = (uint64_t)0xCD9E8D57u * c[lane];
      a[lane] = (uint32_t)(q >> 32) ^ b[lane] ^ k0;
      c[lane] = (uint32_t)(p >> 32) ^ d[lane] ^ k1;
      b[lane] = (uint32_t)q, d[lane] = (uint32_t)p;
    }
  memcpy(out->word[0], a, sizeof a), memcpy(out->word[1], b, sizeof b);
  memcpy(out->word[2], c, sizeof c), memcpy(out->word[3], d, sizeof d);
}

/* Box and Muller 1958. The radius takes a number in (0, 1] with 31 bits, so draws reach 6.6; the angle
   splits its 32 bits into a quarter and the rest, -pi/4 .. pi/4. */
#ifdef ORR_DOUBLE
static inline void normal_pair(uint32_t first, uint32_t second, double *x, double *y) {
  double radius = sqrt(-2 * log(((double)(first >> 1) + 0.5) / 2147483648.0));
  double angle = (double)second * (6.283185307179586 / 4294967296.0);
  *x = radius * cos(angle), *y = radius * sin(angle);
}
static inline double uniform_one(uint32_t word) { return (double)word / 4294967296.0; }
#else
static inline void normal_pair(uint32_t first, uint32_t second, float *x, float *y) {
  float open = ((float)(int32_t)(first >> 1) + 0.5f) * (1 / 2147483648.0f);
  float radius = __builtin_sqrtf(-2 * real_log(open));
  uint32_t quarter = (second + 0x20000000u) >> 30;
  float r = (float)(int32_t)(second - (quarter << 30)) * (1.57079633f / 1073741824.0f);
  float s = sin_near(r), c = cos_near(r);
  *x = radius * flip_sign((quarter & 1) ? s : c, ((quarter + 1) & 2) << 30);
  *y = radius * flip_sign((quarter & 1) ? c : s, (quarter & 2) << 30);
}
static inline float uniform_one(uint32_t word) {
  return (float)(int32_t)(word >> 8) * (1 / 16777216.0f);
}
#endif

static inline void normal_lanes(const words *bits, orr_real drawn[4][BLOCK]) {
  for (int pair = 0; pair < 4; pair += 2)
    for (int lane = 0; lane < BLOCK; lane++)
      normal_pair(bits->word[pair][lane], bits->word[pair + 1][lane], &drawn[pair][lane],
                  &drawn[pair + 1][lane]);
}

static inline void uniform_lanes(const words *bits, orr_real drawn[4][BLOCK]) {
  for (int i = 0; i < 4; i++)
    for (int lane = 0; lane < BLOCK; lane++) drawn[i][lane] = uniform_one(bits->word[i][lane]);
}

/* With one lane the 16 counters are quads of one row, else rows of one quad. */
#define DRAW(name)                                                                                     \
  static void draw_##name(orr_real *block, size_t features, int lanes, uint64_t key, uint32_t site,    \
                          uint32_t step, uint32_t iteration, uint32_t row0) {                          \
    uint64_t mixed = mix_bits(mix_bits(key) ^ iteration);                                              \
    bool single = lanes == 1;                                                                          \
    size_t count = single ? 4 * BLOCK : 4;                                                             \
    for (size_t f = 0; f < features; f += count) {                                                     \
      words bits;                                                                                      \
      orr_real drawn[4][BLOCK];                                                                        \
      philox_lanes(&bits, mixed, row0, !single, (uint32_t)(f / 4), single, step, site);                \
      name##_lanes(&bits, drawn);                                                                      \
      size_t some = features - f < count ? features - f : count;                                       \
      if (single)                                                                                      \
        for (size_t i = 0; i < some; i++) block[f + i] = drawn[i % 4][i / 4];                          \
      else                                                                                             \
        for (size_t i = 0; i < some; i++)                                                              \
          memcpy(block + (f + i) * (size_t)lanes, drawn[i], (size_t)lanes * sizeof *block);            \
    }                                                                                                  \
  }
DRAW(normal)
DRAW(uniform)
