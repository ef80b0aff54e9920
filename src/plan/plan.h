/* plan.h - what the files of src/plan share: a planner's row, its searches, draws and weights.

   A planner is a type: open() reads the options and sets population and iterations, sample() makes
   candidates, update() learns from their returns. The loop over iterations, the clock, scoring,
   ranking, the best plan and the statistics are shared (search.c, score.c). A planner plans for one
   or several start states at once; a `search` is what it has of each. Plans here have `length`
   decisions, each of which is held for `repeat` steps of the horizon. */
#ifndef PLAN_H
#define PLAN_H

#include "base/base.h"
#include "kernel/kernel.h"
#include "orrery/plan.h"
#include "orrery/rollout.h"

/* An options struct for each row: doubles only, so that it is also an array in the table's
   order. */
#define OPTION(kind, name, ...) double name;
#define PLANNER(planner, doc, options) \
  typedef struct planner##_options {   \
    options                            \
  } planner##_options;
#include "plan/planners.def"
#undef OPTION
#undef PLANNER

typedef struct common_options { /* how each of them begins */
  double horizon, action_repeat, proposals;
} common_options;

/* One start state and the plan that is being improved for it. */
typedef struct search {
  orr_real *mean; /* [length][actions]: the plan so far, from which a call starts */
  orr_real
      *previous;  /* [actions]: what was executed before its first action; middle after a reset */
  bool warm;      /* mean is what is left of an earlier plan, or was given */
  orr_real *best; /* [length][actions], the best one scored in this call ... */
  orr_real best_return, best_violation;  /* ... NaN: none yet */
  orr_real *best_returns, *mean_returns; /* [iterations] */
  void *state;  /* what the type keeps: planner->state_size bytes, zeroed when made */
  uint64_t key; /* of its draws in this call */
  int64_t scored, non_finite;
  bool done; /* set by update: no further iteration would help */

  /* of the batch in hand, in the planner's buffers */
  orr_real *candidates; /* [batch][length][actions] */
  orr_real *returns;    /* [batch]; NaN where not finite; those that break constraints are lowered
                           so that they rank behind all that keep them */
  orr_real *gradients;  /* [batch][length][actions] of the return, where the type asks for them */
  const orr_real *violations; /* [batch]; NULL: nothing can be broken */
  int *order;                 /* the `ranked` best, best first, ties by index */
  int finite;                 /* how many returns are; order has as many of them as it ranks */
  int elites; /* of those ranked, to refit to: all, or their share of a smaller batch */
} search;

typedef struct planner_type {
  /* Sets population, iterations and state_size, and what else follows from the options; refuses
     those that do not fit. */
  orr_status (*open)(orr_planner *planner);
  /* Fills candidates 0 .. batch-1. */
  orr_status (*sample)(orr_planner *planner, search *s);
  /* Moves the mean; called when at least one return is finite. */
  void (*update)(orr_planner *planner, search *s);
  /* The rest may be NULL. */
  int (*batch)(const orr_planner *planner); /* candidates of this iteration; NULL: the population */
  void (*begin)(orr_planner *planner, search *s);  /* of a call: a new variance, for example */
  void (*forget)(orr_planner *planner, search *s); /* nothing survives a reset */
  void (*shift)(orr_planner *planner, search *s); /* one decision on; the mean is shifted already */
  void (*close)(orr_planner *planner);            /* what open() made besides the state */
  bool executes_best;                             /* the best plan rather than the mean */
  bool repeats_last; /* a shifted plan goes on with its last decision; else with the middle */
  bool discrete;     /* actions may be discrete */
  bool gradients;    /* of the return are wanted */
  bool derivatives;  /* of dynamics and rewards are wanted */
  bool shrinks;      /* update() takes a batch smaller than the whole one */
  bool starts; /* candidates are where a descent starts: proposals join the first iteration only */
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
  int horizon, repeat; /* steps; steps that each decision is held */
  void *options;       /* <name>_options */
  void *shared;        /* what the type works out once, for all searches; freed with the planner */
  int population, iterations;
  int ranked; /* how many of the best plans update() wants in order; 1, unless open() sets more */
  int proposals;     /* candidates of each iteration that the objective's policy proposes */
  size_t state_size; /* bytes of search.state */
  int length, actions, variables; /* decisions, numbers in an action, length * actions */
  int draws;            /* numbers drawn for a candidate; `variables` unless open() says */
  bool normal;          /* draws are standard normal ones; else uniform in [0, 1) */
  bool wants_gradients; /* of the return, in some iterations; type->gradients, unless open() says */
  bool differentiate;   /* in this one; sample() may say */
  orr_random random;
  bool busy;
  double pace; /* seconds that scoring one plan takes, as calls with a limit learn it; 0: unknown */

  const orr_real *low, *high; /* [actions], infinite where unbounded */
  orr_real *middle, *half;    /* [actions]: of the bounds; 0 and 1 where there are none */

  int states;
  search *searches; /* [states] */

  /* of all searches, one after the other, each [batch] */
  orr_tensor *plans;    /* [states * population, length, actions] ... */
  orr_tensor *wide;     /* ... and with the horizon as length; NULL when repeat is 1 */
  orr_real *candidates; /* the numbers of plans */
  orr_real *returns, *values, *violations; /* for ranking; as scored; the latter two may be NULL */
  orr_real *gradients, *wide_gradients;    /* where the type wants them */
  int *order;
  orr_real *proposed; /* [states * proposals][horizon][actions] */
  orr_real *out;      /* [states][3][horizon][actions]: results when repeat is above 1 */
  orr_real *scratch;  /* [workers][2][max(draws, variables)][BLOCK] */
  int workers;

  /* of the call in progress */
  orr_objective *objective;
  const orr_plan_request *request;
  uint64_t seed;       /* of the objective's draws */
  bool constrained;    /* the objective has side constraints */
  int iteration, last; /* the one in hand, and the last one that the request allows */
  int batch;           /* plans of each state in it */
  double deadline;     /* by orr_clock(); 0: none */
  bool updated;        /* the mean has learned something in this call */
  bool complete;       /* the first batch of this call was whole */
  int part;            /* plans that stand for a whole batch, for which there is no time; or 0 */
};

