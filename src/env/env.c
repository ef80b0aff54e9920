/* env.c - a running environment: callbacks over a flat state, the step count, and what is checked at
   every step. Built-ins and host-given callbacks go the same way. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "env/env.h"

/* What copies share: it never changes. */
struct env_core {
  atomic_int references;
  orr_env_callbacks calls;
  char *name;
  int64_t action_size, observation_size, state_size;
};

struct orr_env {
  orr_engine *engine;
  atomic_int references;
  struct env_core *core;
  double *state, *next;        /* the present one, and where a step works until it is known good */
  orr_real *action, *observed; /* scratch */
  orr_random random;
  int64_t steps;
  bool ended; /* or not begun: a reset is due */
};

orr_env_callbacks orr_env_callbacks_defaults(void) {
  return (orr_env_callbacks){.size = sizeof(orr_env_callbacks)};
}

static void core_free(orr_engine *engine, struct env_core *core, bool with_user) {
  if (!core || atomic_fetch_sub(&core->references, 1) != 1) return;
  if (with_user && core->calls.free_user) core->calls.free_user(core->calls.user);
  orr_space_free(core->calls.observation);
  orr_space_free(core->calls.action);
  orr_space_free(core->calls.state);
  engine_free_memory(engine, core->name);
  engine_free_memory(engine, core);
}

static struct env_core *core_new(orr_engine *engine, const orr_env_callbacks *calls) {
  if (!calls->name || !calls->observation || !calls->action || !calls->reset || !calls->step ||
      !calls->observe || calls->max_steps < 0) {
    engine_fail(engine, ORR_ARGUMENT,
                "environment '%.64s' needs a name, an observation and an action space, "
                "reset, step and observe, and max_steps of 0 (no limit) or more",
                calls->name ? calls->name : "?");
    return NULL;
  }
  struct env_core *core = engine_new_zeroed(engine, 1, sizeof *core);
  if (!core) return NULL;
  atomic_init(&core->references, 1);
  core->name = engine_copy_string(engine, calls->name);
  if (!core->name) {
    engine_free_memory(engine, core);
    return NULL;
  }
  core->calls = *calls;
  core->calls.name = core->name;
  orr_space_retain(core->calls.observation);
  orr_space_retain(core->calls.action);
  orr_space_retain(core->calls.state);
  core->observation_size = orr_space_size(calls->observation);
  core->action_size = orr_space_size(calls->action);
  core->state_size = calls->state ? orr_space_size(calls->state) : 0;
  return core;
}

/* An instance on an already counted hold of core. */
static orr_env *instance_new(orr_engine *engine, struct env_core *core) {
  orr_env *env = engine_new_zeroed(engine, 1, sizeof *env);
  if (!env) return NULL;
  env->engine = orr_engine_retain(engine);
  atomic_init(&env->references, 1);
  env->core = core;
  env->ended = true;
  env->state = engine_new_zeroed(engine, (size_t)core->state_size + 1, sizeof *env->state);
  env->next = engine_new_zeroed(engine, (size_t)core->state_size + 1, sizeof *env->next);
  env->action = engine_new_zeroed(engine, (size_t)core->action_size, sizeof *env->action);
  env->observed = engine_new_zeroed(engine, (size_t)core->observation_size, sizeof *env->observed);
  return env;
}

static void instance_free(orr_env *env, bool with_user) {
  if (!env) return;
  orr_engine *engine = env->engine;
  core_free(engine, env->core, with_user);
  engine_free_memory(engine, env->state);
  engine_free_memory(engine, env->next);
  engine_free_memory(engine, env->action);
  engine_free_memory(engine, env->observed);
  engine_free_memory(engine, env);
  orr_engine_free(engine);
}

static bool is_whole(const orr_env *env) {
  return env->state && env->next && env->action && env->observed;
}

orr_env *orr_env_from_callbacks(orr_engine *engine, const orr_env_callbacks *given) {
  orr_env_callbacks calls = orr_env_callbacks_defaults();
  if (READ_OPTIONS(engine, orr_env_callbacks, &calls, given)) return NULL;
  struct env_core *core = core_new(engine, &calls);
  if (!core) return NULL;
  orr_env *env = instance_new(engine, core);
  if (!env) {
    core_free(engine, core, false);
    return NULL;
  }
  if (is_whole(env)) return env;
  instance_free(env, false);
  return NULL;
}

