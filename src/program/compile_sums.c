/* compile_sums.c - sums over rows that wait for the end of a batch: their operands are held for its
   length, in blocks or, where the sum is faster so, as plain rows. */
#include "program/compiler.h"

/* The value `v` as rows of `width` numbers; made once. */
static int as_rows(compiler *c, int v, int64_t width) {
  code *where = c->top.code;
  for (int i = 0; i < where->count; i++)
    if (where->list[i].kind == DO_ROWS && where->list[i].x[0] == v && where->list[i].width == width)
      return where->list[i].y;
  instruction *i = compiler_emit(c, where, DO_ROWS);
  int *x = arena_new(&c->program->memory, 1, sizeof *x);
  if (!i || !x) return -1;
  i->x = x;
  i->x[0] = v;
  i->inputs = 1;
  i->width = width;
  i->vectors = c->program->values[v].stored / width;
  compiler_touch(c, v);
  int y = compiler_new_result(c, ORR_ROW, i->vectors * (int64_t)outer_stride((size_t)width));
  if (y >= 0) c->program->values[y].place = PLACE_ROWS;
  return i->y = y;
}

static void hold(compiler *c, int v) {
  value *x = &c->program->values[v];
  compiler_touch(c, v);
  if (x->place == PLACE_TILE) x->place = PLACE_HELD;
}

bool compiler_write_reduction(compiler *c, scope *s, orr_node at) {
  const node *n = node_at(s->graph, at);
  if (!compiler_find_operands(c, s, n->inputs, n->in)) return false;
  const op_class *class = op_class_of(n->op);
  int *x = arena_new(&c->program->memory, (size_t)n->inputs, sizeof *x);
  bool *by_row = arena_new(&c->program->memory, (size_t)n->inputs, sizeof *by_row);
  if (!x || !by_row) return false;
  for (int j = 0; j < n->inputs; j++) {
    int64_t width = class->reduces->rows_width(s->graph, n, j);
    x[j] = s->number[n->in[j]];
    by_row[j] = true;
    if (!c->program->values[x[j]].by_row)
      return engine_fail(c->program->engine, ORR_STATE, "compile: %s of what has no rows",
                         orr_op_name(n->op)) == ORR_OK;
    if (width == 0) hold(c, x[j]);
    else if ((x[j] = as_rows(c, x[j], width)) < 0) return false;
  }
  instruction *i = compiler_emit(c, &c->program->stages[c->current].reductions, DO_OP);
  int v = compiler_new_result(c, n->level, n->stored);
  if (!i || v < 0) return false;
  i->class = class;
  i->node = n;
  i->graph = s->graph;
  i->per_member = n->level == ORR_MEMBER;
  i->inputs = n->inputs;
  i->x = x;
  i->by_row = by_row;
  i->y = s->number[at] = v;
  for (int j = 0; j < n->inputs; j++) c->program->values[x[j]].last = c->position;
  if (!class->scratch) return true;
  int64_t scratch = class->scratch(s->graph, n, BLOCK);
  if (scratch > c->program->scratch_numbers) c->program->scratch_numbers = scratch;
  return true;
}
