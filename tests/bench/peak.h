/* peak.h - how fast a core of this machine can multiply and add: the 100 % of every share of peak.
   A loop of independent fused multiply-adds in registers, in the precision of orr_real.

     double peak = peak_gflops("");       the best instruction set of this processor
     double avx2 = peak_gflops("avx2");   that of the table of kernels of that name

   One thread, about 40 ms, warm-up included. The clock changes with load: measure the peak beside
   what is compared with it. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <string.h>
#include <time.h>

#include "orrery/base.h"

enum { PEAK_SUMS = 12, PEAK_TURNS = 100000 };

static inline double peak_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Twelve sums hide the latency of the instruction (4 cycles, two a cycle) and fit 16 registers. The
   empty asm keeps the compiler from taking the loop apart. */
#define PEAK_LOOP(name, bytes, attribute, fuse, pin)                          \
  attribute static inline double name(void) {                                 \
    typedef orr_real peak_vector __attribute__((vector_size(bytes)));         \
    peak_vector sum[PEAK_SUMS] = {{0}}, half = {0}, one = {0};                \
    half += (orr_real)0.5, one += (orr_real)1;                                \
    for (int turn = 0; turn < PEAK_TURNS; turn++) {                           \
      _Pragma("GCC unroll 12") for (int i = 0; i < PEAK_SUMS; i++) {          \
        sum[i] = fuse(sum[i], half, one);                                     \
        __asm__ volatile("" : "+" pin(sum[i]));                               \
      }                                                                       \
    }                                                                         \
    return 2.0 * PEAK_TURNS * PEAK_SUMS * (double)(bytes / sizeof(orr_real)); \
  }

#define PEAK_PLAIN(a, b, c) ((a) * (b) + (c))
#if defined(__x86_64__)
#include <immintrin.h>
#ifdef ORR_DOUBLE
#define PEAK_512(a, b, c) (peak_vector) _mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c))
#define PEAK_256(a, b, c) (peak_vector) _mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c))
#else
#define PEAK_512(a, b, c) (peak_vector) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#define PEAK_256(a, b, c) (peak_vector) _mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c))
#endif
PEAK_LOOP(peak_loop_512, 64, __attribute__((target("avx512f"))), PEAK_512, "v")
PEAK_LOOP(peak_loop_256, 32, __attribute__((target("avx2,fma"))), PEAK_256, "x")
PEAK_LOOP(peak_loop_128, 16, , PEAK_PLAIN, "x")
#elif defined(__aarch64__)
#include <arm_neon.h>
#ifdef ORR_DOUBLE
#define PEAK_NEON(a, b, c) \
  (peak_vector) vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b))
#else
#define PEAK_NEON(a, b, c) \
  (peak_vector) vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b))
#endif
PEAK_LOOP(peak_loop_128, 16, , PEAK_NEON, "w")
#else
PEAK_LOOP(peak_loop_128, 16, , PEAK_PLAIN, "m")
#endif

static inline double (*peak_loop(const char *kernel))(void) {
#if defined(__x86_64__)
  if (strcmp(kernel, "portable") == 0) return peak_loop_128;
  if (__builtin_cpu_supports("avx512f") && strcmp(kernel, "avx2") != 0) return peak_loop_512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return peak_loop_256;
#endif
  (void)kernel;
  return peak_loop_128;
}

static inline double peak_gflops(const char *kernel) {
  double (*loop)(void) = peak_loop(kernel);
  double start = peak_clock(), best = 0;
  for (bool warm = false; !warm || peak_clock() - start < 0.04;) {
    double began = peak_clock(), operations = loop(), took = peak_clock() - began;
    warm = began - start > 0.02;
    if (warm && operations / took > best) best = operations / took;
  }
  return 1e-9 * best;
}

#endif
