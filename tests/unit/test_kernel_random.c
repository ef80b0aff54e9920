/* Philox against the published vectors (Random123, kat_vectors), and the draws made of it. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernel/kernel.h"

static const char *const table_names[] = {"portable", "avx2", "avx512"};
#define EACH_TABLE(k)                                            \
  for (size_t table_ = 0; table_ < COUNT(table_names); table_++) \
    for (const kernels *k = kernels_named(table_names[table_]); k; k = NULL)

Test(kernel_random, philox_known_answers) {
  uint32_t out[4];
  philox(0, (uint32_t[4]){0, 0, 0, 0}, out);
  cr_assert(out[0] == 0x6627e8d5 && out[1] == 0xe169c58d && out[2] == 0xbc57ac4c &&
            out[3] == 0x9b00dbd8);
  philox(UINT64_MAX, (uint32_t[4]){UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, out);
  cr_assert(out[0] == 0x408f276d && out[1] == 0x41c83b0e && out[2] == 0xa20bc7c6 &&
            out[3] == 0x6d5451fd);
}

/* The vector Philox is the scalar one, with the counters that draw.h promises. */
Test(kernel_random, uniform_is_philox) {
  EACH_TABLE(k) {
    enum { FEATURES = 10 };
    orr_real x[FEATURES * BLOCK];
    uint32_t row0 = UINT32_MAX - 3; /* rows wrap */
    k->uniform(x, FEATURES, BLOCK, 77, 5, 6, 7, row0);
    for (uint32_t f = 0; f < FEATURES; f++)
      for (uint32_t lane = 0; lane < BLOCK; lane++) {
        uint32_t out[4];
        philox(mix_bits(mix_bits(77) ^ 7), (uint32_t[4]){row0 + lane, f / 4, 6, 5}, out);
        double want = (double)out[f % 4] / 4294967296.0, got = (double)x[f * BLOCK + lane];
        cr_assert(got <= want && want - got < 1 / 16777216.0, "%s", k->name);
        cr_assert(got >= 0 && got < 1);
      }
  }
}

/* Box and Muller in double, from the words of the scalar Philox; with one lane too. */
Test(kernel_random, normal_is_box_muller) {
  enum { FEATURES = 13, BLOCKS = 300 };
  EACH_TABLE(k)
  for (uint32_t b = 0; b < BLOCKS; b++) {
    orr_real x[FEATURES * BLOCK], single[FEATURES];
    k->normal(x, FEATURES, BLOCK, 3, 1, b, 0, b * BLOCK);
    k->normal(single, FEATURES, 1, 3, 1, b, 0, b * BLOCK);
    for (uint32_t f = 0; f < FEATURES; f++)
      for (uint32_t lane = 0; lane < BLOCK; lane++) {
        uint32_t out[4];
        philox(mix_bits(mix_bits(3) ^ 0), (uint32_t[4]){b * BLOCK + lane, f / 4, b, 1}, out);
        uint32_t first = out[f % 4 / 2 * 2], second = out[f % 4 / 2 * 2 + 1];
        double radius = sqrt(-2 * log(((double)(first >> 1) + 0.5) / 2147483648.0));
        double angle = (double)second * (6.283185307179586 / 4294967296.0);
        double want = radius * (f % 2 ? sin(angle) : cos(angle));
        cr_assert_float_eq(x[f * BLOCK + lane], want, 2e-6, "%s: %.9g, not %.9g", k->name,
                           (double)x[f * BLOCK + lane], want);
        if (lane == 0) cr_assert_eq(single[f], x[f * BLOCK], "%s", k->name);
      }
  }
}

typedef void (*draw)(orr_real *, size_t, int, uint64_t, uint32_t, uint32_t, uint32_t, uint32_t);

static void check_cuts(const char *name, draw draws) {
  enum { FEATURES = 70, ROWS = 2 * BLOCK };
  orr_real whole[2][FEATURES * BLOCK], part[FEATURES * BLOCK];
  for (uint32_t b = 0; b < 2; b++) draws(whole[b], FEATURES, BLOCK, 1, 2, 3, 4, 100 + b * BLOCK);
  for (int lanes = 1; lanes <= BLOCK; lanes++)
    for (size_t features = 1; features <= FEATURES; features += 3) {
      uint32_t first = (uint32_t)(features * 7 % BLOCK);
      draws(part, features, lanes, 1, 2, 3, 4, 100 + first);
      for (size_t f = 0; f < features; f++)
        for (uint32_t lane = 0; lane < (uint32_t)lanes; lane++) {
          uint32_t row = first + lane;
          cr_assert_eq(part[f * (size_t)lanes + lane], whole[row / BLOCK][f * BLOCK + row % BLOCK],
                       "%s: the draw of row %u, element %zu depends on %d lanes", name, row, f,
                       lanes);
        }
    }
}