orr_env *orr_env_copy(const orr_env *env) {
  struct env_core *core = env->core;
  if (!core->calls.thread_safe) {
    engine_fail(env->engine, ORR_STATE,
                "environment '%s' runs on one thread only and cannot be copied", core->name);
    return NULL;
  }
  atomic_fetch_add(&core->references, 1);
  orr_env *copy = instance_new(env->engine, core);
  if (!copy) {
    atomic_fetch_sub(&core->references, 1);
    return NULL;
  }
  if (!is_whole(copy)) {
    instance_free(copy, false);
    return NULL;
  }
  memcpy(copy->state, env->state, (size_t)core->state_size * sizeof *copy->state);
  copy->random = env->random;
  copy->steps = env->steps;
  copy->ended = env->ended;
  return copy;
}

orr_env *orr_env_retain(orr_env *env) {
  if (env) atomic_fetch_add(&env->references, 1);
  return env;
}

void orr_env_free(orr_env *env) {
  if (env && atomic_fetch_sub(&env->references, 1) == 1) instance_free(env, true);
}

orr_engine *orr_env_engine(const orr_env *env) { return env->engine; }
const char *orr_env_name(const orr_env *env) { return env->core->name; }
orr_space *orr_env_observation_space(const orr_env *env) { return env->core->calls.observation; }
orr_space *orr_env_action_space(const orr_env *env) { return env->core->calls.action; }
orr_space *orr_env_state_space(const orr_env *env) { return env->core->calls.state; }
int64_t orr_env_max_steps(const orr_env *env) { return env->core->calls.max_steps; }
int64_t orr_env_steps(const orr_env *env) { return env->steps; }
bool orr_env_thread_safe(const orr_env *env) { return env->core->calls.thread_safe; }
bool orr_env_ended(const orr_env *env) { return env->ended; }
bool orr_env_can_draw(const orr_env *env) { return env->core->calls.draw != NULL; }
void orr_env_set_steps(orr_env *env, int64_t steps) { env->steps = steps; }
orr_random *orr_env_random(orr_env *env) { return &env->random; }

/* Callbacks on one thread may leave a message: no older one is taken for it. */
static void expect_message(orr_env *env) {
  if (!env->core->calls.thread_safe) env->engine->status = ORR_OK;
}

static orr_status callback_failed(orr_env *env, const char *what, int64_t step, orr_status status) {
  orr_engine *engine = env->engine;
  if (status == engine->status && !env->core->calls.thread_safe)
    return engine_fail_in(engine, "environment '%s', step %lld", env->core->name, (long long)step);
  return engine_fail(engine, status, "environment '%s', step %lld: %s failed (%s)", env->core->name,
                     (long long)step, what, orr_status_name(status));
}

static const char *number_name(double value, char *text, size_t size) {
  snprintf(text, size, "%g", value);
  return isnan(value) ? "NaN" : text;
}

static orr_status not_finite(orr_env *env, int64_t step, const char *what, const orr_space *space,
                             const orr_real *values, int64_t index) {
  char name[128], number[32];
  return engine_fail(env->engine, ORR_NUMBER, "environment '%s', step %lld: %s field '%s' is %s",
                     env->core->name, (long long)step, what,
                     orr_space_element_name(space, index, name, sizeof name),
                     number_name((double)values[index], number, sizeof number));
}

/* Reads the observation of `state` into env->observed and checks it. */
static orr_status observe(orr_env *env, const double *state, int64_t step) {
  const orr_env_callbacks *calls = &env->core->calls;
  expect_message(env);
  orr_status status = calls->observe(calls->user, state, env->observed);
  if (status) return callback_failed(env, "observe", step, status);
  int64_t bad = orr_space_first_non_finite(calls->observation, env->observed);
  return bad < 0 ? ORR_OK
                 : not_finite(env, step, "observation", calls->observation, env->observed, bad);
}

static void give_observation(const orr_env *env, orr_real *observation) {
  if (observation)
    memcpy(observation, env->observed, (size_t)env->core->observation_size * sizeof *observation);
}

static void keep_next(orr_env *env) {
  double *old = env->state;
  env->state = env->next;
  env->next = old;
}

