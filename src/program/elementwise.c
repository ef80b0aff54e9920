/* elementwise.c - unary and binary ops: shapes broadcast as in NumPy, loops collapsed to the
   longest runs that one kernel call can take. */
#include <string.h>

#include "program/graph.h"

orr_node orr_unary(orr_graph *graph, orr_op op, orr_node x) {
  if (x == ORR_NONE) return ORR_NONE;
  if (!op_is_unary(op)) return graph_fail(graph, op, "is not a unary op");
  const node *n = node_at(graph, x);
  if (op == ORR_OP_neg && n->op == ORR_OP_neg) return n->in[0];
  return graph_add(graph, op, n->axes, n->shape, 1, &x, NULL, 0);
}

bool broadcast_shapes(orr_graph *graph, orr_op op, orr_node a, orr_node b, int *axes,
                      int64_t *shape) {
  const node *p = node_at(graph, a), *q = node_at(graph, b);
  *axes = p->axes > q->axes ? p->axes : q->axes;
  for (int i = 1; i <= *axes; i++) { /* from the last axis */
    int64_t m = i <= p->axes ? p->shape[p->axes - i] : 1,
            n = i <= q->axes ? q->shape[q->axes - i] : 1;
    if (m != n && m != 1 && n != 1) {
      char s[SHAPE_TEXT], t[SHAPE_TEXT];
      /* without the axis's number, which Lua counts from 1 and C from 0 */
      graph_fail(graph, op, "shapes %s and %s do not fit: %lld against %lld, and neither is 1",
                 shape_text(s, p->axes, p->shape), shape_text(t, q->axes, q->shape), (long long)m,
                 (long long)n);
      return false;
    }
    shape[*axes - i] = m == 1 ? n : m;
  }
  return true;
}

static bool is_number(const orr_graph *graph, orr_node n, double value) {
  double number;
  return orr_node_number(graph, n, &number) && number == value;
}

static orr_node square(orr_graph *graph, orr_node x) { return orr_unary(graph, ORR_OP_square, x); }

/* x to a small whole power by products: exact where pow() would round, and far cheaper. */
static orr_node small_power(orr_graph *graph, orr_node x, double power) {
  if (power == 1) return x;
  if (power == 2) return square(graph, x);
  if (power == 3) return orr_binary(graph, ORR_OP_mul, square(graph, x), x);
  if (power == 4) return square(graph, square(graph, x));
  if (power == 0.5) return orr_unary(graph, ORR_OP_sqrt, x);
  if (power == -1) return orr_unary(graph, ORR_OP_reciprocal, x);
  return ORR_NONE;
}

/* Rewrites that lose nothing: the operand itself, or ORR_NONE. */
static orr_node simplify(orr_graph *graph, orr_op op, orr_node a, orr_node b) {
  double number;
  switch (op) {
  case ORR_OP_add: return is_number(graph, b, 0) ? a : is_number(graph, a, 0) ? b : ORR_NONE;
  case ORR_OP_sub: return is_number(graph, b, 0) ? a : ORR_NONE;
  case ORR_OP_mul: return is_number(graph, b, 1) ? a : is_number(graph, a, 1) ? b : ORR_NONE;
  case ORR_OP_masked_mul: return is_number(graph, b, 1) ? a : ORR_NONE;
  case ORR_OP_div: return is_number(graph, b, 1) ? a : ORR_NONE;
  case ORR_OP_pow:
    return orr_node_number(graph, b, &number) ? small_power(graph, a, number) : ORR_NONE;
  default: return ORR_NONE;
  }
}

orr_node orr_binary(orr_graph *graph, orr_op op, orr_node a, orr_node b) {
  if (a == ORR_NONE || b == ORR_NONE) return ORR_NONE;
  if (!op_is_binary(op)) return graph_fail(graph, op, "is not a binary op");
  int axes;
  int64_t shape[ORR_AXES];
  if (!broadcast_shapes(graph, op, a, b, &axes, shape)) return ORR_NONE;
  orr_node simple = simplify(graph, op, a, b);
  if (simple != ORR_NONE &&
      shape_equal(axes, shape, node_at(graph, simple)->axes, node_at(graph, simple)->shape))
    return simple;
  orr_node in[2] = {a, b};
  return graph_add(graph, op, axes, shape, 2, in, NULL, 0);
}

/* ---- running ---- */

/* Strides of an operand along the axes of the result: 0 where it is repeated. */
static void operand_strides(const node *x, const node *y, int64_t *strides) {
  int64_t step = 1;
  for (int i = y->axes - 1, j = x->axes - 1; i >= 0; i--, j--) {
    int64_t size = j >= 0 ? x->shape[j] : 1;
    strides[i] = size == 1 ? 0 : step;
    step *= size;
  }
}

