/* draws.c - sampling of candidates, shared out over threads. */
#include "plan/plan.h"

enum {
  SITE = 0x706c6e, /* tells these draws from others of the same key */
  ALONE = 16384    /* numbers that are drawn before waking threads has cost the same */
};

typedef struct sampling {
  const orr_planner *planner;
  const search *search;
  planner_shape shape;
  int first, last;
} sampling;

/* Number v of candidate c is element v of row c at SITE, in terms of kernel/draw.h. */
static void sample_block(void *context, int task, int worker) {
  const sampling *job = context;
  const orr_planner *planner = job->planner;
  const search *s = job->search;
  const kernels *k = engine_kernels(planner->engine);
  int row = job->first + task * BLOCK, left = job->last - row, valid = left < BLOCK ? left : BLOCK;
  int most = planner->draws > planner->variables ? planner->draws : planner->variables;
  orr_real(*draws)[BLOCK] =
      (orr_real(*)[BLOCK])planner->scratch + (size_t)worker * 2 * (size_t)most;
  orr_real(*plan)[BLOCK] = draws + most;
  (planner->normal ? k->normal : k->uniform)(*draws, (size_t)planner->draws, BLOCK, s->key, SITE, 0,
                                             (uint32_t)planner->iteration, (uint32_t)row);
  job->shape(planner, s, draws, plan);
  orr_real *rows[BLOCK];
  for (int i = 0; i < valid; i++)
    rows[i] = s->candidates + (size_t)(row + i) * (size_t)planner->variables;
  k->store_block(rows, *plan, valid, (size_t)planner->variables);
}

void planner_sample(orr_planner *planner, search *s, int first, int last, planner_shape shape) {
  sampling job = {planner, s, shape, first, last};
  int tasks = (last - first + BLOCK - 1) / BLOCK;
  if ((int64_t)(last - first) * planner->draws < ALONE) {
    for (int task = 0; task < tasks; task++) sample_block(&job, task, 0);
  } else {
    pool_run(planner->engine, tasks, sample_block, &job);
  }
}

void shape_uniform(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                   orr_real plan[][BLOCK]) {
  (void)s;
  for (int v = 0; v < planner->variables; v++) {
    int action = v % planner->actions;
    orr_real middle = planner->middle[action], half = planner->half[action];
    for (int lane = 0; lane < BLOCK; lane++)
      plan[v][lane] = clamp(middle + half * (2 * draws[v][lane] - 1), planner->low[action],
                            planner->high[action]);
  }
}
