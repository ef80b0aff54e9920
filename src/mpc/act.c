/* act.c - acting: which step it is, a new plan or the rest of an old one, and its action of this
   step. Whatever happens, an action that is finite and inside its bounds comes out.

   A limit of time is kept by planning for less than it. What may happen at the end of a plan
   (another process is given the processor for some milliseconds) is learned: the margin is a
   maximum, which is forgotten slowly, of how much later than asked planning ended. */
#include <math.h>
#include <string.h>

#include "mpc/mpc.h"

/* The margin halves in 350 calls, and never takes more than half of the time there is. */
#define FORGET 0.998
#define MOST 0.5

/* ---- time ---- */

static double clock_time(const orr_mpc *mpc) {
  return mpc->options.clock ? mpc->options.clock(mpc->options.clock_user) : orr_clock();
}

/* Steps are counted from the first act, so that rounding does not add up. */
static int64_t step_now(orr_mpc *mpc) {
  double length = mpc->options.step_seconds;
  if (mpc->step < 0) {
    mpc->origin = length > 0 ? clock_time(mpc) : 0;
    return 0;
  }
  if (length <= 0) return mpc->step + 1;
  double steps = round((clock_time(mpc) - mpc->origin) / length);
  /* a clock that goes backwards or says nonsense stands still */
  return steps > (double)mpc->step && steps < 9e15 ? (int64_t)steps : mpc->step;
}

static void learn_margin(orr_mpc *mpc, double late) {
  double most = MOST * mpc->seconds;
  mpc->margin *= FORGET;
  if (late > mpc->margin) mpc->margin = late;
  if (mpc->margin > most) mpc->margin = most;
}

/* ---- plans ---- */

static void keep_latest(orr_mpc *mpc) {
  for (int i = 0; i < mpc->batch; i++)
    if (mpc->attempt.plans[i].usable) copy_plan(mpc, &mpc->latest[i], &mpc->attempt.plans[i]);
}

/* One of several states may be unknown for a while: the others are planned for. */
static orr_status plan_here(orr_mpc *mpc, const orr_real *observation, double start) {
  orr_status unseen = mpc->batch > 1 ? ORR_OK : check_observation(mpc, observation, mpc->step);
  if (unseen) {
    mpc->attempt.step = mpc->step;
    mpc->attempt.plans[0].usable = false;
    mpc->attempt.plans[0].scored = mpc->attempt.plans[0].non_finite = 0;
    mpc->attempt.iterations = mpc->attempt.shift = 0;
    return unseen;
  }
  double wanted = mpc->seconds > 0 ? mpc->seconds - mpc->margin - (orr_clock() - start) : 0;
  if (mpc->seconds > 0 && wanted <= 0) wanted = 1e-9;
  plan_for(mpc, observation, mpc->step, wanted, &mpc->attempt);
  keep_latest(mpc);
  if (mpc->seconds > 0 && mpc->attempt.iterations > 0)
    learn_margin(mpc, orr_clock() - start - (mpc->seconds - mpc->margin));
  return mpc->attempt.status;
}

/* From a planning thread: what it made last, also if that was some acts ago. Only the first act of
   an episode waits. */
static orr_status plan_elsewhere(orr_mpc *mpc, const orr_real *observation, bool *is_new) {
  orr_status unseen = check_observation(mpc, observation, mpc->step);
  if (!unseen) unseen = background_show(mpc, observation);
  bool first = mpc->attempt.step < 0;
  const attempt *made = background_newest(mpc, first && !unseen && !mpc->paused, mpc->seconds);
  if (made) {
    made_plan *plans = mpc->attempt.plans;
    mpc->attempt = *made;
    mpc->attempt.plans = plans;
    copy_plan(mpc, &plans[0], &made->plans[0]);
    keep_latest(mpc);
  }
  *is_new = made != NULL;
  if (unseen) return unseen;
  if (mpc->attempt.step < 0)
    return engine_fail(mpc->engine, ORR_LATE,
                       "mpc: the planning thread has no plan yet at step %lld",
                       (long long)mpc->step);
  if (mpc->attempt.status)
    return engine_fail(mpc->engine, mpc->attempt.status, "%s", mpc->attempt.message);
  return ORR_OK;
}

/* ---- actions ---- */