/* Scores the batch of every search: fills returns, order and finite, and remembers the best
   plans. */
orr_status planner_score(orr_planner *planner);
/* Buffers for `states` searches, which start anew. */
orr_status planner_make_searches(orr_planner *planner, int states);
void planner_free_searches(orr_planner *planner);
/* Scratch for as many threads as the engine has now. */
orr_status planner_make_scratch(orr_planner *planner);

/* Makes candidates of BLOCK lanes out of draws, plan[variables][BLOCK] of draws[draws][BLOCK]; it
   must depend on its arguments only. */
typedef void (*planner_shape)(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                              orr_real plan[][BLOCK]);
/* Uniform inside the bounds, of uniform draws. */
void shape_uniform(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                   orr_real plan[][BLOCK]);
/* Makes candidates first .. last-1, on all threads. Each draw is keyed by (key of the search,
   iteration, candidate, number): who draws it does not matter. */
void planner_sample(orr_planner *planner, search *s, int first, int last, planner_shape shape);

/* The `wanted` (or fewer) greatest finite of n returns as indices, falling; ties by index. Answers
   how many are finite. */
int rank_returns(const orr_real *returns, int n, int wanted, int *order);
/* Lowers the returns of plans with a violation below those of all without: see orr_scoring. */
void lower_violators(orr_real *returns, const orr_real *violations, int n);

/* Mean and variance of the first `elites` plans in order, each [variables]. */
void elite_moments(const orr_planner *planner, const search *s, int elites, double *mean,
                   double *variance);
/* The mean becomes that of the candidates, weighted by exp((return - the highest) / temperature),
   as information theory has it (Williams et al. 2017). open() has made room for it, as
   planner->shared. */
void move_to_weighted_mean(orr_planner *planner, search *s, double temperature);
orr_status make_room_for_weights(orr_planner *planner);

/* Adam on plans: see ascent.c. Arrays are [plans][variables]. */
typedef struct ascent {
  orr_real *points, *first, *second; /* of each plan, and its moments */
  bool *frozen;                      /* [plans]: given up */
  int plans, steps;
  double rate; /* of learning, in halves of an action's range */
  bool squash; /* actions are tanh of the points, where there are bounds */
} ascent;

/* Bytes of the arrays for so many plans, and the arrays in memory of that size. rate and squash are
   the caller's to set. */
size_t ascent_size(const orr_planner *planner, int plans);
void ascent_place(ascent *a, void *memory, const orr_planner *planner, int plans);
void ascent_start(ascent *a, const orr_planner *planner, const orr_real *plans);
/* Moves plans up their gradients; those with numbers that are not finite are given up. Answers how
   many that were whose return is finite. */
int ascent_step(ascent *a, const orr_planner *planner, const orr_real *returns,
                const orr_real *gradients);
/* Writes the plans; `instead` in place of those given up. */
void ascent_write(const ascent *a, const orr_planner *planner, const orr_real *instead,
                  orr_real *plans);

static inline orr_real clamp(orr_real value, orr_real low, orr_real high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

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
/* Memory for plans of so many steps. */
orr_status differences_prepare(differences *d, orr_engine *engine, int horizon, int64_t actions);
/* Fills scoring->gradients, by `calls->score`; expects the memory to be there. */
orr_status differences_gradients(differences *d, const orr_objective_callbacks *calls,
                                 const orr_scoring *scoring);
void differences_free(differences *d, orr_engine *engine);
/* As orr_objective_prepare, for scoring with gradients. */
orr_status objective_prepare_gradients(orr_objective *objective, int n, int horizon);

#endif
