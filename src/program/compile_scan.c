/* compile_scan.c - a scan as an instruction with a body: its buffers, the instructions of one step,
   and how long values outside must live because of it. */
#include "program/compiler.h"

static bool picked(const scope *s, orr_node at, int kind, int index) {
  for (int i = at + 1; i < s->graph->count; i++) {
    const node *n = node_at(s->graph, i);
    if (n->op == ORR_OP_pick && s->needed[i] && n->in[0] == at && n->attribute[0] == kind &&
        n->attribute[1] == index)
      return true;
  }
  return false;
}

bool compiler_open_scope(compiler *c, scope *inner, scope *outer, orr_graph *graph) {
  *inner = (scope){.graph = graph, .outer = outer};
  inner->number = compiler_numbers(c, graph->count, -1);
  inner->uses = compiler_numbers(c, graph->count, 0);
  inner->needed = arena_new(&c->memory, (size_t)graph->count + 1, sizeof *inner->needed);
  inner->scan_of = arena_new(&c->memory, (size_t)graph->count + 1, sizeof *inner->scan_of);
  return inner->number && inner->uses && inner->needed && inner->scan_of;
}

/* `level` is the loop's: where it runs once per member, each member has buffers of its own. */
static int scan_buffer(compiler *c, orr_level level, const node *n, int64_t copies) {
  return compiler_new_result(c, compiler_by_rows(c) ? ORR_ROW : level, n->count * copies);
}

/* Buffers of the loop: carries, slices, step, stacked results. They live as long as the loop. */
static bool scan_values(compiler *c, scope *s, orr_node at, scope *body, scan_code *loop) {
  const scan *spec = node_at(s->graph, at)->scan;
  arena *memory = &c->program->memory;
  orr_level level = node_at(s->graph, at)->level;
  *loop = (scan_code){.length = spec->length,
                      .backwards = spec->backwards,
                      .carries = spec->carries,
                      .slices = spec->slices,
                      .outputs = spec->outputs,
                      .reduced = spec->reduced,
                      .step = -1};
  int **lists[] = {&loop->initial, &loop->carry,  &loop->next,    &loop->state, &loop->sequence,
                   &loop->slice,   &loop->output, &loop->stacked, &loop->sum};
  int sizes[] = {spec->carries, spec->carries, spec->carries, spec->carries, spec->slices,
                 spec->slices,  spec->outputs, spec->outputs, spec->reduced};
  for (size_t l = 0; l < COUNT(lists); l++) {
    if (!(*lists[l] = arena_new(memory, (size_t)sizes[l] + 1, sizeof(int)))) return false;
    for (int i = 0; i < sizes[l]; i++) (*lists[l])[i] = -1;
  }
  for (int i = 0; i < spec->carries; i++) {
    loop->initial[i] = s->number[spec->initial[i]];
    loop->carry[i] = body->number[spec->carry[i]] =
        scan_buffer(c, level, node_at(body->graph, spec->carry[i]), 1);
    if (loop->carry[i] < 0) return false;
    body->needed[spec->next[i]] = true;
    body->uses[spec->next[i]]++;
    if (!picked(s, at, PICK_STATE, i)) continue;
    loop->state[i] = scan_buffer(c, level, node_at(body->graph, spec->carry[i]), spec->length);
    if (loop->state[i] < 0) return false;
  }
  for (int i = 0; i < spec->slices; i++) {
    loop->sequence[i] = s->number[spec->sequence[i]];
    loop->slice[i] = body->number[spec->slice[i]] =
        scan_buffer(c, level, node_at(body->graph, spec->slice[i]), 1);
    if (loop->slice[i] < 0) return false;
  }
  for (int i = 0; i < spec->outputs; i++) {
    if (!picked(s, at, PICK_OUTPUT, i)) continue;
    body->needed[spec->output[i]] = true;
    body->uses[spec->output[i]]++;
    loop->stacked[i] = scan_buffer(c, level, node_at(body->graph, spec->output[i]), spec->length);
    if (loop->stacked[i] < 0) return false;
  }
  for (int i = 0; i < spec->reduced; i++)
    if (picked(s, at, PICK_REDUCED, i))
      body->needed[spec->reduce[i]] = true, body->uses[spec->reduce[i]]++;
  for (int i = 0; i < spec->captures; i++)
    body->number[spec->capture[i]] = s->number[spec->captured[i]];
  if (spec->step == ORR_NONE) return true;
  return (loop->step = body->number[spec->step] = compiler_new_result(c, ORR_ROW, 1)) >= 0;
}

