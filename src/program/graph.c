/* graph.c - building graphs: nodes are checked, merged when equal, folded when constant, and moved
   out of a scan's body when they do not change there. */
#include "program/graph.h"

#include <stdio.h>
#include <string.h>

#define UNARY(name_, f, d, lo, hi, doc_) {#name_, doc_, true, NULL, NULL, NULL, NULL},
#define BINARY(name_, f, da, db, lo, hi, doc_) {#name_, doc_, true, NULL, NULL, NULL, NULL},
#define STRUCTURED(...)
static const op_class elementwise_classes[] = {
#include "orrery/ops.def"
};
#undef UNARY
#undef BINARY
#undef STRUCTURED

#define UNARY(...)
#define BINARY(...)
#define STRUCTURED(name, doc) extern const op_class op_##name;
#include "orrery/ops.def"
#undef STRUCTURED
#define STRUCTURED(name, doc) &op_##name,
static const op_class *const structured_classes[] = {
#include "orrery/ops.def"
};
#undef UNARY
#undef BINARY
#undef STRUCTURED

#define UNARY(name, f, d, lo, hi, doc) doc,
#define BINARY(name, f, da, db, lo, hi, doc) doc,
#define STRUCTURED(name, doc) doc,
static const char *const docs[] = {
#include "orrery/ops.def"
};
#undef UNARY
#undef BINARY
#undef STRUCTURED

enum { FIRST_STRUCTURED = UNARY_COUNT + (int)BINARY_COUNT };

const op_class *op_class_of(orr_op op) {
  return (int)op < FIRST_STRUCTURED ? &elementwise_classes[op]
                                    : structured_classes[op - FIRST_STRUCTURED];
}

const char *orr_op_name(orr_op op) {
  return (unsigned)op < ORR_OP_COUNT ? op_class_of(op)->name : "?";
}
const char *orr_op_doc(orr_op op) { return (unsigned)op < ORR_OP_COUNT ? docs[op] : "?"; }
int orr_op_arity(orr_op op) { return op_is_unary(op) ? 1 : op_is_binary(op) ? 2 : 0; }

/* ---- shapes ---- */

int64_t count_shape(int axes, const int64_t *shape) {
  int64_t count = 1;
  for (int i = 0; i < axes; i++)
    if (shape[i] < 0 || __builtin_mul_overflow(count, shape[i], &count) || count > INT64_C(1) << 40)
      return -1;
  return count;
}

orr_node graph_fail(orr_graph *graph, orr_op op, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  engine_fail(graph->engine, ORR_SHAPE, "%s: %s", orr_op_name(op), text);
  return ORR_NONE;
}

int graph_axis(orr_graph *graph, orr_op op, orr_node x, int axis) {
  if (x == ORR_NONE) return -1;
  int axes = node_at(graph, x)->axes, wanted = axis;
  if (axis < 0) axis += axes;
  if (axis >= 0 && axis < axes) return axis;
  char text[SHAPE_TEXT];
  graph_fail(graph, op, "axis %d is not one of a value of shape %s", wanted,
             shape_text(text, axes, node_at(graph, x)->shape));
  return -1;
}

/* ---- life ---- */

orr_graph *orr_graph_new(orr_engine *engine) {
  orr_graph *graph = engine_new_zeroed(engine, 1, sizeof *graph);
  if (!graph) return NULL;
  graph->references = 1;
  graph->engine = orr_engine_retain(engine);
  graph->memory.engine = engine;
  return graph;
}

orr_graph *graph_new_body(orr_graph *parent) {
  orr_graph *body = orr_graph_new(parent->engine);
  if (body) body->parent = parent;
  return body;
}

void orr_graph_free(orr_graph *graph) {
  if (!graph || --graph->references > 0) return;
  while (graph->bodies) {
    orr_graph *next = graph->bodies->next_body;
    orr_graph_free(graph->bodies);
    graph->bodies = next;
  }
  for (int i = 0; i < graph->count; i++) orr_tensor_free(graph->nodes[i]->tensor);
  orr_engine *engine = graph->engine;
  engine_free_memory(engine, graph->nodes);
  engine_free_memory(engine, graph->table);
  engine_free_memory(engine, graph->outputs);
  arena_free(&graph->memory);
  engine_free_memory(engine, graph);
  orr_engine_free(engine);
}

