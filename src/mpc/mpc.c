/* mpc.c - the runtime of model-predictive control: its life, and what may be changed while it runs.
   Acting is in act.c. */
#include <math.h>
#include <string.h>

#include "mpc/mpc.h"

orr_mpc_options orr_mpc_options_defaults(void) {
  return (orr_mpc_options){.size = sizeof(orr_mpc_options), .warm_start = true, .batch = 1};
}

/* ---- checks ---- */

static orr_status check_budget(orr_engine *engine, int iterations, double seconds) {
  if (iterations < 0 || !(seconds >= 0))
    return engine_fail(engine, ORR_ARGUMENT, "mpc: a budget of %d iterations, %g seconds",
                       iterations, seconds);
  return ORR_OK;
}

static orr_status check_options(orr_engine *engine, const orr_mpc_options *options) {
  if (!(options->step_seconds >= 0) || isinf(options->step_seconds))
    return engine_fail(engine, ORR_ARGUMENT, "mpc: a step of %g seconds", options->step_seconds);
  if (options->batch < 1 || options->batch > 1 << 20)
    return engine_fail(engine, ORR_ARGUMENT, "mpc: a batch of %d states", options->batch);
  if (options->batch > 1 && options->background)
    return engine_fail(engine, ORR_ARGUMENT,
                       "mpc: a planning thread plans for one state, not for a batch of %d",
                       options->batch);
  return check_budget(engine, options->iterations, options->seconds);
}

static orr_status check_parts(orr_engine *engine, orr_objective *objective, orr_planner *planner,
                              const orr_mpc_options *options) {
  if (!objective || !planner)
    return engine_fail(engine, ORR_ARGUMENT, "an mpc needs an objective and a planner");
  orr_space *space = orr_objective_action_space(objective);
  const char *name = orr_objective_name(objective);
  if (space && !orr_space_equal(space, orr_planner_action_space(planner)))
    return engine_fail(engine, ORR_SHAPE,
                       "mpc: the objective '%s' and the planner %s have different "
                       "action spaces",
                       name, orr_planner_name(planner));
  if (options->background && !orr_objective_any_thread(objective))
    return engine_fail(
        engine, ORR_ARGUMENT,
        "mpc: the objective '%s' runs on the host's thread only, so no other thread can plan with "
        "it in the background: plan with a learned model or a thread-safe environment, and a "
        "reward that compiles",
        name);
  if (options->batch > 1 && !orr_objective_many_states(objective))
    return engine_fail(
        engine, ORR_ARGUMENT,
        "mpc: the objective '%s' scores plans from one state at a time, not from a batch of %d",
        name, options->batch);
  if (options->disagreement && !orr_objective_has_disagreement(objective))
    return engine_fail(
        engine, ORR_ARGUMENT,
        "mpc: the objective '%s' has no members whose disagreement could be measured", name);
  /* here rather than at the first action: buffers, and horizons that do not fit */
  return orr_objective_prepare(objective, orr_planner_population(planner) * options->batch,
                               orr_planner_horizon(planner));
}

static int64_t observation_size(const orr_objective *objective, const orr_mpc_options *options) {
  orr_space *space = orr_objective_observation_space(objective);
  return space ? orr_space_size(space) : options->observation_size;
}

/* An observation can only be kept when its size is known. */
static orr_status check_observation_size(const orr_mpc *mpc, bool wanted, const char *what) {
  if (!wanted || mpc->observation > 0) return ORR_OK;
  return engine_fail(mpc->engine, ORR_ARGUMENT,
                     "mpc: %s needs the size of observations: give observation_size, or an "
                     "objective with an observation space",
                     what);
}

/* ---- plans ---- */

bool new_plans(orr_mpc *mpc, made_plan **plans) {
  size_t batch = (size_t)mpc->batch, seen = (size_t)mpc->observation;
  size_t numbers = (size_t)mpc->horizon * (size_t)mpc->actions;
  *plans = engine_new_zeroed(mpc->engine, batch, sizeof **plans);
  orr_real *memory = engine_new_zeroed(mpc->engine, batch * (numbers + seen), sizeof *memory);
  if (!*plans || !memory) {
    engine_free_memory(mpc->engine, *plans);
    engine_free_memory(mpc->engine, memory);
    *plans = NULL;
    return false;
  }
  for (size_t i = 0; i < batch; i++) {
    (*plans)[i].actions = memory + i * (numbers + seen);
    (*plans)[i].observation = (*plans)[i].actions + numbers;
  }
  return true;
}

