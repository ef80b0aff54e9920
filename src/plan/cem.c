/* cem.c - the cross-entropy method as in PETS (Chua et al. 2018): sample plans from a Gaussian
   truncated at two deviations, refit mean and variance to the elites, repeat; the mean is the plan.

     variance' = min(variance, ((mean - low) / 2)^2, ((high - mean) / 2)^2), so samples stay
                 in bounds
     mean      = alpha mean + (1 - alpha) mean of elites, the variance likewise

   With `refine`, the elites of the last iteration then climb up the gradients of their returns, by
   Adam (ascent.c), and the best plan is the one scored best.

   A discrete number has a probability for each of its values instead, refitted to how often the
   elites have it; its mean is the most probable value. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

typedef struct cem_shared {
  double *mean, *variance; /* [variables]: of the elites, while refitting */
  int *values;             /* [actions]: of a discrete number; 0: continuous */
  int *place;              /* [actions]: where its probabilities are among those of a decision */
  int places;              /* probabilities of a decision */
} cem_shared;

typedef struct cem_state { /* arrays follow it */
  orr_real *variance;      /* [variables] */
  orr_real *deviation;     /* [variables], as constrained by the bounds, for sampling */
  orr_real *probabilities; /* [length][places] */
  ascent ascent;           /* of the elites, with `refine` ... */
  bool climbs;             /* ... once there were some */
} cem_state;

/* ---- making one ---- */

static orr_status count_places(orr_planner *planner, cem_shared *shared) {
  for (int f = 0; f < orr_space_fields(planner->space); f++) {
    const orr_field *field = orr_space_field(planner->space, f);
    for (int64_t i = 0; i < field->count && field->n > 0; i++) {
      if (field->n > 4096)
        return engine_fail(planner->engine, ORR_ARGUMENT,
                           "cem: action field '%s' has %lld values; up to 4096 can be planned",
                           field->name, (long long)field->n);
      shared->values[field->offset + i] = (int)field->n;
      shared->place[field->offset + i] = shared->places;
      shared->places += (int)field->n;
    }
  }
  return ORR_OK;
}

static orr_status open(orr_planner *planner) {
  const cem_options *options = planner->options;
  orr_engine *engine = planner->engine;
  if (options->elites > options->population)
    return engine_fail(engine, ORR_ARGUMENT, "cem: %g elites out of a population of %g",
                       options->elites, options->population);
  size_t variables = (size_t)planner->variables, actions = (size_t)planner->actions;
  cem_shared *shared = engine_new_zeroed(engine, 1,
                                         sizeof *shared + 2 * variables * sizeof(double) +
                                             2 * actions * sizeof(int));
  if (!shared) return ORR_MEMORY;
  planner->shared = shared;
  shared->mean = (double *)(shared + 1);
  shared->variance = shared->mean + variables;
  shared->values = (int *)(shared->variance + variables);
  shared->place = shared->values + actions;
  planner->ranked = (int)(options->elites > 0 ? options->elites : options->population / 10);
  if (planner->ranked < 2) planner->ranked = 2;
  planner->population = (int)options->population;
  planner->iterations = (int)(options->iterations + options->refine);
  planner->wants_gradients = options->refine > 0;
  orr_status status = count_places(planner, shared);
  size_t probabilities = (size_t)planner->length * (size_t)shared->places;
  planner->state_size = sizeof(cem_state) + (2 * variables + probabilities) * sizeof(orr_real);
  if (options->refine > 0) planner->state_size += ascent_size(planner, planner->ranked);
  if (!status && options->refine > 0 && shared->places)
    status =
        engine_fail(engine, ORR_ARGUMENT, "cem: discrete actions have no gradients to refine by");
  return status;
}

/* ---- sampling ---- */

/* Half of the first probability goes to what is left of the last plan. */
static void begin_values(orr_planner *planner, search *s, int step, int action) {
  const cem_shared *shared = planner->shared;
  cem_state *state = s->state;
  int values = shared->values[action];
  orr_real *p = state->probabilities + step * shared->places + shared->place[action];
  int kept = (int)s->mean[step * planner->actions + action];
  for (int i = 0; i < values; i++) {
    p[i] = 1 / (orr_real)values;
    if (s->warm) p[i] = p[i] / 2 + (i == kept ? (orr_real)0.5 : 0);
  }
}

static void begin(orr_planner *planner, search *s) {
  const cem_options *options = planner->options;
  const cem_shared *shared = planner->shared;
  cem_state *state = s->state;
  state->variance = (orr_real *)(state + 1);
  state->deviation = state->variance + planner->variables;
  state->probabilities = state->deviation + planner->variables;
  if (options->refine > 0) {
    orr_real *end = state->probabilities + planner->length * shared->places;
    ascent_place(&state->ascent, end, planner, planner->ranked);
    state->ascent.rate = options->refine_rate;
    state->climbs = false;
  }
  for (int v = 0; v < planner->variables; v++) {
    int action = v % planner->actions;
    double deviation = options->deviation * (double)planner->half[action];
    state->variance[v] = (orr_real)(deviation * deviation);
    if (shared->values[action]) begin_values(planner, s, v / planner->actions, action);
  }
}

static void constrain(orr_planner *planner, search *s) {
  cem_state *state = s->state;
  for (int v = 0; v < planner->variables; v++) {
    int action = v % planner->actions;
    orr_real below = (s->mean[v] - planner->low[action]) / 2;
    orr_real above = (planner->high[action] - s->mean[v]) / 2;
    orr_real deviation = (orr_real)sqrt((double)state->variance[v]);
    if (deviation > below) deviation = below;
    if (deviation > above) deviation = above;
    state->deviation[v] = deviation > 0 ? deviation : 0;
  }
}

