/* mpc.h - model-predictive control: observation in, action out. Plans at every step, executes the
   plan's first action, and starts the next plan from the rest of this one.

     orr_mpc *mpc = orr_mpc_new(engine, objective, planner, NULL);
     orr_mpc_act(mpc, observation, action, NULL);  // at every step of an episode
     orr_mpc_reset(mpc);                           // between episodes

   Once warm, acting on one thread neither allocates nor locks, unless the objective does. */
#ifndef ORR_MPC_H
#define ORR_MPC_H

#include "orrery/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct orr_mpc orr_mpc;

typedef struct orr_mpc_options {
  size_t size; /* of this struct, set by _defaults */
  uint64_t seed;
  bool warm_start;             /* true: start from the last plan, shifted */
  int iterations;              /* per plan; 0: the planner's own number */
  double seconds;              /* per plan; 0: no limit */
  const orr_real *safe_action; /* [action size], copied; NULL: 0, moved into bounds */
  int64_t observation_size;    /* when the objective does not say; 0: unknown, not checked */
} orr_mpc_options;

ORR_API orr_mpc_options orr_mpc_options_defaults(void);

/* Holds the objective and the planner; both then belong to this mpc's use. options may be NULL. */
ORR_API orr_mpc *orr_mpc_new(orr_engine *engine, orr_objective *objective, orr_planner *planner,
                             const orr_mpc_options *options);
ORR_API orr_mpc *orr_mpc_retain(orr_mpc *mpc);
ORR_API void orr_mpc_free(orr_mpc *mpc); /* drops one hold; accepts NULL */
ORR_API orr_engine *orr_mpc_engine(const orr_mpc *mpc);
ORR_API orr_objective *orr_mpc_objective(const orr_mpc *mpc); /* lent */
ORR_API orr_planner *orr_mpc_planner(const orr_mpc *mpc);     /* lent */

typedef enum orr_mpc_source { /* where an action came from */
                              ORR_MPC_PLANNED,
                              ORR_MPC_HELD, /* action_repeat: the last action goes on, nothing was planned */
                              ORR_MPC_LAST, /* planning failed: the last plan, shifted */
                              ORR_MPC_SAFE /* planning failed and the last plan is used up: the safe action */
} orr_mpc_source;

typedef struct orr_mpc_info {
  orr_mpc_source source;
  orr_real planned_return; /* of the best plan scored; NaN when nothing was planned */
  int iterations;
  int64_t scored, non_finite; /* plans */
  double seconds;             /* this call took */
} orr_mpc_info;

/* Fills action[action size], always finite and inside bounds, whatever the status:
     ORR_OK           planned, or held
     ORR_LATE         planned, but took longer than the time limit
     ORR_NUMBER       the observation, or the return of every plan, was not finite: last plan or safe action
     ORR_INTERRUPTED, and what an objective fails with: last plan or safe action
   info may be NULL. */
ORR_API orr_status orr_mpc_act(orr_mpc *mpc, const orr_real *observation, orr_real *action,
                               orr_mpc_info *info);

/* A new episode: forgets plan, elites and time. The random stream goes on. */
ORR_API void orr_mpc_reset(orr_mpc *mpc);
/* Starts the random stream anew. With a reset: the same seed gives the same actions. */
ORR_API void orr_mpc_seed(orr_mpc *mpc, uint64_t seed);
/* Scores with another objective from the next plan on, one of the same actions; what else there is,
   such as the last plan, stays. */
ORR_API orr_status orr_mpc_set_objective(orr_mpc *mpc, orr_objective *objective);
/* Replaces the budget from the next plan on; 0: as in the options. */
ORR_API orr_status orr_mpc_set_budget(orr_mpc *mpc, int iterations, double seconds);
/* The last plan as it was made, [horizon][action size]; NULL before the first and after a reset. */
ORR_API const orr_real *orr_mpc_plan(const orr_mpc *mpc);

typedef struct orr_mpc_statistics { /* since creation, or the last orr_mpc_clear_statistics */
  int64_t acts, plans, iterations;
  int64_t late, fallbacks;    /* acts */
  int64_t scored, non_finite; /* plans scored */
  double p50, p99, max, mean; /* seconds per act that planned; percentiles to within 3 % */
} orr_mpc_statistics;

ORR_API void orr_mpc_get_statistics(const orr_mpc *mpc, orr_mpc_statistics *statistics);
ORR_API void orr_mpc_clear_statistics(orr_mpc *mpc);

#ifdef __cplusplus
}
#endif
#endif
