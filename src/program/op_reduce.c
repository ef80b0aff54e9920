/* op_reduce.c - along an axis of the sample: sum, greatest, index of the greatest, running sum;
   and what is made of them: mean, least, softmax, logsumexp. */
#include <math.h>
#include <string.h>

#include "program/graph.h"

/* A reduction's result keeps the axis at length 1; dropping it is a reshape. */
static orr_node reduce(orr_graph *graph, orr_op op, orr_node x, int axis) {
  int which = graph_axis(graph, op, x, axis);
  if (which < 0) return ORR_NONE;
  const node *n = node_at(graph, x);
  if (n->shape[which] == 0) {
    char text[SHAPE_TEXT];
    return graph_fail(graph, op, "nothing along that axis of a value of shape %s",
                      shape_text(text, n->axes, n->shape));
  }
  int64_t shape[ORR_AXES], attribute = which;
  memcpy(shape, n->shape, sizeof shape);
  shape[which] = 1;
  return graph_add(graph, op, n->axes, shape, 1, &x, &attribute, 1);
}

static orr_node drop_axis(orr_graph *graph, orr_node x, int axis) {
  if (x == ORR_NONE) return ORR_NONE;
  const node *n = node_at(graph, x);
  if (axis < 0) axis += n->axes;
  int64_t shape[ORR_AXES];
  int axes = 0;
  for (int i = 0; i < n->axes; i++)
    if (i != axis) shape[axes++] = n->shape[i];
  return orr_reshape(graph, x, axes, shape);
}

orr_node orr_sum(orr_graph *graph, orr_node x, int axis, bool keep) {
  orr_node y = reduce(graph, ORR_OP_sum, x, axis);
  return keep ? y : drop_axis(graph, y, axis);
}

orr_node orr_sum_all(orr_graph *graph, orr_node x) {
  if (x == ORR_NONE || node_at(graph, x)->axes == 0) return x;
  int64_t count = node_at(graph, x)->count;
  return orr_sum(graph, orr_reshape(graph, x, 1, &count), 0, false);
}

orr_node orr_mean(orr_graph *graph, orr_node x, int axis, bool keep) {
  int which = graph_axis(graph, ORR_OP_sum, x, axis);
  if (which < 0) return ORR_NONE;
  int64_t n = node_at(graph, x)->shape[which];
  return orr_binary(graph, ORR_OP_div, orr_sum(graph, x, axis, keep), orr_number(graph, (double)n));
}

orr_node orr_max_along(orr_graph *graph, orr_node x, int axis, bool keep) {
  orr_node y = reduce(graph, ORR_OP_max_along, x, axis);
  return keep ? y : drop_axis(graph, y, axis);
}

orr_node orr_min_along(orr_graph *graph, orr_node x, int axis, bool keep) {
  orr_node y = orr_max_along(graph, orr_unary(graph, ORR_OP_neg, x), axis, keep);
  return orr_unary(graph, ORR_OP_neg, y);
}

orr_node orr_argmax(orr_graph *graph, orr_node x, int axis) {
  return drop_axis(graph, reduce(graph, ORR_OP_argmax, x, axis), axis);
}

orr_node orr_cumsum(orr_graph *graph, orr_node x, int axis, bool backwards) {
  int which = graph_axis(graph, ORR_OP_cumsum, x, axis);
  if (which < 0) return ORR_NONE;
  int64_t attributes[2] = {which, backwards};
  return graph_add(graph, ORR_OP_cumsum, node_at(graph, x)->axes, node_at(graph, x)->shape, 1, &x,
                   attributes, 2);
}

/* x - max(x): the shift that keeps exp() in range; its gradient cancels, so it counts as
   constant. */
static orr_node shifted(orr_graph *graph, orr_node x, int axis, orr_node *top) {
  *top = orr_stop_gradient(graph, orr_max_along(graph, x, axis, true));
  return orr_binary(graph, ORR_OP_sub, x, *top);
}

orr_node orr_softmax(orr_graph *graph, orr_node x, int axis) {
  orr_node top, e = orr_unary(graph, ORR_OP_exp, shifted(graph, x, axis, &top));
  return orr_binary(graph, ORR_OP_div, e, orr_sum(graph, e, axis, true));
}

