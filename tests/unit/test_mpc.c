/* The closed loop: warm start, resets, failures, deadlines, and what it costs. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "orrery/mpc.h"

enum { HORIZON = 5 };

/* One number x is driven to `target`: -sum over steps of (x + running sum of actions - target)^2. */
struct drive {
  double target;
  bool all_bad;
  orr_status fail;
  int64_t calls, last_step;
  double sleep; /* seconds a call */
};

static orr_status score_drive(void *user, const orr_scoring *scoring) {
  struct drive *drive = user;
  drive->calls++;
  drive->last_step = scoring->step;
  if (drive->fail) return drive->fail;
  if (drive->sleep > 0) {
    struct timespec wait = {.tv_nsec = (long)(drive->sleep * 1e9)};
    nanosleep(&wait, NULL);
  }
  for (int i = 0; i < scoring->n; i++) {
    double x = (double)scoring->observation[0], cost = 0;
    for (int t = 0; t < scoring->horizon; t++) {
      x += (double)scoring->plans[i * scoring->horizon + t];
      cost += (x - drive->target) * (x - drive->target);
    }
    scoring->returns[i] = drive->all_bad ? (orr_real)(i % 2 ? NAN : -INFINITY) : (orr_real)-cost;
  }
  return ORR_OK;
}

struct rig {
  orr_engine *engine;
  struct drive drive;
  orr_mpc *mpc;
};

static void open_rig(struct rig *rig, const char *planner, const char *option, double value,
                     const orr_mpc_options *options) {
  orr_engine_options engine_options = orr_engine_options_defaults();
  engine_options.threads = 1;
  *rig = (struct rig){.engine = orr_engine_new(&engine_options), .drive = {.target = 1}};
  orr_real low = -0.5f, high = 0.5f;
  orr_field push = {.name = "push", .low = &low, .high = &high}, position = {.name = "x"};
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = &rig->drive;
  callbacks.score = score_drive;
  callbacks.observation = orr_space_new(rig->engine, &position, 1);
  callbacks.action = orr_space_new(rig->engine, &push, 1);
  orr_objective *objective = orr_objective_function(rig->engine, &callbacks);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {option, value}};
  orr_planner *p =
      orr_planner_new(rig->engine, planner, callbacks.action, settings, option ? 2 : 1);
  rig->mpc = orr_mpc_new(rig->engine, objective, p, options);
  cr_assert(rig->mpc, "%s", orr_engine_message(rig->engine));
  orr_space_free(callbacks.observation);
  orr_space_free(callbacks.action);
  orr_objective_free(objective);
  orr_planner_free(p);
}

static void close_rig(struct rig *rig) {
  orr_mpc_free(rig->mpc);
  orr_engine_free(rig->engine);
}

static orr_real act(struct rig *rig, orr_real x, orr_status wanted, orr_mpc_source source) {
  orr_real action = NAN;
  orr_mpc_info info;
  orr_status status = orr_mpc_act(rig->mpc, &x, &action, &info);
  cr_assert_eq(status, wanted, "status %s: %s", orr_status_name(status),
               orr_engine_message(rig->engine));
  cr_expect_eq(info.source, source, "source %d", (int)info.source);
  cr_assert(isfinite(action) && action >= -0.5f && action <= 0.5f);
  return action;
}

Test(mpc, drives_to_the_target) {
  const char *names[] = {"cem", "random_shooting"};
  for (int i = 0; i < 2; i++) {
    struct rig rig;
    open_rig(&rig, names[i], NULL, 0, NULL);
    orr_real x = -1;
    for (int t = 0; t < 12; t++) x += act(&rig, x, ORR_OK, ORR_MPC_PLANNED);
    cr_expect_float_eq(x, 1, 0.15, "%s ends at %g", names[i], (double)x);
    cr_expect_eq(rig.drive.last_step, 11);
    orr_mpc_reset(rig.mpc);
    act(&rig, x, ORR_OK, ORR_MPC_PLANNED);
    cr_expect_eq(rig.drive.last_step, 0);
    close_rig(&rig);
  }
}

