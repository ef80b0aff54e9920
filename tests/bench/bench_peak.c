/* bench_peak.c - how many floating-point operations a second this machine does at most, on 1 .. n
   threads at once. Prints the instruction set, and GFLOP/s by number of threads.
     bench_peak [best | avx512 | avx2 | portable] [threads] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "peak.h"

enum { TRIES = 60, LOOPS = 10, MOST_THREADS = 64 };

struct work {
  double (*loop)(void);
  pthread_barrier_t *barrier;
  double operations, seconds;
};

static void *work(void *context) {
  struct work *w = context;
  pthread_barrier_wait(w->barrier);
  double start = peak_clock();
  for (int i = 0; i < LOOPS; i++) w->operations += w->loop();
  w->seconds = peak_clock() - start;
  return NULL;
}

/* All threads at once; the slowest counts. */
static double try_once(double (*loop)(void), int threads) {
  pthread_t thread[MOST_THREADS];
  struct work all[MOST_THREADS];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  for (int i = 0; i < threads; i++) {
    all[i] = (struct work){.loop = loop, .barrier = &barrier};
    if (pthread_create(&thread[i], NULL, work, &all[i]) != 0) exit(1);
  }
  double slowest = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(thread[i], NULL);
    if (all[i].seconds > slowest) slowest = all[i].seconds;
  }
  pthread_barrier_destroy(&barrier);
  return threads * all[0].operations / slowest;
}

/* The best of several tries: what disturbs only ever slows down. */
static double measure(double (*loop)(void), int threads) {
  double best = 0;
  for (int i = 0; i < TRIES; i++) {
    double speed = try_once(loop, threads);
    if (speed > best) best = speed;
  }
  return 1e-9 * best;
}

int main(int count, char **arguments) {
  double (*loop)(void) = peak_loop(count > 1 ? arguments[1] : "best");
  int threads = count > 2 ? atoi(arguments[2]) : 2;
#if defined(__x86_64__)
  printf("%s", loop == peak_loop_512 ? "avx512" : loop == peak_loop_256 ? "avx2" : "portable");
#else
  printf("portable");
#endif
  for (int n = 1; n <= threads && n <= MOST_THREADS; n++) printf(" %.1f", measure(loop, n));
  printf("\n");
  return 0;
}
