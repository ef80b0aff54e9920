/* random_shooting.c - scores plans drawn uniformly inside the bounds and takes the best. */
#include <math.h>

#include "plan/plan.h"

static orr_status open(orr_planner *planner) {
  random_shooting_options *options = planner->options;
  planner->population = (int)options->population;
  planner->iterations = 1;
  return ORR_OK;
}

static void fill(const orr_planner *planner, int row, orr_real *plan) {
  draw_uniform(planner->key, (uint32_t)planner->iteration, (uint32_t)row, plan, planner->variables);
  for (int v = 0; v < planner->variables; v++) {
    int action = v % planner->actions;
    plan[v] = planner->middle[action] + planner->half[action] * (2 * plan[v] - 1);
  }
}

/* Discrete values are whole numbers 0 .. n-1, equally likely. */
static void fill_discrete(const orr_planner *planner, int row, orr_real *plan) {
  draw_uniform(planner->key, (uint32_t)planner->iteration, (uint32_t)row, plan, planner->variables);
  for (int f = 0; f < orr_space_fields(planner->space); f++) {
    const orr_field *field = orr_space_field(planner->space, f);
    for (int step = 0; step < planner->length; step++) {
      orr_real *values = plan + step * planner->actions + field->offset;
      const orr_real *middle = planner->middle + field->offset,
                     *half = planner->half + field->offset;
      for (int64_t i = 0; i < field->count; i++)
        values[i] = field->n > 0 ? (orr_real)floor((double)values[i] * (double)field->n)
                                 : middle[i] + half[i] * (2 * values[i] - 1);
    }
  }
}

static orr_status iterate(orr_planner *planner) {
  bool discrete = false;
  for (int f = 0; f < orr_space_fields(planner->space); f++)
    if (orr_space_field(planner->space, f)->n > 0) discrete = true;
  planner_sample(planner, 0, planner->population, discrete ? fill_discrete : fill);
  orr_status status = planner_score(planner, planner->population);
  if (!status && planner->finite > 0) {
    for (int v = 0; v < planner->variables; v++) planner->mean[v] = planner->best[v];
  }
  return status;
}

const planner_type random_shooting_planner = {.open = open,
                                              .iterate = iterate,
                                              .executes_best = true};