void free_plans(orr_mpc *mpc, made_plan *plans) {
  if (plans) engine_free_memory(mpc->engine, plans[0].actions);
  engine_free_memory(mpc->engine, plans);
}

void copy_plan(const orr_mpc *mpc, made_plan *to, const made_plan *from) {
  size_t numbers = (size_t)mpc->horizon * (size_t)mpc->actions + (size_t)mpc->observation;
  orr_real *actions = to->actions, *observation = to->observation;
  memcpy(actions, from->actions, numbers * sizeof(orr_real)); /* and the observation behind them */
  *to = *from;
  to->actions = actions;
  to->observation = observation;
}

/* ---- its life ---- */

/* All that depends on the horizon. */
static bool open_plans(orr_mpc *mpc) {
  mpc->horizon = orr_planner_horizon(mpc->planner);
  mpc->repeat = orr_planner_action_repeat(mpc->planner);
  if (mpc->options.disagreement &&
      !(mpc->disagreement = engine_new_zeroed(mpc->engine, (size_t)mpc->horizon, sizeof(orr_real))))
    return false;
  return new_plans(mpc, &mpc->latest) && new_plans(mpc, &mpc->attempt.plans);
}

static void close_plans(orr_mpc *mpc) {
  free_plans(mpc, mpc->latest);
  free_plans(mpc, mpc->attempt.plans);
  engine_free_memory(mpc->engine, mpc->disagreement);
  mpc->latest = mpc->attempt.plans = NULL;
  mpc->disagreement = NULL;
}

static orr_status read_safe_action(orr_mpc *mpc, const orr_real *given) {
  orr_space *space = orr_planner_action_space(mpc->planner);
  if (given) memcpy(mpc->safe, given, (size_t)mpc->actions * sizeof(orr_real));
  int64_t bad = orr_space_first_non_finite(space, mpc->safe);
  if (bad >= 0)
    return engine_fail(mpc->engine, ORR_NUMBER, "mpc: number %lld of the safe action is not finite",
                       (long long)bad);
  orr_space_clip(space, mpc->safe);
  return ORR_OK;
}

static orr_status open_mpc(orr_mpc *mpc, const orr_mpc_options *options) {
  orr_engine *engine = mpc->engine;
  size_t actions = (size_t)orr_space_size(orr_planner_action_space(mpc->planner)),
         batch = (size_t)options->batch;
  mpc->options = *options;
  mpc->options.safe_action = NULL;
  mpc->iterations = options->iterations;
  mpc->seconds = options->seconds;
  mpc->actions = (int)actions;
  mpc->batch = options->batch;
  mpc->observation = observation_size(mpc->objective, options);
  orr_status status = check_observation_size(mpc, batch > 1, "a batch of states");
  if (!status) status = check_observation_size(mpc, options->background, "a planning thread");
  if (!status) status = check_observation_size(mpc, options->disagreement, "disagreement");
  if (status) return status;
  mpc->safe = engine_new_zeroed(engine, actions, sizeof(orr_real));
  mpc->held = engine_new_zeroed(engine, batch * actions, sizeof(orr_real));
  mpc->results = engine_new_zeroed(engine, batch, sizeof *mpc->results);
  if (!mpc->safe || !mpc->held || !mpc->results || !open_plans(mpc)) return ORR_MEMORY;
  status = read_safe_action(mpc, options->safe_action);
  if (!status && batch > 1) status = orr_planner_set_states(mpc->planner, options->batch);
  if (status) return status;
  orr_mpc_seed(mpc, options->seed);
  orr_mpc_reset(mpc);
  orr_mpc_clear_statistics(mpc);
  return options->background ? background_open(mpc) : ORR_OK;
}