orr_engine *orr_graph_engine(const orr_graph *graph) { return graph->engine; }
orr_graph *orr_graph_parent(const orr_graph *graph) { return graph->parent; }

orr_graph *graph_outermost(orr_graph *graph) {
  while (graph->parent) graph = graph->parent;
  return graph;
}

int orr_node_axes(const orr_graph *graph, orr_node n) { return node_at(graph, n)->axes; }
const int64_t *orr_node_shape(const orr_graph *graph, orr_node n) {
  return node_at(graph, n)->shape;
}
int64_t orr_node_count(const orr_graph *graph, orr_node n) { return node_at(graph, n)->count; }
orr_level orr_node_level(const orr_graph *graph, orr_node n) { return node_at(graph, n)->level; }
orr_op orr_node_op(const orr_graph *graph, orr_node n) { return node_at(graph, n)->op; }

bool orr_node_number(const orr_graph *graph, orr_node n, double *number) {
  if (n == ORR_NONE || node_at(graph, n)->op != ORR_OP_constant) return false;
  if (number) *number = node_at(graph, n)->number;
  return true;
}

/* ---- adding nodes ---- */

static uint64_t node_hash(const node *n) {
  uint64_t h = mix_bits((uint64_t)n->op * 4 + (uint64_t)n->level), bits;
  for (int i = 0; i < n->axes; i++) h = mix_bits(h ^ (uint64_t)n->shape[i]);
  for (int i = 0; i < n->inputs; i++) h = mix_bits(h ^ (uint64_t)(uint32_t)n->in[i]);
  for (int i = 0; i < ATTRIBUTES; i++) h = mix_bits(h ^ (uint64_t)n->attribute[i]);
  memcpy(&bits, &n->number, sizeof bits);
  return mix_bits(h ^ bits ^ (uint64_t)(uintptr_t)n->tensor);
}

static bool node_same(const node *a, const node *b) {
  return a->op == b->op && a->level == b->level && a->tensor == b->tensor &&
         a->inputs == b->inputs && shape_equal(a->axes, a->shape, b->axes, b->shape) &&
         memcmp(&a->number, &b->number, sizeof a->number) == 0 &&
         memcmp(a->attribute, b->attribute, sizeof a->attribute) == 0 &&
         (!a->inputs || memcmp(a->in, b->in, (size_t)a->inputs * sizeof *a->in) == 0) &&
         (a->name == b->name || (a->name && b->name && strcmp(a->name, b->name) == 0));
}

static bool table_grow(orr_graph *graph) {
  int size = graph->table_size ? graph->table_size * 2 : 256;
  int32_t *table = engine_new(graph->engine, (size_t)size, sizeof *table);
  if (!table) return false;
  for (int i = 0; i < size; i++) table[i] = ORR_NONE;
  for (int i = 0; i < graph->count; i++) {
    uint64_t slot = node_hash(graph->nodes[i]) & (uint64_t)(size - 1);
    while (table[slot] != ORR_NONE) slot = (slot + 1) & (uint64_t)(size - 1);
    table[slot] = i;
  }
  engine_free_memory(graph->engine, graph->table);
  graph->table = table;
  graph->table_size = size;
  return true;
}

static bool make_room(orr_graph *graph) {
  if (graph->count * 2 >= graph->table_size && !table_grow(graph)) return false;
  if (graph->count < graph->room) return true;
  int room = graph->room ? graph->room * 2 : 128;
  node **nodes = engine_resize(graph->engine, graph->nodes, (size_t)room, sizeof *nodes);
  if (!nodes) return false;
  graph->nodes = nodes;
  graph->room = room;
  return true;
}

