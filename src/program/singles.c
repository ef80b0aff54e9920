/* singles.c - a stage of instructions on single values: small ones by the calling thread, groups
   shared out. */
#include "program/execute.h"

/* Numbers to compute before it is worth waking other threads, some twenty microseconds; and when
   they are awake, two. */
enum { WORTH_WAKING = 1 << 18, WORTH_SHARING = 1 << 15 };

void run_tasks(const crew *c, double numbers, int tasks, pool_work work, void *context) {
  orr_engine *engine = c->run->engine;
  if (c->worker < 0 && numbers >= (pool_is_awake(engine) ? WORTH_SHARING : WORTH_WAKING))
    pool_run(engine, tasks, work, context);
  else
    for (int task = 0; task < tasks; task++) work(context, task, c->worker < 0 ? 0 : c->worker);
}

static void run_small(const crew *c, const instruction *i) {
  orr_run *run = c->run;
  if (i->settled && run->settled) return;
  int first = i->per_member ? c->first : 0, last = i->per_member ? c->last : c->uniform;
  for (int m = first; m < last; m++)
    execute_single(run, i, &run->workers[c->worker < 0 ? 0 : c->worker], m);
}

typedef struct group_job {
  const crew *crew;
  orr_run *run;
  const stage *stage;
  const phase *phase;
} group_job;

static int members_of(const group_job *job, const group *g) {
  return g->per_member ? job->crew->last - job->crew->first : job->crew->uniform;
}

static int first_member(const group_job *job, const group *g) {
  return g->per_member ? job->crew->first : 0;
}

static bool is_settled(const group_job *job, const group *g) {
  return job->run->settled && job->stage->code.list[g->first].settled;
}

static int64_t tasks_of(const group_job *job, const group *g) {
  if (is_settled(job, g)) return 0;
  return (g->count ? group_tasks(g) : 1) * members_of(job, g);
}

/* Member by member: with chosen entries a parameter's members do not lie in the groups' order. */
static void run_task(void *context, int task, int w) {
  const group_job *job = context;
  const group *g = &job->stage->groups[job->phase->first_group];
  for (int64_t tasks; task >= (tasks = tasks_of(job, g)); g++) task -= (int)tasks;
  worker *me = &job->run->workers[w];
  if (g->count) {
    int64_t tasks = group_tasks(g), chunks = group_chunks(g), each = (chunks + tasks - 1) / tasks;
    int64_t first = task % tasks * each, last = first + each < chunks ? first + each : chunks;
    for (int64_t chunk = first; chunk < last; chunk++)
      execute_chunk(job->run, job->stage, g, me, first_member(job, g) + (int)(task / tasks), chunk);
  } else {
    execute_single(job->run, &job->stage->code.list[g->first], me, first_member(job, g) + task);
  }
}

/* Chunks' sums, added in their order. */
static void finish_sums(const group_job *job, const group *g) {
  const orr_run *run = job->run;
  int first = first_member(job, g), last = first + members_of(job, g), sum = 0;
  if (!g->sums || is_settled(job, g)) return;
  for (int i = g->first; i < g->last; i++) {
    const instruction *x = &job->stage->code.list[i];
    if (x->node->op != ORR_OP_sum) continue;
    for (int m = first; m < last; m++)
      engine_kernels(run->engine)
          ->sum(single_pointer(run, x->y, m), chunk_partial(run, g, sum, m, 0), 1,
                (size_t)group_chunks(g), 1);
    sum++;
  }
}

static void run_groups(const group_job *job) {
  orr_run *run = job->run;
  int64_t tasks = 0, numbers = 0;
  for (int g = job->phase->first_group; g < job->phase->last_group; g++) {
    const group *at = &job->stage->groups[g];
    int64_t own = tasks_of(job, at),
            whole = run->program->values[job->stage->code.list[at->first].y].stored;
    tasks += own;
    numbers += own > 0
                   ? members_of(job, at) * (at->last - at->first) * (at->count ? at->count : whole)
                   : 0;
  }
  run_tasks(job->crew, (double)numbers, (int)tasks, run_task, (void *)job);
  for (int g = job->phase->first_group; g < job->phase->last_group; g++)
    finish_sums(job, &job->stage->groups[g]);
}

void run_singles(const crew *c, const stage *st) {
  for (int i = 0; i < st->phase_count; i++) {
    const phase *now = &st->phases[i];
    for (int j = now->first; j < now->small_end; j++) run_small(c, &st->code.list[j]);
    group_job job = {c, c->run, st, now};
    if (now->last_group > now->first_group) run_groups(&job);
  }
}