static bool is_alias(orr_op op) {
  return op == ORR_OP_reshape || op == ORR_OP_stop_gradient || op == ORR_OP_copy;
}

/* Carries change places only after all were computed, so each needs a value of its own. */
static int step_result(compiler *c, scope *body, orr_node at, bool own) {
  int v = compiler_value(c, body, at);
  orr_node made = at; /* what only shows its operand has the operand's value */
  while (is_alias(node_at(body->graph, made)->op)) made = node_at(body->graph, made)->in[0];
  if (v < 0 || !own || node_at(body->graph, made)->op != ORR_OP_input) return v;
  instruction *i = compiler_emit_copy(c, body, body->code, at);
  if (!i) return -1;
  return i->y = compiler_new_result(c, ORR_ROW, node_at(body->graph, at)->count);
}

static bool scan_results(compiler *c, scope *body, const scan *spec, scan_code *loop) {
  for (int i = 0; i < spec->carries; i++)
    if ((loop->next[i] = step_result(c, body, spec->next[i], true)) < 0) return false;
  for (int i = 0; i < spec->outputs; i++)
    if (loop->stacked[i] >= 0 &&
        (loop->output[i] = step_result(c, body, spec->output[i], false)) < 0)
      return false;
  for (int i = 0; i < spec->reduced; i++)
    if (body->needed[spec->reduce[i]]) loop->sum[i] = body->number[spec->reduce[i]];
  c->position++;
  for (int i = 0; i < spec->carries; i++) compiler_touch(c, loop->next[i]);
  for (int i = 0; i < spec->outputs; i++)
    if (loop->stacked[i] >= 0) compiler_touch(c, loop->output[i]);
  return true;
}

/* All that was made before the loop and is used in it, and the loop's own buffers, live to its
   end. */
static void extend_lives(compiler *c, const scan_code *loop, int start) {
  orr_program *p = c->program;
  for (int i = 0; i < p->value_count; i++)
    if (p->values[i].first <= start && p->values[i].last > start) p->values[i].last = c->position;
  const int *lists[] = {loop->carry, loop->state, loop->slice, loop->stacked};
  int sizes[] = {loop->carries, loop->carries, loop->slices, loop->outputs};
  for (size_t l = 0; l < COUNT(lists); l++)
    for (int i = 0; i < sizes[l]; i++)
      if (lists[l][i] >= 0) p->values[lists[l][i]].last = c->position;
  for (int i = 0; i < loop->slices; i++) p->values[loop->sequence[i]].last = c->position;
  if (loop->step >= 0) p->values[loop->step].last = c->position;
}

bool compiler_write_scan(compiler *c, scope *s, orr_node at) {
  const node *n = node_at(s->graph, at);
  const scan *spec = n->scan;
  scope body;
  if (!compiler_find_operands(c, s, n->inputs, n->in) ||
      !compiler_open_scope(c, &body, s, spec->body))
    return false;
  instruction *i = compiler_emit(c, s->code, DO_SCAN);
  scan_code *loop = arena_new(&c->program->memory, 1, sizeof *loop);
  code *inner = arena_new(&c->program->memory, 1, sizeof *inner);
  if (!i || !loop || !inner) return false;
  int which = (int)(i - s->code->list), start = c->position;
  i->node = n;
  i->graph = s->graph;
  i->scan = loop;
  i->body = inner;
  i->per_member = n->level == ORR_MEMBER;
  i->class = op_class_of(ORR_OP_scan);
  if (!compiler_add_operands(c, s, i, n->inputs, n->in)) return false;
  i->settled = false;
  if (!scan_values(c, s, at, &body, loop)) return false;
  body.code = inner;
  compiler_mark_needed(&body);
  for (int j = 0; j < spec->body->count; j++)
    if (body.needed[j] && !compiler_write_node(c, &body, j)) return false;
  if (!scan_results(c, &body, spec, loop)) return false;
  extend_lives(c, loop, start);
  s->scan_of[at] = s->code->list[which].scan;
  return true;
}
