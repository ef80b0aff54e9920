/* compile.c - from a graph to stages of instructions: what is needed, when it can be done, and in
   what order. layout.c then finds room for the values. */
#include "program/compiler.h"

#include <string.h>

#include "program/layout.h"

bool compiler_by_rows(const compiler *c) { return c->current % 2 == 1; }

/* ---- small makers; NULL or -1 on failure, which the callers pass on ---- */

int *compiler_numbers(compiler *c, int count, int fill) {
  int *list = arena_new(&c->memory, (size_t)count + 1, sizeof *list);
  for (int i = 0; list && i < count; i++) list[i] = fill;
  return list;
}

static int new_value(compiler *c, place where, orr_level level, int64_t stored) {
  orr_program *p = c->program;
  if (p->value_count == p->value_room) {
    int room = p->value_room ? p->value_room * 2 : 64;
    value *grown = engine_resize(p->engine, p->values, (size_t)room, sizeof *grown);
    if (!grown) return -1;
    p->values = grown;
    p->value_room = room;
  }
  p->values[p->value_count] = (value){.level = level,
                                      .place = where,
                                      .stored = stored,
                                      .stage = c->current,
                                      .by_row = level == ORR_ROW && compiler_by_rows(c),
                                      .binding = -1,
                                      .reuse = -1,
                                      .first = c->position,
                                      .last = c->position};
  return p->value_count++;
}

/* A value made by this stage's code: in the tile, or a single one. */
int compiler_new_result(compiler *c, orr_level level, int64_t stored) {
  return new_value(c, level == ORR_ROW && compiler_by_rows(c) ? PLACE_TILE : PLACE_SINGLE, level,
                   stored);
}

instruction *compiler_emit(compiler *c, code *where, instruction_kind kind) {
  if (where->count == where->room) {
    int room = where->room ? where->room * 2 : 32;
    instruction *grown = arena_new(&c->program->memory, (size_t)room, sizeof *grown);
    if (!grown) return NULL;
    if (where->count) memcpy(grown, where->list, (size_t)where->count * sizeof *grown);
    where->list = grown;
    where->room = room;
  }
  instruction *i = &where->list[where->count++];
  *i = (instruction){
      .kind = kind, .y = -1, .position = ++c->position, .binding = -1, .activated = -1};
  return i;
}

void compiler_touch(compiler *c, int v) {
  value *x = &c->program->values[v];
  x->last = c->position;
  bool passing = x->place == PLACE_TILE || x->place == PLACE_HELD;
  if (passing && x->stage != c->current) x->place = PLACE_KEPT;
}

/* ---- what is needed, and when ---- */

void compiler_mark_needed(scope *s) {
  for (int i = s->graph->count - 1; i >= 0; i--) {
    if (!s->needed[i]) continue;
    const node *n = node_at(s->graph, i);
    for (int j = 0; j < n->inputs; j++) {
      s->needed[n->in[j]] = true;
      s->uses[n->in[j]]++;
    }
  }
}

static int round_up(int at, bool odd) { return at % 2 == odd ? at : at + 1; }

static void schedule(compiler *c) {
  orr_graph *g = c->graph;
  int stages = 1;
  for (int i = 0; i < g->count; i++) {
    if (!c->top.needed[i]) continue;
    const node *n = node_at(g, i);
    int after = 0, rows = -1;
    for (int j = 0; j < n->inputs; j++) {
      int in = n->in[j];
      if (c->ready[in] > after) after = c->ready[in];
      if (node_at(g, in)->level == ORR_ROW && c->stage[in] > rows) rows = c->stage[in];
    }
    if (n->op == ORR_OP_pick) {
      bool sums = n->attribute[0] == PICK_REDUCED && node_at(g, n->in[0])->level == ORR_ROW;
      c->stage[i] = c->stage[n->in[0]];
      c->ready[i] = c->stage[i] + sums;
    } else if (n->level == ORR_ROW) {
      c->stage[i] = c->ready[i] = round_up(after, true);
    } else if (op_class_of(n->op)->reduces && rows >= 0) {
      c->stage[i] = round_up(after, true);
      c->ready[i] = c->stage[i] + 1;
    } else {
      c->stage[i] = c->ready[i] = round_up(after, false);
    }
    if (c->ready[i] + 1 > stages) stages = c->ready[i] + 1;
  }
  c->program->stage_count = stages;
}

