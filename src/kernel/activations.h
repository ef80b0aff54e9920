/* activations.h - the functions that networks spend their time in, in whole vectors: what math.h
   says of each holds here too (but that sigmoid is 0 below -87), and math.h stays the check of
   these. Float only. Included by kernels.c only.

   What is saved against the scalar forms: exponents that are limited to where one power of two is
   enough, and with AVX-512, where a division takes 16 cycles, an estimate of the reciprocal to 14
   bits and one step of Newton's. The rest of a vector at the end of the numbers is one more vector,
   so a number's bits do not depend on its place. */
#ifndef KERNEL_ACTIVATIONS_H
#define KERNEL_ACTIVATIONS_H

#include "kernel/math.h"
#include "kernel/vector.h"

#ifndef ORR_DOUBLE

typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t bit_patterns __attribute__((vector_size(VECTOR_BYTES))); /* may overflow */

/* The lesser and the greater; x where it is NaN. */
#if defined(__AVX512F__)
INLINE vector at_most(vector x, float high) { return _mm512_min_ps(splat(high), x); }
INLINE vector at_least(vector x, float low) { return _mm512_max_ps(splat(low), x); }
#elif defined(__AVX2__)
INLINE vector at_most(vector x, float high) { return _mm256_min_ps(splat(high), x); }
INLINE vector at_least(vector x, float low) { return _mm256_max_ps(splat(low), x); }
#elif defined(__x86_64__)
INLINE vector at_most(vector x, float high) { return _mm_min_ps(splat(high), x); }
INLINE vector at_least(vector x, float low) { return _mm_max_ps(splat(low), x); }
#else
INLINE vector at_most(vector x, float high) {
  integers above = x > splat(high);
  return (vector)((above & (integers)splat(high)) | (~above & (integers)x));
}
INLINE vector at_least(vector x, float low) { return -at_most(-x, -low); }
#endif

/* y, but 0 where x < low. */
INLINE vector unless_below(vector y, vector x, float low) {
#ifdef __AVX512F__
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, splat(low), _CMP_NLT_UQ), y);
#else
  return (vector)((integers)y & ~(x < splat(low)));
#endif
}

INLINE vector size_of(vector x) { return (vector)((integers)x & 0x7fffffff); }

/* y >= 0 with the sign of x. */
INLINE vector signed_as(vector y, vector x) {
  return (vector)((integers)y | ((integers)x & ~0x7fffffff));
}

/* a / b for b in 2^-100 .. 2^127 and a quotient that is not endless. Never more than 1 for
   a <= b. */
INLINE vector quotient(vector a, vector b) {
#ifdef __AVX512F__
  vector estimate = _mm512_rcp14_ps(b), first = a * estimate;
  return multiply_add(_mm512_fnmadd_ps(b, first, a), estimate, first);
#else
  return a / b;
#endif
}

/* 1 / b */
INLINE vector inverse(vector b) {
#ifdef __AVX512F__
  vector estimate = _mm512_rcp14_ps(b);
  return multiply_add(_mm512_fnmadd_ps(b, estimate, splat(1)), estimate, estimate);
#else
  return splat(1) / b;
#endif
}

/* A number added to this is rounded, and the low bits of the sum are its exponent's. */
#define EXPONENT_SHIFT (FLOAT_SHIFT + 127)

INLINE vector power_of(vector shifted) { return (vector)((bit_patterns)shifted << 23); }

/* x = n log 2 + r; e^r by the polynomial of exp_reduced. */
INLINE vector exp_rest(vector r) {
  vector p = multiply_add(splat(1.383105214e-3f), r, splat(8.369775739e-3f));
  p = multiply_add(p, r, splat(0.04166854054f));
  p = multiply_add(p, r, splat(0.1666650994f));
  p = multiply_add(p, r, splat(0.4999999015f));
  p = multiply_add(p, r, splat(1));
  return multiply_add(p, r, splat(1));
}

/* 1 + e^-x for x in -87 .. 20. Where a register can be indexed, -x = n log 2 / PARTS + r with
   2^(n / PARTS) from a table, and a shorter polynomial for the smaller r. The shift that makes an
   exponent of n's upper bits brings its lower ones, the index, into the mantissa: the table is less
   by so much. */
#ifdef __AVX2__
#ifdef __AVX512F__
enum { PART_BITS = 4 };
#define PART_CUBIC -0.1666627568f
#define PART_SQUARE 0.500019549f
#define PART_OF(index) (vector) _mm512_permutexvar_ps((__m512i)(index), part_powers())
#else
enum { PART_BITS = 3 };
#define PART_CUBIC -0.166651007f
#define PART_SQUARE 0.5000781886f
#define PART_OF(index) (vector) _mm256_permutevar8x32_ps(part_powers(), (__m256i)(index))
#endif
enum { PARTS = 1 << PART_BITS };

