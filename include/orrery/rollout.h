/* rollout.h - the objectives that play plans out: learned rollouts, by programs, and the true
   simulator, by environments. Rewards may be callbacks of the host; a plan that is played several
   times (particles) is worth what a measure of risk makes of its returns.

     orr_rollout_options options = orr_rollout_options_defaults();
     options.particles = 20;
     orr_objective *objective = orr_objective_program(engine, program, &options); */
#ifndef ORR_ROLLOUT_H
#define ORR_ROLLOUT_H

#include "orrery/env.h"
#include "orrery/objective.h"
#include "orrery/program.h"

#ifdef __cplusplus
extern "C" {
#endif

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
     path      "plan"; output "states" ROW [horizon + 1, S], the start and after each action, without
               draws
     linear    ROW inputs "s" [S], "a" [action size], "t" [], and "last" [], 1 at the plan's last step
               and else 0; outputs next_s, next_a, reward_s, ... reward_aa for one step, shaped as in
               orr_linearisation. S is the observation size, or more: what else a step depends on
               follows the observation, such as the probability that the episode still goes on. Each
               elite follows its own path; orr_objective_linearise averages over elites. A value at
               the horizon belongs to the reward of the last step. */
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
     anew. `finish`, of a ROW input "carry", has the outputs "return" and "events" above. For gradients
     it also has "slope" ROW, of "return" with respect to "carry", and `gradient` takes a step back: it
     has the step's inputs and "after" ROW, shaped as "carry"; outputs "carry" and "action" ROW, the
     gradients of the sum of after * (the step's output). It must draw what the step draws. */
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
  /* Proposes plans, played step by step: "s" ROW [observation size], "time" UNIFORM [], optional;
     output "action" ROW [action size]. Where an episode ends, what follows is for its last state.
     Retained. */
  orr_program *policy;
} orr_simulator_options;

ORR_API orr_simulator_options orr_simulator_options_defaults(void);
/* options may be NULL. */
ORR_API orr_objective *orr_objective_env(orr_engine *engine, orr_env *env,
                                         const orr_simulator_options *options);

#ifdef __cplusplus
}
#endif
#endif
