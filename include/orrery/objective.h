/* objective.h - objectives: what scores plans, and what any of them can be asked.

   A plan is `horizon` actions; a batch of plans is [n][horizon][action size]. An objective answers
   one return per plan, the higher the better: a function of the host (here), a learned rollout and a
   true simulator (rollout.h) are all objectives. They are used by one thread at a time, and share
   their work out over the engine's threads, with the same bits on any number of them. */
#ifndef ORR_OBJECTIVE_H
#define ORR_OBJECTIVE_H

#include "orrery/space.h"
#include "orrery/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct orr_objective orr_objective;

/* One batch of plans to score. */
typedef struct orr_scoring {
  const orr_real *observation; /* [states][observation size]: plan i starts at the one numbered */
  int states;                  /* i / (n / states); it divides n; 0 stands for 1 */
  const orr_real *plans;       /* [n][horizon][action size], inside bounds */
  int n, horizon;
  int64_t step;        /* of the episode, at which the plans start: t of a reward */
  uint64_t seed;       /* of whatever is random inside ... */
  uint32_t iteration;  /* ... drawn anew for every iteration of a planner */
  orr_real *returns;   /* [n], to be filled; not finite: the plan ranks last */
  orr_real *gradients; /* NULL, or [n][horizon][action size]: d return / d plan */
  /* So many plans in a row are variants of one plan, to be compared: they meet the same noise,
     where the objective has a say in it. 0 stands for 1. */
  int variants;
  /* NULL, or [n], to be filled with by how much each plan breaks side constraints: 0 when it keeps
     them. Plans that keep them rank before those that do not. */
  orr_real *violations;
  /* NULL, or a tensor [n or more, horizon, action size] whose memory `plans` points at, for
     objectives that would else copy them. */
  orr_tensor *tensor;
  /* By orr_clock(); 0: none. Once it is past, the answer is wanted no more: an objective may stop
     midway and fail with ORR_LATE, which ends planning with the best plan so far. */
  double deadline;
} orr_scoring;

/* A batch of plans to propose: what a policy would do, as starts and candidates for planners. */
typedef struct orr_proposing {
  const orr_real *observation; /* [states][observation size], as in orr_scoring */
  int states, n, horizon;
  int64_t step;
  uint64_t seed;
  orr_real *plans; /* [n][horizon][action size], to be filled */
} orr_proposing;

/* The dynamics and rewards to first and second order along one plan, for planners that use
   derivatives of the model rather than of the return. S is the size of the model's state. */
typedef struct orr_linearisation {
  const orr_real *observation, *plan; /* [observation size], [horizon][action size] */
  int horizon;
  int64_t step;
  /* To be filled: */
  orr_real *states;                            /* [horizon + 1][S] */
  orr_real *next_s, *next_a;                   /* [horizon][S][S], [horizon][S][actions] */
  orr_real *reward_s, *reward_a;               /* [horizon][S], [horizon][actions] */
  orr_real *reward_ss, *reward_as, *reward_aa; /* [horizon][S][S], [..][actions][S], ... */
  orr_real *value_s, *value_ss;                /* [S], [S][S]: of the value at the horizon */
  double deadline; /* given, by orr_clock(): it may answer ORR_LATE after it; 0: none */
} orr_linearisation;

/* What a host gives to orr_objective_function. `score` runs on the thread that plans. It fails with
   a status, for which planning stops; a bad plan is no failure, its return is not finite. */
