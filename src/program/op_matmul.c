/* op_matmul.c - matrix products. Rows against a matrix that many rows share take the fast way:
   the matrix is packed once (pack), and linear runs the tuned kernel over blocks of rows. Where
   both operands differ per row, each lane has its own small product (matmul). */
#include <string.h>

#include "program/graph.h"

/* The operands' last two axes, a vector being a row on the left and a column on the right. */
typedef struct product {
  int64_t batch, n, k, m;
  bool a_batched, b_batched;
} product;

static bool product_of(const node *a, const node *b, product *p, int *axes, int64_t *shape) {
  int a_lead = a->axes > 2 ? a->axes - 2 : 0, b_lead = b->axes > 2 ? b->axes - 2 : 0;
  if (a->axes < 1 || b->axes < 1) return false;
  if (a_lead && b_lead && !shape_equal(a_lead, a->shape, b_lead, b->shape)) return false;
  *p = (product){1,
                 a->axes > 1 ? a->shape[a->axes - 2] : 1,
                 a->shape[a->axes - 1],
                 b->axes > 1 ? b->shape[b->axes - 1] : 1,
                 a_lead > 0,
                 b_lead > 0};
  if (p->k != b->shape[b->axes > 1 ? b->axes - 2 : 0]) return false;
  *axes = a_lead ? a_lead : b_lead;
  for (int i = 0; i < *axes; i++) p->batch *= shape[i] = a_lead ? a->shape[i] : b->shape[i];
  if (a->axes > 1) shape[(*axes)++] = p->n;
  if (b->axes > 1) shape[(*axes)++] = p->m;
  return true;
}

static orr_node pack(orr_graph *graph, orr_node w, bool transposed) {
  const node *n = node_at(graph, w);
  int64_t shape[2] = {n->shape[transposed], n->shape[!transposed]}, attribute = transposed;
  return graph_add(graph, ORR_OP_pack, 2, shape, 1, &w, &attribute, 1);
}

/* The same matrix packed the other way round; inside a scan it is packed outside and captured. */
static orr_node pack_flipped(orr_graph *graph, orr_node packed) {
  const node *n = node_at(graph, packed);
  if (n->op == ORR_OP_pack) return pack(graph, n->in[0], !n->attribute[0]);
  orr_node outer = pack_flipped(graph->parent, graph->building->captured[n->attribute[1]]);
  return outer == ORR_NONE ? ORR_NONE : orr_scan_capture(graph, outer);
}

/* x[..., in] by a packed w[in, out]. */
static orr_node linear_packed(orr_graph *graph, orr_node x, orr_node packed) {
  orr_node in[2] = {x, packed};
  if (x == ORR_NONE || packed == ORR_NONE) return ORR_NONE;
  const node *n = node_at(graph, x);
  int64_t shape[ORR_AXES];
  memcpy(shape, n->shape, sizeof shape);
  shape[n->axes - 1] = node_at(graph, in[1])->shape[1];
  return graph_add(graph, ORR_OP_linear, n->axes, shape, 2, in, NULL, 0);
}

static orr_node linear(orr_graph *graph, orr_node x, orr_node w, bool transposed) {
  return x == ORR_NONE || w == ORR_NONE ? ORR_NONE
                                        : linear_packed(graph, x, pack(graph, w, transposed));
}

orr_node orr_matmul(orr_graph *graph, orr_node a, orr_node b) {
  if (a == ORR_NONE || b == ORR_NONE) return ORR_NONE;
  const node *p = node_at(graph, a), *q = node_at(graph, b);
  product size;
  int axes;
  int64_t shape[ORR_AXES];
  if (p->axes + q->axes > ORR_AXES || !product_of(p, q, &size, &axes, shape)) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    return graph_fail(graph, ORR_OP_matmul,
                      "shapes %s and %s do not fit: the inner axes must be equal",
                      shape_text(s, p->axes, p->shape), shape_text(t, q->axes, q->shape));
  }
  if (p->level == ORR_ROW && q->level != ORR_ROW && q->axes == 2) return linear(graph, a, b, false);
  orr_node in[2] = {a, b};
  return graph_add(graph, ORR_OP_matmul, axes, shape, 2, in, NULL, 0);
}

