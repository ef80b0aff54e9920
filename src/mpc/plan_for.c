/* plan_for.c - one call of the planner: the warm start moved on to the present step, a plan within
   the time there is, and what happened meanwhile counted. Who acts calls it, or a planning
   thread. */
#include <math.h>
#include <string.h>

#include "mpc/mpc.h"

/* Where an observation is not finite; -1: nowhere. */
static int64_t first_unseen(const orr_mpc *mpc, const orr_real *observation) {
  for (int64_t i = 0; i < mpc->observation; i++)
    if (!isfinite(observation[i])) return i;
  return -1;
}

orr_status check_observation(orr_mpc *mpc, const orr_real *observation, int64_t step) {
  int64_t bad = first_unseen(mpc, observation);
  if (bad < 0) return ORR_OK;
  char name[ORR_FIELD_NAME + 16] = "a number";
  orr_space *space = orr_objective_observation_space(mpc->objective);
  if (space) orr_space_element_name(space, bad, name, sizeof name);
  return engine_fail(mpc->engine, ORR_NUMBER,
                     "mpc: %s of the observation at step %lld is not finite", name,
                     (long long)step);
}

/* Brings the last plan forward by the decisions whose time has passed; answers how many. */
static int move_on(orr_mpc *mpc, int64_t step) {
  int64_t since = mpc->planned_for < 0 ? 0 : step - mpc->planned_for, length = mpc->horizon;
  bool first = mpc->planned_for < 0;
  mpc->planned_for = step;
  if (first) return 0;
  if (!mpc->options.warm_start) {
    orr_planner_reset(mpc->planner);
    return 0;
  }
  int64_t decisions = (2 * since + mpc->repeat) / (2 * mpc->repeat); /* rounded */
  if (decisions > length) decisions = length; /* nothing is left of the plan */
  for (int64_t i = 0; i < decisions; i++) orr_planner_shift(mpc->planner);
  return (int)decisions;
}

static void keep_plan(const orr_mpc *mpc, const orr_real *observation, int64_t step,
                      const orr_plan_result *result, made_plan *plan) {
  size_t numbers = (size_t)mpc->horizon * (size_t)mpc->actions;
  plan->step = step;
  plan->usable = result->usable;
  plan->planned_return = result->best_return;
  plan->violation = result->best_violation;
  plan->scored = result->scored;
  plan->non_finite = result->non_finite;
  memcpy(plan->actions, result->plan, numbers * sizeof(orr_real));
  if (mpc->observation)
    memcpy(plan->observation, observation, (size_t)mpc->observation * sizeof(orr_real));
}

/* What the planner left, state by state; fails when one of them has no plan. */
static orr_status keep_plans(orr_mpc *mpc, const orr_real *observation, attempt *made) {
  orr_status status = ORR_OK;
  for (int i = 0; i < mpc->batch; i++) {
    const orr_plan_result *result = &mpc->results[i];
    const orr_real *seen = observation ? observation + i * mpc->observation : NULL;
    keep_plan(mpc, seen, made->step, result, &made->plans[i]);
    made->iterations = result->iterations;
    made->overrun = result->overrun;
    made->shrunk = result->shrunk;
    bool unseen = first_unseen(mpc, seen) >= 0; /* whatever the objective makes of it */
    if (unseen) made->plans[i].usable = false;
    if (made->plans[i].usable || status) continue;
    if (unseen) status = check_observation(mpc, seen, made->step);
    else if (result->scored)
      status = engine_fail(mpc->engine, ORR_NUMBER,
                           "mpc: none of %lld plans has a finite return at step %lld",
                           (long long)result->scored, (long long)made->step);
    else
      status = engine_fail(mpc->engine, ORR_LATE, "mpc: no plan was scored in time at step %lld",
                           (long long)made->step);
  }
  return status;
}

static void measure_disagreement(orr_mpc *mpc, const attempt *made) {
  double start = orr_clock();
  for (int i = 0; i < mpc->batch; i++) {
    const made_plan *plan = &made->plans[i];
    if (!plan->usable || orr_objective_disagree(mpc->objective, plan->observation, plan->actions,
                                                mpc->horizon, mpc->disagreement))
      continue;
    for (int t = 0; t < mpc->horizon; t++) {
      double apart = (double)mpc->disagreement[t];
      mpc->counts.disagreement_sum += apart;
      mpc->counts.disagreements++;
      if (apart > mpc->counts.disagreement_max) mpc->counts.disagreement_max = apart;
    }
  }
  mpc->disagreement_takes = orr_clock() - start;
}

static void count_attempt(orr_mpc *mpc, const attempt *made) {
  plan_counts *counts = &mpc->counts;
  counts->plans++;
  counts->iterations += made->iterations;
  counts->late += made->overrun > 0;
  counts->shrunk += made->shrunk;
  for (int i = 0; i < mpc->batch; i++) {
    counts->scored += made->plans[i].scored;
    counts->non_finite += made->plans[i].non_finite;
  }
  if (made->plans[0].usable) counts->planned_return = made->plans[0].planned_return;
}

void plan_for(orr_mpc *mpc, const orr_real *observation, int64_t step, double seconds,
              attempt *made) {
  made->step = step;
  made->iterations = 0;
  made->overrun = 0;
  made->shrunk = false;
  for (int i = 0; i < mpc->batch; i++) {
    made->plans[i].usable = false;
    made->plans[i].scored = made->plans[i].non_finite = 0;
  }
  made->shift = move_on(mpc, step);
  orr_plan_request request = orr_plan_request_defaults();
  request.observation = observation;
  request.step = step;
  request.iterations = mpc->iterations;
  request.seconds = seconds;
  if (seconds > 0 && mpc->disagreement) /* it is measured within the limit */
    request.seconds = fmax(seconds - mpc->disagreement_takes, 1e-9);
  made->status = orr_planner_plan(mpc->planner, mpc->objective, &request, mpc->results);
  if (!made->status) made->status = keep_plans(mpc, observation, made);
  if (mpc->disagreement) measure_disagreement(mpc, made);
  count_attempt(mpc, made);
  made->counts = mpc->counts;
}
