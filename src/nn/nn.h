/* nn.h - what the files of src/nn share. */
#ifndef NN_NN_H
#define NN_NN_H

#include "base/base.h"
#include "orrery/nn.h"

/* What a layer makes of a shape, and the parameters it needs for it. */
enum { LAYER_PARAMETERS = 2 };
typedef struct layer_parameter {
  const char *name;
  int axes;
  int64_t shape[ORR_AXES]; /* without the member axis */
} layer_parameter;

typedef struct layer_plan {
  int axes; /* of the input when given, of the output when answered */
  int64_t shape[ORR_AXES];
  int count;
  layer_parameter parameters[LAYER_PARAMETERS];
} layer_plan;

typedef struct layer_type {
  orr_status (*prepare)(orr_engine *engine, const orr_layer *layer, layer_plan *plan);
  /* NULL: there are no parameters. */
  orr_status (*initialise)(const orr_layer *layer, orr_tensor *const *parameters,
                           orr_random *random);
  orr_node (*apply)(const orr_layer *layer, orr_graph *graph, orr_node x,
                    const orr_node *parameters);
} layer_type;

const layer_type *layer_type_of(orr_layer_kind kind); /* NULL when there is none */

/* Nodes without axes that the updates of one group share. */
typedef struct optimiser_group {
  orr_node
      alive; /* 1, or 0 when the update is to be skipped: whatever changes is multiplied by it */
  orr_node rate;     /* learning rate times schedule times alive */
  orr_node number;   /* of this update, from 1 */
  orr_node extra[4]; /* the optimiser's own, made by prepare */
} optimiser_group;

enum { OPTIMISER_STATES = 2 };
typedef struct optimiser_type {
  int states; /* tensors of the parameter's shape, zero at first */
  const char *state_names[OPTIMISER_STATES];
  void (*prepare)(const orr_optimiser_options *options, orr_graph *graph, optimiser_group *group);
  /* One parameter's update. `gradient` is clipped and finite; state[] becomes the next state. */
  orr_node (*step)(const orr_optimiser_options *options, orr_graph *graph,
                   const optimiser_group *group, orr_node parameter, orr_node gradient,
                   double decay, orr_node *state);
} optimiser_type;

const optimiser_type *optimiser_type_of(orr_optimiser_kind kind); /* NULL when there is none */

/* The schedule's factor for update k (a node). */
orr_node schedule_factor(const orr_optimiser_options *options, orr_graph *graph, orr_node k);

/* Shorthand of graph building. */
static inline orr_node nn_add(orr_graph *g, orr_node a, orr_node b) {
  return orr_binary(g, ORR_OP_add, a, b);
}
static inline orr_node nn_sub(orr_graph *g, orr_node a, orr_node b) {
  return orr_binary(g, ORR_OP_sub, a, b);
}
static inline orr_node nn_mul(orr_graph *g, orr_node a, orr_node b) {
  return orr_binary(g, ORR_OP_mul, a, b);
}
static inline orr_node nn_div(orr_graph *g, orr_node a, orr_node b) {
  return orr_binary(g, ORR_OP_div, a, b);
}
static inline orr_node nn_scale(orr_graph *g, double factor, orr_node x) {
  return nn_mul(g, orr_number(g, factor), x);
}

/* "3 x 4" or "a number"; text holds at least NN_SHAPE_TEXT bytes. */
enum { NN_SHAPE_TEXT = 192 };
const char *nn_shape_text(char *text, int axes, const int64_t *shape);

#endif
