/* math.h - elementary functions of one orr_real, branch-free so that GCC -O3 vectorises loops over
   them (no -ffast-math: it would remove the rounding tricks and hide NaN; -fno-math-errno and
   -fno-trapping-math change no result and are enough).

   In float each is a range reduction by bit tricks and a polynomial; errors stay below 2 to 4 ulp,
   and 0, infinities, NaN and subnormals come out as from libm. The coefficients are Remez fits of
   the named function, weighted for relative error, made for this file. In double: libm. Kernels run
   sigmoid, silu, tanh, exp and softplus in whole vectors, from activations.h.

   Rounding: products are fused with sums only where `fused` says so, and only where the processor
   has the instruction. The kernels are compiled with -ffp-contract=off, so a number does not depend
   on whether it falls in a vector or in the tail of a loop. */
#ifndef KERNEL_MATH_H
#define KERNEL_MATH_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "orrery/base.h"

/* x * y + z, rounded once where the processor has a fused multiply-add. */
#if defined(__FMA__) || defined(__aarch64__)
#define fused(x, y, z) __builtin_fmaf(x, y, z)
#define fused_double(x, y, z) __builtin_fma(x, y, z)
#else
#define fused(x, y, z) ((x) * (y) + (z))
#define fused_double(x, y, z) ((x) * (y) + (z))
#endif

/* The same in both precisions; comparisons are arranged so that a NaN survives. */
static inline orr_real real_sign(orr_real x) {
  orr_real sign = (orr_real)(x > 0) - (orr_real)(x < 0);
  return x != x ? x : sign;
}
static inline orr_real real_relu(orr_real x) { return x <= 0 ? 0 : x; }
static inline orr_real real_min(orr_real a, orr_real b) { return ((a < b) | (a != a)) ? a : b; }
static inline orr_real real_max(orr_real a, orr_real b) { return ((a > b) | (a != a)) ? a : b; }

#ifdef ORR_DOUBLE

static inline double real_abs(double x) { return fabs(x); }
static inline double real_sqrt(double x) { return sqrt(x); }
static inline double real_exp(double x) { return exp(x); }
static inline double real_expm1(double x) { return expm1(x); }
static inline double real_log(double x) { return log(x); }
static inline double real_log1p(double x) { return log1p(x); }
static inline double real_sin(double x) { return sin(x); }
static inline double real_cos(double x) { return cos(x); }
static inline double real_tan(double x) { return tan(x); }
static inline double real_asin(double x) { return asin(x); }
static inline double real_acos(double x) { return acos(x); }
static inline double real_atan(double x) { return atan(x); }
static inline double real_atan2(double a, double b) { return atan2(a, b); }
static inline double real_tanh(double x) { return tanh(x); }
static inline double real_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static inline double real_softplus(double x) { return real_relu(x) + log1p(exp(-fabs(x))); }
static inline double real_erf(double x) { return erf(x); }
static inline double real_floor(double x) { return floor(x); }
static inline double real_ceil(double x) { return ceil(x); }
static inline double real_round(double x) { return nearbyint(x); }
static inline double real_is_finite(double x) { return fabs(x) <= DBL_MAX; }
static inline double real_pow(double a, double b) { return pow(a, b); }
static inline double real_floor_div(double a, double b) { return floor(a / b); }
static inline double real_mod(double a, double b) {
  double rest = fmod(a, b);
  return (rest < 0) != (b < 0) && rest != 0 ? rest + b : rest;
}

#else