/* Puts callbacks that mirror the state back to the last whole step; those that keep it cannot. */
static orr_status step_back(orr_env *env, orr_random random, orr_status status) {
  const orr_env_callbacks *calls = &env->core->calls;
  env->random = random;
  if (!calls->state || (calls->restore && calls->restore(calls->user, env->state)))
    env->ended = true;
  return status;
}

orr_status orr_env_reset_from(orr_env *env, orr_random *random, orr_real *observation) {
  const orr_env_callbacks *calls = &env->core->calls;
  orr_random before = env->random;
  env->random = orr_random_split(random);
  memset(env->next, 0, (size_t)env->core->state_size * sizeof *env->next);
  expect_message(env);
  orr_status status = calls->reset(calls->user, &env->random, env->next);
  if (status) return step_back(env, before, callback_failed(env, "reset", 0, status));
  status = observe(env, env->next, 0);
  if (status) return step_back(env, before, status);
  keep_next(env);
  env->steps = 0;
  env->ended = false;
  give_observation(env, observation);
  return ORR_OK;
}

orr_status orr_env_reset(orr_env *env, uint64_t seed, orr_real *observation) {
  orr_random random = orr_random_new(seed, 0);
  return orr_env_reset_from(env, &random, observation);
}

static orr_status bad_reward(orr_env *env, int64_t step, orr_real reward) {
  char number[32];
  return engine_fail(env->engine, ORR_NUMBER, "environment '%s', step %lld: the reward is %s",
                     env->core->name, (long long)step,
                     number_name((double)reward, number, sizeof number));
}

static orr_status check_action(orr_env *env, const orr_real *action, int64_t step) {
  orr_space *space = env->core->calls.action;
  int64_t bad = orr_space_first_non_finite(space, action);
  if (bad >= 0) return not_finite(env, step, "action", space, action, bad);
  for (int f = 0; f < orr_space_fields(space); f++) {
    const orr_field *field = orr_space_field(space, f);
    for (int64_t i = 0; field->n && i < field->count; i++) {
      orr_real a = action[field->offset + i];
      if (a >= 0 && a < (orr_real)field->n && a == (orr_real)floor((double)a)) continue;
      return engine_fail(
          env->engine, ORR_ARGUMENT,
          "environment '%s', step %lld: action field '%s' is %g; it takes whole numbers 0 .. %lld",
          env->core->name, (long long)step, field->name, (double)a, (long long)field->n - 1);
    }
  }
  return ORR_OK;
}

/* Steps env->next; no message, so that rollouts may run on any thread. */
static orr_status advance(orr_env *env, const orr_real *action, orr_env_result *result) {
  const orr_env_callbacks *calls = &env->core->calls;
  memcpy(env->action, action, (size_t)env->core->action_size * sizeof *action);
  orr_space_clip(calls->action, env->action);
  *result = (orr_env_result){0};
  return calls->step(calls->user, env->next, env->action, &env->random, result);
}

orr_status orr_env_step(orr_env *env, const orr_real *action, orr_real *observation,
                        orr_env_result *result) {
  struct env_core *core = env->core;
  int64_t step = env->steps + 1;
  if (env->ended)
    return engine_fail(env->engine, ORR_STATE, "environment '%s': the episode %s; call reset first",
                       core->name, env->steps ? "has ended" : "has not begun");
  orr_status status = check_action(env, action, step);
  if (status) return status;
  orr_random before = env->random;
  orr_env_result out;
  memcpy(env->next, env->state, (size_t)core->state_size * sizeof *env->next);
  expect_message(env);
  status = advance(env, action, &out);
  if (status) return step_back(env, before, callback_failed(env, "step", step, status));
  if (!isfinite(out.reward)) return step_back(env, before, bad_reward(env, step, out.reward));
  status = observe(env, env->next, step);
  if (status) return step_back(env, before, status);
  keep_next(env);
  env->steps = step;
  bool late = core->calls.max_steps > 0 && step >= core->calls.max_steps;
  out.truncated = !out.terminated && (out.truncated || late);
  env->ended = out.terminated || out.truncated;
  give_observation(env, observation);
  if (result) *result = out;
  return ORR_OK;
}

bool env_step_back(orr_env *env, orr_random random) {
  keep_next(env); /* which a step leaves where it worked: the state before */
  env->steps--;
  env->ended = false;
  step_back(env, random, ORR_OK);
  return !env->ended;
}

