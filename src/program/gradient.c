/* gradient.c - reverse-mode differentiation as a graph transform: one walk from the outputs back,
   each op's rule adding nodes to the same graph, so gradients nest.

   A cotangent may have a lower level or a smaller (broadcastable) shape than its value: "the same
   for all". walk_give brings it to the operand's shape and level. */
#include <string.h>

#include "program/graph.h"

struct gradient_walk {
  orr_graph *graph;
  int count;           /* nodes when the walk began */
  orr_node *cotangent; /* per node */
  bool *active;        /* depends on what is differentiated by */
  bool *tainted;       /* its cotangent came through a select */
  orr_node self;       /* whose rule runs */
  bool failed;
};

orr_graph *walk_graph(gradient_walk *walk) { return walk->graph; }
bool walk_tainted(const gradient_walk *walk) { return walk->tainted[walk->self]; }
bool walk_wants(gradient_walk *walk, orr_node x) { return x < walk->count && walk->active[x]; }

orr_node walk_times(gradient_walk *walk, orr_node g, orr_node derivative) {
  return orr_binary(walk->graph, walk_tainted(walk) ? ORR_OP_masked_mul : ORR_OP_mul, g,
                    derivative);
}

orr_node walk_clean(gradient_walk *walk, orr_node x) {
  if (!walk_tainted(walk)) return x;
  orr_graph *g = walk->graph;
  return orr_select(g, orr_unary(g, ORR_OP_is_finite, x), x, orr_number(g, 0));
}

/* Sums over the axes along which x was repeated. */
static orr_node unbroadcast(orr_graph *graph, orr_node g, orr_node x) {
  const node *target = node_at(graph, x);
  while (g != ORR_NONE && node_at(graph, g)->axes > target->axes) g = orr_sum(graph, g, 0, false);
  for (int i = 1; g != ORR_NONE && i <= target->axes; i++) {
    const node *n = node_at(graph, g);
    if (i <= n->axes && target->shape[target->axes - i] == 1 && n->shape[n->axes - i] != 1)
      g = orr_sum(graph, g, n->axes - i, true);
  }
  return g;
}

static orr_node raise_level(orr_graph *graph, orr_node g, orr_level level) {
  if (g == ORR_NONE || node_at(graph, g)->level >= level) return g;
  const node *n = node_at(graph, g);
  return graph_add_leveled(graph, ORR_OP_spread, level, n->axes, n->shape, 1, &g, NULL, 0);
}

/* What the operand would see of a cotangent of `self`: repeated to self's shape first where the
   operand had been repeated, because each repetition counts. */
static orr_node fit(gradient_walk *walk, orr_node x, orr_node g, bool summed) {
  orr_graph *graph = walk->graph;
  const node *target = node_at(graph, x), *self = node_at(graph, walk->self);
  if ((op_is_binary(self->op) || self->op == ORR_OP_select) &&
      !shape_equal(self->axes, self->shape, target->axes, target->shape))
    g = orr_broadcast(graph, g, self->axes, self->shape);
  if (g == ORR_NONE) return g;
  g = unbroadcast(graph, g, x);
  if (g != ORR_NONE && !summed && self->level > target->level)
    g = graph_sum_down(graph, raise_level(graph, g, self->level), target->level);
  return g;
}

static void give(gradient_walk *walk, orr_node x, orr_node contribution, bool summed) {
  if (!walk_wants(walk, x)) return;
  if (contribution == ORR_NONE || (contribution = fit(walk, x, contribution, summed)) == ORR_NONE) {
    walk->failed = true;
    return;
  }
  orr_node old = walk->cotangent[x];
  walk->cotangent[x] =
      old == ORR_NONE ? contribution : orr_binary(walk->graph, ORR_OP_add, old, contribution);
  walk->failed = walk->failed || walk->cotangent[x] == ORR_NONE;
  orr_op op =
      node_at(walk->graph, walk->self)->op; /* masked_mul: a gradient that came through a select */
  walk->tainted[x] =
      walk->tainted[x] || walk_tainted(walk) || op == ORR_OP_select || op == ORR_OP_masked_mul;
}