Test(mpc, same_seed_same_actions_and_nothing_survives_a_reset) {
  struct rig rig;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.seed = 11;
  open_rig(&rig, "cem", NULL, 0, &options);
  orr_real first[6], again[6];
  for (int t = 0; t < 6; t++) first[t] = act(&rig, (orr_real)t, ORR_OK, ORR_MPC_PLANNED);
  orr_mpc_reset(rig.mpc);
  cr_expect_null(orr_mpc_plan(rig.mpc));
  orr_mpc_seed(rig.mpc, 11);
  for (int t = 0; t < 6; t++) again[t] = act(&rig, (orr_real)t, ORR_OK, ORR_MPC_PLANNED);
  cr_expect_arr_eq(first, again, sizeof first);
  orr_mpc_reset(rig.mpc);
  again[0] = act(&rig, 0, ORR_OK, ORR_MPC_PLANNED); /* the stream goes on */
  cr_expect_neq(first[0], again[0]);
  orr_mpc_seed(rig.mpc, 12);
  close_rig(&rig);
}

Test(mpc, warm_start_shifts_the_last_plan) {
  orr_real gap[2];
  for (int warm = 0; warm < 2; warm++) {
    struct rig rig;
    orr_mpc_options options = orr_mpc_options_defaults();
    options.warm_start = warm;
    open_rig(&rig, "cem", "deviation", 1e-6, &options); /* samples stay at the mean */
    orr_real plan[HORIZON] = {0.1f, 0.2f, 0.3f, 0.4f, 0.45f};
    orr_planner_set_plan(orr_mpc_planner(rig.mpc), plan);
    orr_real first = act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
    cr_expect_float_eq(first, 0.1, 1e-4);
    gap[warm] = act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
    if (warm) cr_expect_float_eq(orr_mpc_plan(rig.mpc)[HORIZON - 1], 0, 1e-4);
    close_rig(&rig);
  }
  cr_expect_float_eq(gap[0], 0, 1e-4);
  cr_expect_float_eq(gap[1], 0.2, 1e-4);
}

Test(mpc, all_bad_gives_the_last_plan_shifted_then_the_safe_action) {
  struct rig rig;
  orr_real safe = -0.25f;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.safe_action = &safe;
  open_rig(&rig, "cem", NULL, 0, &options);
  orr_real action;
  rig.drive.all_bad = true;
  action = act(&rig, 0, ORR_NUMBER, ORR_MPC_SAFE);
  cr_expect_eq(action, safe);
  cr_expect(strstr(orr_engine_message(rig.engine), "none of 2000 plans"));
  rig.drive.all_bad = false;
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  orr_real plan[HORIZON];
  memcpy(plan, orr_mpc_plan(rig.mpc), sizeof plan);
  rig.drive.all_bad = true;
  for (int t = 1; t < HORIZON; t++) {
    action = act(&rig, 0, ORR_NUMBER, ORR_MPC_LAST);
    cr_expect_eq(action, plan[t]);
  }
  for (int t = 0; t < 2; t++) {
    action = act(&rig, 0, ORR_NUMBER, ORR_MPC_SAFE);
    cr_expect_eq(action, safe);
  }
  rig.drive.all_bad = false;
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  orr_mpc_statistics statistics;
  orr_mpc_get_statistics(rig.mpc, &statistics);
  cr_expect_eq(statistics.fallbacks, HORIZON - 1 + 3);
  cr_expect_eq(statistics.non_finite, 2000 * (HORIZON - 1 + 3));
  cr_expect_eq(statistics.acts, HORIZON - 1 + 5);
  close_rig(&rig);
}

Test(mpc, a_bad_observation_a_failing_objective_and_an_interrupt) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  act(&rig, NAN, ORR_NUMBER, ORR_MPC_SAFE);
  cr_expect(strstr(orr_engine_message(rig.engine), "x of the observation at step 0"));
  cr_expect_eq(rig.drive.calls, 0);
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  rig.drive.fail = ORR_CALLBACK;
  act(&rig, 0, ORR_CALLBACK, ORR_MPC_LAST);
  rig.drive.fail = ORR_OK;
  orr_interrupt(rig.engine);
  act(&rig, 0, ORR_INTERRUPTED, ORR_MPC_LAST);
  orr_interrupt_clear(rig.engine);
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  close_rig(&rig);
}

