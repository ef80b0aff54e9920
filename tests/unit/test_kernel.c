/* Every table of kernels against the formulas of ops.def taken one number at a time. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernel/kernel.h"
#include "kernel/math.h"

static const char *const table_names[] = {"portable", "avx2", "avx512"};
#define EACH_TABLE(k)                                            \
  for (size_t table_ = 0; table_ < COUNT(table_names); table_++) \
    for (const kernels *k = kernels_named(table_names[table_]); k; k = NULL)

#ifdef ORR_DOUBLE
#define TOLERANCE 1e-12
#else
#define TOLERANCE 2e-6
#endif

static orr_real unary_reference(unary_op op, orr_real x) {
  switch (op) {
#define UNARY(name, forward, ...) \
  case UNARY_##name:              \
    return (orr_real)(forward);
#define BINARY(...)
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
  default: return 0;
  }
}

static orr_real binary_reference(binary_op op, orr_real a, orr_real b) {
  switch (op) {
#define UNARY(...)
#define BINARY(name, forward, ...) \
  case BINARY_##name:              \
    return (orr_real)(forward);
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
  default: return 0;
  }
}

enum { MOST = 67 };

/* Ordinary numbers with the awkward ones in between. */
static void fill(orr_real *x, size_t n, orr_random *random) {
  static const double special[] = {0,    -0.0, 1,    -1,   0.5,   2,     INFINITY, -INFINITY, NAN,
                                   1e-3, 100,  -100, 1e30, -1e30, 1e-30, 1e-40,    2.5,       -0.5};
  for (size_t i = 0; i < n; i++) {
    bool odd = orr_random_index(random, 4) == 0;
    x[i] = odd ? (orr_real)special[orr_random_index(random, COUNT(special))]
               : (orr_real)(orr_random_normal(random) * 2);
  }
}

static bool same_bits(orr_real a, orr_real b) { return a == b || (a != a && b != b); }

/* Agreement of tables that may or may not fuse: relative, NaN with NaN, infinity with infinity.
   What is near 0 by cancellation (sin of a multiple of pi, 1 + erf) compares absolutely. */
static bool close_to(orr_real a, orr_real b) {
  if (same_bits(a, b)) return true;
  return fabs((double)a - (double)b) <= TOLERANCE * (fabs((double)b) < 1 ? 1 : fabs((double)b));
}

Test(kernel, names) {
  cr_assert_str_eq(unary_name(UNARY_tanh), "tanh");
  cr_assert_str_eq(binary_name(BINARY_atan2), "atan2");
  cr_assert_str_eq(unary_name(UNARY_COUNT), "unknown");
  cr_assert_str_eq(kernels_named("portable")->name, "portable");
  cr_assert_null(kernels_named("abacus"));
}

static int warnings;
static void count_warnings(void *user, orr_log_level level, const char *message) {
  (void)user;
  if (level == ORR_LOG_WARNING && strstr(message, "abacus")) warnings++;
}

Test(kernel, choice) {
  EACH_TABLE(k) {
    orr_engine_options options = orr_engine_options_defaults();
    options.kernel = k->name;
    orr_engine *engine = orr_engine_new(&options);
    cr_assert_eq(engine_kernels(engine), k);
    orr_engine_free(engine);
  }
  orr_engine_options options = orr_engine_options_defaults();
  options.kernel = "abacus";
  options.log = count_warnings;
  orr_engine *engine = orr_engine_new(&options);
  cr_assert_not_null(engine_kernels(engine));
  engine_kernels(engine);
  cr_assert_eq(warnings, 1);
  orr_engine_free(engine);
}

