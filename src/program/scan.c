/* scan.c - loops with carried state, and their gradient: a scan the other way round that starts
   from the stored carries and recomputes the rest of each step. */
#include <string.h>

#include "program/graph.h"

static scan *scan_of(orr_graph *body) { return body->building; }

/* Lists of a scan live in the parent's arena; they double, so appending stays cheap. */
static bool append(orr_graph *graph, orr_node **list, int *count, orr_node value) {
  int n = *count;
  if (n == 0 || (n >= 8 && (n & (n - 1)) == 0)) {
    orr_node *grown = arena_new(&graph->memory, n ? (size_t)n * 2 : 8, sizeof *grown);
    if (!grown) return false;
    if (n) memcpy(grown, *list, (size_t)n * sizeof *grown);
    *list = grown;
  }
  (*list)[(*count)++] = value;
  return true;
}

/* Two lists in step: the body's node and the parent's. */
static bool append_pair(orr_graph *body, orr_node **inner, orr_node **outer, int *count,
                        orr_node in, orr_node out) {
  int same = *count;
  return in != ORR_NONE && append(body->parent, inner, &same, in) &&
         append(body->parent, outer, count, out);
}

orr_graph *orr_scan_begin(orr_graph *graph, int64_t length, bool backwards) {
  if (length < 1) {
    graph_fail(graph, ORR_OP_scan, "needs at least one step, got %lld", (long long)length);
    return NULL;
  }
  orr_graph *body = graph_new_body(graph);
  scan *s = arena_new(&graph->memory, 1, sizeof *s);
  if (!body || !s) {
    orr_graph_free(body);
    return NULL;
  }
  *s = (scan){.body = body, .length = length, .backwards = backwards, .step = ORR_NONE};
  body->building = s;
  return body;
}

void orr_scan_abandon(orr_graph *body) { orr_graph_free(body); }

static orr_node body_input(orr_graph *body, int kind, int index, orr_level level, int axes,
                           const int64_t *shape) {
  int64_t attributes[2] = {kind, index};
  return graph_add_leveled(body, ORR_OP_input, level, axes, shape, 0, NULL, attributes, 2);
}

orr_node orr_scan_carry(orr_graph *body, orr_node initial) {
  if (initial == ORR_NONE) return ORR_NONE;
  scan *s = scan_of(body);
  const node *n = node_at(body->parent, initial);
  orr_node in = body_input(body, INPUT_CARRY, s->carries, ORR_ROW, n->axes, n->shape);
  return append_pair(body, &s->carry, &s->initial, &s->carries, in, initial) ? in : ORR_NONE;
}

orr_node orr_scan_slice(orr_graph *body, orr_node sequence) {
  if (sequence == ORR_NONE) return ORR_NONE;
  scan *s = scan_of(body);
  const node *n = node_at(body->parent, sequence);
  char text[SHAPE_TEXT];
  if (n->axes < 1 || n->shape[0] != s->length)
    return graph_fail(body, ORR_OP_scan, "a sequence of shape %s does not have %lld steps",
                      shape_text(text, n->axes, n->shape), (long long)s->length);
  orr_node in = body_input(body, INPUT_SLICE, s->slices, ORR_ROW, n->axes - 1, n->shape + 1);
  return append_pair(body, &s->slice, &s->sequence, &s->slices, in, sequence) ? in : ORR_NONE;
}

orr_node orr_scan_capture(orr_graph *body, orr_node outer) {
  if (outer == ORR_NONE) return ORR_NONE;
  scan *s = scan_of(body);
  const node *n = node_at(body->parent, outer);
  if (n->op == ORR_OP_constant) return orr_number(body, n->number);
  for (int i = 0; i < s->captures; i++)
    if (s->captured[i] == outer) return s->capture[i];
  orr_node in = body_input(body, INPUT_CAPTURE, s->captures, n->level, n->axes, n->shape);
  return append_pair(body, &s->capture, &s->captured, &s->captures, in, outer) ? in : ORR_NONE;
}

orr_node orr_scan_step(orr_graph *body) {
  scan *s = scan_of(body);
  if (s->step == ORR_NONE) s->step = body_input(body, INPUT_STEP, 0, ORR_ROW, 0, NULL);
  return s->step;
}

/* ---- the end of a body ---- */

static bool has_draws(const orr_graph *body) {
  for (int i = 0; i < body->count; i++) {
    const node *n = node_at(body, i);
    if (n->op == ORR_OP_normal || n->op == ORR_OP_uniform ||
        (n->op == ORR_OP_scan && n->level == ORR_ROW && has_draws(n->scan->body)))
      return true;
  }
  return false;
}