orr_status orr_env_observe(orr_env *env, orr_real *observation) {
  orr_status status = observe(env, env->state, env->steps);
  if (!status) give_observation(env, observation);
  return status;
}

static orr_status needs_state(const orr_env *env) {
  if (env->core->calls.state) return ORR_OK;
  return engine_fail(env->engine, ORR_STATE,
                     "environment '%s' keeps its state to itself: it declares no state "
                     "fields, so the state cannot be read or set",
                     env->core->name);
}

orr_status orr_env_get_state(const orr_env *env, double *state) {
  orr_status status = needs_state(env);
  if (!status) memcpy(state, env->state, (size_t)env->core->state_size * sizeof *state);
  return status;
}

orr_status orr_env_set_state(orr_env *env, const double *state) {
  const orr_env_callbacks *calls = &env->core->calls;
  orr_status status = needs_state(env);
  if (status) return status;
  for (int64_t i = 0; i < env->core->state_size; i++) {
    char name[128], number[32];
    if (!isfinite(state[i]))
      return engine_fail(env->engine, ORR_NUMBER, "environment '%s': state field '%s' is %s",
                         env->core->name,
                         orr_space_element_name(calls->state, i, name, sizeof name),
                         number_name(state[i], number, sizeof number));
  }
  expect_message(env);
  if (calls->restore) status = calls->restore(calls->user, state);
  if (status)
    return step_back(env, env->random, callback_failed(env, "set_state", env->steps, status));
  memcpy(env->state, state, (size_t)env->core->state_size * sizeof *state);
  env->steps = 0;
  env->ended = false;
  return ORR_OK;
}

/* The rest of a rollout after its end at step t: rewards, and the last observation repeated. */
static void fill_rest(const orr_env *env, int t, int horizon, orr_real reward, orr_real *rewards,
                      orr_real *observations) {
  size_t size = (size_t)env->core->observation_size;
  for (int i = t; i < horizon; i++) {
    rewards[i] = reward;
    if (observations)
      memcpy(observations + (size_t)(i + 1) * size, observations + (size_t)t * size,
             size * sizeof *observations);
  }
}

orr_status orr_env_rollout(orr_env *env, const double *state, const orr_real *actions, int horizon,
                           orr_real *rewards, orr_real *observations, int *steps,
                           bool *terminated) {
  const orr_env_callbacks *calls = &env->core->calls;
  size_t size = (size_t)env->core->observation_size;
  if (!calls->state) return calls->thread_safe ? ORR_STATE : needs_state(env);
  memcpy(env->next, state, (size_t)env->core->state_size * sizeof *state);
  orr_status status = calls->restore ? calls->restore(calls->user, state) : ORR_OK;
  if (!status && observations) status = calls->observe(calls->user, env->next, observations);
  int t = 0;
  orr_env_result result = {0};
  while (!status && t < horizon && !result.terminated) {
    status = advance(env, actions + (size_t)t * (size_t)env->core->action_size, &result);
    if (!status && !isfinite(result.reward)) status = ORR_NUMBER;
    if (!status && observations) {
      orr_real *seen = observations + (size_t)(t + 1) * size;
      status = calls->observe(calls->user, env->next, seen);
      if (!status && orr_space_first_non_finite(calls->observation, seen) >= 0) status = ORR_NUMBER;
    }
    if (!status) rewards[t++] = result.reward;
  }
  fill_rest(env, t, horizon, status ? (orr_real)NAN : 0, rewards, observations);
  if (steps) *steps = t;
  if (terminated) *terminated = result.terminated;
  if (calls->restore) {
    orr_status back = calls->restore(calls->user, env->state);
    if (!status) status = back;
  }
  return status;
}

void orr_env_rollout_state(const orr_env *env, double *state) {
  memcpy(state, env->next, (size_t)env->core->state_size * sizeof *state);
}

orr_status orr_env_draw(orr_env *env, orr_canvas *canvas) {
  const orr_env_callbacks *calls = &env->core->calls;
  if (!calls->draw)
    return engine_fail(env->engine, ORR_STATE, "environment '%s' has no draw function",
                       env->core->name);
  expect_message(env);
  orr_status status = calls->draw(calls->user, env->state, canvas);
  return status ? callback_failed(env, "draw", env->steps, status) : ORR_OK;
}
