/* draws.c - sampling of candidates, shared out over threads; and ranking. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "plan/plan.h"

enum {
  NUMBERS = 64,    /* of BLOCK candidates, drawn at a time */
  SITE = 0x706c6e, /* tells these draws from others of the same key */
  ALONE = 16384    /* numbers that are drawn before waking threads has cost the same */
};

typedef struct sampling {
  const orr_planner *planner;
  planner_shape shape;
  int first, last;
} sampling;

/* Number v of candidate c is element v % NUMBERS of step v / NUMBERS of row c, at SITE, in terms of
   kernel/draw.h. */
static void sample_block(void *context, int task, int worker) {
  (void)worker;
  const sampling *job = context;
  const orr_planner *planner = job->planner;
  const kernels *k = engine_kernels(planner->engine);
  int row = job->first + task * BLOCK, left = job->last - row, valid = left < BLOCK ? left : BLOCK;
  orr_real block[NUMBERS][BLOCK];
  for (int first = 0; first < planner->variables; first += NUMBERS) {
    int count = planner->variables - first < NUMBERS ? planner->variables - first : NUMBERS;
    k->uniform(*block, (size_t)count, BLOCK, planner->key, SITE, (uint32_t)(first / NUMBERS),
               (uint32_t)planner->iteration, (uint32_t)row);
    job->shape(planner, first, count, block);
    orr_real *rows[BLOCK];
    for (int i = 0; i < valid; i++)
      rows[i] = planner->candidates + (size_t)(row + i) * (size_t)planner->variables + first;
    k->store_block(rows, *block, valid, (size_t)count);
  }
}

void planner_sample(orr_planner *planner, int first, int last, planner_shape shape) {
  sampling job = {planner, shape, first, last};
  int tasks = (last - first + BLOCK - 1) / BLOCK;
  if ((int64_t)(last - first) * planner->variables < ALONE) {
    for (int task = 0; task < tasks; task++) sample_block(&job, task, 0);
  } else {
    pool_run(planner->engine, tasks, sample_block, &job);
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

int rank_returns(const orr_real *returns, int n, int wanted, int *order) {
  int finite = 0, kept = 0;
  /* order is a heap of the best so far; its root is the one that ranks last */
  for (int i = 0; i < n; i++) {
    if (!isfinite(returns[i])) continue;
    finite++;
    if (kept < wanted) {
      order[kept++] = i;
      for (int root = kept / 2; kept == wanted && root-- > 0;) sink(returns, order, root, kept);
    } else if (returns[i] > returns[order[0]]) { /* equal ones come later: they rank behind */
      order[0] = i;
      sink(returns, order, 0, kept);
    }
  }
  if (kept < wanted)
    for (int root = kept / 2; root-- > 0;) sink(returns, order, root, kept);
  for (int end = kept; end-- > 1;) {
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
