/* priority.c - prioritised sampling by a tree of sums: the leaves hold the transitions' priorities
   to the power alpha, every other node the sum of its two children, so a draw is one walk from the
   root.

   The transition that was the n-th ever taken lies in leaf n modulo their number, a power of two no
   less than the transitions at hand: leaving is setting leaves to 0, and nothing ever moves, but
   when the tree grows. tree[1] is the root, tree[leaves + i] leaf i. */
#include <math.h>
#include <string.h>

#include "orrery/priority.h"
#include "replay/replay.h"

enum { FIRST_LEAVES = 64 };
static const double LEAST = 1e-6;    /* added to every priority: nothing is out of reach */
static const double MOST = 1e290;    /* of a priority to the power alpha: sums stay finite */
static const double FEWEST = 1e-290; /* and never 0 */

static int64_t oldest(const orr_replay *replay) {
  return replay->episodes ? replay_entry(replay, 0)->first : replay->next_first;
}

/* The sums above leaves first .. last. */
static void add_up(double *tree, size_t first, size_t last) {
  for (first /= 2, last /= 2; first >= 1; first /= 2, last /= 2)
    for (size_t i = first; i <= last; i++) tree[i] = tree[2 * i] + tree[2 * i + 1];
}

void priority_fill(orr_replay *replay, int64_t number, int64_t count, double value) {
  size_t leaves = replay->leaves;
  while (replay->tree && count > 0) { /* in two parts where the leaves begin again */
    size_t at = (size_t)number & (leaves - 1), here = leaves - at;
    if ((int64_t)here > count) here = (size_t)count;
    for (size_t i = 0; i < here; i++) replay->tree[leaves + at + i] = value;
    add_up(replay->tree, leaves + at, leaves + at + here - 1);
    number += (int64_t)here;
    count -= (int64_t)here;
  }
}

orr_status priority_reserve(orr_replay *replay, int64_t transitions) {
  size_t leaves = replay->leaves;
  if (!replay->tree || (size_t)transitions <= leaves) return ORR_OK;
  while (leaves < (size_t)transitions) leaves *= 2;
  double *tree = engine_new_zeroed(replay->engine, leaves, 2 * sizeof *tree);
  if (!tree) return ORR_MEMORY;
  for (int64_t n = oldest(replay); n < replay->next_first; n++)
    tree[leaves + ((size_t)n & (leaves - 1))] =
        replay->tree[replay->leaves + ((size_t)n & (replay->leaves - 1))];
  add_up(tree, leaves, 2 * leaves - 1);
  engine_free_memory(replay->engine, replay->tree);
  replay->tree = tree;
  replay->leaves = leaves;
  return ORR_OK;
}

/* The leaf of a transition at hand. */
static double *leaf_of(const orr_replay *replay, int64_t transition) {
  size_t number = (size_t)(oldest(replay) + transition);
  return &replay->tree[replay->leaves + (number & (replay->leaves - 1))];
}

void priority_read(const orr_replay *replay, double *values) {
  for (int64_t i = 0; i < replay->transitions; i++) values[i] = *leaf_of(replay, i);
}

bool priority_write(orr_replay *replay, double greatest, const void *values) {
  double value;
  if (!(greatest > 0 && greatest <= MOST)) return false;
  for (int64_t i = 0; i < replay->transitions; i++) {
    memcpy(&value, (const uint8_t *)values + (size_t)i * sizeof value, sizeof value);
    if (!(value >= FEWEST && value <= greatest)) return false;
  }
  for (int64_t i = 0; i < replay->transitions; i++)
    memcpy(leaf_of(replay, i), (const uint8_t *)values + (size_t)i * sizeof value, sizeof value);
  add_up(replay->tree, replay->leaves, 2 * replay->leaves - 1);
  replay->greatest = greatest;
  return true;
}

/* The priorities that there are, to another power. */
static orr_status change_alpha(orr_replay *replay, double alpha) {
  double power = alpha / replay->alpha;
  if (!(pow(replay->greatest, power) <= MOST))
    return engine_fail(replay->engine, ORR_NUMBER,
                       "replay: the greatest priority to the power alpha, %g, is too large to be "
                       "added up",
                       alpha);
  for (int64_t i = 0; i < replay->transitions; i++)
    *leaf_of(replay, i) = fmax(pow(*leaf_of(replay, i), power), FEWEST);
  add_up(replay->tree, replay->leaves, 2 * replay->leaves - 1);
  replay->greatest = fmax(pow(replay->greatest, power), FEWEST);
  replay->alpha = alpha;
  return ORR_OK;
}

