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

uint32_t orr_random_bits(orr_random *random) {
  uint64_t block = random->counter / 4;
  uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)random->stream,
                         (uint32_t)(random->stream >> 32)};
  uint32_t out[4];
  philox(random->key, counter, out);
  return out[random->counter++ % 4];
}

double orr_random_uniform(orr_random *random) {
  uint64_t high = orr_random_bits(random) >> 5, low = orr_random_bits(random) >> 6;
  return ((double)high * 67108864.0 + (double)low) / 9007199254740992.0;
}

/* Box-Muller; one of the pair is dropped so that the stream has no hidden half. */
double orr_random_normal(orr_random *random) {
  double radius = sqrt(-2 * log(1 - orr_random_uniform(random)));
  return radius * cos(6.283185307179586 * orr_random_uniform(random));
}

uint64_t orr_random_index(orr_random *random, uint64_t n) {
  uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
  do {
    uint64_t high = orr_random_bits(random);
    x = high << 32 | orr_random_bits(random);
  } while (x >= limit);
  return x % n;
}

orr_random *orr_engine_random(orr_engine *engine) { return &engine->random; }

void orr_engine_seed(orr_engine *engine, uint64_t seed) {
  engine->seed = seed;
  engine->random = orr_random_new(seed, 0);
}

uint64_t orr_engine_seed_value(const orr_engine *engine) { return engine->seed; }