void walk_give(gradient_walk *walk, orr_node x, orr_node contribution) {
  give(walk, x, contribution, false);
}
void walk_give_summed(gradient_walk *walk, orr_node x, orr_node contribution) {
  give(walk, x, contribution, true);
}
void walk_fail(gradient_walk *walk) { walk->failed = true; }

/* ---- elementwise rules, from the rows ---- */

#define ZERO ORR_NONE
#define X x
#define Y y
#define A a
#define B b
#define NUMBER(value) orr_number(g, value)
#define NEG(p) orr_unary(g, ORR_OP_neg, p)
#define SQUARE(p) orr_unary(g, ORR_OP_square, p)
#define SQRT(p) orr_unary(g, ORR_OP_sqrt, p)
#define RECIPROCAL(p) orr_unary(g, ORR_OP_reciprocal, p)
#define EXP(p) orr_unary(g, ORR_OP_exp, p)
#define LOG(p) orr_unary(g, ORR_OP_log, p)
#define SIN(p) orr_unary(g, ORR_OP_sin, p)
#define COS(p) orr_unary(g, ORR_OP_cos, p)
#define ERF(p) orr_unary(g, ORR_OP_erf, p)
#define SIGN(p) orr_unary(g, ORR_OP_sign, p)
#define FLOOR(p) orr_unary(g, ORR_OP_floor, p)
#define SIGMOID(p) orr_unary(g, ORR_OP_sigmoid, p)
#define ADD(p, q) orr_binary(g, ORR_OP_add, p, q)
#define SUB(p, q) orr_binary(g, ORR_OP_sub, p, q)
#define MUL(p, q) orr_binary(g, ORR_OP_mul, p, q)
#define DIV(p, q) orr_binary(g, ORR_OP_div, p, q)
#define POW(p, q) orr_binary(g, ORR_OP_pow, p, q)
#define LESS(p, q) orr_binary(g, ORR_OP_less, p, q)
#define LESS_EQUAL(p, q) orr_binary(g, ORR_OP_less_equal, p, q)

