/* draw.h - random numbers for blocks: Philox 4x32-10 (see base/random.c for the reference), BLOCK
   counters side by side. Included by kernels.c only.

   Counter: {row, element / 4, step, site}, each with all of its 32 bits; its four words belong to
   the elements 4 q .. 4 q + 3. Key: mix_bits(mix_bits(key) ^ iteration), which is one to one in the
   iteration. So two draws of one key share bits only if row, element, step, site and iteration are
   all equal. normal and uniform read the same words: they need different sites. */
#include "kernel/math.h"
#include "kernel/vector.h"

typedef struct words {
  uint32_t word[4][BLOCK];
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

/* Ten rounds on two vectors of counters. */
INLINE void philox_rounds(wide x[4][2], const key_schedule *keys) {
  const wide first = (wide){0} + 0xD2511F53u, second = (wide){0} + 0xCD9E8D57u;
  UNROLL for (int i = 0; i < 10; i++) {
    UNROLL for (int v = 0; v < 2; v++) {
      wide p = multiply_low_halves(x[0][v], first), q = multiply_low_halves(x[2][v], second);
      x[0][v] = (q >> 32) ^ x[1][v] ^ keys->round[i][0];
      x[2][v] = (p >> 32) ^ x[3][v] ^ keys->round[i][1];
      x[1][v] = q, x[3][v] = p;
    }
  }
}

/* The counters {row, quad, step, site}; a lane further is a row further, or, with `single`, a
   quad. */
INLINE void philox_lanes(words *out, const key_schedule *keys, uint32_t row, uint32_t quad,
                         uint32_t step, uint32_t site, bool single) {
  const wide none = {0};
  wide count;
  for (int i = 0; i < WIDE_LANES; i++) count[i] = (uint64_t)i;
  for (int lane = 0; lane < BLOCK; lane += 2 * WIDE_LANES, count += 2 * WIDE_LANES) {
    wide more = count + WIDE_LANES;
    wide x[4][2] = {{(single ? none : count) + row, (single ? none : more) + row},
                    {(single ? count : none) + quad, (single ? more : none) + quad},
                    {none + step, none + step},
                    {none + site, none + site}};
    philox_rounds(x, keys);
    UNROLL for (int i = 0; i < 4; i++) { store_low_halves(out->word[i] + lane, x[i][0], x[i][1]); }
  }
}

/* Box and Muller 1958. The radius takes a number in (0, 1] with 31 bits, so draws reach 6.6; the
   angle splits its 32 bits into a quarter and the rest, -pi/4 .. pi/4. */
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
  float radius = __builtin_sqrtf(-2 * log_normal(open, 0));
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
    EACH_LANE normal_pair(bits->word[pair][lane], bits->word[pair + 1][lane], &drawn[pair][lane],
                          &drawn[pair + 1][lane]);
}

static inline void uniform_lanes(const words *bits, orr_real drawn[4][BLOCK]) {
  for (int i = 0; i < 4; i++) EACH_LANE drawn[i][lane] = uniform_one(bits->word[i][lane]);
}

/* With one lane the 16 counters are quads of one row, else rows of one quad. */
#define DRAW(name)                                                                           \
  static void draw_##name(orr_real *block, size_t features, int lanes, uint64_t key,         \
                          uint32_t site, uint32_t step, uint32_t iteration, uint32_t row0) { \
    bool single = lanes == 1;                                                                \
    size_t count = single ? 4 * BLOCK : 4;                                                   \
    key_schedule keys;                                                                       \
    schedule_keys(&keys, mix_bits(mix_bits(key) ^ iteration));                               \
    for (size_t f = 0; f < features; f += count) {                                           \
      words bits;                                                                            \
      orr_real drawn[4][BLOCK];                                                              \
      philox_lanes(&bits, &keys, row0, (uint32_t)(f / 4), step, site, single);               \
      name##_lanes(&bits, drawn);                                                            \
      size_t some = features - f < count ? features - f : count;                             \
      if (single)                                                                            \
        for (size_t i = 0; i < some; i++) block[f + i] = drawn[i % 4][i / 4];                \
      else if (lanes == BLOCK)                                                               \
        for (size_t i = 0; i < some; i++)                                                    \
          memcpy(block + (f + i) * BLOCK, drawn[i], sizeof drawn[i]);                        \
      else                                                                                   \
        for (size_t i = 0; i < some; i++)                                                    \
          memcpy(block + (f + i) * (size_t)lanes, drawn[i], (size_t)lanes * sizeof *block);  \
    }                                                                                        \
  }
DRAW(normal)
DRAW(uniform)
