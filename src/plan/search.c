/* search.c - a planner at work: the loop over iterations with its clock, scoring, the best plan so far, warm starts. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

void orr_planner_seed(orr_planner *planner, uint64_t seed) {
  planner->random = orr_random_new(seed, 0x706c616e); /* a stream that is the planner's alone */
}

void orr_planner_reset(orr_planner *planner) {
  for (int v = 0; v < planner->variables; v++)
    planner->mean[v] = planner->middle[v % planner->actions];
  if (planner->type->forget) planner->type->forget(planner);
}

orr_status orr_planner_set_states(orr_planner *planner, int states) {
  return states == 1 ? ORR_OK : engine_fail(planner->engine, ORR_ARGUMENT, "TEMP");
}
void orr_planner_reset_one(orr_planner *planner, int state) { (void)state; orr_planner_reset(planner); }
void orr_planner_shift(orr_planner *planner) {
  int kept = planner->variables - planner->actions;
  memmove(planner->mean, planner->mean + planner->actions, (size_t)kept * sizeof(orr_real));
  memcpy(planner->mean + kept, planner->middle, (size_t)planner->actions * sizeof(orr_real));
  if (planner->type->shift) planner->type->shift(planner);
}

orr_status orr_planner_set_plan(orr_planner *planner, const orr_real *plan) {
  for (int i = 0; i < planner->horizon * planner->actions; i++)
    if (!isfinite(plan[i]))
      return engine_fail(planner->engine, ORR_NUMBER, "plan: number %d of step %d is not finite",
                         i % planner->actions, i / planner->actions);
  for (int step = 0; step < planner->length; step++) {
    orr_real *action = planner->mean + step * planner->actions;
    memcpy(action, plan + step * planner->repeat * planner->actions,
           (size_t)planner->actions * sizeof(orr_real));
    orr_space_clip(planner->space, action);
  }
  return ORR_OK;
}

/* ---- scoring ---- */

/* Every decision `repeat` times: [length][actions] to [horizon][actions]. */
static void expand(const orr_planner *planner, const orr_real *plan, orr_real *expanded) {
  size_t bytes = (size_t)planner->actions * sizeof(orr_real);
  for (int step = 0; step < planner->horizon; step++)
    memcpy(expanded + step * planner->actions, plan + step / planner->repeat * planner->actions,
           bytes);
}

static void remember(orr_planner *planner, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++)
    if (isfinite(planner->returns[i])) sum += (double)planner->returns[i];
  planner->mean_returns[planner->iteration] =
      planner->finite ? (orr_real)(sum / planner->finite) : NAN;
  planner->best_returns[planner->iteration] = NAN;
  planner->scored += n;
  planner->non_finite += n - planner->finite;
  if (!planner->finite) return;
  int winner = planner->order[0];
  planner->best_returns[planner->iteration] = planner->returns[winner];
  if (isnan(planner->best_return) || planner->returns[winner] > planner->best_return) {
    planner->best_return = planner->returns[winner];
    memcpy(planner->best, planner->candidates + (size_t)winner * (size_t)planner->variables,
           (size_t)planner->variables * sizeof(orr_real));
  }
}

orr_status planner_score(orr_planner *planner, int n) {
  orr_tensor *plans = planner->wide ? planner->wide : planner->plans;
  if (planner->wide) {
    size_t wide = (size_t)planner->horizon * (size_t)planner->actions;
    orr_real *expanded = orr_tensor_data(planner->wide);
    for (int i = 0; i < n; i++)
      expand(planner, planner->candidates + (size_t)i * (size_t)planner->variables,
             expanded + (size_t)i * wide);
  }
  orr_tensor_touch(plans);
  orr_scoring scoring = {.observation = planner->request->observation,
                         .plans = orr_tensor_data(plans),
                         .tensor = plans,
                         .n = n,
                         .horizon = planner->horizon,
                         .step = planner->request->step,
                         .seed = planner->seed,
                         .iteration = (uint32_t)planner->iteration,
                         .returns = planner->returns};
  for (int i = 0; i < n; i++) planner->returns[i] = NAN;
  planner->finite = 0;
  orr_status status = orr_objective_score(planner->objective, &scoring);
  if (status) return status;
  planner->finite = rank_returns(planner->returns, n, planner->ranked, planner->order);
  remember(planner, n);
  return ORR_OK;
}

/* ---- the loop ---- */

