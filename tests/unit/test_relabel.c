/* test_relabel.c - choosing goals, reading with goals from anywhere, n-step returns, and the tree
   of priorities against a list. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "orrery/priority.h"
#include "orrery/relabel.h"

/* Observation k of episode e has achieved 100 e + k, as a byte pair: achieved and desired are
   bytes, which must stay bytes; and "mark" comes before them, so that nothing lies at place 0. */
typedef struct fixture {
  orr_engine *engine;
  orr_replay *replay;
} fixture;

static fixture make(int64_t capacity) {
  fixture f = {.engine = orr_engine_new(NULL)};
  orr_field observation[] = {{.name = "mark"},
                             {.name = "achieved_goal", .axes = 1, .shape = {2}, .dtype = ORR_BYTE},
                             {.name = "desired_goal", .axes = 1, .shape = {2}, .dtype = ORR_BYTE}};
  orr_field action = {.name = "force"};
  orr_replay_options options = orr_replay_options_defaults();
  options.observation = orr_space_new(f.engine, observation, 3);
  options.action = orr_space_new(f.engine, &action, 1);
  options.capacity = capacity;
  f.replay = orr_replay_new(f.engine, &options);
  cr_assert(f.replay, "%s", orr_engine_message(f.engine));
  orr_space_free(options.observation);
  orr_space_free(options.action);
  return f;
}

static void add(fixture *f, int e, int length) {
  orr_episode *episode = orr_episode_new(f->replay);
  orr_real observation[5] = {(orr_real)(100 * e), (orr_real)e, 0, 250, 251}, action = 0;
  orr_episode_start(episode, observation);
  for (int t = 1; t <= length; t++) {
    observation[0] = (orr_real)(100 * e + t);
    observation[2] = (orr_real)t;
    orr_episode_step(episode, &action, (orr_real)t, observation);
  }
  cr_assert_eq(orr_episode_finish(episode, true, false), ORR_OK);
  orr_episode_free(episode);
}

static void drop(fixture *f) {
  orr_replay_free(f->replay);
  orr_engine_free(f->engine);
}

Test(relabel, observations_are_numbered_without_gaps) {
  fixture f = make(9);
  int lengths[] = {3, 1, 5, 2};
  for (int e = 0; e < 4; e++) add(&f, e, lengths[e]); /* the first one leaves */
  cr_assert_eq(orr_replay_observations(f.replay), 8 + 3);
  int64_t index[8], source[11];
  for (int k = 0; k < 8; k++) index[k] = k;
  int k = 0;
  for (int e = 1; e < 4; e++)
    for (int t = 0; t <= lengths[e]; t++, k++) {
      for (int i = 0; i < 8; i++) source[i] = k;
      orr_relabel relabel = orr_relabel_defaults();
      relabel.source = source;
      orr_replay_output out[] = {{"desired_goal", NULL}, {"observation", NULL}};
      cr_assert_eq(orr_replay_read_relabeled(f.replay, 8, index, 0, &relabel, 2, out), ORR_OK);
      cr_assert_eq(orr_tensor_dtype(out[0].tensor), ORR_BYTE);
      const uint8_t *goal = orr_tensor_data(out[0].tensor);
      const orr_real *flat = orr_tensor_data(out[1].tensor);
      for (int i = 0; i < 8; i++) {
        cr_assert(goal[2 * i] == e && goal[2 * i + 1] == t, "observation %d", k);
        cr_assert(flat[5 * i + 3] == e && flat[5 * i + 4] == t);
      }
      for (int i = 0; i < 2; i++) orr_tensor_free(out[i].tensor);
    }
  drop(&f);
}

Test(relabel, values_of_reals_become_bytes) {
  fixture f = make(100);
  add(&f, 1, 4);
  int64_t shape[] = {3, 2}, index[] = {0, 1, 2, 3}, source[] = {2, -1, 0, 1};
  orr_real goals[] = {-4, 3.4f, 300, NAN, 7.6f, 8};
  orr_tensor *values = orr_tensor_from(f.engine, 2, shape, goals);
  orr_relabel relabel = orr_relabel_defaults();
  relabel.source = source;
  relabel.values = values;
  orr_replay_output out[] = {{"next_desired_goal", NULL}};
  cr_assert_eq(orr_replay_read_relabeled(f.replay, 4, index, 0, &relabel, 1, out), ORR_OK);
  const uint8_t wanted[] = {8, 8, 250, 251, 0, 3, 255, 0};
  cr_assert_arr_eq(orr_tensor_data(out[0].tensor), wanted, sizeof wanted);
  relabel.source = NULL; /* each its own row: there are too few */
  cr_assert_eq(orr_replay_read_relabeled(f.replay, 4, index, 0, &relabel, 1, out), ORR_ARGUMENT);
  cr_assert_eq(orr_replay_read_relabeled(f.replay, 3, index, 0, &relabel, 1, out), ORR_SHAPE);
  orr_tensor_free(out[0].tensor);
  out[0].tensor = NULL;
  cr_assert_eq(orr_replay_read_relabeled(f.replay, 3, index, 0, &relabel, 1, out), ORR_OK);
  orr_tensor_free(out[0].tensor);
  orr_tensor_free(values);
  drop(&f);
}

