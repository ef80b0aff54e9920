/* search.c - a planner at work: what is kept between calls, and the loop over iterations with its
   clock. How long a plan takes to score is learned from call to call, so that iterations end in
   time; a few plans of the first call tell. Where a whole population would not, a smaller one that
   does takes its place: to refit to a few plans, and more than once, is better than not at all. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

/* ---- what is kept ---- */

void orr_planner_seed(orr_planner *planner, uint64_t seed) {
  planner->random = orr_random_new(seed, 0x706c616e); /* a stream that is the planner's alone */
}

void orr_planner_reset_one(orr_planner *planner, int state) {
  search *s = &planner->searches[state];
  for (int v = 0; v < planner->variables; v++) s->mean[v] = planner->middle[v % planner->actions];
  memcpy(s->previous, planner->middle, (size_t)planner->actions * sizeof(orr_real));
  s->warm = false;
  s->best_return = NAN;
  if (planner->type->forget) planner->type->forget(planner, s);
}

void orr_planner_reset(orr_planner *planner) {
  for (int i = 0; i < planner->states; i++) orr_planner_reset_one(planner, i);
}

/* The plan to execute: the best, or the mean; the mean where nothing was finite, the best where
   there was no time to learn from what was scored, and under side constraints, which a mean that
   nobody scored may break. */
static const orr_real *chosen_plan(const orr_planner *planner, const search *s) {
  bool best = planner->type->executes_best || !planner->updated || planner->constrained;
  return best && !isnan(s->best_return) ? s->best : s->mean;
}

void orr_planner_shift(orr_planner *planner) {
  size_t action = (size_t)planner->actions, kept = (size_t)planner->variables - action;
  for (int i = 0; i < planner->states; i++) {
    search *s = &planner->searches[i];
    if (s->warm) memcpy(s->previous, chosen_plan(planner, s), action * sizeof(orr_real));
    memmove(s->mean, s->mean + action, kept * sizeof(orr_real));
    if (!planner->type->repeats_last)
      memcpy(s->mean + kept, planner->middle, action * sizeof(orr_real));
    if (planner->type->shift) planner->type->shift(planner, s);
  }
}

orr_status orr_planner_set_plan(orr_planner *planner, const orr_real *plan) {
  size_t action = (size_t)planner->actions, wide = (size_t)planner->horizon * action;
  for (size_t i = 0; i < (size_t)planner->states * wide; i++)
    if (!isfinite(plan[i]))
      return engine_fail(planner->engine, ORR_NUMBER, "plan: number %d of step %d is not finite",
                         (int)(i % action), (int)(i % wide / action));
  for (int i = 0; i < planner->states; i++) {
    search *s = &planner->searches[i];
    for (int step = 0; step < planner->length; step++) {
      orr_real *decision = s->mean + (size_t)step * action;
      memcpy(decision, plan + (size_t)i * wide + (size_t)(step * planner->repeat) * action,
             action * sizeof(orr_real));
      orr_space_clip(planner->space, decision);
    }
    s->warm = true;
  }
  return ORR_OK;
}

/* ---- a call ---- */

orr_plan_request orr_plan_request_defaults(void) {
  return (orr_plan_request){.size = sizeof(orr_plan_request)};
}

static orr_status check_fit(orr_planner *planner, orr_objective *objective) {
  orr_engine *engine = planner->engine;
  int64_t size = orr_objective_action_size(objective);
  const char *name = orr_objective_name(objective), *own = orr_planner_name(planner);
  int horizon = orr_objective_horizon(objective);
  if (size && size != planner->actions)
    return engine_fail(engine, ORR_SHAPE,
                       "objective '%s' takes actions of %lld numbers, %s plans %d", name,
                       (long long)size, own, planner->actions);
  if (horizon && horizon != planner->horizon)
    return engine_fail(engine, ORR_SHAPE, "objective '%s' looks %d steps ahead, but %s plans %d",
                       name, horizon, own, planner->horizon);
  if (planner->states > 1 && !orr_objective_many_states(objective))
    return engine_fail(engine, ORR_ARGUMENT,
                       "objective '%s' scores plans from one state at a time, but %s plans for %d",
                       name, own, planner->states);
  if (planner->wants_gradients && !orr_objective_has_gradients(objective))
    return engine_fail(engine, ORR_ARGUMENT,
                       "%s follows gradients of the return, which objective '%s' does not have",
                       own, name);
  if (planner->proposals && !orr_objective_has_proposals(objective))
    return engine_fail(
        engine, ORR_ARGUMENT,
        "%s: %d proposals are wanted, but objective '%s' has no policy to propose them", own,
        planner->proposals, name);
  return (planner->wants_gradients ? objective_prepare_gradients
                                   : orr_objective_prepare)(objective,
                                                            planner->population * planner->states,
                                                            planner->horizon);
}

