/* replay_plain.h - for the tests of replay: a store of episodes that is slow and obvious, filled
   with the same numbers, and the comparison of every (episode, t) and every window. */
#ifndef REPLAY_PLAIN_H
#define REPLAY_PLAIN_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "orrery/replay.h"

/* Observation: angle[2], velocity, pixel[3] (bytes); action: torque, gear (int32).
   Extras: goal[2] with every observation, and label (a byte) with every step. */
enum { PLAIN_OBSERVATION = 6, PLAIN_ACTION = 2, PLAIN_MOST = 400 };

typedef struct plain_episode {
  int length;
  bool terminated;
  orr_real (*observation)[PLAIN_OBSERVATION]; /* length + 1 */
  orr_real (*action)[PLAIN_ACTION];
  orr_real *reward;
  orr_real (*goal)[2]; /* length + 1 */
  uint8_t *label;
} plain_episode;

typedef struct plain {
  orr_engine *engine;
  orr_space *observation, *action, *goals, *labels;
  orr_replay *replay;
  int64_t capacity;
  int count; /* episodes that ought to be in the replay */
  plain_episode episodes[PLAIN_MOST];
} plain;

static inline plain plain_new(orr_engine *engine, int64_t capacity) {
  plain p = {.engine = engine, .capacity = capacity};
  orr_real low = -8, high = 8;
  orr_field observation[] = {{.name = "angle", .axes = 1, .shape = {2}},
                             {.name = "velocity", .low = &low, .high = &high},
                             {.name = "pixel", .axes = 1, .shape = {3}, .dtype = ORR_BYTE}};
  orr_field action[] = {{.name = "torque"}, {.name = "gear", .dtype = ORR_INT}};
  orr_field goal = {.name = "goal", .axes = 1, .shape = {2}};
  orr_field label = {.name = "label", .dtype = ORR_BYTE};
  p.observation = orr_space_new(engine, observation, 3);
  p.action = orr_space_new(engine, action, 2);
  p.goals = orr_space_new(engine, &goal, 1);
  p.labels = orr_space_new(engine, &label, 1);
  orr_replay_options options = orr_replay_options_defaults();
  options.observation = p.observation;
  options.action = p.action;
  options.observation_extras = p.goals;
  options.step_extras = p.labels;
  options.capacity = capacity;
  p.replay = orr_replay_new(engine, &options);
  cr_assert(p.replay, "%s", orr_engine_message(engine));
  return p;
}

static inline void plain_drop(plain_episode *e) {
  free(e->observation), free(e->action), free(e->reward), free(e->goal), free(e->label);
}

static inline void plain_free(plain *p) {
  for (int i = 0; i < p->count; i++) plain_drop(&p->episodes[i]);
  orr_replay_free(p->replay);
  orr_space_free(p->observation), orr_space_free(p->action);
  orr_space_free(p->goals), orr_space_free(p->labels);
}

static inline void plain_observe(orr_random *random, orr_real *observation) {
  for (int i = 0; i < 3; i++) observation[i] = (orr_real)orr_random_normal(random);
  for (int i = 3; i < 6; i++) observation[i] = (orr_real)orr_random_index(random, 256);
}

