/* What an mpc promises with every planner: resets that leave nothing, fallbacks, parts swapped
   while it runs, and many states at a time. */
#include "drive.h"

#define EACH_PLANNER(name)                               \
  for (int row_ = 0; row_ < orr_planner_count(); row_++) \
    for (const char *name = orr_planner_name_at(row_); name; name = NULL)

/* Planners that do not go with an objective without derivatives, or a continuous action, are left
   out; NULL then. */
static orr_planner *make(struct rig *rig, const char *name, int horizon) {
  orr_planner_setting setting = {"horizon", horizon};
  orr_space *space = orr_planner_action_space(orr_mpc_planner(rig->mpc));
  orr_planner *planner = orr_planner_new(rig->engine, name, space, &setting, 1);
  if (!planner) return NULL;
  orr_mpc *probe = orr_mpc_new(rig->engine, orr_mpc_objective(rig->mpc), planner, NULL);
  orr_real x = 0, action;
  orr_status status = orr_mpc_act(probe, &x, &action, NULL);
  orr_mpc_free(probe);
  if (!status) return planner;
  cr_assert(status == ORR_ARGUMENT || status == ORR_SHAPE, "%s: %s", name,
            orr_engine_message(rig->engine));
  orr_planner_free(planner);
  return NULL;
}

static orr_mpc *open_with(struct rig *rig, const char *name, const orr_mpc_options *options) {
  orr_planner *planner = make(rig, name, HORIZON);
  orr_mpc *mpc =
      planner ? orr_mpc_new(rig->engine, orr_mpc_objective(rig->mpc), planner, options) : NULL;
  orr_planner_free(planner);
  return mpc;
}

enum { ACTS = 6 };

static void run(orr_mpc *mpc, orr_real x, orr_real *actions) {
  for (int t = 0; t < ACTS; t++) {
    cr_expect_eq(orr_mpc_act(mpc, &x, &actions[t], NULL), ORR_OK);
    x += actions[t];
  }
}

Test(mpc_planners, after_a_reset_with_a_seed_it_acts_like_a_new_one) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  int tried = 0;
  EACH_PLANNER(name) {
    orr_mpc_options options = orr_mpc_options_defaults();
    orr_mpc *used = open_with(&rig, name, &options);
    if (!used) continue;
    options.seed = 5;
    orr_mpc *fresh = open_with(&rig, name, &options);
    orr_real wanted[ACTS], got[ACTS];
    rig.drive.target = -3;
    run(used, 2, got);
    rig.drive.all_bad = true; /* also what failures leave behind */
    orr_real x = 0, action;
    cr_expect_eq(orr_mpc_act(used, &x, &action, NULL), ORR_NUMBER);
    rig.drive.all_bad = false;
    rig.drive.target = 1;
    orr_mpc_reset(used);
    orr_mpc_seed(used, 5);
    run(used, 0, got);
    run(fresh, 0, wanted);
    cr_expect_arr_eq(got, wanted, sizeof got, "%s: %g, not %g", name, (double)got[0],
                     (double)wanted[0]);
    orr_mpc_free(used);
    orr_mpc_free(fresh);
    tried++;
  }
  cr_expect_geq(tried, 5);
  close_rig(&rig);
}

Test(mpc_planners, when_all_is_bad_the_last_plan_goes_on) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  EACH_PLANNER(name) {
    orr_mpc *mpc = open_with(&rig, name, NULL);
    if (!mpc) continue;
    orr_real x = -1, action, plan[HORIZON];
    orr_mpc_info info;
    cr_expect_eq(orr_mpc_act(mpc, &x, &action, &info), ORR_OK);
    memcpy(plan, orr_mpc_plan(mpc), sizeof plan);
    rig.drive.all_bad = true;
    for (int t = 1; t < HORIZON + 2; t++) {
      cr_expect_eq(orr_mpc_act(mpc, &x, &action, &info), ORR_NUMBER, "%s", name);
      cr_expect_eq(info.source, t < HORIZON ? ORR_MPC_LAST : ORR_MPC_SAFE, "%s", name);
      cr_expect_eq(action, t < HORIZON ? plan[t] : 0, "%s", name);
    }
    rig.drive.all_bad = false;
    cr_expect_eq(orr_mpc_act(mpc, &x, &action, &info), ORR_OK, "%s", name);
    cr_expect_gt(action, 0, "%s", name);
    orr_mpc_free(mpc);
  }
  close_rig(&rig);
}

