/* mpc.c - the runtime of model-predictive control: plan, execute the first action, shift, plan again.
   Whatever happens, an action that is finite and inside its bounds comes out. */
#include "orrery/mpc.h"

#include <math.h>
#include <string.h>

#include "base/base.h"
#include "mpc/latency.h"
#include "plan/plan.h"

struct orr_mpc {
  atomic_int references;
  orr_engine *engine;
  orr_objective *objective;
  orr_planner *planner;
  orr_mpc_options options;
  int iterations; /* the budget in force */
  double seconds;
  int actions, horizon, repeat;
  int64_t observation; /* size; 0: unknown */
  orr_real *safe;      /* [actions] */
  orr_real *plan;      /* [horizon][actions]: the last usable one ... */
  int age;             /* ... and the steps since it was made; -1: there is none */
  orr_real *held;      /* [actions], the action executed last */
  int hold;            /* steps for which it goes on */
  bool begun;          /* something was planned since the last reset: there is a plan to shift */
  int64_t step;        /* since the last reset */
  orr_mpc_statistics counts;
  latency latency;
};

orr_mpc_options orr_mpc_options_defaults(void) {
  return (orr_mpc_options){.size = sizeof(orr_mpc_options), .warm_start = true};
}

static orr_status check_budget(orr_engine *engine, int iterations, double seconds) {
  if (iterations < 0 || !(seconds >= 0))
    return engine_fail(engine, ORR_ARGUMENT, "mpc: a budget of %d iterations, %g seconds",
                       iterations, seconds);
  return ORR_OK;
}

static orr_status check_parts(orr_engine *engine, orr_objective *objective, orr_planner *planner) {
  if (!objective || !planner)
    return engine_fail(engine, ORR_ARGUMENT, "an mpc needs an objective and a planner");
  orr_space *space = orr_objective_action_space(objective);
  if (space && !orr_space_equal(space, orr_planner_action_space(planner)))
    return engine_fail(engine, ORR_SHAPE,
                       "mpc: the objective '%s' and the planner %s have different "
                       "action spaces",
                       orr_objective_name(objective), orr_planner_name(planner));
  /* here rather than at the first action: buffers, and horizons that do not fit */
  return orr_objective_prepare(objective, orr_planner_population(planner),
                               orr_planner_horizon(planner));
}

static int64_t observation_size(const orr_objective *objective, const orr_mpc_options *options) {
  orr_space *space = orr_objective_observation_space(objective);
  return space ? orr_space_size(space) : options->observation_size;
}

static orr_status open_mpc(orr_mpc *mpc, const orr_mpc_options *options) {
  orr_engine *engine = mpc->engine;
  orr_space *space = orr_planner_action_space(mpc->planner);
  size_t actions = (size_t)orr_space_size(space),
         horizon = (size_t)orr_planner_horizon(mpc->planner);
  mpc->options = *options;
  mpc->options.safe_action = NULL;
  mpc->iterations = options->iterations;
  mpc->seconds = options->seconds;
  mpc->actions = (int)actions;
  mpc->horizon = (int)horizon;
  mpc->repeat = orr_planner_action_repeat(mpc->planner);
  mpc->observation = observation_size(mpc->objective, options);
  mpc->safe = engine_new_zeroed(engine, actions, sizeof(orr_real));
  mpc->held = engine_new_zeroed(engine, actions, sizeof(orr_real));
  mpc->plan = engine_new_zeroed(engine, horizon * actions, sizeof(orr_real));
  if (!mpc->safe || !mpc->held || !mpc->plan) return ORR_MEMORY;
  if (options->safe_action) memcpy(mpc->safe, options->safe_action, actions * sizeof(orr_real));
  int64_t bad = orr_space_first_non_finite(space, mpc->safe);
  if (bad >= 0)
    return engine_fail(engine, ORR_NUMBER, "mpc: number %lld of the safe action is not finite",
                       (long long)bad);
  orr_space_clip(space, mpc->safe);
  orr_mpc_seed(mpc, options->seed);
  orr_mpc_reset(mpc);
  return ORR_OK;
}