/* The same episode into both. */
static inline void plain_add(plain *p, orr_random *random, int length, bool terminated) {
  size_t n = (size_t)length;
  plain_episode e = {length,
                     terminated,
                     calloc(n + 1, sizeof *e.observation),
                     calloc(n, sizeof *e.action),
                     calloc(n, sizeof *e.reward),
                     calloc(n + 1, sizeof *e.goal),
                     calloc(n, 1)};
  orr_episode *episode = orr_episode_new(p->replay);
  plain_observe(random, e.observation[0]);
  cr_assert_eq(orr_episode_start(episode, e.observation[0]), ORR_OK);
  e.goal[0][0] = (orr_real)orr_random_normal(random), e.goal[0][1] = 5;
  cr_assert_eq(orr_episode_set(episode, "goal", e.goal[0]), ORR_OK);
  for (int t = 0; t < length; t++) {
    e.action[t][0] = (orr_real)orr_random_normal(random);
    e.action[t][1] = (orr_real)orr_random_index(random, 1000) - 500;
    e.reward[t] = (orr_real)orr_random_normal(random);
    plain_observe(random, e.observation[t + 1]);
    e.goal[t + 1][0] = (orr_real)orr_random_normal(random);
    e.label[t] = (uint8_t)orr_random_index(random, 256);
    cr_assert_eq(orr_episode_step(episode, e.action[t], e.reward[t], e.observation[t + 1]), ORR_OK);
    cr_assert_eq(orr_episode_set(episode, "goal", e.goal[t + 1]), ORR_OK);
    cr_assert_eq(orr_episode_set(episode, "label", &e.label[t]), ORR_OK);
  }
  cr_assert_eq(orr_episode_finish(episode, terminated, !terminated), ORR_OK);
  orr_episode_free(episode);
  int64_t total = length;
  for (int i = 0; i < p->count; i++) total += p->episodes[i].length;
  for (; total > p->capacity; p->count--) {
    total -= p->episodes[0].length;
    plain_drop(&p->episodes[0]);
    memmove(p->episodes, p->episodes + 1, (size_t)(p->count - 1) * sizeof *p->episodes);
  }
  cr_assert_lt(p->count, PLAIN_MOST);
  p->episodes[p->count++] = e;
}

enum { PLAIN_FIELDS = 16 };

static inline void plain_outputs(orr_replay_output *outputs, int *count) {
  static const char *const names[PLAIN_FIELDS] = {
      "observation", "next_observation", "action",     "reward",
      "terminated",  "truncated",        "episode",    "time",
      "length",      "velocity",         "next_pixel", "gear",
      "goal",        "next_goal",        "label",      "mask"};
  for (int i = 0; i < PLAIN_FIELDS; i++) outputs[i] = (orr_replay_output){names[i], NULL};
  *count = PLAIN_FIELDS;
}

#define PLAIN_REAL(i, k, width) ((orr_real *)orr_tensor_data(outputs[i].tensor) + (k) * (width))
#define PLAIN_INT(i, k) ((int32_t *)orr_tensor_data(outputs[i].tensor))[k]
#define PLAIN_BYTE(i, k, width) ((uint8_t *)orr_tensor_data(outputs[i].tensor) + (k) * (width))

/* Place k of the outputs of transitions, or place k of windows' step outputs, is step t of e. */
static inline void plain_check_step(orr_replay_output *outputs, int64_t k, int number,
                                    const plain_episode *e, int t) {
  orr_real zeros[PLAIN_OBSERVATION] = {0};
  bool inside = t < e->length, last = t == e->length - 1;
  int next = inside ? t + 1 : e->length;
  cr_assert_arr_eq(PLAIN_REAL(1, k, PLAIN_OBSERVATION), e->observation[next],
                   sizeof *e->observation);
  cr_assert_arr_eq(PLAIN_REAL(2, k, PLAIN_ACTION), inside ? e->action[t] : zeros,
                   sizeof *e->action);
  cr_assert_eq(*PLAIN_REAL(3, k, 1), inside ? e->reward[t] : 0);
  cr_assert_eq(*PLAIN_REAL(4, k, 1), last && e->terminated);
  cr_assert_eq(*PLAIN_REAL(5, k, 1), last && !e->terminated);
  cr_assert_eq(PLAIN_INT(6, k), inside ? number : 0);
  cr_assert_eq(PLAIN_INT(7, k), inside ? t : 0);
  cr_assert_eq(PLAIN_INT(8, k), inside ? e->length : 0);
  for (int i = 0; i < 3; i++)
    cr_assert_eq(PLAIN_BYTE(10, k, 3)[i], (uint8_t)e->observation[next][3 + i]);
  cr_assert_eq(PLAIN_INT(11, k), inside ? (int32_t)e->action[t][1] : 0);
  cr_assert_arr_eq(PLAIN_REAL(13, k, 2), e->goal[next], sizeof *e->goal);
  cr_assert_eq(PLAIN_BYTE(14, k, 1)[0], inside ? e->label[t] : 0);
}

