/* random.c - Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as
   1, 2, 3; SC 2011) and the streams made of it. */
#include <math.h>

#include "base/base.h"

void philox(uint64_t key, const uint32_t counter[4], uint32_t out[4]) {
  uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < 10; round++) {
    uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
    uint32_t a2 = (uint32_t)(q >> 32) ^ b ^ k0, c2 = (uint32_t)(p >> 32) ^ d ^ k1;
    b = (uint32_t)q, d = (uint32_t)p, a = a2, c = c2;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

uint64_t mix_bits(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

orr_random orr_random_new(uint64_t seed, uint64_t stream) {
  return (orr_random){mix_bits(seed), stream, 0};
}

orr_random orr_random_split(orr_random *parent) {
  uint64_t high = orr_random_bits(parent), low = orr_random_bits(parent);
  return (orr_random){mix_bits(parent->key ^ (high << 32 | low)), parent->stream, 0};
}

/* Four words of a stream, made together; words that follow each other are mostly of one block. */
typedef struct block {
  uint64_t number; /* UINT64_MAX: none yet; no counter divided by 4 is that */
  uint32_t word[4];
} block;

static const block no_block = {UINT64_MAX, {0}};

static inline uint32_t next_word(orr_random *random, block *b) {
  uint64_t number = random->counter / 4;
  if (number != b->number) {
    uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32), (uint32_t)random->stream,
                           (uint32_t)(random->stream >> 32)};
    philox(random->key, counter, b->word);
    b->number = number;
  }
  return b->word[random->counter++ % 4];
}

uint32_t orr_random_bits(orr_random *random) {
  block b = no_block;
  return next_word(random, &b);
}

static double next_uniform(orr_random *random, block *b) {
  uint64_t high = next_word(random, b) >> 5, low = next_word(random, b) >> 6;
  return ((double)high * 67108864.0 + (double)low) / 9007199254740992.0;
}

double orr_random_uniform(orr_random *random) {
  block b = no_block;
  return next_uniform(random, &b);
}

/* Box-Muller; one of the pair is dropped so that the stream has no hidden half. */
double orr_random_normal(orr_random *random) {
  block b = no_block;
  double radius = sqrt(-2 * log(1 - next_uniform(random, &b)));
  return radius * cos(6.283185307179586 * next_uniform(random, &b));
}

static inline uint64_t next_index(orr_random *random, block *b, uint64_t n) {
  for (;;) {
    uint64_t high = next_word(random, b), x = high << 32 | next_word(random, b), index = x % n;
    /* past the last multiple of n (UINT64_MAX - UINT64_MAX % n), draw again: rarely looked at */
    if (x <= UINT64_MAX - n || x < UINT64_MAX - UINT64_MAX % n) return index;
  }
}

uint64_t orr_random_index(orr_random *random, uint64_t n) {
  block b = no_block;
  return next_index(random, &b, n);
}

void orr_random_indices(orr_random *random, uint64_t n, int32_t first, int64_t count,
                        int32_t *indices) {
  block b = no_block;
  for (int64_t i = 0; i < count; i++)
    indices[i] = (int32_t)(first + (int64_t)next_index(random, &b, n));
}

void orr_random_shuffle(orr_random *random, int32_t *list, int64_t count) {
  block b = no_block;
  for (int64_t i = count - 1; i > 0; i--) {
    int64_t j = (int64_t)next_index(random, &b, (uint64_t)i + 1);
    int32_t other = list[i];
    list[i] = list[j];
    list[j] = other;
  }
}

orr_random *orr_engine_random(orr_engine *engine) { return &engine->random; }

void orr_engine_seed(orr_engine *engine, uint64_t seed) {
  engine->seed = seed;
  engine->random = orr_random_new(seed, 0);
}

uint64_t orr_engine_seed_value(const orr_engine *engine) { return engine->seed; }
