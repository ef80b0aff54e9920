/* replay.h - the store behind orrery/replay.h.

   Every observation has a row of bytes: its fields, then those of the step taken from it, each in
   its own dtype. So a transition is two rows that lie next to each other, and reading one touches
   one or two places in memory whatever the number of fields. Rows are numbered for good, from 0;
   they live in chunks, and a circular directory finds the chunk of a row. An episode is T + 1 rows
   (the last one's step part stays zero); episodes follow each other in a circular table, in which a
   transition is found by binary search. Leaving is moving the head; a chunk whose rows have all
   left is used again. */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include "base/base.h"
#include "orrery/replay.h"

typedef enum role {
  ROLE_OBSERVATION,
  ROLE_OBSERVATION_EXTRA,
  ROLE_ACTION,
  ROLE_REWARD,
  ROLE_STEP_EXTRA
} role;

/* Of one space, so that a small hostile file cannot ask for much memory. */
enum { MOST_NUMBERS = 1 << 24 };

typedef struct column {
  char name[ORR_FIELD_NAME];
  role role;
  orr_dtype dtype;
  int axes;
  int64_t shape[ORR_AXES];
  int64_t count;              /* elements */
  size_t offset;              /* of its bytes in a row */
  int64_t flat;               /* where it starts in its space's flat vector */
  const orr_real *low, *high; /* lent by the space; NULL: none */
} column;

typedef struct entry { /* an episode in the table */
  int64_t number;
  uint64_t row;  /* of its first observation */
  int64_t first; /* transitions taken before it */
  int64_t length;
  bool terminated, truncated;
} entry;

/* A stretch of a row that goes to one place of what is read. */
typedef struct segment {
  size_t offset; /* bytes, in the row */
  int64_t place; /* elements, in the output */
  int64_t count;
  orr_dtype dtype;
} segment;

/* A flat vector, as segments: adjoining fields of one dtype are one. */
typedef struct flat {
  segment *segments;
  int count;
} flat;

struct orr_replay {
  orr_engine *engine;
  atomic_int references;
  orr_space *observation, *action, *observation_extras, *step_extras;
  int64_t capacity;
  orr_bad_numbers bad_numbers;
  column *columns;
  int columns_count, reward; /* the reward's column */
  flat flat_observation, flat_action;
  size_t row_bytes;

  uint8_t **chunks; /* chunks[(row >> shift) & (directory - 1)] */
  uint8_t **spare;  /* chunks to be used again; as long as the directory */
  size_t directory; /* a power of two */
  size_t spares;
  int shift; /* rows of a chunk: 1 << shift */
  uint64_t first_row, next_row;
  uint64_t first_chunk, next_chunk; /* chunks with memory: numbers first_chunk .. next_chunk - 1 */

  entry *entries; /* entries[(head + i) & (room - 1)] */
  size_t room, head;
  int64_t episodes, transitions;
  int64_t next_first; /* what the next entry's `first` will be */
  orr_replay_counts counts;

  /* Windows of one length that fit, added up over episodes: see sample.c. */
  int64_t *window_ends;
  int64_t window_length, window_version, version;

  /* Priorities of transitions, each to the power alpha, and their sums: see priority.c. */
  double *tree; /* NULL: sampling is uniform */
  size_t leaves;
  double alpha, greatest; /* of all there have been; what new transitions get */
};

struct orr_episode {
  orr_replay *replay;
  uint8_t *rows;
  size_t room;    /* rows */
  int64_t length; /* steps; -1: not started */
  bool bad;       /* has a bad number: dropped at its end */
  int64_t clipped;
};

static inline size_t element_size(orr_dtype dtype) {
  return dtype == ORR_REAL ? sizeof(orr_real) : dtype == ORR_INT ? sizeof(int32_t) : 1;
}
static inline size_t column_bytes(const column *c) {
  return (size_t)c->count * element_size(c->dtype);
}
/* Has T values, not T + 1. */
static inline bool role_is_step(role which) { return which >= ROLE_ACTION; }

static inline uint8_t *replay_row(const orr_replay *replay, uint64_t row) {
  uint8_t *chunk = replay->chunks[(row >> replay->shift) & (replay->directory - 1)];
  return chunk + (row & (((uint64_t)1 << replay->shift) - 1)) * replay->row_bytes;
}
static inline entry *replay_entry(const orr_replay *replay, int64_t episode) {
  return &replay->entries[(replay->head + (size_t)episode) & (replay->room - 1)];
}

/* columns.c */
orr_status replay_make_columns(orr_replay *replay);
/* The column of that name, or -1; replay_need_column fails with the nearest name. */
int replay_column(const orr_replay *replay, const char *name);
int replay_need_column(const orr_replay *replay, const char *name);

/* replay.c */
/* The episode that holds transition 0 .. transitions - 1. */
int64_t replay_locate(const orr_replay *replay, int64_t transition);
/* Takes length + 1 rows as the newest episode; the oldest leave to make room. */
orr_status replay_take(orr_replay *replay, const uint8_t *rows, int64_t length, bool terminated,
                       bool truncated);

/* priority.c: nothing happens in a replay without priorities. */
/* Room for so many transitions. */
orr_status priority_reserve(orr_replay *replay, int64_t transitions);
/* Sets the leaves of `count` transitions from the one that was number `number` ever taken. */
void priority_fill(orr_replay *replay, int64_t number, int64_t count, double value);
enum { PRIORITY_STEEPEST = 10 }; /* the greatest alpha */
/* Of a prioritised one: those of its transitions, oldest first, and setting them, from doubles that
   need not be aligned: false, and nothing happens, unless they are positive and none above the
   greatest. */
void priority_read(const orr_replay *replay, double *values);
bool priority_write(orr_replay *replay, double greatest, const void *values);

/* episode.c */
orr_status episode_reserve(orr_episode *episode, int64_t rows);
/* Puts a column's values, of its own dtype, into row `step`, once they are good. */
orr_status episode_put(orr_episode *episode, const column *c, int64_t step, const void *values);
/* The same from reals, whatever the column keeps. */
orr_status episode_put_reals(orr_episode *episode, const column *c, int64_t step,
                             const orr_real *values);

#endif
