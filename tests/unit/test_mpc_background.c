/* A planning thread: what acting answers meanwhile, and how it is stopped. The objective waits at a
   gate, so that what is tested does not depend on how fast anything is. (Races:
   tests/threads/mpc.c.) */
#include <pthread.h>
#include <stdatomic.h>

#include "drive.h"

struct gated {
  struct drive drive;
  atomic_bool open, waits, raced;
};

static void nap(void) {
  struct timespec moment = {.tv_nsec = 100000};
  nanosleep(&moment, NULL);
}

static orr_status score_gated(void *user, const orr_scoring *scoring) {
  struct gated *gated = user;
  while (!atomic_load(&gated->open)) {
    atomic_store(&gated->waits, true);
    nap();
  }
  atomic_store(&gated->waits, false);
  return score_drive(&gated->drive, scoring);
}

static orr_status prepare_gated(void *user, int n, int horizon) {
  (void)n, (void)horizon;
  struct gated *gated = user;
  if (atomic_load(&gated->waits)) atomic_store(&gated->raced, true);
  return ORR_OK;
}

struct loop {
  orr_engine *engine;
  struct gated gated;
  orr_objective *objective;
  orr_planner *planner;
  orr_mpc *mpc;
};

static void open_loop(struct loop *loop, double seconds) {
  memset(loop, 0, sizeof *loop);
  atomic_init(&loop->gated.open, true);
  loop->gated.drive.target = 1;
  loop->engine = orr_engine_new(NULL);
  orr_real low = -0.5f, high = 0.5f;
  orr_field push = {.name = "push", .low = &low, .high = &high}, position = {.name = "x"};
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = &loop->gated;
  callbacks.score = score_gated;
  callbacks.prepare = prepare_gated;
  callbacks.any_thread = true;
  callbacks.observation = orr_space_new(loop->engine, &position, 1);
  callbacks.action = orr_space_new(loop->engine, &push, 1);
  loop->objective = orr_objective_function(loop->engine, &callbacks);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {"population", 50}, {"iterations", 2}};
  loop->planner = orr_planner_new(loop->engine, "cem", callbacks.action, settings, 3);
  orr_mpc_options options = orr_mpc_options_defaults();
  options.background = true;
  options.seconds = seconds;
  loop->mpc = orr_mpc_new(loop->engine, loop->objective, loop->planner, &options);
  cr_assert(loop->mpc, "%s", orr_engine_message(loop->engine));
  orr_space_free(callbacks.observation);
  orr_space_free(callbacks.action);
}

static void close_loop(struct loop *loop) {
  orr_mpc_free(loop->mpc);
  orr_planner_free(loop->planner);
  orr_objective_free(loop->objective);
  orr_engine_free(loop->engine);
}

static orr_mpc_info act_once(struct loop *loop, orr_real x, orr_status wanted, orr_real *action) {
  orr_mpc_info info;
  orr_status status = orr_mpc_act(loop->mpc, &x, action, &info);
  cr_expect_eq(status, wanted, "%s: %s", orr_status_name(status), orr_engine_message(loop->engine));
  cr_assert(*action >= -0.5f && *action <= 0.5f);
  return info;
}

Test(mpc_background, the_newest_plan_is_executed_while_the_next_one_is_made) {
  struct loop loop;
  open_loop(&loop, 0);
  orr_real plan[HORIZON], action;
  orr_mpc_info info = act_once(&loop, 0, ORR_OK, &action); /* waits for the first plan */
  cr_expect(info.source == ORR_MPC_PLANNED && info.age == 0 && info.scored == 100);
  memcpy(plan, orr_mpc_plan(loop.mpc), sizeof plan);
  atomic_store(&loop.gated.open, false);
  for (int t = 1; t < HORIZON; t++) {
    info = act_once(&loop, 0, ORR_OK, &action);
    cr_expect(info.source == ORR_MPC_PLANNED && info.age == t && action == plan[t], "%d", t);
  }
  info = act_once(&loop, 0, ORR_OK, &action); /* used up, and there is no other yet */
  cr_expect(info.source == ORR_MPC_SAFE && action == 0);
  while (!atomic_load(&loop.gated.waits)) nap();
  atomic_store(&loop.gated.open, true);
  /* a plan for step 1 was under way, and the next one starts where the newest observation says */
  do {
    nap();
    info = act_once(&loop, 0, ORR_OK, &action);
  } while (info.source != ORR_MPC_PLANNED);
  cr_expect_lt(info.age, HORIZON);
  orr_mpc_statistics statistics;
  orr_mpc_get_statistics(loop.mpc, &statistics);
  cr_expect_lt(statistics.plans, statistics.acts);
  close_loop(&loop);
}

