/* draw.h - random numbers for blocks: Philox 4x32-10 (see base/random.c for the reference), BLOCK
   counters side by side. Included by kernels.c only.

   Counter: {row, element / 4, step, site}, each with all of its 32 bits; its four words belong to
   the elements 4 q .. 4 q + 3. Key: mix_bits(mix_bits(key) ^ iteration), which is one to one in the
   iteration. So two draws of one key share bits only if row, element, step, site and iteration are
   all equal. normal and uniform read the same words: they need different sites. */
#include "kernel/math.h"
#include "kernel/vector.h"

/* GROUP counters at once, in CHAINS vectors side by side, as one alone would wait for its
   multiplications. */
enum { CHAINS = 4, GROUP = VECTOR_BYTES == 64 ? 2 * BLOCK : BLOCK };

typedef struct words {
  uint32_t word[4][GROUP];
} words;

/* The state sits in the low halves of 64-bit lanes: one multiplication gives both halves of a
   product, and only ever reads the low half of its operand, so what gathers in the high halves does
   no harm. */
typedef uint64_t wide __attribute__((vector_size(VECTOR_BYTES)));
enum { WIDE_LANES = VECTOR_BYTES / 8 };

INLINE wide multiply_low_halves(wide a, wide b) {
#if defined(__AVX512F__)
  return (wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

/* The high halves moved down. A shuffle does it on a port that the multiplications leave free. */
INLINE wide high_halves(wide a) {
#if defined(__AVX512F__)
  return (wide)_mm512_shuffle_epi32((__m512i)a, _MM_PERM_DDBB);
#elif defined(__AVX2__)
  return (wide)_mm256_shuffle_epi32((__m256i)a, 0xf5);
#elif defined(__x86_64__)
  return (wide)_mm_shuffle_epi32((__m128i)a, 0xf5);
#else
  return a >> 32;
#endif
}

typedef struct key_schedule {
  wide round[10][2];
} key_schedule;

INLINE void schedule_keys(key_schedule *keys, uint64_t key) {
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int i = 0; i < 10; i++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
    keys->round[i][0] = (wide){0} + k0, keys->round[i][1] = (wide){0} + k1;
}

/* The low halves of both, in order, in one vector: smaller stores would hold up the wider loads
   that follow them. */
INLINE void store_low_halves(uint32_t *y, wide a, wide b) {
  typedef uint32_t narrow __attribute__((vector_size(VECTOR_BYTES)));
#if VECTOR_BYTES == 64
  narrow both = __builtin_shufflevector((narrow)a, (narrow)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
                                        22, 24, 26, 28, 30);
#elif VECTOR_BYTES == 32
  narrow both = __builtin_shufflevector((narrow)a, (narrow)b, 0, 2, 4, 6, 8, 10, 12, 14);
#else
  narrow both = __builtin_shufflevector((narrow)a, (narrow)b, 0, 2, 4, 6);
#endif
  memcpy(y, &both, sizeof both);
}

/* Ten rounds on vectors of counters. */
INLINE void philox_rounds(wide x[4][CHAINS], const key_schedule *keys) {
  const wide first = (wide){0} + 0xD2511F53u, second = (wide){0} + 0xCD9E8D57u;
  UNROLL for (int i = 0; i < 10; i++) {
    UNROLL for (int v = 0; v < CHAINS; v++) {
      wide p = multiply_low_halves(x[0][v], first), q = multiply_low_halves(x[2][v], second);
      x[0][v] = high_halves(q) ^ x[1][v] ^ keys->round[i][0];
      x[2][v] = high_halves(p) ^ x[3][v] ^ keys->round[i][1];
      x[1][v] = q, x[3][v] = p;
    }
  }
}

/* The counters {row, quad, step, site}; a counter further is a row further and past a block of them
   the next quad, or, with `single`, always a quad. */
INLINE void philox_group(words *out, const key_schedule *keys, uint32_t row, uint32_t quad,
                         uint32_t step, uint32_t site, bool single) {
  const wide none = {0}, in_rows = none + (single ? 0 : BLOCK - 1);
  const int quad_bits = single ? 0 : 4;
  wide count;
  for (int i = 0; i < WIDE_LANES; i++) count[i] = (uint64_t)i;
  for (int at = 0; at < GROUP; at += CHAINS * WIDE_LANES) {
    wide x[4][CHAINS];
    UNROLL for (int v = 0; v < CHAINS; v++, count += WIDE_LANES) {
      x[0][v] = (count & in_rows) + row, x[1][v] = (count >> quad_bits) + quad;
      x[2][v] = none + step, x[3][v] = none + site;
    }
    philox_rounds(x, keys);
    UNROLL for (int i = 0; i < 4; i++) {
      UNROLL for (int v = 0; v < CHAINS; v += 2) {
        store_low_halves(out->word[i] + at + v * WIDE_LANES, x[i][v], x[i][v + 1]);
      }
    }
  }
}

/* Box and Muller 1958. The radius takes a number in (0, 1] with 31 bits, so draws reach 6.6; the
   angle splits its 32 bits into a half turn and the rest, t pi/2 with t in -1 .. 1. */
#ifdef ORR_DOUBLE
static inline void normal_pair(uint32_t first, uint32_t second, double *x, double *y) {
  double radius = sqrt(-2 * log(((double)(first >> 1) + 0.5) / 2147483648.0));
  double angle = (double)second * (6.283185307179586 / 4294967296.0);
  *x = radius * cos(angle), *y = radius * sin(angle);
}
static inline double uniform_one(uint32_t word) { return (double)word / 4294967296.0; }
#else
/* -2 log u for u = x / 2^31, 0.5 <= x <= 2^31, good to 3e-7: as log_normal of math.h, shorter. */
static inline float square_radius(float x) {
  uint32_t above = float_bits(x) - (0x3f3504f3u + (31u << 23));
  float k = (float)((int32_t)above >> 23);
  float f = float_of_bits((above & 0x7fffffu) + 0x3f3504f3u) - 1, z = f * f;
  float p = fused(0.203834642f, f, -0.3204876299f);
  p = fused(p, f, 0.3427425352f);
  p = fused(p, f, -0.3984900679f);
  p = fused(p, f, 0.4996653393f);
  p = fused(p, f, -0.6666849143f);
  p = fused(p, f, 1);
  return fused(k, -1.38629436f, fused(p, z, -2 * f));
}

static inline void normal_pair(uint32_t first, uint32_t second, float *x, float *y) {
  float radius = __builtin_sqrtf(square_radius((float)(int32_t)(first >> 1) + 0.5f));
  float t = (float)(int32_t)(second << 1) * (1 / 2147483648.0f), z = t * t;
  radius = flip_sign(radius, (second ^ (second << 1)) & 0x80000000u);
  float c = fused(8.581906196e-4f, z, -0.02081062752f);
  c = fused(c, z, 0.2536507446f);
  c = fused(c, z, -1.233698215f);
  c = fused(c, z, 0.9999999535f);
  float s = fused(1.514851309e-4f, z, -4.673766613e-3f);
  s = fused(s, z, 0.07968967895f);
  s = fused(s, z, -0.6459637106f);
  s = fused(s, z, 1.570796318f);
  *x = radius * c, *y = radius * (s * t);
}
static inline float uniform_one(uint32_t word) {
  return (float)(int32_t)(word >> 8) * (1 / 16777216.0f);
}
#endif

/* The first `count` of the group, whole blocks of them. */
static inline void normal_group(const words *bits, orr_real drawn[4][GROUP], int count) {
  for (int pair = 0; pair < 4; pair += 2)
    for (int at = 0; at < count; at += BLOCK) {
      const uint32_t *first = bits->word[pair] + at, *second = bits->word[pair + 1] + at;
      orr_real *x = drawn[pair] + at, *y = drawn[pair + 1] + at;
      EACH_LANE normal_pair(first[lane], second[lane], x + lane, y + lane);
    }
}

static inline void uniform_group(const words *bits, orr_real drawn[4][GROUP], int count) {
  for (int i = 0; i < 4; i++)
    for (int at = 0; at < count; at += BLOCK)
      EACH_LANE drawn[i][at + lane] = uniform_one(bits->word[i][at + lane]);
}

/* With one lane the counters are quads of one row, else blocks of rows of a quad each. */
INLINE void give_drawn(orr_real *block, size_t some, size_t lanes, const orr_real drawn[4][GROUP]) {
  if (lanes == 1)
    for (size_t i = 0; i < some; i++) block[i] = drawn[i % 4][i / 4];
  else if (lanes == BLOCK)
    for (size_t i = 0; i < some; i++)
      memcpy(block + i * BLOCK, drawn[i % 4] + i / 4 * BLOCK, BLOCK * sizeof *block);
  else
    for (size_t i = 0; i < some; i++)
      memcpy(block + i * lanes, drawn[i % 4] + i / 4 * BLOCK, lanes * sizeof *block);
}

#define DRAW(name)                                                                           \
  static void draw_##name(orr_real *block, size_t features, int lanes, uint64_t key,         \
                          uint32_t site, uint32_t step, uint32_t iteration, uint32_t row0) { \
    bool single = lanes == 1;                                                                \
    size_t count = single ? 4 * GROUP : 4 * GROUP / BLOCK;                                   \
    key_schedule keys;                                                                       \
    schedule_keys(&keys, mix_bits(mix_bits(key) ^ iteration));                               \
    for (size_t f = 0; f < features; f += count) {                                           \
      words bits;                                                                            \
      orr_real drawn[4][GROUP];                                                              \
      size_t some = features - f < count ? features - f : count;                             \
      philox_group(&bits, &keys, row0, (uint32_t)(f / 4), step, site, single);               \
      name##_group(&bits, drawn, some <= count / (GROUP / BLOCK) ? BLOCK : GROUP);           \
      give_drawn(block + f * (size_t)lanes, some, (size_t)lanes, drawn);                     \
    }                                                                                        \
  }
DRAW(normal)
DRAW(uniform)