orr_node orr_logsumexp(orr_graph *graph, orr_node x, int axis, bool keep) {
  orr_node top, e = orr_unary(graph, ORR_OP_exp, shifted(graph, x, axis, &top));
  orr_node y = orr_binary(graph, ORR_OP_add,
                          orr_unary(graph, ORR_OP_log, orr_sum(graph, e, axis, true)), top);
  return keep ? y : drop_axis(graph, y, axis);
}

/* ---- running: x[outer][n][inner], the lanes being part of inner ---- */

typedef struct extent {
  size_t outer, n, inner;
} extent;

static extent extent_of(const op_call *call) {
  const node *x = node_at(call->graph, call->node->in[0]);
  int axis = (int)call->node->attribute[0];
  return (extent){(size_t)count_shape(axis, x->shape), (size_t)x->shape[axis],
                  (size_t)(count_shape(x->axes - axis - 1, x->shape + axis + 1) * call->lanes)};
}

static void sum_forward(const op_call *call) {
  extent e = extent_of(call);
  call->kernels->sum(call->y, call->x[0], e.outer, e.n, e.inner);
}

static void sum_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  orr_node x = node_at(g, self)->in[0];
  walk_give(walk, x, orr_broadcast(g, dy, node_at(g, x)->axes, node_at(g, x)->shape));
}

static void max_forward(const op_call *call) {
  extent e = extent_of(call);
  call->kernels->max(call->y, call->x[0], e.outer, e.n, e.inner);
}

/* To the first of equals only, so that the gradient is one of the function's own. */
static void max_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  orr_node x = n->in[0];
  int axis = (int)n->attribute[0];
  orr_node hit = orr_binary(g, ORR_OP_equal, x, self);
  orr_node first =
      orr_binary(g, ORR_OP_less_equal, orr_cumsum(g, hit, axis, false), orr_number(g, 1));
  walk_give(walk, x, walk_times(walk, dy, orr_binary(g, ORR_OP_mul, hit, first)));
}

static void argmax_forward(const op_call *call) {
  extent e = extent_of(call);
  for (size_t o = 0; o < e.outer; o++) {
    orr_real *y = call->y + o * e.inner;
    for (size_t i = 0; i < e.inner; i++) {
      const orr_real *x = call->x[0] + o * e.n * e.inner + i;
      size_t best = 0;
      orr_real top = (orr_real)-INFINITY;
      for (size_t j = 0; j < e.n; j++)
        if (x[j * e.inner] > top) top = x[j * e.inner], best = j; /* false for NaN */
      y[i] = (orr_real)best;
    }
  }
}

static void cumsum_forward(const op_call *call) {
  extent e = extent_of(call);
  bool backwards = call->node->attribute[1];
  for (size_t o = 0; o < e.outer; o++) {
    const orr_real *x = call->x[0] + o * e.n * e.inner;
    orr_real *y = call->y + o * e.n * e.inner;
    for (size_t step = 0; step < e.n; step++) {
      size_t j = (backwards ? e.n - 1 - step : step) * e.inner;
      if (step == 0) memcpy(y + j, x + j, e.inner * sizeof *y);
      else
        call->kernels->binary[BINARY_add](y + j, x + j,
                                          backwards ? y + j + e.inner : y + j - e.inner, e.inner);
    }
  }
}

static void cumsum_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  orr_node full = orr_broadcast(g, dy, n->axes, n->shape);
  walk_give(walk, n->in[0], orr_cumsum(g, full, (int)n->attribute[0], !n->attribute[1]));
}

static void flat_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  (void)walk, (void)self, (void)dy;
}

const op_class op_sum = {"sum", NULL, false, NULL, sum_forward, sum_gradient, NULL};
const op_class op_max_along = {"max_along", NULL, false, NULL, max_forward, max_gradient, NULL};
const op_class op_argmax = {"argmax", NULL, false, NULL, argmax_forward, flat_gradient, NULL};
const op_class op_cumsum = {"cumsum", NULL, false, NULL, cumsum_forward, cumsum_gradient, NULL};
