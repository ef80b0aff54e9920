/* test_env.c - spaces, and what every environment promises: ends, failures, states, copies,
   rollouts. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "limited_memory.h"
#include "orrery/env.h"

static orr_engine *engine;

static void open_engine(void) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  engine = orr_engine_new(&options);
}

static void close_engine(void) { orr_engine_free(engine); }

TestSuite(space, .init = open_engine, .fini = close_engine);
TestSuite(env, .init = open_engine, .fini = close_engine);

static void expect_message(const char *part) {
  const char *message = orr_engine_message(engine);
  cr_expect(strstr(message, part), "'%s' is not in: %s", part, message);
}

Test(space, lays_fields_out_in_order) {
  orr_real low[2] = {-1, -2}, high[2] = {1, 2};
  orr_field fields[] = {{.name = "cos"},
                        {.name = "tip", .axes = 1, .shape = {2}, .low = low, .high = high},
                        {.name = "image", .axes = 3, .shape = {4, 5, 3}, .dtype = ORR_BYTE},
                        {.name = "gear", .n = 4}};
  orr_space *space = orr_space_new(engine, fields, 4);
  cr_assert(space);
  cr_expect_eq(orr_space_size(space), 1 + 2 + 60 + 1);
  cr_expect_eq(orr_space_field(space, 2)->offset, 3);
  cr_expect_eq(orr_space_field(space, 2)->count, 60);
  cr_expect_eq(orr_space_high(space)[63], 3);
  cr_expect(isinf(orr_space_low(space)[0]));
  char text[128];
  cr_expect_str_eq(orr_space_element_name(space, 2, text, sizeof text), "tip[2]");
  cr_expect_str_eq(orr_space_element_name(space, 3 + 59, text, sizeof text), "image[4,5,3]");
  cr_expect_str_eq(orr_space_element_name(space, 63, text, sizeof text), "gear");
  cr_expect_str_eq(orr_space_describe(space, text, sizeof text), "cos, tip[2], image[4,5,3], gear");
  orr_space_free(space);
}

Test(space, names_the_nearest_field) {
  orr_field fields[] = {{.name = "cos"}, {.name = "sin"}, {.name = "velocity"}};
  orr_space *space = orr_space_new(engine, fields, 3);
  cr_expect_null(orr_space_lookup(space, "velocty", "observation"));
  expect_message(
      "no observation field 'velocty'; did you mean 'velocity'? There are: cos, sin, velocity");
  cr_expect_null(orr_space_lookup(space, "temperature", "observation"));
  expect_message("there are: cos, sin, velocity");
  cr_expect_eq(orr_space_lookup(space, "sin", "observation")->offset, 1);
  orr_space_free(space);
}

Test(space, refuses_what_makes_no_sense) {
  orr_real one = 1, nan = (orr_real)NAN;
  orr_field bad[][2] = {{{.name = "x"}, {.name = "x"}},
                        {{.name = "2x"}, {.name = "y"}},
                        {{.name = NULL}, {.name = "y"}},
                        {{.name = "x", .low = &one, .high = (orr_real[]){0}}, {.name = "y"}},
                        {{.name = "x", .low = &nan}, {.name = "y"}},
                        {{.name = "x", .axes = 1, .shape = {0}}, {.name = "y"}},
                        {{.name = "x", .axes = 2, .shape = {INT64_MAX, INT64_MAX}}, {.name = "y"}},
                        {{.name = "x", .axes = ORR_AXES + 1}, {.name = "y"}},
                        {{.name = "x", .n = -1}, {.name = "y"}}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    cr_expect_null(orr_space_new(engine, bad[i], 2), "case %zu was accepted", i);
  cr_expect_null(orr_space_new(engine, bad[0], 0));
}

Test(space, clips_samples_and_finds_what_is_outside) {
  orr_real low = -2, high = 3;
  orr_field fields[] = {{.name = "a", .low = &low, .high = &high},
                        {.name = "k", .n = 3},
                        {.name = "free"}};
  orr_space *space = orr_space_new(engine, fields, 3);
  orr_real values[3] = {5, (orr_real)1.6, 1e6f};
  cr_expect_eq(orr_space_first_outside(space, values, 0), 0);
  orr_space_clip(space, values);
  cr_expect(values[0] == 3 && values[1] == 2 && values[2] == 1e6f);
  cr_expect_eq(orr_space_first_outside(space, values, 0), -1);
  values[1] = (orr_real)1.5;
  cr_expect_eq(orr_space_first_outside(space, values, 0), 1);
  values[1] = (orr_real)NAN;
  cr_expect_eq(orr_space_first_outside(space, values, 0), 1);
  cr_expect_eq(orr_space_first_non_finite(space, values), 1);
  orr_random random = orr_random_new(1, 0);
  double sum = 0;
  int seen[3] = {0};
  for (int i = 0; i < 3000; i++) {
    orr_space_sample(space, &random, values);
    cr_assert_eq(orr_space_first_outside(space, values, 0), -1);
    sum += (double)values[0];
    seen[(int)values[1]]++;
  }
  cr_expect_float_eq(sum / 3000, 0.5, 0.1);
  for (int k = 0; k < 3; k++) cr_expect(seen[k] > 850 && seen[k] < 1150);
  orr_space_free(space);
}

Test(space, equality_looks_at_everything) {
  orr_real low = -2;
  orr_field a[] = {{.name = "a", .low = &low}, {.name = "b"}}, b[] = {{.name = "a"}, {.name = "b"}};
  orr_space *x = orr_space_new(engine, a, 2), *y = orr_space_new(engine, a, 2),
            *z = orr_space_new(engine, b, 2);
  cr_expect(orr_space_equal(x, y));
  cr_expect_not(orr_space_equal(x, z));
  orr_space_free(x);
  orr_space_free(y);
  orr_space_free(z);
}

/* An environment of the test's own: counts up by the action; misbehaves on demand. */
typedef struct chaos {
  int terminate_at, fail_at, nan_reward_at, nan_seen_at, restored, freed;
} chaos;

