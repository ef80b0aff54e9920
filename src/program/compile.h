/* compile.h - a program: stages of instructions over numbered values.

   Even stages work on single values (uniform, or one per member), odd ones on rows in tiles. A sum
   over rows ends its odd stage: tiles go through it batch by batch; what is summed is held for the
   length of a batch, and then the sums are shared out by what they add to. Only sums inside loops
   are added up as their tile goes along, in accumulators of which there are a fixed few. */
#ifndef COMPILE_H
#define COMPILE_H

#include "program/graph.h"

typedef enum place {
  PLACE_SINGLE, /* one array in the run, `members` of them for member values */
  PLACE_TENSOR, /* the bound tensor's own memory */
  PLACE_TILE,   /* in the worker's tile buffer, for the length of one tile */
  PLACE_KEPT,   /* for all rows, because a later stage reads it */
  PLACE_HELD,   /* for the rows of a batch, because they are summed up after it */
  PLACE_ROWS,   /* the same, as plain rows: [vector][row][stride] */
  PLACE_SUM,    /* an accumulator per unit of work, added up into a SINGLE */
  PLACE_CHUNK   /* within a group of elementwise instructions, a chunk at a time */
} place;

typedef struct value {
  orr_level level;
  place place;
  bool by_row;     /* has lanes */
  int64_t stored;  /* numbers per row, member or in all */
  int64_t offset;  /* SUM, CHUNK: in numbers; SINGLE: set per run; others: in numbers per lane */
  int binding;     /* TENSOR: which */
  int stage;       /* where it is made; -1: before all */
  int first, last; /* positions between which it is alive */
  int reuse;       /* an operand whose room it may take over, or -1 */
  bool settled;    /* follows from parameters only */
  bool wanted;     /* an output or update */
  double number;
  bool constant;
} value;

typedef enum instruction_kind { DO_OP, DO_LOAD, DO_STORE, DO_SCAN, DO_ROWS } instruction_kind;

typedef struct code code;

typedef struct instruction {
  instruction_kind kind;
  const op_class *class;
  const node *node;
  orr_graph *graph;
  int y, inputs, position;
  int *x;
  bool *by_row;
  bool flat;    /* elementwise over any number of blocks at once */
  bool settled; /* depends on parameters only: done again when one changes */
  bool per_member;
  int grouped; /* by rows: this many instructions, itself the first, go chunk by chunk; 0: none */
  orr_op activation;
  int activated; /* LINEAR: value of the activation applied to y, y itself when only that is used */
  elementwise_plan plan;
  int binding;            /* LOAD: input; STORE: output */
  int64_t vectors, width; /* ROWS: of x, which become rows of their own */
  code *body;             /* SCAN */
  struct scan_code *scan;
} instruction;

struct code {
  instruction *list;
  int count, room;
};

/* Value numbers of a scan, in step with its lists. -1: not wanted. */
typedef struct scan_code {
  int64_t length;
  bool backwards;
  int carries, slices, outputs, states, reduced;
  int *initial, *carry, *next, *state;
  int *sequence, *slice;
  int *output, *stacked;
  int *sum;
  int step;
} scan_code;

enum { CHUNK = 1024 }; /* numbers that a group of elementwise instructions does at a time */

/* Instructions first .. last - 1 of an even stage, done together, chunk by chunk; or, when count is
   0, the only one, done member by member. */
typedef struct group {
  int first, last;
  int64_t count; /* numbers in each value */
  bool per_member;
  int sums;         /* instructions at its end that add all numbers up */
  int64_t partials; /* of its phase, before its own: one number a sum and chunk */
} group;

static inline int64_t group_chunks(const group *g) { return (g->count + CHUNK - 1) / CHUNK; }
/* Chunks that one thread does in a row. */
static inline int64_t group_tasks(const group *g) { return (group_chunks(g) + 7) / 8; }

/* Of an even stage: first the small instructions, one after another, then all groups at once. */
typedef struct phase {
  int first, small_end, first_group, last_group;
} phase;

typedef struct stage {
  code code;
  code reductions; /* sums over rows, done after each batch of tiles */
  int64_t held_features;
  double work; /* numbers to compute for a row, about */
  group *groups;
  int group_count;
  phase *phases;
  int phase_count;
  int64_t features; /* numbers per lane that a tile needs */
  int *sums;        /* values summed over rows here */
  int sum_count;
  int64_t sum_numbers;
  int chunk_rooms; /* for values that live within a group */
} stage;

typedef struct binding {
  const char *name; /* NULL: a parameter */
  orr_tensor *tensor;
  orr_level level;
  int axes;
  int64_t shape[ORR_AXES];
  int64_t count;
  int value;     /* inputs above rows: their value; outputs: the value given */
  bool used;     /* an instruction reads it */
  bool in_place; /* an update's value is made in the tensor that it is for */
} binding;

/* Numbers to compute for a row, about; a multiplication within a product counts as an eighth. */
double instruction_work(const instruction *i);

struct orr_program {
  atomic_int references;
  orr_engine *engine;
  orr_graph *graph;
  arena memory;
  value *values;
  int value_count, value_room;
  stage *stages;
  int stage_count;
  binding *inputs; /* named ones and parameters */
  int input_count, named_inputs;
  binding *outputs; /* named ones, then updates: value -> tensor of inputs[update] */
  int output_count, named_outputs;
  int *updated; /* per update: the binding written */
  int lanes;
  int blocks, batch_blocks; /* at most, in a tile and in a batch of tiles */
  int64_t kept_features, held_features, scratch_numbers, partials;
  bool has_members;
  bool apart; /* what is summed over rows stays with its member */
  char *listing;
};

#endif
