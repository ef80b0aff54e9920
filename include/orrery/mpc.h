/* mpc.h - model-predictive control: observation in, action out. Plans at every step, executes the
   plan's first action, and starts the next plan from the rest of this one.

     orr_mpc *mpc = orr_mpc_new(engine, objective, planner, NULL);
     orr_mpc_act(mpc, observation, action, NULL);  // at every step of an episode
     orr_mpc_reset(mpc);                           // between episodes

   Time: a limit in seconds is kept by planning for a little less (see `margin` below); an iteration
   that would not end in time is not begun, and one that does not end in time is cut short where the
   objective can. What there is then is the plan. With step_seconds the last plan is brought forward
   by the time that passed, not by the number of calls.

   A planning thread (option `background`): orr_mpc_act hands the newest observation in and at once
   answers what the newest plan has for the present step. (A simulator gets the environment's state
   of that moment with it.) While the thread plans, the host may do what it likes with its
   environments, its replay and other engines, and call anything of this header, which waits for the
   thread where it must (act never does, but for the first plan of an episode). Programs that update
   tensors, as training does, and a change of the number of threads are refused with ORR_BUSY
   between orr_mpc_new and orr_mpc_pause; tensors that the objective reads, such as parameters and
   goals, must not be written either, nor the objective and the planner be used directly. Of two
   threads that run programs at the same time one has the engine's pool, the other works alone.

   Once warm, acting on one thread neither allocates, locks nor calls the system, unless the
   objective does; with a planning thread it may wake that one. */
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
  /* Seconds of a step of the environment, when time is real: the present step is then the time
     since the first act of the episode, rounded to whole steps. 0: one step passes at each act. */
  double step_seconds;
  double (*clock)(void *user); /* seconds, for step_seconds; NULL: orr_clock */
  void *clock_user;
  /* These three want the size of observations to be known, a batch only above 1. */
  bool background;   /* plans in a thread of its own, which the objective must allow (any_thread) */
  int batch;         /* states that are planned for at the same time, by orr_mpc_act_many; 1 */
  bool disagreement; /* measures it for every plan: see the statistics */
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

/* Where an action came from. */
typedef enum orr_mpc_source {
  ORR_MPC_PLANNED,
  ORR_MPC_HELD, /* action_repeat: the last action goes on, nothing was planned */
  ORR_MPC_LAST, /* planning failed: the last plan, shifted */
  ORR_MPC_SAFE  /* planning failed and the last plan is used up: the safe action */
} orr_mpc_source;

typedef struct orr_mpc_info {
  orr_mpc_source source;
  orr_real planned_return; /* of the best plan scored; NaN when nothing was planned */
  orr_real violation;      /* by how much the plan breaks side constraints; 0: not at all */
  int iterations;
  int64_t scored, non_finite; /* plans */
  double seconds;             /* this call took */
  int64_t step;               /* of the episode: 0 at the first act after a reset */
  int age;                    /* steps since the plan that the action is from was begun */
  int shift; /* decisions that the last plan was brought forward by, as a warm start */
} orr_mpc_info;

/* Fills action[action size], always finite and inside bounds, whatever the status:
     ORR_OK           planned, or held
     ORR_LATE         took longer than the time limit; or no plan could be scored in time:
                      last plan or safe action
     ORR_NUMBER       the observation, or the return of every plan, was not finite: last plan
                      or safe action
     ORR_INTERRUPTED, and what an objective fails with: last plan or safe action
   info may be NULL. */
ORR_API orr_status orr_mpc_act(orr_mpc *mpc, const orr_real *observation, orr_real *action,
                               orr_mpc_info *info);
/* The same for `batch` states: observations[batch][observation size], actions[batch][action size],
   and infos[batch] or NULL. State i gets the bits that an mpc of its own, with the same seed and
   calls, would give: they share their random numbers. (Where the objective draws, as rollouts with
   sampled states do, the draws belong to the rows of the whole batch, and only the distribution is
   the same; so with `seconds`.) An observation that is not finite concerns its own state only, and
   the status is the first failure's. The objective must be able to score plans from many states. */