static orr_node spread_to(orr_graph *graph, orr_node x, orr_level level) {
  if (x == ORR_NONE || node_at(graph, x)->level >= level) return x;
  const node *n = node_at(graph, x);
  return graph_add_leveled(graph, ORR_OP_spread, level, n->axes, n->shape, 1, &x, NULL, 0);
}

/* A body's result as a value of every step; sums over rows have no place there. */
static orr_node step_value(orr_graph *body, orr_node x) {
  if (x == ORR_NONE) return ORR_NONE;
  const node *n = node_at(body, x);
  if (n->level != ORR_ROW && n->op != ORR_OP_constant && n->op != ORR_OP_input)
    return graph_fail(
        body, ORR_OP_scan,
        "a sum over rows cannot be taken inside the loop; return the values and sum them after");
  return spread_to(body, x, ORR_ROW);
}

static bool take_results(orr_graph *body, const orr_node *next, int outputs, const orr_node *output,
                         int reduced, const orr_node *reduce) {
  scan *s = scan_of(body);
  orr_graph *graph = body->parent;
  int count = 0;
  for (int i = 0; i < s->carries; i++) {
    orr_node value = step_value(body, next[i]);
    if (value == ORR_NONE) return false;
    const node *n = node_at(body, value), *c = node_at(body, s->carry[i]);
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (!shape_equal(n->axes, n->shape, c->axes, c->shape)) {
      graph_fail(body, ORR_OP_scan, "carry %d starts with shape %s and comes out with shape %s",
                 i + 1, shape_text(a, c->axes, c->shape), shape_text(b, n->axes, n->shape));
      return false;
    }
    if (!append(graph, &s->next, &count, value)) return false;
  }
  for (int i = 0; i < outputs; i++) {
    orr_node value = step_value(body, output[i]);
    if (value == ORR_NONE || !append(graph, &s->output, &s->outputs, value)) return false;
  }
  for (int i = 0; i < reduced; i++)
    if (reduce[i] == ORR_NONE || !append(graph, &s->reduce, &s->reduced, reduce[i])) return false;
  return true;
}

/* The scan's node in `graph`. Per-row loops get per-row starts and sequences. */
static orr_node add_scan(orr_graph *graph, scan *s) {
  orr_level level = has_draws(s->body) || graph->parent ? ORR_ROW : ORR_UNIFORM;
  int inputs = s->carries + s->slices + s->captures, n = 0;
  for (int i = 0; i < inputs; i++) {
    orr_node in = i < s->carries               ? s->initial[i]
                  : i < s->carries + s->slices ? s->sequence[i - s->carries]
                                               : s->captured[i - s->carries - s->slices];
    if (node_at(graph, in)->level > level) level = node_at(graph, in)->level;
  }
  orr_node *in = arena_new(&graph->memory, (size_t)inputs + 1, sizeof *in), index;
  if (!in) return ORR_NONE;
  for (int i = 0; i < s->carries; i++)
    in[n++] = s->initial[i] = spread_to(graph, s->initial[i], level);
  for (int i = 0; i < s->slices; i++)
    in[n++] = s->sequence[i] = spread_to(graph, s->sequence[i], level);
  for (int i = 0; i < s->captures; i++) in[n++] = s->captured[i];
  for (int i = 0; i < n; i++)
    if (in[i] == ORR_NONE) return ORR_NONE;
  node *made = graph_append(graph, ORR_OP_scan, level, 0, NULL, n, in, &index);
  if (!made) return ORR_NONE;
  made->scan = s;
  return index;
}

static orr_node pick(orr_graph *graph, orr_node self, int kind, int index) {
  const node *n = node_at(graph, self);
  const scan *s = n->scan;
  orr_node inner = kind == PICK_CARRY    ? s->carry[index]
                   : kind == PICK_STATE  ? s->carry[index]
                   : kind == PICK_OUTPUT ? s->output[index]
                                         : s->reduce[index];
  const node *value = node_at(s->body, inner);
  bool stacked = kind == PICK_OUTPUT || kind == PICK_STATE;
  int64_t shape[ORR_AXES + 1] = {s->length}, attributes[2] = {kind, index};
  if (value->axes + stacked > ORR_AXES)
    return graph_fail(graph, ORR_OP_scan, "more than %d axes", ORR_AXES);
  memcpy(shape + stacked, value->shape, (size_t)value->axes * sizeof *shape);
  orr_level level = kind == PICK_REDUCED ? value->level : n->level;
  return graph_add_leveled(graph, ORR_OP_pick, level, value->axes + stacked, shape, 1, &self,
                           attributes, 2);
}

