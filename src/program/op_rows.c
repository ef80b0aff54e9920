/* op_rows.c - between levels: spread gives a value to every row, row_sum adds over rows, row_count
   counts them; and the random draws, which differ per row. */
#include <string.h>

#include "program/graph.h"

/* ---- spread ---- */

static void spread_forward(const op_call *call) {
  int64_t lanes = call->lanes;
  if (lanes == 1) {
    memcpy(call->y, call->x[0], (size_t)call->node->count * sizeof *call->y);
    return;
  }
  for (int64_t f = 0; f < call->node->count; f++)
    for (int64_t l = 0; l < lanes; l++) call->y[f * lanes + l] = call->x[0][f];
}

static void spread_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  walk_give(walk, node_at(walk_graph(walk), self)->in[0], dy);
}

/* ---- row_sum ---- */

/* Of a MEMBER value: over the members, each counted once. */
orr_node graph_sum_down(orr_graph *graph, orr_node x, orr_level level) {
  if (x == ORR_NONE) return ORR_NONE;
  const node *n = node_at(graph, x);
  return graph_add_leveled(graph, ORR_OP_row_sum, level, n->axes, n->shape, 1, &x, NULL, 0);
}

orr_node orr_row_sum(orr_graph *graph, orr_node x, orr_level level) {
  if (x == ORR_NONE) return ORR_NONE;
  const node *n = node_at(graph, x);
  if (level >= ORR_ROW)
    return graph_fail(graph, ORR_OP_row_sum, "sums over rows are uniform or per member");
  if (n->level == ORR_UNIFORM) /* the same for all rows: count times */
    return orr_binary(graph, ORR_OP_mul, x, orr_row_count(graph, level));
  if (n->level == ORR_MEMBER && graph->parent) { /* inside a loop only what is captured */
    orr_node outer = orr_row_sum(graph->parent, graph_captured(graph, x), level);
    return outer == ORR_NONE ? ORR_NONE : orr_scan_capture(graph, outer);
  }
  if (n->level == ORR_MEMBER) {
    x = orr_binary(graph, ORR_OP_mul, x, orr_row_count(graph, ORR_MEMBER));
    return level == ORR_MEMBER ? x : graph_sum_down(graph, x, level);
  }
  return graph_sum_down(graph, x, level);
}

orr_node orr_row_mean(orr_graph *graph, orr_node x, orr_level level) {
  return orr_binary(graph, ORR_OP_div, orr_row_sum(graph, x, level), orr_row_count(graph, level));
}

static void row_sum_forward(const op_call *call) {
  size_t count = (size_t)call->node->count;
  const orr_real *x = call->x[0];
  for (int left = call->rows; left > 0; left -= call->lanes, x += count * (size_t)call->lanes)
    call->kernels->row_add(call->y, x, count, call->lanes, left < call->lanes ? left : call->lanes);
}

enum { WIDE = 16 }; /* numbers from which on rows are added faster than blocks */

static int64_t row_sum_width(const orr_graph *graph, const node *n, int operand) {
  (void)graph, (void)operand;
  return n->count >= WIDE ? n->count : 0;
}

static int64_t row_sum_units(const node *n, int64_t *size) { return *size = n->count; }

static int64_t row_sum_scratch(const orr_graph *graph, const node *n, int lanes) {
  (void)graph, (void)lanes;
  return n->count >= WIDE ? (int64_t)outer_stride((size_t)n->count) : 0;
}

static void row_sum_batch(const op_call *call) {
  size_t count = (size_t)call->node->count;
  if (count < WIDE) {
    row_sum_forward(call);
    return;
  }
  call->kernels->sum(call->scratch, call->x[0], 1, (size_t)call->rows, outer_stride(count));
  call->kernels->binary[BINARY_add](call->y, call->y, call->scratch, count);
}

static void row_sum_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  walk_give(walk, node_at(walk_graph(walk), self)->in[0],
            dy); /* lower level: meant for every row */
}

/* ---- row_count: filled by the run ---- */

orr_node orr_row_count(orr_graph *graph, orr_level level) {
  if (graph->parent) {
    orr_node outer = orr_row_count(graph->parent, level);
    return outer == ORR_NONE ? ORR_NONE : orr_scan_capture(graph, outer);
  }
  return graph_add_leveled(graph, ORR_OP_row_count, level, 0, NULL, 0, NULL, NULL, 0);
}

static void count_forward(const op_call *call) { *call->y = (orr_real)call->rows; }

/* ---- draws ---- */

static orr_node draw(orr_graph *graph, orr_op op, int axes, const int64_t *shape) {
  int64_t site = graph_outermost(graph)->sites++;
  return graph_add_leveled(graph, op, ORR_ROW, axes, shape, 0, NULL, &site, 1);
}

orr_node orr_normal(orr_graph *graph, int axes, const int64_t *shape) {
  return draw(graph, ORR_OP_normal, axes, shape);
}
orr_node orr_uniform(orr_graph *graph, int axes, const int64_t *shape) {
  return draw(graph, ORR_OP_uniform, axes, shape);
}

static void normal_forward(const op_call *call) {
  call->kernels->normal(call->y, (size_t)call->node->count, call->lanes, call->key,
                        (uint32_t)call->node->attribute[0], call->step, call->iteration, call->row);
}

static void uniform_forward(const op_call *call) {
  call->kernels->uniform(call->y, (size_t)call->node->count, call->lanes, call->key,
                         (uint32_t)call->node->attribute[0], call->step, call->iteration,
                         call->row);
}

static void no_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  (void)walk, (void)self, (void)dy;
}

const op_class op_spread = {"spread", NULL, true, NULL, spread_forward, spread_gradient, NULL};
static const op_batch sum_batch = {row_sum_batch, row_sum_width, row_sum_units};
const op_class op_row_sum = {"row_sum",        NULL,           true, &sum_batch, row_sum_forward,
                             row_sum_gradient, row_sum_scratch};
const op_class op_row_count = {"row_count", NULL, true, NULL, count_forward, no_gradient, NULL};
const op_class op_normal = {"normal", NULL, false, NULL, normal_forward, no_gradient, NULL};
const op_class op_uniform = {"uniform", NULL, false, NULL, uniform_forward, no_gradient, NULL};
