/* replay.h - experience: whole episodes by named field, sampled as transitions, windows or
   episodes.

   An episode of T steps is T + 1 observations, T actions and T rewards; the last observation is
   kept and none is kept twice. Step t (0 .. T-1) is the transition (observation t, action t, reward
   t, observation t + 1). Transitions of all episodes have one numbering, 0 .. transitions - 1,
   oldest first; everything that is sampled is first a list of such numbers, then read by field.
   Numbers shift when old episodes leave.

     orr_replay_options options = orr_replay_options_defaults();
     options.observation = orr_env_observation_space(env);
     options.action = orr_env_action_space(env);
     orr_replay *replay = orr_replay_new(engine, &options);

     orr_episode *episode = orr_episode_new(replay);          // one per environment; used again
     orr_episode_start(episode, observation);
     orr_episode_step(episode, action, reward, observation);  // ... until the end
     orr_episode_finish(episode, terminated, truncated);      // now it is in the replay

     int64_t index[256];
     orr_replay_output outputs[] = {{"observation"}, {"action"}, {"reward"}, {"next_observation"},
                                    {"terminated"}};
     orr_replay_sample(replay, NULL, 256, index);
     orr_replay_read(replay, 256, index, 5, outputs);         // outputs[i].tensor: [256, ...]
     ...
     orr_replay_free(replay); */
#ifndef ORR_REPLAY_H
#define ORR_REPLAY_H

#include "orrery/space.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct orr_replay orr_replay;
typedef struct orr_episode orr_episode;

/* What happens to a number that is infinite or NaN, before it can enter. */
typedef enum orr_bad_numbers {
  ORR_BAD_ERROR,   /* the step is refused with ORR_NUMBER, naming episode, step and field */
  ORR_BAD_DISCARD, /* the steps are taken, and the whole episode is dropped at its end and counted */
  ORR_BAD_CLIP     /* infinities go to the bound, or to ORR_REPLAY_LARGEST where there is none; NaN
                      becomes 0, or the bound nearest to it; counted */
} orr_bad_numbers;

#define ORR_REPLAY_LARGEST 1e6         /* where infinities without a bound are clipped to */
#define ORR_REPLAY_CAPACITY 2147483647 /* the largest capacity */

typedef struct orr_replay_options {
  size_t size;                     /* of this struct, set by _defaults */
  orr_space *observation, *action; /* held, not taken over */
  /* Further fields kept with every observation (T + 1 of them: images, achieved goals) and with
     every step (T: log-probabilities, labels); NULL: none. Names differ from those of the spaces
     above. */
  orr_space *observation_extras, *step_extras;
  int64_t capacity; /* in transitions; the oldest episodes leave, whole. Default 1,000,000 */
  orr_bad_numbers bad_numbers;
} orr_replay_options;

ORR_API orr_replay_options orr_replay_options_defaults(void);
/* An empty replay. Memory is taken as it fills. */
ORR_API orr_replay *orr_replay_new(orr_engine *engine, const orr_replay_options *options);
ORR_API orr_replay *orr_replay_retain(orr_replay *replay);
ORR_API void orr_replay_free(orr_replay *replay);  /* drops one hold; accepts NULL */
ORR_API void orr_replay_clear(orr_replay *replay); /* drops all episodes */

ORR_API orr_engine *orr_replay_engine(const orr_replay *replay);
ORR_API orr_space *orr_replay_observation_space(const orr_replay *replay); /* lent */
ORR_API orr_space *orr_replay_action_space(const orr_replay *replay);
ORR_API orr_space *orr_replay_observation_extras(const orr_replay *replay); /* NULL: none */
ORR_API orr_space *orr_replay_step_extras(const orr_replay *replay);
ORR_API int64_t orr_replay_capacity(const orr_replay *replay);
ORR_API int64_t orr_replay_transitions(const orr_replay *replay); /* now in it */
ORR_API int64_t orr_replay_episodes(const orr_replay *replay);
ORR_API size_t orr_replay_bytes(const orr_replay *replay); /* of memory taken for rows */

typedef struct orr_replay_counts {
  int64_t episodes, transitions; /* ever added, those that have left included */
  int64_t discarded;             /* episodes dropped for bad numbers */
  int64_t clipped;               /* numbers clipped */
} orr_replay_counts;
ORR_API orr_replay_counts orr_replay_count(const orr_replay *replay);

typedef struct orr_episode_info {
  int64_t number; /* counts all episodes ever added, from 0; stays with the episode */
  int64_t first;  /* its first transition */
  int64_t length; /* steps, at least 1 */
  bool terminated, truncated;
} orr_episode_info;
/* Episode 0 .. episodes - 1, oldest first. */
ORR_API orr_status orr_replay_episode(const orr_replay *replay, int64_t episode,
                                      orr_episode_info *info);
/* The episode that a transition belongs to. */
ORR_API orr_status orr_replay_episode_of(const orr_replay *replay, int64_t transition,
                                         int64_t *episode);

/* ---- adding: an episode is built aside and enters whole ----
   Many may be under way for one replay, as with many copies of an environment. A refused call
   leaves the episode as it was. Fields of bytes and int32 take flat numbers rounded, and moved into
   their range. */
