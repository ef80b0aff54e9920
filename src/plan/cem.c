/* cem.c - the cross-entropy method as in PETS (Chua et al. 2018): sample plans from a Gaussian
   truncated at two deviations, refit mean and variance to the elites, repeat; the mean is the plan.

     variance' = min(variance, ((mean - low) / 2)^2, ((high - mean) / 2)^2), so samples stay in bounds
     mean      = alpha mean + (1 - alpha) mean of elites, the variance likewise */
#include <math.h>

#include "plan/plan.h"

typedef struct cem_state {
  double *mean, *squares; /* [variables]: of the elites, while refitting */
  orr_real *variance;     /* [variables] */
  orr_real *deviation;    /* [variables], as constrained by the bounds, for sampling */
} cem_state;

static orr_status open(orr_planner *planner) {
  const cem_options *options = planner->options;
  orr_engine *engine = planner->engine;
  for (int f = 0; f < orr_space_fields(planner->space); f++) {
    const orr_field *field = orr_space_field(planner->space, f);
    if (field->n > 0)
      return engine_fail(engine, ORR_ARGUMENT,
                         "cem plans continuous actions, but action field '%s' is discrete: "
                         "use random_shooting",
                         field->name);
  }
  if (options->elites > options->population)
    return engine_fail(engine, ORR_ARGUMENT, "cem: %g elites out of a population of %g",
                       options->elites, options->population);
  size_t variables = (size_t)planner->variables;
  /* one block, freed with the planner */
  cem_state *state =
      engine_new_zeroed(engine, 1,
                        sizeof *state + 2 * variables * (sizeof(double) + sizeof(orr_real)));
  if (!state) return ORR_MEMORY;
  state->mean = (double *)(state + 1);
  state->squares = state->mean + variables;
  state->variance = (orr_real *)(state->squares + variables);
  state->deviation = state->variance + variables;
  planner->ranked = (int)(options->elites > 0 ? options->elites : options->population / 10);
  if (planner->ranked < 2) planner->ranked = 2;
  planner->state = state;
  planner->population = (int)options->population;
  planner->iterations = (int)options->iterations;
  return ORR_OK;
}

static void begin(orr_planner *planner) {
  const cem_options *options = planner->options;
  cem_state *state = planner->state;
  for (int v = 0; v < planner->variables; v++) {
    double deviation = options->deviation * (double)planner->half[v % planner->actions];
    state->variance[v] = (orr_real)(deviation * deviation);
  }
}

static void constrain(orr_planner *planner) {
  cem_state *state = planner->state;
  for (int v = 0; v < planner->variables; v++) {
    int action = v % planner->actions;
    orr_real below = (planner->mean[v] - planner->low[action]) / 2;
    orr_real above = (planner->high[action] - planner->mean[v]) / 2;
    orr_real deviation = (orr_real)sqrt((double)state->variance[v]);
    if (deviation > below) deviation = below;
    if (deviation > above) deviation = above;
    state->deviation[v] = deviation > 0 ? deviation : 0;
  }
}

static void shape(const orr_planner *planner, int first, int count, orr_real block[][BLOCK]) {
  const cem_state *state = planner->state;
  int action = first % planner->actions;
  for (int i = 0; i < count; i++) {
    orr_real mean = planner->mean[first + i], deviation = state->deviation[first + i];
    orr_real low = planner->low[action], high = planner->high[action];
    for (int lane = 0; lane < BLOCK; lane++) {
      orr_real value = mean + deviation * truncated_normal(block[i][lane]);
      /* rounding may pass a bound by one unit */
      value = value < low ? low : value;
      block[i][lane] = value > high ? high : value;
    }
    if (++action == planner->actions) action = 0;
  }
}

static void refit(orr_planner *planner) {
  const cem_options *options = planner->options;
  cem_state *state = planner->state;
  int elites = planner->ranked < planner->finite ? planner->ranked : planner->finite;
  int variables = planner->variables;
  double *mean = state->mean, *squares = state->squares, largest = 0;
  for (int v = 0; v < variables; v++) mean[v] = squares[v] = 0;
  for (int e = 0; e < elites; e++) {
    const orr_real *plan = planner->candidates + (size_t)planner->order[e] * (size_t)variables;
    for (int v = 0; v < variables; v++) mean[v] += (double)plan[v];
  }
  for (int v = 0; v < variables; v++) mean[v] /= elites;
  for (int e = 0; e < elites; e++) {
    const orr_real *plan = planner->candidates + (size_t)planner->order[e] * (size_t)variables;
    for (int v = 0; v < variables; v++)
      squares[v] += ((double)plan[v] - mean[v]) * ((double)plan[v] - mean[v]);
  }
  for (int v = 0; v < variables; v++) {
    double keep = options->alpha, half = (double)planner->half[v % planner->actions];
    double variance = keep * (double)state->variance[v] + (1 - keep) * squares[v] / elites;
    planner->mean[v] = (orr_real)(keep * (double)planner->mean[v] + (1 - keep) * mean[v]);
    state->variance[v] = (orr_real)variance;
    if (variance > largest * half * half) largest = variance / (half * half);
  }
  if (largest < options->minimum_variance) planner->done = true;
}

static orr_status iterate(orr_planner *planner) {
  constrain(planner);
  planner_sample(planner, 0, planner->population, shape);
  orr_status status = planner_score(planner, planner->population);
  if (!status && planner->finite > 0) refit(planner);
  return status;
}

const planner_type cem_planner = {.open = open, .begin = begin, .iterate = iterate};