static inline void plain_check_observation(orr_replay_output *outputs, int64_t k,
                                           const plain_episode *e, int t) {
  if (t > e->length) t = e->length;
  cr_assert_arr_eq(PLAIN_REAL(0, k, PLAIN_OBSERVATION), e->observation[t], sizeof *e->observation);
  cr_assert_eq(*PLAIN_REAL(9, k, 1), e->observation[t][2]);
  cr_assert_arr_eq(PLAIN_REAL(12, k, 2), e->goal[t], sizeof *e->goal);
}

static inline void plain_free_outputs(orr_replay_output *outputs, int count) {
  for (int i = 0; i < count; i++) orr_tensor_free(outputs[i].tensor);
}

static inline int64_t plain_total(const plain *p) {
  int64_t total = 0;
  for (int i = 0; i < p->count; i++) total += p->episodes[i].length;
  return total;
}

static inline void plain_compare_transitions(plain *p) {
  int64_t total = plain_total(p), k = 0;
  cr_assert_eq(orr_replay_transitions(p->replay), total);
  cr_assert_eq(orr_replay_episodes(p->replay), p->count);
  orr_replay_output outputs[PLAIN_FIELDS];
  int count;
  plain_outputs(outputs, &count);
  count--; /* no mask */
  int64_t *backwards = malloc((size_t)total * sizeof *backwards);
  for (int64_t i = 0; i < total; i++) backwards[i] = total - 1 - i;
  for (int order = 0; order < 2; order++) { /* in order, then from the last */
    cr_assert_eq(orr_replay_read(p->replay, total, order ? backwards : NULL, count, outputs),
                 ORR_OK, "%s", orr_engine_message(p->engine));
    k = 0;
    for (int i = 0; i < p->count; i++)
      for (int t = 0; t < p->episodes[i].length; t++, k++) {
        int64_t place = order ? total - 1 - k : k;
        plain_check_step(outputs, place, i, &p->episodes[i], t);
        plain_check_observation(outputs, place, &p->episodes[i], t);
      }
    plain_free_outputs(outputs, count);
    for (int i = 0; i < count; i++) outputs[i].tensor = NULL;
  }
  free(backwards);
}

static inline void plain_compare_windows(plain *p, int64_t length) {
  int64_t total = plain_total(p), k = 0;
  orr_replay_output outputs[PLAIN_FIELDS];
  int count;
  plain_outputs(outputs, &count);
  cr_assert_eq(orr_replay_read_windows(p->replay, total, NULL, length, count, outputs), ORR_OK,
               "%s", orr_engine_message(p->engine));
  for (int i = 0; i < p->count; i++) {
    const plain_episode *e = &p->episodes[i];
    for (int t = 0; t < e->length; t++, k++) {
      for (int64_t j = 0; j < length; j++) {
        plain_check_step(outputs, k * length + j, i, e, t + (int)j);
        cr_assert_eq(*PLAIN_REAL(15, k * length + j, 1), t + j < e->length);
      }
      for (int64_t j = 0; j <= length; j++)
        plain_check_observation(outputs, k * (length + 1) + j, e, t + (int)j);
    }
  }
  plain_free_outputs(outputs, count);
}

static inline void plain_compare(plain *p) {
  plain_compare_transitions(p);
  int64_t lengths[] = {1, 2, 5, 20};
  for (int i = 0; i < 4; i++) plain_compare_windows(p, lengths[i]);
}

#endif