Test(mpc, a_missed_deadline_still_gives_a_plan) {
  struct rig rig;
  orr_mpc_options options = orr_mpc_options_defaults();
  options.seconds = 1e-3;
  open_rig(&rig, "cem", NULL, 0, &options);
  rig.drive.sleep = 5e-3;
  orr_real late = act(&rig, -9, ORR_LATE, ORR_MPC_PLANNED);
  cr_expect_gt(late, 0);
  cr_expect(strstr(orr_engine_message(rig.engine), "past its limit"));
  cr_expect_eq(rig.drive.calls, 1);
  rig.drive.sleep = 0;
  orr_mpc_set_budget(rig.mpc, 2, 10);
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  cr_expect_eq(rig.drive.calls, 3);
  orr_mpc_statistics statistics;
  orr_mpc_get_statistics(rig.mpc, &statistics);
  cr_expect_eq(statistics.late, 1);
  cr_expect_geq(statistics.max, 5e-3);
  cr_expect(statistics.p99 <= statistics.max && statistics.p50 < statistics.p99);
  cr_expect_eq(statistics.iterations, 3);
  orr_mpc_clear_statistics(rig.mpc);
  orr_mpc_get_statistics(rig.mpc, &statistics);
  cr_expect(statistics.acts == 0 && statistics.max == 0 && statistics.p99 == 0);
  cr_expect_eq(orr_mpc_set_budget(rig.mpc, -1, 0), ORR_ARGUMENT);
  close_rig(&rig);
}

Test(mpc, repeated_actions_are_held) {
  struct rig rig;
  open_rig(&rig, "cem", "action_repeat", 5, NULL);
  orr_real first = act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  for (int t = 1; t < 5; t++) {
    orr_real held = act(&rig, 0, ORR_OK, ORR_MPC_HELD);
    cr_expect_eq(held, first);
  }
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  cr_expect_eq(rig.drive.last_step, 5);
  orr_mpc_reset(rig.mpc);
  act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
  close_rig(&rig);
}

Test(mpc, acting_does_not_allocate) {
  const char *names[] = {"cem", "random_shooting"};
  for (int i = 0; i < 2; i++) {
    struct rig rig;
    open_rig(&rig, names[i], NULL, 0, NULL);
    act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
    size_t before = orr_engine_allocations(rig.engine);
    for (int t = 0; t < 20; t++) act(&rig, 0, ORR_OK, ORR_MPC_PLANNED);
    orr_mpc_reset(rig.mpc);
    rig.drive.all_bad = true;
    act(&rig, 0, ORR_NUMBER, ORR_MPC_SAFE);
    cr_expect_eq(orr_engine_allocations(rig.engine), before);
    close_rig(&rig);
  }
}

Test(mpc, acting_on_the_simulator_does_not_allocate) {
  for (int threads = 1; threads <= 2; threads++) {
    orr_engine_options options = orr_engine_options_defaults();
    options.threads = threads;
    orr_engine *engine = orr_engine_new(&options);
    orr_env *env = orr_env_new(engine, "pendulum", NULL);
    orr_objective *objective = orr_objective_env(engine, env, NULL);
    orr_planner *planner = orr_planner_new(engine, "cem", orr_env_action_space(env), NULL, 0);
    orr_mpc *mpc = orr_mpc_new(engine, objective, planner, NULL);
    orr_real observation[3], action[1];
    orr_env_reset(env, 0, observation);
    orr_mpc_act(mpc, observation, action, NULL);
    size_t before = orr_engine_allocations(engine);
    for (int t = 0; t < 5; t++) cr_expect_eq(orr_mpc_act(mpc, observation, action, NULL), ORR_OK);
    cr_expect_eq(orr_engine_allocations(engine), before);
    orr_mpc_free(mpc);
    orr_planner_free(planner);
    orr_objective_free(objective);
    orr_env_free(env);
    orr_engine_free(engine);
  }
}

/* ---- not through the engine's allocator either: the process's own malloc and locks, counted */

static _Atomic long mallocs, locks;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define COUNTS_CALLS 1
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
void *malloc(size_t size) {
  mallocs++;
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
  mallocs++;
  return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
  mallocs++;
  return __libc_realloc(old, size);
}
int pthread_mutex_lock(pthread_mutex_t *mutex) {
  static int (*real)(pthread_mutex_t *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
  locks++;
  return real(mutex);
}
#else
#define COUNTS_CALLS 0
#endif

Test(mpc, acting_neither_calls_malloc_nor_locks_on_one_thread) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  long before = mallocs;
  void *volatile probe = malloc(1);
  free(probe);
  cr_assert_eq(mallocs, before + COUNTS_CALLS); /* the counter counts */
  orr_real x = 0, action;
  orr_mpc_act(rig.mpc, &x, &action, NULL);
  long allocated = mallocs, locked = locks;
  orr_status worst = ORR_OK;
  for (int t = 0; t < 10; t++) {
    orr_status status = orr_mpc_act(rig.mpc, &x, &action, NULL);
    if (status) worst = status;
  }
  long allocated_after = mallocs, locked_after = locks;
  cr_expect_eq(worst, ORR_OK);
  cr_expect_eq(allocated_after, allocated);
  cr_expect_eq(locked_after, locked);
  close_rig(&rig);
}