/* ---- bindings ---- */

static int find_binding(const orr_program *p, const node *n) {
  for (int i = 0; i < p->input_count; i++)
    if (n->tensor ? p->inputs[i].tensor == n->tensor && p->inputs[i].level == n->level
                  : p->inputs[i].name && strcmp(p->inputs[i].name, n->name) == 0)
      return i;
  return -1;
}

static binding bind_node(orr_program *p, const node *n) {
  binding b = {
      .level = n->level, .axes = n->axes, .count = n->count, .value = -1, .tensor = n->tensor};
  if (n->name) b.name = arena_copy_string(&p->memory, n->name);
  if (n->tensor) orr_tensor_retain(n->tensor);
  memcpy(b.shape, n->shape, sizeof b.shape);
  return b;
}

/* Named inputs first, in the order of the graph; then parameters that are needed. */
static bool collect_inputs(compiler *c) {
  orr_program *p = c->program;
  p->inputs = arena_new(&p->memory, (size_t)c->graph->count + 1, sizeof *p->inputs);
  if (!p->inputs) return false;
  for (int named = 1; named >= 0; named--) {
    for (int i = 0; i < c->graph->count; i++) {
      const node *n = node_at(c->graph, i);
      bool updated = false;
      for (int j = 0; j < c->graph->output_count; j++)
        updated = updated || c->graph->outputs[j].parameter == i;
      if (n->op != ORR_OP_input || (n->name != NULL) != named) continue;
      if (!named && !c->top.needed[i] && !updated) continue;
      p->inputs[p->input_count++] = bind_node(p, n);
      p->has_members = p->has_members || n->level == ORR_MEMBER;
    }
    if (named) p->named_inputs = p->input_count;
  }
  return true;
}

/* ---- values of nodes ---- */

static int constant_value(compiler *c, double number) {
  int v = new_value(c, PLACE_SINGLE, ORR_UNIFORM, 1);
  if (v < 0) return v;
  value *x = &c->program->values[v];
  x->constant = x->settled = true;
  x->number = number;
  x->stage = -1;
  return v;
}

static int input_value(compiler *c, const node *n) {
  int b = find_binding(c->program, n), v = new_value(c, PLACE_TENSOR, n->level, n->count);
  if (v < 0) return v;
  c->program->values[v].binding = b;
  c->program->values[v].settled = n->tensor != NULL;
  c->program->values[v].stage = -1;
  c->program->inputs[b].value = v;
  c->program->inputs[b].used = true;
  return v;
}

static int load_rows(compiler *c, const node *n, int at) {
  if (c->loaded[at] >= 0) return c->loaded[at];
  instruction *i = compiler_emit(c, c->top.code, DO_LOAD);
  int v = i ? new_value(c, PLACE_TILE, ORR_ROW, n->count) : -1;
  if (v < 0) return -1;
  i->y = v;
  i->binding = find_binding(c->program, n);
  c->program->inputs[i->binding].used = true;
  return c->loaded[at] = v;
}

/* The value of a node, loading or looking outside where it must. */
int compiler_value(compiler *c, scope *s, orr_node at) {
  const node *n = node_at(s->graph, at);
  if (n->op == ORR_OP_input && !s->outer && n->level == ORR_ROW) return load_rows(c, n, at);
  if (s->number[at] >= 0) return s->number[at];
  if (n->op == ORR_OP_constant) return s->number[at] = constant_value(c, n->number);
  if (n->op == ORR_OP_input && !s->outer) return s->number[at] = input_value(c, n);
  engine_fail(c->program->engine, ORR_STATE, "compile: node %d (%s) has no value", at,
              orr_op_name(n->op));
  return -1;
}

/* ---- instructions ---- */

static bool is_elementwise(orr_op op) {
  return op_is_unary(op) || op_is_binary(op) || op == ORR_OP_select;
}

/* One kernel call does for any number of blocks when operands lie alike. */
static bool spans_blocks(const compiler *c, const instruction *i) {
  const value *values = c->program->values;
  if (op_is_unary(i->node->op)) return true;
  if (i->node->op == ORR_OP_select) {
    for (int j = 0; j < 3; j++)
      if (!i->by_row[j] || values[i->x[j]].stored != values[i->y].stored) return false;
    return true;
  }
  if (!op_is_binary(i->node->op)) return false;
  const value *a = &values[i->x[0]], *b = &values[i->x[1]];
  if (a->by_row && b->by_row) return i->plan.flat;
  const value *row = a->by_row ? a : b, *other = a->by_row ? b : a;
  return row->by_row && other->stored == 1 && row->stored == values[i->y].stored;
}

