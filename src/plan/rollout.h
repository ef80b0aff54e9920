/* rollout.h - a learned rollout, as its files share it: objective_program.c (scores, and makes
   one), rollout_layout.c (its rows), rollout_check.c (what it accepts), rollout_steps.c and
   rollout_steps_gradient.c (TS1),
   rollout_policy.c (proposals), rollout_disagreement.c, rollout_gradient.c and rollout_linear.c
   (its derivatives). */
#ifndef PLAN_ROLLOUT_H
#define PLAN_ROLLOUT_H

#include "plan/risk.h"

/* Which row is which, for the plans of the last batch, in memory that suffices for the largest. */
typedef struct layout {
  int n, states;     /* plans; 0: none yet; states that they start from */
  orr_tensor *index; /* int32 [n * particles]: row to plan */
  orr_tensor *start; /* row to state; NULL where all plans start in one */
  /* With a first program: its rows to plans and to states, and a particle's row to its. */
  orr_tensor *first, *first_start, *shared;
} layout;

typedef struct rollout_gradient rollout_gradient;
typedef struct rollout_linear rollout_linear;
typedef struct rollout_slopes rollout_slopes;

typedef struct learned {
  orr_engine *engine;
  orr_program *program, *first; /* first: NULL or what particles share */
  orr_run *run, *first_run;
  int particles, groups; /* groups: members that have particles; 0: no members */
  int *entries;          /* [groups]: member that each group uses */
  int *slots;            /* [groups or 1]: particles in each */
  int64_t *sizes;        /* [groups]: rows in each */
  int horizon, actions, observation;
  int stride;       /* between the returns of rows: 0 when all are one number */
  bool many_states; /* each row has a state of its own, not all the same one */
  orr_tensor *state, *time,
      *plans;              /* [observation], or [capacity, observation] for many states; and
                                       [capacity, horizon, actions], to copy plans to */
  orr_tensor *bound_plans; /* lent: what the run reads, `plans` or a planner's own */
  int capacity;
  layout layout;
  rollout_gradient *gradient; /* NULL: gradients are not known */
  rollout_linear *linear;     /* NULL: nor are derivatives along a plan */
  reward_rows rows;           /* of a reward function */
  orr_real *row_returns;      /* [capacity * particles], with one */
  void (*free_user)(void *user);
  orr_risk_options risk;
  int constraints, event_stride; /* side constraints; as stride, of "events" */
  double *limits;                /* [constraints] */
  double *scratch;               /* [particles + constraints], of one plan at a time */
  orr_program *finish; /* TS1: the program makes one step, this one says what it was worth */
  struct rollout_steps *steps;
  rollout_slopes *slopes; /* gradients with TS1; NULL: not known */
  struct rollout_policy *policy;
  struct rollout_disagreement *disagreement;
} learned;

/* Its number; -1: the program has no such input. */
int rollout_find_input(const orr_program *program, const char *name);

int rollout_find_output(const orr_program *program, const char *name);
/* Whether there is such an output, ROW or, unless `row`, the same for all rows; stride may be NULL. */
bool rollout_output_fits(const orr_program *program, const char *name, int axes,
                         const int64_t *shape, bool row, int *stride);

/* Rows for n plans from so many states, read from `plans`; fewer than before need no memory. */
orr_status rollout_use_layout(learned *model, int n, int states, orr_tensor *plans);
void rollout_free_layout(learned *model);
/* index[n * times]: the plans one after the other, `times` times over, in units of `each`. */
bool rollout_index_plans(orr_engine *engine, orr_tensor **index, int n, int times, int each);
/* Rows of a run: model->sizes of each group, or all of them where there are no members. */
orr_status rollout_group_rows(const learned *model, orr_run *run, int64_t rows);

/* These read sizes from the programs and the options into the rollout. */
orr_status rollout_check_program(learned *model);
orr_status rollout_check_output(learned *model, const orr_program *program);
orr_status rollout_check_first(const learned *model);
orr_status rollout_check_risk(learned *model, const orr_rollout_options *options);
orr_status rollout_check_members(learned *model, const orr_rollout_options *options);

/* Derivatives, where there are programs for them. */
orr_status rollout_open_gradient(learned *model, orr_program *program);
void rollout_close_gradient(learned *model);
/* Room for n plans; nothing without gradients. */
orr_status rollout_prepare_gradient(learned *model, int n);
bool rollout_gradient_has_input(const learned *model, const char *name);
orr_status rollout_gradient_set_input(learned *model, const char *name, orr_tensor *tensor);
orr_status rollout_score_gradient(learned *model, const orr_scoring *scoring);
/* What plan i of n is worth by the returns of rows (slot * n + plan), `stride` apart; NaN when one is
   not finite. values [3][particles] is scratch, of which the last part becomes what each particle
   weighs in the gradient. */
double rollout_weigh(const learned *model, const orr_real *returns, size_t stride, size_t plan,
                     size_t n, double *values);

orr_status rollout_open_linear(learned *model, orr_program *path, orr_program *program);
void rollout_close_linear(learned *model);
bool rollout_linear_has_input(const learned *model, const char *name);
orr_status rollout_linear_set_input(learned *model, const char *name, orr_tensor *tensor);
int rollout_linear_size(const learned *model); /* S; 0: cannot linearise */
orr_status rollout_linearise(void *user, const orr_linearisation *along);

/* TS1, rollout_steps.c: what is open after a successful _open is freed by _close, also in part. */
orr_status rollout_open_steps(learned *model, const orr_rollout_options *options);
void rollout_close_steps(learned *model);
orr_status rollout_prepare_steps(learned *model, int n);
/* Runs all steps and `finish`, whose run is *done afterwards. kept: NULL, or [horizon][rows][width],
   what each step was given. */
orr_status rollout_run_steps(learned *model, const orr_scoring *scoring, orr_real *kept,
                             orr_run **done);
/* Its parts: gives a run the actions; runs step t of it; the order in which the particles of a plan
   change members after step t, lent until the next call. */
orr_status rollout_bind_actions(const learned *model, orr_run *run);
orr_status rollout_run_step(learned *model, orr_run *run, const orr_scoring *scoring, int t);
const int32_t *rollout_order_after(const learned *model, const orr_scoring *scoring, int t,
                                   int plan);

/* Gradients with TS1. */
orr_status rollout_open_slopes(learned *model, orr_program *program, int width);
void rollout_close_slopes(learned *model);
orr_status rollout_set_slopes_input(learned *model, const char *name, orr_tensor *tensor,
                                    bool *found);
orr_status rollout_score_slopes(learned *model, const orr_scoring *scoring);

/* The run of `finish`. */
orr_run *rollout_steps_finish(const learned *model);

/* Proposals, rollout_policy.c. */
orr_status rollout_open_policy(learned *model, const orr_rollout_options *options);
void rollout_close_policy(learned *model);
orr_status rollout_propose(void *model, const orr_proposing *proposing);

/* Disagreement of members, rollout_disagreement.c. */
orr_status rollout_open_disagreement(learned *model, const orr_rollout_options *options);
void rollout_close_disagreement(learned *model);
orr_status rollout_disagree(void *model, const orr_real *observation, const orr_real *plan,
                            int horizon, orr_real *disagreement);

/* Binds a named input in those of the three that have it; *found is set where one has. */
orr_status rollout_set_other_inputs(learned *model, const char *name, orr_tensor *tensor,
                                    bool *found);

#endif
