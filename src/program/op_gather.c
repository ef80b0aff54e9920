/* op_gather.c - picking by index, and its adjoint, adding by index: along the first axis of a table
   (gather, scatter), or along the last axis with an index list for every vector (gather_along,
   scatter_along). An index out of range is clamped; indices have no gradient. */
#include <string.h>

#include "program/graph.h"

static int64_t index_at(orr_real value, int64_t n) {
  return value > 0 ? (value < (orr_real)n ? (int64_t)value : n - 1) : 0; /* NaN gives 0 */
}

orr_node orr_gather(orr_graph *graph, orr_node table, orr_node index) {
  if (table == ORR_NONE || index == ORR_NONE) return ORR_NONE;
  const node *t = node_at(graph, table), *i = node_at(graph, index);
  if (t->axes < 1 || t->shape[0] < 1)
    return graph_fail(graph, ORR_OP_gather, "the table has no entries");
  if (i->axes + t->axes - 1 > ORR_AXES)
    return graph_fail(graph, ORR_OP_gather, "more than %d axes", ORR_AXES);
  int64_t shape[ORR_AXES * 2];
  memcpy(shape, i->shape, (size_t)i->axes * sizeof *shape);
  memcpy(shape + i->axes, t->shape + 1, (size_t)(t->axes - 1) * sizeof *shape);
  /* a uniform table stays as it is, the index has lanes */
  if (t->level == ORR_ROW && i->level != ORR_ROW)
    index = graph_add_leveled(graph, ORR_OP_spread, ORR_ROW, i->axes, i->shape, 1, &index, NULL, 0);
  orr_node in[2] = {table, index};
  return graph_add(graph, ORR_OP_gather, i->axes + t->axes - 1, shape, 2, in, NULL, 0);
}

static void gather_forward(const op_call *call) {
  const node *table = node_at(call->graph, call->node->in[0]),
             *index = node_at(call->graph, call->node->in[1]);
  int64_t n = table->shape[0], rest = table->count / n, lanes = call->lanes,
          width = call->by_row[0] ? lanes : 1;
  for (int64_t i = 0; i < index->count; i++)
    for (int64_t l = 0; l < lanes; l++) {
      int64_t at = index_at(call->x[1][i * lanes + l], n);
      const orr_real *from = call->x[0] + at * rest * width + (width > 1 ? l : 0);
      orr_real *to = call->y + i * rest * lanes + l;
      for (int64_t r = 0; r < rest; r++) to[r * lanes] = from[r * width];
    }
}

static void gather_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  if (!walk_wants(walk, n->in[0])) return;
  orr_node full = orr_broadcast(g, dy, n->axes, n->shape);
  walk_give(walk, n->in[0], orr_scatter(g, full, n->in[1], node_at(g, n->in[0])->shape[0]));
}

/* values[index..., rest...] added into zeros[n, rest...]. */
orr_node orr_scatter(orr_graph *graph, orr_node values, orr_node index, int64_t n) {
  if (values == ORR_NONE || index == ORR_NONE) return ORR_NONE;
  const node *v = node_at(graph, values), *i = node_at(graph, index);
  if (n < 1 || v->axes < i->axes || !shape_equal(i->axes, v->shape, i->axes, i->shape))
    return graph_fail(graph, ORR_OP_scatter,
                      "the values' first axes must be the index's, and n at least 1");
  int64_t shape[ORR_AXES] = {n}, attribute = n;
  int rest = v->axes - i->axes;
  if (rest + 1 > ORR_AXES) return graph_fail(graph, ORR_OP_scatter, "more than %d axes", ORR_AXES);
  memcpy(shape + 1, v->shape + i->axes, (size_t)rest * sizeof *shape);
  orr_node in[2] = {values, index};
  return graph_add(graph, ORR_OP_scatter, rest + 1, shape, 2, in, &attribute, 1);
}

static void scatter_forward(const op_call *call) {
  const node *index = node_at(call->graph, call->node->in[1]);
  int64_t n = call->node->shape[0], rest = call->node->count / n, lanes = call->lanes;
  memset(call->y, 0, (size_t)(call->node->count * lanes) * sizeof *call->y);
  for (int64_t i = 0; i < index->count; i++)
    for (int64_t l = 0; l < lanes; l++) {
      orr_real *to = call->y + index_at(call->x[1][i * lanes + l], n) * rest * lanes + l;
      const orr_real *from = call->x[0] + i * rest * lanes + l;
      for (int64_t r = 0; r < rest; r++) to[r * lanes] += from[r * lanes];
    }
}

