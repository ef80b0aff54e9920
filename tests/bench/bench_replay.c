/* bench_replay.c - adding to, and sampling from, a replay of a million transitions; as it was,
   relabeled, and by priority. Prints nanoseconds per transition. */
#include <stdio.h>
#include <time.h>

#include "orrery/priority.h"
#include "orrery/relabel.h"

enum { FIELDS = 17, ACTIONS = 6, BATCH = 256, ROUNDS = 2000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fill(orr_replay *replay, int64_t transitions, int64_t length) {
  orr_episode *episode = orr_episode_new(replay);
  orr_real observation[FIELDS] = {0}, action[ACTIONS] = {0};
  for (int64_t n = 0; n < transitions; n += length) {
    orr_episode_start(episode, observation);
    for (int64_t t = 0; t < length; t++) {
      observation[0] = (orr_real)t;
      orr_episode_step(episode, action, (orr_real)t, observation);
    }
    orr_episode_finish(episode, true, false);
  }
  orr_episode_free(episode);
}

/* `future`, k = 4, over the last 3 of the 17 numbers; goals are themselves. */
static double relabeled(orr_replay *replay, orr_replay_output *batch) {
  static int64_t index[BATCH], chosen[BATCH];
  orr_relabel_part parts[] = {{ORR_RELABEL_FUTURE, 4}, {ORR_RELABEL_NONE, 1}};
  orr_relabel relabel = orr_relabel_defaults();
  relabel.source = chosen;
  double start = now();
  for (int i = 0; i < ROUNDS; i++) {
    orr_replay_sample(replay, NULL, BATCH, index);
    orr_relabel_choose(replay, NULL, 2, parts, BATCH, index, chosen);
    orr_replay_read_relabeled(replay, BATCH, index, 0, &relabel, 5, batch);
  }
  return now() - start;
}

/* Drawn by priority, and given new ones. */
static double prioritised(orr_replay *replay, orr_replay_output *batch) {
  static int64_t index[BATCH], numbers[BATCH];
  static orr_real weights[BATCH];
  orr_replay_prioritise(replay, 0.6);
  double start = now();
  for (int i = 0; i < ROUNDS; i++) {
    orr_replay_sample_prioritised(replay, NULL, 0.4, BATCH, index, numbers, weights);
    orr_replay_read(replay, BATCH, index, 5, batch);
    orr_replay_set_priorities(replay, BATCH, numbers, weights);
  }
  return now() - start;
}

static void measure(orr_replay *replay, int64_t length) {
  double start = now();
  fill(replay, 1000000, length);
  double filled = now() - start;
  static int64_t index[BATCH];
  orr_replay_output batch[] = {{"observation", NULL},
                               {"action", NULL},
                               {"reward", NULL},
                               {"next_observation", NULL},
                               {"terminated", NULL}};
  start = now();
  for (int i = 0; i < ROUNDS; i++) {
    orr_replay_sample(replay, NULL, BATCH, index);
    orr_replay_read(replay, BATCH, index, 5, batch);
  }
  double sampled = now() - start;
  orr_replay_output windows[] = {{"observation", NULL},
                                 {"action", NULL},
                                 {"reward", NULL},
                                 {"mask", NULL}};
  start = now();
  for (int i = 0; i < ROUNDS; i++) {
    orr_replay_sample_windows(replay, NULL, length < 20 ? length : 20, true, BATCH, index);
    orr_replay_read_windows(replay, BATCH, index, 20, 4, windows);
  }
  double windowed = now() - start;
  double each = 1e9 / ROUNDS / BATCH, again = relabeled(replay, batch),
         ranked = prioritised(replay, batch);
  printf("replay, episodes of %4d: add %6.0f ns, sample %6.0f ns, relabeled %6.0f ns, by priority "
         "%6.0f ns, window of 20 %6.0f ns, %zu MB\n",
         (int)length, 1e9 * filled / 1e6, each * sampled, each * again, each * ranked,
         each * windowed, orr_replay_bytes(replay) >> 20);
  for (int i = 0; i < 5; i++) orr_tensor_free(batch[i].tensor);
  for (int i = 0; i < 4; i++) orr_tensor_free(windows[i].tensor);
}

int main(void) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_field observation[] = {{.name = "joints", .axes = 1, .shape = {FIELDS - 6}},
                             {.name = "achieved_goal", .axes = 1, .shape = {3}},
                             {.name = "desired_goal", .axes = 1, .shape = {3}}};
  orr_field action = {.name = "torques", .axes = 1, .shape = {ACTIONS}};
  orr_replay_options options = orr_replay_options_defaults();
  options.observation = orr_space_new(engine, observation, 3);
  options.action = orr_space_new(engine, &action, 1);
  int64_t lengths[] = {1000, 200, 1};
  for (int i = 0; i < 3; i++) {
    orr_replay *replay = orr_replay_new(engine, &options);
    measure(replay, lengths[i]);
    orr_replay_free(replay);
  }
  orr_space_free(options.observation);
  orr_space_free(options.action);
  orr_engine_free(engine);
  return 0;
}