/* Room for returns as scored and for violations, when the first objective with constraints
   comes. */
static orr_status make_room_for_violations(orr_planner *planner, const orr_objective *objective) {
  planner->constrained = orr_objective_has_violations(objective);
  if (planner->violations || !planner->constrained) return ORR_OK;
  size_t plans = (size_t)planner->population * (size_t)planner->states;
  if (!planner->values)
    planner->values = engine_new_zeroed(planner->engine, plans, sizeof(orr_real));
  if (!planner->values) return ORR_MEMORY;
  planner->violations = engine_new_zeroed(planner->engine, plans, sizeof(orr_real));
  return planner->violations ? ORR_OK : ORR_MEMORY;
}

static orr_status begin(orr_planner *planner, orr_objective *objective,
                        const orr_plan_request *request) {
  planner->objective = objective;
  planner->request = request;
  planner->updated = false;
  planner->complete = false;
  planner->part = 0;
  uint64_t bits[4];
  for (int i = 0; i < 4; i++) bits[i] = orr_random_bits(&planner->random);
  uint64_t key = bits[0] << 32 | bits[1];
  planner->seed = bits[2] << 32 | bits[3];
  bool fewer = request->iterations > 0 && request->iterations < planner->iterations;
  planner->last = (fewer ? request->iterations : planner->iterations) - 1;
  for (int i = 0; i < planner->states; i++) {
    search *s = &planner->searches[i];
    s->key = key; /* the same for all: each plans as it would alone */
    s->done = false;
    if (planner->type->begin) planner->type->begin(planner, s);
  }
  if (!planner->proposals) return ORR_OK;
  orr_proposing proposing = {.observation = request->observation,
                             .states = planner->states,
                             .n = planner->states * planner->proposals,
                             .horizon = planner->horizon,
                             .step = request->step,
                             .seed = planner->seed,
                             .plans = planner->proposed};
  return orr_objective_propose(objective, &proposing);
}

static int smaller(int a, int b) { return a < b ? a : b; }

