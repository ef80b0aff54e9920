/* vector_env.c - many environments stepped together. A step is two halves: `advance` steps all
   copies, on all threads, and either all of them have moved or none has; `settle` goes through them
   in order on the calling thread, records, and starts anew what has ended. */
#include <math.h>
#include <string.h>

#include "env/vector_env.h"

enum { TASKS_PER_THREAD = 4 };
/* Seconds of stepping from which waking the other threads pays; and when they are awake. */
static const double worth_waking = 60e-6, worth_sharing = 10e-6;

orr_vector_env_options orr_vector_env_options_defaults(void) {
  return (orr_vector_env_options){.size = sizeof(orr_vector_env_options)};
}

/* ---- making */

static orr_tensor *new_rows(orr_vector_env *many, int64_t width) {
  int64_t shape[2] = {many->copies_count, width};
  return orr_tensor_new(many->engine, ORR_REAL, width ? 2 : 1, shape);
}

static bool make_results(orr_vector_env *many) {
  orr_vector_env_rows *r = &many->results;
  int64_t s = many->observation_size, a = many->action_size;
  struct {
    orr_tensor **tensor;
    int64_t width;
  } rows[] = {{&r->observation, s}, {&r->final_observation, s}, {&r->action, a}, {&r->reward, 0},
              {&r->terminated, 0},  {&r->truncated, 0},         {&r->time, 0}};
  for (size_t i = 0; i < COUNT(rows); i++)
    if (!(*rows[i].tensor = new_rows(many, rows[i].width))) return false;
  return true;
}

static bool check_replay(orr_vector_env *many, orr_env *env) {
  if (!many->replay) return true;
  const orr_space *pairs[][2] = {{orr_env_observation_space(env),
                                  orr_replay_observation_space(many->replay)},
                                 {orr_env_action_space(env),
                                  orr_replay_action_space(many->replay)}};
  for (int i = 0; i < 2; i++) {
    if (orr_space_equal(pairs[i][0], pairs[i][1])) continue;
    char ours[300], theirs[300];
    engine_fail(
        many->engine, ORR_FIELD,
        "vector environment: the replay's %s (%s) is not that of the environment '%s' (%s), or "
        "has other bounds; make it with { env = env }",
        i ? "action" : "observation", orr_space_describe(pairs[i][1], theirs, sizeof theirs),
        orr_env_name(env), orr_space_describe(pairs[i][0], ours, sizeof ours));
    return false;
  }
  return true;
}

/* Everything but the environments themselves; `env` is one like them. */
static orr_vector_env *new_empty(orr_env *env, int64_t copies,
                                 const orr_vector_env_options *given) {
  orr_engine *engine = orr_env_engine(env);
  orr_vector_env_options options = orr_vector_env_options_defaults();
  if (READ_OPTIONS(engine, orr_vector_env_options, &options, given)) return NULL;
  if (copies < 1 || copies > ORR_VECTOR_ENV_COPIES || options.max_steps < 0) {
    engine_fail(
        engine, ORR_ARGUMENT,
        "vector environment: %lld copies of at most %lld steps; 1 to %d copies are possible, "
        "and max_steps of 0 (the environment's own) or more",
        (long long)copies, (long long)options.max_steps, ORR_VECTOR_ENV_COPIES);
    return NULL;
  }
  orr_vector_env *many = engine_new_zeroed(engine, 1, sizeof *many);
  if (!many) return NULL;
  many->engine = orr_engine_retain(engine);
  atomic_init(&many->references, 1);
  many->replay = orr_replay_retain(options.replay);
  many->max_steps = options.max_steps;
  many->copies_count = copies;
  many->observation_size = orr_space_size(orr_env_observation_space(env));
  many->action_size = orr_space_size(orr_env_action_space(env));
  many->thread_safe = true;
  many->copies = engine_new_zeroed(engine, (size_t)copies, sizeof *many->copies);
  bool whole = many->copies && make_results(many) && check_replay(many, env);
  for (int64_t i = 0; whole && many->replay && i < copies; i++)
    whole = (many->copies[i].episode = orr_episode_new(many->replay)) != NULL;
  if (whole) return many;
  orr_vector_env_free(many);
  return NULL;
}