node *graph_append(orr_graph *graph, orr_op op, orr_level level, int axes, const int64_t *shape,
                   int inputs, const orr_node *in, orr_node *index) {
  int64_t count = count_shape(axes, shape);
  if (count < 0 || axes > ORR_AXES) {
    char text[SHAPE_TEXT];
    graph_fail(graph, op, "a value of shape %s is too large", shape_text(text, axes, shape));
    return NULL;
  }
  if (!make_room(graph)) return NULL;
  node *n = arena_new(&graph->memory, 1, sizeof *n);
  orr_node *copy = inputs ? arena_new(&graph->memory, (size_t)inputs, sizeof *copy) : NULL;
  if (!n || (inputs && !copy)) return NULL;
  *n = (node){.op = op,
              .level = level,
              .axes = axes,
              .count = count,
              .stored = count,
              .inputs = inputs,
              .in = copy};
  if (op == ORR_OP_pack) n->stored = (int64_t)packed_count((size_t)shape[0], (size_t)shape[1]);
  if (axes) memcpy(n->shape, shape, (size_t)axes * sizeof *shape);
  if (inputs) memcpy(copy, in, (size_t)inputs * sizeof *in);
  *index = graph->count;
  graph->nodes[graph->count++] = n;
  return n;
}

/* The equal node made before, or the newest one, now known to the table. */
static orr_node merge_newest(orr_graph *graph) {
  int newest = graph->count - 1;
  node *n = graph->nodes[newest];
  uint64_t mask = (uint64_t)(graph->table_size - 1), slot = node_hash(n) & mask;
  for (; graph->table[slot] != ORR_NONE; slot = (slot + 1) & mask)
    if (node_same(graph->nodes[graph->table[slot]], n)) {
      graph->count--;
      return graph->table[slot];
    }
  graph->table[slot] = newest;
  return newest;
}

static bool is_draw(orr_op op) { return op == ORR_OP_normal || op == ORR_OP_uniform; }

orr_node graph_captured(const orr_graph *body, orr_node x) {
  const node *n = node_at(body, x);
  if (n->op == ORR_OP_input && n->attribute[0] == INPUT_CAPTURE)
    return body->building->captured[n->attribute[1]];
  engine_fail(body->engine, ORR_STATE, "a %s inside a loop is not what the loop was given",
              orr_op_name(n->op));
  return ORR_NONE;
}

/* Unchanging inside the loop: made outside and captured. Nothing of a lower level than a row's is
   left inside, but for sums; what folds stays a constant. */
static bool belongs_outside(const orr_graph *graph, orr_op op, orr_level level, int inputs,
                            const orr_node *in) {
  if (!graph->parent || !inputs || op_class_of(op)->reduces || is_draw(op)) return false;
  if ((op == ORR_OP_spread || op == ORR_OP_copy) && level == ORR_ROW) return false;
  bool any = !op_is_unary(op) && !op_is_binary(op);
  for (int i = 0; i < inputs; i++) {
    const node *n = node_at(graph, in[i]);
    bool captured = n->op == ORR_OP_input && n->attribute[0] == INPUT_CAPTURE;
    if (!captured && n->op != ORR_OP_constant) return false;
    any = any || captured;
  }
  return any;
}

static orr_node add_outside(orr_graph *graph, orr_op op, orr_level level, int axes,
                            const int64_t *shape, int inputs, const orr_node *in,
                            const int64_t *attributes, int attribute_count) {
  orr_node outer[OPERANDS];
  for (int i = 0; i < inputs; i++) {
    const node *n = node_at(graph, in[i]);
    outer[i] = n->op == ORR_OP_constant ? orr_number(graph->parent, n->number)
                                        : graph->building->captured[n->attribute[1]];
  }
  orr_node made =
      op == ORR_OP_spread
          ? graph_add_leveled(graph->parent, op, level, axes, shape, inputs, outer, attributes,
                              attribute_count)
          : graph_add(graph->parent, op, axes, shape, inputs, outer, attributes, attribute_count);
  return made == ORR_NONE ? ORR_NONE : orr_scan_capture(graph, made);
}

/* A constant expression becomes its value, with the kernels that would have run it. */
static bool fold(orr_graph *graph, orr_op op, int inputs, const orr_node *in, double *number) {
  if (!op_is_unary(op) && !op_is_binary(op)) return false;
  for (int i = 0; i < inputs; i++)
    if (node_at(graph, in[i])->op != ORR_OP_constant) return false;
  const kernels *k = engine_kernels(graph->engine);
  orr_real a = (orr_real)node_at(graph, in[0])->number, y;
  if (op_is_unary(op)) {
    k->unary[op](&y, &a, 1);
  } else {
    orr_real b = (orr_real)node_at(graph, in[1])->number;
    k->binary[binary_of(op)](&y, &a, &b, 1);
  }
  *number = y;
  return true;
}