static void matmul_forward(const op_call *call) {
  const node *a = node_at(call->graph, call->node->in[0]),
             *b = node_at(call->graph, call->node->in[1]);
  product s;
  int axes;
  int64_t shape[ORR_AXES], lanes = call->lanes;
  product_of(a, b, &s, &axes, shape);
  memset(call->y, 0, (size_t)(call->node->count * lanes) * sizeof *call->y);
  for (int64_t z = 0; z < s.batch; z++) {
    const orr_real *x = call->x[0] + (s.a_batched ? z * s.n * s.k * lanes : 0);
    const orr_real *w = call->x[1] + (s.b_batched ? z * s.k * s.m * lanes : 0);
    orr_real *y = call->y + z * s.n * s.m * lanes;
    for (int64_t i = 0; i < s.n; i++)
      for (int64_t k = 0; k < s.k; k++)
        for (int64_t j = 0; j < s.m; j++)
          for (int64_t l = 0; l < lanes; l++)
            y[(i * s.m + j) * lanes + l] +=
                x[(i * s.k + k) * lanes + l] * w[(k * s.m + j) * lanes + l];
  }
}

static orr_node swap_last(orr_graph *graph, orr_node x) {
  if (x == ORR_NONE) return ORR_NONE;
  int order[ORR_AXES], axes = node_at(graph, x)->axes;
  for (int i = 0; i < axes; i++) order[i] = i;
  order[axes - 1] = axes - 2, order[axes - 2] = axes - 1;
  return orr_transpose(graph, x, order);
}

/* A vector as the matrix that it stood for. */
static orr_node as_matrix(orr_graph *graph, orr_node x, bool column) {
  if (x == ORR_NONE || node_at(graph, x)->axes > 1) return x;
  int64_t n = node_at(graph, x)->shape[0], shape[2] = {column ? n : 1, column ? 1 : n};
  return orr_reshape(graph, x, 2, shape);
}

/* Sums leading axes away where the operand had none, and gives back its shape. */
static void give_operand(gradient_walk *walk, orr_node x, orr_node g) {
  orr_graph *graph = walk_graph(walk);
  const node *n = node_at(graph, x);
  int axes = n->axes > 1 ? n->axes : 2;
  while (g != ORR_NONE && node_at(graph, g)->axes > axes) g = orr_sum(graph, g, 0, false);
  walk_give(walk, x, orr_reshape(graph, g, n->axes, n->shape));
}

static void matmul_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  orr_node a = n->in[0], b = n->in[1];
  product s;
  int axes;
  int64_t shape[ORR_AXES];
  product_of(node_at(g, a), node_at(g, b), &s, &axes, shape);
  dy = orr_broadcast(g, dy, n->axes, n->shape);
  int lead = s.a_batched ? node_at(g, a)->axes - 2 : s.b_batched ? node_at(g, b)->axes - 2 : 0;
  shape[lead] = s.n, shape[lead + 1] = s.m;
  dy = orr_reshape(g, dy, lead + 2, shape);
  if (walk_wants(walk, a))
    give_operand(walk, a, orr_matmul(g, dy, swap_last(g, as_matrix(g, walk_clean(walk, b), true))));
  if (walk_wants(walk, b))
    give_operand(walk, b,
                 orr_matmul(g, swap_last(g, as_matrix(g, walk_clean(walk, a), false)), dy));
}

/* ---- pack and linear ---- */

static void pack_forward(const op_call *call) {
  const node *n = call->node;
  call->kernels->pack(call->y, call->x[0], (size_t)n->shape[0], (size_t)n->shape[1],
                      n->attribute[0] != 0);
}