orr_vector_env *orr_vector_env_new(orr_env *env, int64_t copies,
                                   const orr_vector_env_options *options) {
  orr_vector_env *many = new_empty(env, copies, options);
  for (int64_t i = 0; many && i < copies; i++) {
    if ((many->copies[i].env = orr_env_copy(env))) continue;
    if (!orr_env_thread_safe(env))
      engine_fail_in(many->engine, "vector environment: give a list of environments instead");
    orr_vector_env_free(many);
    return NULL;
  }
  return many;
}

static bool fits(orr_vector_env *many, orr_env *const *envs, int64_t index) {
  orr_env *first = envs[0], *env = envs[index];
  for (int64_t i = 0; i < index; i++)
    if (envs[i] == env) {
      engine_fail(
          many->engine, ORR_ARGUMENT,
          "vector environment: environments %lld and %lld of the list are one and the same; "
          "make one for each",
          (long long)i + 1, (long long)index + 1);
      return false;
    }
  char a[300], b[300];
  for (int i = 0; i < 2; i++) {
    orr_space *(*space)(const orr_env *) = i ? orr_env_action_space : orr_env_observation_space;
    if (orr_space_equal(space(first), space(env))) continue;
    engine_fail(
        many->engine, ORR_SHAPE,
        "vector environment: the %s of environment %lld of the list, '%s' (%s), is not that of "
        "the first, '%s' (%s), or has other bounds",
        i ? "action" : "observation", (long long)index + 1, orr_env_name(env),
        orr_space_describe(space(env), a, sizeof a), orr_env_name(first),
        orr_space_describe(space(first), b, sizeof b));
    return false;
  }
  return true;
}

orr_vector_env *orr_vector_env_from(orr_env *const *envs, int64_t count,
                                    const orr_vector_env_options *options) {
  if (count < 1) return NULL; /* nor is there an engine to say why */
  orr_vector_env *many = new_empty(envs[0], count, options);
  for (int64_t i = 0; many && i < count; i++) {
    if (!fits(many, envs, i)) {
      orr_vector_env_free(many);
      return NULL;
    }
    many->copies[i].env = orr_env_retain(envs[i]);
    many->thread_safe = many->thread_safe && orr_env_thread_safe(envs[i]);
  }
  return many;
}

orr_vector_env *orr_vector_env_retain(orr_vector_env *many) {
  if (many) atomic_fetch_add(&many->references, 1);
  return many;
}

void orr_vector_env_free(orr_vector_env *many) {
  if (!many || atomic_fetch_sub(&many->references, 1) != 1) return;
  orr_engine *engine = many->engine;
  for (int64_t i = 0; many->copies && i < many->copies_count; i++) {
    orr_env_free(many->copies[i].env);
    orr_episode_free(many->copies[i].episode);
  }
  orr_vector_env_rows *r = &many->results;
  orr_tensor *tensors[] = {r->observation, r->final_observation, r->action, r->reward,
                           r->terminated,  r->truncated,         r->time};
  for (size_t i = 0; i < COUNT(tensors); i++) orr_tensor_free(tensors[i]);
  vector_free_extras(many);
  orr_replay_free(many->replay);
  engine_free_memory(engine, many->finished);
  engine_free_memory(engine, many->copies);
  engine_free_memory(engine, many);
  orr_engine_free(engine);
}

orr_engine *orr_vector_env_engine(const orr_vector_env *many) { return many->engine; }
int64_t orr_vector_env_copies(const orr_vector_env *many) { return many->copies_count; }
orr_replay *orr_vector_env_replay(const orr_vector_env *many) { return many->replay; }
bool orr_vector_env_is_pending(const orr_vector_env *many) { return many->stage == STAGE_PENDING; }
const orr_vector_env_rows *orr_vector_env_results(const orr_vector_env *many) {
  return &many->results;
}
orr_env *orr_vector_env_copy(const orr_vector_env *many, int64_t index) {
  return index >= 0 && index < many->copies_count ? many->copies[index].env : NULL;
}

/* ---- stepping */

static orr_real *row(orr_tensor *rows, int64_t i, int64_t width) {
  return (orr_real *)orr_tensor_data(rows) + i * width;
}

