/* The true simulator as an objective: what it scores, and planners on it. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "orrery/mpc.h"
#include "orrery/rollout.h"

enum { HORIZON = 25, EPISODE = 200 };

static orr_engine *new_engine(int threads) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = threads;
  return orr_engine_new(&options);
}

static orr_mpc *new_mpc(orr_engine *engine, orr_env *env, const char *planner,
                        const orr_planner_setting *settings, int count) {
  orr_objective *objective = orr_objective_env(engine, env, NULL);
  orr_planner *p = orr_planner_new(engine, planner, orr_env_action_space(env), settings, count);
  orr_mpc *mpc = orr_mpc_new(engine, objective, p, NULL);
  cr_assert(mpc, "%s", orr_engine_message(engine));
  orr_objective_free(objective);
  orr_planner_free(p);
  return mpc;
}

/* mpc NULL: random actions */
static double episode(orr_engine *engine, orr_env *env, orr_mpc *mpc, uint64_t seed) {
  orr_real observation[8], action[4];
  orr_random random = orr_random_new(seed, 99);
  orr_env_result result = {0};
  double sum = 0;
  orr_env_reset(env, seed, observation);
  if (mpc) {
    orr_mpc_reset(mpc);
    orr_mpc_seed(mpc, seed);
  }
  for (int t = 0; t < EPISODE && !result.terminated && !result.truncated; t++) {
    if (mpc)
      cr_assert_eq(orr_mpc_act(mpc, observation, action, NULL), ORR_OK, "%s",
                   orr_engine_message(engine));
    else orr_space_sample(orr_env_action_space(env), &random, action);
    cr_assert_eq(orr_env_step(env, action, observation, &result), ORR_OK);
    sum += (double)result.reward;
  }
  return sum;
}

static double mean_episode(orr_engine *engine, orr_env *env, orr_mpc *mpc, int starts) {
  double sum = 0;
  for (int i = 0; i < starts; i++) sum += episode(engine, env, mpc, (uint64_t)i);
  return sum / starts;
}

/* The figures of the project's table of planners on exact dynamics, N = 200 plans a step. */
Test(plan_env, cem_swings_the_pendulum_up) {
  orr_engine *engine = new_engine(2);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_planner_setting settings[] = {{"population", 40}, {"elites", 8}};
  orr_mpc *mpc = new_mpc(engine, env, "cem", settings, 2);
  double random = mean_episode(engine, env, NULL, 20), cem = mean_episode(engine, env, mpc, 20);
  cr_expect(fabs(random + 1143) < 150, "random actions: %g", random);
  cr_expect(fabs(cem + 143) < 25, "cem: %g", cem);
  orr_mpc_free(mpc);
  orr_env_free(env);
  orr_engine_free(engine);
}

Test(plan_env, cem_swings_the_cartpole_up) {
  orr_engine *engine = new_engine(2);
  orr_env *env = orr_env_new(engine, "cartpole", NULL);
  orr_planner_setting settings[] = {{"population", 40}};
  orr_mpc *mpc = new_mpc(engine, env, "cem", settings, 1);
  double random = mean_episode(engine, env, NULL, 3), cem = mean_episode(engine, env, mpc, 3);
  cr_expect(random < 15, "random actions: %g", random);
  cr_expect(fabs(cem - 179) < 5, "cem: %g", cem);
  orr_mpc_free(mpc);
  orr_env_free(env);
  orr_engine_free(engine);
}

Test(plan_env, returns_are_those_of_playing_the_plan) {
  orr_engine *engine = new_engine(2);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_objective *objective = orr_objective_env(engine, env, NULL);
  orr_real observation[8], plans[10 * HORIZON], returns[10];
  orr_random random = orr_random_new(3, 0);
  orr_env_result result;
  orr_env_reset(env, 5, observation);
  for (int i = 0; i < 10 * HORIZON; i++) plans[i] = (orr_real)(4 * orr_random_uniform(&random) - 2);
  for (int t = 0; t < 7; t++) orr_env_step(env, &plans[t], observation, &result); /* some state */
  orr_scoring scoring = {.plans = plans, .n = 10, .horizon = HORIZON, .returns = returns};
  orr_random before = *orr_env_random(env);
  cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK);
  cr_expect_eq(orr_env_random(env)->counter, before.counter);
  cr_expect_eq(orr_env_steps(env), 7);
  for (int i = 0; i < 10; i++) {
    orr_env *copy = orr_env_copy(env);
    double sum = 0;
    for (int t = 0; t < HORIZON; t++) {
      orr_env_step(copy, &plans[i * HORIZON + t], observation, &result);
      sum += (double)result.reward;
    }
    cr_expect_float_eq((double)returns[i], sum, 1e-4 * fabs(sum));
    orr_env_free(copy);
  }
  orr_objective_free(objective);
  orr_env_free(env);
  orr_engine_free(engine);
}

