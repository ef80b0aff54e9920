/* sums.c - sums over rows. Those of a stage wait for the end of a batch and are shared out by what
   they add to: a range of a matrix's inputs goes over all rows of the batch at once, so that nobody
   adds to another's numbers and the order is that of the rows. Those inside loops go into
   accumulators, one for each unit of tiles, which are added up in order. */
#include <string.h>

#include "program/execute.h"

enum { SUM_CHUNK = 8192 };

/* ---- at the end of a batch ---- */

typedef struct batch_job {
  orr_run *run;
  const stage *stage;
  int first, last; /* tiles */
} batch_job;

static bool reads_kept(const orr_run *run, const instruction *i) {
  for (int j = 0; j < i->inputs; j++)
    if (run->program->values[i->x[j]].place == PLACE_KEPT) return true;
  return false;
}

/* Tiles first .. last - 1, whose rows follow one another in the batch, all blocks but the last
   being whole; where an operand is kept tile by tile, one tile. */
static void add_tiles(op_call *call, const orr_run *run, const worker *w, const instruction *i,
                      int first, int last) {
  int64_t lanes = run->program->lanes, block = run->tiles[first].block;
  call->rows = 0;
  for (int t = first; t < last; t++) call->rows += run->tiles[t].rows;
  for (int j = 0; j < i->inputs; j++) {
    const value *x = &run->program->values[i->x[j]];
    if (x->place == PLACE_KEPT) {
      call->x[j] = kept_pointer(run, i->x[j], first);
    } else if (x->place == PLACE_HELD) {
      call->x[j] = held_pointer(run, w, i->x[j], (int)block);
    } else {
      int64_t width = i->class->reduces->rows_width(i->graph, i->node, j),
              stride = (int64_t)outer_stride((size_t)width);
      call->x[j] = w->held + (x->offset * run->program->batch_blocks + block * stride) * lanes;
      call->apart = run->program->batch_blocks * lanes * stride;
    }
  }
  i->class->reduces->add(call);
}

/* One part of one sum for group g, or of all groups, over the batch. What is first starts from
   0. */
static void add_part(const batch_job *job, const instruction *i, worker *w, int g, int64_t part) {
  orr_run *run = job->run;
  int64_t size, units = i->class->reduces->units(i->node, &size), first = part * size;
  int64_t count = units - first < size ? units - first : size;
  op_call call = {.node = i->node,
                  .graph = i->graph,
                  .y = single_pointer(run, i->y, g),
                  .by_row = i->by_row,
                  .lanes = run->program->lanes,
                  .kernels = engine_kernels(run->engine),
                  .scratch = w->scratch,
                  .first = first,
                  .count = count};
  int64_t unit = i->node->count / units;
  for (int t = job->first, next; t < job->last; t = next) {
    int own = run->tiles[t].group;
    for (next = t + 1; next < job->last && run->tiles[next].group == own; next++)
      if (reads_kept(run, i)) break;
    if (i->per_member && own != g) continue;
    if (t == 0 || (i->per_member && run->tiles[t - 1].group != g))
      memset(call.y + first * unit, 0, (size_t)(count * unit) * sizeof *call.y);
    add_tiles(&call, run, w, i, t, next);
  }
}

static int64_t parts_of(const instruction *i) {
  int64_t size, units = i->class->reduces->units(i->node, &size);
  return units ? (units + size - 1) / size : 0;
}

static int groups_of(const batch_job *job, const instruction *i) {
  const tile *tiles = job->run->tiles;
  return i->per_member ? tiles[job->last - 1].group - tiles[job->first].group + 1 : 1;
}

static void run_part(void *context, int task, int w) {
  const batch_job *job = context;
  const instruction *i = job->stage->reductions.list;
  for (int64_t tasks; task >= (tasks = parts_of(i) * groups_of(job, i)); i++) task -= (int)tasks;
  int g = i->per_member ? job->run->tiles[job->first].group + task / (int)parts_of(i) : 0;
  add_part(job, i, &job->run->workers[w], g, task % parts_of(i));
}

void clear_reductions(const crew *c, const stage *st) {
  const orr_run *run = c->run;
  for (int i = 0; i < st->reductions.count; i++) {
    const instruction *x = &st->reductions.list[i];
    int first = x->per_member ? c->first : 0, last = x->per_member ? c->last : c->uniform;
    for (int g = first; g < last; g++)
      if (x->per_member ? run->sizes[g] == 0 : run->rows == 0)
        memset(single_pointer(run, x->y, g), 0, (size_t)x->node->count * sizeof(orr_real));
  }
}

void run_reductions(const crew *c, const stage *st, int first, int last) {
  batch_job job = {c->run, st, first, last};
  int64_t tasks = 0, rows = 0;
  double numbers = 0;
  for (int t = first; t < last; t++) rows += c->run->tiles[t].rows;
  for (int i = 0; i < st->reductions.count; i++) {
    tasks += parts_of(&st->reductions.list[i]) * groups_of(&job, &st->reductions.list[i]);
    numbers += instruction_work(&st->reductions.list[i]) * (double)rows;
  }
  run_tasks(c, numbers, (int)tasks, run_part, &job);
}

/* ---- inside loops ---- */

typedef struct sum_job {
  orr_run *run;
  const stage *stage;
} sum_job;

/* The slots' partial sums, added in their order: a fixed tree, whichever thread did what. */
static void add_slots(const orr_run *run, const stage *st, int v, int64_t first, int64_t n) {
  const value *x = &run->program->values[v];
  bool members = x->level == ORR_MEMBER;
  const kernels *k = engine_kernels(run->engine);
  int groups = members ? run->members : 1, t = 0;
  for (int g = 0; g < groups; g++) {
    orr_real *y = run->base[v] + g * x->stored + first;
    memset(y, 0, (size_t)n * sizeof *y);
    for (int last = -1; t < run->tile_count && (!members || run->tiles[t].group == g); t++) {
      if (run->tiles[t].unit == last) continue;
      last = run->tiles[t].unit;
      k->binary[BINARY_add](y, y, run->sums + last * st->sum_numbers + x->offset + first,
                            (size_t)n);
    }
  }
}

static void sum_chunk(void *context, int task, int w) {
  sum_job *job = context;
  const stage *st = job->stage;
  (void)w;
  for (int i = 0; i < st->sum_count; i++) {
    int64_t stored = job->run->program->values[st->sums[i]].stored,
            chunks = (stored + SUM_CHUNK - 1) / SUM_CHUNK;
    if (task >= chunks) {
      task -= (int)chunks;
      continue;
    }
    int64_t first = (int64_t)task * SUM_CHUNK;
    add_slots(job->run, st, st->sums[i], first,
              stored - first < SUM_CHUNK ? stored - first : SUM_CHUNK);
    return;
  }
}

void run_sums(orr_run *run, const stage *st) {
  int chunks = 0;
  for (int i = 0; i < st->sum_count; i++)
    chunks += (int)((run->program->values[st->sums[i]].stored + SUM_CHUNK - 1) / SUM_CHUNK);
  sum_job sums = {run, st};
  pool_run(run->engine, chunks, sum_chunk, &sums);
}
