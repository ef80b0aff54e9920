/* op_solve.c - x of A x = b for a small dense A: Gaussian elimination with partial pivoting, one
   system per lane. dL/db = A^-T g, dL/dA = -(dL/db) x^T. */
#include <math.h>
#include <string.h>

#include "program/graph.h"

orr_node orr_solve(orr_graph *graph, orr_node a, orr_node b) {
  if (a == ORR_NONE || b == ORR_NONE) return ORR_NONE;
  const node *p = node_at(graph, a), *q = node_at(graph, b);
  if (p->axes != 2 || p->shape[0] != p->shape[1] || q->axes < 1 || q->axes > 2 ||
      q->shape[0] != p->shape[0]) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    return graph_fail(graph, ORR_OP_solve,
                      "needs a square matrix and as many right sides' entries, got %s and %s",
                      shape_text(s, p->axes, p->shape), shape_text(t, q->axes, q->shape));
  }
  orr_node in[2] = {a, b};
  return graph_add(graph, ORR_OP_solve, q->axes, q->shape, 2, in, NULL, 0);
}

static void swap_rows(orr_real *a, int64_t i, int64_t j, int64_t width) {
  for (int64_t c = 0; c < width; c++) {
    orr_real t = a[i * width + c];
    a[i * width + c] = a[j * width + c];
    a[j * width + c] = t;
  }
}

/* a[n][n] and x[n][m] in place; a singular matrix gives infinities or NaN. */
static void eliminate(orr_real *a, orr_real *x, int64_t n, int64_t m) {
  for (int64_t k = 0; k < n; k++) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; i++)
      if (fabs((double)a[i * n + k]) > fabs((double)a[pivot * n + k])) pivot = i;
    if (pivot != k) swap_rows(a, k, pivot, n), swap_rows(x, k, pivot, m);
    for (int64_t i = k + 1; i < n; i++) {
      orr_real f = a[i * n + k] / a[k * n + k];
      for (int64_t j = k; j < n; j++) a[i * n + j] -= f * a[k * n + j];
      for (int64_t j = 0; j < m; j++) x[i * m + j] -= f * x[k * m + j];
    }
  }
  for (int64_t k = n - 1; k >= 0; k--)
    for (int64_t j = 0; j < m; j++) {
      orr_real sum = x[k * m + j];
      for (int64_t i = k + 1; i < n; i++) sum -= a[k * n + i] * x[i * m + j];
      x[k * m + j] = sum / a[k * n + k];
    }
}

static int64_t scratch(const orr_graph *graph, const node *n, int lanes) {
  (void)lanes;
  return node_at(graph, n->in[0])->count + n->count;
}

static void forward(const op_call *call) {
  int64_t n = call->node->shape[0], count = call->node->count, m = n ? count / n : 0,
          lanes = call->lanes;
  orr_real *a = call->scratch, *x = a + n * n;
  for (int64_t l = 0; l < lanes; l++) {
    for (int64_t i = 0; i < n * n; i++) a[i] = call->x[0][i * lanes + l];
    for (int64_t i = 0; i < count; i++) x[i] = call->x[1][i * lanes + l];
    eliminate(a, x, n, m);
    for (int64_t i = 0; i < count; i++) call->y[i * lanes + l] = x[i];
  }
}

/* Rows whose cotangent is 0 everywhere took another side: their matrix may be singular. */
static orr_node zero_where_unused(gradient_walk *walk, orr_node g, orr_node dy) {
  orr_graph *graph = walk_graph(walk);
  if (!walk_tainted(walk)) return g;
  orr_node used = orr_sum_all(graph, orr_unary(graph, ORR_OP_abs, dy));
  return orr_select(graph, used, g, orr_number(graph, 0));
}

static void gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  static const int swap[2] = {1, 0};
  dy = orr_broadcast(g, dy, n->axes, n->shape);
  orr_node db = zero_where_unused(walk, orr_solve(g, orr_transpose(g, n->in[0], swap), dy), dy);
  walk_give(walk, n->in[1], db);
  if (!walk_wants(walk, n->in[0])) return;
  int64_t columns = n->axes > 1 ? n->shape[1] : 1, shape[2] = {n->shape[0], columns};
  orr_node left = orr_reshape(g, db, 2, shape),
           right = orr_reshape(g, walk_clean(walk, self), 2, shape);
  orr_node product = orr_matmul(g, left, orr_transpose(g, right, swap));
  walk_give(walk, n->in[0], orr_unary(g, ORR_OP_neg, product));
}

const op_class op_solve = {"solve", NULL, false, NULL, forward, gradient, scratch};