/* The body now belongs to the graph that uses it. */
static orr_node end_scan(orr_graph *body, const orr_node *next, int outputs, const orr_node *output,
                         int reduced, const orr_node *reduce) {
  orr_graph *graph = body->parent;
  if (!take_results(body, next, outputs, output, reduced, reduce)) {
    orr_graph_free(body);
    return ORR_NONE;
  }
  body->next_body = graph->bodies;
  graph->bodies = body;
  return add_scan(graph, body->building);
}

orr_status orr_scan_end(orr_graph *body, const orr_node *next, int outputs, const orr_node *output,
                        orr_node *results) {
  orr_graph *graph = body->parent;
  scan *s = scan_of(body);
  int carries = s->carries;
  orr_node self = end_scan(body, next, outputs, output, 0, NULL);
  bool failed = self == ORR_NONE;
  for (int i = 0; i < carries; i++) {
    results[i] = failed ? ORR_NONE : pick(graph, self, PICK_CARRY, i);
    failed = failed || results[i] == ORR_NONE;
  }
  for (int i = 0; i < outputs; i++) {
    results[carries + i] = failed ? ORR_NONE : pick(graph, self, PICK_OUTPUT, i);
    failed = failed || results[carries + i] == ORR_NONE;
  }
  if (!failed) return ORR_OK;
  return graph->engine->status ? graph->engine->status : ORR_ARGUMENT;
}

/* ---- copying a body into another graph ---- */

/* A nested loop keeps its body and takes its operands from the new graph. */
static orr_node copy_scan(orr_graph *to, const node *n, const orr_node *map) {
  scan *s = arena_new(&to->memory, 1, sizeof *s);
  if (!s) return ORR_NONE;
  *s = *n->scan;
  orr_node **lists[3] = {&s->initial, &s->sequence, &s->captured};
  int counts[3] = {s->carries, s->slices, s->captures};
  for (int l = 0; l < 3; l++) {
    orr_node *mapped = arena_new(&to->memory, (size_t)counts[l] + 1, sizeof *mapped);
    if (!mapped) return ORR_NONE;
    for (int i = 0; i < counts[l]; i++) mapped[i] = map[(*lists[l])[i]];
    *lists[l] = mapped;
  }
  return add_scan(to, s);
}

/* Copies every op of the body; map holds the inputs' counterparts and receives the rest. */
static bool copy_body(orr_graph *to, const orr_graph *body, orr_node *map) {
  for (int i = 0; i < body->count; i++) {
    const node *n = node_at(body, i);
    if (map[i] != ORR_NONE) continue;
    if (n->op == ORR_OP_constant) {
      map[i] = orr_number(to, n->number);
    } else if (n->op == ORR_OP_scan) {
      map[i] = copy_scan(to, n, map);
    } else if (n->op != ORR_OP_input) {
      orr_node in[OPERANDS];
      for (int j = 0; j < n->inputs; j++) in[j] = map[n->in[j]];
      map[i] = graph_add_leveled(to, n->op, n->level, n->axes, n->shape, n->inputs, in,
                                 n->attribute, ATTRIBUTES);
    } else {
      continue; /* an input that nothing uses */
    }
    if (map[i] == ORR_NONE) return false;
  }
  return true;
}

/* ---- gradient ---- */

typedef struct reverse {
  gradient_walk *walk;
  orr_graph *graph, *body; /* body of the loop that runs back */
  orr_node self;
  scan *forward;
  orr_node *map;                    /* forward body -> reverse body */
  orr_node *y, *seeds;              /* for the vector-Jacobian product of one step */
  orr_node *wrt, *gradient;         /* carries, slices, captures */
  orr_node *next, *output, *reduce; /* results of the reverse body */
  int *slice_of, *accumulator, *first_reduced,
      *reduced_count; /* where each operand's gradient comes out, or -1 */
  int nexts, outputs, reduced, products;
} reverse;

static orr_node cotangent_of(const reverse *r, const orr_node *cotangents, int nodes, int kind,
                             int index) {
  for (int i = r->self + 1; i < nodes; i++) {
    const node *n = node_at(r->graph, i);
    if (n->op == ORR_OP_pick && n->in[0] == r->self && n->attribute[0] == kind &&
        n->attribute[1] == index && cotangents[i] != ORR_NONE)
      return orr_broadcast(r->graph, cotangents[i], n->axes, n->shape);
  }
  return ORR_NONE;
}

static orr_node zeros_like(orr_graph *graph, const node *n) {
  return orr_broadcast(graph, orr_number(graph, 0), n->axes, n->shape);
}