orr_status orr_replay_prioritise(orr_replay *replay, double alpha) {
  if (!(alpha >= 0 && alpha <= PRIORITY_STEEPEST))
    return engine_fail(replay->engine, ORR_ARGUMENT,
                       "replay: alpha of prioritised sampling must be 0 to %d, got %g",
                       PRIORITY_STEEPEST, alpha);
  if (replay->tree && replay->alpha > 0) return change_alpha(replay, alpha);
  size_t leaves = FIRST_LEAVES;
  while (leaves < (size_t)replay->transitions) leaves *= 2;
  double *tree = engine_new_zeroed(replay->engine, leaves, 2 * sizeof *tree);
  if (!tree) return ORR_MEMORY;
  engine_free_memory(replay->engine, replay->tree);
  replay->tree = tree;
  replay->leaves = leaves;
  replay->alpha = alpha;
  replay->greatest = 1;
  priority_fill(replay, oldest(replay), replay->transitions, replay->greatest);
  return ORR_OK;
}

bool orr_replay_is_prioritised(const orr_replay *replay) { return replay->tree != NULL; }

double orr_replay_alpha(const orr_replay *replay) { return replay->tree ? replay->alpha : 0; }

static orr_status check_prioritised(const orr_replay *replay) {
  if (replay->tree) return ORR_OK;
  return engine_fail(replay->engine, ORR_STATE,
                     "replay: it has no priorities; make it with `prioritised`");
}

/* The leaf where the running sum passes x; never one of priority 0. */
static size_t walk(const orr_replay *replay, double x) {
  const double *tree = replay->tree;
  size_t node = 1;
  while (node < replay->leaves) {
    double left = tree[2 * node];
    bool go_left = tree[2 * node + 1] <= 0 || (left > 0 && x < left);
    if (!go_left) x -= left;
    node = 2 * node + !go_left;
  }
  return node - replay->leaves;
}

orr_status orr_replay_sample_prioritised(orr_replay *replay, orr_random *random, double beta,
                                         int64_t count, int64_t *transitions, int64_t *numbers,
                                         orr_real *weights) {
  if (check_prioritised(replay)) return ORR_STATE;
  if (!replay->transitions)
    return engine_fail(replay->engine, ORR_STATE,
                       "replay: it is empty; add episodes before sampling");
  if (!(beta >= 0 && beta <= 10))
    return engine_fail(replay->engine, ORR_ARGUMENT,
                       "replay: beta of prioritised sampling must be 0 to 10, got %g", beta);
  if (!random) random = orr_engine_random(replay->engine);
  int64_t first = oldest(replay);
  double total = replay->tree[1], least = INFINITY;
  for (int64_t i = 0; i < count; i++) { /* one draw from each of `count` equal parts of the sum */
    double x = ((double)i + orr_random_uniform(random)) / (double)count * total;
    size_t leaf = walk(replay, x), base = (size_t)first & (replay->leaves - 1);
    double p = replay->tree[replay->leaves + leaf];
    transitions[i] = (int64_t)((leaf - base) & (replay->leaves - 1));
    if (numbers) numbers[i] = first + transitions[i];
    if (p < least) least = p;
  }
  for (int64_t i = 0; weights && i < count; i++) {
    size_t leaf = (size_t)(first + transitions[i]) & (replay->leaves - 1);
    weights[i] = (orr_real)pow(replay->tree[replay->leaves + leaf] / least, -beta);
  }
  return ORR_OK;
}

orr_status orr_replay_set_priorities(orr_replay *replay, int64_t count, const int64_t *numbers,
                                     const orr_real *priorities) {
  if (check_prioritised(replay)) return ORR_STATE;
  for (int64_t i = 0; i < count; i++) {
    if (!(priorities[i] >= 0) || isinf(priorities[i]))
      return engine_fail(
          replay->engine, ORR_NUMBER,
          "replay: number %lld of the priorities is %g; they must be finite, and 0 or more",
          (long long)i + 1, (double)priorities[i]);
    if (pow((double)priorities[i] + LEAST, replay->alpha) > MOST)
      return engine_fail(
          replay->engine, ORR_NUMBER,
          "replay: number %lld of the priorities, %g, to the power alpha, %g, is too large to be "
          "added up",
          (long long)i + 1, (double)priorities[i], replay->alpha);
  }
  int64_t first = oldest(replay);
  for (int64_t i = 0; i < count; i++) {
    int64_t number = first + ((numbers[i] - first) & INT32_MAX);
    if (number - first >= replay->transitions) continue; /* it has left */
    double p = pow((double)priorities[i] + LEAST, replay->alpha);
    priority_fill(replay, number, 1, p);
    if (p > replay->greatest) replay->greatest = p;
  }
  return ORR_OK;
}
