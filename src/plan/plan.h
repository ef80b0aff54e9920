/* plan.h - what the files of src/plan share: a planner's row, its buffers, and draws.

   A planner is a type: open() reads the options and sets population and iterations, iterate() makes
   one iteration of  sample - planner_score - update mean. The loop, the clock, ranking, the best
   plan and the statistics are shared (planner.c). Plans here have `length` decisions, each of which
   is held for `repeat` steps of the horizon. */
#ifndef PLAN_H
#define PLAN_H

#include "base/base.h"
#include "kernel/kernel.h"
#include "orrery/plan.h"

/* An options struct for each row: doubles only, so that it is also an array in the table's order. */
#define OPTION(kind, name, ...) double name;
#define PLANNER(planner, doc, options) \
  typedef struct planner##_options {   \
    options                            \
  } planner##_options;
#include "plan/planners.def"
#undef OPTION
#undef PLANNER

typedef struct common_options { /* how each of them begins */
  double horizon, action_repeat;
} common_options;

typedef struct planner_type {
  /* Sets population and iterations and allocates `state`; refuses options that do not fit. */
  orr_status (*open)(orr_planner *planner);
  orr_status (*iterate)(orr_planner *planner);
  /* The rest may be NULL. */
  void (*begin)(orr_planner *planner);  /* of a call: a new variance, for example */
  void (*forget)(orr_planner *planner); /* nothing survives a reset */
  void (*shift)(orr_planner *planner);  /* one decision on; the mean is shifted already */
  bool executes_best;                   /* the best plan rather than the mean */
} planner_type;

#define PLANNER(name, ...) extern const planner_type name##_planner;
#include "plan/planners.def"
#undef PLANNER

struct orr_planner {
  atomic_int references;
  orr_engine *engine;
  const planner_type *type;
  int row; /* of planners.def */
  orr_space *space;
  int horizon, repeat;   /* steps; steps that each decision is held */
  void *options, *state; /* <name>_options, and what the type keeps */
  int population, iterations;
  int ranked; /* how many of the best plans iterate() wants in order; 1, unless open() sets more */
  int length, actions, variables; /* decisions, numbers in an action, length * actions */
  orr_random random;
  bool busy;

  const orr_real *low, *high; /* [actions], infinite where unbounded */
  orr_real *middle, *half;    /* [actions]: of the bounds; 0 and 1 where there are none */

  orr_real *mean;       /* [length][actions] */
  orr_tensor *plans;    /* [population, length, actions] ... */
  orr_tensor *wide;     /* ... and [population, horizon, actions]; NULL when repeat is 1 */
  orr_real *candidates; /* the numbers of plans */
  orr_real *returns;    /* [population] */
  int *order;           /* [population]: the `ranked` best, best first, ties by index */
  orr_real *best;       /* [length][actions], of this call */
  orr_real best_return; /* NaN: none yet */
  orr_real *best_returns, *mean_returns; /* [iterations] */
  orr_real *out;                         /* [3][horizon][actions]: results when repeat is above 1 */

  /* of the call in progress */
  orr_objective *objective;
  const orr_plan_request *request;
  uint64_t key, seed; /* of the planner's draws, and of the objective's */
  int iteration;
  int finite; /* of the batch scored last, how many; order has as many of them as it ranks */
  int64_t scored, non_finite;
  bool done; /* set by iterate: no further iteration would help */
};

/* Scores candidates 0 .. n-1: fills returns, order and finite, and remembers the best plan. */
orr_status planner_score(orr_planner *planner, int n);
/* Turns draws from [0, 1) into the numbers first .. first+count-1 of BLOCK candidates, in place; it
   must depend on its arguments only. */
typedef void (*planner_shape)(const orr_planner *planner, int first, int count,
                              orr_real block[][BLOCK]);
/* Makes candidates first .. last-1, on all threads. Each draw is keyed by (key, iteration,
   candidate, number): who draws it does not matter. */
void planner_sample(orr_planner *planner, int first, int last, planner_shape shape);

/* The `wanted` (or fewer) greatest finite of n returns as indices, falling; ties by index. Answers
   how many are finite. */
int rank_returns(const orr_real *returns, int n, int wanted, int *order);

/* Uniform draws become standard normal ones restricted to -2 .. 2. */
static inline orr_real truncated_normal(orr_real u) {
  /* The inverse distribution function as (u - 1/2) P(t) / Q(t) with t = u (1 - u): a least-squares
     fit, made minimax by reweighting; relative error below 4e-6. All terms are positive, so nothing
     cancels near the ends. */
  orr_real t = u * (1 - u);
  orr_real p = (orr_real)446.402449, q = (orr_real)451.779139;
  p = p * t + (orr_real)799.265153, q = q * t + (orr_real)341.347431;
  p = p * t + (orr_real)134.228077, q = q * t + (orr_real)40.3919589;
  p = p * t + (orr_real)3.99998746, q = q * t + 1;
  return (u - (orr_real)0.5) * p / q;
}

/* Rewards by a function of the host: the columns of rows (rollout, step), the last one fastest. */
typedef struct reward_rows {
  orr_reward_function function;
  void *user;
  int observation, actions, horizon;
  orr_real *s, *next, *a, *t, *rewards, *terminated; /* one block, at s */
} reward_rows;

/* Expects function, user, observation and actions; the rest is (re)made. */
orr_status reward_rows_new(reward_rows *rows, orr_engine *engine, size_t rollouts, int horizon);
void reward_rows_free(reward_rows *rows, orr_engine *engine);
/* Fills t of one rollout that starts at `step`. */
void reward_rows_times(reward_rows *rows, size_t rollout, int64_t step);
orr_status reward_rows_run(reward_rows *rows, size_t rollouts);
/* The first `steps` rewards, up to the first termination; terminated may be NULL. */
orr_real sum_rewards(const orr_real *rewards, const orr_real *terminated, int steps);

/* Gradients by central differences of an objective's returns: see differences.c. */
typedef struct differences {
  orr_real *plans, *returns, *steps; /* one block: [chunk][horizon][actions], [chunk], [actions] */
  int chunk, horizon, actions;
} differences;

/* How many plans it scores at once. */
int differences_batch(int horizon, int64_t actions);
/* Fills scoring->gradients, by `calls->score`. */
orr_status differences_gradients(differences *d, orr_engine *engine,
                                 const orr_objective_callbacks *calls, const orr_scoring *scoring);
void differences_free(differences *d, orr_engine *engine);

double plan_clock(void); /* seconds, monotonic */

#endif
