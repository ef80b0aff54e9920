/* draws.c - random numbers of planners, keyed by candidate and iteration, so that sampling can be
   shared out over threads; and ranking. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "kernel/math.h"
#include "plan/plan.h"

void draw_uniform(uint64_t key, uint32_t iteration, uint32_t row, orr_real *u, int n) {
  for (int i = 0; i < n; i += 4) {
    uint32_t counter[4] = {row, (uint32_t)i / 4, iteration, 0}, bits[4];
    philox(key, counter, bits);
    for (int j = 0; j < 4 && i + j < n; j++) {
      /* the top 23 bits and a half: exact in float32, never 0 or 1 */
      u[i + j] = ((orr_real)(bits[j] >> 9) + (orr_real)0.5) * (orr_real)(1.0 / 8388608);
    }
  }
}

/* The inverse distribution function, sqrt(2) erfinv(x), by the central polynomial of M. Giles,
   "Approximating the erfinv function" (GPU Computing Gems, 2011); |x| < erf(2 / sqrt(2)) keeps
   inside it. Relative error below 1e-6. */
static inline orr_real truncated_normal(orr_real u) {
  orr_real x = (2 * u - 1) * (orr_real)0.9544997361036416;
  orr_real w = -real_log((1 - x) * (1 + x)) - (orr_real)2.5;
  orr_real p = (orr_real)2.81022636e-08;
  p = p * w + (orr_real)3.43273939e-07;
  p = p * w + (orr_real)-3.5233877e-06;
  p = p * w + (orr_real)-4.39150654e-06;
  p = p * w + (orr_real)0.00021858087;
  p = p * w + (orr_real)-0.00125372503;
  p = p * w + (orr_real)-0.00417768164;
  p = p * w + (orr_real)0.246640727;
  p = p * w + (orr_real)1.50140941;
  return (orr_real)1.4142135623730951 * p * x;
}

/* In blocks of a constant size, which compilers turn into vector code at -O2. */
void truncated_normals(orr_real *u, int n) {
  enum { AT_ONCE = 16 };
  orr_real block[AT_ONCE] = {0};
  for (int i = 0; i < n; i += AT_ONCE) {
    size_t bytes = (size_t)(n - i < AT_ONCE ? n - i : AT_ONCE) * sizeof(orr_real);
    memcpy(block, u + i, bytes);
    for (int j = 0; j < AT_ONCE; j++) block[j] = truncated_normal(block[j]);
    memcpy(u + i, block, bytes);
  }
}

static bool ranks_before(const orr_real *returns, int a, int b) {
  if (returns[a] != returns[b]) return returns[a] > returns[b];
  return a < b;
}

/* Heapsort: in place, and the order is total, so any sort gives this one. */
static void sink(const orr_real *returns, int *heap, int root, int n) {
  for (;;) {
    int child = 2 * root + 1;
    if (child >= n) return;
    if (child + 1 < n && ranks_before(returns, heap[child], heap[child + 1])) child++;
    if (!ranks_before(returns, heap[root], heap[child])) return;
    int swapped = heap[root];
    heap[root] = heap[child];
    heap[child] = swapped;
    root = child;
  }
}

int rank_returns(const orr_real *returns, int n, int *order) {
  int finite = 0, last = n;
  for (int i = 0; i < n; i++)
    if (isfinite(returns[i])) order[finite++] = i;
  for (int i = n; i-- > 0;)
    if (!isfinite(returns[i])) order[--last] = i;
  /* the heap's root is the one that ranks last */
  for (int i = finite / 2; i-- > 0;) sink(returns, order, i, finite);
  for (int end = finite; end-- > 1;) {
    int swapped = order[0];
    order[0] = order[end];
    order[end] = swapped;
    sink(returns, order, 0, end);
  }
  return finite;
}

double plan_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
