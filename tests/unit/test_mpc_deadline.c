/* Limits of time. Nothing here asks how fast the machine is: what is slow sleeps. */
#include "drive.h"

Test(mpc_deadline, a_missed_deadline_still_gives_a_plan) {
  struct rig rig;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.seconds = 1e-3;
  open_rig(&rig, "cem", NULL, 0, &options);
  rig.drive.sleep = 5e-3;
  orr_real late = act(&rig, -9, ORR_LATE, ORR_MPC_PLANNED);
  cr_expect_gt(late, 0);
  cr_expect(strstr(orr_engine_message(rig.engine), "past its limit"));
  cr_expect_eq(rig.drive.calls, 1);
  rig.drive.sleep = 0;
  orr_mpc_set_budget(rig.mpc, 2, 10);
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  cr_expect_eq(rig.drive.calls, 3);
  orr_mpc_statistics statistics;
  orr_mpc_get_statistics(rig.mpc, &statistics);
  cr_expect_eq(statistics.late, 1);
  cr_expect_geq(statistics.max, 5e-3);
  cr_expect(statistics.p99 <= statistics.max && statistics.p50 < statistics.p99);
  cr_expect_eq(statistics.iterations, 3);
  orr_mpc_clear_statistics(rig.mpc);
  orr_mpc_get_statistics(rig.mpc, &statistics);
  cr_expect(statistics.acts == 0 && statistics.max == 0 && statistics.p99 == 0);
  cr_expect_eq(orr_mpc_set_budget(rig.mpc, -1, 0), ORR_ARGUMENT);
  close_rig(&rig);
}

Test(mpc_deadline, of_a_population_that_is_too_large_as_much_is_tried_as_fits) {
  struct rig rig;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.seconds = 0.1;
  open_rig(&rig, "cem", NULL, 0, &options);
  rig.drive.each = 2e-3; /* 400 plans: 0.8 s */
  orr_mpc_statistics before, after;
  for (int i = 0; i < 3; i++) {
    orr_real x = -9, action;
    orr_mpc_info info;
    orr_mpc_get_statistics(rig.mpc, &before);
    orr_status status = orr_mpc_act(rig.mpc, &x, &action, &info);
    orr_mpc_get_statistics(rig.mpc, &after);
    cr_expect(status == ORR_OK || status == ORR_LATE);
    cr_expect_eq(info.source, ORR_MPC_PLANNED);
    cr_expect(info.scored >= 1 && info.scored < 100, "%d plans", (int)info.scored);
    /* a machine that is busy may let no more than one or two be tried */
    cr_expect(fabs((double)action) <= 0.5 && (action > 0 || info.scored < 12), "the best of %d: %g",
              (int)info.scored, (double)action);
    cr_expect_eq(after.scored - before.scored, info.scored);
  }
  close_rig(&rig);
}

Test(mpc_deadline, a_smaller_population_is_refitted_to) {
  struct rig rig;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.seconds = 0.2;
  open_rig(&rig, "cem", NULL, 0, &options);
  rig.drive.each = 1e-3; /* 400 plans: 0.4 s, half of them would leave no time to refit */
  orr_mpc_statistics statistics;
  for (int i = 0; i < 3; i++) {
    orr_real x = -9, action;
    orr_mpc_act(rig.mpc, &x, &action, NULL);
  }
  orr_mpc_get_statistics(rig.mpc, &statistics);
  cr_expect_eq(statistics.shrunk, 3);
  cr_expect_gt(statistics.iterations, 3);
  rig.drive.each = 0;
  orr_mpc_set_budget(rig.mpc, 0, 1000);
  act(&rig, -9, ORR_OK, ORR_MPC_PLANNED);
  orr_mpc_get_statistics(rig.mpc, &statistics);
  cr_expect(statistics.shrunk == 3 && statistics.violations == 0);
  close_rig(&rig);
}

Test(mpc_deadline, an_iteration_that_is_cut_short_is_as_if_it_had_not_been) {
  struct rig whole, cut;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.iterations = 1;
  open_rig(&whole, "cem", NULL, 0, &options);
  options.iterations = 0;
  options.seconds = 1000;
  open_rig(&cut, "cem", NULL, 0, &options);
  orr_real first = act(&whole, -9, ORR_OK, ORR_MPC_PLANNED);
  /* the first call finds out how long plans take, by a piece of the population */
  act(&cut, -9, ORR_OK, ORR_MPC_PLANNED);
  cr_expect_gt(cut.drive.last_deadline, orr_clock() + 900);
  orr_mpc_reset(cut.mpc);
  orr_mpc_seed(cut.mpc, 0);
  cut.drive.late_call = (int)cut.drive.calls + 2;
  orr_real second = act(&cut, -9, ORR_OK, ORR_MPC_PLANNED);
  cr_expect_eq(first, second);
  orr_mpc_reset(cut.mpc);
  cut.drive.late_call = (int)cut.drive.calls + 1; /* nothing was scored at all */
  act(&cut, -9, ORR_LATE, ORR_MPC_SAFE);
  cr_expect(strstr(orr_engine_message(cut.engine), "no plan was scored in time"));
  close_rig(&whole);
  close_rig(&cut);
}

Test(mpc_deadline, planning_ends_earlier_after_it_was_late) {
  struct rig rig;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.seconds = 0.02;
  open_rig(&rig, "cem", NULL, 0, &options);
  orr_mpc_statistics statistics;
  rig.drive.sleep = 0.03;
  act(&rig, 0, ORR_LATE, ORR_MPC_PLANNED);
  orr_mpc_get_statistics(rig.mpc, &statistics);
  double margin = statistics.margin;
  cr_expect(margin > 0.009 && margin <= 0.01, "half of the time at most: %g", margin);
  rig.drive.sleep = 0;
  orr_mpc_set_budget(rig.mpc, 1, 0.02);
  for (int i = 0; i < 10000 && statistics.margin > margin / 2; i++) { /* and it is forgotten */
    orr_real x = 0, action;
    orr_mpc_act(rig.mpc, &x, &action, NULL);
    orr_mpc_get_statistics(rig.mpc, &statistics);
  }
  cr_expect_leq(statistics.margin, margin / 2);
  close_rig(&rig);
}
