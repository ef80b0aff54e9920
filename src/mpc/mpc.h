/* mpc.h - what the files of src/mpc share.

   A plan is made for one step of the episode (made_plan.step) and executed from there on: at step t
   its action number t - step is due. That holds for the plan that was just made, for an older one
   when planning failed, and for one that a planning thread began some time ago. What steps are is
   the clock's business (act.c): one per act, or the time that passed in units of step_seconds. */
#ifndef MPC_H
#define MPC_H

#include "base/base.h"
#include "mpc/latency.h"
#include "orrery/mpc.h"

/* What happened while planning; sums since the statistics were cleared. */
typedef struct plan_counts {
  int64_t plans, iterations, scored, non_finite, late, shrunk;
  orr_real planned_return; /* of the last plan */
  double disagreement_sum, disagreement_max;
  int64_t disagreements; /* that the sum has */
} plan_counts;

typedef struct made_plan {
  int64_t step; /* at which it starts */
  bool usable;  /* false: there is none, planning failed */
  orr_real planned_return;
  orr_real violation; /* by how much it breaks side constraints */
  int64_t scored, non_finite;
  orr_real *actions;     /* [horizon][actions] */
  orr_real *observation; /* [observation], that it starts from */
} made_plan;

/* One call of the planner. */
typedef struct attempt {
  int64_t step;
  int64_t episode; /* resets so far */
  orr_status status;
  int iterations, shift; /* shift: decisions that the warm start moved on */
  double overrun;        /* seconds past the limit */
  bool shrunk;           /* there was no time for a whole population */
  plan_counts counts;    /* so far, this one included */
  char message[256];     /* of a planning thread */
  made_plan *plans;      /* [batch] */
} attempt;

typedef struct background background;

struct orr_mpc {
  atomic_int references;
  orr_engine *engine;
  orr_objective *objective;
  orr_planner *planner;
  orr_mpc_options options;
  int iterations; /* the budget in force */
  double seconds;
  int actions, horizon, repeat, batch;
  int64_t observation; /* size; 0: unknown */
  orr_real *safe;      /* [actions] */

  /* Who plans; with a planning thread these are its own while it is at work. */
  int64_t planned_for; /* the step of the last attempt since the reset; -1: none */
  plan_counts counts;
  orr_plan_result *results;  /* [batch] */
  orr_real *disagreement;    /* [horizon], when the options want it */
  double disagreement_takes; /* seconds */

  /* Who executes. */
  attempt attempt;   /* the last one */
  made_plan *latest; /* [batch], the last usable ones */
  orr_real *held;    /* [batch][actions], executed last */
  int64_t step;      /* of this act; -1: before the first since the reset */
  double origin;     /* the clock's time of step 0 */
  double margin;     /* seconds before its limit at which planning is to end: see act.c */
  int64_t acts, fallbacks, late, violations;
  latency latency;
  background *background; /* NULL: plans are made by who acts */
  int64_t episode;
  int paused; /* by orr_mpc_pause */
};

/* Fails when a number of one state's observation is not finite. */
orr_status check_observation(orr_mpc *mpc, const orr_real *observation, int64_t step);
/* Plans for `step`, within `seconds` unless they are 0. Fills `made` but for its episode and
   message. */
void plan_for(orr_mpc *mpc, const orr_real *observation, int64_t step, double seconds,
              attempt *made);

/* Memory for the plans of an attempt, or of the latest ones; false with a message. */
bool new_plans(orr_mpc *mpc, made_plan **plans);
void free_plans(orr_mpc *mpc, made_plan *plans);
void copy_plan(const orr_mpc *mpc, made_plan *to, const made_plan *from);

/* ---- background.c ---- */

orr_status background_open(orr_mpc *mpc);
/* Memory for plans of another horizon; the thread rests. */
orr_status background_change_plans(orr_mpc *mpc);
void background_close(orr_mpc *mpc); /* waits for the thread to end; accepts that there is none */
/* Between these the thread plans nothing, and what is its own is the caller's. They nest, and do
   nothing without a thread. */
void background_rest(orr_mpc *mpc);
void background_go_on(orr_mpc *mpc);
/* The thread rests, and will not plan for what was handed in before. */
void background_forget(orr_mpc *mpc);
/* What counts of attempts not taken yet become: the mpc's. The thread rests. */
void background_clear_counts(orr_mpc *mpc);
/* Hands the observation in. */
orr_status background_show(orr_mpc *mpc, const orr_real *observation);
/* The newest attempt of this episode that was not there before, NULL when there is none. `wait`:
   until there is, or `seconds` have passed (0: no limit). */
const attempt *background_newest(orr_mpc *mpc, bool wait, double seconds);
/* Room for what this objective takes with an observation, all of it or none; the thread rests. */
orr_status background_make_snapshots(orr_mpc *mpc, const orr_objective *objective);

#endif
