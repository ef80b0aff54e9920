/* plan.h - planners improve plans against an objective, and know nothing but it and the action
   space.

     orr_objective *objective = orr_objective_env(engine, env, NULL);
     orr_planner_setting settings[] = {{"horizon", 25}, {"population", 40}};
     orr_planner *planner = orr_planner_new(engine, "cem", orr_env_action_space(env), settings, 2);
     orr_plan_request request = orr_plan_request_defaults();
     request.observation = observation;
     orr_plan_result result;
     if (!orr_planner_plan(planner, objective, &request, &result)) ... result.plan[0] ...

   Plans are shaped as in objective.h. To act in a closed loop see mpc.h. A planner is used by one
   thread at a time; it shares its work out over the engine's threads, with the same bits on any
   number of them. */
#ifndef ORR_PLAN_H
#define ORR_PLAN_H

#include "orrery/objective.h"

#ifdef __cplusplus
extern "C" {
#endif

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
   All meet the same random numbers: each state's plan has the bits that a planner of that state
   alone would give with the same seed, unless the objective itself draws (states of a learned model
   that are sampled), which it does for each row of the whole batch. What was kept of earlier plans
   is forgotten. */
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
  bool shrunk; /* there was no time to score a whole population: a smaller one stood for it */
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