Test(kernel_random, cuts_do_not_matter) {
  EACH_TABLE(k) {
    check_cuts(k->name, k->normal);
    check_cuts(k->name, k->uniform);
  }
}

/* Changing any one of the five names of a draw gives other numbers, also past 16 bits. */
Test(kernel_random, names_tell_draws_apart) {
  EACH_TABLE(k) {
    orr_real x[6][4 * BLOCK];
    k->normal(x[0], 4, BLOCK, 1, 2, 3, 4, 0);
    k->normal(x[1], 4, BLOCK, 2, 2, 3, 4, 0);
    k->normal(x[2], 4, BLOCK, 1, 2 + 65536, 3, 4, 0);
    k->normal(x[3], 4, BLOCK, 1, 2, 3 + 65536, 4, 0);
    k->normal(x[4], 4, BLOCK, 1, 2, 3, 4 + 65536, 0);
    k->normal(x[5], 4, BLOCK, 1, 2, 3, 4, 65536);
    for (int i = 0; i < 6; i++)
      for (int j = 0; j < i; j++)
        for (int n = 0; n < 4 * BLOCK; n++)
          cr_assert_neq(x[i][n], x[j][n], "%s: %d and %d", k->name, i, j);
  }
}

/* The first four moments, the tails, and the correlation of the two draws of a pair, at 5 sigma. */
Test(kernel_random, normal_moments) {
  enum { FEATURES = 64, BLOCKS = 400 };
  EACH_TABLE(k) {
    static orr_real x[FEATURES * BLOCK];
    double n = (double)FEATURES * BLOCK * BLOCKS, moment[5] = {0}, pair = 0, square_pair = 0,
           beyond = 0;
    for (uint32_t b = 0; b < BLOCKS; b++) {
      k->normal(x, FEATURES, BLOCK, 9, 0, 0, 0, b * BLOCK);
      for (size_t i = 0; i < FEATURES * BLOCK; i++) {
        double z = (double)x[i], power = 1;
        for (int m = 1; m <= 4; m++) moment[m] += power *= z;
        beyond += fabs(z) > 3;
        if (i / BLOCK % 2 == 0) {
          double other = (double)x[i + BLOCK];
          pair += z * other, square_pair += (z * z - 1) * (other * other - 1);
        }
      }
    }
    double one = 5 / sqrt(n);
    cr_assert_float_eq(moment[1] / n, 0, one, "%s mean", k->name);
    cr_assert_float_eq(moment[2] / n, 1, one * sqrt(2), "%s variance", k->name);
    cr_assert_float_eq(moment[3] / n, 0, one * sqrt(15), "%s skew", k->name);
    cr_assert_float_eq(moment[4] / n, 3, one * sqrt(96), "%s kurtosis", k->name);
    cr_assert_float_eq(beyond / n, 0.0026998, one * sqrt(0.0027), "%s beyond 3 sigma", k->name);
    cr_assert_float_eq(pair / (n / 2), 0, one * sqrt(2), "%s correlation", k->name);
    cr_assert_float_eq(square_pair / (n / 2), 0, one * sqrt(2) * 2, "%s correlation of squares",
                       k->name);
  }
}

/* The tables draw the same numbers to rounding. */
Test(kernel_random, tables_agree) {
  const kernels *portable = kernels_named("portable");
  static orr_real x[200 * BLOCK], y[200 * BLOCK];
  portable->normal(x, 200, BLOCK, 3, 1, 4, 1, 59);
  EACH_TABLE(k) {
    k->normal(y, 200, BLOCK, 3, 1, 4, 1, 59);
    for (int i = 0; i < 200 * BLOCK; i++)
      cr_assert(fabs((double)x[i] - (double)y[i]) < 4e-6, "%s", k->name);
  }
}
