/* plan.h - planning: objectives score plans, planners improve them.

   A plan is `horizon` actions; a batch of plans is [n][horizon][action size]. An objective answers
   one return per plan, the higher the better: a learned rollout, a true simulator and a function of
   the host are all objectives. A planner knows nothing but the action space and the objective.

     orr_objective *objective = orr_objective_env(engine, env, NULL);
     orr_planner_setting settings[] = {{"horizon", 25}, {"population", 40}};
     orr_planner *planner = orr_planner_new(engine, "cem", orr_env_action_space(env), settings, 2);
     orr_plan_request request = orr_plan_request_defaults();
     request.observation = observation;
     orr_plan_result result;
     if (!orr_planner_plan(planner, objective, &request, &result)) ... result.plan[0] ...

   To act in a closed loop see mpc.h. Objectives and planners are used by one thread at a time; they
   share their work out over the engine's threads, with the same bits on any number of them. */
#ifndef ORR_PLAN_H
#define ORR_PLAN_H

#include "orrery/env.h"
#include "orrery/program.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- objectives ---- */

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

/* A reward of the host's for many rows at once: rewards[rows] of s[rows][observation size],
   a[rows][action size], next (as s) and t[rows]. terminated[rows] comes as zeros and may be set to
   1. Called on the thread that plans. A failure stops planning. */
typedef orr_status (*orr_reward_function)(void *user, int rows, const orr_real *s,
                                          const orr_real *a, const orr_real *next,
                                          const orr_real *t, orr_real *rewards,
                                          orr_real *terminated);

/* What a plan is worth whose particles have different returns. */
typedef enum orr_risk {
#define RISK(name, ...) ORR_RISK_##name,
#include "orrery/risks.def"
#undef RISK
} orr_risk;

typedef struct orr_risk_options {
  orr_risk measure;  /* ORR_RISK_mean */
  double parameter;  /* of the measures that have one, see risks.def */
  bool over_members; /* particles of one member are averaged first; each member then weighs the
                        same. Learned rollouts whose particles keep their member only */
} orr_risk_options;

/* The measures, 0 .. count-1; name NULL past the end, parameter "" where there is none. */
ORR_API int orr_risk_count(void);
ORR_API const char *orr_risk_name(int risk);
ORR_API const char *orr_risk_parameter(int risk);
ORR_API const char *orr_risk_doc(int risk);
ORR_API double orr_risk_default(int risk);

/* A learned rollout. The program rolls one plan out:
     "state"   ROW [observation size]: the start; UNIFORM: then all plans start in one state
     "plan"    ROW [horizon, action size]
     "time"    UNIFORM [], optional: the step of the episode at which the plan starts
     "return"  ROW [], the output
     "events"  ROW [constraints], with side constraints: the probability that each event happens
               within the horizon; its mean over particles is not to exceed its limit
   With an ensemble, particle p of every plan uses the elite p % elites for the whole horizon
   (TS-infinity: Chua et al. 2018); the plan's return is the mean over particles, or what `risk`
   makes of them. A particle that is not finite makes its plan rank last. Other inputs of the
   program are set by orr_objective_set_input. With a reward function the output is "states"
   instead, ROW [horizon, observation size]: the states after each action. What particles have in
   common, `first` works out once: a program without draws, with inputs among "state", "plan" and
   "time", as above. Its rows are group * n + plan, for n plans, where groups are the elites in
   order (as many as have particles; without an ensemble all particles are one group); each group
   uses its member's parameters. Every output, ROW, is bound to the rollout's ROW input of the same
   name, each particle reading the row of its group and plan. Derivatives take programs of their
   own, which may have the rollout's inputs, "state" also as ROW:
     gradient  "plan"; outputs "return" ROW [], and "gradient" ROW [horizon, action size]. Batches that
               ask for gradients are scored by it
     path      "plan"; output "states" ROW [horizon, S], after each action, without draws
     linear    ROW inputs "s" [S], "a" [action size], "t" []; outputs next_s, next_a, reward_s, ...
               reward_aa for one step, shaped as in orr_linearisation, and optionally "ended" [], not
               0 where nothing counts any more. S is the observation size. Each elite follows its own
               path; orr_objective_linearise averages over elites; no value at the horizon. */