orr_status vector_enter(orr_vector_env *many) {
  if (!many->busy) {
    many->busy = true;
    return ORR_OK;
  }
  return engine_fail(many->engine, ORR_STATE,
                     "vector environment: an environment calls what it is being stepped by");
}

/* Copies first .. last - 1, until one fails; their statuses say how it went. */
static void step_copies(orr_vector_env *many, int64_t first, int64_t last) {
  orr_vector_env_rows *r = &many->results;
  int64_t s = many->observation_size, a = many->action_size;
  for (int64_t i = first; i < last; i++) {
    vector_copy *c = &many->copies[i];
    const orr_real *action = many->given + i * a;
    orr_env_result result;
    c->before = *orr_env_random(c->env);
    c->status = orr_env_step(c->env, action, row(r->final_observation, i, s), &result);
    c->stepped = c->status == ORR_OK;
    if (!c->stepped) return;
    memcpy(row(r->action, i, a), action, (size_t)a * sizeof *action);
    orr_space_clip(orr_env_action_space(c->env), row(r->action, i, a));
    *row(r->reward, i, 1) = result.reward;
    *row(r->terminated, i, 1) = result.terminated;
    *row(r->truncated, i, 1) = result.truncated;
  }
}

static void step_task(void *context, int task, int worker) {
  orr_vector_env *many = context;
  (void)worker;
  int64_t n = many->copies_count;
  step_copies(many, n * task / many->tasks, n * (task + 1) / many->tasks);
}

/* Steps all copies, shared out if it pays by what a step has taken so far. Which thread takes a
   step makes no difference to it. */
static void step_all(orr_vector_env *many) {
  int64_t n = many->copies_count, threads = orr_engine_threads(many->engine);
  double estimate = many->cost * (double)n, start = orr_clock();
  bool share = many->thread_safe && threads > 1 && n > 1 &&
               estimate > (pool_is_awake(many->engine) ? worth_sharing : worth_waking);
  for (int64_t i = 0; i < n; i++) {
    many->copies[i].stepped = false;
    many->copies[i].status = ORR_OK;
  }
  if (share) {
    many->tasks = (int)(n < threads * TASKS_PER_THREAD ? n : threads * TASKS_PER_THREAD);
    pool_run(many->engine, many->tasks, step_task, many);
    return;
  }
  step_copies(many, 0, n);
  double cost = (orr_clock() - start) / (double)n;
  many->cost = many->cost > 0 ? 0.9 * many->cost + 0.1 * cost : cost;
}

/* Puts the copies that have moved back where they were. */
static orr_status step_all_back(orr_vector_env *many, int64_t failed) {
  orr_engine *engine = many->engine;
  vector_copy *f = &many->copies[failed];
  orr_status status = f->status;
  orr_env_result result;
  bool whole = !orr_env_ended(f->env);
  /* what failed on another thread left its message there; it fails here just the same */
  if (many->thread_safe)
    orr_env_step(f->env, many->given + failed * many->action_size, NULL, &result);
  if (engine->status == status) engine_fail_in(engine, "copy %lld", (long long)failed + 1);
  else
    engine_fail(engine, status, "copy %lld: environment '%s' failed (%s)", (long long)failed + 1,
                orr_env_name(f->env), orr_status_name(status));
  for (int64_t i = 0; i < many->copies_count; i++)
    if (many->copies[i].stepped && !env_step_back(many->copies[i].env, many->copies[i].before))
      whole = false;
  if (!whole) many->stage = STAGE_RESET_DUE;
  return status;
}

static orr_status check_stage(orr_vector_env *many, stage wanted) {
  if (many->stage == wanted) return ORR_OK;
  static const char *const why[] = {
      [STAGE_RESET_DUE] = "a reset is due: call reset first",
      [STAGE_READY] = "there is no step to settle: call advance first",
      [STAGE_PENDING] = "the last step is not settled: call settle, or reset",
  };
  return engine_fail(many->engine, ORR_STATE, "vector environment: %s", why[many->stage]);
}

orr_status orr_vector_env_advance(orr_vector_env *many, const orr_real *actions) {
  orr_status status = vector_enter(many);
  if (status) return status;
  status = check_stage(many, STAGE_READY);
  if (!status) {
    many->given = actions;
    step_all(many);
    for (int64_t i = 0; i < many->copies_count && !status; i++)
      if (many->copies[i].status) status = step_all_back(many, i);
    many->given = NULL;
  }
  if (!status) {
    many->stage = STAGE_PENDING;
    for (int64_t i = 0; i < many->copies_count; i++) many->copies[i].phase = PHASE_STEPPED;
  }
  many->busy = false;
  return status;
}