ORR_API orr_episode *orr_episode_new(orr_replay *replay); /* holds the replay */
ORR_API void orr_episode_free(orr_episode *episode);      /* accepts NULL */
/* Starts over: what was not finished is gone. observation: flat, orr_space_size numbers. */
ORR_API orr_status orr_episode_start(orr_episode *episode, const orr_real *observation);
ORR_API orr_status orr_episode_step(orr_episode *episode, const orr_real *action, orr_real reward,
                                    const orr_real *next_observation);
/* An extra field of the newest observation, or of the newest step; zeros until set. `values`: as
   many as the field has, of its dtype. */
ORR_API orr_status orr_episode_set(orr_episode *episode, const char *field, const void *values);
/* Puts the episode into the replay. terminated: the task was over, nothing follows. truncated: the
   time was over or collecting stopped, and the world went on; so it is also when neither is said.
   ORR_STATE without a step. The episode can then be started anew. */
ORR_API orr_status orr_episode_finish(orr_episode *episode, bool terminated, bool truncated);
ORR_API int64_t orr_episode_length(const orr_episode *episode); /* steps so far; -1: not started */

/* A whole episode at once, from contiguous tensors: observation [T + 1, ...], action [T, ...],
   reward [T]; extras by name, [T + 1, ...] or [T, ...]. Refused or taken as a whole. */
typedef struct orr_replay_input {
  const char *field;
  orr_tensor *tensor; /* of the field's dtype, or real */
} orr_replay_input;
ORR_API orr_status orr_replay_add(orr_replay *replay, int inputs, const orr_replay_input *input,
                                  bool terminated, bool truncated);

/* ---- choosing transitions ---- */
/* `count` draws, each transition equally likely. random NULL: the engine's stream. ORR_STATE when
   the replay is empty. */
ORR_API orr_status orr_replay_sample(orr_replay *replay, orr_random *random, int64_t count,
                                     int64_t *transitions);
/* First transitions of windows of `length` steps that do not leave their episode. full: only
   windows that fit, each equally likely; else any start, to be read with a mask. ORR_STATE when
   none fits. */
ORR_API orr_status orr_replay_sample_windows(orr_replay *replay, orr_random *random, int64_t length,
                                             bool full, int64_t count, int64_t *transitions);
/* How many windows of this length fit. */
ORR_API int64_t orr_replay_windows(orr_replay *replay, int64_t length);

/* ---- reading by field ----
   Fields: "observation", "action" (flat, real), "reward", "terminated" and "truncated" (1 on the
   last step of such an episode, else 0; real), any field of any space by its own name, with its
   shape and dtype ("velocity"; where observation and action both have it, the observation's), and
   int32 "episode" (0 .. episodes - 1), "time" (0 .. T - 1) and "length" (T). "next_" in front of an
   observation's field reads the following one. Of windows also "mask": 1 for a step, 0 past the
   end; real.

   tensor NULL: a new one is made, which passes to the caller. Else it is written: contiguous, of
   the right number of elements, dtype the field's own or real. On failure no new tensor remains,
   and given ones may be written in part. */
typedef struct orr_replay_output {
  const char *field;
  orr_tensor *tensor;
} orr_replay_output;

/* Every output is [count, ...]. transitions NULL: the first `count` ones in order. */
ORR_API orr_status orr_replay_read(orr_replay *replay, int64_t count, const int64_t *transitions,
                                   int outputs, orr_replay_output *output);
/* Windows of `length` steps from each transition: [count, length, ...], and what belongs to
   observations [count, length + 1, ...]. Past an episode's end the last observation is repeated and
   everything else is 0. Neither "next_" fields nor any length make a window leave its episode. */
ORR_API orr_status orr_replay_read_windows(orr_replay *replay, int64_t count,
                                           const int64_t *transitions, int64_t length, int outputs,
                                           orr_replay_output *output);

/* ---- files: one per replay, a record with a CRC per episode ----
   Written whole or not at all. Loaded: the same episodes, numbers and counts. A file that ends too
   early gives what is whole, and the report says what is missing; damage before the end is
   ORR_FORMAT, with the offset, unless salvage is asked for, which takes every undamaged episode. */
ORR_API orr_status orr_replay_save(orr_replay *replay, const char *path);

typedef struct orr_replay_load_options {
  size_t size; /* of this struct, set by _defaults */
  bool salvage;
  int64_t capacity; /* 0: as saved */
} orr_replay_load_options;
ORR_API orr_replay_load_options orr_replay_load_options_defaults(void);

typedef struct orr_replay_report {
  int64_t episodes, transitions; /* read */
  int64_t lost_bytes;            /* of the file, that could not be read */
  int64_t damaged;               /* places */
  bool torn;                     /* the end is missing */
  char message[256];             /* for a person; empty when all is well */
} orr_replay_report;
/* options and report may be NULL; losses also go to the log as a warning. */
ORR_API orr_replay *orr_replay_load(orr_engine *engine, const char *path,
                                    const orr_replay_load_options *options,
                                    orr_replay_report *report);

#ifdef __cplusplus
}
#endif
#endif
