/* simulator.h - the true simulator, as its files share it: objective_env.c (plays plans, and makes
   one), simulator_rows.c (rewards of a program or a function), simulator_worth.c (what plans are
   worth), simulator_policy.c (proposals), simulator_linear.c (derivatives along a plan). */
#ifndef PLAN_SIMULATOR_H
#define PLAN_SIMULATOR_H

#include "plan/risk.h"

/* What a row of the reward program reads. */
enum { ROW_S, ROW_NEXT, ROW_A, ROW_T, ROW_INPUTS };

struct program_rows {
  orr_run *run;
  orr_tensor *observations, *plans,
      *times;                      /* [rollouts (horizon + 1)], [n horizon], [horizon] rows */
  orr_tensor *indices[ROW_INPUTS]; /* int32 [rows]: fewer plans have the first of them */
  int n;                           /* plans that the run is bound for; 0: none yet */
};

typedef struct simulator_linear simulator_linear;
typedef struct simulator_policy simulator_policy;

/* An input of the reward program that was set. */
typedef struct simulator_input {
  char *name;
  orr_tensor *tensor;
} simulator_input;

typedef struct simulator {
  orr_engine *engine;
  orr_env *env;
  orr_simulator_options options;
  int observation, actions; /* sizes */
  orr_env **copies;         /* [workers]; NULL: env itself is played, not being thread-safe */
  int workers;
  double *state;
  const double *snapshot; /* where plans start; NULL: where env is */
  double *starts,
      *ends;      /* lent, [rollouts][state]: where each starts, instead of `state`, and ends;
                            NULL: nobody asks */
  orr_real *seen; /* [observation] */
  int capacity, horizon; /* plans that the buffers below hold */
  orr_real *rewards;     /* [rollouts][horizon] */
  int *steps;            /* [rollouts], that count */
  orr_status *statuses;  /* [rollouts] */
  /* with a reward program or function: */
  struct program_rows *rows;
  reward_rows function;
  orr_real *observations; /* [rollouts][horizon + 1][observation] */
  const orr_scoring *scoring;
  bool *ended;             /* [rollouts], before the horizon or with its last step */
  struct worth *worth;     /* what rollouts are worth, see simulator_worth.c */
  simulator_input *inputs; /* [inputs_count]: for the one of `linear` */
  int inputs_count;
  simulator_linear *linear; /* NULL until derivatives were wanted */
  simulator_policy *policy; /* NULL: nothing is proposed */
} simulator;

/* free_user is not taken over. */
simulator *simulator_new(orr_engine *engine, orr_env *env, const orr_simulator_options *options);
void simulator_free(void *user); /* accepts NULL */

/* The callbacks of an objective. */
orr_status simulator_score(void *user, const orr_scoring *scoring);
orr_status simulator_prepare(void *user, int n, int horizon);
orr_status simulator_set_input(void *user, const char *name, orr_tensor *tensor);
orr_status simulator_linearise(void *user, const orr_linearisation *along);

orr_status simulator_propose(void *user, const orr_proposing *proposing);

/* Takes the state that plans start in, and copies of env for all threads. observation: NULL, or to
   be env's present one. */
orr_status simulator_start(simulator *sim, const orr_real *observation);

/* Proposals; program may be NULL. */
orr_status simulator_open_policy(simulator *sim, orr_program *program);
void simulator_close_policy(simulator *sim);
orr_status simulator_set_policy_input(simulator *sim, const char *name, orr_tensor *tensor,
                                      bool *found);

void simulator_close_linear(simulator *sim);
orr_status simulator_linear_set_input(simulator *sim, const char *name, orr_tensor *tensor);
void simulator_free_inputs(simulator *sim);

/* Rewards over rows (rollout, step) in place of the environment's own, and ends. */
orr_status simulator_index_rows(simulator *sim, int n); /* for n plans at most, bound for n */
orr_status simulator_use_rows(simulator *sim, int n);
orr_status simulator_run_program(simulator *sim);
orr_status simulator_run_function(simulator *sim);

/* Risk, side constraints, the value at the horizon and what counts after the end. */
orr_status simulator_open_worth(simulator *sim, const orr_simulator_options *options);
void simulator_close_worth(simulator *sim);
/* Buffers for n plans; expects those of simulator to be there. */
orr_status simulator_prepare_worth(simulator *sim, int n);
/* Remembers the events that the reward program gave, events[row * stride + constraint]. */
void simulator_note_events(simulator *sim, const orr_real *events, int stride);
/* Returns and violations of the rollouts that were played. */
orr_status simulator_weigh(simulator *sim);
/* Binds a named input of the value program; *found is set where there is one. */
orr_status simulator_set_value_input(simulator *sim, const char *name, orr_tensor *tensor,
                                     bool *found);

#endif
