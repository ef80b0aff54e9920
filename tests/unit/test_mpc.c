/* The closed loop: warm start, resets, failures, parts that must fit. */
#include "drive.h"

Test(mpc, drives_to_the_target) {
  const char *names[] = {"cem", "random_shooting"};
  for (int i = 0; i < 2; i++) {
    struct rig rig;
    open_rig(&rig, names[i], NULL, 0, NULL);
    orr_real x = -1;
    for (int t = 0; t < 12; t++) x += act(&rig, x, ORR_OK, ORR_MPC_PLANNED);
    cr_expect_float_eq(x, 1, 0.15, "%s ends at %g", names[i], (double)x);
    cr_expect_eq(rig.drive.last_step, 11);
    orr_mpc_reset(rig.mpc);
    act(&rig, x, ORR_OK, ORR_MPC_PLANNED);
    cr_expect_eq(rig.drive.last_step, 0);
    close_rig(&rig);
  }
}

Test(mpc, same_seed_same_actions_and_nothing_survives_a_reset) {
  struct rig rig;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.seed = 11;
  open_rig(&rig, "cem", NULL, 0, &options);
  orr_real first[6], again[6];
  for (int t = 0; t < 6; t++) first[t] = act(&rig, (orr_real)t, ORR_OK, ORR_MPC_PLANNED);
  orr_mpc_reset(rig.mpc);
  cr_expect_null(orr_mpc_plan(rig.mpc));
  orr_mpc_seed(rig.mpc, 11);
  for (int t = 0; t < 6; t++) again[t] = act(&rig, (orr_real)t, ORR_OK, ORR_MPC_PLANNED);
  cr_expect_arr_eq(first, again, sizeof first);
  orr_mpc_reset(rig.mpc);
  again[0] = act(&rig, 0, ORR_OK, ORR_MPC_PLANNED); /* the stream goes on */
  cr_expect_neq(first[0], again[0]);
  orr_mpc_seed(rig.mpc, 12);
  close_rig(&rig);
}

Test(mpc, warm_start_shifts_the_last_plan) {
  orr_real gap[2];
  for (int warm = 0; warm < 2; warm++) {
    struct rig rig;
    orr_mpc_options options = orr_mpc_options_defaults();
    options.warm_start = warm;
    open_rig(&rig, "cem", "deviation", 1e-6, &options); /* samples stay at the mean */
    orr_real plan[HORIZON] = {0.1f, 0.2f, 0.3f, 0.4f, 0.45f};
    orr_planner_set_plan(orr_mpc_planner(rig.mpc), plan);
    orr_real first = act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
    cr_expect_float_eq(first, 0.1, 1e-4);
    gap[warm] = act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
    if (warm) cr_expect_float_eq(orr_mpc_plan(rig.mpc)[HORIZON - 1], 0, 1e-4);
    close_rig(&rig);
  }
  cr_expect_float_eq(gap[0], 0, 1e-4);
  cr_expect_float_eq(gap[1], 0.2, 1e-4);
}

Test(mpc, all_bad_gives_the_last_plan_shifted_then_the_safe_action) {
  struct rig rig;
  orr_real safe = -0.25f;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.safe_action = &safe;
  open_rig(&rig, "cem", NULL, 0, &options);
  orr_real action;
  rig.drive.all_bad = true;
  action = act(&rig, 0, ORR_NUMBER, ORR_MPC_SAFE);
  cr_expect_eq(action, safe);
  cr_expect(strstr(orr_engine_message(rig.engine), "none of 2000 plans"));
  rig.drive.all_bad = false;
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  orr_real plan[HORIZON];
  memcpy(plan, orr_mpc_plan(rig.mpc), sizeof plan);
  rig.drive.all_bad = true;
  for (int t = 1; t < HORIZON; t++) {
    action = act(&rig, 0, ORR_NUMBER, ORR_MPC_LAST);
    cr_expect_eq(action, plan[t]);
  }
  for (int t = 0; t < 2; t++) {
    action = act(&rig, 0, ORR_NUMBER, ORR_MPC_SAFE);
    cr_expect_eq(action, safe);
  }
  rig.drive.all_bad = false;
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  orr_mpc_statistics statistics;
  orr_mpc_get_statistics(rig.mpc, &statistics);
  cr_expect_eq(statistics.fallbacks, HORIZON - 1 + 3);
  cr_expect_eq(statistics.non_finite, 2000 * (HORIZON - 1 + 3));
  cr_expect_eq(statistics.acts, HORIZON - 1 + 5);
  close_rig(&rig);
}

Test(mpc, a_bad_observation_a_failing_objective_and_an_interrupt) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  act(&rig, NAN, ORR_NUMBER, ORR_MPC_SAFE);
  cr_expect(strstr(orr_engine_message(rig.engine), "x of the observation at step 0"));
  cr_expect_eq(rig.drive.calls, 0);
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  rig.drive.fail = ORR_CALLBACK;
  act(&rig, 0, ORR_CALLBACK, ORR_MPC_LAST);
  rig.drive.fail = ORR_OK;
  orr_interrupt(rig.engine);
  act(&rig, 0, ORR_INTERRUPTED, ORR_MPC_LAST);
  orr_interrupt_clear(rig.engine);
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  close_rig(&rig);
}

Test(mpc, repeated_actions_are_held) {
  struct rig rig;
  open_rig(&rig, "cem", "action_repeat", 5, NULL);
  orr_real first = act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  for (int t = 1; t < 5; t++) {
    orr_real held = act(&rig, 0, ORR_OK, ORR_MPC_HELD);
    cr_expect_eq(held, first);
  }
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  cr_expect_eq(rig.drive.last_step, 5);
  orr_mpc_reset(rig.mpc);
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  close_rig(&rig);
}

Test(mpc, parts_must_fit) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  orr_real low = -1, high = 1, bad = NAN;
  orr_field push = {.name = "push", .low = &low, .high = &high};
  orr_space *space = orr_space_new(rig.engine, &push, 1);
  orr_planner *planner = orr_planner_new(rig.engine, "cem", space, NULL, 0);
  orr_objective *objective = orr_mpc_objective(rig.mpc);
  cr_expect_null(orr_mpc_new(rig.engine, objective, planner, NULL));
  cr_expect(strstr(orr_engine_message(rig.engine), "different action spaces"));
  cr_expect_null(orr_mpc_new(rig.engine, NULL, planner, NULL));
  orr_mpc_options options = orr_mpc_options_defaults();
  options.safe_action = &bad;
  cr_expect_null(orr_mpc_new(rig.engine, objective, orr_mpc_planner(rig.mpc), &options));
  options = orr_mpc_options_defaults();
  options.seconds = NAN;
  cr_expect_null(orr_mpc_new(rig.engine, objective, orr_mpc_planner(rig.mpc), &options));
  orr_planner_free(planner);
  orr_space_free(space);
  close_rig(&rig);
}
