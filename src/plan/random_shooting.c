/* random_shooting.c - scores plans drawn uniformly inside the bounds and takes the best. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

static orr_status open(orr_planner *planner) {
  random_shooting_options *options = planner->options;
  planner->population = (int)options->population;
  planner->iterations = (int)options->iterations;
  return ORR_OK;
}

static void shape(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                  orr_real plan[][BLOCK]) {
  shape_uniform(planner, s, draws, plan);
  /* discrete values are whole numbers 0 .. n-1, equally likely */
  for (int f = 0; f < orr_space_fields(planner->space); f++) {
    const orr_field *field = orr_space_field(planner->space, f);
    for (int v = 0; v < planner->variables && field->n > 0; v++) {
      int action = v % planner->actions;
      if (action < field->offset || action >= field->offset + field->count) continue;
      for (int lane = 0; lane < BLOCK; lane++)
        plan[v][lane] = (orr_real)floor((double)draws[v][lane] * (double)field->n);
    }
  }
}

static orr_status sample(orr_planner *planner, search *s) {
  planner_sample(planner, s, 0, planner->batch, shape);
  return ORR_OK;
}

static void update(orr_planner *planner, search *s) {
  memcpy(s->mean, s->best, (size_t)planner->variables * sizeof(orr_real));
}

const planner_type random_shooting_planner = {.open = open,
                                              .sample = sample,
                                              .update = update,
                                              .shrinks = true,
                                              .executes_best = true,
                                              .discrete = true};