orr_mpc *orr_mpc_new(orr_engine *engine, orr_objective *objective, orr_planner *planner,
                     const orr_mpc_options *given) {
  orr_mpc_options options = orr_mpc_options_defaults();
  if (READ_OPTIONS(engine, orr_mpc_options, &options, given)) return NULL;
  if (check_options(engine, &options)) return NULL;
  if (check_parts(engine, objective, planner, &options)) return NULL;
  orr_mpc *mpc = engine_new_zeroed(engine, 1, sizeof *mpc);
  if (!mpc) return NULL;
  atomic_init(&mpc->references, 1);
  mpc->engine = orr_engine_retain(engine);
  mpc->objective = orr_objective_retain(objective);
  mpc->planner = orr_planner_retain(planner);
  if (open_mpc(mpc, &options)) {
    orr_mpc_free(mpc);
    return NULL;
  }
  return mpc;
}

orr_mpc *orr_mpc_retain(orr_mpc *mpc) {
  if (mpc) atomic_fetch_add(&mpc->references, 1);
  return mpc;
}

void orr_mpc_free(orr_mpc *mpc) {
  if (!mpc || atomic_fetch_sub(&mpc->references, 1) > 1) return;
  orr_engine *engine = mpc->engine;
  background_close(mpc);
  close_plans(mpc);
  orr_objective_free(mpc->objective);
  orr_planner_free(mpc->planner);
  engine_free_memory(engine, mpc->safe);
  engine_free_memory(engine, mpc->held);
  engine_free_memory(engine, mpc->results);
  engine_free_memory(engine, mpc);
  orr_engine_free(engine);
}

orr_engine *orr_mpc_engine(const orr_mpc *mpc) { return mpc->engine; }
orr_objective *orr_mpc_objective(const orr_mpc *mpc) { return mpc->objective; }
orr_planner *orr_mpc_planner(const orr_mpc *mpc) { return mpc->planner; }
int orr_mpc_batch(const orr_mpc *mpc) { return mpc->batch; }

double orr_mpc_pace(const orr_mpc *mpc) {
  return mpc->options.background ? mpc->options.step_seconds : 0;
}

void orr_mpc_reset(orr_mpc *mpc) {
  background_rest(mpc);
  orr_planner_reset(mpc->planner);
  background_forget(mpc);
  mpc->planned_for = mpc->attempt.step = mpc->step = -1;
  mpc->attempt.status = ORR_OK;
  mpc->episode++;
  for (int i = 0; i < mpc->batch; i++) mpc->latest[i].usable = false;
  background_go_on(mpc);
}

orr_status orr_mpc_reset_one(orr_mpc *mpc, int state) {
  if (state < 0 || state >= mpc->batch)
    return engine_fail(mpc->engine, ORR_ARGUMENT, "mpc: state %d of a batch of %d cannot be reset",
                       state, mpc->batch);
  if (mpc->batch == 1) {
    orr_mpc_reset(mpc);
    return ORR_OK;
  }
  orr_planner_reset_one(mpc->planner, state);
  mpc->latest[state].usable = false;
  mpc->attempt.step = -1; /* nothing is held: there is no action of its episode yet */
  return ORR_OK;
}

void orr_mpc_seed(orr_mpc *mpc, uint64_t seed) {
  background_rest(mpc);
  orr_planner_seed(mpc->planner, seed);
  background_go_on(mpc);
}

void orr_mpc_pause(orr_mpc *mpc) {
  background_rest(mpc);
  if (mpc->background && !mpc->paused++) atomic_fetch_sub(&mpc->engine->planning, 1);
}

void orr_mpc_resume(orr_mpc *mpc) {
  if (!mpc->paused) return;
  if (!--mpc->paused) atomic_fetch_add(&mpc->engine->planning, 1);
  background_go_on(mpc);
}

/* ---- what may change while it runs ---- */

static orr_status check_objective(orr_mpc *mpc, orr_objective *objective, orr_planner *planner) {
  orr_status status = check_parts(mpc->engine, objective, planner, &mpc->options);
  if (status) return status;
  int64_t seen = observation_size(objective, &mpc->options);
  if (seen == mpc->observation) return ORR_OK;
  return engine_fail(mpc->engine, ORR_SHAPE,
                     "mpc: observations have %lld numbers, but those of objective '%s' %lld",
                     (long long)mpc->observation, orr_objective_name(objective), (long long)seen);
}