/* Cotangents of a packed matrix come unpacked. */
static void pack_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  walk_give(walk, n->in[0], n->attribute[0] ? swap_last(g, dy) : dy);
}

/* Single values have no lanes: their vectors, BLOCK at a time, stand in for rows. */
static void linear_single(const op_call *call, int64_t vectors, int64_t in, int64_t out,
                          const orr_real *bias) {
  orr_real *x = call->scratch, *y = x + in * BLOCK;
  const orr_real *from[BLOCK];
  orr_real *to[BLOCK];
  for (int64_t i = 0; i < vectors; i += BLOCK) {
    int valid = (int)(vectors - i < BLOCK ? vectors - i : BLOCK);
    for (int l = 0; l < valid; l++) {
      from[l] = call->x[0] + (i + l) * in;
      to[l] = call->y + (i + l) * out;
    }
    call->kernels->load_block(x, from, valid, (size_t)in);
    call->kernels->matmul_block(y, call->x[1], x, bias, (size_t)in, (size_t)out, NULL, NULL);
    call->kernels->store_block(to, y, valid, (size_t)out);
  }
}

static int64_t linear_scratch(const orr_graph *graph, const node *n, int lanes) {
  const node *w = node_at(graph, n->in[1]);
  return lanes == 1 ? BLOCK * (w->shape[0] + w->shape[1]) : 0;
}

static void linear_forward(const op_call *call) {
  const node *w = node_at(call->graph, call->node->in[1]);
  int64_t in = w->shape[0], out = w->shape[1], vectors = out ? call->node->count / out : 0;
  const orr_real *bias = call->node->inputs > 2 ? call->x[2] : NULL;
  if (call->lanes == 1) {
    linear_single(call, vectors, in, out, bias);
    if (call->activate) call->activate(call->activated, call->y, (size_t)call->node->count);
    return;
  }
  for (int64_t i = 0; i < vectors; i++) {
    int64_t at = i * out * BLOCK;
    call->kernels->matmul_block(call->y + at, call->x[1], call->x[0] + i * in * BLOCK, bias,
                                (size_t)in, (size_t)out, call->activate,
                                call->activate ? call->activated + at : NULL);
  }
}

static void linear_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self), *packed = node_at(g, n->in[1]);
  orr_node x = n->in[0];
  dy = orr_broadcast(g, dy, n->axes, n->shape);
  if (node_at(g, dy)->level != ORR_ROW)
    dy = graph_add_leveled(g, ORR_OP_spread, ORR_ROW, n->axes, n->shape, 1, &dy, NULL, 0);
  if (walk_wants(walk, x)) walk_give(walk, x, linear_packed(g, dy, pack_flipped(g, n->in[1])));
  if (!walk_wants(walk, n->in[1])) return;
  orr_node in[2] = {walk_clean(walk, x), dy};
  if (in[0] != ORR_NONE && node_at(g, in[0])->level != ORR_ROW)
    in[0] = graph_add_leveled(g, ORR_OP_spread, ORR_ROW, node_at(g, x)->axes, node_at(g, x)->shape,
                              1, in, NULL, 0);
  walk_give_summed(walk, n->in[1],
                   graph_add_leveled(g, ORR_OP_row_outer, packed->level, 2, packed->shape, 2, in,
                                     NULL, 0));
}

/* ---- row_outer: y[in, out] += sum over rows (and leading axes) of x[..., in] dy[..., out] ---- */

static void outer_forward(const op_call *call) {
  int64_t in = call->node->shape[0], out = call->node->shape[1];
  int64_t vectors = in ? node_at(call->graph, call->node->in[0])->count / in : 0;
  if (call->lanes == 1) {
    for (int64_t v = 0; v < vectors; v++)
      for (int64_t i = 0; i < in; i++)
        for (int64_t j = 0; j < out; j++)
          call->y[i * out + j] += call->x[0][v * in + i] * call->x[1][v * out + j];
    return;
  }
  for (int64_t v = 0; v < vectors; v++)
    call->kernels->outer_add(call->y, call->x[0] + v * in * BLOCK, (size_t)(vectors * in * BLOCK),
                             call->x[1] + v * out * BLOCK, (size_t)(vectors * out * BLOCK),
                             (size_t)in, (size_t)out, call->rows, call->scratch);
}