bool compiler_add_operands(compiler *c, scope *s, instruction *i, int count, const orr_node *in) {
  i->inputs = count;
  i->x = arena_new(&c->program->memory, (size_t)count + 1, sizeof *i->x);
  i->by_row = arena_new(&c->program->memory, (size_t)count + 1, sizeof *i->by_row);
  if (!i->x || !i->by_row) return false;
  i->settled = i->node->op != ORR_OP_row_count;
  for (int j = 0; j < count; j++) {
    if ((i->x[j] = s->number[in[j]]) < 0) return false;
    compiler_touch(c, i->x[j]);
    i->by_row[j] = c->program->values[i->x[j]].by_row;
    i->settled = i->settled && c->program->values[i->x[j]].settled;
  }
  return true;
}

/* Values first: loading may write instructions of its own. */
bool compiler_find_operands(compiler *c, scope *s, int count, const orr_node *in) {
  for (int j = 0; j < count; j++) {
    int v = compiler_value(c, s, in[j]);
    if (v < 0) return false;
    s->number[in[j]] = v;
  }
  return true;
}

bool compiler_write_op(compiler *c, scope *s, orr_node at, const node *n, orr_graph *graph) {
  if (!compiler_find_operands(c, s, n->inputs, n->in)) return false;
  if (s->outer && n->level != ORR_ROW && !op_class_of(n->op)->reduces)
    return engine_fail(c->program->engine, ORR_STATE,
                       "compile: %s inside a loop that never changes",
                       orr_op_name(n->op)) == ORR_OK;
  instruction *i = compiler_emit(c, s->code, DO_OP);
  if (!i) return false;
  i->class = op_class_of(n->op);
  i->node = n;
  i->graph = graph;
  i->per_member = n->level == ORR_MEMBER ||
                  (i->class->reduces && n->inputs && node_at(graph, n->in[0])->level == ORR_MEMBER);
  if (!compiler_add_operands(c, s, i, n->inputs, n->in)) return false;
  bool sums = i->class->reduces && compiler_by_rows(c);
  int v = sums ? new_value(c, PLACE_SUM, n->level, n->stored)
               : compiler_new_result(c, n->level, n->stored);
  if (v < 0) return false;
  value *y = &c->program->values[v];
  i->y = s->number[at] = v;
  y->settled = i->settled = i->settled && !compiler_by_rows(c) && !s->outer;
  if (sums) y->stage = c->current;
  if (op_is_binary(n->op)) elementwise_prepare(graph, n, &i->plan);
  i->flat = compiler_by_rows(c) && spans_blocks(c, i);
  if (is_elementwise(n->op) && i->flat && i->by_row[0] &&
      c->program->values[i->x[0]].stored == y->stored)
    y->reuse = i->x[0];
  for (int lanes = 1; i->class->scratch && lanes <= BLOCK; lanes += BLOCK - 1) {
    int64_t scratch = i->class->scratch(graph, n, lanes);
    if (scratch > c->program->scratch_numbers) c->program->scratch_numbers = scratch;
  }
  return true;
}

node *compiler_node_like(compiler *c, const node *n, orr_op op, int inputs, const orr_node *in) {
  node *made = arena_new(&c->program->memory, 1, sizeof *made);
  orr_node *operands = arena_new(&c->program->memory, (size_t)inputs + 1, sizeof *operands);
  if (!made || !operands) return NULL;
  *made = *n;
  made->op = op;
  made->inputs = inputs;
  made->in = operands;
  memcpy(operands, in, (size_t)inputs * sizeof *in);
  return made;
}

instruction *compiler_emit_copy(compiler *c, scope *s, code *where, orr_node at) {
  const node *copy = compiler_node_like(c, node_at(s->graph, at), ORR_OP_copy, 1, &at);
  instruction *i = copy ? compiler_emit(c, where, DO_OP) : NULL;
  if (!i) return NULL;
  i->class = op_class_of(ORR_OP_copy);
  i->node = copy;
  i->graph = s->graph;
  return compiler_add_operands(c, s, i, 1, &at) ? i : NULL;
}