static inline uint32_t float_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float float_of_bits(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

static inline uint64_t double_bits(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double double_of_bits(uint64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

static inline float copy_sign(float magnitude, float sign) {
  return float_of_bits((float_bits(magnitude) & 0x7fffffffu) | (float_bits(sign) & 0x80000000u));
}

static inline float real_abs(float x) { return float_of_bits(float_bits(x) & 0x7fffffffu); }
static inline float real_sqrt(float x) { return __builtin_sqrtf(x); }
static inline float real_is_finite(float x) { return real_abs(x) <= FLT_MAX; }

/* Adding and taking away 2^23 (2^52 in double) leaves a positive number rounded, halves to even.
   With 1.5 times as much it works for both signs, and the low bits of the sum hold the whole
   number. */
#define FLOAT_WHOLE 8388608.0f
#define FLOAT_SHIFT 12582912.0f
#define DOUBLE_WHOLE 4503599627370496.0
#define DOUBLE_SHIFT 6755399441055744.0

static inline float real_round(float x) {
  float size = real_abs(x), whole = copy_sign((size + FLOAT_WHOLE) - FLOAT_WHOLE, x);
  return size < FLOAT_WHOLE ? whole : x;
}

static inline float real_floor(float x) {
  float whole = real_round(x), less = whole - 1;
  return copy_sign(whole > x ? less : whole, x);
}

static inline float real_ceil(float x) {
  float whole = real_round(x), more = whole + 1;
  return copy_sign(whole < x ? more : whole, x);
}

/* Quotients of floats are taken in double: floor(a / b) is then what Lua gets for the same numbers,
   as no quotient of two floats comes near enough to a whole number to be rounded to it. */
static inline double floor_quotient(double a, double b) {
  double x = a / b, size = __builtin_fabs(x), shifted = (size + DOUBLE_WHOLE) - DOUBLE_WHOLE;
  double whole = x < 0 ? -shifted : shifted, less = whole - 1;
  whole = whole > x ? less : whole;
  return size < DOUBLE_WHOLE ? whole : x;
}

static inline float real_floor_div(float a, float b) { return (float)floor_quotient(a, b); }

/* Exact while the quotient is below 2^29 (with fused multiply-add: 2^53); past that 0. */
static inline float real_mod(float a, float b) {
  double x = a, y = b, rest = fused_double(-floor_quotient(x, y), y, x);
  double size = __builtin_fabs(y), signed_rest = y < 0 ? -rest : rest;
  float result = (float)rest;
  result = ((signed_rest < 0) | (signed_rest > size)) ? 0 : result;
  float endless = ((a == 0) | ((a < 0) == (b < 0))) ? a : b;
  return ((size > FLT_MAX) & (real_abs(a) <= FLT_MAX)) ? endless : result;
}

/* exp: x = k log 2 + r, |r| <= log(2) / 2; returns e^r - 1 and k. log 2 is cut in two so that k
   times the first part is exact. x must lie in about -110 .. 90. */
static inline float exp_reduced(float x, int32_t *k) {
  float shifted = fused(x, 1.44269504f, FLOAT_SHIFT), n = shifted - FLOAT_SHIFT;
  float r = fused(n, -0.693359375f, x);
  r = fused(n, 2.12194440e-4f, r);
  float p = fused(1.383105214e-3f, r, 8.369775739e-3f);
  p = fused(p, r, 0.04166854054f);
  p = fused(p, r, 0.1666650994f);
  p = fused(p, r, 0.4999999015f);
  *k = (int32_t)(float_bits(shifted) - float_bits(FLOAT_SHIFT));
  return fused(p, r * r, r);
}

static inline float power_of_two(int32_t k) { return float_of_bits((uint32_t)(k + 127) << 23); }

/* 2^k in two factors, so that results reach down to the subnormals and up to infinity. */
static inline float real_exp(float x) {
  float limited = x > 89 ? 89 : x;
  limited = limited < -104 ? -104 : limited;
  int32_t k;
  float e = exp_reduced(limited, &k);
  return (1 + e) * power_of_two(k >> 1) * power_of_two(k - (k >> 1));
}

/* For x in -87 .. 88, where one factor does. */
static inline float exp_moderate(float x) {
  int32_t k;
  float e = exp_reduced(x, &k);
  return (1 + e) * power_of_two(k);
}

/* 2^k e^r - 1 = 2 (2^(k-1) (e^r - 1) + (2^(k-1) - 1/2)): nothing overflows before the result does.
   */
static inline float real_expm1(float x) {
  float limited = x > 89 ? 89 : x;
  limited = limited < -18 ? -18 : limited;
  int32_t k;
  float e = exp_reduced(limited, &k), half = power_of_two(k - 1);
  float y = 2 * fused(half, e, half - 0.5f);
  return x == 0 ? x : y;
}

/* log of a normal x > 0, less `shift` log 2: x = 2^k m with m in sqrt(1/2) .. sqrt(2); log m by a
   polynomial in m - 1. */
static inline float log_normal(float x, float shift) {
  uint32_t above = float_bits(x) - 0x3f3504f3u; /* the bits of sqrt(1/2) */
  float k = (float)((int32_t)above >> 23) - shift;
  float f = float_of_bits((above & 0x7fffffu) + 0x3f3504f3u) - 1, z = f * f;
  float p = fused(-0.07908275196f, f, 0.1285693631f);
  p = fused(p, f, -0.1309855241f);
  p = fused(p, f, 0.1418390171f);
  p = fused(p, f, -0.1662819868f);
  p = fused(p, f, 0.2000220014f);
  p = fused(p, f, -0.2500069004f);
  p = fused(p, f, 0.333333185f);
  float y = fused(k, -2.12194440e-4f, f * z * p);
  y = f + fused(-0.5f, z, y);
  return fused(k, 0.693359375f, y);
}

/* y, the logarithm of x, where there is one; what IEEE 754 says elsewhere. */
static inline float log_edges(float y, float x) {
  float outside = x == 0 ? -INFINITY : NAN;
  y = x > 0 ? y : outside;
  return x <= FLT_MAX ? y : x;
}

static inline float real_log(float x) {
  float scaled = x * FLOAT_WHOLE, normal = x < FLT_MIN ? scaled : x;
  return log_edges(log_normal(normal, x < FLT_MIN ? 23 : 0), x);
}

/* log(1 + x) = log u + (x - (u - 1)) / u for u = 1 + x rounded, which is never subnormal; the
   second term restores what the rounding lost. */
static inline float real_log1p(float x) {
  float u = 1 + x, lost_low = x - (u - 1), lost_high = 1 - (u - x);
  float rest = (x > 1 ? lost_high : lost_low) / u;
  float y = log_edges(log_normal(u, 0) + rest, u);
  return x == 0 ? x : y;
}

/* tanh x = u / (u + 2) for u = exp(2 |x|) - 1; beyond 10 it is 1 in float. */
static inline float real_tanh(float x) {
  float size = real_abs(x), limited = size > 10 ? 10 : size, u = real_expm1(2 * limited);
  return copy_sign(u / (u + 2), x);
}

static inline float real_sigmoid(float x) { return 1 / (1 + real_exp(-x)); }
static inline float real_softplus(float x) {
  return real_relu(x) + real_log1p(real_exp(-real_abs(x)));
}

/* x = n pi/2 + r, |r| <= pi/4; in double, with pi/2 in two parts of which the first has 33 bits.
   Good to the last bit of the float for |x| < 1e6, to 1e-7 for |x| < 1e9; beyond, results are
   arbitrary but within -1 .. 1 for sin and cos. The float that x is cannot say more: its neighbours
   lie turns apart. */
static inline float quarter_turns(float x, uint32_t *quarter) {
  double exact = x, shifted = fused_double(exact, 0.63661977236758134, DOUBLE_SHIFT);
  double n = shifted - DOUBLE_SHIFT;
  double r = fused_double(n, -1.57079632673412561417, exact);
  float rest = (float)fused_double(n, -6.07710050650619224932e-11, r);
  *quarter = (uint32_t)double_bits(shifted);
  rest = rest > 1 ? 1 : rest;
  return rest < -1 ? -1 : rest;
}

/* sin and cos for |r| <= pi/4 */
static inline float sin_near(float r) {
  float z = r * r, p = fused(-1.951665604e-4f, z, 8.332173545e-3f);
  p = fused(p, z, -0.1666665487f);
  return fused(p * z, r, r);
}
static inline float cos_near(float r) {
  float z = r * r, p = fused(2.443773119e-5f, z, -1.388736146e-3f);
  p = fused(p, z, 0.04166664675f);
  return fused(p * z, z, fused(-0.5f, z, 1));
}

static inline float flip_sign(float x, uint32_t sign_bit) {
  return float_of_bits(float_bits(x) ^ sign_bit);
}

static inline float real_sin(float x) {
  uint32_t quarter;
  float r = quarter_turns(x, &quarter), s = sin_near(r), c = cos_near(r);
  float y = flip_sign((quarter & 1) ? c : s, (quarter & 2) << 30);
  return x == 0 ? x : y;
}

static inline float real_cos(float x) {
  uint32_t quarter;
  float r = quarter_turns(x, &quarter), s = sin_near(r), c = cos_near(r);
  return flip_sign((quarter & 1) ? s : c, ((quarter + 1) & 2) << 30);
}

static inline float real_tan(float x) {
  uint32_t quarter;
  float r = quarter_turns(x, &quarter), s = sin_near(r), c = cos_near(r);
  bool odd = quarter & 1;
  float y = flip_sign((odd ? c : s) / (odd ? s : c), (quarter & 1) << 31);
  return x == 0 ? x : y;
}

/* asin x for |x| <= 1/2, z = x x */
static inline float asin_near(float x, float z) {
  float p = fused(0.04221848339f, z, 0.02414765518f);
  p = fused(p, z, 0.0454770865f);
  p = fused(p, z, 0.07495241885f);
  p = fused(p, z, 0.1666675392f);
  return fused(p * z, x, x);
}

/* Near the ends asin x = pi/2 - 2 asin sqrt((1 - x) / 2). */
static inline float real_asin(float x) {
  float size = real_abs(x), z_far = fused(-0.5f, size, 0.5f), root = __builtin_sqrtf(z_far);
  bool far = size > 0.5f;
  float y = asin_near(far ? root : size, far ? z_far : size * size);
  float y_far = fused(-2, y, 1.57079633f);
  return copy_sign(far ? y_far : y, x);
}

static inline float real_acos(float x) {
  float size = real_abs(x), z_far = fused(-0.5f, size, 0.5f), root = __builtin_sqrtf(z_far);
  bool far = size > 0.5f;
  float y = asin_near(far ? root : x, far ? z_far : x * x);
  float y_near = 1.57079633f - y, y_right = 2 * y, y_left = fused(-2, y, 3.14159265f);
  float y_far = x < 0 ? y_left : y_right;
  return far ? y_far : y_near;
}

/* atan(a / b) for 0 <= a, b: turned by an eighth or a quarter so that the ratio is below tan(pi/8).
   */
static inline float atan_ratio(float a, float b) {
  bool right = a <= b * 0.41421356f, up = b <= a * 0.41421356f;
  float slant = a - b, sum = a + b;
  float top = right ? a : (up ? -b : slant), bottom = right ? b : (up ? a : sum);
  float base = right ? 0 : (up ? 1.57079633f : 0.785398163f);
  float t = top / bottom, z = t * t;
  float p = fused(0.08057886695f, z, -0.1387915511f);
  p = fused(p, z, 0.1997786728f);
  p = fused(p, z, -0.3333295388f);
  return base + fused(p * z, t, t);
}

static inline float real_atan(float x) { return copy_sign(atan_ratio(real_abs(x), 1), x); }

static inline float real_atan2(float a, float b) {
  float up = real_abs(a), right = real_abs(b);
  float larger = up > right ? up : right, smaller = up > right ? right : up;
  up = smaller > FLT_MAX ? 1 : up; /* both endless: an eighth of a turn */
  right = smaller > FLT_MAX ? 1 : right;
  right = larger == 0 ? 1 : right; /* both 0: none */
  /* Sums and quotients of the largest and the least floats stay in range at a middling scale. */
  float scale = larger < 1e-30f ? 1e16f : 1;
  scale = larger > 1e30f ? 1e-8f : scale;
  float y = atan_ratio(up * scale, right * scale);
  float y_left = 3.14159265f - y;
  y = copy_sign((float_bits(b) >> 31) ? y_left : y, a);
  float nan = a + b;
  return ((a != a) | (b != b)) ? nan : y;
}

/* erf x = x + x E(x x) for |x| < 1; beyond, 1 - exp(a polynomial fitted to log erfc), and 1 after
   4.1. */
static inline float real_erf(float x) {
  float size = real_abs(x), z = x * x, t = size > 4.1f ? 4.1f : size;
  float p = fused(7.853857029e-5f, z, -8.010192215e-4f);
  p = fused(p, z, 5.188327509e-3f);
  p = fused(p, z, -0.02685381183f);
  p = fused(p, z, 0.1128358515f);
  p = fused(p, z, -0.3761262582f);
  p = fused(p, z, 0.1283791657f);
  float near = fused(p, x, x);
  float q = fused(1.876046784e-4f, t, -2.960113103e-3f);
  q = fused(q, t, 0.02188963838f);
  q = fused(q, t, -0.1032181951f);
  q = fused(q, t, -0.6380122245f);
  q = fused(q, t, -1.127171646f);
  q = fused(q, t, -3.205750666e-4f);
  float far = copy_sign(1 - exp_moderate(q), x);
  return size < 1 ? near : far;
}

/* log2 of x >= 0, in double, to 1e-12 for finite x > 0: x = 2^k m with m in sqrt(1/2) .. sqrt(2),
   and log m is odd in (m - 1) / (m + 1). Every float is a normal double. */
static inline double log2_of(double x) {
  const uint64_t root_half = 0x3fe6a09e667f3bcdu, mantissa = 0xfffffffffffffu;
  uint64_t above = double_bits(x) - root_half + ((uint64_t)2048 << 52);
  double k = double_of_bits((above >> 52) | double_bits(DOUBLE_WHOLE)) - (DOUBLE_WHOLE + 2048);
  double m = double_of_bits((above & mantissa) + root_half), s = (m - 1) / (m + 1), z = s * s;
  double p = fused_double(0.2721244824504872, z, 0.3207125268540171);
  p = fused_double(p, z, 0.41218800437280627);
  p = fused_double(p, z, 0.57707817251419867);
  p = fused_double(p, z, 0.96179669322936241);
  p = fused_double(p, z, 2.8853900817784077);
  return fused_double(p, s, k);
}

/* 2^x for x in about -1000 .. 1000, to 1e-10. */
static inline double exp2_of(double x) {
  double shifted = x + DOUBLE_SHIFT, f = x - (shifted - DOUBLE_SHIFT);
  double p = fused_double(1.5313636568493186e-5, f, 1.5465725923628787e-4);
  p = fused_double(p, f, 0.0013333437529322942);
  p = fused_double(p, f, 0.0096180419680076033);
  p = fused_double(p, f, 0.055504109521108167);
  p = fused_double(p, f, 0.24022651033417705);
  p = fused_double(p, f, 0.69314718054614083);
  return fused_double(p, f, 1) * double_of_bits((double_bits(shifted) << 52) + double_bits(1));
}

/* |a|^b in double, so that whole powers come out exact; then the cases that C's pow lists. */
static inline float real_pow(float a, float b) {
  float size = real_abs(a), half = 0.5f * b, negative = -size;
  double exponent = log2_of(size) * (double)b;
  exponent = exponent > 200 ? 200 : exponent;
  exponent = exponent < -200 ? -200 : exponent;
  float y = (float)exp2_of(exponent);
  float of_zero = b < 0 ? INFINITY : 0, of_endless = b < 0 ? 0 : INFINITY;
  y = size == 0 ? of_zero : y;
  y = size > FLT_MAX ? of_endless : y;
  float fraction = b - real_round(b), odd = half - real_round(half);
  fraction = real_abs(b) > FLT_MAX ? 0 : fraction;
  odd = real_abs(b) > FLT_MAX ? 0 : odd;
  /* An odd whole b keeps the sign of a; what is not whole has no power of a finite a below 0. */
  float signed_y = copy_sign(y, a);
  float below = fraction == 0 ? y : (size == 0 ? y : (size > FLT_MAX ? y : NAN));
  signed_y = odd == 0 ? y : signed_y;
  signed_y = fraction == 0 ? signed_y : below;
  y = a == negative ? signed_y : y;
  y = a != a ? a : y;
  y = b != b ? b : y;
  y = b == 0 ? 1 : y;
  float of_one = real_abs(b) > FLT_MAX ? 1 : y;
  y = a == -1 ? of_one : y;
  return a == 1 ? 1 : y;
}

#endif
#endif