Test(mpc_background, the_first_act_waits_as_long_as_its_budget) {
  struct loop loop;
  open_loop(&loop, 0.02);
  orr_real action;
  atomic_store(&loop.gated.open, false);
  double start = orr_clock();
  orr_mpc_info info = act_once(&loop, 0, ORR_LATE, &action);
  cr_expect(info.source == ORR_MPC_SAFE && action == 0);
  cr_expect_geq(orr_clock() - start, 0.02);
  cr_expect(strstr(orr_engine_message(loop.engine), "no plan yet at step 0"));
  atomic_store(&loop.gated.open, true);
  for (int i = 0; i < 10000 && info.source != ORR_MPC_PLANNED; i++, nap()) {
    orr_real x = 0;
    orr_mpc_act(loop.mpc, &x, &action, &info);
  }
  cr_expect_eq(info.source, ORR_MPC_PLANNED);
  close_loop(&loop);
}

Test(mpc_background, a_failure_keeps_its_message_and_the_last_plan) {
  struct loop loop;
  open_loop(&loop, 0);
  orr_real action;
  act_once(&loop, 0, ORR_OK, &action);
  orr_mpc_pause(loop.mpc);
  loop.gated.drive.all_bad = true;
  orr_mpc_resume(loop.mpc);
  orr_mpc_info info = {.source = ORR_MPC_PLANNED};
  orr_status status = ORR_OK;
  for (int i = 0; i < 10000 && !status; i++) {
    orr_real x = 0;
    status = orr_mpc_act(loop.mpc, &x, &action, &info);
    nap();
  }
  cr_expect_eq(status, ORR_NUMBER);
  cr_expect_neq(info.source, ORR_MPC_PLANNED);
  cr_expect(strstr(orr_engine_message(loop.engine), "none of 100 plans has a finite return"));
  info = act_once(&loop, NAN, ORR_NUMBER, &action);
  cr_expect(strstr(orr_engine_message(loop.engine), "x of the observation"));
  orr_mpc_reset(loop.mpc);
  act_once(&loop, 0, ORR_NUMBER, &action);
  orr_mpc_pause(loop.mpc);
  orr_mpc_reset(loop.mpc);
  info = act_once(&loop, 0, ORR_LATE, &action); /* nobody waits for a thread that rests */
  cr_expect_eq(info.source, ORR_MPC_SAFE);
  close_loop(&loop);
}

Test(mpc_background, the_host_is_told_that_the_engine_is_busy) {
  struct loop loop;
  open_loop(&loop, 0);
  int threads = orr_engine_threads(loop.engine);
  cr_expect_eq(orr_engine_set_threads(loop.engine, threads + 1), ORR_BUSY);
  orr_mpc_pause(loop.mpc);
  orr_mpc_pause(loop.mpc);
  cr_expect_eq(orr_engine_set_threads(loop.engine, threads + 1), ORR_OK);
  orr_mpc_resume(loop.mpc);
  cr_expect_eq(orr_engine_set_threads(loop.engine, threads), ORR_OK);
  orr_mpc_resume(loop.mpc);
  orr_mpc_resume(loop.mpc); /* one too many does nothing */
  cr_expect_eq(orr_engine_set_threads(loop.engine, threads + 1), ORR_BUSY);
  orr_mpc_free(loop.mpc);
  loop.mpc = NULL;
  cr_expect_eq(orr_engine_set_threads(loop.engine, threads + 1), ORR_OK);
  close_loop(&loop);
}

Test(mpc_background, it_ends_while_a_plan_is_made) {
  for (int i = 0; i < 20; i++) {
    struct loop loop;
    open_loop(&loop, 0);
    orr_real action;
    act_once(&loop, 0, ORR_OK, &action);
    act_once(&loop, 0, ORR_OK, &action);
    if (i % 3 == 0) orr_mpc_pause(loop.mpc);
    close_loop(&loop);
  }
}

