/* test_replay.c - the store against a slow, obvious one that keeps every episode of numbers in a
   list. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orrery/replay.h"
#include "replay_plain.h"

Test(replay, capacity_is_checked) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 10);
  orr_replay_options options = orr_replay_options_defaults();
  options.observation = p.observation;
  options.action = p.action;
  int64_t bad[] = {0, -1, INT64_MIN, (int64_t)ORR_REPLAY_CAPACITY + 1, INT64_MAX};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    options.capacity = bad[i];
    cr_assert_null(orr_replay_new(engine, &options));
    cr_assert_eq(orr_engine_status(engine), ORR_ARGUMENT);
    cr_assert(strstr(orr_engine_message(engine), "capacity"), "%s", orr_engine_message(engine));
  }
  options.capacity = ORR_REPLAY_CAPACITY; /* takes no memory until it fills */
  orr_replay *replay = orr_replay_new(engine, &options);
  cr_assert(replay);
  cr_assert_eq(orr_replay_bytes(replay), 0);
  orr_replay_free(replay);
  plain_free(&p);
  orr_engine_free(engine);
}

/* Every (episode, t), every field, every window of several lengths, after every single addition. */
static void compare_along(int64_t capacity, int longest, int episodes, uint64_t seed) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, capacity);
  orr_random random = orr_random_new(seed, 0);
  for (int i = 0; i < episodes; i++) {
    int length = 1 + (int)orr_random_index(&random, (uint64_t)longest);
    plain_add(&p, &random, length, orr_random_index(&random, 2));
    plain_compare(&p);
  }
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay, like_the_plain_one) { compare_along(60, 13, 60, 1); }
Test(replay, episodes_of_one_step) { compare_along(7, 1, 40, 2); }
Test(replay, capacity_of_one) { compare_along(1, 1, 20, 3); }
Test(replay, episodes_as_long_as_the_capacity) { compare_along(9, 9, 60, 4); }
Test(replay, without_wrapping) { compare_along(100000, 17, 50, 5); }

