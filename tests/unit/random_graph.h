/* random_graph.h - for tests: random graphs of all ops, with what a run of them is given. */
#ifndef RANDOM_GRAPH_H
#define RANDOM_GRAPH_H

#include "interpreter.h"

enum { MOST_POOL = 120, MOST_ENTRIES = 3 };

typedef struct scope {
  orr_graph *graph;
  struct scope *outer;
  orr_node pool[MOST_POOL];
  int count, depth;
} scope;

typedef struct maker {
  orr_engine *engine;
  dice dice;
  scope top;
  given given[MOST_GIVEN];
  int given_count;
  bool smooth; /* only what differences can check */
} maker;

static inline void keep(scope *s, orr_node n) {
  if (n == ORR_NONE || orr_node_count(s->graph, n) > 200 || orr_node_axes(s->graph, n) > 6) return;
  if (s->count < MOST_POOL) s->pool[s->count++] = n;
}

static inline orr_node any(maker *m, scope *s) {
  int n = s->count, recent = n > 6 ? 6 : n;
  return s->pool[chance(&m->dice, 50) ? n - 1 - below(&m->dice, recent) : below(&m->dice, n)];
}

static inline orr_node fresh_top(maker *m, orr_level level, int axes, const int64_t *shape,
                                 bool named) {
  given *v = &m->given[m->given_count];
  int64_t entries = level == ORR_MEMBER ? MOST_ENTRIES : 1, whole[ORR_AXES + 1] = {MOST_ENTRIES};
  if (m->given_count == MOST_GIVEN) return ORR_NONE;
  *v = (given){.level = level, .axes = axes, .count = count_shape(axes, shape)};
  memcpy(v->shape, shape, (size_t)axes * sizeof *shape);
  memcpy(whole + (level == ORR_MEMBER), shape, (size_t)axes * sizeof *shape);
  if (level != ORR_ROW) {
    v->data = calloc((size_t)(v->count * entries) + 1, sizeof(double));
    for (int64_t i = 0; i < v->count * entries; i++)
      v->data[i] = (double)(orr_real)between(&m->dice, -1.5, 1.5);
  }
  orr_node made;
  if (level == ORR_ROW || named) {
    char *name = malloc(16);
    snprintf(name, 16, "in%d", m->given_count);
    v->name = name;
    made = orr_input(m->top.graph, v->name, level, axes, shape);
  } else {
    v->tensor = orr_tensor_new(m->engine, ORR_REAL, axes + (level == ORR_MEMBER), whole);
    orr_tensor_write(v->tensor, v->data);
    made = orr_parameter(m->top.graph, v->tensor, level);
  }
  m->given_count++;
  keep(&m->top, made);
  return made;
}

/* A node of an enclosing graph, as seen from s. */
static inline orr_node seen_from(scope *s, scope *home, orr_node n) {
  if (s == home || n == ORR_NONE) return n;
  return orr_scan_capture(s->graph, seen_from(s->outer, home, n));
}

static inline orr_node fresh(maker *m, scope *s, int axes, const int64_t *shape) {
  int kind = below(&m->dice, 10);
  orr_level level = kind < 4 ? ORR_UNIFORM : kind < 7 ? ORR_MEMBER : ORR_ROW;
  return seen_from(s, &m->top, fresh_top(m, level, axes, shape, chance(&m->dice, 40)));
}

static inline bool fits(const orr_graph *g, orr_node a, orr_node b) {
  const node *p = node_at(g, a), *q = node_at(g, b);
  for (int i = 1; i <= p->axes && i <= q->axes; i++) {
    int64_t x = p->shape[p->axes - i], y = q->shape[q->axes - i];
    if (x != y && x != 1 && y != 1) return false;
  }
  return true;
}

/* A node that broadcasts with x. */
static inline orr_node partner(maker *m, scope *s, orr_node x) {
  for (int i = 0; i < 12; i++) {
    orr_node n = any(m, s);
    if (fits(s->graph, x, n)) return n;
  }
  return chance(&m->dice, 50) ? orr_number(s->graph, between(&m->dice, -2, 2)) : x;
}

