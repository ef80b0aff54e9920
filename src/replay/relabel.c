/* relabel.c - which observation's achieved goal a transition is given, and returns over n steps. */
#include "orrery/relabel.h"

#include "replay/replay.h"

orr_relabel orr_relabel_defaults(void) {
  return (orr_relabel){.size = sizeof(orr_relabel),
                       .desired = "desired_goal",
                       .achieved = "achieved_goal"};
}

/* Rows follow each other without gaps, so an observation's number is its row's, from the oldest. */
int64_t orr_replay_observations(const orr_replay *replay) {
  return replay->transitions + replay->episodes;
}

static orr_status check_parts(orr_replay *replay, int parts, const orr_relabel_part *part,
                              double *total) {
  *total = 0;
  for (int i = 0; i < parts; i++) {
    if ((unsigned)part[i].strategy >= ORR_RELABEL_STRATEGIES)
      return engine_fail(replay->engine, ORR_ARGUMENT, "relabel: there is no strategy %d",
                         (int)part[i].strategy);
    if (!(part[i].weight >= 0) || part[i].weight > 1e300)
      return engine_fail(replay->engine, ORR_ARGUMENT,
                         "relabel: a weight must be 0 or more, and finite, got %g", part[i].weight);
    *total += part[i].weight;
  }
  if (!(*total > 0) || *total > 1e300)
    return engine_fail(replay->engine, ORR_ARGUMENT,
                       "relabel: the weights of a mix add up to %g; they must be positive", *total);
  return ORR_OK;
}

static orr_relabel_strategy draw_strategy(orr_random *random, int parts,
                                          const orr_relabel_part *part, double total) {
  if (parts == 1) return part[0].strategy;
  double x = orr_random_uniform(random) * total;
  int last = 0; /* rounding must not lead to a part of weight 0 */
  for (int i = 0; i < parts; i++) {
    if (part[i].weight == 0) continue;
    if (x < part[i].weight) return part[i].strategy;
    x -= part[i].weight;
    last = i;
  }
  return part[last].strategy;
}

static int64_t observation_of(const orr_replay *replay, const entry *e, int64_t t) {
  return (int64_t)(e->row - replay->first_row) + t;
}

static int64_t below(orr_random *random, int64_t n) {
  return (int64_t)orr_random_index(random, (uint64_t)n);
}

/* Where transition number `transition`'s step leads. */
static int64_t outcome_of(const orr_replay *replay, int64_t transition) {
  const entry *e = replay_entry(replay, replay_locate(replay, transition));
  return observation_of(replay, e, transition + replay_entry(replay, 0)->first - e->first + 1);
}

static int64_t choose(orr_replay *replay, orr_random *random, orr_relabel_strategy strategy,
                      int64_t transition) {
  if (strategy == ORR_RELABEL_NONE) return -1;
  if (strategy == ORR_RELABEL_RANDOM) return outcome_of(replay, below(random, replay->transitions));
  const entry *e = replay_entry(replay, replay_locate(replay, transition));
  int64_t t = transition + replay_entry(replay, 0)->first - e->first, at = e->length;
  if (strategy == ORR_RELABEL_FUTURE) at = t + 1 + below(random, e->length - t);
  if (strategy == ORR_RELABEL_EPISODE) at = 1 + below(random, e->length);
  return observation_of(replay, e, at);
}

orr_status orr_relabel_choose(orr_replay *replay, orr_random *random, int parts,
                              const orr_relabel_part *part, int64_t count,
                              const int64_t *transitions, int64_t *observations) {
  double total;
  if (check_parts(replay, parts, part, &total)) return replay->engine->status;
  if (!random) random = orr_engine_random(replay->engine);
  for (int64_t i = 0; i < count; i++) {
    if (transitions[i] < 0 || transitions[i] >= replay->transitions)
      return engine_fail(replay->engine, ORR_ARGUMENT,
                         "relabel: no transition %lld; there are %lld", (long long)transitions[i],
                         (long long)replay->transitions);
    orr_relabel_strategy strategy = draw_strategy(random, parts, part, total);
    observations[i] = choose(replay, random, strategy, transitions[i]);
  }
  return ORR_OK;
}

orr_status orr_relabel_returns(orr_engine *engine, int64_t count, int64_t length,
                               const orr_real *rewards, const orr_real *terminated,
                               const orr_real *mask, double gamma, orr_real *reward,
                               orr_real *discount, orr_real *ended, int64_t *taken) {
  if (length < 1 || !(gamma >= 0 && gamma <= 1))
    return engine_fail(engine, ORR_ARGUMENT,
                       "returns: at least 1 step and a gamma of 0 to 1 are needed, got %lld and %g",
                       (long long)length, gamma);
  for (int64_t i = 0; i < count; i++) {
    double sum = 0, power = 1;
    int64_t j = 0;
    bool over = false;
    for (; j < length && !over && (j == 0 || mask[i * length + j] != 0); j++) {
      sum += power * rewards[i * length + j];
      power *= gamma;
      over = terminated[i * length + j] != 0;
    }
    reward[i] = (orr_real)sum;
    discount[i] = over ? 0 : (orr_real)power;
    ended[i] = over;
    taken[i] = j;
  }
  return ORR_OK;
}
