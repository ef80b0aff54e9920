/* run.c - running a program: bindings, and the stages one after another. An odd stage hands tiles (or,
   where sums are taken inside loops, a slot's tiles) to the threads; each takes its tiles through all
   instructions. workspace.c has the memory, execute.c does the instructions. */
#include <string.h>

#include "program/execute.h"

orr_run *orr_run_new(orr_program *program) {
  orr_engine *engine = program->engine;
  orr_run *run = engine_new_zeroed(engine, 1, sizeof *run);
  if (!run) return NULL;
  run->engine = engine;
  run->program = orr_program_retain(program);
  run->bound = engine_new_zeroed(engine, (size_t)program->input_count + 1, sizeof *run->bound);
  run->outputs = engine_new_zeroed(engine, (size_t)program->output_count + 1, sizeof *run->outputs);
  run->single_at =
      engine_new_zeroed(engine, (size_t)program->value_count + 1, sizeof *run->single_at);
  run->base = engine_new_zeroed(engine, (size_t)program->value_count + 1, sizeof *run->base);
  if (!run->bound || !run->outputs || !run->single_at || !run->base) {
    orr_run_free(run);
    return NULL;
  }
  for (int i = 0; i < program->input_count; i++)
    run->bound[i].tensor = orr_tensor_retain(program->inputs[i].tensor);
  return run;
}

void orr_run_free(orr_run *run) {
  if (!run) return;
  orr_engine *engine = run->engine;
  for (int i = 0; run->bound && i < run->program->input_count; i++) {
    orr_tensor_free(run->bound[i].tensor);
    orr_tensor_free(run->bound[i].index);
  }
  for (int i = 0; run->outputs && i < run->program->output_count; i++)
    orr_tensor_free(run->outputs[i]);
  run_free_workers(run);
  void *owned[] = {run->bound, run->outputs, run->single_at, run->base,  run->singles, run->sums,
                   run->kept,  run->sizes,   run->entries,   run->tiles, run->partials};
  for (size_t i = 0; i < COUNT(owned); i++) engine_free_memory(engine, owned[i]);
  orr_program_free(run->program);
  engine_free_memory(engine, run);
}

/* ---- bindings ---- */

static orr_status check_tensor(orr_run *run, const binding *b, orr_tensor *tensor,
                               orr_tensor *index) {
  int lead = b->level != ORR_UNIFORM, axes = orr_tensor_axes(tensor);
  const int64_t *shape = orr_tensor_shape(tensor);
  char want[SHAPE_TEXT], got[SHAPE_TEXT];
  if (axes != b->axes + lead || !shape_equal(b->axes, b->shape, axes - lead, shape + lead))
    return engine_fail(run->engine, ORR_SHAPE, "input '%s' wants %s%s, got shape %s", b->name,
                       lead ? b->level == ORR_ROW ? "rows of " : "members of " : "",
                       shape_text(want, b->axes, b->shape), shape_text(got, axes, shape));
  if (!orr_tensor_is_contiguous(tensor))
    return engine_fail(run->engine, ORR_SHAPE, "input '%s' is a view with gaps; copy it first",
                       b->name);
  if (orr_tensor_dtype(tensor) != ORR_REAL && b->level != ORR_ROW)
    return engine_fail(run->engine, ORR_ARGUMENT,
                       "input '%s' must hold real numbers; convert it first", b->name);
  if (index && (b->level != ORR_ROW || orr_tensor_dtype(index) != ORR_INT ||
                orr_tensor_axes(index) != 1 || !orr_tensor_is_contiguous(index)))
    return engine_fail(run->engine, ORR_ARGUMENT,
                       "input '%s': an index is an int32 list, for inputs by row", b->name);
  return ORR_OK;
}

orr_status orr_run_input(orr_run *run, const char *name, orr_tensor *tensor, orr_tensor *index) {
  const orr_program *p = run->program;
  if (!tensor) return engine_fail(run->engine, ORR_ARGUMENT, "input '%s': no tensor given", name);
  for (int i = 0; i < p->named_inputs; i++) {
    if (strcmp(p->inputs[i].name, name) != 0) continue;
    orr_status status = check_tensor(run, &p->inputs[i], tensor, index);
    if (status) return status;
    orr_tensor *old = run->bound[i].tensor, *old_index = run->bound[i].index;
    run->bound[i].tensor = orr_tensor_retain(tensor);
    run->bound[i].index = index ? orr_tensor_retain(index) : NULL;
    orr_tensor_free(old);
    orr_tensor_free(old_index);
    return ORR_OK;
  }
  const char *names[64];
  int count = 0;
  for (int i = 0; i < p->named_inputs && count < 64; i++) names[count++] = p->inputs[i].name;
  const char *near = nearest_name(name, names, count);
  return engine_fail(run->engine, ORR_FIELD,
                     near ? "no input '%s'; did you mean '%s'?" : "no input '%s'", name, near);
}