Test(mpc_planners, another_planner_takes_the_plan_over) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  EACH_PLANNER(name) {
    orr_planner *next[2] = {make(&rig, name, HORIZON), make(&rig, name, HORIZON - 2)};
    if (!next[0]) continue;
    orr_mpc *mpc = open_with(&rig, "cem", NULL);
    orr_real x = -9, action, plan[HORIZON];
    cr_expect_eq(orr_mpc_act(mpc, &x, &action, NULL), ORR_OK);
    memcpy(plan, orr_mpc_plan(mpc), sizeof plan);
    for (int i = 0; i < 2; i++) {
      cr_expect_eq(orr_mpc_set_planner(mpc, next[i], NULL), ORR_OK, "%s: %s", name,
                   orr_engine_message(rig.engine));
      cr_expect_eq(orr_mpc_planner(mpc), next[i]);
      cr_expect_eq(orr_mpc_plan(mpc)[0], plan[1 + i], "%s: what is left is there", name);
      rig.drive.all_bad = true; /* and is what there is when the first plan fails */
      orr_mpc_info info;
      cr_expect_eq(orr_mpc_act(mpc, &x, &action, &info), ORR_NUMBER);
      cr_expect(info.source == ORR_MPC_LAST && action == plan[1 + i], "%s", name);
      rig.drive.all_bad = false;
    }
    for (int t = 0; t < 3; t++)
      cr_expect_eq(orr_mpc_act(mpc, &x, &action, NULL), ORR_OK, "%s", name);
    cr_expect_gt(action, 0.2f, "%s", name);
    orr_mpc_free(mpc);
    for (int i = 0; i < 2; i++) orr_planner_free(next[i]);
  }
  close_rig(&rig);
}

Test(mpc_planners, a_batch_of_states_is_planned_for_together) {
  enum { BATCH = 3 };
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  EACH_PLANNER(name) {
    orr_mpc_options options = orr_mpc_options_defaults();
    options.batch = BATCH;
    orr_mpc *mpc = open_with(&rig, name, &options);
    if (!mpc) continue;
    orr_real x[BATCH] = {-2, 0, 3}, actions[BATCH], action;
    orr_mpc_info infos[BATCH];
    orr_mpc *single = open_with(&rig, name, NULL);
    for (int t = 0; t < 12; t++) {
      cr_expect_eq(orr_mpc_act(single, x, &action, NULL), ORR_OK);
      cr_expect_eq(orr_mpc_act_many(mpc, x, actions, infos), ORR_OK, "%s", name);
      /* the first one has the draws of a single one */
      cr_expect_float_eq(actions[0], action, 1e-5, "%s: %g, alone %g", name, (double)actions[0],
                         (double)action);
      for (int i = 0; i < BATCH; i++) x[i] += actions[i];
    }
    orr_mpc_free(single);
    for (int i = 0; i < BATCH; i++) {
      cr_expect_eq(infos[i].source, ORR_MPC_PLANNED);
      cr_expect_lt(fabs((double)x[i] - 1), i == 1 ? 0.9 : 1.2, "%s: state %d ends at %g", name, i,
                   (double)x[i]);
    }
    /* what is wrong with one of them concerns that one */
    orr_real broken[BATCH] = {-2, NAN, 3};
    cr_expect_eq(orr_mpc_reset_one(mpc, 1), ORR_OK);
    cr_expect_eq(orr_mpc_act_many(mpc, broken, actions, infos), ORR_NUMBER);
    cr_expect(infos[0].source == ORR_MPC_PLANNED && infos[2].source == ORR_MPC_PLANNED, "%s", name);
    cr_expect(infos[1].source == ORR_MPC_SAFE && actions[1] == 0, "%s", name);
    cr_expect_eq(orr_mpc_reset_one(mpc, BATCH), ORR_ARGUMENT);
    cr_expect_eq(orr_mpc_act(mpc, x, &action, NULL), ORR_ARGUMENT);
    cr_expect_eq(action, 0);
    orr_mpc_free(mpc);
  }
  close_rig(&rig);
}