orr_plan_request orr_plan_request_defaults(void) {
  return (orr_plan_request){.size = sizeof(orr_plan_request)};
}

static orr_status check_fit(orr_planner *planner, orr_objective *objective) {
  orr_engine *engine = planner->engine;
  orr_space *space = orr_objective_action_space(objective);
  int horizon = orr_objective_horizon(objective);
  if (space && orr_space_size(space) != planner->actions)
    return engine_fail(engine, ORR_SHAPE,
                       "objective '%s' takes actions of %lld numbers, %s plans %d",
                       orr_objective_name(objective), (long long)orr_space_size(space),
                       orr_planner_name(planner), planner->actions);
  if (horizon && horizon != planner->horizon)
    return engine_fail(engine, ORR_SHAPE, "objective '%s' looks %d steps ahead, but %s plans %d",
                       orr_objective_name(objective), horizon, orr_planner_name(planner),
                       planner->horizon);
  return orr_objective_prepare(objective, planner->population, planner->horizon);
}

static void begin(orr_planner *planner, orr_objective *objective, const orr_plan_request *request) {
  planner->objective = objective;
  planner->request = request;
  uint64_t bits[4];
  for (int i = 0; i < 4; i++) bits[i] = orr_random_bits(&planner->random);
  planner->key = bits[0] << 32 | bits[1];
  planner->seed = bits[2] << 32 | bits[3];
  planner->iteration = 0;
  planner->scored = planner->non_finite = 0;
  planner->best_return = NAN;
  planner->done = false;
  if (planner->type->begin) planner->type->begin(planner);
}

static orr_status search(orr_planner *planner, double *overrun) {
  const orr_plan_request *request = planner->request;
  int iterations = planner->iterations;
  if (request->iterations > 0 && request->iterations < iterations) iterations = request->iterations;
  bool limited = request->seconds > 0;
  double start = limited ? plan_clock() : 0, before = start, longest = 0;
  orr_status status = ORR_OK;
  while (planner->iteration < iterations && !planner->done) {
    if (orr_interrupted(planner->engine))
      status = engine_fail(planner->engine, ORR_INTERRUPTED, "planning was interrupted");
    if (status) break;
    status = planner->type->iterate(planner);
    if (status) break;
    planner->iteration++;
    if (!limited) continue;
    double now = plan_clock();
    if (now - before > longest) longest = now - before;
    before = now;
    if (now + longest > start + request->seconds) break;
  }
  *overrun = limited ? plan_clock() - start - request->seconds : 0;
  if (*overrun < 0) *overrun = 0;
  return status;
}

static void fill_result(orr_planner *planner, orr_plan_result *result) {
  bool usable = !isnan(planner->best_return);
  const orr_real *best = usable ? planner->best : planner->mean;
  const orr_real *plan = planner->type->executes_best ? best : planner->mean;
  const orr_real *plans[3] = {plan, best, planner->mean};
  if (planner->repeat > 1) {
    for (int i = 0; i < 3; i++) {
      orr_real *out = planner->out + i * planner->horizon * planner->actions;
      expand(planner, plans[i], out);
      plans[i] = out;
    }
  }
  *result = (orr_plan_result){.plan = plans[0],
                              .best = plans[1],
                              .mean = plans[2],
                              .best_return = planner->best_return,
                              .iterations = planner->iteration,
                              .best_returns = planner->best_returns,
                              .mean_returns = planner->mean_returns,
                              .scored = planner->scored,
                              .non_finite = planner->non_finite,
                              .usable = usable};
}

orr_status orr_planner_plan(orr_planner *planner, orr_objective *objective,
                            const orr_plan_request *request, orr_plan_result *result) {
  orr_plan_result unused;
  if (!result) result = &unused;
  if (planner->busy)
    return engine_fail(planner->engine, ORR_STATE,
                       "%s: an objective called the planner that scores it",
                       orr_planner_name(planner));
  planner->iteration = 0;
  planner->scored = planner->non_finite = 0;
  planner->best_return = NAN;
  orr_status status = check_fit(planner, objective);
  double overrun = 0;
  if (!status) {
    orr_objective_retain(objective); /* its own functions may let go of it */
    planner->busy = true;
    begin(planner, objective, request);
    status = search(planner, &overrun);
    planner->busy = false;
    orr_objective_free(objective);
    planner->objective = NULL;
    planner->request = NULL;
  }
  fill_result(planner, result);
  result->overrun = overrun;
  return status;
}