static orr_status pay_nothing(void *user, int rows, const orr_real *s, const orr_real *a,
                              const orr_real *next, const orr_real *t, orr_real *rewards,
                              orr_real *terminated) {
  (void)user, (void)s, (void)a, (void)next, (void)t, (void)terminated;
  memset(rewards, 0, (size_t)rows * sizeof *rewards);
  return ORR_OK;
}

Test(mpc_background, what_keeps_to_the_hosts_thread_is_refused) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_simulator_options simulator = orr_simulator_options_defaults();
  simulator.reward_function = pay_nothing;
  orr_objective *objective = orr_objective_env(engine, env, &simulator);
  orr_planner *planner = orr_planner_new(engine, "cem", orr_env_action_space(env), NULL, 0);
  orr_mpc_options options = orr_mpc_options_defaults();
  options.background = true;
  cr_expect_null(orr_mpc_new(engine, objective, planner, &options));
  cr_expect(strstr(orr_engine_message(engine), "'pendulum' runs on the host's thread only"));
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_env_free(env);
  orr_engine_free(engine);
}

/* The environment has moved on when plans are scored: they start where it was seen. */
Test(mpc_background, a_simulator_scores_from_the_state_that_was_seen) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_objective *objective = orr_objective_env(engine, env, NULL);
  orr_real observation[3], plans[4 * HORIZON], first[4], again[4];
  for (int i = 0; i < 4 * HORIZON; i++) plans[i] = (orr_real)(0.1 * i - 1);
  orr_env_reset(env, 3, observation);
  orr_scoring scoring = {
      .observation = observation, .plans = plans, .n = 4, .horizon = HORIZON, .returns = first};
  cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK);
  double snapshot[16];
  cr_assert_leq(orr_objective_snapshot_size(objective), sizeof snapshot);
  cr_expect_eq(orr_objective_take_snapshot(objective, observation, snapshot), ORR_OK);
  orr_real other[3];
  orr_env_reset(env, 99, other);
  cr_expect_eq(orr_objective_take_snapshot(objective, observation, snapshot + 8), ORR_STATE);
  scoring.returns = again;
  cr_expect_eq(orr_objective_score(objective, &scoring), ORR_STATE);
  orr_objective_use_snapshot(objective, snapshot);
  cr_expect_eq(orr_objective_score(objective, &scoring), ORR_OK);
  cr_expect_arr_eq(again, first, sizeof first);
  orr_objective_use_snapshot(objective, NULL);
  scoring.observation = other;
  cr_expect_eq(orr_objective_score(objective, &scoring), ORR_OK);
  cr_expect_neq(again[0], first[0]);
  orr_objective_free(objective);
  orr_env_free(env);
  orr_engine_free(engine);
}

static void *open_soon(void *user) {
  struct gated *gated = user;
  for (int i = 0; i < 100; i++) nap();
  atomic_store(&gated->open, true);
  return NULL;
}

/* The thread waits at the gate. */
static void plan_at_gate(struct loop *loop) {
  orr_real action;
  atomic_store(&loop->gated.open, false);
  act_once(loop, 0, ORR_OK, &action);
  while (!atomic_load(&loop->gated.waits)) nap();
}

static pthread_t open_later(struct loop *loop) {
  pthread_t opener;
  cr_assert_eq(pthread_create(&opener, NULL, open_soon, &loop->gated), 0);
  return opener;
}

Test(mpc_background, a_larger_planner_waits_for_the_buffers) {
  struct loop loop;
  open_loop(&loop, 0);
  orr_real action;
  act_once(&loop, 0, ORR_OK, &action);
  orr_space *space = orr_planner_action_space(loop.planner);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {"population", 80}};
  orr_planner *larger = orr_planner_new(loop.engine, "cem", space, settings, 2);
  plan_at_gate(&loop);
  pthread_t opener = open_later(&loop);
  cr_expect_eq(orr_mpc_set_planner(loop.mpc, larger, NULL), ORR_OK);
  pthread_join(opener, NULL);
  cr_expect_not(loop.gated.raced);
  plan_at_gate(&loop);
  cr_expect_eq(orr_objective_prepare(loop.objective, 200, HORIZON), ORR_STATE);
  cr_expect(strstr(orr_engine_message(loop.engine), "is already scoring"));
  opener = open_later(&loop);
  cr_expect_eq(orr_mpc_set_objective(loop.mpc, NULL), ORR_ARGUMENT); /* and plans on after it */
  pthread_join(opener, NULL);
  cr_expect_not(loop.gated.raced);
  orr_mpc_reset(loop.mpc);
  cr_expect_eq(act_once(&loop, 0, ORR_OK, &action).source, ORR_MPC_PLANNED);
  orr_planner_free(larger);
  close_loop(&loop);
}

