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