Test(kernel, unary) {
  orr_random random = orr_random_new(1, 0);
  EACH_TABLE(k) for (int op = 0; op < UNARY_COUNT; op++) for (size_t n = 0; n <= MOST; n++) {
    orr_real x[MOST], y[MOST + 1], place[MOST];
    fill(x, n, &random);
    y[n] = 42;
    memcpy(place, x, sizeof place);
    k->unary[op](y, x, n);
    k->unary[op](place, place, n);
    for (size_t i = 0; i < n; i++) {
      orr_real want = unary_reference((unary_op)op, x[i]), alone;
      cr_assert(close_to(y[i], want), "%s %s(%.9g) is %.9g, not %.9g", k->name,
                unary_name((unary_op)op), x[i], y[i], want);
      k->unary[op](&alone, x + i, 1);
      cr_assert(same_bits(alone, y[i]), "%s %s: bits depend on the place", k->name,
                unary_name((unary_op)op));
      cr_assert(same_bits(place[i], y[i]), "%s %s in place", k->name, unary_name((unary_op)op));
    }
    cr_assert_eq(y[n], 42, "%s %s writes past the end", k->name, unary_name((unary_op)op));
  }
}

static void check_binary(const kernels *k, binary_op op, const orr_real *a, const orr_real *b,
                         size_t n) {
  orr_real y[MOST + 1], left[MOST], right[MOST];
  const char *name = binary_name(op);
  y[n] = 42;
  memcpy(left, a, n * sizeof *a), memcpy(right, b, n * sizeof *b);
  k->binary[op](y, a, b, n);
  k->binary[op](left, left, b, n);
  k->binary[op](right, a, right, n);
  for (size_t i = 0; i < n; i++) {
    orr_real want = binary_reference(op, a[i], b[i]), one, by_number, number_by;
    cr_assert(close_to(y[i], want), "%s %s(%.9g, %.9g) is %.9g, not %.9g", k->name, name, a[i],
              b[i], y[i], want);
    cr_assert(same_bits(left[i], y[i]) && same_bits(right[i], y[i]), "%s %s in place", k->name,
              name);
    k->binary[op](&one, a + i, b + i, 1);
    k->binary_by_number[op](&by_number, a + i, b[i], 1);
    k->number_by_binary[op](&number_by, a[i], b + i, 1);
    cr_assert(same_bits(one, y[i]), "%s %s: bits depend on the place", k->name, name);
    cr_assert(same_bits(by_number, y[i]) && same_bits(number_by, y[i]), "%s %s with a number",
              k->name, name);
  }
  cr_assert_eq(y[n], 42, "%s %s writes past the end", k->name, name);
  if (n == 0) return;
  orr_real all[MOST];
  k->binary_by_number[op](y, a, b[0], n);
  k->number_by_binary[op](all, a[0], b, n);
  for (size_t i = 0; i < n; i++) {
    cr_assert(close_to(y[i], binary_reference(op, a[i], b[0])), "%s %s by number", k->name, name);
    cr_assert(close_to(all[i], binary_reference(op, a[0], b[i])), "%s number by %s", k->name, name);
  }
}

Test(kernel, binary) {
  orr_random random = orr_random_new(2, 0);
  EACH_TABLE(k) for (int op = 0; op < BINARY_COUNT; op++) for (size_t n = 0; n <= MOST; n++) {
    orr_real a[MOST], b[MOST];
    fill(a, n, &random);
    fill(b, n, &random);
    check_binary(k, (binary_op)op, a, b, n);
  }
}

Test(kernel, binary_by_feature) {
  orr_random random = orr_random_new(3, 0);
  enum { FEATURES = 9 };
  EACH_TABLE(k) for (int op = 0; op < BINARY_COUNT; op++) {
    orr_real a[FEATURES * BLOCK], b[FEATURES], y[FEATURES * BLOCK], reverse[FEATURES * BLOCK];
    fill(a, FEATURES * BLOCK, &random);
    fill(b, FEATURES, &random);
    memcpy(y, a, sizeof y);
    k->binary_by_feature[op](y, y, b, FEATURES);
    k->feature_by_binary[op](reverse, a, b, FEATURES);
    for (size_t i = 0; i < FEATURES * BLOCK; i++) {
      orr_real want = binary_reference((binary_op)op, a[i], b[i / BLOCK]);
      cr_assert(close_to(y[i], want), "%s %s", k->name, binary_name((binary_op)op));
      want = binary_reference((binary_op)op, b[i / BLOCK], a[i]);
      cr_assert(close_to(reverse[i], want), "%s reverse %s", k->name, binary_name((binary_op)op));
    }
  }
}