/* ---- settling: every phase of a copy is done once, however often settle is called */

static uint64_t next_seed(orr_random *seeds) {
  uint64_t high = orr_random_bits(seeds);
  return (high << 32 | orr_random_bits(seeds)) >> 1;
}

static orr_status start_copy(orr_vector_env *many, int64_t i) {
  vector_copy *c = &many->copies[i];
  orr_random seeds = c->seeds;
  orr_real *observation = row(many->results.observation, i, many->observation_size);
  orr_status status = orr_env_reset(c->env, next_seed(&seeds), observation);
  if (!status && c->episode) status = orr_episode_start(c->episode, observation);
  if (!status) status = vector_put_extras(many, i, false);
  if (status) return engine_fail_in(many->engine, "copy %lld", (long long)i + 1);
  c->seeds = seeds;
  c->total = 0;
  c->length = 0;
  c->judged = c->success = c->success_at_end = false;
  *row(many->results.time, i, 1) = 0;
  return ORR_OK;
}

/* Takes the verdict, keeps the step, and says whether the episode is over. */
static orr_status record_copy(orr_vector_env *many, int64_t i, const orr_vector_env_verdict *v) {
  vector_copy *c = &many->copies[i];
  orr_vector_env_rows *r = &many->results;
  int64_t s = many->observation_size;
  orr_real *reward = row(r->reward, i, 1), *terminated = row(r->terminated, i, 1),
           *truncated = row(r->truncated, i, 1);
  orr_real worth = v && v->reward ? v->reward[i] : *reward;
  if (!isfinite(worth))
    return engine_fail(many->engine, ORR_NUMBER,
                       "copy %lld, step %lld: the reward of the task is %s", (long long)i + 1,
                       (long long)c->length + 1, isnan(worth) ? "NaN" : "infinite");
  if (c->episode) {
    orr_status status = orr_episode_step(c->episode, row(r->action, i, many->action_size), worth,
                                         row(r->final_observation, i, s));
    if (!status) status = vector_put_extras(many, i, true);
    if (status) return engine_fail_in(many->engine, "copy %lld", (long long)i + 1);
  }
  *reward = worth;
  c->total += (double)worth;
  c->length++;
  if (v && v->success) {
    c->judged = true;
    c->success_at_end = v->success[i] > (orr_real)0.5;
    c->success = c->success || c->success_at_end;
  }
  if (v && v->terminated && v->terminated[i] > (orr_real)0.5) *terminated = 1;
  bool late = (many->max_steps && c->length >= many->max_steps) ||
              (many->replay && c->length >= orr_replay_capacity(many->replay));
  *truncated = *terminated == 0 && (*truncated != 0 || late);
  *row(r->time, i, 1) = (orr_real)c->length;
  memcpy(row(r->observation, i, s), row(r->final_observation, i, s), (size_t)s * sizeof(orr_real));
  return ORR_OK;
}

/* There is room: see make_room. */
static void add_finished(orr_vector_env *many, int64_t i) {
  const vector_copy *c = &many->copies[i];
  if (many->finished_count == ORR_VECTOR_ENV_FINISHED) { /* nobody asks: the older half goes */
    many->finished_count /= 2;
    memcpy(many->finished, many->finished + many->finished_count,
           many->finished_count * sizeof *many->finished);
  }
  many->finished[many->finished_count++] =
      (orr_vector_env_episode){.copy = i,
                               .total = c->total,
                               .length = c->length,
                               .terminated = *row(many->results.terminated, i, 1) != 0,
                               .judged = c->judged,
                               .success = c->success,
                               .success_at_end = c->success_at_end};
}

