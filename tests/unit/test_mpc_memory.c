/* The mpc when memory runs out: every allocation fails in turn, and nothing is left over. */
#include "drive.h"
#include "limited_memory.h"

/* Whether all went well; whatever happens, nothing may be left over. */
static bool plan_once(orr_engine *engine) {
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_objective *objective = env ? orr_objective_env(engine, env, NULL) : NULL;
  orr_planner_setting settings[] = {{"population", 10}, {"horizon", 4}, {"action_repeat", 2}};
  orr_planner *planner =
      env ? orr_planner_new(engine, "cem", orr_env_action_space(env), settings, 3) : NULL;
  orr_mpc *mpc = objective && planner ? orr_mpc_new(engine, objective, planner, NULL) : NULL;
  orr_real observation[3] = {1, 0, 0}, action[1];
  bool good = mpc && orr_env_reset(env, 1, observation) == ORR_OK;
  if (good) {
    orr_status status = orr_mpc_act(mpc, observation, action, NULL);
    cr_expect(status == ORR_OK || status == ORR_MEMORY, "%s", orr_status_name(status));
    good = status == ORR_OK;
    if (!good) good = orr_mpc_act(mpc, observation, action, NULL) == ORR_OK; /* still usable */
  }
  if (!good) cr_expect_eq(orr_engine_status(engine), ORR_MEMORY);
  orr_mpc_free(mpc);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_env_free(env);
  return good;
}

Test(mpc_memory, any_allocation_may_fail) {
  int failures = 0;
  for (long n = 0; n < 1000; n++) {
    struct memory memory = {.left = UNLIMITED};
    orr_engine *engine = limited_engine(&memory, 2);
    memory.left = n;
    bool good = plan_once(engine);
    orr_engine_free(engine);
    cr_assert_eq(memory.live, 0, "%ld bytes left when allocation %ld failed", memory.live, n);
    if (good) break;
    failures++;
  }
  cr_expect_gt(failures, 15);
  cr_expect_lt(failures, 900);
}

enum { LARGE = 100000 };

static orr_status score_nothing(void *user, const orr_scoring *scoring) {
  (void)user;
  memset(scoring->returns, 0, (size_t)scoring->n * sizeof(orr_real));
  return ORR_OK;
}

static orr_status take_large(void *user, const orr_real *observation, void *snapshot) {
  (void)user, (void)observation;
  memset(snapshot, 0, LARGE);
  return ORR_OK;
}

static void use_large(void *user, const void *snapshot) { (void)user, (void)snapshot; }

/* A planning thread takes another objective with all that it needs, or goes on with the old one. */
Test(mpc_memory, another_objective_is_taken_as_a_whole) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 1);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.score = score_nothing;
  callbacks.any_thread = true;
  callbacks.snapshot_size = LARGE;
  callbacks.take_snapshot = take_large;
  callbacks.use_snapshot = use_large;
  callbacks.observation = orr_env_observation_space(env);
  callbacks.action = orr_env_action_space(env);
  orr_objective *small = orr_objective_env(engine, env, NULL),
                *large = orr_objective_function(engine, &callbacks);
  orr_planner_setting settings[] = {{"population", 10}, {"horizon", 4}};
  orr_planner *planner = orr_planner_new(engine, "cem", callbacks.action, settings, 2);
  orr_mpc_options given = orr_mpc_options_defaults();
  given.background = true;
  orr_mpc *mpc = orr_mpc_new(engine, small, planner, &given);
  orr_real observation[3], action;
  orr_env_reset(env, 1, observation);
  cr_assert_eq(orr_mpc_act(mpc, observation, &action, NULL), ORR_OK);
  int failures = 0;
  for (orr_status status = ORR_MEMORY; status; failures += status != ORR_OK) {
    orr_mpc_pause(mpc);
    memory.left = failures;
    status = orr_mpc_set_objective(mpc, large);
    memory.left = UNLIMITED;
    orr_mpc_resume(mpc);
    cr_assert(status == ORR_OK || status == ORR_MEMORY);
    cr_expect_eq(orr_mpc_objective(mpc), status ? small : large);
    for (int t = 0; t < 3; t++)
      cr_expect_eq(orr_mpc_act(mpc, observation, &action, NULL), ORR_OK, "%s",
                   orr_engine_message(engine));
  }
  cr_expect_eq(failures, 3);
  orr_mpc_free(mpc);
  orr_planner_free(planner);
  orr_objective_free(small);
  orr_objective_free(large);
  orr_env_free(env);
  orr_engine_free(engine);
  cr_expect_eq(memory.live, 0);
}