/* One step of a long episode: how often each observation is chosen. */
Test(relabel, strategies_choose_evenly) {
  enum { LENGTH = 12, STEP = 4, DRAWS = 60000 };
  fixture f = make(100);
  add(&f, 0, 3);
  add(&f, 1, LENGTH); /* its observations are 4 .. 4 + LENGTH */
  static int64_t index[DRAWS], chosen[DRAWS];
  for (int i = 0; i < DRAWS; i++) index[i] = 3 + STEP;
  const struct {
    orr_relabel_strategy strategy;
    int first, last, gap; /* observations that may be chosen, but for one */
  } rows[] = {{ORR_RELABEL_FINAL, 4 + LENGTH, 4 + LENGTH, -1},
              {ORR_RELABEL_FUTURE, 4 + STEP + 1, 4 + LENGTH, -1},
              {ORR_RELABEL_EPISODE, 5, 4 + LENGTH, -1},
              {ORR_RELABEL_RANDOM, 1, 4 + LENGTH, 4}};
  for (int r = 0; r < 4; r++) {
    orr_random random = orr_random_new(7, (uint64_t)r);
    orr_relabel_part part = {rows[r].strategy, 0.3};
    cr_assert_eq(orr_relabel_choose(f.replay, &random, 1, &part, DRAWS, index, chosen), ORR_OK);
    int counts[4 + LENGTH + 1] = {0}, kinds = rows[r].last - rows[r].first + (rows[r].gap < 0);
    for (int i = 0; i < DRAWS; i++) counts[chosen[i]]++;
    double mean = (double)DRAWS / kinds;
    for (int k = 0; k <= 4 + LENGTH; k++) {
      bool may = k >= rows[r].first && k <= rows[r].last && k != rows[r].gap;
      double off = may ? fabs(counts[k] - mean) / sqrt(mean) : counts[k];
      cr_assert_leq(off, 4.5, "strategy %d, observation %d: %d times", r, k, counts[k]);
    }
  }
  orr_random random = orr_random_new(7, 9);
  orr_relabel_part mix[] = {{ORR_RELABEL_NONE, 1}, {ORR_RELABEL_FINAL, 0}, {ORR_RELABEL_FUTURE, 3}};
  cr_assert_eq(orr_relabel_choose(f.replay, &random, 3, mix, DRAWS, index, chosen), ORR_OK);
  int none = 0;
  for (int i = 0; i < DRAWS; i++) none += chosen[i] < 0;
  cr_assert_lt(fabs(none - DRAWS / 4.0), 4.5 * sqrt(DRAWS * 3.0 / 16));
  mix[0].weight = mix[2].weight = 0;
  cr_assert_eq(orr_relabel_choose(f.replay, &random, 3, mix, 1, index, chosen), ORR_ARGUMENT);
  mix[0].weight = NAN;
  cr_assert_eq(orr_relabel_choose(f.replay, &random, 3, mix, 1, index, chosen), ORR_ARGUMENT);
  drop(&f);
}

Test(relabel, returns_stop_where_an_episode_does) {
  orr_engine *engine = orr_engine_new(NULL);
  const orr_real reward[] = {1, 2, 4, 1, 2, 4, 1, 2, 4, 1, 2, 4},
                 over[] = {0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1},
                 mask[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0};
  const orr_real sums[] = {3, 2, 1, 2}, discounts[] = {0.125f, 0, 0, 0.25f}, ends[] = {0, 1, 1, 0};
  orr_real sum[4], discount[4], ended[4];
  int64_t taken[4];
  cr_assert_eq(orr_relabel_returns(engine, 4, 3, reward, over, mask, 0.5, sum, discount, ended,
                                   taken),
               ORR_OK);
  cr_assert_arr_eq(sum, sums, sizeof sums);
  cr_assert_arr_eq(discount, discounts, sizeof discounts);
  cr_assert_arr_eq(ended, ends, sizeof ends);
  cr_assert(taken[0] == 3 && taken[1] == 2 && taken[2] == 1 && taken[3] == 2);
  cr_assert_eq(orr_relabel_returns(engine, 4, 0, reward, over, mask, 0.5, sum, discount, ended,
                                   taken),
               ORR_ARGUMENT);
  cr_assert_eq(orr_relabel_returns(engine, 4, 3, reward, over, mask, 2, sum, discount, ended,
                                   taken),
               ORR_ARGUMENT);
  orr_engine_free(engine);
}

