/* graph.h - nodes, and what an op is made of. */
#ifndef GRAPH_H
#define GRAPH_H

#include "base/base.h"
#include "kernel/kernel.h"
#include "orrery/program.h"
#include "tensor/tensor.h"

enum { OPERANDS = 64, ATTRIBUTES = ORR_AXES };
enum { TILE_BLOCKS = 8 }; /* most blocks in a tile */

typedef struct scan scan;

typedef struct node {
  orr_op op;
  orr_level level;
  int axes;
  int64_t shape[ORR_AXES];
  int64_t count;  /* numbers in one sample */
  int64_t stored; /* numbers in memory: differs from count for packed matrices only */
  int inputs;
  const orr_node *in;
  int64_t attribute[ATTRIBUTES];
  double number;      /* constant */
  orr_tensor *tensor; /* parameter */
  const char *name;   /* input */
  scan *scan;
} node;

/* What a scan repeats. Its nodes live in `body`; captures name nodes of the parent graph. */
struct scan {
  orr_graph *body;
  int64_t length;
  bool backwards;
  int carries, slices, captures, outputs, reduced;
  orr_node *carry, *slice, *capture;       /* nodes of the body */
  orr_node *initial, *sequence, *captured; /* nodes of the parent, in step with the above */
  orr_node *next, *output, *reduce; /* nodes of the body: carries, stacked, summed over rows */
  orr_node step;                    /* node of the body or ORR_NONE */
};

/* Results of a scan, told apart by pick's attributes {kind, index}. */
enum {
  PICK_CARRY,
  PICK_OUTPUT,
  PICK_REDUCED,
  PICK_STATE /* the carry before each step, stacked */
};

/* In a body, inputs carry their kind in attribute[0]. */
enum { INPUT_NAMED, INPUT_PARAMETER, INPUT_CARRY, INPUT_SLICE, INPUT_CAPTURE, INPUT_STEP };

typedef struct named_output {
  const char *name; /* NULL: an update */
  orr_node node;
  orr_node parameter; /* update: where it goes */
} named_output;

struct orr_graph {
  orr_engine *engine;
  int references;
  arena memory;
  node **nodes; /* of the arena: addresses stay */
  int count, room;
  int32_t *table; /* hash of nodes, for merging equal ones */
  int table_size;
  named_output *outputs;
  int output_count, output_room;
  orr_graph *parent;             /* of a scan's body */
  scan *building;                /* what the body will become */
  orr_graph *next_body, *bodies; /* finished bodies, freed with the graph that made them */
  int sites;                     /* draws so far; counted in the outermost graph */
};

/* One call of an op on one block of lanes, or on single values (lanes 1). */
typedef struct op_call {
  const node *node;
  orr_graph *graph;
  orr_real *y;
  void (*activate)(orr_real *y, const orr_real *x, size_t n); /* linear: NULL, or done on y */
  orr_real *activated;                                        /* into this, which may be y */
  const orr_real *x[OPERANDS];
  const bool *by_row; /* operand i has lanes; otherwise one value for all of them */
  int lanes, valid;   /* lanes past `valid` are padding */
  int rows;           /* of the tile, for ops that take all its blocks in one call (reduces) */
  const kernels *kernels;
  orr_real *scratch;
  int64_t first, count, apart; /* add_batch: which units; numbers from vector to vector of rows */
  uint64_t key;                /* of the run's draws */
  uint32_t iteration, step, row;
} op_call;

typedef struct gradient_walk gradient_walk;

/* How a sum over rows adds a batch of them to the units call->first .. + call->count of y. Operands
   are blocks one after another or, where rows_width is not 0, rows of so many numbers. */
typedef struct op_batch {
  void (*add)(const op_call *call);
  int64_t (*rows_width)(const orr_graph *graph, const node *n, int operand);
  int64_t (*units)(const node *n, int64_t *size); /* in y; a thread takes `size` of them */
} op_batch;