static orr_status chaos_reset(void *user, orr_random *random, double *state) {
  (void)user;
  state[0] = 0;
  state[1] = floor(100 * orr_random_uniform(random));
  return ORR_OK;
}

static orr_status chaos_step(void *user, double *state, const orr_real *action, orr_random *random,
                             orr_env_result *result) {
  const chaos *c = user;
  state[0] += 1;
  state[1] += (double)action[0];
  orr_random_bits(random);
  if (state[0] == c->fail_at) return ORR_IO;
  result->reward = state[0] == c->nan_reward_at ? (orr_real)NAN : (orr_real)state[1];
  result->terminated = state[0] == c->terminate_at;
  return ORR_OK;
}

static orr_status chaos_observe(void *user, const double *state, orr_real *observation) {
  const chaos *c = user;
  observation[0] =
      state[0] > 0 && state[0] == c->nan_seen_at ? (orr_real)INFINITY : (orr_real)state[0];
  observation[1] = (orr_real)state[1];
  return ORR_OK;
}

static orr_status chaos_restore(void *user, const double *state) {
  (void)state;
  ((chaos *)user)->restored++;
  return ORR_OK;
}

static void chaos_free(void *user) { ((chaos *)user)->freed++; }

static orr_env *chaos_env(chaos *c, int64_t max_steps, bool with_state, bool thread_safe) {
  orr_real low = -1, high = 1;
  orr_field seen[] = {{.name = "count"}, {.name = "total"}},
            act[] = {{.name = "push", .low = &low, .high = &high}};
  orr_env_callbacks calls = orr_env_callbacks_defaults();
  calls.name = "chaos";
  calls.observation = orr_space_new(engine, seen, 2);
  calls.action = orr_space_new(engine, act, 1);
  calls.state = with_state ? orr_space_new(engine, seen, 2) : NULL;
  calls.max_steps = max_steps;
  calls.thread_safe = thread_safe;
  calls.user = c;
  calls.reset = chaos_reset;
  calls.step = chaos_step;
  calls.observe = chaos_observe;
  calls.restore = thread_safe ? NULL : chaos_restore;
  calls.free_user = chaos_free;
  orr_env *env = orr_env_from_callbacks(engine, &calls);
  orr_space_free(calls.observation);
  orr_space_free(calls.action);
  orr_space_free(calls.state);
  cr_assert(env);
  return env;
}

/* One that keeps its state to itself, and whose second step fails. */
typedef struct counter {
  int count;
} counter;

static orr_status hidden_reset(void *user, orr_random *random, double *state) {
  (void)random, (void)state;
  ((counter *)user)->count = 0;
  return ORR_OK;
}

static orr_status hidden_step(void *user, double *state, const orr_real *action, orr_random *random,
                              orr_env_result *result) {
  (void)state, (void)action, (void)random, (void)result;
  if (++((counter *)user)->count < 2) return ORR_OK;
  return orr_engine_fail(engine, ORR_CALLBACK, "the sensor is gone");
}