static void pick_values(const orr_planner *planner, const search *s, int variable,
                        const orr_real *draws, orr_real *out) {
  const cem_shared *shared = planner->shared;
  const cem_state *state = s->state;
  int step = variable / planner->actions, action = variable % planner->actions;
  const orr_real *p = state->probabilities + step * shared->places + shared->place[action];
  for (int lane = 0; lane < BLOCK; lane++) {
    int value = 0;
    orr_real below = p[0];
    while (draws[lane] >= below && value + 1 < shared->values[action]) below += p[++value];
    out[lane] = (orr_real)value;
  }
}

static void shape(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                  orr_real plan[][BLOCK]) {
  const cem_shared *shared = planner->shared;
  const cem_state *state = s->state;
  int action = 0;
  for (int v = 0; v < planner->variables; v++) {
    orr_real mean = s->mean[v], deviation = state->deviation[v];
    orr_real low = planner->low[action], high = planner->high[action];
    if (shared->values[action]) pick_values(planner, s, v, draws[v], plan[v]);
    else
      for (int lane = 0; lane < BLOCK; lane++) /* rounding may pass a bound by one unit */
        plan[v][lane] = clamp(mean + deviation * truncated_normal(draws[v][lane]), low, high);
    if (++action == planner->actions) action = 0;
  }
}

/* Where no iteration was whole, for want of time, there are no elites to refine. */
static bool refines(const orr_planner *planner) {
  const cem_options *options = planner->options;
  return planner->iteration >= options->iterations && planner->updated;
}

static int batch(const orr_planner *planner) {
  return refines(planner) ? planner->ranked : planner->population;
}

static orr_status sample(orr_planner *planner, search *s) {
  const cem_state *state = s->state;
  if (refines(planner)) {
    planner->differentiate = true;
    size_t variables = (size_t)planner->variables;
    if (state->climbs) ascent_write(&state->ascent, planner, s->best, s->candidates);
    for (int i = 0; i < planner->batch && !state->climbs; i++)
      memcpy(s->candidates + (size_t)i * variables, s->mean, variables * sizeof(orr_real));
    return ORR_OK;
  }
  constrain(planner, s);
  planner_sample(planner, s, 0, planner->batch, shape);
  return ORR_OK;
}

/* ---- refitting ---- */

/* Answers how far the most probable value is from certain. */
static double refit_values(orr_planner *planner, search *s, int variable, int elites) {
  const cem_options *options = planner->options;
  const cem_shared *shared = planner->shared;
  cem_state *state = s->state;
  int step = variable / planner->actions, action = variable % planner->actions;
  orr_real *p = state->probabilities + step * shared->places + shared->place[action];
  orr_real share = (orr_real)((1 - options->alpha) / elites);
  int best = 0;
  for (int i = 0; i < shared->values[action]; i++) p[i] *= (orr_real)options->alpha;
  for (int e = 0; e < elites; e++) {
    size_t plan = (size_t)s->order[e] * (size_t)planner->variables;
    p[(int)s->candidates[plan + (size_t)variable]] += share;
  }
  for (int i = 1; i < shared->values[action]; i++)
    if (p[i] > p[best]) best = i;
  s->mean[variable] = (orr_real)best;
  return 1 - (double)p[best];
}

/* The elites begin to climb; where fewer are finite, the best one stands in for the rest. */
static void begin_climb(orr_planner *planner, search *s, int elites) {
  cem_state *state = s->state;
  size_t bytes = (size_t)planner->variables * sizeof(orr_real);
  orr_real *points = state->ascent.points; /* as a place to gather them */
  for (int e = 0; e < planner->ranked; e++)
    memcpy(points + (size_t)e * (size_t)planner->variables,
           s->candidates + (size_t)s->order[e < elites ? e : 0] * (size_t)planner->variables,
           bytes);
  ascent_start(&state->ascent, planner, points);
  state->climbs = true;
}

static void update(orr_planner *planner, search *s) {
  const cem_options *options = planner->options;
  const cem_shared *shared = planner->shared;
  cem_state *state = s->state;
  if (refines(planner) && state->climbs) {
    s->non_finite += ascent_step(&state->ascent, planner, s->returns, s->gradients);
    memcpy(s->mean, s->best, (size_t)planner->variables * sizeof(orr_real));
    return;
  }
  int elites = s->elites;
  double keep = options->alpha, largest = 0;
  elite_moments(planner, s, elites, shared->mean, shared->variance);
  for (int v = 0; v < planner->variables; v++) {
    double half = (double)planner->half[v % planner->actions], uncertain;
    if (shared->values[v % planner->actions]) {
      uncertain = refit_values(planner, s, v, elites);
    } else {
      double variance = keep * (double)state->variance[v] + (1 - keep) * shared->variance[v];
      s->mean[v] = (orr_real)(keep * (double)s->mean[v] + (1 - keep) * shared->mean[v]);
      state->variance[v] = (orr_real)variance;
      uncertain = variance / (half * half);
    }
    if (uncertain > largest) largest = uncertain;
  }
  if (options->refine == 0 && largest < options->minimum_variance) s->done = true;
  if (options->refine > 0 && planner->iteration == options->iterations - 1)
    begin_climb(planner, s, elites);
}

const planner_type cem_planner = {.open = open,
                                  .begin = begin,
                                  .batch = batch,
                                  .sample = sample,
                                  .update = update,
                                  .shrinks = true,
                                  .discrete = true};