void orr_run_release(orr_run *run, const char *name) {
  const orr_program *p = run->program;
  for (int i = 0; i < p->named_inputs; i++) {
    if (strcmp(p->inputs[i].name, name) != 0) continue;
    orr_tensor_free(run->bound[i].tensor);
    orr_tensor_free(run->bound[i].index);
    run->bound[i].tensor = run->bound[i].index = NULL;
  }
}

orr_status orr_run_groups(orr_run *run, int members, const int64_t *sizes) {
  int64_t rows = 0;
  if (members < 1)
    return engine_fail(run->engine, ORR_ARGUMENT, "members must be at least 1, got %d", members);
  for (int i = 0; i < members; i++) {
    if (sizes[i] < 0 || sizes[i] > INT32_MAX - rows)
      return engine_fail(run->engine, ORR_ARGUMENT, "group %d has %lld rows", i,
                         (long long)sizes[i]);
    rows += sizes[i];
  }
  bool same = run->sizes && members == run->members &&
              memcmp(run->sizes, sizes, (size_t)members * sizeof *sizes) == 0;
  if (same) return ORR_OK;
  if (members != run->members) {
    int64_t *copy = engine_new(run->engine, (size_t)members, sizeof *copy);
    if (!copy) return ORR_MEMORY;
    engine_free_memory(run->engine, run->sizes);
    engine_free_memory(run->engine, run->entries);
    run->entries = NULL;
    run->sizes = copy;
    run->members = members;
    run->settled = false;
  }
  memcpy(run->sizes, sizes, (size_t)members * sizeof *sizes);
  run->rows = rows;
  run->laid_out = false;
  return ORR_OK;
}

orr_status orr_run_rows(orr_run *run, int64_t rows, int members) {
  if (members < 1 || rows < 0 || rows % members)
    return engine_fail(run->engine, ORR_ARGUMENT, "%lld rows cannot be cut into %d equal groups",
                       (long long)rows, members);
  if (run->sizes && run->members == members && run->rows == rows) {
    bool equal = true;
    for (int i = 0; i < members; i++) equal = equal && run->sizes[i] == rows / members;
    if (equal) return ORR_OK;
  }
  int64_t few[16], *sizes = few;
  if (members > (int)COUNT(few) &&
      !(sizes = engine_new(run->engine, (size_t)members, sizeof *sizes)))
    return ORR_MEMORY;
  for (int i = 0; i < members; i++) sizes[i] = rows / members;
  orr_status status = orr_run_groups(run, members, sizes);
  if (sizes != few) engine_free_memory(run->engine, sizes);
  return status;
}

orr_status orr_run_members(orr_run *run, const int *entries) {
  if (!run->sizes) return engine_fail(run->engine, ORR_STATE, "members are chosen after the rows");
  if (!entries && !run->entries) return ORR_OK;
  if (entries && run->entries &&
      memcmp(run->entries, entries, (size_t)run->members * sizeof *entries) == 0)
    return ORR_OK;
  int *copy = NULL;
  if (entries) {
    if (!(copy = engine_new(run->engine, (size_t)run->members, sizeof *copy))) return ORR_MEMORY;
    memcpy(copy, entries, (size_t)run->members * sizeof *copy);
  }
  engine_free_memory(run->engine, run->entries);
  run->entries = copy;
  run->settled = false;
  return ORR_OK;
}

void orr_run_until(orr_run *run, double deadline) { run->deadline = deadline; }

void orr_run_seed(orr_run *run, uint64_t seed, uint32_t iteration) {
  run->key = mix_bits(seed);
  run->iteration = iteration;
}

orr_tensor *orr_run_output(orr_run *run, const char *name) {
  for (int i = 0; i < run->program->named_outputs; i++)
    if (run->outputs[i] && strcmp(run->program->outputs[i].name, name) == 0) return run->outputs[i];
  engine_fail(run->engine, ORR_FIELD, "no output '%s'", name);
  return NULL;
}

/* ---- checks before the first instruction ---- */

