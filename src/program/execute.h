/* execute.h - a run's workspace, and what does its instructions. */
#ifndef EXECUTE_H
#define EXECUTE_H

#include "program/compile.h"

typedef struct bound {
  orr_tensor *tensor, *index;
  uint64_t version; /* of a parameter, when its packed forms were made */
} bound;

typedef struct tile {
  int group, unit;
  int64_t row; /* its first */
  int rows;
  int batch, block; /* its first block in the batch */
} tile;

/* What one thread works in. */
typedef struct worker {
  orr_real **pointer; /* to each value, for the tile in hand */
  orr_real *tile, *scratch, *chunk;
  orr_real *own;  /* a batch's held values, when it takes members of its own */
  orr_real *held; /* where the batch in hand holds them: its own, or common to all workers */
} worker;

struct orr_run {
  orr_engine *engine;
  orr_program *program;
  bound *bound;
  orr_tensor **outputs;
  int64_t rows;
  int members;
  int64_t *sizes; /* rows of each group */
  int *entries;   /* member that each group uses; NULL: its own number */
  bool laid_out;
  bool apart;   /* members are done one by one, and a step of them whole */
  bool settled; /* what follows from parameters alone is up to date */
  uint64_t key;
  uint32_t iteration;
  double deadline; /* by orr_clock(); 0: none */
  atomic_int over; /* the status for which tiles were left out; stays for the rest of orr_run_go */
  int64_t *single_at;
  orr_real **base; /* to each value that is not in a tile */
  orr_real *singles, *sums, *kept, *partials;
  int singles_members; /* that singles are laid out for */
  tile *tiles;
  int tile_count, unit_count, batch_count;
  int blocks; /* in a tile */
  worker *workers;
  int worker_count;
};

/* Who does a stage, and for which members: all workers for all of them, which is the rule; or, when
   members have nothing to do with each other, one worker for one member. */
typedef struct crew {
  orr_run *run;
  int first, last; /* members */
  bool uniform;    /* does what is for all members, too */
  int worker;      /* or -1: all */
} crew;

/* Shares the tasks out, when there is enough to do: `numbers` to compute in all. */
void run_tasks(const crew *c, double numbers, int tasks, pool_work work, void *context);
/* The instructions of an even stage. */
void run_singles(const crew *c, const stage *st);
/* Adds up what the tiles first .. last - 1 of a batch hold. */
void run_reductions(const crew *c, const stage *st, int first, int last);
/* The sums of members that have no rows. */
void clear_reductions(const crew *c, const stage *st);
/* Adds up the accumulators of sums inside loops. */
void run_sums(orr_run *run, const stage *st);

/* Makes room for the rows and members as they are now; nothing when it is there. */
bool run_lay_out(orr_run *run);
void run_free_workers(orr_run *run);
/* Whether what remains to do is wanted no more. A step of members apart is made whole. */
bool run_is_over(orr_run *run);
void enter_unit(orr_run *run, const stage *st, worker *w, const tile *t, int unit);
void execute_tile(orr_run *run, const stage *st, worker *w, int which);
/* One instruction on single values, for one member where it is per member. */
void execute_single(orr_run *run, const instruction *i, worker *w, int member);
/* One chunk of one member's values, or of uniform ones (member 0). */
void execute_chunk(orr_run *run, const stage *st, const group *g, worker *w, int member,
                   int64_t chunk);
orr_real *chunk_partial(const orr_run *run, const group *g, int sum, int member, int64_t chunk);
/* Where a value lies that is kept for tile `which`, or held for a batch, from `block` on. */
orr_real *kept_pointer(const orr_run *run, int v, int which);
orr_real *held_pointer(const orr_run *run, const worker *w, int v, int block);
/* Where a single value lies for the rows of group `member`. */
orr_real *single_pointer(const orr_run *run, int v, int member);

#endif
