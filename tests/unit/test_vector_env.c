/* test_vector_env.c - many environments: the same bits on any number of threads, also where a copy
   fails on another thread; and memory that fails at every index. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "limited_memory.h"
#include "orrery/vector_env.h"

/* ---- a slow environment, so that its steps are shared out: x' = x + action + noise */

typedef struct slow {
  int64_t spins;
  double fault; /* a step from a state above it fails */
} slow;

static orr_status slow_reset(void *user, orr_random *random, double *state) {
  (void)user;
  state[0] = orr_random_uniform(random);
  return ORR_OK;
}

static orr_status slow_step(void *user, double *state, const orr_real *action, orr_random *random,
                            orr_env_result *result) {
  const slow *s = user;
  volatile double x = state[0];
  for (int64_t i = 0; i < s->spins; i++) x = x * 0.999999 + 1e-9;
  if (state[0] > s->fault) return ORR_CALLBACK;
  state[0] += (double)action[0] + 0.1 * orr_random_normal(random);
  result->reward = (orr_real)x;
  result->terminated = state[0] > 4;
  return ORR_OK;
}

static orr_status slow_observe(void *user, const double *state, orr_real *observation) {
  (void)user;
  observation[0] = (orr_real)state[0];
  return ORR_OK;
}

static orr_engine *new_engine(int threads) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = threads;
  return orr_engine_new(&options);
}

static orr_vector_env *new_slow(orr_engine *engine, slow *user, int64_t copies) {
  orr_field one = {.name = "x"};
  orr_env_callbacks calls = orr_env_callbacks_defaults();
  calls.name = "slow";
  calls.observation = calls.action = calls.state = orr_space_new(engine, &one, 1);
  calls.max_steps = 30;
  calls.thread_safe = true;
  calls.user = user;
  calls.reset = slow_reset;
  calls.step = slow_step;
  calls.observe = slow_observe;
  orr_env *env = orr_env_from_callbacks(engine, &calls);
  orr_space_free(calls.observation);
  orr_vector_env *many = orr_vector_env_new(env, copies, NULL);
  cr_assert(many, "%s", orr_engine_message(engine));
  orr_env_free(env);
  return many;
}

enum { COPIES = 13, STEPS = 200 };

/* What all copies see over the steps, from `threads` threads. */
static void play(int threads, orr_real seen[STEPS][COPIES]) {
  orr_engine *engine = new_engine(threads);
  slow user = {20000, INFINITY};
  orr_vector_env *many = new_slow(engine, &user, COPIES);
  orr_real actions[COPIES];
  for (int i = 0; i < COPIES; i++) actions[i] = (orr_real)(0.02 * i);
  cr_assert_eq(orr_vector_env_reset(many, 3), ORR_OK);
  for (int t = 0; t < STEPS; t++) {
    cr_assert_eq(orr_vector_env_step(many, actions), ORR_OK);
    memcpy(seen[t], orr_tensor_data(orr_vector_env_results(many)->observation), sizeof seen[t]);
  }
  int64_t count;
  const orr_vector_env_episode *list = orr_vector_env_finished(many, &count);
  cr_assert_geq(count, COPIES * (STEPS / 30));
  for (int64_t k = 0; k < count; k++) cr_assert(list[k].terminated || list[k].length == 30);
  orr_vector_env_free(many);
  orr_engine_free(engine);
}

Test(vector_env, threads_make_no_difference) {
  static orr_real one[STEPS][COPIES], more[STEPS][COPIES];
  play(1, one);
  for (int threads = 2; threads <= 4; threads++) {
    play(threads, more);
    cr_assert(memcmp(one, more, sizeof one) == 0, "%d threads", threads);
  }
}

Test(vector_env, a_failure_on_another_thread_is_told_here) {
  for (int threads = 1; threads <= 3; threads++) {
    orr_engine *engine = new_engine(threads);
    slow user = {20000, INFINITY};
    orr_vector_env *many = new_slow(engine, &user, COPIES);
    orr_real actions[COPIES] = {0}, before[COPIES];
    cr_assert_eq(orr_vector_env_reset(many, 3), ORR_OK);
    for (int t = 0; t < 5; t++) cr_assert_eq(orr_vector_env_step(many, actions), ORR_OK);
    const orr_vector_env_rows *rows = orr_vector_env_results(many);
    memcpy(before, orr_tensor_data(rows->observation), sizeof before);
    int first = 0;
    user.fault = 0.6;
    while (before[first] <= (orr_real)user.fault) cr_assert_lt(++first, COPIES);
    cr_assert_gt(first, 0);
    cr_assert_eq(orr_vector_env_step(many, actions), ORR_CALLBACK);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "copy %d: environment 'slow', step 6", first + 1);
    cr_assert(strstr(orr_engine_message(engine), wanted), "%s", orr_engine_message(engine));
    for (int i = 0; i < COPIES; i++) {
      double state;
      orr_env *env = orr_vector_env_copy(many, i);
      cr_assert_eq(orr_env_get_state(env, &state), ORR_OK);
      cr_assert_eq((orr_real)state, before[i]);
      cr_assert_eq(orr_env_steps(env), 5);
    }
    user.fault = INFINITY;
    cr_assert_eq(orr_vector_env_step(many, actions), ORR_OK);
    orr_vector_env_free(many);
    orr_engine_free(engine);
  }
}

