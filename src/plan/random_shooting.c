/* random_shooting.c - scores plans drawn uniformly inside the bounds and takes the best. */
#include <math.h>

#include "plan/plan.h"

static orr_status open(orr_planner *planner) {
  random_shooting_options *options = planner->options;
  planner->population = (int)options->population;
  planner->iterations = 1;
  return ORR_OK;
}

static void shape(const orr_planner *planner, int first, int count, orr_real block[][BLOCK]) {
  for (int i = 0; i < count; i++) {
    int action = (first + i) % planner->actions;
    orr_real middle = planner->middle[action], half = planner->half[action];
    for (int lane = 0; lane < BLOCK; lane++)
      block[i][lane] = middle + half * (2 * block[i][lane] - 1);
  }
}

/* Discrete values are whole numbers 0 .. n-1, equally likely. */
static void shape_discrete(const orr_planner *planner, int first, int count,
                           orr_real block[][BLOCK]) {
  for (int f = 0; f < orr_space_fields(planner->space); f++) {
    const orr_field *field = orr_space_field(planner->space, f);
    for (int i = 0; i < count; i++) {
      int action = (first + i) % planner->actions;
      if (action < field->offset || action >= field->offset + field->count) continue;
      if (field->n == 0) shape(planner, first + i, 1, block + i);
      for (int lane = 0; lane < BLOCK && field->n > 0; lane++)
        block[i][lane] = (orr_real)floor((double)block[i][lane] * (double)field->n);
    }
  }
}

static orr_status iterate(orr_planner *planner) {
  bool discrete = false;
  for (int f = 0; f < orr_space_fields(planner->space); f++)
    if (orr_space_field(planner->space, f)->n > 0) discrete = true;
  planner_sample(planner, 0, planner->population, discrete ? shape_discrete : shape);
  orr_status status = planner_score(planner, planner->population);
  if (!status && planner->finite > 0) {
    for (int v = 0; v < planner->variables; v++) planner->mean[v] = planner->best[v];
  }
  return status;
}

const planner_type random_shooting_planner = {.open = open,
                                              .iterate = iterate,
                                              .executes_best = true};