Test(plan_env, same_bits_on_any_number_of_threads) {
  double returns[2];
  orr_real plans[2][HORIZON];
  for (int threads = 1; threads <= 2; threads++) {
    orr_engine *engine = new_engine(threads);
    orr_env *env = orr_env_new(engine, "pendulum", NULL);
    orr_planner_setting settings[] = {{"population", 100}};
    orr_mpc *mpc = new_mpc(engine, env, "cem", settings, 1);
    returns[threads - 1] = episode(engine, env, mpc, 1);
    memcpy(plans[threads - 1], orr_mpc_plan(mpc), sizeof plans[0]);
    orr_mpc_free(mpc);
    orr_env_free(env);
    orr_engine_free(engine);
  }
  cr_expect_eq(returns[0], returns[1]);
  cr_expect_arr_eq(plans[0], plans[1], sizeof plans[0]);
}

/* ---- a world of the host's: x' = x + a + noise, the reward is x', the end is beyond 3 ---- */

static orr_status walk_reset(void *user, orr_random *random, double *state) {
  (void)user;
  (void)random;
  *state = 0;
  return ORR_OK;
}

static orr_status walk_step(void *user, double *state, const orr_real *action, orr_random *random,
                            orr_env_result *result) {
  double noise = *(double *)user;
  *state += (double)*action + (noise > 0 ? noise * orr_random_normal(random) : 0);
  result->reward = *state < -2.5 ? (orr_real)NAN : (orr_real)*state;
  result->terminated = *state > 3;
  return ORR_OK;
}

static orr_status walk_observe(void *user, const double *state, orr_real *observation) {
  (void)user;
  *observation = (orr_real)*state;
  return ORR_OK;
}

static orr_env *new_walk(orr_engine *engine, double *noise, bool safe) {
  orr_real low = -1, high = 1;
  orr_field position = {.name = "x"}, push = {.name = "push", .low = &low, .high = &high};
  orr_env_callbacks callbacks = orr_env_callbacks_defaults();
  callbacks.name = "walk";
  callbacks.user = noise;
  callbacks.observation = orr_space_new(engine, &position, 1);
  callbacks.state = orr_space_retain(callbacks.observation);
  callbacks.action = orr_space_new(engine, &push, 1);
  callbacks.thread_safe = safe;
  callbacks.reset = walk_reset;
  callbacks.step = walk_step;
  callbacks.observe = walk_observe;
  orr_env *env = orr_env_from_callbacks(engine, &callbacks);
  orr_space_free(callbacks.observation);
  orr_space_free(callbacks.state);
  orr_space_free(callbacks.action);
  orr_real observation;
  orr_env_reset(env, 0, &observation);
  return env;
}

Test(plan_env, ends_and_bad_numbers) {
  orr_engine *engine = new_engine(2);
  for (int safe = 0; safe < 2; safe++) {
    double noise = 0;
    orr_env *env = new_walk(engine, &noise, safe);
    orr_objective *objective = orr_objective_env(engine, env, NULL);
    /* up to the end at 4 and no further; down into NaN; to and fro */
    orr_real plans[3][6] = {{1, 1, 1, 1, 1, 1}, {-1, -1, -1, 1, 1, 1}, {1, -1, 1, -1, 1, -1}};
    orr_real returns[3];
    orr_scoring scoring = {.plans = plans[0], .n = 3, .horizon = 6, .returns = returns};
    cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK);
    cr_expect_eq(returns[0], 1 + 2 + 3 + 4);
    cr_expect(isnan(returns[1]));
    cr_expect_eq(returns[2], 3);
    orr_objective_free(objective);
    orr_env_free(env);
  }
  orr_engine_free(engine);
}

