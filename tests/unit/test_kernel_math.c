/* kernel/math.h against libm in double, over all exponents. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "kernel/kernel.h"
#include "kernel/math.h"

#ifndef ORR_DOUBLE

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }

typedef struct function {
  const char *name;
  float (*mine)(float);
  double (*exact)(double);
  double low, high; /* where it is checked */
  double ulps;
} function;

static const function functions[] = {
    {"exp", real_exp, exp, -INFINITY, INFINITY, 1.5},
    {"expm1", real_expm1, expm1, -INFINITY, INFINITY, 2},
    {"log", real_log, log, -INFINITY, INFINITY, 1.5},
    {"log1p", real_log1p, log1p, -INFINITY, INFINITY, 2},
    {"sin", real_sin, sin, -1e6, 1e6, 2},
    {"cos", real_cos, cos, -1e6, 1e6, 2},
    {"tan", real_tan, tan, -1e6, 1e6, 4},
    {"asin", real_asin, asin, -INFINITY, INFINITY, 3},
    {"acos", real_acos, acos, -INFINITY, INFINITY, 2},
    {"atan", real_atan, atan, -INFINITY, INFINITY, 4},
    {"tanh", real_tanh, tanh, -INFINITY, INFINITY, 4},
    {"sigmoid", real_sigmoid, sigmoid, -88, INFINITY, 3}, /* below, exp(-x) is infinite: 0 */
    {"softplus", real_softplus, softplus, -INFINITY, INFINITY, 3},
    {"erf", real_erf, erf, -INFINITY, INFINITY, 2},
    {"floor", real_floor, floor, -INFINITY, INFINITY, 0},
    {"ceil", real_ceil, ceil, -INFINITY, INFINITY, 0},
    {"round", real_round, nearbyint, -INFINITY, INFINITY, 0},
};

static double ulp_of(double x) {
  return fabs(x) < (double)FLT_MIN ? 1.401298464324817e-45 : ldexp(1, ilogb(x) - 23);
}

static void check_result(const function *f, float x, float got) {
  double want = f->exact((double)x);
  float rounded = (float)want;
  if (want != want) {
    cr_assert(got != got, "%s(%.9g) is %.9g, not NaN", f->name, x, got);
    return;
  }
  if (rounded == 0)
    cr_assert_eq(signbit(got) && got == 0, signbit(rounded) && got == 0, "%s(%g)", f->name, x);
  if (isinf(rounded) ||
      isinf(got)) { /* libm rounds at the very edge to one side, we to the other */
    bool edge = fabs(want) > (double)FLT_MAX * 0.9999999;
    cr_assert(got == rounded || (edge && fabsf(got) > FLT_MAX * 0.999999f), "%s(%.9g) is %g",
              f->name, x, got);
    return;
  }
  double ulps = fabs((double)got - want) / ulp_of((double)rounded);
  cr_assert(ulps <= f->ulps + 1e-9, "%s(%.9g) is %.9g, not %.9g: %.2f ulp", f->name, x, got, want,
            ulps);
}

static void check(const function *f, float x) { check_result(f, x, f->mine(x)); }

Test(kernel_math, against_libm) {
  for (size_t i = 0; i < COUNT(functions); i++) {
    const function *f = &functions[i];
    for (uint64_t bits = i; bits < (uint64_t)1 << 32; bits += 6007) {
      float x = float_of_bits((uint32_t)bits);
      if (x != x || ((double)x >= f->low && (double)x <= f->high)) check(f, x);
    }
    static const float special[] = {0,       -0.0f,  1,       -1,      0.5f,     1.5f,      2.5f,
                                    -0.5f,   -2.5f,  0x1p23f, 0x1p22f, INFINITY, -INFINITY, NAN,
                                    FLT_MIN, 1e-45f, -1e-45f, FLT_MAX, 88.7f,    -103.9f};
    for (size_t s = 0; s < COUNT(special); s++)
      if (special[s] != special[s] ||
          ((double)special[s] >= f->low && (double)special[s] <= f->high))
        check(f, special[s]);
  }
}

/* What the tables have of their own, as exactly as the formulas above; and its bounds. */
Test(kernel_math, tables_against_libm) {
  static const unary_op ops[] = {UNARY_exp, UNARY_sigmoid, UNARY_tanh, UNARY_softplus};
  static const char *const table_names[] = {"portable", "avx2", "avx512"};
  enum { MANY = 100003 };
  static float x[MANY], y[MANY], silu[MANY];
  for (size_t t = 0; t < COUNT(table_names); t++)
    for (size_t o = 0; o < COUNT(ops); o++) {
      const kernels *k = kernels_named(table_names[t]);
      const function *f = functions;
      if (!k) continue;
      while (strcmp(f->name, unary_name(ops[o]))) f++;
      for (uint64_t bits = t, some; bits < (uint64_t)1 << 32;) {
        for (some = 0; some < MANY && bits < (uint64_t)1 << 32; bits += 6007)
          x[some++] = float_of_bits((uint32_t)bits);
        k->unary[ops[o]](y, x, some);
        k->unary[UNARY_silu](silu, x, some);
        for (size_t i = 0; i < some; i++) {
          double low = ops[o] == UNARY_sigmoid ? -87 : f->low; /* below, 0: see activations.h */
          if ((double)x[i] < low) {
            cr_assert_eq(y[i], 0);
            continue;
          }
          check_result(f, x[i], y[i]);
          if (ops[o] == UNARY_tanh) cr_assert(!(fabsf(y[i]) > 1), "%s tanh(%g)", k->name, x[i]);
          if (ops[o] != UNARY_sigmoid) continue;
          float product = x[i] * y[i];
          cr_assert(!(y[i] > 1) && !(y[i] < 0), "%s sigmoid(%g)", k->name, x[i]);
          cr_assert(silu[i] == product || (silu[i] != silu[i] && product != product), "%s silu(%g)",
                    k->name, x[i]);
        }
      }
      static const float ends[] = {-INFINITY, INFINITY, NAN, -FLT_MAX, FLT_MAX, -89, -87.5f, -0.0f};
      k->unary[UNARY_sigmoid](y, ends, COUNT(ends));
      cr_assert(y[0] == 0 && y[1] == 1 && y[2] != y[2] && y[3] == 0 && y[4] == 1 && y[5] == 0 &&
                y[6] == 0 && y[7] == 0.5f);
    }
}

