/* What a policy proposes on the true simulator: memory, and programs that do not fit. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "limited_memory.h"
#include "orrery/rollout.h"

enum { HORIZON = 6, PLANS = 5 };

/* torque = velocity + time, of the pendulum's cos, sin and velocity. */
static orr_program *new_policy(orr_engine *engine, const char *output) {
  int64_t three = 3;
  orr_graph *graph = orr_graph_new(engine);
  if (!graph) return NULL;
  orr_node s = orr_input(graph, "s", ORR_ROW, 1, &three);
  orr_node time = orr_input(graph, "time", ORR_UNIFORM, 0, NULL);
  orr_output(graph, output, orr_binary(graph, ORR_OP_add, orr_slice(graph, s, 0, 2, 1), time));
  orr_program *program = orr_compile(graph);
  orr_graph_free(graph);
  return program;
}

/* With a memory, so many allocations are left once the program is there. */
static orr_objective *new_objective_within(orr_engine *engine, orr_env *env, const char *output,
                                           struct memory *memory, long left) {
  orr_simulator_options options = orr_simulator_options_defaults();
  options.policy = new_policy(engine, output);
  cr_assert(options.policy);
  if (memory) memory->left = left;
  orr_objective *objective = orr_objective_env(engine, env, &options);
  orr_program_free(options.policy);
  return objective;
}

static orr_objective *new_objective(orr_engine *engine, orr_env *env, const char *output) {
  return new_objective_within(engine, env, output, NULL, 0);
}

static orr_status propose(orr_objective *objective, const orr_real *observation, orr_real *plans) {
  orr_proposing proposing = {.observation = observation,
                             .n = PLANS,
                             .horizon = HORIZON,
                             .step = 0,
                             .seed = 1,
                             .plans = plans};
  return orr_objective_propose(objective, &proposing);
}

Test(plan_proposals, each_action_answers_the_observation_before_it) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 1);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_objective *objective = new_objective(engine, env, "action");
  cr_assert(objective, "%s", orr_engine_message(engine));
  cr_expect(orr_objective_has_proposals(objective));
  orr_real observation[3], plans[PLANS * HORIZON], again[PLANS * HORIZON];
  cr_assert_eq(orr_env_reset(env, 4, observation), ORR_OK);
  cr_assert_eq(propose(objective, observation, plans), ORR_OK, "%s", orr_engine_message(engine));
  long before = memory.asked;
  cr_assert_eq(propose(objective, observation, again), ORR_OK);
  cr_assert_eq(propose(objective, NULL, again), ORR_OK); /* where the environment is */
  cr_expect_eq(memory.asked, before, "proposing allocates nothing once warm");
  cr_expect_arr_eq(plans, again, sizeof plans);
  for (int t = 0; t < HORIZON; t++) {
    orr_real torque = observation[2] + (orr_real)t;
    torque = torque > 2 ? 2 : torque < -2 ? -2 : torque;
    for (int i = 0; i < PLANS; i++)
      cr_expect_float_eq((double)plans[i * HORIZON + t], (double)torque, 1e-5, "%d", t);
    orr_env_result result;
    cr_assert_eq(orr_env_step(env, &torque, observation, &result), ORR_OK);
  }
  orr_objective_free(objective);
  orr_env_free(env);
  orr_engine_free(engine);
  cr_expect_eq(memory.live, 0);
}

Test(plan_proposals, any_allocation_may_fail) {
  int failures = 0;
  for (long n = 0; n < 1000; n++) {
    struct memory memory = {.left = UNLIMITED};
    orr_engine *engine = limited_engine(&memory, 1);
    orr_env *env = orr_env_new(engine, "pendulum", NULL);
    orr_real observation[3], plans[PLANS * HORIZON];
    cr_assert_eq(orr_env_reset(env, 4, observation), ORR_OK);
    orr_objective *objective = new_objective_within(engine, env, "action", &memory, n);
    bool good = objective && propose(objective, observation, plans) == ORR_OK;
    if (!good)
      cr_expect_eq(orr_engine_status(engine), ORR_MEMORY, "%s", orr_engine_message(engine));
    orr_objective_free(objective);
    orr_env_free(env);
    orr_engine_free(engine);
    cr_expect_eq(memory.live, 0, "after %ld", n);
    if (good) break;
    failures++;
  }
  cr_expect(failures > 20 && failures < 1000, "%d", failures);
}

Test(plan_proposals, what_does_not_fit_is_refused) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 1);
  orr_env *pendulum = orr_env_new(engine, "pendulum", NULL);
  orr_env *cartpole = orr_env_new(engine, "cartpole", NULL);
  cr_expect_null(new_objective(engine, pendulum, "plans"));
  cr_expect(strstr(orr_engine_message(engine), "output 'action' of [1]"));
  cr_assert(cartpole);
  cr_expect_null(new_objective(engine, cartpole, "action"));
  cr_expect(strstr(orr_engine_message(engine), "input 's' of ["));
  orr_env_free(pendulum);
  orr_env_free(cartpole);
  orr_engine_free(engine);
  cr_expect_eq(memory.live, 0);
}