/* A sum over rows is only whole when all rows are through: nothing in the loop can use it. */
static bool uses_whole_values(compiler *c, const scope *s, const node *n) {
  for (int i = 0; s->outer && i < n->inputs; i++) {
    const node *in = node_at(s->graph, n->in[i]);
    if (in->level != ORR_ROW && in->op != ORR_OP_input && in->op != ORR_OP_constant)
      return engine_fail(c->program->engine, ORR_SHAPE,
                         "scan: %s uses a sum over rows inside the loop; return the values and sum "
                         "them after",
                         orr_op_name(n->op)) == ORR_OK;
  }
  return true;
}

bool compiler_write_node(compiler *c, scope *s, orr_node at) {
  const node *n = node_at(s->graph, at);
  if (!uses_whole_values(c, s, n)) return false;
  switch (n->op) {
  case ORR_OP_input:
  case ORR_OP_constant: return true; /* when used */
  case ORR_OP_reshape:
  case ORR_OP_stop_gradient:
  case ORR_OP_copy:
    if (!compiler_find_operands(c, s, 1, n->in)) return false;
    compiler_touch(c, s->number[n->in[0]]);
    s->number[at] = s->number[n->in[0]];
    return true;
  case ORR_OP_scan: return compiler_write_scan(c, s, at);
  case ORR_OP_pick: {
    const scan_code *loop = s->scan_of[n->in[0]];
    const int *lists[] = {loop->carry, loop->stacked, loop->sum, loop->state};
    s->number[at] = lists[n->attribute[0]][n->attribute[1]];
    compiler_touch(c, s->number[at]);
    return true;
  }
  default: break;
  }
  if (s->number[at] >= 0 && op_is_unary(n->op)) return true; /* done with its product */
  if (c->defers && !s->outer && op_class_of(n->op)->reduces)
    return compiler_write_reduction(c, s, at);
  if (compiler_waits_for_bias(c, s, at)) return true;
  const node *fused =
      n->op == ORR_OP_silu ? compiler_silu_by_sigmoid(c, s, n) : compiler_fuse_bias(c, s, n);
  return compiler_write_op(c, s, at, fused ? fused : n, s->graph) &&
         compiler_fuse_activation(c, s, at);
}

/* ---- stages ---- */

static bool write_stores(compiler *c) {
  orr_program *p = c->program;
  for (int i = 0; i < p->named_outputs; i++) {
    orr_node at = c->graph->outputs[i].node;
    const node *n = node_at(c->graph, at);
    if (n->level != ORR_ROW || c->stage[at] != c->current) continue;
    int v = compiler_value(c, &c->top, at);
    instruction *store = v < 0 ? NULL : compiler_emit(c, c->top.code, DO_STORE);
    if (!store) return false;
    compiler_touch(c, v);
    store->y = v;
    store->binding = i;
  }
  return true;
}

/* Sums inside loops cannot wait; then none of the stage do. */
static bool can_defer(const compiler *c) {
  for (int i = 0; i < c->graph->count; i++) {
    const node *n = node_at(c->graph, i);
    if (c->top.needed[i] && c->stage[i] == c->current && n->op == ORR_OP_pick &&
        n->attribute[0] == PICK_REDUCED)
      return false;
  }
  return compiler_by_rows(c);
}

static bool write_stage(compiler *c) {
  orr_graph *g = c->graph;
  c->defers = can_defer(c);
  for (int i = 0; i < g->count; i++) {
    if (compiler_by_rows(c) && node_at(g, i)->op == ORR_OP_input &&
        node_at(g, i)->level == ORR_ROW) {
      c->loaded[i] = c->top.number[i] = -1;
    }
  }
  for (int i = 0; i < g->count; i++)
    if (c->top.needed[i] && c->stage[i] == c->current && !compiler_write_node(c, &c->top, i))
      return false;
  return !compiler_by_rows(c) || write_stores(c);
}