static orr_status hidden_observe(void *user, const double *state, orr_real *observation) {
  (void)state;
  observation[0] = (orr_real)((counter *)user)->count;
  return ORR_OK;
}

static orr_env *hidden_env(counter *c) {
  orr_field x = {.name = "x"};
  orr_env_callbacks calls = orr_env_callbacks_defaults();
  calls.name = "hidden";
  calls.observation = orr_space_new(engine, &x, 1);
  calls.action = orr_space_new(engine, &x, 1);
  calls.user = c;
  calls.reset = hidden_reset;
  calls.step = hidden_step;
  calls.observe = hidden_observe;
  orr_env *env = orr_env_from_callbacks(engine, &calls);
  orr_space_free(calls.observation);
  orr_space_free(calls.action);
  return env;
}

Test(env, terminated_and_truncated_are_kept_apart) {
  orr_real o[2], a = 0;
  orr_env_result r;
  for (int limit = 2; limit <= 4; limit++) {
    chaos c = {.terminate_at = 3};
    orr_env *env = chaos_env(&c, limit, true, true);
    orr_env_reset(env, 1, o);
    int steps = 0;
    do {
      cr_assert_eq(orr_env_step(env, &a, o, &r), ORR_OK);
      steps++;
    } while (!r.terminated && !r.truncated);
    cr_expect_eq(steps, limit < 3 ? limit : 3);
    cr_expect_eq(r.terminated, limit >= 3); /* the task's end goes before the time's */
    cr_expect_eq(r.truncated, limit < 3);
    cr_expect(orr_env_ended(env));
    cr_expect_eq(orr_env_step(env, &a, o, &r), ORR_STATE);
    expect_message("environment 'chaos': the episode has ended; call reset first");
    orr_env_free(env);
    cr_expect_eq(c.freed, 1);
  }
}

Test(env, a_step_before_reset_is_refused) {
  chaos c = {0};
  orr_env *env = chaos_env(&c, 0, true, true);
  orr_real o[2], a = 0;
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_STATE);
  expect_message("has not begun");
  orr_env_free(env);
}

Test(env, a_failed_step_changes_nothing) {
  chaos c = {.fail_at = 3};
  orr_env *env = chaos_env(&c, 0, true, true);
  orr_real o[2], a = 1, bad = (orr_real)NAN, kept[2];
  double before[2], after[2];
  orr_env_reset(env, 5, o);
  orr_env_step(env, &a, o, NULL);
  orr_env_step(env, &a, o, NULL);
  memcpy(kept, o, sizeof o);
  orr_env_get_state(env, before);
  orr_random random = *orr_env_random(env);
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_IO);
  expect_message("environment 'chaos', step 3: step failed (i/o error)");
  c.fail_at = 0;
  c.nan_reward_at = 3;
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_NUMBER);
  expect_message("environment 'chaos', step 3: the reward is NaN");
  c.nan_reward_at = 0;
  c.nan_seen_at = 3;
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_NUMBER);
  expect_message("environment 'chaos', step 3: observation field 'count' is inf");
  cr_expect_eq(orr_env_step(env, &bad, o, NULL), ORR_NUMBER);
  expect_message("environment 'chaos', step 3: action field 'push' is NaN");
  orr_env_get_state(env, after);
  cr_expect_arr_eq(before, after, sizeof before);
  cr_expect_arr_eq(kept, o, sizeof o);
  cr_expect_arr_eq(&random, orr_env_random(env), sizeof random);
  cr_expect_eq(orr_env_steps(env), 2);
  c.nan_seen_at = 0;
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_OK);
  cr_expect_eq(o[0], 3);
  orr_env_free(env);
}

Test(env, without_a_state_a_failed_step_ends_the_episode) {
  counter c = {0};
  orr_env *env = hidden_env(&c);
  orr_real o[1], a = 0;
  double state[2];
  cr_expect_null(orr_env_state_space(env));
  cr_expect_eq(orr_env_get_state(env, state), ORR_STATE);
  expect_message("keeps its state to itself");
  cr_expect_eq(orr_env_set_state(env, state), ORR_STATE);
  cr_expect_null(orr_env_copy(env));
  expect_message("runs on one thread only");
  orr_env_reset(env, 1, o);
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_OK);
  cr_expect_eq(o[0], 1);
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_CALLBACK);
  expect_message("environment 'hidden', step 2: the sensor is gone");
  cr_expect(orr_env_ended(env));
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_STATE);
  cr_expect_eq(orr_env_reset(env, 1, o), ORR_OK);
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_OK);
  orr_env_free(env);
}