typedef struct orr_objective_callbacks {
  size_t size; /* of this struct, set by _defaults */
  const char *name;
  void *user;
  orr_status (*score)(void *user, const orr_scoring *scoring);
  /* Optional: announces the largest batch, so that scoring needs not allocate. */
  orr_status (*prepare)(void *user, int n, int horizon);
  /* Optional: binds a named input, such as a goal. */
  orr_status (*set_input)(void *user, const char *name, orr_tensor *tensor);
  void (*free_user)(void *user);   /* optional: called once */
  orr_space *observation, *action; /* held, not taken over; NULL: any */
  int action_size;                 /* numbers of an action, where `action` does not say; 0: any */
  int horizon;                     /* the only one it scores; 0: any */
  bool gradients;                  /* whether it can fill scoring->gradients */
  /* Without such: whether gradients may be had by central differences of the returns, for which a
     plan is scored 2 * horizon * action size times more. It must know its action space. */
  bool differences;
  bool violations;  /* whether it has side constraints, and fills scoring->violations */
  bool many_states; /* whether it can score plans from several states in one batch */
  bool any_thread;  /* whether it may be called on another thread than the host's */
  /* Optional, for an objective that looks at something of the host's, as a simulator does at its
     environment, and yet runs on any thread: the host's thread takes what it sees now,
     snapshot_size bytes, and another thread scores by that, which stays until the next use. The
     first may be called while the other thread scores; the latter is not. */
  size_t snapshot_size;
  orr_status (*take_snapshot)(void *user, const orr_real *observation, void *snapshot);
  void (*use_snapshot)(void *user, const void *snapshot); /* NULL: what it sees itself, as before */
  orr_status (*propose)(void *user, const orr_proposing *proposing);   /* optional */
  int state_size;                                                      /* S; 0: cannot linearise */
  orr_status (*linearise)(void *user, const orr_linearisation *along); /* optional */
  /* Optional: how far the members of an ensemble are apart along a plan: disagreement[horizon], the
     standard deviation over members of the predicted state, in units of what the state usually
     is. */
  orr_status (*disagree)(void *user, const orr_real *observation, const orr_real *plan, int horizon,
                         orr_real *disagreement);
} orr_objective_callbacks;

ORR_API orr_objective_callbacks orr_objective_callbacks_defaults(void);
/* On failure NULL, and the caller still owns user. */
ORR_API orr_objective *orr_objective_function(orr_engine *engine,
                                              const orr_objective_callbacks *callbacks);

ORR_API orr_objective *orr_objective_retain(orr_objective *objective);
ORR_API void orr_objective_free(orr_objective *objective); /* drops one hold; accepts NULL */
ORR_API orr_engine *orr_objective_engine(const orr_objective *objective);
ORR_API const char *orr_objective_name(const orr_objective *objective);
ORR_API orr_space *
orr_objective_observation_space(const orr_objective *objective);               /* lent; or NULL */
ORR_API orr_space *orr_objective_action_space(const orr_objective *objective); /* lent; or NULL */
ORR_API int64_t orr_objective_action_size(const orr_objective *objective);     /* 0: any */
ORR_API int orr_objective_horizon(const orr_objective *objective);             /* 0: any */
/* Its own ones, or by central differences. */
ORR_API bool orr_objective_has_gradients(const orr_objective *objective);
/* Binds a tensor to a named input (a goal); it is retained, and read at every scoring. */
ORR_API orr_status orr_objective_set_input(orr_objective *objective, const char *name,
                                           orr_tensor *tensor);
/* Allocates for batches of up to n plans: scoring them then allocates nothing. Fails with ORR_STATE
   while it is scoring. */
ORR_API orr_status orr_objective_prepare(orr_objective *objective, int n, int horizon);
ORR_API orr_status orr_objective_score(orr_objective *objective, const orr_scoring *scoring);
ORR_API bool orr_objective_has_violations(const orr_objective *objective);
ORR_API bool orr_objective_has_proposals(const orr_objective *objective);
ORR_API bool orr_objective_many_states(const orr_objective *objective);
ORR_API bool orr_objective_any_thread(const orr_objective *objective);
ORR_API bool orr_objective_has_disagreement(const orr_objective *objective);
ORR_API size_t orr_objective_snapshot_size(const orr_objective *objective); /* bytes; 0: none */
ORR_API orr_status orr_objective_take_snapshot(orr_objective *objective,
                                               const orr_real *observation, void *snapshot);
ORR_API void orr_objective_use_snapshot(orr_objective *objective, const void *snapshot);
ORR_API int orr_objective_state_size(const orr_objective *objective); /* 0: cannot linearise */
/* These fail with ORR_ARGUMENT where the objective cannot do it. */
ORR_API orr_status orr_objective_propose(orr_objective *objective, const orr_proposing *proposing);
ORR_API orr_status orr_objective_linearise(orr_objective *objective,
                                           const orr_linearisation *along);
ORR_API orr_status orr_objective_disagree(orr_objective *objective, const orr_real *observation,
                                          const orr_real *plan, int horizon,
                                          orr_real *disagreement);

#ifdef __cplusplus
}
#endif
#endif