orr_node graph_add_leveled(orr_graph *graph, orr_op op, orr_level level, int axes,
                           const int64_t *shape, int inputs, const orr_node *in,
                           const int64_t *attributes, int attribute_count) {
  orr_node operands[OPERANDS], index;
  if (inputs > OPERANDS)
    return graph_fail(graph, op, "%d operands are too many (at most %d)", inputs, OPERANDS);
  for (int i = 0; i < inputs; i++) {
    operands[i] = in[i];
    if (in[i] == ORR_NONE) return ORR_NONE;
  }
  if (belongs_outside(graph, op, level, inputs, operands))
    return add_outside(graph, op, level, axes, shape, inputs, operands, attributes,
                       attribute_count);
  double number;
  if (fold(graph, op, inputs, operands, &number)) return orr_number(graph, number);
  if (level == ORR_ROW && !op_class_of(op)->mixed && op != ORR_OP_spread)
    for (int i = 0; i < inputs; i++)
      if (node_at(graph, operands[i])->level != ORR_ROW) {
        const node *n = node_at(graph, operands[i]);
        operands[i] = graph_add_leveled(graph, ORR_OP_spread, ORR_ROW, n->axes, n->shape, 1,
                                        &operands[i], NULL, 0);
        if (operands[i] == ORR_NONE) return ORR_NONE;
      }
  node *n = graph_append(graph, op, level, axes, shape, inputs, operands, &index);
  if (!n) return ORR_NONE;
  for (int i = 0; i < attribute_count; i++) n->attribute[i] = attributes[i];
  return merge_newest(graph);
}

orr_node graph_add(orr_graph *graph, orr_op op, int axes, const int64_t *shape, int inputs,
                   const orr_node *in, const int64_t *attributes, int attribute_count) {
  orr_level level = ORR_UNIFORM;
  for (int i = 0; i < inputs; i++) {
    if (in[i] == ORR_NONE) return ORR_NONE;
    if (node_at(graph, in[i])->level > level) level = node_at(graph, in[i])->level;
  }
  return graph_add_leveled(graph, op, level, axes, shape, inputs, in, attributes, attribute_count);
}

/* ---- inputs and outputs ---- */

orr_node orr_number(orr_graph *graph, double number) {
  orr_node index;
  node *n = graph_append(graph, ORR_OP_constant, ORR_UNIFORM, 0, NULL, 0, NULL, &index);
  if (!n) return ORR_NONE;
  n->number = (double)(orr_real)number;
  return merge_newest(graph);
}

orr_node orr_input(orr_graph *graph, const char *name, orr_level level, int axes,
                   const int64_t *shape) {
  if (graph->parent) {
    engine_fail(graph->engine, ORR_STATE, "input '%s': inputs belong to the outermost graph", name);
    return ORR_NONE;
  }
  for (int i = 0; i < graph->count; i++) {
    const node *old = graph->nodes[i];
    if (old->op != ORR_OP_input || !old->name || strcmp(old->name, name) != 0) continue;
    if (old->level == level && shape_equal(axes, shape, old->axes, old->shape)) return i;
    engine_fail(graph->engine, ORR_SHAPE,
                "input '%s' was declared before with another shape or level", name);
    return ORR_NONE;
  }
  orr_node index;
  node *n = graph_append(graph, ORR_OP_input, level, axes, shape, 0, NULL, &index);
  if (!n || !(n->name = arena_copy_string(&graph->memory, name))) return ORR_NONE;
  n->attribute[0] = INPUT_NAMED;
  return merge_newest(graph);
}

