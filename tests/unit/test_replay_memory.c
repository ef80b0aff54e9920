/* test_replay_memory.c - an allocation fails, at every index in turn: the status says so, nothing
   leaks, the replay is as it was before the call, and the same call then works. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "limited_memory.h"
#include "orrery/priority.h"
#include "orrery/relabel.h"

static char path[64];

/* Tries until it works; every failure must be for memory. */
#define RETRY(call)                                                        \
  do {                                                                     \
    orr_status status_;                                                    \
    int64_t n_ = replay ? orr_replay_transitions(replay) : 0;              \
    while ((status_ = (call)) != ORR_OK) {                                 \
      cr_assert_eq(status_, ORR_MEMORY, "%s", orr_engine_message(engine)); \
      if (replay) cr_assert_eq(orr_replay_transitions(replay), n_);        \
      failures++;                                                          \
    }                                                                      \
  } while (0)

#define RETRY_MAKE(object, call)                         \
  while (!((object) = (call))) {                         \
    cr_assert_eq(orr_engine_status(engine), ORR_MEMORY); \
    failures++;                                          \
  }

static int fill(orr_engine *engine, orr_replay *replay) {
  int failures = 0;
  orr_episode *episode;
  RETRY_MAKE(episode, orr_episode_new(replay));
  for (int i = 0; i < 40; i++) {
    orr_real observation[3] = {(orr_real)i, 0, 0}, action = 1;
    RETRY(orr_episode_start(episode, observation));
    for (int t = 0; t < 90 + i; t++) {
      observation[1] = (orr_real)t;
      RETRY(orr_episode_step(episode, &action, (orr_real)t, observation));
    }
    RETRY(orr_episode_finish(episode, i % 2, false));
  }
  orr_episode_free(episode);
  return failures;
}

static int read_back(orr_engine *engine, orr_replay *replay) {
  int failures = 0;
  int64_t index[50];
  RETRY(orr_replay_sample_windows(replay, NULL, 7, true, 50, index));
  orr_replay_output outputs[] = {{"observation", NULL}, {"reward", NULL}, {"mask", NULL}};
  RETRY(orr_replay_read_windows(replay, 50, index, 7, 3, outputs));
  for (int i = 0; i < 3; i++) orr_tensor_free(outputs[i].tensor);
  orr_replay_output all[] = {{"observation", NULL}, {"next_observation", NULL}, {"time", NULL}};
  RETRY(orr_replay_read(replay, orr_replay_transitions(replay), NULL, 3, all));
  const int32_t *time = orr_tensor_data(all[2].tensor);
  const orr_real *seen = orr_tensor_data(all[1].tensor);
  for (int64_t k = 0; k < orr_replay_transitions(replay); k++)
    cr_assert_eq(seen[3 * k + 1], (orr_real)time[k]);
  for (int i = 0; i < 3; i++) orr_tensor_free(all[i].tensor);
  return failures;
}

/* Relabeled by "b" in place of "b": what is read is as it was, whichever observation it came
   from. */
static int read_relabeled(orr_engine *engine, orr_replay *replay) {
  int failures = 0;
  int64_t index[50], chosen[50], numbers[50];
  orr_real weights[50];
  RETRY(orr_replay_sample_prioritised(replay, NULL, 0.5, 50, index, numbers, weights));
  RETRY(orr_replay_set_priorities(replay, 50, numbers, weights));
  orr_relabel_part part = {ORR_RELABEL_FINAL, 1};
  RETRY(orr_relabel_choose(replay, NULL, 1, &part, 50, index, chosen));
  orr_relabel relabel = orr_relabel_defaults();
  relabel.desired = relabel.achieved = "b";
  relabel.source = chosen;
  orr_replay_output outputs[] = {{"observation", NULL}, {"b", NULL}, {"length", NULL}};
  RETRY(orr_replay_read_relabeled(replay, 50, index, 0, &relabel, 3, outputs));
  const int32_t *length = orr_tensor_data(outputs[2].tensor);
  const orr_real *b = orr_tensor_data(outputs[1].tensor);
  for (int i = 0; i < 50; i++) cr_assert_eq(b[2 * i], (orr_real)(length[i] - 1));
  for (int i = 0; i < 3; i++) orr_tensor_free(outputs[i].tensor);
  return failures;
}

static int scenario(orr_engine *engine) {
  int failures = 0;
  orr_field observation[] = {{.name = "a"}, {.name = "b", .axes = 1, .shape = {2}}},
            action = {.name = "c"};
  orr_replay_options options = orr_replay_options_defaults();
  options.capacity = 3000;
  RETRY_MAKE(options.observation, orr_space_new(engine, observation, 2));
  RETRY_MAKE(options.action, orr_space_new(engine, &action, 1));
  orr_replay *replay, *loaded;
  RETRY_MAKE(replay, orr_replay_new(engine, &options));
  RETRY(orr_replay_prioritise(replay, 0.6));
  failures += fill(engine, replay);
  failures += read_back(engine, replay);
  failures += read_relabeled(engine, replay);
  RETRY(orr_replay_save(replay, path));
  RETRY_MAKE(loaded, orr_replay_load(engine, path, NULL, NULL));
  cr_assert_eq(orr_replay_transitions(loaded), orr_replay_transitions(replay));
  failures += read_back(engine, loaded);
  RETRY(orr_replay_prioritise(loaded, 0.6));
  failures += read_relabeled(engine, loaded);
  orr_replay_free(loaded);
  orr_replay_free(replay);
  orr_space_free(options.observation);
  orr_space_free(options.action);
  return failures;
}

Test(replay_memory, every_allocation_fails_once, .timeout = 300) {
  snprintf(path, sizeof path, "/tmp/orrery_replay_%ld.memory", (long)getpid());
  long calls = 1;
  for (long n = UNLIMITED; n < calls; n++) {
    struct memory memory = {.left = UNLIMITED, .once = true};
    orr_engine *engine = limited_engine(&memory, 1);
    cr_assert(engine);
    long before = memory.live, asked = memory.asked;
    memory.left = n;
    int failures = scenario(engine);
    cr_assert_eq(failures, n >= 0, "allocation %ld: %d failures seen", n, failures);
    cr_assert_eq(memory.live, before, "allocation %ld: %ld bytes leaked", n, memory.live - before);
    orr_engine_free(engine);
    cr_assert_eq(memory.live, 0);
    if (n < 0) calls = memory.asked - asked;
  }
  cr_assert_gt(calls, 50);
  unlink(path);
}