Test(env, actions_are_moved_into_bounds) {
  chaos c = {0};
  orr_env *env = chaos_env(&c, 0, true, true);
  orr_real o[2], a = 50;
  orr_env_reset(env, 1, o);
  orr_real start = o[1];
  orr_env_step(env, &a, o, NULL);
  cr_expect_eq(o[1], start + 1);
  cr_expect_eq(a, 50);
  orr_env_free(env);
}

Test(env, restore_is_told_of_states_set_from_outside) {
  chaos c = {.fail_at = 4};
  orr_env *env = chaos_env(&c, 0, true, false);
  orr_real o[2], a = 1, rewards[2];
  double state[2] = {2, 10};
  orr_env_reset(env, 1, o);
  cr_expect_eq(orr_env_set_state(env, state), ORR_OK);
  cr_expect_eq(c.restored, 1);
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_OK);
  cr_expect_eq(orr_env_step(env, &a, o, NULL), ORR_IO); /* told to go back */
  cr_expect_eq(c.restored, 2);
  cr_expect_eq(orr_env_rollout(env, state, (orr_real[]){1, 1}, 1, rewards, NULL, NULL, NULL),
               ORR_OK);
  cr_expect_eq(c.restored, 4);
  orr_env_free(env);
}

Test(env, rollouts_agree_with_steps_and_leave_no_trace) {
  chaos c = {.terminate_at = 5};
  orr_env *env = chaos_env(&c, 3, true, true);
  orr_real o[2], actions[7] = {1, -1, (orr_real)0.5, 9, 1, 1, 1}, rewards[7], seen[8][2];
  double state[2] = {0, 20}, before[2], after[2];
  int steps;
  orr_env_reset(env, 1, o);
  orr_env_step(env, actions, o, NULL);
  orr_env_get_state(env, before);
  cr_expect_eq(orr_env_rollout(env, state, actions, 7, rewards, seen[0], &steps, NULL), ORR_OK);
  orr_env_get_state(env, after);
  cr_expect_arr_eq(before, after, sizeof before);
  cr_expect_eq(orr_env_steps(env), 1);
  cr_expect_eq(steps, 5); /* not the limit of 3 */
  orr_real expected[7] = {21, 20, (orr_real)20.5, (orr_real)21.5, (orr_real)22.5, 0, 0};
  for (int t = 0; t < 7; t++)
    cr_expect_eq(rewards[t], expected[t], "reward %d is %g", t, (double)rewards[t]);
  for (int t = 0; t < 8; t++) cr_expect_eq(seen[t][0], t < 5 ? t : 5);
  c = (chaos){.nan_reward_at = 3};
  cr_expect_eq(orr_env_rollout(env, state, actions, 7, rewards, seen[0], &steps, NULL), ORR_NUMBER);
  cr_expect_eq(steps, 2);
  for (int t = 2; t < 7; t++) cr_expect(isnan(rewards[t]));
  orr_env_free(env);
}

Test(env, copies_go_their_own_way) {
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_real o[3], p[3], a = 2, b = -2;
  orr_env_reset(env, 3, o);
  orr_env *copy = orr_env_copy(env);
  cr_assert(copy);
  cr_expect_eq(orr_env_observation_space(env), orr_env_observation_space(copy));
  orr_env_step(copy, &b, p, NULL);
  orr_env_observe(env, p);
  cr_expect_arr_eq(o, p, sizeof o);
  orr_env_step(env, &a, o, NULL);
  orr_env_observe(copy, p);
  cr_expect_neq(o[2], p[2]);
  orr_env_free(env); /* the copy lives on */
  cr_expect_eq(orr_env_step(copy, &a, o, NULL), ORR_OK);
  orr_env_free(copy);
}