static bool all_finite(const orr_real *x, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

/* Proposals take the place of the last candidates, but for those with numbers that are not
   finite. */
static void add_proposals(orr_planner *planner, int state) {
  size_t action = (size_t)planner->actions, wide = (size_t)planner->horizon * action;
  search *s = &planner->searches[state];
  for (int p = 0; p < smaller(planner->proposals, planner->batch); p++) {
    const orr_real *plan = planner->proposed + (size_t)(state * planner->proposals + p) * wide;
    orr_real *to = s->candidates + (size_t)(planner->batch - 1 - p) * (size_t)planner->variables;
    if (!all_finite(plan, wide)) continue;
    for (int step = 0; step < planner->length; step++, to += action) {
      memcpy(to, plan + (size_t)(step * planner->repeat) * action, action * sizeof(orr_real));
      orr_space_clip(planner->space, to);
    }
  }
}

/* ---- iterations ---- */

static int whole_batch(const orr_planner *planner) {
  return planner->type->batch ? planner->type->batch(planner) : planner->population;
}

/* Planners that follow derivatives count on all of their candidates. */
static bool can_shrink(const orr_planner *planner) {
  return planner->type->shrinks && !planner->wants_gradients;
}

/* The elites of a batch, in proportion; where only the best one counts, that. */
static int elites_of(const orr_planner *planner, int batch, int whole) {
  int share = (int)((int64_t)planner->ranked * batch / whole);
  return planner->ranked > 1 ? share : planner->ranked;
}

/* Whether the batch can stand for a whole one. */
static bool may_refit(const orr_planner *planner, int batch, int whole) {
  if (batch == whole) return true;
  return can_shrink(planner) && planner->pace > 0 &&
         elites_of(planner, batch, whole) >= smaller(planner->ranked, 2);
}

/* Iterations that a smaller population is to leave time for. */
enum { ROUNDS = 4 };

/* The part of a batch that fits, of `most` plans that there is time for. Parts are halves of
   halves, so that objectives meet few sizes; as small as leaves time to refit to several of them,
   if that is possible with so few. */
static int part_of(const orr_planner *planner, int whole, double most) {
  int least = planner->proposals + 1, part = whole;
  double share = most / smaller(planner->last + 1, ROUNDS);
  while (part > share && part / 2 >= least && may_refit(planner, part / 2, whole)) part /= 2;
  while (part > most && part >= 2) part /= 2;
  return part;
}

/* How many plans of each state to score next, all of them being `whole`; 0: time is up. The first
   part ever finds out how long plans take, and something is always tried. */
static int next_batch(const orr_planner *planner, int whole) {
  if (planner->deadline <= 0) return whole;
  double left = planner->deadline - orr_clock();
  double most = planner->pace > 0 ? left / (planner->pace * planner->states) : whole / 16.0;
  if (most >= whole && !planner->part) return whole;
  if (planner->updated && !planner->part) return 0;
  int part = planner->part ? smaller(planner->part, whole) : part_of(planner, whole, most);
  return part <= most || planner->searches[0].scored == 0 ? part : 0;
}

/* The longest that a plan took lately. */
static void learn_pace(orr_planner *planner, double seconds) {
  double now = seconds / ((double)planner->batch * planner->states);
  double before = 0.9 * planner->pace + 0.1 * now;
  planner->pace = now > before ? now : before;
}

/* A search that is done stays in the batch, as it is, until the others are. */
static orr_status iterate(orr_planner *planner, int whole) {
  const planner_type *type = planner->type;
  planner->differentiate = type->gradients;
  for (int i = 0; i < planner->states; i++) {
    search *s = &planner->searches[i];
    size_t first = (size_t)i * (size_t)planner->batch, numbers = first * (size_t)planner->variables;
    s->candidates = planner->candidates + numbers;
    s->returns = planner->returns + first;
    s->order = planner->order + first;
    s->gradients = planner->gradients ? planner->gradients + numbers : NULL;
    orr_status status = type->sample(planner, s);
    if (status) return status;
    bool climbs = type->starts || planner->differentiate;
    if (planner->proposals && (!climbs || planner->iteration == 0)) add_proposals(planner, i);
  }
  orr_status status = planner_score(planner);
  if (!status && planner->batch == whole && planner->iteration == 0) planner->complete = true;
  if (status || !may_refit(planner, planner->batch, whole)) return status;
  planner->updated = true;
  if (planner->batch < whole) planner->part = planner->batch;
  for (int i = 0; i < planner->states; i++) {
    search *s = &planner->searches[i];
    s->elites = smaller(elites_of(planner, planner->batch, whole), s->finite);
    if (s->finite > 0 && !s->done) type->update(planner, s);
  }
  return ORR_OK;
}

static bool all_done(const orr_planner *planner) {
  for (int i = 0; i < planner->states; i++)
    if (!planner->searches[i].done) return false;
  return true;
}

/* An iteration that the deadline cuts short is as if it had not been. */
static orr_status search_plans(orr_planner *planner, double *overrun) {
  orr_status status = ORR_OK;
  while (planner->iteration <= planner->last && !all_done(planner)) {
    if (orr_interrupted(planner->engine))
      return engine_fail(planner->engine, ORR_INTERRUPTED, "planning was interrupted");
    int whole = whole_batch(planner);
    planner->batch = next_batch(planner, whole);
    if (!planner->batch) break;
    bool tells_pace = planner->pace <= 0 && planner->batch < whole;
    double start = planner->deadline > 0 ? orr_clock() : 0;
    status = iterate(planner, whole);
    if (start > 0) learn_pace(planner, orr_clock() - start);
    if (status == ORR_LATE && planner->deadline > 0) {
      planner->pace *= 1.5; /* it would have taken longer */
      status = ORR_OK;
      break;
    }
    if (status) break;
    if (!tells_pace) planner->iteration++;
  }
  if (!planner->iteration && planner->searches[0].scored) planner->iteration = 1;
  *overrun = planner->deadline > 0 ? orr_clock() - planner->deadline : 0;
  if (*overrun < 0) *overrun = 0;
  return status;
}

/* ---- results ---- */

static const orr_real *widened(const orr_planner *planner, const orr_real *plan, orr_real *out) {
  size_t action = (size_t)planner->actions;
  if (planner->repeat == 1) return plan;
  for (int step = 0; step < planner->horizon; step++)
    memcpy(out + (size_t)step * action, plan + (size_t)(step / planner->repeat) * action,
           action * sizeof(orr_real));
  return out;
}

static void fill_result(orr_planner *planner, int state, double overrun, orr_plan_result *result) {
  const search *s = &planner->searches[state];
  bool usable = !isnan(s->best_return);
  size_t wide = (size_t)planner->horizon * (size_t)planner->actions;
  orr_real *out = planner->out ? planner->out + (size_t)state * 3 * wide : NULL;
  *result = (orr_plan_result){.plan = widened(planner, chosen_plan(planner, s), out),
                              .best = widened(planner, usable ? s->best : s->mean,
                                              out ? out + wide : NULL),
                              .mean = widened(planner, s->mean, out ? out + 2 * wide : NULL),
                              .best_return = s->best_return,
                              .best_violation = s->best_violation,
                              .iterations = planner->iteration,
                              .best_returns = s->best_returns,
                              .mean_returns = s->mean_returns,
                              .scored = s->scored,
                              .non_finite = s->non_finite,
                              .usable = usable,
                              .shrunk = s->scored > 0 && !planner->complete,
                              .overrun = overrun};
}

orr_status orr_planner_plan(orr_planner *planner, orr_objective *objective,
                            const orr_plan_request *given, orr_plan_result *result) {
  orr_plan_request request = orr_plan_request_defaults();
  orr_status status = READ_OPTIONS(planner->engine, orr_plan_request, &request, given);
  if (status) return status;
  if (planner->busy)
    return engine_fail(planner->engine, ORR_STATE,
                       "%s: an objective called the planner that scores it",
                       orr_planner_name(planner));
  if (!planner->searches)
    return engine_fail(planner->engine, ORR_STATE,
                       "%s has no memory: orr_planner_set_states failed",
                       orr_planner_name(planner));
  planner->iteration = 0;
  planner->deadline = request.seconds > 0 ? orr_clock() + request.seconds : 0;
  for (int i = 0; i < planner->states; i++) {
    search *s = &planner->searches[i];
    s->scored = s->non_finite = 0;
    s->best_return = NAN;
    s->best_violation = 0;
  }
  status = check_fit(planner, objective);
  if (!status) status = make_room_for_violations(planner, objective);
  if (!status) status = planner_make_scratch(planner);
  double overrun = 0;
  if (!status) {
    orr_objective_retain(objective); /* its own functions may let go of it */
    planner->busy = true;
    status = begin(planner, objective, &request);
    if (!status) status = search_plans(planner, &overrun);
    planner->busy = false;
    orr_objective_free(objective);
    planner->objective = NULL;
    planner->request = NULL;
    for (int i = 0; i < planner->states; i++)
      if (!isnan(planner->searches[i].best_return)) planner->searches[i].warm = true;
  }
  for (int i = 0; i < planner->states && result; i++) fill_result(planner, i, overrun, &result[i]);
  return status;
}