static orr_status check_rows(orr_run *run, int i) {
  const binding *b = &run->program->inputs[i];
  orr_tensor *tensor = run->bound[i].tensor, *index = run->bound[i].index;
  int64_t have = orr_tensor_shape(tensor)[0], given = index ? orr_tensor_count(index) : have;
  if (given != run->rows)
    return engine_fail(run->engine, ORR_SHAPE, "input '%s' has %lld rows, the run %lld", b->name,
                       (long long)given, (long long)run->rows);
  const int32_t *at = index ? orr_tensor_data(index) : NULL;
  for (int64_t r = 0; at && r < run->rows; r++)
    if (at[r] < 0 || at[r] >= have)
      return engine_fail(run->engine, ORR_ARGUMENT,
                         "input '%s': of its %lld indices, the one in place %lld names none of the "
                         "%lld rows there are",
                         b->name, (long long)given, (long long)r + 1, (long long)have);
  return ORR_OK;
}

static orr_status check_members(orr_run *run, int i) {
  const binding *b = &run->program->inputs[i];
  int64_t have = orr_tensor_shape(run->bound[i].tensor)[0];
  if (!run->entries && have != run->members)
    return engine_fail(run->engine, ORR_SHAPE, "%s%s has %lld members, the run %d groups of rows",
                       b->name ? "input " : "a parameter", b->name ? b->name : "", (long long)have,
                       run->members);
  for (int g = 0; run->entries && g < run->members; g++)
    if (run->entries[g] < 0 || run->entries[g] >= have)
      return engine_fail(run->engine, ORR_ARGUMENT, "group %d uses member %d of %lld", g,
                         run->entries[g], (long long)have);
  return ORR_OK;
}

/* Bound memory may have moved or changed since the last time. */
static orr_status refresh_bindings(orr_run *run) {
  const orr_program *p = run->program;
  for (int i = 0; i < p->input_count; i++) {
    const binding *b = &p->inputs[i];
    bound *at = &run->bound[i];
    if (!at->tensor && b->used)
      return engine_fail(run->engine, ORR_STATE, "input '%s' is not bound", b->name);
    if (!at->tensor) continue;
    orr_status status = b->level == ORR_ROW      ? check_rows(run, i)
                        : b->level == ORR_MEMBER ? check_members(run, i)
                                                 : ORR_OK;
    if (status) return status;
    if (b->value >= 0) run->base[b->value] = orr_tensor_data(at->tensor);
    if (b->name) continue;
    uint64_t version = orr_tensor_version(at->tensor);
    run->settled = run->settled && version == at->version;
    at->version = version;
  }
  for (int i = p->named_outputs; i < p->output_count; i++)
    if (p->outputs[i].in_place)
      run->base[p->outputs[i].value] = orr_tensor_data(run->bound[p->updated[i]].tensor);
  return ORR_OK;
}

/* ---- stages ---- */

bool run_is_over(orr_run *run) {
  if (run->apart) return false;
  if (atomic_load(&run->over)) return true;
  if (orr_interrupted(run->engine)) atomic_store(&run->over, ORR_INTERRUPTED);
  else if (run->deadline > 0 && orr_clock() > run->deadline) atomic_store(&run->over, ORR_LATE);
  return atomic_load(&run->over);
}

typedef struct row_job {
  const crew *crew;
  const stage *stage;
  int first; /* tile of the batch */
} row_job;

static int first_tile(const orr_run *run, int unit) {
  int low = 0, high = run->tile_count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (run->tiles[middle].unit < unit) low = middle + 1;
    else high = middle;
  }
  return low;
}

static void run_unit(void *context, int task, int w) {
  row_job *job = context;
  orr_run *run = job->crew->run;
  bool sums = job->stage->sum_count > 0;
  int i = sums ? first_tile(run, task) : job->first + task;
  worker *me = &run->workers[w];
  if (run_is_over(run)) return;
  enter_unit(run, job->stage, me, &run->tiles[i], task);
  do execute_tile(run, job->stage, me, i++);
  while (sums && i < run->tile_count && run->tiles[i].unit == task);
}

static void enter_stage(const crew *c) {
  orr_run *run = c->run;
  int first = c->worker < 0 ? 0 : c->worker, last = c->worker < 0 ? run->worker_count : first + 1;
  for (int w = first; w < last; w++) {
    run->workers[w].held = run->workers[first].own;
    memcpy(run->workers[w].pointer, run->base,
           (size_t)run->program->value_count * sizeof *run->base);
  }
}

static void run_batches(const crew *c, const stage *st) {
  orr_run *run = c->run;
  row_job job = {c, st, 0};
  clear_reductions(c, st);
  while (job.first < run->tile_count && run->tiles[job.first].group < c->first) job.first++;
  for (int last; job.first < run->tile_count && run->tiles[job.first].group < c->last;
       job.first = last) {
    int64_t rows = 0;
    for (last = job.first; last < run->tile_count; rows += run->tiles[last++].rows)
      if (run->tiles[last].batch != run->tiles[job.first].batch) break;
    if (run_is_over(run)) return;
    run_tasks(c, st->work * (double)rows, last - job.first, run_unit, &job);
    run_reductions(c, st, job.first, last);
  }
}

