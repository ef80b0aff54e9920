/* phases.c - the order of instructions on single values. A stage falls into phases: first small
   instructions one after another, then groups that the threads share out. A group is a run of
   elementwise instructions over values of one size, done chunk by chunk, with sums over such values
   at its end; or one instruction that is done member by member. Groups of a phase do not depend on
   one another. */
#include <stdlib.h>

#include "program/layout.h"

enum {
  SHARED = 64 /* numbers in a value from which on threads share its instructions out */
};

typedef enum work { SMALL, CHUNKED, SUMMED, WHOLE } work;

typedef struct entry {
  work work;
  int phase, group, index; /* group: index of the first instruction in it */
} entry;

typedef struct order {
  orr_program *program;
  stage *stage;
  entry *entries;
  int *maker; /* of each value: instruction in this stage, or -1 */
  int *busy_until;
} order;

/* ---- what an instruction is ---- */

static bool same_size(const value *a, const value *b) {
  return a->stored == b->stored && a->level == b->level;
}

static bool in_chunks(const orr_program *p, const instruction *i) {
  orr_op op = i->node->op;
  if (!op_is_unary(op) && !op_is_binary(op) && op != ORR_OP_select) return false;
  const value *y = &p->values[i->y];
  for (int j = 0; j < i->inputs; j++) {
    const value *x = &p->values[i->x[j]];
    bool number = x->stored == 1 && (x->level == ORR_UNIFORM || x->level == y->level);
    if (!number && !same_size(x, y)) return false;
    if (number && op == ORR_OP_select && j > 0) return false;
  }
  return !op_is_binary(op) || i->plan.axes == 1;
}

static bool sums_all(const orr_program *p, const instruction *i) {
  return i->node->op == ORR_OP_sum && i->node->count == 1 &&
         p->values[i->x[0]].level == p->values[i->y].level;
}

static work work_of(const orr_program *p, const instruction *i) {
  if (i->kind != DO_OP || i->class->reduces || i->inputs == 0) return SMALL;
  int64_t most = p->values[i->y].stored;
  for (int j = 0; j < i->inputs; j++)
    if (p->values[i->x[j]].stored > most) most = p->values[i->x[j]].stored;
  if (most < SHARED) return SMALL;
  if (in_chunks(p, i)) return CHUNKED;
  return sums_all(p, i) ? SUMMED : WHOLE;
}

/* ---- when it can be done ---- */

/* Whether instruction i can be done on a chunk right after instruction j. */
static bool follows(const order *o, int i, int j) {
  const instruction *a = &o->stage->code.list[j], *b = &o->stage->code.list[i];
  const value *x = &o->program->values[a->y];
  const value *y = &o->program->values[o->entries[i].work == SUMMED ? b->x[0] : b->y];
  return o->entries[j].work == CHUNKED && a->settled == b->settled && same_size(x, y) &&
         (o->entries[i].work == CHUNKED || o->entries[i].work == SUMMED);
}

static void join(order *o, int count, int from, int to) {
  if (from == to) return;
  int low = from < to ? from : to;
  for (int i = 0; i < count; i++)
    if (o->entries[i].group == from || o->entries[i].group == to) o->entries[i].group = low;
}

static void enter(order *o, int i) {
  const instruction *x = &o->stage->code.list[i];
  entry *e = &o->entries[i];
  *e = (entry){work_of(o->program, x), 0, i, i};
  for (int j = 0; j < x->inputs; j++) {
    int before = o->maker[x->x[j]];
    if (before < 0) continue;
    const entry *b = &o->entries[before];
    int ready = b->phase + (b->work != SMALL && !follows(o, i, before));
    if (ready > e->phase) e->phase = ready;
  }
  for (int j = 0; j < x->inputs; j++) {
    int before = o->maker[x->x[j]];
    if (before >= 0 && follows(o, i, before) && o->entries[before].phase == e->phase)
      join(o, i + 1, e->group, o->entries[before].group);
  }
}