static bool reverse_allocate(reverse *r) {
  const scan *s = r->forward;
  size_t operands = (size_t)(s->carries + s->slices + s->captures),
         all = operands + (size_t)(s->outputs + s->reduced);
  arena *memory = &r->graph->memory;
  r->map = arena_new(memory, (size_t)s->body->count + 1, sizeof *r->map);
  orr_node **lists[] = {&r->y, &r->seeds, &r->wrt, &r->gradient, &r->next, &r->output};
  for (size_t i = 0; i < COUNT(lists); i++)
    if (!(*lists[i] = arena_new(memory, all + 1, sizeof(orr_node)))) return false;
  int **numbers[] = {&r->slice_of, &r->accumulator, &r->first_reduced, &r->reduced_count};
  for (size_t i = 0; i < COUNT(numbers); i++)
    if (!(*numbers[i] = arena_new(memory, operands + 1, sizeof(int)))) return false;
  for (int i = 0; r->map && i < s->body->count; i++) r->map[i] = ORR_NONE;
  return r->map != NULL;
}

/* The reverse body's inputs: stored carries, slices and captures of the forward one. */
static void map_inputs(reverse *r) {
  scan *s = r->forward;
  for (int i = 0; i < s->carries; i++)
    r->map[s->carry[i]] = orr_scan_slice(r->body, pick(r->graph, r->self, PICK_STATE, i));
  for (int i = 0; i < s->slices; i++) r->map[s->slice[i]] = orr_scan_slice(r->body, s->sequence[i]);
  for (int i = 0; i < s->captures; i++)
    r->map[s->capture[i]] = orr_scan_capture(r->body, s->captured[i]);
  if (s->step != ORR_NONE) r->map[s->step] = orr_scan_step(r->body);
}

static void add_product(reverse *r, orr_node y, orr_node seed) {
  r->y[r->products] = y;
  r->seeds[r->products++] = seed;
}

/* One step's vector-Jacobian product: what the carries, outputs and sums pass back. */
static bool differentiate_step(reverse *r, const orr_node *cotangents, int nodes,
                               orr_node *state_seed) {
  scan *s = r->forward;
  for (int i = 0; i < s->carries; i++) {
    orr_node last = cotangent_of(r, cotangents, nodes, PICK_CARRY, i);
    if (last == ORR_NONE) last = zeros_like(r->graph, node_at(s->body, s->carry[i]));
    add_product(r, r->map[s->next[i]], orr_scan_carry(r->body, last));
    orr_node state = cotangent_of(r, cotangents, nodes, PICK_STATE, i);
    state_seed[i] = state == ORR_NONE ? ORR_NONE : orr_scan_slice(r->body, state);
  }
  for (int i = 0; i < s->outputs; i++) {
    orr_node given = cotangent_of(r, cotangents, nodes, PICK_OUTPUT, i);
    if (given != ORR_NONE) add_product(r, r->map[s->output[i]], orr_scan_slice(r->body, given));
  }
  for (int i = 0; i < s->reduced; i++) {
    orr_node given = cotangent_of(r, cotangents, nodes, PICK_REDUCED, i);
    if (given != ORR_NONE) add_product(r, r->map[s->reduce[i]], orr_scan_capture(r->body, given));
  }
  int n = 0;
  for (int i = 0; i < s->carries; i++) r->wrt[n++] = r->map[s->carry[i]];
  for (int i = 0; i < s->slices; i++) r->wrt[n++] = r->map[s->slice[i]];
  for (int i = 0; i < s->captures; i++) r->wrt[n++] = r->map[s->capture[i]];
  return orr_gradient_from(r->body, r->products, r->y, r->seeds, n, r->wrt, r->gradient) == ORR_OK;
}

static bool is_zero(const orr_graph *graph, orr_node x) {
  const node *n = node_at(graph, x);
  if (n->op == ORR_OP_constant) return n->number == 0;
  if (n->op == ORR_OP_broadcast || n->op == ORR_OP_spread || n->op == ORR_OP_reshape)
    return is_zero(graph, n->in[0]);
  return n->op == ORR_OP_input && n->attribute[0] == INPUT_CAPTURE &&
         is_zero(graph->parent, graph->building->captured[n->attribute[1]]);
}

/* The gradient to a shared value is a sum of sums over rows; each leaf adds up by itself. */
static bool collect_sums(reverse *r, orr_node x, int *count) {
  const node *n = node_at(r->body, x);
  if (is_zero(r->body, x)) return true;
  if (n->op == ORR_OP_add)
    return collect_sums(r, n->in[0], count) && collect_sums(r, n->in[1], count);
  bool nested = n->op == ORR_OP_pick && n->attribute[0] == PICK_REDUCED;
  if (!op_class_of(n->op)->reduces && !nested) {
    engine_fail(r->graph->engine, ORR_STATE,
                "scan: the gradient of a shared value is not a sum over rows (%s)",
                orr_op_name(n->op));
    return false;
  }
  int had = r->reduced;
  if (!append(r->graph, &r->reduce, &r->reduced, x)) return false;
  *count += r->reduced - had;
  return true;
}