/* ---- memory */

#define RETRY_MAKE(object, call)                         \
  while (!((object) = (call))) {                         \
    cr_assert_eq(orr_engine_status(engine), ORR_MEMORY); \
    failures++;                                          \
  }

#define RETRY(call)                                                  \
  for (orr_status status_; (status_ = (call)) != ORR_OK; failures++) \
  cr_assert_eq(status_, ORR_MEMORY, "%s", orr_engine_message(engine))

/* Steps of three copies into a replay; what fails is called again, and nothing of it is lost: the
   sum of the rewards kept is returned. */
static double scenario(orr_engine *engine, int *failed) {
  int failures = 0;
  orr_env *env;
  orr_env_options env_options = orr_env_options_defaults();
  env_options.max_steps = 70;
  RETRY_MAKE(env, orr_env_new(engine, "pendulum", &env_options));
  orr_field z = {.name = "z"};
  orr_replay_options replay_options = orr_replay_options_defaults();
  replay_options.observation = orr_env_observation_space(env);
  replay_options.action = orr_env_action_space(env);
  RETRY_MAKE(replay_options.observation_extras, orr_space_new(engine, &z, 1));
  orr_vector_env_options options = orr_vector_env_options_defaults();
  RETRY_MAKE(options.replay, orr_replay_new(engine, &replay_options));
  orr_vector_env *many;
  RETRY_MAKE(many, orr_vector_env_new(env, 3, &options));
  RETRY(orr_vector_env_reset(many, 1));
  orr_real ids[3] = {1, 2, 3}, actions[3] = {1, 0, -1};
  RETRY(orr_vector_env_set(many, "z", ids));
  for (int t = 0; t < 100; t++) {
    orr_status status = orr_vector_env_step(many, actions);
    while (status == ORR_MEMORY) {
      failures++;
      status = orr_vector_env_is_pending(many) ? orr_vector_env_settle(many, NULL)
                                               : orr_vector_env_step(many, actions);
    }
    cr_assert_eq(status, ORR_OK, "%s", orr_engine_message(engine));
  }
  RETRY(orr_vector_env_cut(many));
  int64_t transitions = orr_replay_transitions(options.replay);
  cr_assert_eq(transitions, 300);
  cr_assert_eq(orr_replay_episodes(options.replay), 6);
  orr_replay_output read[] = {{"reward", NULL}, {"z", NULL}};
  RETRY(orr_replay_read(options.replay, transitions, NULL, 2, read));
  double total = 0;
  const orr_real *reward = orr_tensor_data(read[0].tensor), *kept = orr_tensor_data(read[1].tensor);
  for (int64_t k = 0; k < transitions; k++) total += (double)(reward[k] * kept[k]);
  orr_tensor_free(read[0].tensor);
  orr_tensor_free(read[1].tensor);
  orr_vector_env_free(many);
  orr_replay_free(options.replay);
  orr_space_free(replay_options.observation_extras);
  orr_env_free(env);
  *failed = failures;
  return total;
}

Test(vector_env, every_allocation_fails_once, .timeout = 120) {
  long calls = 1;
  double expected = 0;
  for (long n = UNLIMITED; n < calls; n++) {
    struct memory memory = {.left = UNLIMITED, .once = true};
    orr_engine *engine = limited_engine(&memory, 1);
    cr_assert(engine);
    long before = memory.live, asked = memory.asked;
    int failures;
    memory.left = n;
    double total = scenario(engine, &failures);
    if (n < 0) expected = total;
    cr_assert_eq(total, expected, "allocation %ld", n);
    cr_assert_eq(failures, n >= 0, "allocation %ld: %d failures seen", n, failures);
    cr_assert_eq(memory.live, before, "allocation %ld: %ld bytes leaked", n, memory.live - before);
    if (n < 0) calls = memory.asked - asked;
    orr_engine_free(engine);
    cr_assert_eq(memory.live, 0);
  }
  cr_assert_gt(calls, 30);
}

/* Once everything has its size, a step takes no memory. */
Test(vector_env, a_step_takes_no_memory) {
  orr_engine *engine = new_engine(2);
  slow user = {0, INFINITY};
  orr_vector_env *many = new_slow(engine, &user, COPIES);
  orr_real actions[COPIES] = {0};
  cr_assert_eq(orr_vector_env_reset(many, 3), ORR_OK);
  for (int t = 0; t < 200; t++) {
    if (t == 100) orr_vector_env_forget(many);
    size_t before = orr_engine_allocations(engine);
    cr_assert_eq(orr_vector_env_step(many, actions), ORR_OK);
    cr_assert(t < 100 || orr_engine_allocations(engine) == before);
  }
  orr_vector_env_free(many);
  orr_engine_free(engine);
}

Test(vector_env, there_is_none_of_no_environments) {
  cr_expect_null(orr_vector_env_from(NULL, 0, NULL));
}
