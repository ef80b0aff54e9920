/* vector.h - the widest vector of the instruction set being compiled for, and its fused
   multiply-add. GCC's vector extensions do the rest, so one source serves every processor. */
#ifndef KERNEL_VECTOR_H
#define KERNEL_VECTOR_H

#include <string.h>

#include "kernel/kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#define UNROLL _Pragma("GCC unroll 32")
#define INLINE static inline __attribute__((always_inline))

enum { LANES = VECTOR_BYTES / sizeof(orr_real) };

typedef orr_real vector __attribute__((vector_size(VECTOR_BYTES)));
/* Loads and stores at any address. */
typedef orr_real vector_in_memory
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(orr_real)), may_alias));

INLINE vector load(const orr_real *x) { return *(const vector_in_memory *)x; }
INLINE void store(orr_real *y, vector x) { *(vector_in_memory *)y = x; }
INLINE vector splat(orr_real x) { return x - (vector){0}; }

/* A loop over the rows of a block. Left alone, GCC unrolls the 16 turns before it thinks of vectors
   and then finds none; and it would test at run time whether y is an operand, which it may be. */
#define EACH_LANE \
  _Pragma("GCC unroll 1") _Pragma("GCC ivdep") for (int lane = 0; lane < BLOCK; lane++)

/* A loop over n numbers, for which the same holds: within one element there is no other
   dependence. */
#define EACH(n) _Pragma("GCC ivdep") for (size_t i = 0; i < (n); i++)

/* a * b + c */
#ifdef ORR_DOUBLE
#define FUSED_512(a, b, c) _mm512_fmadd_pd(a, b, c)
#define FUSED_256(a, b, c) _mm256_fmadd_pd(a, b, c)
#define FUSED_NEON(a, b, c) (vector) vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b))
#else
#define FUSED_512(a, b, c) _mm512_fmadd_ps(a, b, c)
#define FUSED_256(a, b, c) _mm256_fmadd_ps(a, b, c)
#define FUSED_NEON(a, b, c) (vector) vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b))
#endif

INLINE vector multiply_add(vector a, vector b, vector c) {
#if defined(__AVX512F__)
  return FUSED_512(a, b, c);
#elif defined(__AVX2__) && defined(__FMA__)
  return FUSED_256(a, b, c);
#elif defined(__aarch64__)
  return FUSED_NEON(a, b, c);
#else
  return a * b + c;
#endif
}

/* The first n of LANES numbers, the others 0; and only those written. */
INLINE vector load_some(const orr_real *x, int n) {
#if defined(__AVX512F__) && !defined(ORR_DOUBLE)
  return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x);
#elif defined(__AVX512F__)
  return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), x);
#else
  vector y = {0};
  memcpy(&y, x, (size_t)n * sizeof *x);
  return y;
#endif
}

INLINE void store_some(orr_real *y, vector x, int n) {
#if defined(__AVX512F__) && !defined(ORR_DOUBLE)
  _mm512_mask_storeu_ps(y, (__mmask16)((1u << n) - 1), x);
#elif defined(__AVX512F__)
  _mm512_mask_storeu_pd(y, (__mmask8)((1u << n) - 1), x);
#else
  memcpy(y, &x, (size_t)n * sizeof *y);
#endif
}

/* Keeps x in a register. GCC would fold its load into every instruction that uses it, and loops
   that multiply and add would wait for the load ports. */
#if defined(__x86_64__)
#define PIN(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define PIN(x) __asm__("" : "+w"(x))
#else
#define PIN(x) (void)(x)
#endif

#endif