static int compare(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->phase != y->phase) return x->phase - y->phase;
  if ((x->work == SMALL) != (y->work == SMALL)) return x->work == SMALL ? -1 : 1;
  if (x->work != SMALL && x->group != y->group) return x->group - y->group;
  return x->index - y->index;
}

static bool at_one_of(const int *positions, int count, int position) {
  for (int i = 0; i < count; i++)
    if (positions[i] == position) return true;
  return false;
}

/* Values that are last used in this stage may now be used last by another instruction. */
static void renumber(order *o, const int *positions) {
  orr_program *p = o->program;
  const code *c = &o->stage->code;
  for (int v = 0; v < p->value_count; v++)
    if (at_one_of(positions, c->count, p->values[v].last)) p->values[v].last = positions[0];
  for (int i = 0; i < c->count; i++) {
    instruction *x = &c->list[i];
    x->position = positions[i];
    if (p->values[x->y].last < x->position) p->values[x->y].last = x->position;
    for (int j = 0; j < x->inputs; j++)
      if (p->values[x->x[j]].last < x->position) p->values[x->x[j]].last = x->position;
  }
}

static bool sort_instructions(order *o) {
  code *c = &o->stage->code;
  instruction *sorted = arena_new(&o->program->memory, (size_t)c->count, sizeof *sorted);
  int *positions = arena_new(&o->program->memory, (size_t)c->count, sizeof *positions);
  if (!sorted || !positions) return false;
  for (int i = 0; i < c->count; i++) {
    positions[i] = c->list[i].position; /* ascending */
    enter(o, i);
    o->maker[c->list[i].y] = i;
  }
  qsort(o->entries, (size_t)c->count, sizeof *o->entries, compare);
  for (int i = 0; i < c->count; i++) sorted[i] = c->list[o->entries[i].index];
  c->list = sorted;
  renumber(o, positions);
  return true;
}

/* Loops have values of their own that live by position: their stage keeps its order, an instruction
   a phase. */
static void keep_order(order *o) {
  for (int i = 0; i < o->stage->code.count; i++)
    o->entries[i] = (entry){work_of(o->program, &o->stage->code.list[i]), i, i, i};
}

/* ---- groups and phases ---- */

static void add_group(order *o, int first, int last, int64_t *partials) {
  orr_program *p = o->program;
  stage *st = o->stage;
  const instruction *list = st->code.list;
  bool chunked = o->entries[first].work != WHOLE;
  const value *size =
      &p->values[o->entries[first].work == SUMMED ? list[first].x[0] : list[first].y];
  group *g = &st->groups[st->group_count++];
  *g = (group){.first = first,
               .last = last,
               .count = chunked ? size->stored : 0,
               .per_member = list[first].per_member,
               .partials = *partials};
  int rooms = 0;
  for (int i = first; chunked && i < last; i++) {
    value *v = &p->values[list[i].y];
    if (o->entries[i].work == SUMMED) {
      g->sums++;
    } else if (!v->wanted && v->last <= list[last - 1].position) {
      place_in_chunk(p, &list[i], o->busy_until, &rooms);
    }
  }
  *partials += g->sums * group_chunks(g);
  if (rooms > st->chunk_rooms) st->chunk_rooms = rooms;
}

static void make_phases(order *o) {
  stage *st = o->stage;
  const entry *e = o->entries;
  for (int i = 0; i < st->code.count;) {
    phase *made = &st->phases[st->phase_count++];
    int64_t partials = 0;
    int which = e[i].phase;
    *made = (phase){.first = i, .first_group = st->group_count};
    while (i < st->code.count && e[i].phase == which && e[i].work == SMALL) i++;
    made->small_end = i;
    while (i < st->code.count && e[i].phase == which) {
      int first = i;
      while (i < st->code.count && e[i].phase == which && e[i].group == e[first].group) i++;
      add_group(o, first, i, &partials);
    }
    made->last_group = st->group_count;
    if (partials > o->program->partials) o->program->partials = partials;
  }
}

static bool has_loop(const code *c) {
  for (int i = 0; i < c->count; i++)
    if (c->list[i].kind == DO_SCAN) return true;
  return false;
}