Test(replay, many_chunks) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 30000);
  orr_random random = orr_random_new(6, 0);
  size_t before = 0;
  for (int i = 0; i < 120; i++) {
    plain_add(&p, &random, 1 + (int)orr_random_index(&random, 1500), i % 3 == 0);
    if (i == 2) before = orr_replay_bytes(p.replay);
  }
  plain_compare_transitions(&p);
  size_t row = 88; /* no smaller than a row of the test's fields */
  cr_assert_lt(before, 12000 * row, "%zu bytes for 3 episodes", before);
  cr_assert_lt(orr_replay_bytes(p.replay), 50000 * row, "%zu", orr_replay_bytes(p.replay));
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay, an_episode_longer_than_the_capacity_is_refused) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 5);
  orr_random random = orr_random_new(1, 0);
  plain_add(&p, &random, 5, true);
  orr_episode *episode = orr_episode_new(p.replay);
  orr_real observation[PLAIN_OBSERVATION] = {0}, action[PLAIN_ACTION] = {0};
  cr_assert_eq(orr_episode_finish(episode, true, false), ORR_STATE);
  cr_assert_eq(orr_episode_step(episode, action, 0, observation), ORR_STATE);
  cr_assert_eq(orr_episode_start(episode, observation), ORR_OK);
  cr_assert_eq(orr_episode_finish(episode, true, false), ORR_STATE);
  for (int i = 0; i < 5; i++)
    cr_assert_eq(orr_episode_step(episode, action, 0, observation), ORR_OK);
  cr_assert_eq(orr_episode_step(episode, action, 0, observation), ORR_ARGUMENT);
  cr_assert(strstr(orr_engine_message(engine), "capacity"));
  plain_compare(&p); /* nothing entered */
  orr_episode_free(episode);
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay, sampling_is_uniform_and_seeded) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 40);
  orr_random random = orr_random_new(7, 0);
  for (int i = 0; i < 30; i++) plain_add(&p, &random, 1 + i % 9, true);
  int64_t n = orr_replay_transitions(p.replay);
  enum { DRAWS = 200000, MOST = 40 };
  static int64_t draws[DRAWS], again[DRAWS];
  orr_random a = orr_random_new(3, 0), b = orr_random_new(3, 0);
  cr_assert_eq(orr_replay_sample(p.replay, &a, DRAWS, draws), ORR_OK);
  cr_assert_eq(orr_replay_sample(p.replay, &b, DRAWS, again), ORR_OK);
  cr_assert_arr_eq(draws, again, sizeof draws);
  int hits[MOST] = {0};
  for (int i = 0; i < DRAWS; i++) hits[draws[i]]++;
  double expected = (double)DRAWS / (double)n;
  for (int64_t i = 0; i < n; i++)
    cr_assert_lt(fabs(hits[i] - expected), 6 * sqrt(expected), "transition %d: %d", (int)i,
                 hits[i]);

  enum { LENGTH = 4 };
  cr_assert_eq(orr_replay_sample_windows(p.replay, &a, LENGTH, true, DRAWS, draws), ORR_OK);
  memset(hits, 0, sizeof hits);
  for (int i = 0; i < DRAWS; i++) hits[draws[i]]++;
  int64_t windows = 0, first = 0;
  for (int64_t e = 0; e < orr_replay_episodes(p.replay); e++) {
    orr_episode_info info;
    cr_assert_eq(orr_replay_episode(p.replay, e, &info), ORR_OK);
    cr_assert_eq(info.first, first);
    for (int64_t t = 0; t < info.length; t++, first++) {
      bool fits = t + LENGTH <= info.length;
      windows += fits;
      cr_assert_eq(hits[first] > 0, fits);
    }
  }
  cr_assert_eq(orr_replay_windows(p.replay, LENGTH), windows);
  expected = (double)DRAWS / (double)windows;
  for (int64_t i = 0; i < n; i++)
    if (hits[i]) cr_assert_lt(fabs(hits[i] - expected), 6 * sqrt(expected));
  cr_assert_eq(orr_replay_sample_windows(p.replay, &a, 10, true, 1, draws), ORR_STATE);
  cr_assert(strstr(orr_engine_message(engine), "longest"));
  cr_assert_eq(orr_replay_windows(p.replay, 10), 0);
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay, an_empty_one_says_so) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 40);
  int64_t index;
  cr_assert_eq(orr_replay_sample(p.replay, NULL, 1, &index), ORR_STATE);
  cr_assert_eq(orr_replay_sample_windows(p.replay, NULL, 3, true, 1, &index), ORR_STATE);
  cr_assert_eq(orr_replay_windows(p.replay, 1), 0);
  orr_replay_output output = {"reward", NULL};
  cr_assert_eq(orr_replay_read(p.replay, 0, NULL, 1, &output), ORR_OK);
  cr_assert_eq(orr_tensor_count(output.tensor), 0);
  orr_tensor_free(output.tensor);
  output.tensor = NULL;
  cr_assert_eq(orr_replay_read(p.replay, 1, NULL, 1, &output), ORR_ARGUMENT);
  cr_assert_null(output.tensor);
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay, errors_of_reading_name_the_field) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 40);
  orr_random random = orr_random_new(7, 0);
  plain_add(&p, &random, 5, true);
  orr_replay_output output = {"velocty", NULL};
  cr_assert_eq(orr_replay_read(p.replay, 1, NULL, 1, &output), ORR_FIELD);
  cr_assert(strstr(orr_engine_message(engine), "did you mean 'velocity'"), "%s",
            orr_engine_message(engine));
  output.field = "next_action";
  cr_assert_eq(orr_replay_read(p.replay, 1, NULL, 1, &output), ORR_FIELD);
  output.field = "mask";
  cr_assert_eq(orr_replay_read(p.replay, 1, NULL, 1, &output), ORR_FIELD);
  output = (orr_replay_output){"reward", orr_tensor_new(engine, ORR_REAL, 1, (int64_t[]){3})};
  cr_assert_eq(orr_replay_read(p.replay, 2, NULL, 1, &output), ORR_SHAPE);
  cr_assert_eq(orr_replay_read(p.replay, 3, NULL, 1, &output), ORR_OK);
  cr_assert_eq(((orr_real *)orr_tensor_data(output.tensor))[2], p.episodes[0].reward[2]);
  int64_t outside[] = {0, 5, 1};
  cr_assert_eq(orr_replay_read(p.replay, 3, outside, 1, &output), ORR_ARGUMENT);
  orr_tensor_free(output.tensor);
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay, extra_fields_cannot_hide_others) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 40);
  orr_replay_options options = orr_replay_options_defaults();
  options.observation = p.observation;
  options.action = p.action;
  const char *names[] = {"velocity", "torque", "reward", "mask", "next_goal"};
  for (int i = 0; i < 5; i++) {
    orr_field field = {.name = names[i]};
    options.step_extras = orr_space_new(engine, &field, 1);
    cr_assert_null(orr_replay_new(engine, &options));
    cr_assert_eq(orr_engine_status(engine), ORR_FIELD);
    orr_space_free(options.step_extras);
  }
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay, bad_numbers_do_not_enter) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 40);
  orr_random random = orr_random_new(7, 0);
  plain_add(&p, &random, 5, true);
  orr_episode *episode = orr_episode_new(p.replay);
  orr_real good[PLAIN_OBSERVATION] = {0}, bad[PLAIN_OBSERVATION] = {0}, action[PLAIN_ACTION] = {0};
  bad[2] = (orr_real)NAN;
  cr_assert_eq(orr_episode_start(episode, bad), ORR_NUMBER);
  cr_assert_eq(orr_episode_start(episode, good), ORR_OK);
  cr_assert_eq(orr_episode_step(episode, action, 1, good), ORR_OK);
  cr_assert_eq(orr_episode_step(episode, action, 1, bad), ORR_NUMBER);
  const char *message = orr_engine_message(engine);
  cr_assert(strstr(message, "episode 2") && strstr(message, "step 2") &&
                strstr(message, "'velocity'"),
            "%s", message);
  cr_assert_eq(orr_episode_step(episode, action, (orr_real)INFINITY, good), ORR_NUMBER);
  cr_assert(strstr(orr_engine_message(engine), "'reward'"), "%s", orr_engine_message(engine));
  action[0] = (orr_real)-INFINITY;
  cr_assert_eq(orr_episode_step(episode, action, 0, good), ORR_NUMBER);
  cr_assert(strstr(orr_engine_message(engine), "action 'torque'"), "%s",
            orr_engine_message(engine));
  cr_assert_eq(orr_episode_length(episode), 1);
  plain_compare(&p);
  cr_assert_eq(orr_episode_finish(episode, false, false), ORR_OK);
  orr_episode_info info;
  orr_replay_episode(p.replay, 1, &info);
  cr_assert(info.truncated && !info.terminated && info.length == 1);
  orr_episode_free(episode);
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay, bad_numbers_are_discarded_or_clipped) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 40);
  for (int clip = 0; clip < 2; clip++) {
    orr_replay_options options = orr_replay_options_defaults();
    options.observation = p.observation;
    options.action = p.action;
    options.bad_numbers = clip ? ORR_BAD_CLIP : ORR_BAD_DISCARD;
    orr_replay *replay = orr_replay_new(engine, &options);
    orr_episode *episode = orr_episode_new(replay);
    orr_real observation[PLAIN_OBSERVATION] = {0}, action[PLAIN_ACTION] = {0};
    observation[2] = (orr_real)INFINITY; /* velocity is at most 8 */
    cr_assert_eq(orr_episode_start(episode, observation), ORR_OK);
    observation[2] = 0;
    cr_assert_eq(orr_episode_step(episode, action, (orr_real)NAN, observation), ORR_OK);
    cr_assert_eq(orr_episode_finish(episode, true, false), ORR_OK);
    cr_assert_eq(orr_episode_start(episode, observation), ORR_OK);
    cr_assert_eq(orr_episode_step(episode, action, (orr_real)-INFINITY, observation), ORR_OK);
    cr_assert_eq(orr_episode_finish(episode, true, false), ORR_OK);
    orr_replay_counts counts = orr_replay_count(replay);
    cr_assert_eq(counts.discarded, clip ? 0 : 2);
    cr_assert_eq(counts.clipped, clip ? 3 : 0);
    cr_assert_eq(orr_replay_episodes(replay), clip ? 2 : 0);
    if (clip) {
      orr_replay_output outputs[] = {{"velocity", NULL}, {"reward", NULL}};
      cr_assert_eq(orr_replay_read(replay, 2, NULL, 2, outputs), ORR_OK);
      orr_real *velocity = orr_tensor_data(outputs[0].tensor),
               *reward = orr_tensor_data(outputs[1].tensor);
      cr_assert(velocity[0] == 8 && velocity[1] == 0);
      cr_assert(reward[0] == 0 && reward[1] == -(orr_real)ORR_REPLAY_LARGEST);
      for (int i = 0; i < 2; i++) orr_tensor_free(outputs[i].tensor);
    }
    orr_episode_free(episode);
    orr_replay_free(replay);
  }
  plain_free(&p);
  orr_engine_free(engine);
}
