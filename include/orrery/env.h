/* env.h - environments: reset, step, spaces, optional drawing.

   Underneath, an environment is a set of pure functions over a flat state of doubles: reset fills
   it, step advances it, observe reads it. So copies for threads, planning with the true simulator
   and going back to an earlier state are trivial. A host (or a Lua script) gives the same functions
   as callbacks; one that keeps its state elsewhere says so by declaring no state fields.

     orr_env *env = orr_env_new(engine, "pendulum", NULL);
     orr_env_reset(env, 1, observation);
     while (!result.terminated && !result.truncated) {
       ... choose an action from the observation ...
       if (orr_env_step(env, action, observation, &result)) break; // message in the engine
     }
     orr_env_free(env); */
#ifndef ORR_ENV_H
#define ORR_ENV_H

#include "orrery/image.h"
#include "orrery/space.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct orr_env orr_env;

typedef struct orr_env_result {
  orr_real reward;
  bool terminated; /* the task is over: nothing follows, values after it are 0 */
  bool truncated;  /* only the time is over: max_steps was reached, the world goes on */
} orr_env_result;

typedef struct orr_env_setting {
  const char *name; /* "gravity" */
  double value;
} orr_env_setting;

typedef struct orr_env_options {
  size_t size;       /* of this struct, set by _defaults */
  int64_t max_steps; /* steps of an episode; -1: the environment's own number, 0: no limit */
  const orr_env_setting *settings;
  int settings_count;
} orr_env_options;

ORR_API orr_env_options orr_env_options_defaults(void);

/* A built-in environment: see orr_env_builtin_name. options may be NULL. */
ORR_API orr_env *orr_env_new(orr_engine *engine, const char *name, const orr_env_options *options);

/* What a host gives. Every callback gets `user`. One that fails returns a status, and may first
   have told why with orr_engine_fail unless the environment is thread-safe. Callbacks of a
   thread-safe environment must depend on nothing but their arguments and an unchanging user. */
typedef struct orr_env_callbacks {
  size_t size; /* of this struct, set by _defaults */
  const char *name;
  orr_space *observation, *action; /* held, not taken over */
  orr_space *state;  /* NULL: the callbacks keep the state; it cannot be read or set */
  int64_t max_steps; /* 0: no limit */
  bool thread_safe;
  void *user;
  orr_status (*reset)(void *user, orr_random *random, double *state);
  /* action: inside its bounds. Sets reward and terminated of the result, and truncated only when
     the time ends by another rule than max_steps. */
  orr_status (*step)(void *user, double *state, const orr_real *action, orr_random *random,
                     orr_env_result *result);
  orr_status (*observe)(void *user, const double *state, orr_real *observation);
  orr_status (*draw)(void *user, const double *state, orr_canvas *canvas); /* optional */
  /* Optional: told that the state was set from outside, for callbacks that mirror it. */
  orr_status (*restore)(void *user, const double *state);
  void (*free_user)(void *user); /* optional: called once, with the last copy */
} orr_env_callbacks;

ORR_API orr_env_callbacks orr_env_callbacks_defaults(void);
/* On failure NULL, and the caller still owns user. */
ORR_API orr_env *orr_env_from_callbacks(orr_engine *engine, const orr_env_callbacks *callbacks);

/* An independent environment in the same state, sharing only what never changes: one per thread.
   NULL with a message for environments that are not thread-safe. */
ORR_API orr_env *orr_env_copy(const orr_env *env);
ORR_API orr_env *orr_env_retain(orr_env *env);
ORR_API void orr_env_free(orr_env *env); /* drops one hold; accepts NULL */

ORR_API orr_engine *orr_env_engine(const orr_env *env);
ORR_API const char *orr_env_name(const orr_env *env);
ORR_API orr_space *orr_env_observation_space(const orr_env *env); /* lent */
ORR_API orr_space *orr_env_action_space(const orr_env *env);
ORR_API orr_space *orr_env_state_space(const orr_env *env); /* NULL: the state is hidden */
ORR_API int64_t orr_env_max_steps(const orr_env *env);      /* 0: no limit */
ORR_API int64_t orr_env_steps(const orr_env *env);          /* since the last reset */
ORR_API bool orr_env_thread_safe(const orr_env *env);
ORR_API bool orr_env_ended(const orr_env *env); /* a reset is due */

/* Starts an episode from the seed: same seed, same start, same noise. */
ORR_API orr_status orr_env_reset(orr_env *env, uint64_t seed, orr_real *observation);
/* The same from a stream, which is advanced: many episodes from one seed. */
ORR_API orr_status orr_env_reset_from(orr_env *env, orr_random *random, orr_real *observation);

/* One step. The action is moved into its bounds first, as Gymnasium's pendulum does; a discrete one
   outside is refused. An action, reward or observation that is not finite gives ORR_NUMBER, with
   environment, step and field in the message; stepping past the end gives ORR_STATE. After a
   failure the environment is as before the call (when the callbacks keep the state: ended, reset is
   due). */
ORR_API orr_status orr_env_step(orr_env *env, const orr_real *action, orr_real *observation,
                                orr_env_result *result);

ORR_API orr_status orr_env_observe(orr_env *env, orr_real *observation);

/* The flat state, orr_space_size(state space) doubles. Setting it starts counting steps at 0 again
   and ends the end of an episode. */
ORR_API orr_status orr_env_get_state(const orr_env *env, double *state);
ORR_API orr_status orr_env_set_state(orr_env *env, const double *state);
ORR_API void orr_env_set_steps(orr_env *env, int64_t steps);
/* The stream that noise is taken from: to save it, or to give copies their own. */
ORR_API orr_random *orr_env_random(orr_env *env);

/* Plays `horizon` actions from `state`, ignoring max_steps; the environment's own state, steps and
   end stay as they are.
     actions       [horizon][action size], moved into bounds
     rewards       [horizon]; 0 after termination, NaN from the first number that is not finite on
     observations  NULL or [horizon + 1][observation size]: the start's first; after the end the
                   last one is repeated
     steps         NULL or the steps until termination, `horizon` when there was none
     terminated    NULL or whether there was one
   Thread-safe environments: touches this copy and the outputs only, no allocation, no message; a
   failing callback or NaN shows as NaN rewards with ORR_NUMBER. */
ORR_API orr_status orr_env_rollout(orr_env *env, const double *state, const orr_real *actions,
                                   int horizon, orr_real *rewards, orr_real *observations,
                                   int *steps, bool *terminated);

/* The flat state that the last orr_env_rollout of this environment ended in. */
ORR_API void orr_env_rollout_state(const orr_env *env, double *state);

/* Draws the present state; ORR_STATE when the environment cannot draw. */
ORR_API bool orr_env_can_draw(const orr_env *env);
ORR_API orr_status orr_env_draw(orr_env *env, orr_canvas *canvas);

/* The built-in environments, 0 .. count-1: name, one line about it, and its settings. */
typedef struct orr_env_setting_info {
  const char *name;
  double value, low, high; /* default and range */
  const char *doc;
} orr_env_setting_info;

ORR_API int orr_env_builtin_count(void);
ORR_API const char *orr_env_builtin_name(int index); /* NULL past the end */
ORR_API const char *orr_env_builtin_doc(int index);
ORR_API const orr_env_setting_info *orr_env_builtin_settings(int index, int *count);

#ifdef __cplusplus
}
#endif
#endif
