/* bench_peak.c - how many floating-point operations a second this machine does at most: independent
   fused multiply-adds on registers, on 1 .. n threads at once. Prints the instruction set, and
   GFLOP/s by number of threads.
     bench_peak [best | avx512 | avx2 | portable] [threads] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHAINS = 12, ROUNDS = 1000000, TRIES = 40, MOST_THREADS = 64 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define EACH _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++)

/* Twelve chains, in registers, hide the latency of two units; a number goes out so that all of it is
   needed. */
#define LOOP(vector, set, fma)                        \
  vector x[CHAINS], a = set(0.999f), b = set(0.001f); \
  EACH x[i] = set(0.1f * (float)i);                   \
  for (int round = 0; round < ROUNDS; round++) {      \
    EACH x[i] = fma(x[i], a, b);                      \
  }                                                   \
  EACH x[0] = fma(x[i], a, x[0]);                     \
  memcpy(out, &x[0], sizeof x[0]);                    \
  return sizeof(vector) / sizeof(float)

typedef float vector4 __attribute__((vector_size(16)));
static inline vector4 set4(float x) { return (vector4){x, x, x, x}; }
static inline vector4 fma4(vector4 x, vector4 a, vector4 b) { return x * a + b; }
static size_t loop_portable(float *out) { LOOP(vector4, set4, fma4); }

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static size_t loop_avx2(float *out) {
  LOOP(__m256, _mm256_set1_ps, _mm256_fmadd_ps);
}
__attribute__((target("avx512f"))) static size_t loop_avx512(float *out) {
  LOOP(__m512, _mm512_set1_ps, _mm512_fmadd_ps);
}
#endif

typedef size_t (*loop)(float *);

static loop choose(const char *wanted, const char **name) {
  if (wanted && !strcmp(wanted, "best")) wanted = NULL;
  *name = "portable";
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && (!wanted || !strcmp(wanted, "avx512")))
    return *name = "avx512", loop_avx512;
  if (__builtin_cpu_supports("avx2") && (!wanted || !strcmp(wanted, "avx2")))
    return *name = "avx2", loop_avx2;
#else
  (void)wanted;
#endif
  return loop_portable;
}

struct work {
  loop run;
  pthread_barrier_t *barrier;
  float out[16];
  double seconds;
  size_t lanes;
};

static void *work(void *context) {
  struct work *w = context;
  pthread_barrier_wait(w->barrier);
  double start = now();
  w->lanes = w->run(w->out);
  w->seconds = now() - start;
  return NULL;
}

/* The best of several tries: what disturbs only ever slows down. */
static double measure(loop run, int threads) {
  double best = 0;
  for (int try = 0; try < TRIES; try++) {
    pthread_t thread[MOST_THREADS];
    struct work all[MOST_THREADS];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
      all[i] = (struct work){.run = run, .barrier = &barrier};
      if (pthread_create(&thread[i], NULL, work, &all[i]) != 0) exit(1);
    }
    double slowest = 0;
    for (int i = 0; i < threads; i++) {
      pthread_join(thread[i], NULL);
      if (all[i].seconds > slowest) slowest = all[i].seconds;
    }
    pthread_barrier_destroy(&barrier);
    double flops = 2.0 * CHAINS * ROUNDS * (double)all[0].lanes * threads;
    if (flops / slowest > best) best = flops / slowest;
  }
  return best / 1e9;
}

int main(int count, char **arguments) {
  const char *name;
  loop run = choose(count > 1 ? arguments[1] : NULL, &name);
  int threads = count > 2 ? atoi(arguments[2]) : 2;
  printf("%s", name);
  for (int n = 1; n <= threads && n <= MOST_THREADS; n++) printf(" %.1f", measure(run, n));
  printf("\n");
  return 0;
}