static bool is_flat(orr_op op) {
  switch (op) {
#define UNARY(name, f, derivative, lo, hi, doc) \
  case ORR_OP_##name:                           \
    return sizeof(#derivative) == sizeof "ZERO" && #derivative[0] == 'Z';
#define BINARY(name, f, da, db, lo, hi, doc) \
  case ORR_OP_##name:                        \
    return sizeof(#da) == sizeof "ZERO" && #da[0] == 'Z';
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
  default: return false;
  }
}

static orr_node unary_derivative(orr_graph *g, orr_op op, orr_node x, orr_node y) {
  (void)x, (void)y;
  switch (op) {
#define UNARY(name, f, derivative, lo, hi, doc) \
  case ORR_OP_##name:                           \
    return derivative;
#define BINARY(...)
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
  default: return ORR_NONE;
  }
}

static orr_node binary_derivative(orr_graph *g, orr_op op, bool of_b, orr_node a, orr_node b,
                                  orr_node y) {
  (void)y;
  switch (op) {
#define UNARY(...)
#define BINARY(name, f, da, db, lo, hi, doc) \
  case ORR_OP_##name:                        \
    return of_b ? db : da;
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
  default: return ORR_NONE;
  }
}

static void elementwise_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk->graph;
  const node *n = node_at(g, self);
  if (is_flat(n->op)) return;
  if (op_is_unary(n->op)) {
    walk_give(walk, n->in[0], walk_times(walk, dy, unary_derivative(g, n->op, n->in[0], self)));
    return;
  }
  for (int i = 0; i < 2; i++)
    if (walk_wants(walk, n->in[i]))
      walk_give(walk, n->in[i],
                walk_times(walk, dy,
                           binary_derivative(g, n->op, i == 1, n->in[0], n->in[1], self)));
}

/* ---- the walk ---- */

static bool begin(gradient_walk *walk, orr_graph *graph) {
  size_t count = (size_t)graph->count;
  *walk = (gradient_walk){.graph = graph, .count = graph->count};
  walk->cotangent = engine_new(graph->engine, count, sizeof *walk->cotangent);
  walk->active = engine_new_zeroed(graph->engine, count, sizeof *walk->active);
  walk->tainted = engine_new_zeroed(graph->engine, count, sizeof *walk->tainted);
  if (!walk->cotangent || !walk->active || !walk->tainted) return false;
  for (size_t i = 0; i < count; i++) walk->cotangent[i] = ORR_NONE;
  return true;
}

static void finish(gradient_walk *walk) {
  orr_engine *engine = walk->graph->engine;
  engine_free_memory(engine, walk->cotangent);
  engine_free_memory(engine, walk->active);
  engine_free_memory(engine, walk->tainted);
}

static void mark_active(gradient_walk *walk, int count, const orr_node *wrt) {
  for (int i = 0; i < count; i++) walk->active[wrt[i]] = true;
  for (int i = 0; i < walk->count; i++) {
    const node *n = node_at(walk->graph, i);
    if (n->op == ORR_OP_stop_gradient) continue;
    for (int j = 0; j < n->inputs && !walk->active[i]; j++)
      walk->active[i] = walk->active[n->in[j]];
  }
}

static void run_rules(gradient_walk *walk) {
  for (int i = walk->count - 1; i >= 0 && !walk->failed; i--) {
    const node *n = node_at(walk->graph, i);
    walk->self = i;
    if (!walk->active[i]) continue;
    if (n->op == ORR_OP_scan) scan_gradient(walk, i, walk->cotangent, walk->count);
    else if (walk->cotangent[i] == ORR_NONE) continue;
    else if (op_is_unary(n->op) || op_is_binary(n->op))
      elementwise_gradient(walk, i, walk->cotangent[i]);
    else op_class_of(n->op)->gradient(walk, i, walk->cotangent[i]);
  }
}

static orr_node result(gradient_walk *walk, orr_node x) {
  orr_graph *graph = walk->graph;
  const node *n = node_at(graph, x);
  orr_node g = walk->cotangent[x];
  if (g == ORR_NONE) g = orr_number(graph, 0);
  return raise_level(graph, orr_broadcast(graph, g, n->axes, n->shape), n->level);
}

static bool seed(gradient_walk *walk, int outputs, const orr_node *y, const orr_node *seeds) {
  orr_graph *graph = walk->graph;
  for (int i = 0; i < outputs; i++) {
    if (y[i] == ORR_NONE) return false;
    if (seeds && seeds[i] == ORR_NONE) continue;
    orr_node given = seeds ? seeds[i] : orr_number(graph, 1), old = walk->cotangent[y[i]];
    if (given == ORR_NONE) return false;
    walk->cotangent[y[i]] = old == ORR_NONE ? given : orr_binary(graph, ORR_OP_add, old, given);
  }
  return true;
}

orr_status orr_gradient_from(orr_graph *graph, int outputs, const orr_node *y,
                             const orr_node *seeds, int count, const orr_node *wrt,
                             orr_node *gradients) {
  for (int i = 0; i < count; i++) gradients[i] = ORR_NONE;
  for (int i = 0; i < count; i++)
    if (wrt[i] == ORR_NONE) return graph->engine->status;
  gradient_walk walk;
  orr_status status = ORR_OK;
  if (begin(&walk, graph) && seed(&walk, outputs, y, seeds)) {
    mark_active(&walk, count, wrt);
    run_rules(&walk);
    for (int i = 0; i < count && !walk.failed; i++)
      walk.failed = (gradients[i] = result(&walk, wrt[i])) == ORR_NONE;
  } else {
    walk.failed = true;
  }
  if (walk.failed) status = graph->engine->status ? graph->engine->status : ORR_ARGUMENT;
  finish(&walk);
  return status;
}

orr_status orr_gradient(orr_graph *graph, orr_node y, int count, const orr_node *wrt,
                        orr_node *gradients) {
  if (y == ORR_NONE) return graph->engine->status ? graph->engine->status : ORR_ARGUMENT;
  const node *n = node_at(graph, y);
  if (n->count != 1) {
    char text[SHAPE_TEXT];
    return engine_fail(
        graph->engine, ORR_SHAPE,
        "gradient: needs a single number to differentiate, got shape %s; sum it, or use a jacobian",
        shape_text(text, n->axes, n->shape));
  }
  return orr_gradient_from(graph, 1, &y, NULL, count, wrt, gradients);
}