Test(plan_env, noise_is_averaged_over_particles_and_keyed_by_seed) {
  orr_real sets[4][2];
  for (int i = 0; i < 4; i++) {
    orr_engine *engine = new_engine(i % 2 + 1);
    double noise = 0.1;
    orr_env *env = new_walk(engine, &noise, i != 2);
    orr_simulator_options options = orr_simulator_options_defaults();
    options.particles = 500;
    orr_objective *objective = orr_objective_env(engine, env, &options);
    orr_real plans[2][2] = {{0, 0}, {0.5f, 0.5f}};
    orr_scoring scoring = {
        .plans = plans[0], .n = 2, .horizon = 2, .seed = i == 3 ? 8 : 7, .returns = sets[i]};
    cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK);
    /* deviation of a return: 0.1 sqrt(5), of the mean 0.01 */
    cr_expect_float_eq(sets[i][0], 0, 0.05);
    cr_expect_float_eq(sets[i][1], 1.5, 0.05);
    orr_objective_free(objective);
    orr_env_free(env);
    orr_engine_free(engine);
  }
  /* one thread, two threads, and callbacks that keep to one thread */
  cr_expect_arr_eq(sets[0], sets[1], sizeof sets[0]);
  cr_expect_arr_eq(sets[0], sets[2], sizeof sets[0]);
  cr_expect_neq(sets[0][0], sets[3][0]);
}

/* ---- a reward of the host's ---- */

struct reward {
  int rows, freed;
  orr_real t_low, t_high;
};

/* next - s is the push, so the reward is 2 a; the episode ends at x = 2 */
static orr_status reward_rows(void *user, int rows, const orr_real *s, const orr_real *a,
                              const orr_real *next, const orr_real *t, orr_real *rewards,
                              orr_real *terminated) {
  struct reward *reward = user;
  reward->rows += rows;
  for (int i = 0; i < rows; i++) {
    rewards[i] = next[i] - s[i] + a[i];
    terminated[i] = next[i] == 2;
    if (i == 0 || t[i] < reward->t_low) reward->t_low = t[i];
    if (i == 0 || t[i] > reward->t_high) reward->t_high = t[i];
  }
  return ORR_OK;
}

static void count_free(void *user) { ((struct reward *)user)->freed++; }

Test(plan_env, a_reward_function_replaces_the_environments) {
  orr_engine *engine = new_engine(2);
  double noise = 0;
  struct reward reward = {0};
  orr_env *env = new_walk(engine, &noise, true);
  orr_simulator_options options = orr_simulator_options_defaults();
  options.reward_function = reward_rows;
  options.user = &reward;
  options.free_user = count_free;
  options.particles = 2;
  orr_objective *objective = orr_objective_env(engine, env, &options);
  orr_real plans[3][5] = {{1, 1, 1, 1, 1}, {-1, -1, 1, 1, 1}, {0.5f, 0, 0, 0, 0.5f}}, returns[3];
  orr_scoring scoring = {.plans = plans[0], .n = 3, .horizon = 5, .step = 10, .returns = returns};
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK);
    cr_expect_eq(returns[0], 4); /* two steps of 2, then it is over */
    cr_expect_eq(returns[1], 2);
    cr_expect_eq(returns[2], 2);
    cr_expect_eq(reward.rows, (i + 1) * 3 * 2 * 5);
    cr_expect_eq(reward.t_low, 10);
    cr_expect_eq(reward.t_high, 14);
  }
  orr_objective_free(objective);
  cr_expect_eq(reward.freed, 1);
  orr_env_free(env);
  orr_engine_free(engine);
}

Test(plan_env, what_cannot_be_simulated_is_refused) {
  orr_engine *engine = new_engine(1);
  double noise = 0;
  orr_env *env = new_walk(engine, &noise, true);
  orr_simulator_options options = orr_simulator_options_defaults();
  options.particles = 0;
  cr_expect_null(orr_objective_env(engine, env, &options));
  cr_expect(strstr(orr_engine_message(engine), "0 particles"));
  cr_expect_null(orr_objective_env(engine, NULL, NULL));
  orr_env_free(env);
  orr_engine_free(engine);
}
