/* workspace.c - the memory of a run, laid out for the rows it was given: single values, tiles and
   batches of them, what workers need, outputs. Memory only grows, and is made for as many rows as
   there are or fewer: populations of planners shrink and grow again without an allocation. */
#include <string.h>

#include "program/execute.h"

enum {
  TILES = 16, /* at least, where there are so many blocks: threads share tiles out */
  SLOTS = 8,  /* sums inside loops go through so many ordered slots, shared out over the groups */
  LARGEST_STEP = 1 << 16 /* rows: more are not done member by member, which Ctrl-C would wait for */
};

void run_free_workers(orr_run *run) {
  for (int i = 0; i < run->worker_count; i++) {
    engine_free_memory(run->engine, run->workers[i].pointer);
    engine_free_memory(run->engine, run->workers[i].tile);
    engine_free_memory(run->engine, run->workers[i].scratch);
    engine_free_memory(run->engine, run->workers[i].chunk);
    engine_free_memory(run->engine, run->workers[i].own);
  }
  engine_free_memory(run->engine, run->workers);
  run->workers = NULL;
  run->worker_count = 0;
}

static int64_t pad(int64_t n) { return (n + 15) / 16 * 16; }

/* Does not depend on the rows, and what follows from parameters alone stays. */
static bool layout_singles(orr_run *run) {
  if (run->singles && run->singles_members == run->members) return true;
  const orr_program *p = run->program;
  int64_t total = 0;
  for (int i = 0; i < p->value_count; i++) {
    const value *v = &p->values[i];
    if (v->place != PLACE_SINGLE && v->place != PLACE_SUM) continue;
    run->single_at[i] = total;
    total += pad(v->stored * (v->level == ORR_MEMBER ? run->members : 1));
  }
  engine_free_memory(run->engine, run->singles);
  run->singles = engine_new_zeroed(run->engine, (size_t)total + 1, sizeof *run->singles);
  if (!run->singles) return false;
  run->singles_members = run->members;
  run->settled = false;
  for (int i = 0; i < p->value_count; i++) {
    const value *v = &p->values[i];
    if (v->place == PLACE_SINGLE || v->place == PLACE_SUM)
      run->base[i] = run->singles + run->single_at[i];
    if (v->constant) *run->base[i] = (orr_real)v->number;
  }
  return true;
}

/* By the rows alone, not by the threads: sums inside loops depend on it. */
static int blocks_in_a_tile(const orr_run *run) {
  int64_t lanes = run->program->lanes, blocks = (run->rows + lanes - 1) / lanes / TILES;
  return blocks < 1 ? 1 : blocks > run->program->blocks ? run->program->blocks : (int)blocks;
}

static int slots_of_a_group(const orr_run *run) {
  return (SLOTS + run->members - 1) / run->members;
}

/* Tiles never straddle groups; a batch is as many as fit into its blocks; slots cut each group's
   tiles into equal stretches. */
static bool layout_tiles(orr_run *run) {
  run->blocks = blocks_in_a_tile(run);
  int64_t tile_rows = (int64_t)run->program->lanes * run->blocks, count = 0;
  for (int g = 0; g < run->members; g++) count += (run->sizes[g] + tile_rows - 1) / tile_rows;
  /* fewer rows in tiles of fewer blocks may be more tiles: below 2 TILES, and a last one a group */
  int64_t most = (int64_t)2 * TILES + run->members;
  if (!engine_make_room(run->engine, (void **)&run->tiles, (size_t)(count > most ? count : most),
                        sizeof *run->tiles))
    return false;
  int slots = slots_of_a_group(run), n = 0, units = 0, batch = 0, block = 0;
  int64_t start = 0;
  for (int g = 0; g < run->members; g++) {
    int64_t tiles = (run->sizes[g] + tile_rows - 1) / tile_rows, in_group = 0;
    int used = tiles < slots ? (int)tiles : slots;
    for (int64_t done = 0; done < run->sizes[g]; done += tile_rows, in_group++) {
      int64_t left = run->sizes[g] - done;
      int slot = (int)(in_group * used / tiles);
      int rows = (int)(left < tile_rows ? left : tile_rows), lanes = run->program->lanes;
      int blocks = (rows + lanes - 1) / lanes;
      bool other = run->program->apart && done == 0 && block > 0;
      if (other || block + blocks > run->program->batch_blocks) block = 0, batch++;
      run->tiles[n++] = (tile){g, units + slot, start + done, rows, batch, block};
      block += blocks;
    }
    units += used;
    start += run->sizes[g];
  }
  run->tile_count = n;
  run->unit_count = units;
  return true;
}