/* How many batches were scored, once nothing is left to do. */
static int64_t batches(struct loop *loop) {
  for (int i = 0; i < 100; i++) nap();
  orr_mpc_pause(loop->mpc);
  int64_t calls = loop->gated.drive.calls;
  orr_mpc_resume(loop->mpc);
  return calls;
}

/* Some steps on, it rests, and an observation waits for it. */
static int64_t leave_observation(struct loop *loop) {
  orr_real action;
  for (int i = 0; i < 5; i++) act_once(loop, 0, ORR_OK, &action);
  int64_t calls = batches(loop);
  orr_mpc_pause(loop->mpc);
  act_once(loop, 0, ORR_OK, &action);
  return calls;
}

Test(mpc_background, a_new_episode_knows_nothing_of_the_old_one) {
  struct loop loop;
  open_loop(&loop, 0);
  orr_real action;
  int64_t calls = leave_observation(&loop);
  orr_mpc_reset(loop.mpc);
  orr_mpc_resume(loop.mpc);
  cr_expect_eq(batches(&loop), calls, "an observation of the old episode was planned for");
  orr_mpc_info info = act_once(&loop, 0, ORR_OK, &action);
  cr_expect(info.shift == 0 && info.age == 0 && info.step == 0, "shift %d", info.shift);
  close_loop(&loop);
}

Test(mpc_background, another_planner_starts_at_the_next_step) {
  struct loop loop;
  open_loop(&loop, 0);
  orr_space *space = orr_planner_action_space(loop.planner);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {"population", 50}};
  orr_planner *next = orr_planner_new(loop.engine, "cem", space, settings, 2);
  int64_t calls = leave_observation(&loop);
  cr_expect_eq(orr_mpc_set_planner(loop.mpc, next, NULL), ORR_OK);
  orr_mpc_resume(loop.mpc);
  cr_expect_eq(batches(&loop), calls, "an observation from before it was planned for");
  orr_real action;
  act_once(&loop, 0, ORR_OK, &action);
  cr_expect_gt(batches(&loop), calls);
  orr_planner_free(next);
  close_loop(&loop);
}

Test(mpc_background, cleared_statistics_stay_cleared) {
  struct loop loop;
  open_loop(&loop, 0);
  orr_real action;
  for (int i = 0; i < 5; i++) {
    act_once(&loop, 0, ORR_OK, &action);
    batches(&loop);
  }
  orr_mpc_clear_statistics(loop.mpc); /* what was made last is not taken yet */
  act_once(&loop, 0, ORR_OK, &action);
  orr_mpc_statistics statistics;
  orr_mpc_get_statistics(loop.mpc, &statistics);
  cr_expect_leq(statistics.plans, 1);
  cr_expect_eq(statistics.acts, 1);
  close_loop(&loop);
}

/* While it rests, its objective is the host's, and sees what is there now. */
Test(mpc_background, a_simulator_of_a_paused_mpc_looks_at_the_environment) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_objective *objective = orr_objective_env(engine, env, NULL),
                *fresh = orr_objective_env(engine, env, NULL);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {"population", 10}};
  orr_planner *planner = orr_planner_new(engine, "cem", orr_env_action_space(env), settings, 2);
  orr_mpc_options options = orr_mpc_options_defaults();
  options.background = true;
  orr_mpc *mpc = orr_mpc_new(engine, objective, planner, &options);
  orr_real observation[3], action, plan[HORIZON] = {0}, got, wanted;
  orr_env_reset(env, 1, observation);
  cr_assert_eq(orr_mpc_act(mpc, observation, &action, NULL), ORR_OK);
  orr_mpc_pause(mpc);
  orr_env_reset(env, 99, observation);
  orr_scoring scoring = {
      .observation = observation, .plans = plan, .n = 1, .horizon = HORIZON, .returns = &got};
  cr_expect_eq(orr_objective_score(objective, &scoring), ORR_OK);
  scoring.returns = &wanted;
  cr_expect_eq(orr_objective_score(fresh, &scoring), ORR_OK);
  cr_expect_eq(got, wanted);
  orr_mpc_free(mpc);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_objective_free(fresh);
  orr_env_free(env);
  orr_engine_free(engine);
}