static inline orr_node op1(scope *s, orr_op op, orr_node x) { return orr_unary(s->graph, op, x); }
static inline orr_node op2(scope *s, orr_op op, orr_node a, orr_node b) {
  return orr_binary(s->graph, op, a, b);
}
static inline orr_node shifted_by(scope *s, orr_node x, double scale, double shift) {
  orr_node y = op2(s, ORR_OP_mul, x, orr_number(s->graph, scale));
  return op2(s, ORR_OP_add, y, orr_number(s->graph, shift));
}
static inline orr_node tame(scope *s, orr_node x, double scale, double shift) {
  return shifted_by(s, op1(s, ORR_OP_tanh, x), scale, shift);
}

static inline orr_node random_unary(maker *m, scope *s) {
  static const orr_op smooth[] = {ORR_OP_neg,  ORR_OP_square, ORR_OP_sin,     ORR_OP_cos,
                                  ORR_OP_atan, ORR_OP_tanh,   ORR_OP_sigmoid, ORR_OP_softplus,
                                  ORR_OP_silu, ORR_OP_erf,    ORR_OP_gelu,    ORR_OP_relu,
                                  ORR_OP_abs};
  static const orr_op jumps[] = {ORR_OP_sign,  ORR_OP_floor,     ORR_OP_ceil,
                                 ORR_OP_round, ORR_OP_is_finite, ORR_OP_logical_not};
  static const orr_op partial[] = {ORR_OP_sqrt,  ORR_OP_reciprocal, ORR_OP_exp,
                                   ORR_OP_expm1, ORR_OP_log,        ORR_OP_log1p,
                                   ORR_OP_tan,   ORR_OP_asin,       ORR_OP_acos};
  orr_node x = any(m, s);
  int kind = below(&m->dice, 10);
  if (kind < 5) return op1(s, smooth[below(&m->dice, (int)COUNT(smooth))], x);
  if (kind < 7 && !m->smooth) return op1(s, jumps[below(&m->dice, (int)COUNT(jumps))], x);
  orr_op op = partial[below(&m->dice, (int)COUNT(partial))];
  bool wide = op == ORR_OP_sqrt || op == ORR_OP_reciprocal || op == ORR_OP_log;
  if (!m->smooth && chance(&m->dice, 10)) return op1(s, op, x); /* NaN and infinities too */
  return op1(s, op, tame(s, x, wide ? 1 : 0.8, wide ? 1.5 : 0));
}

static inline orr_node random_binary(maker *m, scope *s) {
  static const orr_op smooth[] = {ORR_OP_add, ORR_OP_add, ORR_OP_sub, ORR_OP_mul,
                                  ORR_OP_mul, ORR_OP_min, ORR_OP_max, ORR_OP_masked_mul};
  static const orr_op jumps[] = {ORR_OP_less, ORR_OP_less_equal, ORR_OP_equal};
  orr_node a = any(m, s), b = partner(m, s, a);
  int kind = below(&m->dice, 12);
  if (chance(&m->dice, 50)) {
    orr_node t = a;
    a = b, b = t;
  }
  if (kind == 0 && !m->smooth) return op2(s, jumps[below(&m->dice, 3)], a, b);
  if (kind == 1) return op2(s, ORR_OP_div, a, tame(s, b, 1, 2));
  if (kind == 2) return op2(s, ORR_OP_pow, tame(s, a, 1, 1.5), tame(s, b, 2, 0.3));
  if (kind == 3) return op2(s, ORR_OP_atan2, a, tame(s, b, 1, 1.6));
  if (kind == 4 && !m->smooth)
    return op2(s, chance(&m->dice, 50) ? ORR_OP_mod : ORR_OP_floor_div, a, tame(s, b, 1, 1.6));
  return op2(s, smooth[below(&m->dice, (int)COUNT(smooth))], a, b);
}

static inline orr_node random_select(maker *m, scope *s) {
  orr_node a = any(m, s), b = partner(m, s, a),
           c = chance(&m->dice, 50) ? any(m, s) : partner(m, s, a);
  if (!fits(s->graph, c, b) || !fits(s->graph, a, c)) c = orr_sum_all(s->graph, c);
  orr_node condition = op2(s, ORR_OP_less, c, orr_number(s->graph, 0.1));
  if (chance(&m->dice, 25) && !m->smooth) a = op1(s, ORR_OP_log, a); /* poison on one side */
  return orr_select(s->graph, condition, a, b);
}