static void run_row_stage(const crew *c, const stage *st) {
  orr_run *run = c->run;
  if (!st->code.count && !st->reductions.count) return;
  enter_stage(c);
  if (st->reductions.count || run->apart) {
    run_batches(c, st);
    return;
  }
  row_job job = {c, st, 0};
  run_tasks(c, st->work * (double)run->rows, st->sum_count ? run->unit_count : run->tile_count,
            run_unit, &job);
  run_sums(run, st);
}

static void copy_results(orr_run *run) {
  const orr_program *p = run->program;
  for (int i = 0; i < p->output_count; i++) {
    const binding *b = &p->outputs[i];
    if (b->level == ORR_ROW) continue;
    bool update = i >= p->named_outputs;
    orr_tensor *to = update ? run->bound[p->updated[i]].tensor : run->outputs[i];
    for (int m = 0; !b->in_place && m < (b->level == ORR_MEMBER ? run->members : 1); m++) {
      int entry = update && run->entries && b->level == ORR_MEMBER ? run->entries[m] : m;
      memmove((orr_real *)orr_tensor_data(to) + entry * b->count, single_pointer(run, b->value, m),
              (size_t)b->count * sizeof(orr_real));
    }
    orr_tensor_touch(to);
  }
}

/* Two groups with one member would both write it; and who plans meanwhile would read what is half done. */
static orr_status check_updates(orr_run *run) {
  const orr_program *p = run->program;
  if (p->output_count > p->named_outputs && atomic_load(&run->engine->planning))
    return engine_fail(
        run->engine, ORR_BUSY,
        "an mpc plans in the background, and may read what this would change: pause it "
        "first, as in mpc:pause()");
  bool any = false;
  for (int i = p->named_outputs; i < p->output_count; i++)
    any = any || p->outputs[i].level == ORR_MEMBER;
  for (int g = 0; any && run->entries && g < run->members; g++)
    for (int h = 0; h < g; h++)
      if (run->entries[h] == run->entries[g])
        return engine_fail(run->engine, ORR_ARGUMENT, "groups %d and %d both update member %d", h,
                           g, run->entries[g]);
  return ORR_OK;
}

/* Stops only after rows, which stop halfway when it is over; what follows from their sums is made
   whole, in place or not. */
static void run_for(const crew *c) {
  const orr_program *p = c->run->program;
  for (int s = 0; s < p->stage_count; s++) {
    if (s % 2) run_row_stage(c, &p->stages[s]);
    else run_singles(c, &p->stages[s]);
    if (s % 2 && run_is_over(c->run)) return;
  }
}

static void run_alone(void *context, int member, int w) {
  run_for(&(crew){context, member, member + 1, false, w});
}

/* Where members have nothing to do with each other, a thread takes a whole member and keeps its
   weights and gradients in its cache; those that are left over are shared by all. What is for all
   members does not depend on them and comes first. */
static void run_members_apart(orr_run *run) {
  const orr_program *p = run->program;
  int threads = run->worker_count, alone = run->members / threads * threads;
  crew all = {run, 0, 0, true, -1};
  for (int s = 0; s < p->stage_count; s += 2) run_singles(&all, &p->stages[s]);
  pool_run(run->engine, alone, run_alone, run);
  for (int m = alone; m < run->members; m++) run_for(&(crew){run, m, m + 1, false, -1});
}

orr_status orr_run_prepare(orr_run *run) {
  orr_status status = run->sizes ? ORR_OK : orr_run_rows(run, 1, 1);
  return status || run_lay_out(run) ? status : orr_engine_status(run->engine);
}

orr_status orr_run_go(orr_run *run) {
  orr_status status = orr_run_prepare(run);
  if (status) return status;
  if ((status = refresh_bindings(run)) || (status = check_updates(run))) return status;
  if (run->deadline > 0 && orr_clock() > run->deadline)
    return engine_fail(run->engine, ORR_LATE, "the run's deadline has passed");
  /* not between members */
  run->over = run->apart && orr_interrupted(run->engine) ? ORR_INTERRUPTED : ORR_OK;
  pool_hold(run->engine, true);
  if (!run->apart) run_for(&(crew){run, 0, run->members, true, -1});
  else if (!run->over) run_members_apart(run);
  pool_hold(run->engine, false);
  if (run->over == ORR_INTERRUPTED) return engine_fail(run->engine, ORR_INTERRUPTED, "interrupted");
  if (run->over) return engine_fail(run->engine, ORR_LATE, "the run's deadline has passed");
  run->settled = true;
  copy_results(run);
  return ORR_OK;
}