static int64_t scratch_for_outer(const orr_graph *graph, const node *n, int lanes) {
  (void)graph;
  return lanes == 1 ? 0 : (int64_t)outer_scratch((size_t)n->shape[1], lanes * TILE_BLOCKS);
}

/* A column is faster from blocks; all else from dy as rows. */
static int64_t outer_rows_width(const orr_graph *graph, const node *n, int operand) {
  (void)graph;
  return operand == 1 && n->shape[1] > 1 ? n->shape[1] : 0;
}

/* Inputs that threads take at a time: as much as stays in a first-level cache while the rows go
   by. */
static int64_t outer_units(const node *n, int64_t *size) {
  *size = n->count < 8192 ? n->shape[0] : 24;
  return n->count ? n->shape[0] : 0;
}

static void outer_add_single(const op_call *call, int64_t vectors, int64_t in, int64_t out) {
  int64_t stride = out > 1 ? (int64_t)outer_stride((size_t)out) : 1;
  for (int64_t row = 0; row < call->rows * vectors; row++) {
    int64_t r = row / vectors, v = row % vectors;
    const orr_real *x = call->x[0] + row * in;
    const orr_real *dy = call->x[1] + (out > 1 ? v * call->apart + r * stride : row);
    for (int64_t i = call->first; i < call->first + call->count; i++)
      for (int64_t j = 0; j < out; j++) call->y[i * out + j] += x[i] * dy[j];
  }
}

static void outer_add_batch(const op_call *call) {
  int64_t in = call->node->shape[0], out = call->node->shape[1];
  int64_t vectors = in ? node_at(call->graph, call->node->in[0])->count / in : 0;
  if (call->lanes == 1) {
    outer_add_single(call, vectors, in, out);
    return;
  }
  for (int64_t v = 0; v < vectors; v++) {
    orr_real *y = call->y + call->first * out;
    const orr_real *x = call->x[0] + (v * in + call->first) * BLOCK;
    size_t stride = (size_t)(vectors * in * BLOCK);
    if (out == 1)
      call->kernels->outer_add_column(y, x, stride, call->x[1] + v * BLOCK,
                                      (size_t)(vectors * BLOCK), (size_t)call->count, call->rows);
    else
      call->kernels->outer_add_rows(y, x, stride, call->x[1] + v * call->apart,
                                    outer_stride((size_t)out), (size_t)call->count, (size_t)out,
                                    call->rows);
  }
}

/* dx = G dy, d(dy) = x G: both linear in rows. */
static void outer_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  dy = orr_broadcast(g, dy, 2, n->shape);
  if (dy == ORR_NONE) return;
  if (walk_wants(walk, n->in[0]))
    walk_give(walk, n->in[0], linear(g, walk_clean(walk, n->in[1]), dy, true));
  if (walk_wants(walk, n->in[1]))
    walk_give(walk, n->in[1], linear(g, walk_clean(walk, n->in[0]), dy, false));
}

const op_class op_matmul = {"matmul", NULL, false, NULL, matmul_forward, matmul_gradient, NULL};
const op_class op_pack = {"pack", NULL, false, NULL, pack_forward, pack_gradient, NULL};
const op_class op_linear = {"linear",        NULL,          true, NULL, linear_forward,
                            linear_gradient, linear_scratch};
static const op_batch outer_batch = {outer_add_batch, outer_rows_width, outer_units};
const op_class op_row_outer = {"row_outer",      NULL,          true,
                               &outer_batch,     outer_forward, outer_gradient,
                               scratch_for_outer};
