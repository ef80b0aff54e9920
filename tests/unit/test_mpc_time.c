/* Steps of real time: what is due now depends on the clock, not on how often somebody asked. */
#include "drive.h"

static const orr_real start_plan[HORIZON] = {0.1f, 0.2f, 0.3f, 0.4f, 0.45f};

/* Samples stay at the mean, so that plans tell how far they were shifted. */
static void open_timed(struct rig *rig, const char *option, double value) {
  orr_mpc_options options = orr_mpc_options_defaults();
  options.step_seconds = 0.1;
  options.clock = drive_clock;
  open_rig(rig, "cem", option, value, &options);
  rig->drive.now = 1234.5;
}

static orr_mpc_info act_at(struct rig *rig, double since, orr_real *action) {
  orr_real x = 0;
  orr_mpc_info info;
  rig->drive.now = 1234.5 + since;
  orr_mpc_act(rig->mpc, &x, action, &info);
  return info;
}

Test(mpc_time, the_warm_start_is_shifted_by_the_time_that_passed) {
  const struct {
    double since;
    int step, shift;
    double wanted;
  } acts[] = {
      {0, 0, 0, 0.1}, {0.32, 3, 3, 0.4}, {0.34, 3, 0, 0.4}, {0.36, 4, 1, 0.45}, {0.99, 10, 5, 0}};
  struct rig rig;
  open_timed(&rig, "deviation", 1e-6);
  orr_planner_set_plan(orr_mpc_planner(rig.mpc), start_plan);
  for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
    orr_real action;
    orr_mpc_info info = act_at(&rig, acts[i].since, &action);
    cr_expect_eq(info.step, acts[i].step);
    cr_expect_eq(info.shift, acts[i].shift, "at %g s: %d", acts[i].since, info.shift);
    cr_expect_float_eq(action, acts[i].wanted, 1e-3, "at %g s: %g", acts[i].since, (double)action);
    cr_expect_eq(rig.drive.last_step, acts[i].step);
  }
  orr_mpc_reset(rig.mpc);
  orr_real action;
  cr_expect_eq(act_at(&rig, 7.77, &action).step, 0); /* steps begin with the episode */
  close_rig(&rig);
}

Test(mpc_time, so_is_the_plan_that_is_fallen_back_to) {
  struct rig rig;
  open_timed(&rig, NULL, 0);
  orr_real plan[HORIZON], action;
  act_at(&rig, 0, &action);
  memcpy(plan, orr_mpc_plan(rig.mpc), sizeof plan);
  rig.drive.all_bad = true;
  orr_mpc_info info = act_at(&rig, 0.21, &action);
  cr_expect(info.source == ORR_MPC_LAST && info.age == 2 && action == plan[2]);
  info = act_at(&rig, 0.44, &action);
  cr_expect(info.source == ORR_MPC_LAST && info.age == 4 && action == plan[4]);
  info = act_at(&rig, 0.46, &action); /* step 5: it is used up */
  cr_expect(info.source == ORR_MPC_SAFE && action == 0);
  close_rig(&rig);
}

Test(mpc_time, rounding_does_not_add_up) {
  struct rig rig;
  open_timed(&rig, NULL, 0);
  orr_real action;
  for (int i = 0; i < 50; i++) {
    orr_mpc_info info = act_at(&rig, 0.14 * i, &action);
    cr_expect_eq(info.step, (int64_t)round(1.4 * i), "act %d is step %d", i, (int)info.step);
  }
  close_rig(&rig);
}

Test(mpc_time, repeated_actions_are_held_for_their_time) {
  struct rig rig;
  open_timed(&rig, "action_repeat", 5);
  orr_real first, action;
  act_at(&rig, 0, &first);
  cr_expect_eq(act_at(&rig, 0.4, &action).source, ORR_MPC_HELD);
  cr_expect_eq(first, action);
  orr_mpc_info info = act_at(&rig, 0.52, &action);
  cr_expect(info.source == ORR_MPC_PLANNED && info.shift == 1);
  cr_expect_eq(act_at(&rig, 0.93, &action).source, ORR_MPC_HELD);
  info = act_at(&rig, 1.4, &action); /* 9 steps are nearer to two decisions than to one */
  cr_expect(info.source == ORR_MPC_PLANNED && info.shift == 2, "%d", info.shift);
  close_rig(&rig);
}

Test(mpc_time, a_clock_that_errs_stands_still) {
  struct rig rig;
  open_timed(&rig, NULL, 0);
  orr_real action;
  act_at(&rig, 0, &action);
  cr_expect_eq(act_at(&rig, 0.3, &action).step, 3);
  cr_expect_eq(act_at(&rig, -5, &action).step, 3);
  cr_expect_eq(act_at(&rig, NAN, &action).step, 3);
  cr_expect_eq(act_at(&rig, 1e300, &action).step, 3);
  cr_expect_eq(act_at(&rig, 0.4, &action).step, 4);
  close_rig(&rig);
}

Test(mpc_time, a_step_takes_some_time) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  orr_mpc_options options = orr_mpc_options_defaults();
  options.step_seconds = -1;
  cr_expect_null(
      orr_mpc_new(rig.engine, orr_mpc_objective(rig.mpc), orr_mpc_planner(rig.mpc), &options));
  options.step_seconds = INFINITY;
  cr_expect_null(
      orr_mpc_new(rig.engine, orr_mpc_objective(rig.mpc), orr_mpc_planner(rig.mpc), &options));
  close_rig(&rig);
}