static inline orr_node random_along(maker *m, scope *s) {
  orr_graph *g = s->graph;
  orr_node x = any(m, s);
  int axes = orr_node_axes(g, x);
  if (axes == 0) return orr_sum_all(g, x);
  int axis = below(&m->dice, axes) - (chance(&m->dice, 50) ? axes : 0);
  bool stay = chance(&m->dice, 50);
  switch (below(&m->dice, m->smooth ? 8 : 10)) {
  case 0: return orr_sum(g, x, axis, stay);
  case 1: return orr_mean(g, x, axis, stay);
  case 2: return orr_max_along(g, x, axis, stay);
  case 3: return orr_min_along(g, x, axis, stay);
  case 4: return orr_softmax(g, x, axis);
  case 5: return orr_logsumexp(g, x, axis, stay);
  case 6: return orr_cumsum(g, x, axis, stay);
  case 7: return orr_sum_all(g, x);
  case 8: return orr_argmax(g, x, axis);
  default: return orr_argsort(g, x);
  }
}

static inline orr_node random_arranged(maker *m, scope *s) {
  orr_graph *g = s->graph;
  orr_node x = any(m, s), parts[4];
  int axes = orr_node_axes(g, x), order[ORR_AXES];
  int64_t shape[ORR_AXES];
  memcpy(shape, orr_node_shape(g, x), (size_t)axes * sizeof *shape);
  if (axes == 0 || chance(&m->dice, 15)) { /* widen */
    if (axes > 4) return x;
    memmove(shape + 1, shape, (size_t)axes * sizeof *shape);
    shape[0] = 1 + below(&m->dice, 4);
    return orr_broadcast(g, x, axes + 1, shape);
  }
  int axis = below(&m->dice, axes);
  int64_t size = shape[axis], first = size ? below(&m->dice, (int)size) : 0;
  switch (below(&m->dice, 7)) {
  case 0: return orr_slice(g, x, axis, first, size ? 1 + below(&m->dice, (int)(size - first)) : 0);
  case 1: return orr_pad(g, x, axis, below(&m->dice, 3), below(&m->dice, 3));
  case 2:
    for (int i = 0; i < axes; i++) order[i] = i;
    for (int i = axes - 1, j, t; i > 0; i--)
      j = below(&m->dice, i + 1), t = order[i], order[i] = order[j], order[j] = t;
    return orr_transpose(g, x, order);
  case 3: shape[0] = orr_node_count(g, x); return orr_reshape(g, x, 1, shape);
  case 4: {
    int count = 2 + below(&m->dice, 3);
    parts[0] = x;
    for (int i = 1; i < count; i++) {
      parts[i] = any(m, s);
      const node *n = node_at(g, parts[i]);
      if (!shape_equal(n->axes, n->shape, axes, shape)) parts[i] = x;
    }
    return chance(&m->dice, 50) || axes > 4 ? orr_concat(g, count, parts, axis)
                                            : orr_stack(g, count, parts, axis);
  }
  case 5: return m->smooth ? x : orr_stop_gradient(g, x);
  default: return orr_copy(g, x);
  }
}

static inline orr_node random_indexed(maker *m, scope *s) {
  orr_graph *g = s->graph;
  orr_node table = any(m, s), index = shifted_by(s, any(m, s), 2, 1.3);
  index = op1(s, ORR_OP_floor, index);
  const node *t = node_at(g, table), *i = node_at(g, index);
  if (t->axes == 0 || t->count == 0 || i->axes + t->axes > 4) return ORR_NONE;
  switch (below(&m->dice, 4)) {
  case 0: return orr_gather(g, table, index);
  case 1:
    index = op1(s, ORR_OP_floor, shifted_by(s, table, 2, 1.2));
    return orr_scatter(g, table, index, 3);
  case 2:
    index = op1(s, ORR_OP_floor,
                shifted_by(s, chance(&m->dice, 50) ? table : partner(m, s, table), 2, 1.2));
    return orr_gather_along(g, table, orr_broadcast(g, index, t->axes, t->shape));
  default:
    index = op1(s, ORR_OP_floor, shifted_by(s, table, 2, 1.2));
    return orr_scatter_along(g,
                             partner(m, s, table) == table ? table : shifted_by(s, table, 0.5, 0),
                             index, 3);
  }
}