orr_node orr_parameter(orr_graph *graph, orr_tensor *tensor, orr_level level) {
  if (!tensor) return ORR_NONE;
  if (graph->parent) {
    orr_node outer = orr_parameter(graph->parent, tensor, level);
    return outer == ORR_NONE ? ORR_NONE : orr_scan_capture(graph, outer);
  }
  int skip = level == ORR_MEMBER, axes = orr_tensor_axes(tensor);
  if (level == ORR_ROW || axes < skip) {
    engine_fail(graph->engine, ORR_SHAPE,
                "a parameter is uniform, or per member with the members' axis first");
    return ORR_NONE;
  }
  if (orr_tensor_dtype(tensor) != ORR_REAL || !orr_tensor_is_contiguous(tensor)) {
    engine_fail(graph->engine, ORR_ARGUMENT,
                "a parameter is a tensor of real numbers without gaps; %s it first",
                orr_tensor_dtype(tensor) != ORR_REAL ? "convert" : "copy");
    return ORR_NONE;
  }
  orr_node index;
  node *n = graph_append(graph, ORR_OP_input, level, axes - skip, orr_tensor_shape(tensor) + skip,
                         0, NULL, &index);
  if (!n) return ORR_NONE;
  n->attribute[0] = INPUT_PARAMETER;
  n->tensor = tensor;
  orr_node merged = merge_newest(graph);
  if (merged == index) orr_tensor_retain(tensor);
  return merged;
}

static orr_status add_output(orr_graph *graph, named_output output) {
  if (graph->parent)
    return engine_fail(graph->engine, ORR_STATE, "outputs belong to the outermost graph");
  if (output.node == ORR_NONE) return graph->engine->status ? graph->engine->status : ORR_ARGUMENT;
  if (graph->output_count == graph->output_room) {
    int room = graph->output_room ? graph->output_room * 2 : 8;
    named_output *outputs =
        engine_resize(graph->engine, graph->outputs, (size_t)room, sizeof *outputs);
    if (!outputs) return ORR_MEMORY;
    graph->outputs = outputs;
    graph->output_room = room;
  }
  graph->outputs[graph->output_count++] = output;
  return ORR_OK;
}

orr_status orr_output(orr_graph *graph, const char *name, orr_node n) {
  for (int i = 0; i < graph->output_count; i++)
    if (graph->outputs[i].name && strcmp(graph->outputs[i].name, name) == 0)
      return engine_fail(graph->engine, ORR_ARGUMENT, "output '%s' is named twice", name);
  char *copy = arena_copy_string(&graph->memory, name);
  return copy ? add_output(graph, (named_output){copy, n, ORR_NONE}) : ORR_MEMORY;
}

orr_status orr_update(orr_graph *graph, orr_node parameter, orr_node value) {
  if (parameter == ORR_NONE || value == ORR_NONE) return ORR_ARGUMENT;
  const node *p = node_at(graph, parameter), *v = node_at(graph, value);
  char a[SHAPE_TEXT], b[SHAPE_TEXT];
  if (!p->tensor)
    return engine_fail(graph->engine, ORR_ARGUMENT, "only a parameter can be updated");
  if (orr_tensor_dtype(p->tensor) != ORR_REAL)
    return engine_fail(graph->engine, ORR_ARGUMENT,
                       "only a parameter of real numbers can be updated");
  if (!shape_equal(p->axes, p->shape, v->axes, v->shape))
    return engine_fail(graph->engine, ORR_SHAPE,
                       "update: a parameter of shape %s cannot take a value of shape %s",
                       shape_text(a, p->axes, p->shape), shape_text(b, v->axes, v->shape));
  if (v->level > p->level)
    return engine_fail(
        graph->engine, ORR_SHAPE,
        "update: the value differs per %s and the parameter does not; reduce it over rows first",
        v->level == ORR_ROW ? "row" : "member");
  for (int i = 0; i < graph->output_count; i++)
    if (!graph->outputs[i].name && graph->outputs[i].parameter == parameter)
      return engine_fail(graph->engine, ORR_ARGUMENT, "update: the parameter is updated twice");
  return add_output(graph, (named_output){NULL, value, parameter});
}

orr_node orr_updated(const orr_graph *graph, orr_node parameter) {
  for (int i = 0; i < graph->output_count; i++)
    if (!graph->outputs[i].name && graph->outputs[i].parameter == parameter)
      return graph->outputs[i].node;
  return parameter;
}

/* ---- the ops that only mark ---- */

static void no_forward(const op_call *call) { (void)call; }
static void no_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  (void)walk, (void)self, (void)dy;
}

const op_class op_input = {"input", NULL, true, NULL, no_forward, no_gradient, NULL};
const op_class op_constant = {"constant", NULL, true, NULL, no_forward, no_gradient, NULL};