/* The thread rests, and has room for what the objective takes with an observation. */
static void change_objective(orr_mpc *mpc, orr_objective *objective) {
  orr_objective *old = mpc->objective;
  background_forget(mpc); /* the old one took its snapshot */
  mpc->objective = orr_objective_retain(objective);
  orr_objective_free(old);
}

static orr_status use_objective(orr_mpc *mpc, orr_objective *objective) {
  orr_status status = check_objective(mpc, objective, mpc->planner);
  if (!status) status = background_make_snapshots(mpc, objective);
  if (!status) change_objective(mpc, objective);
  return status;
}

/* The thread rests from the first check on: that one makes buffers, which it may be scoring in. */
orr_status orr_mpc_set_objective(orr_mpc *mpc, orr_objective *objective) {
  background_rest(mpc);
  orr_status status = use_objective(mpc, objective);
  background_go_on(mpc);
  return status;
}

/* What is left of the last plan, from the next step on, and the safe action behind it. */
static void leave_plan(const orr_mpc *mpc, const made_plan *last, int horizon, orr_real *plan) {
  size_t bytes = (size_t)mpc->actions * sizeof(orr_real);
  for (int t = 0; t < horizon; t++) {
    int64_t at = mpc->step + 1 + t - last->step;
    bool there = at >= 0 && at < mpc->horizon;
    memcpy(plan + (size_t)t * (size_t)mpc->actions,
           there ? last->actions + at * mpc->actions : mpc->safe, bytes);
  }
}

/* The warm starts of the planner to come, in a plan for each state; true when there are any. */
static bool leave_plans(const orr_mpc *mpc, int horizon, orr_real *plans) {
  bool any = false;
  for (int i = 0; i < mpc->batch; i++) {
    any = any || mpc->latest[i].usable;
    made_plan none = {.step = INT64_MAX / 2};
    leave_plan(mpc, mpc->latest[i].usable ? &mpc->latest[i] : &none, horizon,
               plans + (size_t)i * (size_t)horizon * (size_t)mpc->actions);
  }
  return any && mpc->options.warm_start;
}

/* The planner and all memory that goes with it, in place of the old one or not at all. */
static orr_status change_planner(orr_mpc *mpc, orr_planner *planner, const orr_real *plans) {
  orr_mpc old = *mpc;
  mpc->planner = planner;
  mpc->latest = mpc->attempt.plans = NULL;
  mpc->disagreement = NULL;
  orr_status status = open_plans(mpc) ? ORR_OK : ORR_MEMORY;
  if (!status && mpc->batch > 1) status = orr_planner_set_states(planner, mpc->batch);
  if (!status) {
    orr_planner_seed(planner, mpc->options.seed);
    orr_planner_reset(planner);
    if (plans) status = orr_planner_set_plan(planner, plans);
  }
  if (!status) status = background_change_plans(mpc);
  if (status) {
    close_plans(mpc);
    mpc->planner = old.planner;
    mpc->latest = old.latest;
    mpc->attempt.plans = old.attempt.plans;
    mpc->disagreement = old.disagreement;
    mpc->horizon = old.horizon;
    mpc->repeat = old.repeat;
    return status;
  }
  for (int i = 0; i < mpc->batch && mpc->observation; i++)
    memcpy(mpc->latest[i].observation, old.latest[i].observation,
           (size_t)mpc->observation * sizeof(orr_real));
  orr_planner_retain(planner);
  close_plans(&old);
  orr_planner_free(old.planner);
  mpc->planned_for = plans ? mpc->step + 1 : -1; /* the warm start is that of the next step */
  return ORR_OK;
}