typedef struct orr_rollout_options {
  size_t size;       /* of this struct, set by _defaults */
  int members;       /* of the ensemble; 0: the program has no members */
  int particles;     /* per plan; 1 */
  const int *elites; /* entries of the members used, copied; NULL: all of them */
  int elites_count;
  orr_space *observation, *action; /* held; NULL: unknown */
  orr_reward_function reward_function;
  void *user;
  void (*free_user)(void *user); /* optional: called once, unless the maker fails */
  orr_program *first;            /* retained; NULL: none */
  orr_risk_options risk;
  const double *limits; /* [constraints], copied: the most probable that each event may be */
  int constraints;
  orr_program *gradient, *path, *linear; /* likewise; path and linear go together */
  /* TS1 (Chua et al. 2018), where finish is not NULL: the program makes one step, of
       "carry"   ROW [observation size + start_count], as an input and as the output: the state first,
                 then what is carried along, which starts as `start`
       "action"  ROW [action size]     "time"  UNIFORM [], optional
     and after each of `horizon` steps the particles of a plan change members, in an order drawn
     anew. `finish`, of a ROW input "carry", has the outputs "return" and "events" above. */
  orr_program *finish; /* retained */
  const orr_real *start;
  int start_count, horizon;
  /* Proposes plans: "state" ROW [observation size], "time" UNIFORM [], optional; output "plans" ROW
     [horizon, action size]. Has no members. Retained. */
  orr_program *policy;
  /* [observation size], with members: what orr_objective_disagree multiplies numbers of a state by,
     to be comparable; needs `states`: "state", "plan"; output "states" ROW [horizon, observation
     size] without draws. */
  const orr_real *scale;
  orr_program *states; /* retained */
} orr_rollout_options;

ORR_API orr_rollout_options orr_rollout_options_defaults(void);
ORR_API orr_objective *orr_objective_program(orr_engine *engine, orr_program *program,
                                             const orr_rollout_options *options);

/* The true simulator: plans start from the state that env is in when they are scored, on copies of
   env in all threads, or one after the other when it is not thread-safe. A noisy environment is
   averaged over particles. The reward is the environment's own, or a program over rows
     "s", "next"  ROW [observation size]     "a"  ROW [action size]     "t"  ROW []
     "reward"     ROW [], the output         "terminated"  ROW [], optional output
     "events"     ROW [constraints], with side constraints: 1 where the event of each happens, or how
                  probably; what happens after the end does not count
   any input of which may be missing, or a callback. Without an output "reward" the program leaves
   the environment's rewards. Nothing counts after a termination but `afterwards`. Gradients are
   central differences of returns (see orr_objective_callbacks.differences). Derivatives along a
   plan are differences on the flat state of the environment, S being its size: for m numbers in
   state and action, m^2 + m + 2 transitions are played for each step of the plan. They are of
   rewards alone: a value at the horizon and `afterwards` are left out. */
typedef struct orr_simulator_options {
  size_t size; /* of this struct, set by _defaults */
  int particles;
  bool any_observation; /* false: an observation that is not env's present one is refused, because
                           plans would start from another state than the caller believes */
  orr_program *reward;
  orr_reward_function reward_function; /* reward must be NULL then */
  void *user;
  void (*free_user)(void *user); /* optional: called once, unless the maker fails */
  orr_risk_options risk;         /* over particles */
  const double *limits;          /* [constraints], copied: see orr_rollout_options; needs reward */
  int constraints;
  double afterwards;  /* the reward of every step after the end; 0 */
  orr_program *value; /* retained; "s" ROW [observation size]; output "value" ROW []: added to the
                         return where the episode has not ended by the horizon */
} orr_simulator_options;

ORR_API orr_simulator_options orr_simulator_options_defaults(void);
/* options may be NULL. */
ORR_API orr_objective *orr_objective_env(orr_engine *engine, orr_env *env,
                                         const orr_simulator_options *options);

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

/* ---- planners ---- */

typedef struct orr_planner orr_planner;

typedef struct orr_planner_setting {
  const char *name; /* "population" */
  double value;
} orr_planner_setting;

/* The planners, 0 .. count-1, and their options. */
typedef struct orr_planner_option {
  const char *name;
  double value, low, high; /* default and range */
  bool whole;              /* a whole number */
  const char *doc;
} orr_planner_option;