static void scatter_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  if (!walk_wants(walk, n->in[0])) return;
  orr_node full = orr_broadcast(g, dy, n->axes, n->shape);
  walk_give(walk, n->in[0], orr_gather(g, full, n->in[1]));
}

/* ---- along the last axis ---- */

static bool leading_axes_equal(orr_graph *graph, orr_op op, orr_node x, orr_node index) {
  const node *a = node_at(graph, x), *b = node_at(graph, index);
  if (a->axes == b->axes && a->axes > 0 &&
      shape_equal(a->axes - 1, a->shape, b->axes - 1, b->shape))
    return true;
  char s[SHAPE_TEXT], t[SHAPE_TEXT];
  graph_fail(graph, op,
             "values of shape %s and indices of shape %s must agree but for the last axis",
             shape_text(s, a->axes, a->shape), shape_text(t, b->axes, b->shape));
  return false;
}

orr_node orr_gather_along(orr_graph *graph, orr_node x, orr_node index) {
  if (x == ORR_NONE || index == ORR_NONE ||
      !leading_axes_equal(graph, ORR_OP_gather_along, x, index))
    return ORR_NONE;
  const node *i = node_at(graph, index);
  orr_node in[2] = {x, index};
  return graph_add(graph, ORR_OP_gather_along, i->axes, i->shape, 2, in, NULL, 0);
}

static void gather_along_forward(const op_call *call) {
  const node *x = node_at(call->graph, call->node->in[0]), *y = call->node;
  int64_t n = x->shape[x->axes - 1], m = y->shape[y->axes - 1], lanes = call->lanes;
  for (int64_t i = 0; i < y->count; i++)
    for (int64_t l = 0; l < lanes; l++) {
      int64_t at = index_at(call->x[1][i * lanes + l], n);
      call->y[i * lanes + l] = call->x[0][(i / m * n + at) * lanes + l];
    }
}

static void gather_along_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self), *x = node_at(g, n->in[0]);
  if (!walk_wants(walk, n->in[0])) return;
  orr_node full = orr_broadcast(g, dy, n->axes, n->shape);
  walk_give(walk, n->in[0], orr_scatter_along(g, full, n->in[1], x->shape[x->axes - 1]));
}

orr_node orr_scatter_along(orr_graph *graph, orr_node values, orr_node index, int64_t n) {
  if (values == ORR_NONE || index == ORR_NONE ||
      !leading_axes_equal(graph, ORR_OP_scatter_along, values, index))
    return ORR_NONE;
  const node *v = node_at(graph, values);
  if (!shape_equal(v->axes, v->shape, node_at(graph, index)->axes, node_at(graph, index)->shape) ||
      n < 1)
    return graph_fail(graph, ORR_OP_scatter_along,
                      "values and indices must have one shape, and n be at least 1");
  int64_t shape[ORR_AXES];
  memcpy(shape, v->shape, sizeof shape);
  shape[v->axes - 1] = n;
  orr_node in[2] = {values, index};
  return graph_add(graph, ORR_OP_scatter_along, v->axes, shape, 2, in, NULL, 0);
}

static void scatter_along_forward(const op_call *call) {
  const node *v = node_at(call->graph, call->node->in[0]), *y = call->node;
  int64_t m = v->shape[v->axes - 1], n = y->shape[y->axes - 1], lanes = call->lanes;
  memset(call->y, 0, (size_t)(y->count * lanes) * sizeof *call->y);
  for (int64_t i = 0; i < v->count; i++)
    for (int64_t l = 0; l < lanes; l++) {
      int64_t at = index_at(call->x[1][i * lanes + l], n);
      call->y[(i / m * n + at) * lanes + l] += call->x[0][i * lanes + l];
    }
}

static void scatter_along_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  if (!walk_wants(walk, n->in[0])) return;
  orr_node full = orr_broadcast(g, dy, n->axes, n->shape);
  walk_give(walk, n->in[0], orr_gather_along(g, full, n->in[1]));
}

const op_class op_gather = {"gather", NULL, true, NULL, gather_forward, gather_gradient, NULL};
const op_class op_scatter = {"scatter", NULL, false, NULL, scatter_forward, scatter_gradient, NULL};
const op_class op_gather_along = {"gather_along",        NULL, false, NULL, gather_along_forward,
                                  gather_along_gradient, NULL};
const op_class op_scatter_along = {"scatter_along",        NULL, false, NULL, scatter_along_forward,
                                   scatter_along_gradient, NULL};