/* ---- priorities, against a plain list by number */

enum { CAPACITY = 150, MOST = 4000 };

static double wanted[MOST]; /* priorities by number; 0: has left */

/* Every transition at hand is drawn as often as its priority says; the parts of the sum make the
   number of draws exact but for one at each end. */
static void check_draws(fixture *f, int64_t first) {
  enum { DRAWS = 20000 };
  static int64_t index[DRAWS], number[DRAWS];
  static orr_real weight[DRAWS];
  orr_random random = orr_random_new(3, 0);
  cr_assert_eq(orr_replay_sample_prioritised(f->replay, &random, 0.7, DRAWS, index, number, weight),
               ORR_OK);
  int64_t transitions = orr_replay_transitions(f->replay);
  double total = 0, counts[CAPACITY] = {0}, least = INFINITY;
  for (int64_t k = 0; k < transitions; k++) total += wanted[first + k];
  for (int i = 0; i < DRAWS; i++) {
    cr_assert(index[i] >= 0 && index[i] < transitions);
    cr_assert_eq(number[i], first + index[i]);
    counts[index[i]]++;
    least = fmin(least, wanted[number[i]]);
  }
  for (int64_t k = 0; k < transitions; k++)
    cr_assert_leq(fabs(counts[k] - DRAWS * wanted[first + k] / total), 2.001, "transition %d",
                  (int)k);
  for (int i = 0; i < DRAWS; i++)
    cr_assert_float_eq(weight[i], pow(wanted[number[i]] / least, -0.7), 1e-5);
}

Test(relabel, priorities_follow_episodes_that_leave) {
  fixture f = make(CAPACITY);
  cr_assert_eq(orr_replay_prioritise(f.replay, 0.6), ORR_OK);
  orr_random random = orr_random_new(1, 1);
  int64_t next = 0, first = 0;
  double greatest = 1;
  for (int round = 0; round < 60; round++) {
    int length = 1 + (int)orr_random_index(&random, 40);
    add(&f, round, length);
    for (int t = 0; t < length; t++) wanted[next++] = greatest;
    first = next - orr_replay_transitions(f.replay);
    int64_t numbers[20];
    orr_real priorities[20];
    for (int i = 0; i < 20; i++) { /* of any that ever were: those that have left are passed over */
      numbers[i] = (int64_t)orr_random_index(&random, (uint64_t)next);
      priorities[i] = (orr_real)(3 * orr_random_uniform(&random));
      if (numbers[i] < first) continue;
      wanted[numbers[i]] = pow((double)priorities[i] + 1e-6, 0.6);
      greatest = fmax(greatest, wanted[numbers[i]]);
    }
    cr_assert_eq(orr_replay_set_priorities(f.replay, 20, numbers, priorities), ORR_OK);
    check_draws(&f, first);
  }
  int64_t number = first;
  orr_real bad[] = {-1, NAN, INFINITY};
  for (int i = 0; i < 3; i++)
    cr_assert_eq(orr_replay_set_priorities(f.replay, 1, &number, &bad[i]), ORR_NUMBER);
  check_draws(&f, first);
  orr_replay_clear(f.replay);
  int64_t index;
  cr_assert_eq(orr_replay_sample_prioritised(f.replay, NULL, 0.5, 1, &index, NULL, NULL),
               ORR_STATE);
  add(&f, 0, 7);
  for (int t = 0; t < 7; t++) wanted[next++] = greatest;
  check_draws(&f, next - 7);
  cr_assert_eq(orr_replay_prioritise(f.replay, NAN), ORR_ARGUMENT);
  drop(&f);
}

Test(relabel, a_replay_without_priorities_says_so) {
  fixture f = make(100);
  add(&f, 1, 3);
  int64_t index;
  orr_real priority = 1;
  cr_assert_eq(orr_replay_sample_prioritised(f.replay, NULL, 0.5, 1, &index, NULL, NULL),
               ORR_STATE);
  cr_assert_eq(orr_replay_set_priorities(f.replay, 1, &index, &priority), ORR_STATE);
  cr_assert_not(orr_replay_is_prioritised(f.replay));
  cr_assert_eq(orr_replay_prioritise(f.replay, 1), ORR_OK); /* with what is there already */
  for (int i = 0; i < 3; i++) wanted[i] = 1;
  check_draws(&f, 0);
  drop(&f);
}