ORR_API orr_status orr_mpc_act_many(orr_mpc *mpc, const orr_real *observations, orr_real *actions,
                                    orr_mpc_info *infos);

/* A new episode: forgets plan, elites and time. The random stream goes on. */
ORR_API void orr_mpc_reset(orr_mpc *mpc);
/* The same for one of a batch of states; steps are counted for all of them together, and go on. The
   next act plans, for all of them, also where action_repeat would hold an action. */
ORR_API orr_status orr_mpc_reset_one(orr_mpc *mpc, int state);
/* Starts the random stream anew. With a reset: the same seed gives the same actions. */
ORR_API void orr_mpc_seed(orr_mpc *mpc, uint64_t seed);
/* Scores with another objective from the next plan on, one of the same actions; what else there is,
   such as the last plan, stays. */
ORR_API orr_status orr_mpc_set_objective(orr_mpc *mpc, orr_objective *objective);
/* Plans with another planner (and, unless it is NULL, another objective), of the same actions, from
   the next plan on. What is left of the last plan is where it starts, as far as its horizon
   reaches, and its stream of random numbers starts with the seed of the options. */
ORR_API orr_status orr_mpc_set_planner(orr_mpc *mpc, orr_planner *planner,
                                       orr_objective *objective);
/* Binds a named input of the objective. */
ORR_API orr_status orr_mpc_set_input(orr_mpc *mpc, const char *name, orr_tensor *tensor);
/* Replaces the budget from the next plan on; 0: as in the options. */
ORR_API orr_status orr_mpc_set_budget(orr_mpc *mpc, int iterations, double seconds);
/* The last plan as it was made, [horizon][action size]; NULL before the first and after a reset. */
ORR_API const orr_real *orr_mpc_plan(const orr_mpc *mpc);
ORR_API int orr_mpc_batch(const orr_mpc *mpc);
/* The step_seconds of an mpc with a planning thread: whoever steps a simulated environment faster
   leaves it no time to plan. 0: at any pace. */
ORR_API double orr_mpc_pace(const orr_mpc *mpc);
/* How far the model's members are apart along the last plan, from the observation it was made for:
   disagreement[horizon], see orr_objective_disagree. Fails before the first plan, and where the
   size of observations is unknown. */
ORR_API orr_status orr_mpc_disagreement(orr_mpc *mpc, orr_real *disagreement);

/* The planning thread rests, once the plan that it is at is made; acting meanwhile goes on with the
   last plan. Pauses nest. Both do nothing without a planning thread. */
ORR_API void orr_mpc_pause(orr_mpc *mpc);
ORR_API void orr_mpc_resume(orr_mpc *mpc);

typedef struct orr_mpc_statistics { /* since creation, or the last orr_mpc_clear_statistics */
  int64_t acts, plans, iterations;
  int64_t late, fallbacks; /* acts; with a planning thread late is plans and waits */
  int64_t violations; /* acts that planned, and found no plan that keeps all side constraints */
  int64_t shrunk;     /* plans: there was no time for a whole population */
  int64_t scored, non_finite; /* plans scored */
  double p50, p99, max, mean; /* seconds per act that planned; percentiles to within 3 % */
  double margin;              /* seconds before its limit at which planning is to end, as learned */
  orr_real planned_return;    /* of the last plan; NaN before the first */
  /* Over all plans, with option disagreement; NaN without. */
  double disagreement, max_disagreement;
} orr_mpc_statistics;

ORR_API void orr_mpc_get_statistics(const orr_mpc *mpc, orr_mpc_statistics *statistics);
ORR_API void orr_mpc_clear_statistics(orr_mpc *mpc);

#ifdef __cplusplus
}
#endif
#endif