static orr_status use_planner(orr_mpc *mpc, orr_planner *planner, orr_objective *objective) {
  orr_status status = check_objective(mpc, objective, planner);
  if (status) return status;
  if (planner == mpc->planner) return use_objective(mpc, objective);
  int horizon = orr_planner_horizon(planner);
  size_t wide = (size_t)horizon * (size_t)mpc->actions;
  orr_real *plans = engine_new_zeroed(mpc->engine, (size_t)mpc->batch * wide, sizeof *plans);
  if (!plans) return ORR_MEMORY;
  bool any = leave_plans(mpc, horizon, plans);
  status = background_make_snapshots(mpc, objective);
  if (!status) status = change_planner(mpc, planner, any ? plans : NULL);
  if (!status) change_objective(mpc, objective);
  if (!status && any) { /* also what is executed should the next plan fail */
    for (int i = 0; i < mpc->batch; i++) {
      made_plan *left = &mpc->latest[i];
      left->usable = true;
      left->step = mpc->step + 1;
      left->planned_return = NAN;
      memcpy(left->actions, plans + (size_t)i * wide, wide * sizeof(orr_real));
    }
  }
  engine_free_memory(mpc->engine, plans);
  return status;
}

orr_status orr_mpc_set_planner(orr_mpc *mpc, orr_planner *planner, orr_objective *objective) {
  background_rest(mpc);
  orr_status status = use_planner(mpc, planner, objective ? objective : mpc->objective);
  background_go_on(mpc);
  return status;
}

orr_status orr_mpc_set_input(orr_mpc *mpc, const char *name, orr_tensor *tensor) {
  background_rest(mpc);
  orr_status status = orr_objective_set_input(mpc->objective, name, tensor);
  background_go_on(mpc);
  return status;
}

orr_status orr_mpc_set_budget(orr_mpc *mpc, int iterations, double seconds) {
  orr_status status = check_budget(mpc->engine, iterations, seconds);
  if (status) return status;
  background_rest(mpc);
  mpc->iterations = iterations ? iterations : mpc->options.iterations;
  mpc->seconds = seconds > 0 ? seconds : mpc->options.seconds;
  background_go_on(mpc);
  return ORR_OK;
}

/* ---- what there is to know ---- */

const orr_real *orr_mpc_plan(const orr_mpc *mpc) {
  return mpc->latest[0].usable ? mpc->latest[0].actions : NULL;
}

orr_status orr_mpc_disagreement(orr_mpc *mpc, orr_real *disagreement) {
  const made_plan *plan = &mpc->latest[0];
  orr_status status = check_observation_size(mpc, true, "disagreement");
  if (status) return status;
  if (!plan->usable)
    return engine_fail(mpc->engine, ORR_STATE,
                       "mpc: there is no plan yet along which members could disagree");
  background_rest(mpc);
  status = orr_objective_disagree(mpc->objective, plan->observation, plan->actions, mpc->horizon,
                                  disagreement);
  background_go_on(mpc);
  return status;
}

void orr_mpc_get_statistics(const orr_mpc *mpc, orr_mpc_statistics *statistics) {
  const plan_counts *counts = mpc->background ? &mpc->attempt.counts : &mpc->counts;
  const latency *seconds = &mpc->latency;
  bool apart = counts->disagreements > 0;
  *statistics =
      (orr_mpc_statistics){.acts = mpc->acts,
                           .plans = counts->plans,
                           .iterations = counts->iterations,
                           .late = mpc->late + (mpc->background ? counts->late : 0),
                           .fallbacks = mpc->fallbacks,
                           .violations = mpc->violations,
                           .shrunk = counts->shrunk,
                           .scored = counts->scored,
                           .non_finite = counts->non_finite,
                           .p50 = latency_quantile(seconds, 0.50),
                           .p99 = latency_quantile(seconds, 0.99),
                           .max = seconds->max,
                           .mean = seconds->count ? seconds->sum / (double)seconds->count : 0,
                           .margin = mpc->margin,
                           .planned_return = counts->plans ? counts->planned_return : NAN,
                           .disagreement =
                               apart ? counts->disagreement_sum / (double)counts->disagreements
                                     : NAN,
                           .max_disagreement = apart ? counts->disagreement_max : NAN};
}

void orr_mpc_clear_statistics(orr_mpc *mpc) {
  background_rest(mpc);
  mpc->counts = mpc->attempt.counts = (plan_counts){.planned_return = NAN};
  mpc->latency = (latency){0};
  mpc->acts = mpc->fallbacks = mpc->late = mpc->violations = 0;
  background_clear_counts(mpc);
  background_go_on(mpc);
}
