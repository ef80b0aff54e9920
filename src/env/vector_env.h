/* vector_env.h - what vector_env.c and vector_extras.c share. */
#ifndef ENV_VECTOR_ENV_H
#define ENV_VECTOR_ENV_H

#include "env/env.h"
#include "orrery/vector_env.h"

typedef enum stage { STAGE_RESET_DUE, STAGE_READY, STAGE_PENDING } stage;

/* How far a copy has come in settling its step. */
typedef enum phase { PHASE_STEPPED, PHASE_RECORDED, PHASE_FINISHED, PHASE_SETTLED } phase;

typedef struct vector_copy {
  orr_env *env;
  orr_episode *episode; /* NULL: nothing is recorded */
  orr_random seeds;     /* of its episodes */
  orr_random before;    /* the environment's stream before the step under way */
  orr_status status;    /* of that step */
  bool stepped;
  phase phase;
  double total; /* of the episode under way, as are the rest */
  int64_t length;
  bool judged, success, success_at_end;
} vector_copy;

/* An extra field of the replay that is kept with every row until it is set again. */
typedef struct vector_extra {
  const orr_field *field; /* lent by the replay's space */
  bool step;              /* of steps, not of observations */
  uint8_t *values;        /* [copies][count of the field], of its dtype */
} vector_extra;

struct orr_vector_env {
  orr_engine *engine;
  atomic_int references;
  orr_replay *replay;
  vector_copy *copies;
  int64_t copies_count, max_steps, observation_size, action_size;
  bool thread_safe, busy;
  stage stage;
  double cost;           /* seconds of one copy's step, as measured */
  int tasks;             /* that the step under way is shared out in */
  const orr_real *given; /* its actions */
  orr_vector_env_rows results;
  orr_vector_env_episode *finished;
  size_t finished_count, finished_room;
  vector_extra *extras;
  int extras_count;
};

/* Begins a call that changes `many`; ORR_STATE inside another one. It ends with busy = false. */
orr_status vector_enter(orr_vector_env *many);

/* vector_extras.c */
/* Puts what is kept with the newest observation of a copy, and with its newest step if that is new. */
orr_status vector_put_extras(orr_vector_env *many, int64_t copy, bool step);
void vector_free_extras(orr_vector_env *many);

#endif