Test(env, discrete_actions_outside_are_refused) {
  orr_field two[] = {{.name = "count"}, {.name = "total"}}, act = {.name = "gear", .n = 3};
  chaos c = {0};
  orr_env_callbacks calls = orr_env_callbacks_defaults();
  calls.name = "gears";
  calls.observation = orr_space_new(engine, two, 2);
  calls.state = orr_space_new(engine, two, 2);
  calls.action = orr_space_new(engine, &act, 1);
  calls.user = &c;
  calls.reset = chaos_reset;
  calls.step = chaos_step;
  calls.observe = chaos_observe;
  orr_env *env = orr_env_from_callbacks(engine, &calls);
  orr_real o[2], bad[] = {3, -1, (orr_real)0.5}, good = 2;
  orr_env_reset(env, 1, o);
  for (int i = 0; i < 3; i++) {
    cr_expect_eq(orr_env_step(env, &bad[i], o, NULL), ORR_ARGUMENT);
    expect_message("action field 'gear'");
  }
  cr_expect_eq(orr_env_step(env, &good, o, NULL), ORR_OK);
  calls.step = NULL;
  cr_expect_null(orr_env_from_callbacks(engine, &calls));
  expect_message("environment 'gears' needs");
  orr_space_free(calls.observation);
  orr_space_free(calls.state);
  orr_space_free(calls.action);
  orr_env_free(env);
}

Test(env, unknown_names_and_bad_options_are_named) {
  orr_env_setting misspelt = {"gravty", 9}, hostile = {"length", -1}, odd = {"mass", NAN};
  orr_env_options options = orr_env_options_defaults();
  cr_expect_null(orr_env_new(engine, "pendulom", NULL));
  expect_message("no environment 'pendulom'; did you mean 'pendulum'?");
  options.settings_count = 1;
  options.settings = &misspelt;
  cr_expect_null(orr_env_new(engine, "pendulum", &options));
  expect_message("environment 'pendulum' has no option 'gravty'; did you mean 'gravity'?");
  options.settings = &hostile;
  cr_expect_null(orr_env_new(engine, "pendulum", &options));
  expect_message("length is -1; it must be 0.01 to 100");
  options.settings = &odd;
  cr_expect_null(orr_env_new(engine, "pendulum", &options));
  options.settings_count = 0;
  options.max_steps = -2;
  cr_expect_null(orr_env_new(engine, "pendulum", &options));
  expect_message("max_steps is -2");
}

static bool scenario(orr_engine *e) {
  orr_env *env = orr_env_new(e, "reacher", NULL), *copy = env ? orr_env_copy(env) : NULL;
  orr_canvas *canvas = copy ? orr_canvas_new(e, 64, 64) : NULL;
  orr_plot *plot = canvas ? orr_plot_new(e, &(orr_plot_options){.size = sizeof(orr_plot_options),
                                                                .width = 240,
                                                                .height = 180,
                                                                .title = "t",
                                                                .x_low = NAN,
                                                                .x_high = NAN,
                                                                .y_low = NAN,
                                                                .y_high = NAN})
                          : NULL;
  double y[3] = {1, 2, 3};
  orr_canvas *drawn = NULL, *strip = NULL;
  if (plot &&
      !orr_plot_add(plot, &(orr_series){.label = "s", .y = y, .low = y, .high = y, .count = 3}))
    drawn = orr_plot_draw(plot);
  orr_real o[10];
  bool good = drawn && !orr_env_reset(copy, 1, o) && !orr_env_draw(copy, canvas);
  orr_picture frame = {good ? orr_canvas_pixels(canvas) : NULL, 64, 64, 3};
  if (good) strip = orr_film_strip(e, &frame, NULL, 1, 0, "strip");
  orr_canvas_free(strip);
  orr_canvas_free(drawn);
  orr_plot_free(plot);
  orr_canvas_free(canvas);
  orr_env_free(copy);
  orr_env_free(env);
  return strip != NULL;
}

Test(env, no_memory_leaks_wherever_it_runs_out) {
  int refused = 0;
  for (long n = 0;; n++) {
    struct memory memory = {.left = UNLIMITED, .once = true};
    orr_engine *e = limited_engine(&memory, 1);
    long before = memory.live;
    memory.left = n;
    bool done = scenario(e);
    memory.left = UNLIMITED;
    cr_assert_eq(memory.live, before, "allocation %ld: %ld bytes were not freed", n,
                 memory.live - before);
    if (!done && orr_engine_status(e) !=
                     ORR_MEMORY) /* drawing goes on without a stroke it has no memory for */
      cr_assert(false, "allocation %ld: %s", n, orr_engine_message(e));
    cr_assert(scenario(e), "allocation %ld: the engine is no longer usable", n);
    orr_engine_free(e);
    if (memory.failed == 0) break;
    refused += !done;
    cr_assert_lt(n, 500);
  }
  cr_expect_gt(refused, 20, "%d", refused);
}