/* The action to execute from state number `i`, and where it is from. */
static orr_mpc_source choose(orr_mpc *mpc, int i, bool failed, orr_real *action) {
  size_t bytes = (size_t)mpc->actions * sizeof(orr_real);
  orr_space *space = orr_planner_action_space(mpc->planner);
  const made_plan *plan = &mpc->latest[i];
  int64_t age = mpc->step - plan->step;
  if (plan->usable && age >= 0 && age < mpc->horizon) {
    memcpy(action, plan->actions + age * mpc->actions, bytes);
    orr_space_clip(space, action);
    if (orr_space_first_non_finite(space, action) < 0)
      return failed ? ORR_MPC_LAST : ORR_MPC_PLANNED;
  }
  memcpy(action, mpc->safe, bytes);
  return ORR_MPC_SAFE;
}

static orr_mpc_info describe(const orr_mpc *mpc, int i, bool planned) {
  const made_plan *plan = &mpc->attempt.plans[i];
  orr_mpc_info info = {.source = ORR_MPC_HELD, .planned_return = NAN, .step = mpc->step};
  if (mpc->latest[i].usable) info.age = (int)(mpc->step - mpc->latest[i].step);
  if (!planned) return info;
  info.iterations = mpc->attempt.iterations;
  info.shift = mpc->attempt.shift;
  info.scored = plan->scored;
  info.non_finite = plan->non_finite;
  return info;
}

static void execute(orr_mpc *mpc, bool holds, bool is_new, orr_status status, orr_real *actions,
                    orr_mpc_info *infos) {
  size_t bytes = (size_t)mpc->actions * sizeof(orr_real);
  for (int i = 0; i < mpc->batch; i++) {
    orr_real *held = mpc->held + (size_t)i * (size_t)mpc->actions;
    orr_mpc_info info = describe(mpc, i, is_new);
    if (!holds) {
      bool failed = status && (mpc->batch == 1 || !mpc->attempt.plans[i].usable);
      info.source = choose(mpc, i, failed, held);
      if (info.source == ORR_MPC_PLANNED) info.planned_return = mpc->latest[i].planned_return;
      if (info.source != ORR_MPC_SAFE) info.violation = mpc->latest[i].violation;
      mpc->violations += info.violation > 0;
      mpc->fallbacks += info.source != ORR_MPC_PLANNED;
    }
    memcpy(actions + (size_t)i * (size_t)mpc->actions, held, bytes);
    if (infos) infos[i] = info;
  }
}

orr_status orr_mpc_act_many(orr_mpc *mpc, const orr_real *observations, orr_real *actions,
                            orr_mpc_info *infos) {
  double start = orr_clock();
  orr_status status = ORR_OK;
  mpc->step = step_now(mpc);
  bool here = !mpc->background, is_new = here;
  bool holds = here && mpc->repeat > 1 && mpc->attempt.step >= 0 &&
               mpc->step - mpc->attempt.step < mpc->repeat;
  if (!holds)
    status =
        here ? plan_here(mpc, observations, start) : plan_elsewhere(mpc, observations, &is_new);
  execute(mpc, holds, is_new && !holds, status, actions, infos);
  double seconds = orr_clock() - start;
  for (int i = 0; infos && i < mpc->batch; i++) infos[i].seconds = seconds;
  mpc->acts += mpc->batch;
  if (holds) return status;
  latency_add(&mpc->latency, seconds);
  bool late = here && mpc->seconds > 0 && seconds > mpc->seconds;
  mpc->late += late || status == ORR_LATE;
  if (late && !status)
    return engine_fail(mpc->engine, ORR_LATE, "mpc: planning took %lld us, %lld us past its limit",
                       (long long)(seconds * 1e6), (long long)((seconds - mpc->seconds) * 1e6));
  return status;
}

orr_status orr_mpc_act(orr_mpc *mpc, const orr_real *observation, orr_real *action,
                       orr_mpc_info *info) {
  if (mpc->batch == 1) return orr_mpc_act_many(mpc, observation, action, info);
  memcpy(action, mpc->safe, (size_t)mpc->actions * sizeof(orr_real));
  if (info)
    *info = (orr_mpc_info){.source = ORR_MPC_SAFE, .planned_return = NAN, .step = mpc->step};
  return engine_fail(mpc->engine, ORR_ARGUMENT,
                     "mpc: it plans for %d states at a time, and is given one", mpc->batch);
}