static bool route_gradients(reverse *r, const orr_node *state_seed) {
  scan *s = r->forward;
  for (int i = 0; i < s->carries; i++) {
    orr_node d = r->gradient[i];
    r->next[r->nexts++] =
        state_seed[i] == ORR_NONE ? d : orr_binary(r->body, ORR_OP_add, d, state_seed[i]);
  }
  for (int i = 0; i < s->slices; i++) {
    r->slice_of[i] = -1;
    if (!walk_wants(r->walk, s->sequence[i])) continue;
    r->slice_of[i] = r->outputs;
    r->output[r->outputs++] = r->gradient[s->carries + i];
  }
  for (int i = 0; i < s->captures; i++) {
    orr_node d = r->gradient[s->carries + s->slices + i];
    r->accumulator[i] = r->first_reduced[i] = -1;
    if (!walk_wants(r->walk, s->captured[i]) || d == ORR_NONE) continue;
    const node *outer = node_at(r->graph, s->captured[i]);
    if (outer->level == ORR_ROW) {
      orr_node sum = orr_scan_carry(r->body, zeros_like(r->graph, outer));
      r->accumulator[i] = r->nexts;
      r->next[r->nexts++] = orr_binary(r->body, ORR_OP_add, sum, d);
    } else {
      r->first_reduced[i] = r->reduced;
      if (!collect_sums(r, d, &r->reduced_count[i])) return false;
    }
  }
  return true;
}

static void give_results(reverse *r, orr_node made) {
  scan *s = r->forward;
  for (int i = 0; i < s->carries; i++)
    walk_give(r->walk, s->initial[i], pick(r->graph, made, PICK_CARRY, i));
  for (int i = 0; i < s->slices; i++)
    if (r->slice_of[i] >= 0)
      walk_give(r->walk, s->sequence[i], pick(r->graph, made, PICK_OUTPUT, r->slice_of[i]));
  for (int i = 0; i < s->captures; i++) {
    if (r->accumulator[i] >= 0)
      walk_give(r->walk, s->captured[i], pick(r->graph, made, PICK_CARRY, r->accumulator[i]));
    for (int j = 0; r->first_reduced[i] >= 0 && j < r->reduced_count[i]; j++)
      walk_give_summed(r->walk, s->captured[i],
                       pick(r->graph, made, PICK_REDUCED, r->first_reduced[i] + j));
  }
}

static bool any_cotangent(const reverse *r, const orr_node *cotangents, int nodes) {
  for (int i = r->self + 1; i < nodes; i++)
    if (node_at(r->graph, i)->op == ORR_OP_pick && node_at(r->graph, i)->in[0] == r->self &&
        cotangents[i] != ORR_NONE)
      return true;
  return false;
}

void scan_gradient(gradient_walk *walk, orr_node self, const orr_node *cotangents, int nodes) {
  reverse r = {.walk = walk, .graph = walk_graph(walk), .self = self};
  r.forward = node_at(r.graph, self)->scan;
  if (!any_cotangent(&r, cotangents, nodes)) return;
  orr_node *state_seed =
      arena_new(&r.graph->memory, (size_t)r.forward->carries + 1, sizeof *state_seed);
  r.body = orr_scan_begin(r.graph, r.forward->length, !r.forward->backwards);
  bool ok = r.body && state_seed && reverse_allocate(&r);
  if (ok) map_inputs(&r);
  ok = ok && copy_body(r.body, r.forward->body, r.map) &&
       differentiate_step(&r, cotangents, nodes, state_seed) && route_gradients(&r, state_seed);
  if (!ok) {
    orr_scan_abandon(r.body);
    walk_fail(walk);
    return;
  }
  orr_node made = end_scan(r.body, r.next, r.outputs, r.output, r.reduced, r.reduce);
  if (made == ORR_NONE) walk_fail(walk);
  else give_results(&r, made);
}

/* ---- the ops: run by the executor, differentiated above ---- */

static void no_forward(const op_call *call) { (void)call; }
static void no_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  (void)walk, (void)self, (void)dy;
}

const op_class op_scan = {"scan", NULL, true, false, no_forward, no_gradient, NULL};
const op_class op_pick = {"pick", NULL, true, false, no_forward, no_gradient, NULL};