static inline orr_node random_product(maker *m, scope *s) {
  orr_graph *g = s->graph;
  orr_node a = any(m, s);
  int axes = orr_node_axes(g, a);
  const int64_t *shape = orr_node_shape(g, a);
  if (axes == 0) return ORR_NONE;
  int64_t k = shape[axes - 1], out = 1 + below(&m->dice, chance(&m->dice, 10) ? 20 : 4),
          other[ORR_AXES] = {k, out};
  int kind = below(&m->dice, 8);
  if (kind == 0) return orr_matmul(g, a, fresh(m, s, 1, other));
  if (kind == 1 && axes == 3) {
    other[0] = shape[0], other[1] = k, other[2] = out;
    return orr_matmul(g, a, fresh(m, s, 3, other));
  }
  if (kind == 2) { /* a as the right factor */
    other[0] = out, other[1] = axes > 1 ? shape[axes - 2] : k;
    return orr_matmul(g, fresh(m, s, 2, other), a);
  }
  if (kind == 3 && axes == 2 && shape[0] == k) {
    orr_node eye[4], one = orr_number(g, 3);
    if (k > 4) return ORR_NONE;
    for (int i = 0; i < k; i++) {
      int64_t single[1] = {1};
      eye[i] = orr_pad(g, orr_broadcast(g, one, 1, single), 0, i, k - 1 - i);
    }
    orr_node matrix = op2(s, ORR_OP_add, orr_stack(g, (int)k, eye, 0), tame(s, a, 0.5, 0));
    other[1] = out;
    return orr_solve(g, matrix, fresh(m, s, 1 + below(&m->dice, 2), other));
  }
  orr_node y = orr_matmul(g, a, fresh(m, s, 2, other));
  if (chance(&m->dice, 50)) {
    orr_node bias = fresh(m, s, 1, other + 1);
    y = chance(&m->dice, 50) ? op2(s, ORR_OP_add, y, bias) : op2(s, ORR_OP_add, bias, y);
  }
  return y;
}

static inline orr_node random_rows(maker *m, scope *s) {
  orr_graph *g = s->graph;
  int64_t shape[2] = {1 + below(&m->dice, 4), 1 + below(&m->dice, 3)};
  int kind = below(&m->dice, s->outer ? 2 : 6), axes = below(&m->dice, 3);
  orr_level level = chance(&m->dice, 50) ? ORR_UNIFORM : ORR_MEMBER;
  if (kind == 0) return orr_normal(g, axes, shape);
  if (kind == 1) return orr_uniform(g, axes, shape);
  if (kind == 2) return orr_row_sum(g, any(m, s), level);
  if (kind == 3) return orr_row_count(g, level);
  return orr_row_mean(g, any(m, s), level);
}

static inline void random_ops(maker *m, scope *s, int count);

/* What a carry becomes: of its own shape. */
static inline orr_node random_next(maker *m, scope *s, orr_node carry, const orr_node *carries,
                                   int count) {
  orr_graph *g = s->graph;
  const node *c = node_at(g, carry);
  int kind = below(&m->dice, 10);
  orr_node other = any(m, s);
  if (kind == 0) return carry;
  if (kind == 1) { /* two that change places */
    orr_node swap = carries[below(&m->dice, count)];
    const node *n = node_at(g, swap);
    if (shape_equal(n->axes, n->shape, c->axes, c->shape)) return swap;
  }
  if (kind == 2) return orr_broadcast(g, orr_number(g, 0.5), c->axes, c->shape);
  if (kind == 3) { /* another as it is, seen through an op that only shows it */
    orr_node swap = carries[below(&m->dice, count)];
    if (orr_node_count(g, swap) == c->count)
      return orr_reshape(g, orr_copy(g, swap), c->axes, c->shape);
  }
  for (int i = 0; i < 10 && kind < 7; i++) {
    const node *n = node_at(g, other = any(m, s));
    if (shape_equal(n->axes, n->shape, c->axes, c->shape)) return other;
  }
  other = orr_sum_all(g, other);
  return op1(s, ORR_OP_tanh, op2(s, ORR_OP_add, shifted_by(s, carry, 0.7, 0.1), other));
}

