/* layout.c - room for values, planned once: tile values share memory when their lives do not
   overlap, and sums line up in one accumulator block. */
#include "program/layout.h"

#include <string.h>

enum {
  SMALL_TILE = 1 << 16,    /* numbers a tile may take: 256 KiB of float32, half a common L2 */
  LARGEST_BLOCK = 1 << 22, /* numbers in one block of lanes; a larger row gets a tile of its own */
  BATCH_BLOCKS = 16, /* in a batch: as few as keep all threads busy, so that it stays in caches */
  LARGEST_BATCH = 1 << 23 /* numbers held for a batch: fewer blocks, where rows have very many */
};

/* ---- how much there is to do ---- */

static double code_work(const code *c) {
  double sum = 0;
  for (int i = 0; i < c->count; i++) sum += instruction_work(&c->list[i]);
  return sum;
}

double instruction_work(const instruction *i) {
  if (i->body) return (double)i->scan->length * code_work(i->body);
  if (!i->node) return (double)(i->width * i->vectors); /* loads and stores are small */
  double count = (double)i->node->count;
  orr_op op = i->node->op;
  if (op == ORR_OP_linear) count *= (double)node_at(i->graph, i->node->in[1])->shape[0] / 8;
  if (op == ORR_OP_row_outer || op == ORR_OP_matmul) count /= 8;
  return count + 8; /* and a call */
}

/* ---- tile values ---- */

static bool in_tile(const value *v, int which) {
  return v->place == PLACE_TILE && v->stage == which;
}

/* The lowest place where `stored` numbers fit between those alive at v's birth. `alive` is sorted
   by offset. */
static int64_t find_gap(const orr_program *p, const int *alive, int count, int64_t stored) {
  int64_t at = 0;
  for (int i = 0; i < count; i++) {
    const value *other = &p->values[alive[i]];
    if (other->offset - at >= stored) return at;
    if (other->offset + other->stored > at) at = other->offset + other->stored;
  }
  return at;
}

static void insert_sorted(const orr_program *p, int *alive, int *count, int v) {
  int i = (*count)++;
  for (; i > 0 && p->values[alive[i - 1]].offset > p->values[v].offset; i--)
    alive[i] = alive[i - 1];
  alive[i] = v;
}

/* Values are numbered in the order of their birth, loads and buffers of loops included. */
static bool place_tile_values(orr_program *p, int which) {
  int *alive = engine_new(p->engine, (size_t)p->value_count + 1, sizeof *alive), count = 0;
  if (!alive) return false;
  stage *st = &p->stages[which];
  for (int i = 0; i < p->value_count; i++) {
    value *v = &p->values[i];
    if (!in_tile(v, which)) continue;
    const value *reuse = v->reuse >= 0 ? &p->values[v->reuse] : NULL;
    bool take_over =
        reuse && in_tile(reuse, which) && reuse->last == v->first && reuse->stored == v->stored;
    int kept = 0;
    for (int j = 0; j < count; j++)
      if (p->values[alive[j]].last >= v->first && !(take_over && alive[j] == v->reuse))
        alive[kept++] = alive[j];
    count = kept;
    v->offset = take_over ? reuse->offset : find_gap(p, alive, count, v->stored);
    insert_sorted(p, alive, &count, i);
    if (v->offset + v->stored > st->features) st->features = v->offset + v->stored;
  }
  engine_free_memory(p->engine, alive);
  return true;
}

static void place_kept_values(orr_program *p) {
  for (int i = 0; i < p->value_count; i++)
    if (p->values[i].place == PLACE_KEPT) {
      p->values[i].offset = p->kept_features;
      p->kept_features += p->values[i].stored;
    }
}

static void place_held_values(orr_program *p, int which) {
  stage *st = &p->stages[which];
  for (int i = 0; i < p->value_count; i++) {
    value *v = &p->values[i];
    if (v->stage != which || (v->place != PLACE_HELD && v->place != PLACE_ROWS)) continue;
    v->offset = st->held_features;
    st->held_features += v->stored;
  }
  if (st->held_features > p->held_features) p->held_features = st->held_features;
}

static bool place_sums(orr_program *p, int which) {
  stage *st = &p->stages[which];
  st->sums = arena_new(&p->memory, (size_t)p->value_count + 1, sizeof *st->sums);
  if (!st->sums) return false;
  for (int i = 0; i < p->value_count; i++) {
    value *v = &p->values[i];
    if (v->place != PLACE_SUM || v->stage != which) continue;
    v->offset = st->sum_numbers;
    st->sum_numbers += (v->stored + 15) / 16 * 16;
    st->sums[st->sum_count++] = i;
  }
  return true;
}