static orr_status see_nothing(void *user, const orr_scoring *scoring) {
  (void)user;
  for (int i = 0; i < scoring->n; i++) scoring->returns[i] = scoring->plans[i * scoring->horizon];
  return ORR_OK;
}

/* As far as the first number of the observation; it remembers that number. */
static orr_status remember(void *user, const orr_real *observation, const orr_real *plan,
                           int horizon, orr_real *disagreement) {
  (void)plan;
  *(orr_real *)user = observation[0];
  for (int t = 0; t < horizon; t++) disagreement[t] = observation[0];
  return ORR_OK;
}

/* The rig's spaces, and returns that do not depend on the state. */
static orr_objective *new_blind(struct rig *rig, orr_real *seen, bool knows_size) {
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = seen;
  callbacks.score = see_nothing;
  callbacks.disagree = remember;
  callbacks.any_thread = callbacks.many_states = true;
  callbacks.action = orr_objective_action_space(orr_mpc_objective(rig->mpc));
  if (knows_size)
    callbacks.observation = orr_objective_observation_space(orr_mpc_objective(rig->mpc));
  return orr_objective_function(rig->engine, &callbacks);
}

static orr_planner *new_cem(struct rig *rig, int repeat) {
  orr_planner_setting settings[] = {{"horizon", 4 * repeat}, {"action_repeat", repeat}};
  return orr_planner_new(rig->engine, "cem", orr_planner_action_space(orr_mpc_planner(rig->mpc)),
                         settings, 2);
}

Test(mpc_planners, a_state_that_is_not_finite_is_found_whatever_the_objective_says) {
  enum { BATCH = 3 };
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  orr_real seen;
  orr_objective *blind = new_blind(&rig, &seen, true);
  orr_planner *planner = new_cem(&rig, 1);
  orr_mpc_options options = orr_mpc_options_defaults();
  options.batch = BATCH;
  options.disagreement = true;
  orr_mpc *mpc = orr_mpc_new(rig.engine, blind, planner, &options);
  orr_real x[BATCH] = {1, NAN, INFINITY}, actions[BATCH];
  orr_mpc_info infos[BATCH];
  cr_expect_eq(orr_mpc_act_many(mpc, x, actions, infos), ORR_NUMBER);
  cr_expect(strstr(orr_engine_message(rig.engine), "x of the observation at step 0"));
  cr_expect(infos[0].source == ORR_MPC_PLANNED && actions[0] > 0.3f);
  for (int i = 1; i < BATCH; i++) cr_expect(infos[i].source == ORR_MPC_SAFE && actions[i] == 0);
  orr_mpc_statistics statistics;
  orr_mpc_get_statistics(mpc, &statistics);
  cr_expect_eq(statistics.disagreement, 1, "%g", statistics.disagreement);
  x[1] = x[2] = 1;
  cr_expect_eq(orr_mpc_act_many(mpc, x, actions, infos), ORR_OK);
  cr_expect_eq(infos[1].source, ORR_MPC_PLANNED);
  orr_mpc_free(mpc);
  orr_planner_free(planner);
  orr_objective_free(blind);
  close_rig(&rig);
}

