/* relabel.h - hindsight: transitions read as if another goal had been wanted.

   Episodes stay in the replay as they were. For each transition of a batch a strategy chooses an
   observation, and what was achieved there is read in place of the goal (Andrychowicz et al.,
   "Hindsight experience replay", 2017). Rewards and ends of such transitions are those of the goal
   that was recorded: whoever knows the task computes them anew from what was read, at s'.

   The observations of all episodes have one numbering, 0 .. observations - 1, oldest first: an
   episode of T steps has T + 1 of them, and step t leads from its observation t to t + 1.

     int64_t index[256], chosen[256];
     orr_relabel_part parts[] = {{ORR_RELABEL_FUTURE, 4}, {ORR_RELABEL_NONE, 1}};    // k = 4
     orr_replay_sample(replay, random, 256, index);
     orr_relabel_choose(replay, random, 2, parts, 256, index, chosen);
     orr_relabel relabel = orr_relabel_defaults();
     relabel.source = chosen;
     orr_replay_read_relabeled(replay, 256, index, 0, &relabel, 4, outputs); */
#ifndef ORR_RELABEL_H
#define ORR_RELABEL_H

#include "orrery/replay.h"

#ifdef __cplusplus
extern "C" {
#endif

/* For step t of an episode of T steps, which achieved goal is taken. All but the first leave out
   observation 0 of an episode: nobody achieved what the world began with. */
typedef enum orr_relabel_strategy {
  ORR_RELABEL_NONE,    /* the goal that was wanted */
  ORR_RELABEL_FINAL,   /* of observation T, the last one */
  ORR_RELABEL_FUTURE,  /* of t + 1 .. T, each equally likely; t + 1 is where the step leads */
  ORR_RELABEL_EPISODE, /* of 1 .. T */
  ORR_RELABEL_RANDOM   /* of any episode in the replay, each step's outcome equally likely */
} orr_relabel_strategy;
#define ORR_RELABEL_STRATEGIES 5

typedef struct orr_relabel_part { /* of a mix; weights are at least 0, and not all 0 */
  orr_relabel_strategy strategy;
  double weight;
} orr_relabel_part;

ORR_API int64_t orr_replay_observations(const orr_replay *replay); /* now in it */
/* For each transition the number of an observation, or -1: keeps its goal. Depends on nothing but
   the stream, the transitions and the replay. random NULL: the engine's. */
ORR_API orr_status orr_relabel_choose(orr_replay *replay, orr_random *random, int parts,
                                      const orr_relabel_part *part, int64_t count,
                                      const int64_t *transitions, int64_t *observations);

typedef struct orr_relabel {
  size_t size;          /* of this struct, set by _defaults */
  const char *desired;  /* the field that is written over: "desired_goal" */
  const char *achieved; /* the field that is read in its place: "achieved_goal"; it has as many
                           numbers, of the same dtype */
  /* For each transition the number of an observation, or -1: it keeps its goal. With `values` the
     number of a row of them; NULL: every transition its own row. */
  const int64_t *source;
  /* Goals from elsewhere instead of achieved ones: [rows, ...], contiguous, of the desired field's
     dtype or real. Identifiers of tasks are written so. */
  const orr_tensor *values;
} orr_relabel;
ORR_API orr_relabel orr_relabel_defaults(void);

/* As orr_replay_read (length 0) and orr_replay_read_windows, with the desired goal replaced: in the
   field itself, in its next_, and where either lies in the flat observation and next_observation;
   in a window at every step. Everything else is as recorded: reward and terminated, too. */
ORR_API orr_status orr_replay_read_relabeled(orr_replay *replay, int64_t count,
                                             const int64_t *transitions, int64_t length,
                                             const orr_relabel *relabel, int outputs,
                                             orr_replay_output *output);

/* Sums of n-step returns over windows [count, length] of contiguous reals: reward[i] is the sum of
   gamma^j r_j over the steps taken, which are those up to the first that is masked out or
   terminated; ended[i] is 1 where the last of them was terminated, else 0; discount[i] is
   gamma^taken, 0 where ended; taken[i] >= 1. */
ORR_API orr_status orr_relabel_returns(orr_engine *engine, int64_t count, int64_t length,
                                       const orr_real *rewards, const orr_real *terminated,
                                       const orr_real *mask, double gamma, orr_real *reward,
                                       orr_real *discount, orr_real *ended, int64_t *taken);

#ifdef __cplusplus
}
#endif
#endif