/* Fixed by the program alone, so that sums over rows are cut the same way on every machine. */
static void choose_tile(orr_program *p) {
  int64_t most = 1;
  for (int s = 1; s < p->stage_count; s += 2)
    if (p->stages[s].features > most) most = p->stages[s].features;
  p->lanes = (most + p->held_features) * BLOCK <= LARGEST_BLOCK ? BLOCK : 1;
  int64_t blocks = SMALL_TILE / (most * p->lanes);
  p->blocks = blocks < 1 || p->lanes == 1 ? 1 : blocks > TILE_BLOCKS ? TILE_BLOCKS : (int)blocks;
  int64_t batch = LARGEST_BATCH / (p->held_features * p->lanes + 1);
  p->batch_blocks = batch > BATCH_BLOCKS ? BATCH_BLOCKS
                    : batch < p->blocks  ? p->blocks
                                         : (int)batch;
}

/* ---- groups of instructions on rows ---- */

/* An elementwise kernel may write over its operand, so room is free at the operand's last use. */
void place_in_chunk(orr_program *p, const instruction *i, int *busy_until, int *rooms) {
  value *y = &p->values[i->y];
  int room = 0;
  while (room < *rooms && busy_until[room] > i->position) room++;
  if (room == *rooms) ++*rooms;
  busy_until[room] = y->last > i->position ? y->last : i->position + 1;
  y->place = PLACE_CHUNK;
  y->offset = room;
}

/* Instructions of a group may be at different chunks, so memory must not change hands within it:
   what it reads lives to its end. What lives in it alone needs no room in the tile. */
static int close_group(orr_program *p, instruction *first, int count, int *busy_until) {
  int start = first->position, end = first[count - 1].position, rooms = 0;
  first->grouped = count;
  for (int i = 0; i < count; i++) {
    value *y = &p->values[first[i].y];
    y->reuse = -1;
    for (int j = 0; j < first[i].inputs; j++) {
      value *x = &p->values[first[i].x[j]];
      if (x->first < start && x->last < end) x->last = end;
    }
    if (y->place == PLACE_TILE && y->last <= end && !y->wanted)
      place_in_chunk(p, &first[i], busy_until, &rooms);
    else if (y->last < end) y->last = end;
  }
  return rooms;
}

static void group_rows(orr_program *p, stage *st, code *c, int *busy_until) {
  for (int i = 0; i < c->count; i++) {
    instruction *first = &c->list[i];
    if (first->body) group_rows(p, st, first->body, busy_until);
    int count = 0;
    while (i + count < c->count && first[count].kind == DO_OP && first[count].flat &&
           p->values[first[count].y].stored == p->values[first->y].stored)
      count++;
    if (count < 2) continue;
    int rooms = close_group(p, first, count, busy_until);
    if (rooms > st->chunk_rooms) st->chunk_rooms = rooms;
    i += count - 1;
  }
}

/* ---- members apart ---- */

static bool is_apart(const orr_program *p, const instruction *i) {
  if (i->kind == DO_SCAN || i->class->reduces) return false;
  for (int j = 0; !i->per_member && j < i->inputs; j++) {
    const value *x = &p->values[i->x[j]];
    if (x->level != ORR_UNIFORM || (x->stage >= 0 && x->stage % 2)) return false;
  }
  return true;
}

/* Whether a member's sums, and all that follows from them, are of no use to another member. */
static bool keeps_members_apart(const orr_program *p) {
  bool any = false;
  for (int i = 0; i < p->output_count; i++) /* what is for all comes before the rows are read */
    if (p->outputs[i].in_place && p->outputs[i].level != ORR_MEMBER) return false;
  for (int s = 0; s < p->stage_count; s++) {
    const stage *st = &p->stages[s];
    if (st->sum_count) return false;
    any = any || st->reductions.count > 0;
    for (int i = 0; i < st->reductions.count; i++)
      if (!st->reductions.list[i].per_member) return false;
    for (int i = 0; s % 2 == 0 && i < st->code.count; i++)
      if (!is_apart(p, &st->code.list[i])) return false;
  }
  return any;
}

bool layout_program(orr_program *p) {
  int *busy_until = arena_new(&p->memory, (size_t)p->value_count + 1, sizeof *busy_until);
  if (!busy_until) return false;
  for (int s = 0; s < p->stage_count; s++) {
    if (s % 2) group_rows(p, &p->stages[s], &p->stages[s].code, busy_until);
    if (s % 2) place_held_values(p, s);
    p->stages[s].work = code_work(&p->stages[s].code);
    if (s % 2 ? !place_tile_values(p, s) || !place_sums(p, s) : !order_singles(p, s, busy_until))
      return false;
  }
  place_kept_values(p);
  choose_tile(p);
  p->apart = keeps_members_apart(p);
  return true;
}