Test(mpc_planners, a_state_that_is_reset_does_not_go_on_with_the_action_it_held) {
  enum { BATCH = 2 };
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  orr_planner *planner = new_cem(&rig, 4);
  orr_mpc_options options = orr_mpc_options_defaults();
  options.batch = BATCH;
  orr_mpc *mpc = orr_mpc_new(rig.engine, orr_mpc_objective(rig.mpc), planner, &options);
  orr_real x[BATCH] = {9, 9}, actions[BATCH];
  orr_mpc_info infos[BATCH];
  for (int t = 0; t < 2; t++) cr_expect_eq(orr_mpc_act_many(mpc, x, actions, infos), ORR_OK);
  cr_expect(infos[0].source == ORR_MPC_HELD && actions[0] < 0);
  cr_expect_eq(orr_mpc_reset_one(mpc, 0), ORR_OK);
  x[0] = -9;
  for (int t = 0; t < 5; t++) {
    cr_expect_eq(orr_mpc_act_many(mpc, x, actions, infos), ORR_OK);
    cr_expect_eq(infos[0].source, t % 4 ? ORR_MPC_HELD : ORR_MPC_PLANNED);
    cr_expect(actions[0] > 0 && actions[1] < 0, "%g, %g", (double)actions[0], (double)actions[1]);
  }
  orr_mpc_free(mpc);
  orr_planner_free(planner);
  close_rig(&rig);
}

Test(mpc_planners, disagreement_is_measured_from_what_was_seen) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  orr_real seen = NAN, x = 0.5f, action, apart[8];
  orr_objective *blind = new_blind(&rig, &seen, true);
  orr_planner *planner = new_cem(&rig, 1), *next = new_cem(&rig, 2);
  orr_mpc *mpc = orr_mpc_new(rig.engine, blind, planner, NULL);
  cr_expect_eq(orr_mpc_act(mpc, &x, &action, NULL), ORR_OK);
  cr_expect_eq(orr_mpc_set_planner(mpc, next, NULL), ORR_OK);
  cr_expect_eq(orr_mpc_disagreement(mpc, apart), ORR_OK);
  cr_expect_eq(seen, x);
  orr_mpc_free(mpc);
  orr_planner_free(planner);
  orr_planner_free(next);
  orr_objective_free(blind);
  close_rig(&rig);
}

Test(mpc_planners, what_keeps_observations_must_know_their_size) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  orr_real seen = NAN, x = 0.5f, action, apart[4];
  orr_objective *blind = new_blind(&rig, &seen, false);
  orr_planner *planner = new_cem(&rig, 1);
  for (int i = 0; i < 3; i++) {
    static const char *const what[] = {"a batch of states", "a planning thread", "disagreement"};
    orr_mpc_options options = orr_mpc_options_defaults();
    options.batch = i == 0 ? 2 : 1;
    options.background = i == 1;
    options.disagreement = i == 2;
    cr_expect_null(orr_mpc_new(rig.engine, blind, planner, &options));
    cr_expect(strstr(orr_engine_message(rig.engine), what[i]), "%s", what[i]);
    cr_expect(strstr(orr_engine_message(rig.engine), "give observation_size"));
    options.observation_size = 1;
    orr_mpc *mpc = orr_mpc_new(rig.engine, blind, planner, &options);
    cr_expect(mpc, "%s", orr_engine_message(rig.engine));
    orr_mpc_free(mpc);
    orr_planner_set_states(planner, 1);
  }
  orr_mpc *mpc = orr_mpc_new(rig.engine, blind, planner, NULL);
  cr_expect_eq(orr_mpc_act(mpc, &x, &action, NULL), ORR_OK);
  cr_expect_eq(orr_mpc_disagreement(mpc, apart), ORR_ARGUMENT);
  cr_expect(strstr(orr_engine_message(rig.engine), "give observation_size"));
  orr_mpc_free(mpc);
  orr_planner_free(planner);
  orr_objective_free(blind);
  close_rig(&rig);
}
