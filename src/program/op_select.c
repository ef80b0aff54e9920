/* op_select.c - y = a where condition is not 0, else b. Both sides are computed; the gradient of
   the side not taken is 0, also where its derivative is infinite (see walk_times). */
#include <string.h>

#include "program/graph.h"

orr_node orr_select(orr_graph *graph, orr_node condition, orr_node a, orr_node b) {
  if (condition == ORR_NONE || a == ORR_NONE || b == ORR_NONE) return ORR_NONE;
  if (a == b) return a;
  double number;
  int axes;
  int64_t shape[ORR_AXES];
  orr_node in[3] = {condition, a, b};
  if (!broadcast_shapes(graph, ORR_OP_select, a, b, &axes, shape)) return ORR_NONE;
  orr_node both = orr_broadcast(graph, a, axes, shape);
  if (both == ORR_NONE || !broadcast_shapes(graph, ORR_OP_select, condition, both, &axes, shape))
    return ORR_NONE;
  int first = node_at(graph, condition)->count == 1 ? 1 : 0; /* one condition serves all numbers */
  for (int i = first; i < 3; i++)
    if ((in[i] = orr_broadcast(graph, in[i], axes, shape)) == ORR_NONE) return ORR_NONE;
  if (orr_node_number(graph, condition, &number)) return number != 0 ? in[1] : in[2];
  return graph_add(graph, ORR_OP_select, axes, shape, 3, in, NULL, 0);
}

static void forward(const op_call *call) {
  size_t count = (size_t)call->node->count, lanes = (size_t)call->lanes;
  if (node_at(call->graph, call->node->in[0])->count == call->node->count) {
    call->kernels->select(call->y, call->x[0], call->x[1], call->x[2], count * lanes);
  } else if (lanes == 1) {
    memmove(call->y, *call->x[0] != 0 ? call->x[1] : call->x[2], count * sizeof *call->y);
  } else {
    for (size_t i = 0; i < count * lanes; i += lanes)
      call->kernels->select(call->y + i, call->x[0], call->x[1] + i, call->x[2] + i, lanes);
  }
}

static void gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  orr_node zero = orr_number(g, 0);
  if (walk_wants(walk, n->in[1])) walk_give(walk, n->in[1], orr_select(g, n->in[0], dy, zero));
  if (walk_wants(walk, n->in[2])) walk_give(walk, n->in[2], orr_select(g, n->in[0], zero, dy));
}

const op_class op_select = {"select", NULL, false, NULL, forward, gradient, NULL};