typedef struct op_class {
  const char *name, *doc;
  bool mixed; /* takes lower-level operands as they are; others get them spread over the lanes */
  const op_batch *reduces; /* adds into y over rows, a barrier; else NULL */
  void (*forward)(const op_call *call);
  void (*gradient)(gradient_walk *walk, orr_node self, orr_node dy);
  int64_t (*scratch)(const orr_graph *graph, const node *n, int lanes); /* numbers; NULL: none */
} op_class;

const op_class *op_class_of(orr_op op);

static inline node *node_at(const orr_graph *graph, orr_node n) { return graph->nodes[n]; }
static inline bool op_is_unary(orr_op op) { return op < (orr_op)UNARY_COUNT; }
static inline bool op_is_binary(orr_op op) {
  return op >= (orr_op)UNARY_COUNT && op < (orr_op)(UNARY_COUNT + (int)BINARY_COUNT);
}
static inline binary_op binary_of(orr_op op) { return (binary_op)(op - (orr_op)UNARY_COUNT); }

/* Makes, merges, or (inside a scan) hoists a node. `shape` may be NULL for a single number. */
orr_node graph_add(orr_graph *graph, orr_op op, int axes, const int64_t *shape, int inputs,
                   const orr_node *in, const int64_t *attributes, int attribute_count);
orr_node graph_add_leveled(orr_graph *graph, orr_op op, orr_level level, int axes,
                           const int64_t *shape, int inputs, const orr_node *in,
                           const int64_t *attributes, int attribute_count);
/* Appends without merging or hoisting; the caller fills the rest. NULL on failure. */
node *graph_append(orr_graph *graph, orr_op op, orr_level level, int axes, const int64_t *shape,
                   int inputs, const orr_node *in, orr_node *index);
/* Adds a value of a higher level up to a lower one: rows to their member or all, members to one. */
orr_node graph_sum_down(orr_graph *graph, orr_node x, orr_level level);
/* The parent's node that x, inside a loop, stands for; ORR_NONE when x changes there. */
orr_node graph_captured(const orr_graph *body, orr_node x);
orr_graph *graph_outermost(orr_graph *graph);
orr_graph *graph_new_body(orr_graph *parent);

/* Checks an axis (negative counts from the end): its index, or -1 with the failure recorded. */
int graph_axis(orr_graph *graph, orr_op op, orr_node x, int axis);
orr_node graph_fail(orr_graph *graph, orr_op op, const char *format, ...) PRINTF_LIKE(3, 4);
int64_t count_shape(int axes, const int64_t *shape); /* -1 on overflow or a negative size */

/* ---- for gradient rules ---- */
orr_graph *walk_graph(gradient_walk *walk);
bool walk_wants(gradient_walk *walk, orr_node x);
/* Adds a contribution to d/dx: summed over broadcast axes and down to x's level. */
void walk_give(gradient_walk *walk, orr_node x, orr_node contribution);
/* The same for a contribution that is summed over rows already. */
void walk_give_summed(gradient_walk *walk, orr_node x, orr_node contribution);
void walk_fail(gradient_walk *walk);
/* g times a local derivative: 0 wins over infinity when g comes from the untaken side of a
   select. */
orr_node walk_times(gradient_walk *walk, orr_node g, orr_node derivative);
/* x, or where g may stem from an untaken side, x with zeros in place of what is not finite. */
orr_node walk_clean(gradient_walk *walk, orr_node x);
bool walk_tainted(const gradient_walk *walk);
void scan_gradient(gradient_walk *walk, orr_node self, const orr_node *cotangents, int nodes);

/* ---- elementwise.c ---- */
bool broadcast_shapes(orr_graph *graph, orr_op op, orr_node a, orr_node b, int *axes,
                      int64_t *shape);
typedef struct elementwise_plan {
  int axes;                         /* collapsed */
  int64_t n[ORR_AXES];              /* outermost first */
  int64_t a[ORR_AXES], b[ORR_AXES]; /* strides, in features; 0: repeated */
  bool flat; /* one pass over all numbers: no axis is repeated on one side only */
} elementwise_plan;
void elementwise_prepare(const orr_graph *graph, const node *n, elementwise_plan *plan);
void elementwise_run(const op_call *call, const elementwise_plan *plan);

#endif