ORR_API int orr_planner_count(void);
ORR_API const char *orr_planner_name_at(int index); /* NULL past the end */
ORR_API const char *orr_planner_doc_at(int index);
ORR_API const orr_planner_option *orr_planner_options_at(int index, int *count);

/* Everything is allocated here. Unknown settings are refused with the nearest known one named. */
ORR_API orr_planner *orr_planner_new(orr_engine *engine, const char *name, orr_space *actions,
                                     const orr_planner_setting *settings, int count);
ORR_API orr_planner *orr_planner_retain(orr_planner *planner);
ORR_API void orr_planner_free(orr_planner *planner); /* drops one hold; accepts NULL */
ORR_API orr_engine *orr_planner_engine(const orr_planner *planner);
ORR_API const char *orr_planner_name(const orr_planner *planner);
ORR_API orr_space *orr_planner_action_space(const orr_planner *planner); /* lent */
ORR_API int orr_planner_horizon(const orr_planner *planner);
ORR_API int orr_planner_action_repeat(const orr_planner *planner);
/* What it plans with besides returns: an objective without is refused when planning. */
ORR_API bool orr_planner_wants_gradients(const orr_planner *planner);
ORR_API bool orr_planner_wants_linearisation(const orr_planner *planner);
ORR_API int orr_planner_population(const orr_planner *planner); /* most plans scored at once, for
                                                                   each state */

/* Plans for that many start states in every call, each with a warm start of its own; 1 at first.
   What was kept of earlier plans is forgotten. */
ORR_API orr_status orr_planner_set_states(orr_planner *planner, int states);
ORR_API int orr_planner_states(const orr_planner *planner);

/* Starts the planner's own stream of random numbers; nothing else does. 0 at first. */
ORR_API void orr_planner_seed(orr_planner *planner, uint64_t seed);
/* Forgets the last plan and whatever else was kept; the stream goes on. */
ORR_API void orr_planner_reset(orr_planner *planner);
/* The same for one of several start states. */
ORR_API void orr_planner_reset_one(orr_planner *planner, int state);
/* Warm start: moves what is kept one action (action_repeat steps) on. */
ORR_API void orr_planner_shift(orr_planner *planner);
/* The plan to start from, [states][horizon][action size]; moved into bounds. */
ORR_API orr_status orr_planner_set_plan(orr_planner *planner, const orr_real *plan);

typedef struct orr_plan_request {
  size_t size;                 /* of this struct, set by _defaults */
  const orr_real *observation; /* [states][observation size] */
  int64_t step;                /* of the episode */
  int iterations;              /* at most; 0: the planner's own number */
  /* At most; 0: no limit. No iteration is begun that would not end in time, judged by how long
     plans took lately, and one that does not is cut short where the objective can. Of a population
     that is too large for the time, as many plans are scored as it allows, but one at least. */
  double seconds;
} orr_plan_request;

ORR_API orr_plan_request orr_plan_request_defaults(void);

typedef struct orr_plan_result { /* arrays are lent: valid until the planner is used again */
  const orr_real *plan;          /* [horizon][action size], the one to execute */
  const orr_real *best;          /* [horizon][action size], the best one scored in this call */
  const orr_real *mean;          /* [horizon][action size], the distribution's, or the best */
  orr_real best_return;
  orr_real best_violation; /* by how much it breaks side constraints; 0: not at all */
  int iterations;
  const orr_real *best_returns; /* [iterations], NaN where no return was finite */
  const orr_real *mean_returns; /* [iterations], over the finite ones */
  int64_t scored, non_finite;   /* plans */
  bool usable;                  /* false: no plan had a finite return, `plan` is the start's */
  double overrun;               /* seconds past the time limit; 0: in time */
} orr_plan_result;

/* result[states], or NULL. Fails with what the objective failed with, or with ORR_INTERRUPTED; the
   result is then the best so far. When there was no finite return the status is ORR_OK and `usable`
   false. */
ORR_API orr_status orr_planner_plan(orr_planner *planner, orr_objective *objective,
                                    const orr_plan_request *request, orr_plan_result *result);

#ifdef __cplusplus
}
#endif
#endif
