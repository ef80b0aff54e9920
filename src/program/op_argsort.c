/* op_argsort.c - indices that sort the last axis: merge sort, stable, so ties break by index; NaN
   ranks last. Sorting is gather_along by these. */
#include <string.h>

#include "program/graph.h"

orr_node orr_argsort(orr_graph *graph, orr_node x) {
  if (graph_axis(graph, ORR_OP_argsort, x, -1) < 0) return ORR_NONE;
  return graph_add(graph, ORR_OP_argsort, node_at(graph, x)->axes, node_at(graph, x)->shape, 1, &x,
                   NULL, 0);
}

static bool before_or_equal(orr_real a, orr_real b) { return a <= b || b != b; }

/* Sorts indices[n] by key, through spare[n]; answers where the result lies. */
static orr_real *merge_sort(orr_real *indices, orr_real *spare, const orr_real *key, int64_t stride,
                            int64_t n) {
  for (int64_t width = 1; width < n; width *= 2) {
    for (int64_t left = 0; left < n; left += 2 * width) {
      int64_t middle = left + width < n ? left + width : n,
              right = left + 2 * width < n ? left + 2 * width : n;
      for (int64_t i = left, j = middle, k = left; k < right; k++) {
        bool take =
            i < middle && (j >= right || before_or_equal(key[(int64_t)indices[i] * stride],
                                                         key[(int64_t)indices[j] * stride]));
        spare[k] = take ? indices[i++] : indices[j++];
      }
    }
    orr_real *t = indices;
    indices = spare, spare = t;
  }
  return indices;
}

static int64_t scratch(const orr_graph *graph, const node *n, int lanes) {
  (void)graph, (void)lanes;
  return 2 * n->shape[n->axes - 1];
}

static void forward(const op_call *call) {
  int64_t n = call->node->shape[call->node->axes - 1], lanes = call->lanes;
  for (int64_t start = 0; start < call->node->count; start += n)
    for (int64_t l = 0; l < lanes; l++) {
      orr_real *indices = call->scratch;
      for (int64_t i = 0; i < n; i++) indices[i] = (orr_real)i;
      indices = merge_sort(indices, call->scratch + n, call->x[0] + start * lanes + l, lanes, n);
      for (int64_t i = 0; i < n; i++) call->y[(start + i) * lanes + l] = indices[i];
    }
}

static void gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  (void)walk, (void)self, (void)dy;
}

const op_class op_argsort = {"argsort", NULL, false, NULL, forward, gradient, scratch};
