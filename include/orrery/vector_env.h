/* vector_env.h - many copies of an environment, stepped together on the engine's threads. A copy
   whose episode has ended starts the next one by itself, and everything may go into a replay on the
   way.

   Copy i draws the seeds of its episodes from stream i of the seed, so what it lives through
   depends neither on the other copies nor on the number of threads.

     orr_vector_env *many = orr_vector_env_new(env, 16, NULL);
     orr_vector_env_reset(many, seed);
     for (;;) {
       ... choose actions[16][action size] from orr_vector_env_results(many)->observation ...
       if (orr_vector_env_step(many, actions)) break; // message in the engine
     }
     orr_vector_env_free(many);

   A step has two halves, for tasks whose reward is computed elsewhere, for all copies at once:

     orr_vector_env_advance(many, actions);
     ... reward[i] of observation, action and final_observation ...
     orr_vector_env_settle(many, &(orr_vector_env_verdict){.reward = reward}); */
#ifndef ORR_VECTOR_ENV_H
#define ORR_VECTOR_ENV_H

#include "orrery/env.h"
#include "orrery/replay.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ORR_VECTOR_ENV_COPIES 65536 /* the most */
#define ORR_VECTOR_ENV_FINISHED \
  65536 /* finished episodes kept for who asks; past that the older half goes */

typedef struct orr_vector_env orr_vector_env;

typedef struct orr_vector_env_options {
  size_t size;        /* of this struct, set by _defaults */
  orr_replay *replay; /* held, not taken over; NULL: nothing is recorded */
  int64_t
      max_steps; /* steps after which an episode is truncated at the latest; 0: the environment's
      own */
} orr_vector_env_options;

ORR_API orr_vector_env_options orr_vector_env_options_defaults(void);

/* `copies` independent copies of a thread-safe environment, which itself stays as it is. options
   may be NULL. A replay must have the environment's spaces (ORR_FIELD). */
ORR_API orr_vector_env *orr_vector_env_new(orr_env *env, int64_t copies,
                                           const orr_vector_env_options *options);
/* The given environments themselves, held, of equal observation and action spaces (ORR_SHAPE), none
   twice; NULL where there is none. Unless all are thread-safe, they are stepped in turn on the
   calling thread. */
ORR_API orr_vector_env *orr_vector_env_from(orr_env *const *envs, int64_t count,
                                            const orr_vector_env_options *options);
ORR_API orr_vector_env *orr_vector_env_retain(orr_vector_env *many);
/* Drops one hold; accepts NULL. Episodes under way are lost: see orr_vector_env_cut. */
ORR_API void orr_vector_env_free(orr_vector_env *many);

ORR_API orr_engine *orr_vector_env_engine(const orr_vector_env *many);
ORR_API int64_t orr_vector_env_copies(const orr_vector_env *many);
ORR_API orr_env *orr_vector_env_copy(const orr_vector_env *many,
                                     int64_t index);                   /* lent; to look at */
ORR_API orr_replay *orr_vector_env_replay(const orr_vector_env *many); /* lent; or NULL */
ORR_API bool
orr_vector_env_is_pending(const orr_vector_env *many); /* orr_vector_env_settle is due */

/* What the last reset or step left, lent for as long as the vector environment lives and rewritten
   by the next; n: the copies. Real numbers, 1 for true. */
typedef struct orr_vector_env_rows {
  orr_tensor *observation; /* [n, S]: what the next action is chosen from */
  /* [n, S]: what the step led to: the observation above, but where an episode ended, its last one
     */
  orr_tensor *final_observation;
  orr_tensor *action; /* [n, A]: of the last step, as moved into its bounds */
  orr_tensor *reward, *terminated, *truncated; /* [n] */
  orr_tensor *time; /* [n]: steps of the episode before the next one: 0 after a start */
} orr_vector_env_rows;
ORR_API const orr_vector_env_rows *orr_vector_env_results(const orr_vector_env *many);

/* Starts an episode in every copy; those under way are dropped. Copy i takes the seeds of its
   episodes (orr_env_reset) from orr_random_new(seed, i), 63 bits of two draws each: high word
   first, shifted right by one. A failure names the copy; a reset is then due. */
ORR_API orr_status orr_vector_env_reset(orr_vector_env *many, uint64_t seed);

/* orr_vector_env_advance, then orr_vector_env_settle without a verdict. */
ORR_API orr_status orr_vector_env_step(orr_vector_env *many, const orr_real *actions);

/* Steps every copy by actions [n][action size]. Fills final_observation, action, reward, terminated
   and truncated; observation and time are still those before. On failure (ORR_NUMBER, ORR_CALLBACK
   ...; the message names the first copy) every copy is as before the call; where one keeps its
   state to itself and cannot go back, a reset is due. ORR_STATE before a reset, or when settle is
   due. */
ORR_API orr_status orr_vector_env_advance(orr_vector_env *many, const orr_real *actions);

/* What a task says of the step, [n] each; NULL: nothing. */
typedef struct orr_vector_env_verdict {
  const orr_real *reward; /* takes the place of the environment's own */
  /* Above 0.5 means yes; anything less, and NaN, no. */
  const orr_real *terminated; /* the episode is over, besides those that the environment ends */
  const orr_real *success;    /* the state reached is a success */
} orr_vector_env_verdict;

/* Ends the step: records it, starts anew what has ended, and makes `observation` what comes next.
   On failure (ORR_MEMORY, a start that fails, a reward that is not finite) call it again to go on
   where it stopped, or reset. */
ORR_API orr_status orr_vector_env_settle(orr_vector_env *many,
                                         const orr_vector_env_verdict *verdict);

/* An extra field of the replay: values [n][numbers of the field], of its dtype, are kept with the
   newest observation of each copy (or its next step) and with all that follow, until they are set
   again. So a task's identifier is set when an episode starts. */
ORR_API orr_status orr_vector_env_set(orr_vector_env *many, const char *field, const void *values);

/* Puts what is under way into the replay, truncated; a reset is then due. After ORR_MEMORY it may
   be called again. */
ORR_API orr_status orr_vector_env_cut(orr_vector_env *many);

typedef struct orr_vector_env_episode {
  int64_t copy;
  double total; /* the sum of its rewards, undiscounted */
  int64_t length;
  bool terminated;
  bool judged;                  /* a verdict said something about success */
  bool success, success_at_end; /* at any step; at its last */
} orr_vector_env_episode;

/* Episodes that ended since orr_vector_env_forget, in order of time, then of copies; lent until the
   next call that changes `many`. */
ORR_API const orr_vector_env_episode *orr_vector_env_finished(const orr_vector_env *many,
                                                              int64_t *count);
ORR_API void orr_vector_env_forget(orr_vector_env *many);

#ifdef __cplusplus
}
#endif
#endif