static inline void random_scan(maker *m, scope *s) {
  orr_graph *g = s->graph;
  int64_t length = 1 + below(&m->dice, 4);
  if (s->depth >= 2) return;
  orr_node initial[3], sequence[2], carries[3], next[3], output[4], results[7];
  int carried = below(&m->dice, 4), sliced = below(&m->dice, 3), outputs = below(&m->dice, 4),
      captured = 1 + below(&m->dice, 3);
  if (carried + outputs == 0) carried = 1;
  for (int i = 0; i < carried; i++) initial[i] = any(m, s);
  for (int i = 0; i < sliced; i++) {
    orr_node x = any(m, s);
    int axes = orr_node_axes(g, x);
    int64_t shape[ORR_AXES] = {length};
    memcpy(shape + 1, orr_node_shape(g, x), (size_t)axes * sizeof *shape);
    if (axes > 3) axes = 0, x = orr_sum_all(g, x);
    sequence[i] =
        axes && orr_node_shape(g, x)[0] == length ? x : orr_broadcast(g, x, axes + 1, shape);
    if (chance(&m->dice, 50)) sequence[i] = orr_cumsum(g, sequence[i], 0, false);
  }
  scope body = {.graph = orr_scan_begin(g, length, chance(&m->dice, 40)),
                .outer = s,
                .depth = s->depth + 1};
  for (int i = 0; i < captured; i++) keep(&body, orr_scan_capture(body.graph, any(m, s)));
  for (int i = 0; i < sliced; i++) keep(&body, orr_scan_slice(body.graph, sequence[i]));
  if (chance(&m->dice, 30)) keep(&body, orr_scan_step(body.graph));
  for (int i = 0; i < carried; i++)
    keep(&body, carries[i] = orr_scan_carry(body.graph, initial[i]));
  if (body.count == 0) keep(&body, orr_scan_step(body.graph));
  random_ops(m, &body, 2 + below(&m->dice, 6));
  for (int i = 0; i < carried; i++) next[i] = random_next(m, &body, carries[i], carries, carried);
  for (int i = 0; i < outputs; i++) output[i] = any(m, &body);
  if (orr_scan_end(body.graph, next, outputs, output, results)) return;
  for (int i = 0; i < carried + outputs; i++) keep(s, results[i]);
}

static inline void random_gradient(maker *m, scope *s) {
  orr_node wrt[3], gradients[3], y = orr_sum_all(s->graph, any(m, s));
  int count = 1 + below(&m->dice, 3);
  if (!s->outer && chance(&m->dice, 60))
    y = orr_row_mean(s->graph, y, chance(&m->dice, 70) ? ORR_UNIFORM : ORR_MEMBER);
  for (int i = 0; i < count;
       i++) /* often one of the first: what is given, which the most depends on */
    wrt[i] = s->pool[below(&m->dice, chance(&m->dice, 60) && s->count > 6 ? 6 : s->count)];
  if (s->graph->count > 1500 || orr_gradient(s->graph, y, count, wrt, gradients)) return;
  for (int i = 0; i < count; i++) keep(s, gradients[i]);
}

static inline void random_ops(maker *m, scope *s, int count) {
  for (int i = 0; i < count; i++) {
    int kind = below(&m->dice, 100);
    if (kind < 18) keep(s, random_unary(m, s));
    else if (kind < 42) keep(s, random_binary(m, s));
    else if (kind < 48) keep(s, random_select(m, s));
    else if (kind < 56) keep(s, random_along(m, s));
    else if (kind < 66) keep(s, random_arranged(m, s));
    else if (kind < 71) keep(s, random_indexed(m, s));
    else if (kind < 81) keep(s, random_product(m, s));
    else if (kind < 86) keep(s, random_rows(m, s));
    else if (kind < 95) random_scan(m, s);
    else if (!m->smooth) random_gradient(m, s);
  }
}

static inline void random_inputs(maker *m) {
  static const orr_level levels[] = {ORR_ROW,    ORR_ROW,     ORR_UNIFORM,
                                     ORR_MEMBER, ORR_UNIFORM, ORR_MEMBER};
  for (int i = 0; i < (int)COUNT(levels); i++) {
    int64_t shape[3] = {1 + below(&m->dice, 4), 1 + below(&m->dice, 4), 1 + below(&m->dice, 3)};
    if (i > 2 && chance(&m->dice, 40)) continue;
    fresh_top(m, levels[i], below(&m->dice, 4), shape, chance(&m->dice, 40));
  }
  keep(&m->top, orr_number(m->top.graph, between(&m->dice, -2, 2)));
}

static inline void maker_free(maker *m) {
  for (int i = 0; i < m->given_count; i++) {
    free((void *)m->given[i].name);
    free(m->given[i].data);
    orr_tensor_free(m->given[i].tensor);
  }
  orr_graph_free(m->top.graph);
}

#endif
