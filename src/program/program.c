/* program.c - compiled programs: their life, what they take and give, and a listing for a
   person. */
#include <stdio.h>

#include "program/compile.h"

orr_program *orr_program_retain(orr_program *p) {
  if (p) atomic_fetch_add(&p->references, 1);
  return p;
}

void orr_program_free(orr_program *p) {
  if (!p || atomic_fetch_sub(&p->references, 1) != 1) return;
  for (int i = 0; i < p->input_count; i++) orr_tensor_free(p->inputs[i].tensor);
  orr_graph_free(p->graph);
  orr_engine *engine = p->engine;
  engine_free_memory(engine, p->values);
  engine_free_memory(engine, p->listing);
  arena_free(&p->memory);
  engine_free_memory(engine, p);
  orr_engine_free(engine);
}

/* ---- looking at a program ---- */

orr_engine *orr_program_engine(const orr_program *p) { return p->engine; }
int orr_program_inputs(const orr_program *p) { return p->named_inputs; }
const char *orr_program_input_name(const orr_program *p, int i) { return p->inputs[i].name; }
orr_level orr_program_input_level(const orr_program *p, int i) { return p->inputs[i].level; }
int orr_program_input_axes(const orr_program *p, int i) { return p->inputs[i].axes; }
const int64_t *orr_program_input_shape(const orr_program *p, int i) { return p->inputs[i].shape; }
int orr_program_outputs(const orr_program *p) { return p->named_outputs; }
const char *orr_program_output_name(const orr_program *p, int i) { return p->outputs[i].name; }
orr_level orr_program_output_level(const orr_program *p, int i) { return p->outputs[i].level; }
int orr_program_output_axes(const orr_program *p, int i) { return p->outputs[i].axes; }
const int64_t *orr_program_output_shape(const orr_program *p, int i) { return p->outputs[i].shape; }

static int count_code(const code *c) {
  int count = c->count;
  for (int i = 0; i < c->count; i++)
    if (c->list[i].body) count += count_code(c->list[i].body);
  return count;
}

int orr_program_instructions(const orr_program *p) {
  int count = 0;
  for (int s = 0; s < p->stage_count; s++)
    count += count_code(&p->stages[s].code) + count_code(&p->stages[s].reductions);
  return count;
}

typedef struct text {
  char *start;
  size_t used, size;
} text;

static void say(text *t, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(text *t, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(t->start ? t->start + t->used : NULL, t->start ? t->size - t->used : 0, format,
                    arguments);
  va_end(arguments);
  t->used += n > 0 ? (size_t)n : 0;
}

static void list_code(const orr_program *p, const struct code *c, int depth, text *t) {
  for (int i = 0; i < c->count; i++) {
    const instruction *x = &c->list[i];
    char shape[SHAPE_TEXT];
    say(t, "%*sv%d = ", depth * 2 + 2, "", x->y);
    if (x->kind == DO_LOAD) say(t, "load %s\n", p->inputs[x->binding].name);
    else if (x->kind == DO_STORE) say(t, "store %s\n", p->outputs[x->binding].name);
    else if (x->kind == DO_ROWS) say(t, "rows of v%d\n", x->x[0]);
    else {
      say(t, "%s", x->class->name);
      for (int j = 0; j < x->inputs; j++) {
        const value *v = &p->values[x->x[j]];
        if (v->constant) say(t, " %g", v->number);
        else say(t, " v%d", x->x[j]);
      }
      if (x->activated >= 0)
        say(t, ", v%d = %s of it", x->activated, op_class_of(x->activation)->name);
      if (x->kind == DO_SCAN) say(t, " %lld steps\n", (long long)x->scan->length);
      else say(t, "  %s\n", shape_text(shape, x->node->axes, x->node->shape));
      if (x->body) list_code(p, x->body, depth + 1, t);
    }
  }
}

static void list_program(const orr_program *p, text *t) {
  for (int s = 0; s < p->stage_count; s++) {
    const stage *st = &p->stages[s];
    if (!st->code.count) continue;
    if (s % 2)
      say(t, "rows: %d blocks of %d a tile, %lld numbers a row\n", p->blocks, p->lanes,
          (long long)st->features);
    else say(t, "once:\n");
    list_code(p, &st->code, 0, t);
    if (st->reductions.count) say(t, "sums over rows:\n");
    list_code(p, &st->reductions, 0, t);
  }
}

const char *orr_program_listing(orr_program *p) {
  if (p->listing) return p->listing;
  text t = {0};
  list_program(p, &t);
  t.size = t.used + 1;
  if (!(t.start = engine_new(p->engine, t.size, 1))) return "";
  t.used = 0;
  t.start[0] = 0;
  list_program(p, &t);
  return p->listing = t.start;
}