INLINE vector part_powers(void) {
  static const float sixteenth[16] = {1,           1.04427378f, 1.09050773f, 1.13878863f,
                                      1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                                      1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f,
                                      1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
  vector powers;
  bit_patterns index;
  for (int i = 0; i < PARTS; i++) powers[i] = sixteenth[i * (16 / PARTS)], index[i] = (uint32_t)i;
  return (vector)((bit_patterns)powers - (index << (23 - PART_BITS)));
}

INLINE vector one_and_exp_minus(vector x) {
  vector shifted = multiply_add(x, splat(-1.44269504f * PARTS), splat(FLOAT_SHIFT));
  vector n = shifted - splat(FLOAT_SHIFT);
  vector r = multiply_add(n, splat(0.693359375f / PARTS), x);
  r = multiply_add(n, splat(-2.12194440e-4f / PARTS), r);
  vector p = multiply_add(splat(PART_CUBIC), r, splat(PART_SQUARE));
  p = multiply_add(p, r, splat(-1));
  p = multiply_add(p, r, splat(1));
  bit_patterns power = ((bit_patterns)shifted << (23 - PART_BITS)) + (bit_patterns)PART_OF(shifted);
  return multiply_add(p, (vector)power, splat(1));
}
#else
INLINE vector one_and_exp_minus(vector x) {
  vector shifted = multiply_add(x, splat(-1.44269504f), splat(EXPONENT_SHIFT));
  vector n = shifted - splat(EXPONENT_SHIFT);
  vector r = multiply_add(n, splat(-0.693359375f), -x);
  r = multiply_add(n, splat(2.12194440e-4f), r);
  return multiply_add(exp_rest(r), power_of(shifted), splat(1));
}
#endif

/* 1 / (1 + e^-x): 1 from 17.4 on, 0 below -87, before results become subnormal, which is slow. */
INLINE vector sigmoid_of(vector x) {
  return unless_below(inverse(one_and_exp_minus(at_least(at_most(x, 20), -87))), x, -87);
}

INLINE vector silu_of(vector x) { return x * sigmoid_of(x); }

/* tanh x = v / (v + 1) for v = (e^(2 |x|) - 1) / 2. 2 |x| = n log 2 + 2 r; e^(2 r) - 1 = 2 (r + r r
   p). */
INLINE vector tanh_of(vector x) {
  vector size = at_most(size_of(x), 10);
  vector shifted = multiply_add(size, splat(2 * 1.44269504f), splat(EXPONENT_SHIFT));
  vector n = shifted - splat(EXPONENT_SHIFT);
  vector r = multiply_add(n, splat(-0.693359375f / 2), size);
  r = multiply_add(n, splat(2.12194440e-4f / 2), r);
  vector p = multiply_add(splat(32 * 1.383105214e-3f), r, splat(16 * 8.369775739e-3f));
  p = multiply_add(p, r, splat(8 * 0.04166854054f));
  p = multiply_add(p, r, splat(4 * 0.1666650994f));
  p = multiply_add(p, r, splat(2 * 0.4999999015f));
  vector e = multiply_add(p, r * r, r), scale = power_of(shifted);
  vector v = multiply_add(scale, e, multiply_add(scale, splat(0.5f), splat(-0.5f)));
  return signed_as(quotient(v, v + 1), x);
}

/* 2^n e for n and e as exp_rest gives it; n is whole, in -151 .. 128, which takes two factors. */
INLINE vector scaled(vector e, vector n) {
#ifdef __AVX512F__
  return _mm512_scalef_ps(e, n);
#else
  integers k = (integers)(n + splat(FLOAT_SHIFT)) - (integers)splat(FLOAT_SHIFT), half = k >> 1;
  return e * (vector)((half + 127) << 23) * (vector)((k - half + 127) << 23);
#endif
}

/* -104 <= x <= 89 */
INLINE vector exp_limited(vector x) {
  vector n = multiply_add(x, splat(1.44269504f), splat(FLOAT_SHIFT)) - splat(FLOAT_SHIFT);
  vector r = multiply_add(n, splat(-0.693359375f), x);
  return scaled(exp_rest(multiply_add(n, splat(2.12194440e-4f), r)), n);
}

INLINE vector exp_of(vector x) { return exp_limited(at_least(at_most(x, 89), -104)); }

/* max(x, 0) + log(1 + t) for t = e^-|x| <= 1, and log(1 + t) = 2 atanh s for s = t / (2 + t). */
INLINE vector softplus_of(vector x) {
  vector t = exp_limited(at_least(-size_of(x), -104)), s = quotient(t, t + 2), z = s * s;
  vector p = multiply_add(splat(0.2802445873f), z, splat(0.2799914111f));
  p = multiply_add(p, z, splat(0.4002169906f));
  p = multiply_add(p, z, splat(0.6666641313f));
  return unless_below(x, x, 0) + multiply_add(p, s * z, s + s);
}

#define IN_VECTORS(name)                                                     \
  static void vectors_##name(orr_real *y, const orr_real *x, size_t n) {     \
    size_t i = 0;                                                            \
    for (; i + LANES <= n; i += LANES) store(y + i, name##_of(load(x + i))); \
    int rest = (int)(n - i);                                                 \
    if (rest) store_some(y + i, name##_of(load_some(x + i, rest)), rest);    \
  }
IN_VECTORS(sigmoid)
IN_VECTORS(silu)
IN_VECTORS(tanh)
IN_VECTORS(exp)
IN_VECTORS(softplus)

#endif
#endif