/* ---- updates in place ---- */

static bool overlap(const orr_tensor *a, const orr_tensor *b) {
  const char *p = orr_tensor_data((orr_tensor *)a), *q = orr_tensor_data((orr_tensor *)b);
  size_t m = (size_t)orr_tensor_count(a) * sizeof(orr_real),
         n = (size_t)orr_tensor_count(b) * sizeof(orr_real);
  return p < q + n && q < p + m;
}

/* Nothing reads the old value once the new one is being written, but chunk by chunk before it. */
static bool old_is_done(const order *o, int target, const group *writer, const instruction *made) {
  const orr_program *p = o->program;
  const binding *b = &p->inputs[target];
  for (int i = 0; i < p->input_count; i++)
    if (i != target && p->inputs[i].tensor && overlap(p->inputs[i].tensor, b->tensor)) return false;
  if (b->value < 0) return true;
  const stage *st = o->stage;
  if (p->values[b->value].last > made->position) return false;
  int start = 0; /* of the writer's phase */
  for (int i = 0; i < st->phase_count; i++)
    if (st->groups + st->phases[i].first_group <= writer) start = st->phases[i].small_end;
  for (int i = start; i < st->code.count; i++)
    for (int j = 0; j < st->code.list[i].inputs; j++)
      if (st->code.list[i].x[j] == b->value && (i < writer->first || i >= writer->last))
        return false;
  return true;
}

static const group *group_making(const order *o, int v, const instruction **made) {
  for (int g = 0; g < o->stage->group_count; g++)
    for (int i = o->stage->groups[g].first; i < o->stage->groups[g].last; i++)
      if (o->stage->code.list[i].y == v && o->entries[i].work == CHUNKED) {
        *made = &o->stage->code.list[i];
        return &o->stage->groups[g];
      }
  return NULL;
}

/* New values of parameters are written where the old ones lie, where that cannot be noticed. */
static void update_in_place(order *o) {
  orr_program *p = o->program;
  for (int i = p->named_outputs; i < p->output_count; i++) {
    binding *output = &p->outputs[i];
    const binding *target = &p->inputs[p->updated[i]];
    value *v = &p->values[output->value];
    const instruction *made = NULL;
    const group *writer = group_making(o, output->value, &made);
    int users = 0;
    for (int j = 0; j < p->output_count; j++)
      users += p->outputs[j].level != ORR_ROW && p->outputs[j].value == output->value;
    if (!writer || made->settled || users > 1 || v->place != PLACE_SINGLE ||
        v->level != target->level || v->stored != target->count || !target->tensor ||
        !old_is_done(o, p->updated[i], writer, made))
      continue;
    v->place = PLACE_TENSOR;
    v->binding = p->updated[i];
    output->in_place = true;
  }
}

bool order_singles(orr_program *p, int which, int *busy_until) {
  stage *st = &p->stages[which];
  arena *memory = &p->memory;
  size_t count = (size_t)st->code.count;
  if (!count) return true;
  st->groups = arena_new(memory, count, sizeof *st->groups);
  st->phases = arena_new(memory, count, sizeof *st->phases);
  order o = {p, st, engine_new_zeroed(p->engine, count, sizeof *o.entries),
             engine_new(p->engine, (size_t)p->value_count + 1, sizeof *o.maker), busy_until};
  bool ok = st->groups && st->phases && o.entries && o.maker;
  for (int v = 0; ok && v < p->value_count; v++) o.maker[v] = -1;
  bool loops = has_loop(&st->code), last = true;
  for (int s = which + 1; s < p->stage_count; s++)
    last = last && !p->stages[s].code.count && !p->stages[s].reductions.count;
  if (ok && loops) keep_order(&o);
  else ok = ok && sort_instructions(&o);
  if (ok) make_phases(&o);
  if (ok && last && !loops) update_in_place(&o);
  engine_free_memory(p->engine, o.entries);
  engine_free_memory(p->engine, o.maker);
  return ok;
}