Test(kernel, select) {
  orr_random random = orr_random_new(4, 0);
  EACH_TABLE(k) for (size_t n = 0; n <= MOST; n++) {
    orr_real c[MOST], a[MOST], b[MOST], y[MOST];
    fill(c, n, &random), fill(a, n, &random), fill(b, n, &random);
    k->select(y, c, a, b, n);
    for (size_t i = 0; i < n; i++) cr_assert(same_bits(y[i], c[i] != 0 ? a[i] : b[i]));
  }
}

/* Few rows add in index order: the loop here must give the same bits. */
Test(kernel, sum_and_max) {
  orr_random random = orr_random_new(5, 0);
  enum { OUTER = 19, N = 5 };
  static orr_real x[OUTER * N * MOST], sum[OUTER * MOST], most[OUTER * MOST];
  EACH_TABLE(k) for (size_t inner = 1; inner <= MOST; inner++) for (size_t n = 1; n <= N; n++) {
    fill(x, OUTER * n * inner, &random);
    k->sum(sum, x, OUTER, n, inner);
    k->max(most, x, OUTER, n, inner);
    for (size_t o = 0; o < OUTER; o++)
      for (size_t i = 0; i < inner; i++) {
        const orr_real *from = x + o * n * inner + i;
        orr_real total = from[0], greatest = from[0];
        for (size_t j = 1; j < n; j++) {
          total += from[j * inner];
          greatest =
              greatest != greatest || from[j * inner] <= greatest ? greatest : from[j * inner];
        }
        cr_assert(same_bits(sum[o * inner + i], total), "%s sum of %zu, inner %zu", k->name, n,
                  inner);
        cr_assert(same_bits(most[o * inner + i], greatest), "%s max of %zu, inner %zu", k->name, n,
                  inner);
      }
  }
}

/* Many rows of few columns: row k adds to partial sum k % parts, and those fold in halves. */
static orr_real partial_sum(const orr_real *x, size_t n, size_t inner) {
  orr_real total[128];
  size_t parts = 16;
  while (parts * inner < 128 && parts * 4 <= n) parts *= 2;
  for (size_t k = 0; k < parts; k++) {
    total[k] = x[k * inner];
    for (size_t j = k + parts; j < n; j += parts) total[k] += x[j * inner];
  }
  for (; parts > 1; parts /= 2)
    for (size_t k = 0; k < parts / 2; k++) total[k] += total[k + parts / 2];
  return total[0];
}

Test(kernel, sum_and_max_of_many) {
  orr_random random = orr_random_new(7, 0);
  enum { LONGEST = 700, OUTER = 2 };
  static orr_real x[OUTER * LONGEST * BLOCK], sum[OUTER * BLOCK + 1], most[OUTER * BLOCK + 1];
  for (size_t inner = 1; inner < BLOCK; inner++)
    for (size_t n = 64; n <= LONGEST; n = n < 70 ? n + 1 : n * 4 / 3) {
      for (size_t i = 0; i < OUTER * n * inner; i++) x[i] = (orr_real)orr_random_normal(&random);
      if (n % 5 == 0) x[n * inner / 2] = (orr_real)NAN;
      EACH_TABLE(k) {
        sum[OUTER * inner] = most[OUTER * inner] = 42;
        k->sum(sum, x, OUTER, n, inner);
        k->max(most, x, OUTER, n, inner);
        cr_assert(sum[OUTER * inner] == 42 && most[OUTER * inner] == 42);
        for (size_t i = 0; i < OUTER * inner; i++) {
          const orr_real *from = x + i / inner * n * inner + i % inner;
          orr_real greatest = from[0];
          for (size_t j = 0; j < n * inner; j += inner)
            greatest = greatest != greatest || from[j] <= greatest ? greatest : from[j];
          cr_assert(same_bits(sum[i], partial_sum(from, n, inner)), "%s sum of %zu, inner %zu",
                    k->name, n, inner);
          cr_assert(same_bits(most[i], greatest), "%s max of %zu, inner %zu", k->name, n, inner);
        }
      }
    }
}

