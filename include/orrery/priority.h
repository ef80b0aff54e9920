/* priority.h - transitions drawn by priority (Schaul et al., "Prioritized experience replay",
   2016).

   A transition is drawn with a probability proportional to (priority + 1e-6)^alpha; new ones have
   the greatest that there has been, so that each is seen soon. Windows are drawn as ever.
   Priorities are saved with the replay, and loaded with it.

     orr_replay_prioritise(replay, 0.6);
     orr_replay_sample_prioritised(replay, random, 0.4, 256, index, numbers, weights);
     ...                                                        // learn, and have errors
     orr_replay_set_priorities(replay, 256, numbers, errors); */
#ifndef ORR_PRIORITY_H
#define ORR_PRIORITY_H

#include "orrery/replay.h"

#ifdef __cplusplus
extern "C" {
#endif

/* From now on; what is there already begins with 1, or keeps the priorities that it has. alpha 0 is
   as if there were none; 0.6 is usual. */
ORR_API orr_status orr_replay_prioritise(orr_replay *replay, double alpha);
ORR_API bool orr_replay_is_prioritised(const orr_replay *replay);
ORR_API double orr_replay_alpha(const orr_replay *replay); /* 0 without priorities */
/* One draw from each of `count` equal parts of the sum of priorities. weights: importance weights
   (transitions x probability)^-beta, divided by the greatest of them. numbers: what
   orr_replay_set_priorities takes; they stay with the transitions when old ones leave. Both may be
   NULL. */
ORR_API orr_status orr_replay_sample_prioritised(orr_replay *replay, orr_random *random,
                                                 double beta, int64_t count, int64_t *transitions,
                                                 int64_t *numbers, orr_real *weights);
/* Priorities: 0 or more, such as sizes of errors. Transitions that have left are passed over; the
   lower 31 bits of a number suffice. Refused or taken as a whole. */
ORR_API orr_status orr_replay_set_priorities(orr_replay *replay, int64_t count,
                                             const int64_t *numbers, const orr_real *priorities);

#ifdef __cplusplus
}
#endif
#endif
