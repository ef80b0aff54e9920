/* simulator.h - the true simulator, as its files share it: objective_env.c (plays plans, and makes one)
   and simulator_linear.c (derivatives along a plan). */
#ifndef PLAN_SIMULATOR_H
#define PLAN_SIMULATOR_H

#include "plan/plan.h"

typedef struct simulator_linear simulator_linear;

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
  simulator_input *inputs; /* [inputs_count]: for the one of `linear` */
  int inputs_count;
  simulator_linear *linear; /* NULL until derivatives were wanted */
} simulator;

/* free_user is not taken over. */
simulator *simulator_new(orr_engine *engine, orr_env *env, const orr_simulator_options *options);
void simulator_free(void *user); /* accepts NULL */

/* The callbacks of an objective. */
orr_status simulator_score(void *user, const orr_scoring *scoring);
orr_status simulator_prepare(void *user, int n, int horizon);
orr_status simulator_set_input(void *user, const char *name, orr_tensor *tensor);
orr_status simulator_linearise(void *user, const orr_linearisation *along);

void simulator_close_linear(simulator *sim);
orr_status simulator_linear_set_input(simulator *sim, const char *name, orr_tensor *tensor);
void simulator_free_inputs(simulator *sim);

#endif