/* Beyond a million: right to 1e-6 up to 1e9, then at least bounded. */
Test(kernel_math, far_angles) {
  for (float x = 1e6f; x < 1e9f; x *= 1.00037f) {
    cr_assert_float_eq(real_sin(x), sin((double)x), 1e-6);
    cr_assert_float_eq(real_cos(-x), cos((double)x), 1e-6);
  }
  for (float x = 1e9f; x < FLT_MAX / 2; x *= 1.37f) {
    cr_assert_leq(fabsf(real_sin(x)), 1);
    cr_assert_leq(fabsf(real_cos(x)), 1);
  }
}

Test(kernel_math, atan2_everywhere) {
  static const float special[] = {0,     -0.0f,   1,       -1,     INFINITY, -INFINITY,
                                  1e30f, -1e-30f, FLT_MAX, 1e-40f, 3,        -0.25f};
  for (size_t i = 0; i < COUNT(special); i++)
    for (size_t j = 0; j < COUNT(special); j++) {
      float a = special[i], b = special[j], got = real_atan2(a, b),
            want = (float)atan2((double)a, (double)b);
      cr_assert_eq(signbit(got), signbit(want), "atan2(%g, %g) is %g", a, b, got);
      cr_assert(fabsf(got - want) <= 4e-7f * fabsf(want) + 1e-44f,
                "atan2(%g, %g) is %.9g, not %.9g", a, b, got, want);
    }
  orr_random random = orr_random_new(1, 0);
  for (int i = 0; i < 200000; i++) {
    float a = (float)orr_random_normal(&random), b = (float)orr_random_normal(&random);
    double want = atan2((double)a, (double)b);
    cr_assert(fabs((double)real_atan2(a, b) - want) <= 4e-7 * fabs(want));
  }
  cr_assert(isnan(real_atan2(NAN, 1)) && isnan(real_atan2(1, NAN)));
}

/* What Lua gives: a - floor(a / b) b, the sign following b. */
static double lua_mod(double a, double b) {
  double m = fmod(a, b);
  return m * b < 0 ? m + b : m;
}

Test(kernel_math, division_as_in_lua) {
  static const float special[] = {0,   1,    -1,    0.1f,  -0.1f, 3,    7,     -7,       0.3f,
                                  1e6, 2.5f, -2.5f, 1e-3f, 10,    5.5f, 1e20f, INFINITY, -INFINITY};
  orr_random random = orr_random_new(2, 0);
  for (int i = 0; i < 200000; i++) {
    float a = i & 1 ? special[orr_random_index(&random, COUNT(special))]
                    : (float)orr_random_normal(&random);
    float b = i & 2 ? special[orr_random_index(&random, COUNT(special))]
                    : (float)orr_random_normal(&random);
    double quotient = floor((double)a / (double)b);
    float divided = real_floor_div(a, b);
    cr_assert(divided == (float)quotient || (divided != divided && quotient != quotient),
              "%g // %g", a, b);
    if (!(fabs(quotient) < 536870912.0)) continue;
    float want = (float)lua_mod((double)a, (double)b), got = real_mod(a, b);
    cr_assert(got == want || (got != got && want != want), "%.9g %% %.9g is %.9g, not %.9g", a, b,
              got, want);
  }
}

Test(kernel_math, pow) {
  static const float special[] = {0,     -0.0f,    1,         -1,  2,  -2,     3, 0.5f,
                                  -0.5f, INFINITY, -INFINITY, NAN, 10, 1e-40f, 33};
  orr_random random = orr_random_new(3, 0);
  for (int i = 0; i < 200000; i++) {
    float a = i & 1 ? special[orr_random_index(&random, COUNT(special))]
                    : expf((float)orr_random_normal(&random) * 9);
    float b = i & 2 ? special[orr_random_index(&random, COUNT(special))]
                    : (float)orr_random_normal(&random) * 5;
    double want = pow((double)a, (double)b);
    float got = real_pow(a, b), rounded = (float)want;
    bool same = got == rounded || (got != got && want != want);
    cr_assert(same || fabs((double)got - want) <= 0.51 * ulp_of(want),
              "%.9g ^ %.9g is %.9g, not %.9g", a, b, got, want);
    if (want == 0) cr_assert_eq(signbit(got), signbit(rounded));
  }
  for (float x = -40; x <= 40; x += 0.25f) {
    cr_assert_eq(real_pow(x, 2), x * x, "squares are exact");
    cr_assert_eq(real_pow(x, 3), x * x * x, "and so are cubes that fit");
  }
}

#else

Test(kernel_math, double_is_libm) { cr_assert_eq(real_mod(-7, 3), 2); }

#endif