Test(kernel, blocks) {
  enum { FEATURES = 23 };
  EACH_TABLE(k)
  for (int valid = 1; valid <= BLOCK; valid++)
    for (size_t n = 1; n <= FEATURES; n++) {
      orr_real numbers[BLOCK][FEATURES + 1], back[BLOCK][FEATURES + 1], block[FEATURES * BLOCK + 1];
      const orr_real *rows[BLOCK] = {0};
      orr_real *out[BLOCK] = {0};
      for (int lane = 0; lane < BLOCK; lane++)
        for (size_t f = 0; f <= FEATURES; f++)
          numbers[lane][f] = (orr_real)(lane * 100 + (int)f), back[lane][f] = -1;
      for (int lane = 0; lane < valid; lane++) rows[lane] = numbers[lane], out[lane] = back[lane];
      block[n * BLOCK] = 42;
      k->load_block(block, rows, valid, n);
      cr_assert_eq(block[n * BLOCK], 42);
      for (size_t f = 0; f < n; f++)
        for (int lane = 0; lane < BLOCK; lane++)
          cr_assert_eq(block[f * BLOCK + (size_t)lane],
                       numbers[lane < valid ? lane : valid - 1][f]);
      k->store_block(out, block, valid, n);
      for (int lane = 0; lane < BLOCK; lane++)
        for (size_t f = 0; f <= FEATURES; f++)
          cr_assert_eq(back[lane][f], lane < valid && f < n ? numbers[lane][f] : -1);
    }
}

Test(kernel, row_add) {
  orr_random random = orr_random_new(6, 0);
  enum { FEATURES = 11 };
  EACH_TABLE(k)
  for (int lanes = 1; lanes <= BLOCK; lanes++)
    for (int valid = 1; valid <= lanes; valid++) {
      orr_real x[FEATURES * BLOCK], y[FEATURES], single[FEATURES];
      for (int i = 0; i < FEATURES * lanes; i++)
        x[i] = i % lanes < valid ? (orr_real)orr_random_normal(&random) : (orr_real)NAN;
      for (int f = 0; f < FEATURES; f++) y[f] = single[f] = (orr_real)f;
      k->row_add(y, x, FEATURES, lanes, valid);
      for (int f = 0; f < FEATURES; f++) {
        double want = f;
        for (int lane = 0; lane < valid; lane++) want += (double)x[f * lanes + lane];
        cr_assert_float_eq(y[f], want, 1e-5, "%s: %g, not %g", k->name, (double)y[f], want);
        k->row_add(single + f, x + f * lanes, 1, lanes, valid);
        cr_assert_eq(single[f], y[f], "%s: bits depend on the number of features", k->name);
      }
    }
}

Test(kernel, not_a_number_survives) {
  EACH_TABLE(k) {
    orr_real nan = (orr_real)NAN, one = 1, y = 0;
    k->unary[UNARY_relu](&y, &nan, 1);
    cr_assert(y != y);
    k->unary[UNARY_sign](&y, &nan, 1);
    cr_assert(y != y);
    k->binary[BINARY_min](&y, &nan, &one, 1);
    cr_assert(y != y);
    k->binary[BINARY_max](&y, &one, &nan, 1);
    cr_assert(y != y);
    k->max(&y, (orr_real[]){1, nan, 2}, 1, 3, 1);
    cr_assert(y != y);
    k->unary[UNARY_is_finite](&y, &nan, 1);
    cr_assert_eq(y, 0);
    orr_real zero = 0;
    k->binary[BINARY_masked_mul](&y, &zero, &nan, 1);
    cr_assert_eq(y, 0, "an untaken side poisons");
  }
}