/* ---- every allocation fails in turn */

struct budget {
  long left, live;
};

static void *limited(void *user, void *old, size_t old_size, size_t new_size) {
  struct budget *budget = user;
  (void)old_size;
  if (new_size == 0) {
    budget->live -= old != NULL;
    free(old);
    return NULL;
  }
  if (budget->left-- <= 0) return NULL;
  void *memory = aligned_alloc(64, (new_size + 63) / 64 * 64);
  if (old) {
    memcpy(memory, old, old_size < new_size ? old_size : new_size);
    free(old);
  } else {
    budget->live++;
  }
  return memory;
}

/* Whether all went well; whatever happens, nothing may be left over. */
static bool plan_once(orr_engine *engine) {
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_objective *objective = env ? orr_objective_env(engine, env, NULL) : NULL;
  orr_planner_setting settings[] = {{"population", 10}, {"horizon", 4}, {"action_repeat", 2}};
  orr_planner *planner =
      env ? orr_planner_new(engine, "cem", orr_env_action_space(env), settings, 3) : NULL;
  orr_mpc *mpc = objective && planner ? orr_mpc_new(engine, objective, planner, NULL) : NULL;
  orr_real observation[3] = {1, 0, 0}, action[1];
  bool good = mpc && orr_env_reset(env, 1, observation) == ORR_OK;
  if (good) {
    orr_status status = orr_mpc_act(mpc, observation, action, NULL);
    cr_expect(status == ORR_OK || status == ORR_MEMORY, "%s", orr_status_name(status));
    good = status == ORR_OK;
    if (!good) good = orr_mpc_act(mpc, observation, action, NULL) == ORR_OK; /* still usable */
  }
  if (!good) cr_expect_eq(orr_engine_status(engine), ORR_MEMORY);
  orr_mpc_free(mpc);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_env_free(env);
  return good;
}

Test(mpc, any_allocation_may_fail) {
  int failures = 0;
  for (long n = 0; n < 1000; n++) {
    struct budget budget = {.left = 1000000};
    orr_engine_options options = orr_engine_options_defaults();
    options.allocate = limited;
    options.allocate_user = &budget;
    options.threads = 2;
    orr_engine *engine = orr_engine_new(&options);
    budget.left = n;
    bool good = plan_once(engine);
    orr_engine_free(engine);
    cr_assert_eq(budget.live, 0, "%ld blocks left when allocation %ld failed", budget.live, n);
    if (good) break;
    failures++;
  }
  cr_expect_gt(failures, 15);
  cr_expect_lt(failures, 900);
}

Test(mpc, parts_must_fit) {
  struct rig rig;
  open_rig(&rig, "cem", NULL, 0, NULL);
  orr_real low = -1, high = 1, bad = NAN;
  orr_field push = {.name = "push", .low = &low, .high = &high};
  orr_space *space = orr_space_new(rig.engine, &push, 1);
  orr_planner *planner = orr_planner_new(rig.engine, "cem", space, NULL, 0);
  orr_objective *objective = orr_mpc_objective(rig.mpc);
  cr_expect_null(orr_mpc_new(rig.engine, objective, planner, NULL));
  cr_expect(strstr(orr_engine_message(rig.engine), "different action spaces"));
  cr_expect_null(orr_mpc_new(rig.engine, NULL, planner, NULL));
  orr_mpc_options options = orr_mpc_options_defaults();
  options.safe_action = &bad;
  cr_expect_null(orr_mpc_new(rig.engine, objective, orr_mpc_planner(rig.mpc), &options));
  options = orr_mpc_options_defaults();
  options.seconds = NAN;
  cr_expect_null(orr_mpc_new(rig.engine, objective, orr_mpc_planner(rig.mpc), &options));
  orr_planner_free(planner);
  orr_space_free(space);
  close_rig(&rig);
}