/* Drops axes of length 1 and joins neighbours that both operands step through evenly. */
void elementwise_prepare(const orr_graph *graph, const node *n, elementwise_plan *plan) {
  int64_t a[ORR_AXES], b[ORR_AXES];
  const node *x = node_at(graph, n->in[0]), *z = node_at(graph, n->in[n->inputs - 1]);
  operand_strides(x, n, a);
  operand_strides(z, n, b);
  memset(plan, 0, sizeof *plan);
  for (int i = n->axes - 1; i >= 0; i--) { /* built innermost first */
    if (n->shape[i] == 1) continue;
    int last = plan->axes - 1;
    if (last >= 0 && a[i] == plan->a[last] * plan->n[last] &&
        b[i] == plan->b[last] * plan->n[last]) {
      plan->n[last] *= n->shape[i];
      continue;
    }
    plan->n[plan->axes] = n->shape[i];
    plan->a[plan->axes] = a[i];
    plan->b[plan->axes++] = b[i];
  }
  for (int i = 0; i < plan->axes / 2; i++) { /* outermost first */
    int j = plan->axes - 1 - i;
    int64_t t = plan->n[i];
    plan->n[i] = plan->n[j], plan->n[j] = t;
    t = plan->a[i], plan->a[i] = plan->a[j], plan->a[j] = t;
    t = plan->b[i], plan->b[i] = plan->b[j], plan->b[j] = t;
  }
  if (plan->axes == 0)
    plan->axes = 1, plan->n[0] = 1, plan->a[0] = plan->b[0] = x->count == 1 && z->count == 1;
  plan->flat = plan->axes == 1 && plan->a[0] == 1 && plan->b[0] == 1;
}

/* One run along the innermost axis. A value that is not by row counts as one number per feature. */
static void run_innermost(const op_call *call, binary_op op, orr_real *y, const orr_real *a,
                          const orr_real *b, int64_t n, bool a_steps, bool b_steps) {
  const kernels *k = call->kernels;
  int64_t lanes = call->lanes;
  bool a_row = call->by_row[0], b_row = call->by_row[1];
  if (a_row && b_row && a_steps && b_steps) {
    k->binary[op](y, a, b, (size_t)(n * lanes));
  } else if (a_row && a_steps && !b_row) {
    if (!b_steps) k->binary_by_number[op](y, a, *b, (size_t)(n * lanes));
    else k->binary_by_feature[op](y, a, b, (size_t)n);
  } else if (b_row && b_steps && !a_row) {
    if (!a_steps) k->number_by_binary[op](y, *a, b, (size_t)(n * lanes));
    else k->feature_by_binary[op](y, b, a, (size_t)n); /* the rows first */
  } else {
    for (int64_t i = 0; i < n; i++, y += lanes) {
      const orr_real *p = a + (a_steps ? i * (a_row ? lanes : 1) : 0);
      const orr_real *q = b + (b_steps ? i * (b_row ? lanes : 1) : 0);
      if (a_row && b_row) k->binary[op](y, p, q, (size_t)lanes);
      else if (a_row) k->binary_by_number[op](y, p, *q, (size_t)lanes);
      else k->number_by_binary[op](y, *p, q, (size_t)lanes);
    }
  }
}

/* With one lane every operand steps like a plain array, and repeated ones are numbers. */
static void run_single(const op_call *call, binary_op op, orr_real *y, const orr_real *a,
                       const orr_real *b, int64_t n, bool a_steps, bool b_steps) {
  const kernels *k = call->kernels;
  if (a_steps && b_steps) k->binary[op](y, a, b, (size_t)n);
  else if (a_steps) k->binary_by_number[op](y, a, *b, (size_t)n);
  else if (b_steps) k->number_by_binary[op](y, *a, b, (size_t)n);
  else
    for (int64_t i = 0; i < n; i++) k->binary[op](y + i, a, b, 1);
}

void elementwise_run(const op_call *call, const elementwise_plan *plan) {
  binary_op op = binary_of(call->node->op);
  int last = plan->axes - 1;
  int64_t index[ORR_AXES] = {0}, inner = plan->n[last], lanes = call->lanes;
  int64_t a_lanes = call->by_row[0] ? lanes : 1, b_lanes = call->by_row[1] ? lanes : 1;
  const orr_real *a = call->x[0], *b = call->x[1];
  orr_real *y = call->y;
  if (call->node->count == 0) return;
  for (;;) {
    if (lanes == 1) run_single(call, op, y, a, b, inner, plan->a[last] != 0, plan->b[last] != 0);
    else run_innermost(call, op, y, a, b, inner, plan->a[last] != 0, plan->b[last] != 0);
    y += inner * lanes;
    int axis = last - 1;
    for (; axis >= 0; axis--) {
      a += plan->a[axis] * a_lanes;
      b += plan->b[axis] * b_lanes;
      if (++index[axis] < plan->n[axis]) break;
      a -= plan->a[axis] * plan->n[axis] * a_lanes;
      b -= plan->b[axis] * plan->n[axis] * b_lanes;
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}