static orr_status settle_copy(orr_vector_env *many, int64_t i, const orr_vector_env_verdict *v) {
  vector_copy *c = &many->copies[i];
  orr_status status = ORR_OK;
  bool terminated, truncated;
  if (c->phase == PHASE_STEPPED) {
    if ((status = record_copy(many, i, v))) return status;
    c->phase = PHASE_RECORDED;
  }
  terminated = *row(many->results.terminated, i, 1) != 0;
  truncated = *row(many->results.truncated, i, 1) != 0;
  if (!terminated && !truncated) c->phase = PHASE_SETTLED;
  if (c->phase == PHASE_RECORDED) {
    if (c->episode && (status = orr_episode_finish(c->episode, terminated, truncated)))
      return engine_fail_in(many->engine, "copy %lld", (long long)i + 1);
    add_finished(many, i);
    c->phase = PHASE_FINISHED;
  }
  if (c->phase == PHASE_FINISHED) {
    if ((status = start_copy(many, i))) return status;
    c->phase = PHASE_SETTLED;
  }
  return status;
}

/* For every copy to finish an episode. */
static orr_status make_room(orr_vector_env *many) {
  size_t needed = many->finished_count + (size_t)many->copies_count, room = 2 * needed;
  if (needed > ORR_VECTOR_ENV_FINISHED) needed = ORR_VECTOR_ENV_FINISHED;
  if (room > ORR_VECTOR_ENV_FINISHED) room = ORR_VECTOR_ENV_FINISHED;
  if (needed <= many->finished_room) return ORR_OK;
  void *grown = engine_resize(many->engine, many->finished, room, sizeof *many->finished);
  if (!grown) return ORR_MEMORY;
  many->finished = grown;
  many->finished_room = room;
  return ORR_OK;
}

static void touch_results(orr_vector_env *many) {
  orr_vector_env_rows *r = &many->results;
  orr_tensor *tensors[] = {r->observation, r->final_observation, r->action, r->reward,
                           r->terminated,  r->truncated,         r->time};
  for (size_t i = 0; i < COUNT(tensors); i++) orr_tensor_touch(tensors[i]);
}

orr_status orr_vector_env_settle(orr_vector_env *many, const orr_vector_env_verdict *verdict) {
  orr_status status = vector_enter(many);
  if (status) return status;
  status = check_stage(many, STAGE_PENDING);
  if (!status) status = make_room(many);
  for (int64_t i = 0; i < many->copies_count && !status; i++)
    status = settle_copy(many, i, verdict);
  touch_results(many);
  if (!status) many->stage = STAGE_READY;
  many->busy = false;
  return status;
}

orr_status orr_vector_env_step(orr_vector_env *many, const orr_real *actions) {
  orr_status status = orr_vector_env_advance(many, actions);
  return status ? status : orr_vector_env_settle(many, NULL);
}

orr_status orr_vector_env_reset(orr_vector_env *many, uint64_t seed) {
  orr_status status = vector_enter(many);
  if (status) return status;
  many->stage = STAGE_RESET_DUE;
  for (int64_t i = 0; i < many->copies_count && !status; i++) {
    many->copies[i].seeds = orr_random_new(seed, (uint64_t)i);
    status = start_copy(many, i);
  }
  orr_vector_env_rows *r = &many->results;
  if (!status) {
    many->stage = STAGE_READY;
    memcpy(orr_tensor_data(r->final_observation), orr_tensor_data(r->observation),
           (size_t)(many->copies_count * many->observation_size) * sizeof(orr_real));
  }
  touch_results(many);
  many->busy = false;
  return status;
}

orr_status orr_vector_env_cut(orr_vector_env *many) {
  orr_status status = vector_enter(many);
  if (status) return status;
  if (many->stage == STAGE_PENDING) status = check_stage(many, STAGE_READY);
  for (int64_t i = 0; i < many->copies_count && !status; i++) {
    vector_copy *c = &many->copies[i];
    if (c->episode && orr_episode_length(c->episode) > 0)
      status = orr_episode_finish(c->episode, false, true);
    if (status) engine_fail_in(many->engine, "copy %lld", (long long)i + 1);
    else c->length = 0;
  }
  if (!status) many->stage = STAGE_RESET_DUE;
  many->busy = false;
  return status;
}

const orr_vector_env_episode *orr_vector_env_finished(const orr_vector_env *many, int64_t *count) {
  *count = (int64_t)many->finished_count;
  return many->finished;
}

void orr_vector_env_forget(orr_vector_env *many) { many->finished_count = 0; }