orr_mpc *orr_mpc_new(orr_engine *engine, orr_objective *objective, orr_planner *planner,
                     const orr_mpc_options *options) {
  orr_mpc_options defaults = orr_mpc_options_defaults();
  if (!options) options = &defaults;
  if (check_budget(engine, options->iterations, options->seconds)) return NULL;
  if (check_parts(engine, objective, planner)) return NULL;
  orr_mpc *mpc = engine_new_zeroed(engine, 1, sizeof *mpc);
  if (!mpc) return NULL;
  atomic_init(&mpc->references, 1);
  mpc->engine = orr_engine_retain(engine);
  mpc->objective = orr_objective_retain(objective);
  mpc->planner = orr_planner_retain(planner);
  if (open_mpc(mpc, options)) {
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
  orr_objective_free(mpc->objective);
  orr_planner_free(mpc->planner);
  engine_free_memory(engine, mpc->safe);
  engine_free_memory(engine, mpc->held);
  engine_free_memory(engine, mpc->plan);
  engine_free_memory(engine, mpc);
  orr_engine_free(engine);
}

orr_engine *orr_mpc_engine(const orr_mpc *mpc) { return mpc->engine; }
orr_objective *orr_mpc_objective(const orr_mpc *mpc) { return mpc->objective; }
orr_planner *orr_mpc_planner(const orr_mpc *mpc) { return mpc->planner; }

void orr_mpc_reset(orr_mpc *mpc) {
  orr_planner_reset(mpc->planner);
  mpc->age = -1;
  mpc->hold = 0;
  mpc->step = 0;
  mpc->begun = false;
}

void orr_mpc_seed(orr_mpc *mpc, uint64_t seed) { orr_planner_seed(mpc->planner, seed); }

orr_status orr_mpc_set_objective(orr_mpc *mpc, orr_objective *objective) {
  orr_status status = check_parts(mpc->engine, objective, mpc->planner);
  if (status) return status;
  orr_objective *old = mpc->objective;
  mpc->objective = orr_objective_retain(objective);
  mpc->observation = observation_size(objective, &mpc->options);
  orr_objective_free(old);
  return ORR_OK;
}

orr_status orr_mpc_set_budget(orr_mpc *mpc, int iterations, double seconds) {
  orr_status status = check_budget(mpc->engine, iterations, seconds);
  if (status) return status;
  mpc->iterations = iterations ? iterations : mpc->options.iterations;
  mpc->seconds = seconds > 0 ? seconds : mpc->options.seconds;
  return ORR_OK;
}

const orr_real *orr_mpc_plan(const orr_mpc *mpc) { return mpc->age < 0 ? NULL : mpc->plan; }

/* ---- acting ---- */

static orr_status check_observation(orr_mpc *mpc, const orr_real *observation) {
  for (int64_t i = 0; i < mpc->observation; i++) {
    if (isfinite(observation[i])) continue;
    char name[ORR_FIELD_NAME + 16] = "a number";
    orr_space *space = orr_objective_observation_space(mpc->objective);
    if (space) orr_space_element_name(space, i, name, sizeof name);
    return engine_fail(mpc->engine, ORR_NUMBER,
                       "mpc: %s of the observation at step %lld is not finite", name,
                       (long long)mpc->step);
  }
  return ORR_OK;
}

static orr_status make_plan(orr_mpc *mpc, const orr_real *observation, orr_plan_result *result) {
  if (mpc->begun) {
    if (mpc->options.warm_start) orr_planner_shift(mpc->planner);
    else orr_planner_reset(mpc->planner);
  }
  mpc->begun = true;
  orr_status status = check_observation(mpc, observation);
  if (status) return status;
  orr_plan_request request = orr_plan_request_defaults();
  request.observation = observation;
  request.step = mpc->step;
  request.iterations = mpc->iterations;
  request.seconds = mpc->seconds;
  status = orr_planner_plan(mpc->planner, mpc->objective, &request, result);
  if (status) return status;
  if (!result->usable)
    return engine_fail(mpc->engine, ORR_NUMBER,
                       "mpc: none of %lld plans has a finite return at step %lld",
                       (long long)result->scored, (long long)mpc->step);
  return ORR_OK;
}

/* The action to execute, and where it is from. */
static orr_mpc_source choose(orr_mpc *mpc, orr_status status, const orr_plan_result *result,
                             orr_real *action) {
  size_t bytes = (size_t)mpc->actions * sizeof(orr_real);
  orr_space *space = orr_planner_action_space(mpc->planner);
  if (!status) {
    memcpy(mpc->plan, result->plan, (size_t)mpc->horizon * bytes);
    mpc->age = 0;
  }
  if (mpc->age >= 0 && mpc->age < mpc->horizon) {
    memcpy(action, mpc->plan + (size_t)mpc->age * (size_t)mpc->actions, bytes);
    orr_space_clip(space, action);
    if (orr_space_first_non_finite(space, action) < 0)
      return status ? ORR_MPC_LAST : ORR_MPC_PLANNED;
  }
  memcpy(action, mpc->safe, bytes);
  return ORR_MPC_SAFE;
}

static void count(orr_mpc *mpc, const orr_mpc_info *info, bool late) {
  orr_mpc_statistics *counts = &mpc->counts;
  counts->acts++;
  if (info->source == ORR_MPC_HELD) return;
  counts->plans++;
  counts->iterations += info->iterations;
  counts->scored += info->scored;
  counts->non_finite += info->non_finite;
  counts->late += late;
  counts->fallbacks += info->source != ORR_MPC_PLANNED;
  latency_add(&mpc->latency, info->seconds);
}

orr_status orr_mpc_act(orr_mpc *mpc, const orr_real *observation, orr_real *action,
                       orr_mpc_info *info) {
  double start = plan_clock();
  size_t bytes = (size_t)mpc->actions * sizeof(orr_real);
  orr_mpc_info made = {.source = ORR_MPC_HELD, .planned_return = NAN};
  orr_plan_result result = {0};
  orr_status status = ORR_OK;
  if (mpc->hold > 0) {
    mpc->hold--;
  } else {
    status = make_plan(mpc, observation, &result);
    made.source = choose(mpc, status, &result, mpc->held);
    made.iterations = result.iterations;
    made.scored = result.scored;
    made.non_finite = result.non_finite;
    if (made.source == ORR_MPC_PLANNED) made.planned_return = result.best_return;
    mpc->hold = mpc->repeat - 1;
  }
  memcpy(action, mpc->held, bytes);
  mpc->step++;
  if (mpc->age >= 0 && mpc->age < mpc->horizon) mpc->age++;
  bool late = !status && result.overrun > 0;
  made.seconds = plan_clock() - start;
  count(mpc, &made, late);
  if (info) *info = made;
  if (late)
    return engine_fail(mpc->engine, ORR_LATE, "mpc: planning took %lld us, %lld us past its limit",
                       (long long)(made.seconds * 1e6), (long long)(result.overrun * 1e6));
  return status;
}

void orr_mpc_get_statistics(const orr_mpc *mpc, orr_mpc_statistics *statistics) {
  *statistics = mpc->counts;
  statistics->p50 = latency_quantile(&mpc->latency, 0.50);
  statistics->p99 = latency_quantile(&mpc->latency, 0.99);
  statistics->max = mpc->latency.max;
  statistics->mean = mpc->latency.count ? mpc->latency.sum / (double)mpc->latency.count : 0;
}

void orr_mpc_clear_statistics(orr_mpc *mpc) {
  mpc->counts = (orr_mpc_statistics){0};
  mpc->latency = (latency){0};
}
