/* differences.c - gradients of returns by central differences, for objectives that have none of
   their own: for each of the V = horizon * action size numbers of a plan, two plans are scored.

     d return / d x = (return(x + h) - return(x - h)) / 2 h,   h = cube root of the rounding error,

   in halves of the action's range; at a bound the difference is one-sided. Both plans of a pair,
   and all pairs of a plan, meet the same noise (orr_scoring.variants). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "plan/plan.h"

enum {
  CHUNK = 256 /* plans scored at once, at most; even */
};

void differences_free(differences *d, orr_engine *engine) {
  engine_free_memory(engine, d->plans);
  *d = (differences){0};
}

orr_status differences_prepare(differences *d, orr_engine *engine, int horizon, int64_t actions) {
  if (actions * horizon > INT32_MAX / CHUNK)
    return engine_fail(engine, ORR_ARGUMENT, "differences of plans of %d steps of %lld numbers",
                       horizon, (long long)actions);
  if (d->horizon == horizon && d->actions == actions) return ORR_OK;
  differences_free(d, engine);
  size_t variables = (size_t)horizon * (size_t)actions;
  size_t chunk = 2 * variables < CHUNK ? 2 * variables : CHUNK;
  d->plans = engine_new_zeroed(engine, chunk * (variables + 1) + (size_t)actions, sizeof(orr_real));
  if (!d->plans) return ORR_MEMORY;
  d->returns = d->plans + chunk * variables;
  d->steps = d->returns + chunk;
  d->chunk = (int)chunk;
  d->horizon = horizon;
  d->actions = (int)actions;
  return ORR_OK;
}

static void choose_steps(differences *d, const orr_space *space) {
  const orr_real *low = orr_space_low(space), *high = orr_space_high(space);
  double h = cbrt(sizeof(orr_real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON);
  for (int a = 0; a < d->actions; a++) {
    bool bounded = isfinite(low[a]) && isfinite(high[a]);
    double half = bounded ? (double)high[a] / 2 - (double)low[a] / 2 : 1;
    d->steps[a] = (orr_real)(h * half);
  }
}

static void vary(const differences *d, const orr_space *space, const orr_real *plan, int first,
                 int count) {
  int variables = d->horizon * d->actions;
  for (int i = 0; i < count; i++) {
    orr_real *varied = d->plans + (size_t)i * (size_t)variables;
    int v = (first + i) / 2, action = v % d->actions;
    memcpy(varied, plan, (size_t)variables * sizeof(orr_real));
    varied[v] += (first + i) % 2 ? d->steps[action] : -d->steps[action];
    orr_space_clip(space, varied + v - action);
  }
}

static void divide(const differences *d, int first, int count, orr_real *gradient) {
  size_t variables = (size_t)d->horizon * (size_t)d->actions;
  for (int i = 0; i < count; i += 2) {
    size_t v = (size_t)(first + i) / 2;
    const orr_real *below = d->plans + (size_t)i * variables, *above = below + variables;
    double apart = (double)above[v] - (double)below[v];
    double difference = (double)d->returns[i + 1] - (double)d->returns[i];
    gradient[v] = apart > 0 ? (orr_real)(difference / apart) : 0;
  }
}

orr_status differences_gradients(differences *d, const orr_objective_callbacks *calls,
                                 const orr_scoring *scoring) {
  orr_status status = ORR_OK;
  choose_steps(d, calls->action);
  int variables = d->horizon * d->actions, states = scoring->states > 1 ? scoring->states : 1;
  int64_t seen = calls->observation ? orr_space_size(calls->observation) : 0;
  for (int i = 0; i < scoring->n; i++) {
    size_t at = (size_t)i * (size_t)variables;
    int state = i / (scoring->n / states);
    for (int first = 0; first < 2 * variables; first += d->chunk) {
      int count = 2 * variables - first < d->chunk ? 2 * variables - first : d->chunk;
      vary(d, calls->action, scoring->plans + at, first, count);
      orr_scoring varied = *scoring;
      if (varied.observation) varied.observation += state * seen;
      varied.plans = d->plans;
      varied.n = varied.variants = count;
      varied.states = 1;
      varied.returns = d->returns;
      varied.gradients = varied.violations = NULL;
      varied.tensor = NULL;
      for (int k = 0; k < count; k++) d->returns[k] = NAN;
      status = calls->score(calls->user, &varied);
      if (status) return status;
      divide(d, first, count, scoring->gradients + at);
    }
  }
  return ORR_OK;
}

int differences_batch(int horizon, int64_t actions) {
  int64_t count = 2 * horizon * actions;
  return count < CHUNK ? (int)count : CHUNK;
}