/* For all layouts of these rows or fewer, not just the one in force: tiles of fewer blocks leave less
   of a group's last tile empty, but there are more slots. */
static bool layout_storage(orr_run *run) {
  const orr_program *p = run->program;
  int64_t sums = 0, blocks = 0, units = 0, slots = slots_of_a_group(run);
  for (int g = 0; g < run->members; g++) {
    int64_t in_group = (run->sizes[g] + p->lanes - 1) / p->lanes;
    blocks += in_group + (in_group ? run->blocks - 1 : 0);
    units += in_group < slots ? in_group : slots;
  }
  for (int s = 1; s < p->stage_count; s += 2)
    if (p->stages[s].sum_numbers > sums) sums = p->stages[s].sum_numbers;
  const struct {
    orr_real **memory;
    int64_t numbers;
  } rooms[] = {{&run->sums, sums * units},
               {&run->kept, p->kept_features * p->lanes * blocks},
               {&run->partials, p->partials * run->members}};
  for (size_t i = 0; i < COUNT(rooms); i++)
    if (!engine_make_room(run->engine, (void **)rooms[i].memory, (size_t)rooms[i].numbers + 1,
                          sizeof(orr_real)))
      return false;
  return true;
}

static bool layout_workers(orr_run *run) {
  const orr_program *p = run->program;
  int threads = orr_engine_threads(run->engine);
  if (run->worker_count == threads) return true;
  run_free_workers(run);
  run->workers = engine_new_zeroed(run->engine, (size_t)threads, sizeof *run->workers);
  if (!run->workers) return false;
  int64_t features = 0, rooms = 0;
  for (int s = 0; s < p->stage_count; s++) {
    if (p->stages[s].features > features) features = p->stages[s].features;
    if (p->stages[s].chunk_rooms > rooms) rooms = p->stages[s].chunk_rooms;
  }
  for (run->worker_count = 0; run->worker_count < threads;) {
    worker *w = &run->workers[run->worker_count++];
    w->pointer = engine_new_zeroed(run->engine, (size_t)p->value_count + 1, sizeof *w->pointer);
    w->tile = engine_new_zeroed(run->engine, (size_t)(features * p->lanes * p->blocks) + 1,
                                sizeof *w->tile);
    w->scratch = engine_new(run->engine, (size_t)p->scratch_numbers + 1, sizeof *w->scratch);
    w->chunk = engine_new(run->engine, (size_t)rooms * CHUNK + 1, sizeof *w->chunk);
    size_t held = run->worker_count == 1 || p->apart
                      ? (size_t)(p->held_features * p->lanes * p->batch_blocks)
                      : 0;
    w->own = engine_new(run->engine, held + 1, sizeof *w->own);
    if (!w->pointer || !w->tile || !w->scratch || !w->chunk || !w->own) {
      run_free_workers(run);
      return false;
    }
  }
  return true;
}

/* In the tensors there are, or in others where those are too small or somebody holds them. */
static bool layout_outputs(orr_run *run) {
  const orr_program *p = run->program;
  for (int i = 0; i < p->named_outputs; i++) {
    const binding *b = &p->outputs[i];
    int64_t shape[ORR_AXES + 1] = {b->level == ORR_ROW ? run->rows : run->members};
    int lead = b->level != ORR_UNIFORM;
    memcpy(shape + lead, b->shape, (size_t)b->axes * sizeof *shape);
    orr_tensor **output = &run->outputs[i];
    if (*output &&
        shape_equal(orr_tensor_axes(*output), orr_tensor_shape(*output), b->axes + lead, shape))
      continue;
    if (*output && atomic_load(&(*output)->references) > 1) {
      orr_tensor_free(*output);
      *output = NULL;
    }
    if (!tensor_make_room(run->engine, output, ORR_REAL, b->axes + lead, shape)) return false;
  }
  return true;
}

bool run_lay_out(orr_run *run) {
  if (!layout_workers(run)) return false;
  if (run->laid_out) return true;
  run->apart = run->program->apart && run->rows <= LARGEST_STEP;
  return run->laid_out =
             layout_singles(run) && layout_tiles(run) && layout_storage(run) && layout_outputs(run);
}