/* Named outputs first, updates after them, whatever the order in the graph. */
static bool collect_outputs(compiler *c) {
  orr_program *p = c->program;
  orr_graph *g = c->graph;
  size_t count = (size_t)g->output_count;
  named_output *sorted = arena_new(&c->memory, count + 1, sizeof *sorted);
  p->outputs = arena_new(&p->memory, count + 1, sizeof *p->outputs);
  p->updated = arena_new(&p->memory, count + 1, sizeof *p->updated);
  if (!sorted || !p->outputs || !p->updated) return false;
  for (int updates = 0; updates < 2; updates++) {
    for (int i = 0; i < g->output_count; i++)
      if ((g->outputs[i].name == NULL) == updates) sorted[p->output_count++] = g->outputs[i];
    if (!updates) p->named_outputs = p->output_count;
  }
  if (count) memcpy(g->outputs, sorted, count * sizeof *sorted);
  for (int i = 0; i < p->output_count; i++) {
    c->top.needed[sorted[i].node] = true;
    c->top.uses[sorted[i].node]++;
    p->outputs[i] = bind_node(p, node_at(g, sorted[i].node));
    orr_tensor_free(p->outputs[i].tensor);
    p->outputs[i].tensor = NULL;
    if (sorted[i].name) p->outputs[i].name = arena_copy_string(&p->memory, sorted[i].name);
  }
  return true;
}

/* Updates happen one after another: one that takes another parameter as it was needs a copy of
   it. */
static int kept_aside(compiler *c, orr_node at, int v) {
  const node *n = node_at(c->graph, at);
  c->current = 0;
  c->top.number[at] = v;
  instruction *i = compiler_emit_copy(c, &c->top, &c->program->stages[0].code, at);
  if (!i) return -1;
  i->per_member = n->level == ORR_MEMBER;
  i->settled = false;
  return i->y = compiler_new_result(c, n->level, n->count);
}

/* Which values the outputs and updates come from, once all are written. */
static bool finish_outputs(compiler *c) {
  orr_program *p = c->program;
  c->current = p->stage_count;
  c->position++;
  for (int i = 0; i < p->output_count; i++) {
    const named_output *output = &c->graph->outputs[i];
    const node *n = node_at(c->graph, output->node);
    if (n->level == ORR_ROW) continue;
    int v = compiler_value(c, &c->top, output->node);
    bool another = v >= 0 && output->parameter != ORR_NONE && p->values[v].place == PLACE_TENSOR;
    if (another) v = kept_aside(c, output->node, v);
    if (v < 0) return false;
    p->values[v].last = c->position;
    p->values[v].wanted = true;
    p->outputs[i].value = v;
    if (output->parameter == ORR_NONE) continue;
    p->updated[i] = find_binding(p, node_at(c->graph, output->parameter));
    if (n->level < node_at(c->graph, output->parameter)->level)
      return engine_fail(p->engine, ORR_SHAPE,
                         "update: a per-member parameter needs a per-member value") == ORR_OK;
  }
  return true;
}

static bool compile_all(compiler *c) {
  orr_program *p = c->program;
  if (!compiler_open_scope(c, &c->top, NULL, c->graph) || !collect_outputs(c)) return false;
  compiler_mark_needed(&c->top);
  c->stage = compiler_numbers(c, c->graph->count, 0);
  c->ready = compiler_numbers(c, c->graph->count, 0);
  c->loaded = compiler_numbers(c, c->graph->count, -1);
  if (!c->stage || !c->ready || !c->loaded || !collect_inputs(c)) return false;
  schedule(c);
  p->stages = arena_new(&p->memory, (size_t)p->stage_count, sizeof *p->stages);
  if (!p->stages) return false;
  for (c->current = 0; c->current < p->stage_count; c->current++) {
    c->top.code = &p->stages[c->current].code;
    if (!write_stage(c)) return false;
  }
  return finish_outputs(c) && layout_program(p);
}

orr_program *orr_compile(orr_graph *graph) {
  orr_engine *engine = graph->engine;
  if (graph->parent || graph->output_count == 0) {
    engine_fail(engine, ORR_STATE,
                graph->parent ? "compile: this is a scan's body, not a whole graph"
                              : "compile: the graph has no output");
    return NULL;
  }
  orr_program *p = engine_new_zeroed(engine, 1, sizeof *p);
  if (!p) return NULL;
  atomic_init(&p->references, 1);
  p->engine = orr_engine_retain(engine);
  p->memory.engine = engine;
  p->graph = graph;
  graph->references++;
  compiler c = {.program = p, .graph = graph, .memory.engine = engine};
  bool ok = compile_all(&c);
  arena_free(&c.memory);
  if (ok) return p;
  orr_program_free(p);
  return NULL;
}
