/* The mpc when memory runs out: every allocation fails in turn, and nothing is left over. */
#include <stdlib.h>

#include "drive.h"

struct budget {
  long left, live;
};

static void *limited(void *user, void *old, size_t old_size, size_t new_size) {
  struct budget *budget = user;
  (void)old_size;
  if (new_size == 0) {
    budget->live -= old != NULL;
    free(old);
    return NULL;
  }
  if (budget->left-- <= 0) return NULL;
  void *memory = aligned_alloc(64, (new_size + 63) / 64 * 64);
  if (old) {
    memcpy(memory, old, old_size < new_size ? old_size : new_size);
    free(old);
  } else {
    budget->live++;
  }
  return memory;
}

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
    struct budget budget = {.left = 1000000};
    orr_engine_options options = orr_engine_options_defaults();
    options.allocate = limited;
    options.allocate_user = &budget;
    options.threads = 2;
    orr_engine *engine = orr_engine_new(&options);
    budget.left = n;
    bool good = plan_once(engine);
    orr_engine_free(engine);
    cr_assert_eq(budget.live, 0, "%ld blocks left when allocation %ld failed", budget.live, n);
    if (good) break;
    failures++;
  }
  cr_expect_gt(failures, 15);
  cr_expect_lt(failures, 900);
}
