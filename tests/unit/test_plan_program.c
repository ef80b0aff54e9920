/* Learned rollouts as objectives: rows, members, particles, and what planning with them costs. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "orrery/mpc.h"
#include "orrery/rollout.h"

enum { HORIZON = 4, MEMBERS = 5 };

static orr_engine *new_engine(int threads) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = threads;
  return orr_engine_new(&options);
}

/* What to build: x' = x + push[0] + bias of the member + noise draw, return = sum of -(x' - goal)^2. */
struct world {
  double noise;
  bool members, time, states, bad_member;
  bool shared; /* x starts where the program of new_first says */
};

/* Biases of the members, 0, 0.1, ... */
static orr_node new_bias(orr_engine *engine, orr_graph *graph, bool bad_member) {
  int64_t shape[2] = {MEMBERS, 1};
  orr_tensor *biases = orr_tensor_new(engine, ORR_REAL, 2, shape);
  orr_real *values = orr_tensor_data(biases);
  for (int m = 0; m < MEMBERS; m++) values[m] = (orr_real)(0.1 * m);
  if (bad_member) values[2] = NAN;
  orr_node bias = orr_parameter(graph, biases, ORR_MEMBER);
  orr_tensor_free(biases);
  return bias;
}

static orr_program *new_program(orr_engine *engine, struct world world) {
  int64_t one = 1, plan_shape[2] = {HORIZON, 1};
  orr_graph *graph = orr_graph_new(engine);
  orr_node state = orr_input(graph, "state", ORR_UNIFORM, 1, &one);
  orr_node plan = orr_input(graph, "plan", ORR_ROW, 2, plan_shape);
  orr_node goal = orr_input(graph, "goal", ORR_UNIFORM, 0, NULL);
  orr_node time = world.time ? orr_input(graph, "time", ORR_UNIFORM, 0, NULL) : ORR_NONE;
  orr_node start = world.shared ? orr_input(graph, "start", ORR_ROW, 1, &one) : state;
  orr_node bias = ORR_NONE;
  if (world.members) bias = new_bias(engine, graph, world.bad_member);
  orr_graph *body = orr_scan_begin(graph, HORIZON, false);
  orr_node x = orr_scan_carry(body, start);
  orr_node total = orr_scan_carry(body, time == ORR_NONE ? orr_number(graph, 0) : time);
  orr_node next = orr_binary(body, ORR_OP_add, x, orr_scan_slice(body, plan));
  if (bias != ORR_NONE) next = orr_binary(body, ORR_OP_add, next, orr_scan_capture(body, bias));
  if (world.noise > 0)
    next = orr_binary(body, ORR_OP_add, next,
                      orr_binary(body, ORR_OP_mul, orr_number(body, world.noise),
                                 orr_normal(body, 1, &one)));
  orr_node apart = orr_binary(body, ORR_OP_sub, next, orr_scan_capture(body, goal));
  orr_node reward =
      orr_unary(body, ORR_OP_neg, orr_sum_all(body, orr_unary(body, ORR_OP_square, apart)));
  orr_node carries[2] = {next, orr_binary(body, ORR_OP_add, total, reward)}, results[3];
  cr_assert_eq(orr_scan_end(body, carries, 1, &next, results), ORR_OK, "%s",
               orr_engine_message(engine));
  if (world.states) orr_output(graph, "states", results[2]);
  else orr_output(graph, "return", results[1]);
  orr_program *program = orr_compile(graph);
  cr_assert(program, "%s", orr_engine_message(engine));
  orr_graph_free(graph);
  return program;
}

static void set_goal(orr_engine *engine, orr_objective *objective, double goal) {
  orr_tensor *tensor = orr_tensor_number(engine, goal);
  cr_assert_eq(orr_objective_set_input(objective, "goal", tensor), ORR_OK);
  orr_tensor_free(tensor);
}

static orr_objective *new_objective(orr_engine *engine, struct world world, int particles,
                                    const int *elites, int elites_count) {
  orr_program *program = new_program(engine, world);
  orr_rollout_options options = orr_rollout_options_defaults();
  options.members = world.members ? MEMBERS : 0;
  options.particles = particles;
  options.elites = elites;
  options.elites_count = elites_count;
  orr_objective *objective = orr_objective_program(engine, program, &options);
  cr_assert(objective, "%s", orr_engine_message(engine));
  orr_program_free(program);
  set_goal(engine, objective, 1);
  return objective;
}

static void score(orr_objective *objective, const orr_real *plans, int n, uint64_t seed,
                  orr_real *returns) {
  orr_real observation = 0.25f;
  orr_scoring scoring = {.observation = &observation,
                         .plans = plans,
                         .n = n,
                         .horizon = HORIZON,
                         .step = 3,
                         .seed = seed,
                         .returns = returns};
  cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK, "%s",
               orr_engine_message(orr_objective_engine(objective)));
}

/* The return by hand, from a start. */
static double by_hand_from(double x, const orr_real *plan, double bias, double goal) {
  double sum = 0;
  for (int t = 0; t < HORIZON; t++) {
    x += (double)plan[t] + bias;
    sum -= (x - goal) * (x - goal);
  }
  return sum;
}

static double by_hand(const orr_real *plan, double bias, double goal) {
  return by_hand_from(0.25, plan, bias, goal);
}

static void fill_plans(orr_real *plans, int n) {
  orr_random random = orr_random_new(5, 0);
  for (int i = 0; i < n * HORIZON; i++) plans[i] = (orr_real)(orr_random_uniform(&random) - 0.5);
}

Test(plan_program, returns_are_those_of_the_program) {
  orr_engine *engine = new_engine(2);
  orr_objective *objective = new_objective(engine, (struct world){0}, 1, NULL, 0);
  cr_expect_eq(orr_objective_horizon(objective), HORIZON);
  orr_real plans[100 * HORIZON], returns[100];
  fill_plans(plans, 100);
  for (int n = 100; n > 0; n /= 3) { /* a shrinking population */
    score(objective, plans, n, 0, returns);
    for (int i = 0; i < n; i++)
      cr_expect_float_eq((double)returns[i], by_hand(plans + i * HORIZON, 0, 1), 1e-5);
  }
  set_goal(engine, objective, -2);
  score(objective, plans, 100, 0, returns);
  cr_expect_float_eq((double)returns[7], by_hand(plans + 7 * HORIZON, 0, -2), 1e-4);
  orr_tensor *tensor = orr_tensor_number(engine, 1);
  cr_expect_eq(orr_objective_set_input(objective, "state", tensor), ORR_FIELD);
  cr_expect_eq(orr_objective_set_input(objective, "gaol", tensor), ORR_FIELD);
  orr_tensor_free(tensor);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_program, the_step_of_the_episode_arrives) {
  orr_engine *engine = new_engine(1);
  orr_objective *objective = new_objective(engine, (struct world){.time = true}, 1, NULL, 0);
  orr_real plans[HORIZON] = {0.1f, 0.1f, 0.1f, 0.1f}, returns[1];
  score(objective, plans, 1, 0, returns);
  cr_expect_float_eq((double)returns[0], 3 + by_hand(plans, 0, 1), 1e-5);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_program, particles_use_elites_in_turn) {
  orr_engine *engine = new_engine(2);
  const int elites[3] = {4, 0, 2};
  /* 7 particles of 3 elites: 3, 2 and 2 of them; then fewer particles than elites */
  const int particles[2] = {7, 2};
  orr_real plans[50 * HORIZON], returns[50];
  fill_plans(plans, 50);
  for (int k = 0; k < 2; k++) {
    orr_objective *objective =
        new_objective(engine, (struct world){.members = true}, particles[k], elites, 3);
    score(objective, plans, 50, 0, returns);
    for (int i = 0; i < 50; i++) {
      double sum = 0;
      for (int p = 0; p < particles[k]; p++)
        sum += by_hand(plans + i * HORIZON, 0.1 * elites[p % 3], 1);
      cr_expect_float_eq((double)returns[i], sum / particles[k], 1e-4);
    }
    orr_objective_free(objective);
  }
  orr_engine_free(engine);
}

Test(plan_program, one_bad_particle_spoils_a_plan) {
  orr_engine *engine = new_engine(1);
  struct world world = {.members = true, .bad_member = true};
  orr_real plans[3 * HORIZON], returns[3];
  fill_plans(plans, 3);
  const int good[2] = {0, 1};
  orr_objective *objective = new_objective(engine, world, 10, NULL, 0);
  score(objective, plans, 3, 0, returns);
  for (int i = 0; i < 3; i++) cr_expect(isnan(returns[i]));
  orr_objective_free(objective);
  objective = new_objective(engine, world, 10, good, 2);
  score(objective, plans, 3, 0, returns);
  for (int i = 0; i < 3; i++) cr_expect(isfinite(returns[i]));
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_program, noise_differs_by_particle_and_not_by_thread) {
  orr_real plans[200 * HORIZON], returns[2][200], other[200];
  fill_plans(plans, 200);
  for (int threads = 1; threads <= 2; threads++) {
    orr_engine *engine = new_engine(threads);
    orr_objective *objective =
        new_objective(engine, (struct world){.members = true, .noise = 0.1}, 20, NULL, 0);
    score(objective, plans, 200, 9, returns[threads - 1]);
    score(objective, plans, 200, 10, other);
    cr_expect_neq(other[0], returns[threads - 1][0]);
    score(objective, plans, 200, 9, other); /* the same again */
    cr_expect_arr_eq(other, returns[threads - 1], sizeof other);
    orr_objective_free(objective);
    orr_engine_free(engine);
  }
  cr_expect_arr_eq(returns[0], returns[1], sizeof returns[0]);
}

/* start = (state + time) kick + bias - 2 plan[0], as the output `name`. */
static orr_program *new_first(orr_engine *engine, bool members, const char *name) {
  int64_t one = 1, plan_shape[2] = {HORIZON, 1};
  orr_graph *graph = orr_graph_new(engine);
  orr_node state = orr_input(graph, "state", ORR_UNIFORM, 1, &one);
  orr_node plan = orr_input(graph, "plan", ORR_ROW, 2, plan_shape);
  orr_node kick = orr_input(graph, "kick", ORR_UNIFORM, 0, NULL);
  orr_node time = orr_input(graph, "time", ORR_UNIFORM, 0, NULL);
  orr_node push = orr_reshape(graph, orr_slice(graph, plan, 0, 0, 1), 1, &one);
  orr_node start = orr_binary(graph, ORR_OP_mul, orr_binary(graph, ORR_OP_add, state, time), kick);
  if (members) start = orr_binary(graph, ORR_OP_add, start, new_bias(engine, graph, false));
  push = orr_binary(graph, ORR_OP_mul, orr_number(graph, 2), push);
  orr_output(graph, name, orr_binary(graph, ORR_OP_sub, start, push));
  orr_program *program = orr_compile(graph);
  cr_assert(program, "%s", orr_engine_message(engine));
  orr_graph_free(graph);
  return program;
}

static orr_objective *new_shared(orr_engine *engine, struct world world, int particles,
                                 const int *elites, int elites_count) {
  world.shared = true;
  orr_program *program = new_program(engine, world);
  orr_rollout_options options = orr_rollout_options_defaults();
  options.members = world.members ? MEMBERS : 0;
  options.particles = particles;
  options.elites = elites;
  options.elites_count = elites_count;
  options.first = new_first(engine, world.members, "start");
  orr_objective *objective = orr_objective_program(engine, program, &options);
  cr_assert(objective, "%s", orr_engine_message(engine));
  orr_program_free(program);
  orr_program_free(options.first);
  set_goal(engine, objective, 1);
  orr_tensor *kick = orr_tensor_number(engine, 0.5);
  cr_assert_eq(orr_objective_set_input(objective, "kick", kick), ORR_OK);
  cr_expect_eq(orr_objective_set_input(objective, "start", kick), ORR_FIELD);
  orr_tensor_free(kick);
  return objective;
}

Test(plan_program, particles_of_a_member_share_what_the_first_program_gives) {
  const int elites[3] = {4, 0, 2};
  const int particles[3] = {7, 2, 3};
  orr_real plans[50 * HORIZON], returns[50];
  fill_plans(plans, 50);
  for (int k = 0; k < 6; k++) {
    bool members = k < 3;
    int count = particles[k % 3];
    orr_engine *engine = new_engine(1 + k % 3);
    orr_objective *objective =
        new_shared(engine, (struct world){.members = members}, count, elites, members ? 3 : 0);
    for (int n = 50; n > 0; n /= 3) { /* a shrinking population */
      score(objective, plans, n, 0, returns);
      for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int p = 0; p < count; p++) {
          double bias = members ? 0.1 * elites[p % 3] : 0;
          double start = 0.5 * (0.25 + 3) + bias - 2 * (double)plans[i * HORIZON];
          sum += by_hand_from(start, plans + i * HORIZON, bias, 1);
        }
        cr_expect_float_eq((double)returns[i], sum / count, 1e-4);
      }
    }
    orr_objective_free(objective);
    orr_engine_free(engine);
  }
}

Test(plan_program, sharing_does_not_allocate) {
  orr_engine *engine = new_engine(2);
  orr_objective *objective =
      new_shared(engine, (struct world){.members = true, .noise = 0.1}, 20, NULL, 0);
  orr_real plans[200 * HORIZON], returns[200];
  fill_plans(plans, 200);
  cr_assert_eq(orr_objective_prepare(objective, 200, HORIZON), ORR_OK);
  score(objective, plans, 200, 0, returns);
  size_t warm = orr_engine_allocations(engine);
  for (int i = 1; i < 5; i++) score(objective, plans, 200, (uint64_t)i, returns);
  cr_expect_eq(orr_engine_allocations(engine), warm);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_program, a_first_program_that_does_not_fit_is_refused) {
  orr_engine *engine = new_engine(1);
  orr_program *program = new_program(engine, (struct world){.shared = true});
  orr_rollout_options options = orr_rollout_options_defaults();
  options.first = new_first(engine, false, "begin");
  cr_expect_null(orr_objective_program(engine, program, &options));
  cr_expect(strstr(orr_engine_message(engine), "output 'begin' of the first program"));
  orr_program_free(options.first);
  orr_program_free(program);
  orr_engine_free(engine);
}

static orr_mpc *new_mpc(orr_engine *engine, struct world world) {
  orr_objective *objective = new_objective(engine, world, 20, NULL, 0);
  orr_real low = -0.5f, high = 0.5f;
  orr_field push = {.name = "push", .low = &low, .high = &high};
  orr_space *space = orr_space_new(engine, &push, 1);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {"population", 100}};
  orr_planner *planner = orr_planner_new(engine, "cem", space, settings, 2);
  orr_mpc *mpc = orr_mpc_new(engine, objective, planner, NULL);
  cr_assert(mpc, "%s", orr_engine_message(engine));
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_space_free(space);
  return mpc;
}

Test(plan_program, an_mpc_plans_alike_on_any_number_of_threads_and_does_not_allocate) {
  orr_real actions[2][5];
  for (int threads = 1; threads <= 2; threads++) {
    orr_engine *engine = new_engine(threads);
    orr_mpc *mpc = new_mpc(engine, (struct world){.members = true, .noise = 0.02});
    orr_real x = -1;
    size_t warm = 0;
    for (int t = 0; t < 5; t++) {
      cr_assert_eq(orr_mpc_act(mpc, &x, &actions[threads - 1][t], NULL), ORR_OK);
      x += actions[threads - 1][t] + 0.2f; /* the members' mean bias */
      if (t == 0) warm = orr_engine_allocations(engine);
    }
    cr_expect_eq(orr_engine_allocations(engine), warm);
    cr_expect_float_eq((double)x, 1, 0.3);
    orr_mpc_free(mpc);
    orr_engine_free(engine);
  }
  cr_expect_arr_eq(actions[0], actions[1], sizeof actions[0]);
}

static orr_status reward_rows(void *user, int rows, const orr_real *s, const orr_real *a,
                              const orr_real *next, const orr_real *t, orr_real *rewards,
                              orr_real *terminated) {
  (void)user;
  for (int i = 0; i < rows; i++) {
    rewards[i] = t[i] < 3 || fabs((double)(s[i] + a[i] - next[i])) > 1e-5
                     ? 1e6f /* wrong rows */
                     : -(next[i] - 1) * (next[i] - 1);
    terminated[i] = a[i] == 0.125f;
  }
  return ORR_OK;
}

Test(plan_program, rewards_by_a_function_of_the_host) {
  orr_engine *engine = new_engine(2);
  orr_program *program = new_program(engine, (struct world){.states = true});
  orr_rollout_options options = orr_rollout_options_defaults();
  options.particles = 2;
  options.reward_function = reward_rows;
  orr_objective *objective = orr_objective_program(engine, program, &options);
  cr_assert(objective, "%s", orr_engine_message(engine));
  set_goal(engine, objective, 1);
  orr_real plans[30 * HORIZON], returns[30];
  fill_plans(plans, 30);
  score(objective, plans, 30, 0, returns);
  for (int i = 0; i < 30; i++)
    cr_expect_float_eq((double)returns[i], by_hand(plans + i * HORIZON, 0, 1), 1e-4);
  plans[0] = 0.125f; /* the first step ends it */
  plans[2 * HORIZON] = NAN;
  score(objective, plans, 30, 0, returns);
  cr_expect_float_eq((double)returns[0], -0.625 * 0.625, 1e-4);
  cr_expect(isnan(returns[2]));
  orr_objective_free(objective);
  options.reward_function = NULL;
  cr_expect_null(orr_objective_program(engine, program, &options));
  cr_expect(strstr(orr_engine_message(engine), "output 'return'"));
  orr_program_free(program);
  orr_engine_free(engine);
}

Test(plan_program, what_does_not_fit_is_refused) {
  orr_engine *engine = new_engine(1);
  orr_program *program = new_program(engine, (struct world){.members = true});
  orr_rollout_options options = orr_rollout_options_defaults();
  const int elites[] = {5};
  options.members = MEMBERS;
  options.elites = elites;
  options.elites_count = 1;
  cr_expect_null(orr_objective_program(engine, program, &options));
  cr_expect(strstr(orr_engine_message(engine), "member 5 of 5"));
  options.elites = NULL;
  options.particles = 0;
  cr_expect_null(orr_objective_program(engine, program, &options));
  options.particles = 1;
  orr_field two = {.name = "pushes", .axes = 1, .shape = {2}};
  options.action = orr_space_new(engine, &two, 1);
  cr_expect_null(orr_objective_program(engine, program, &options));
  cr_expect(strstr(orr_engine_message(engine), "actions have 2 numbers"));
  orr_space_free(options.action);
  orr_program_free(program);
  orr_graph *graph = orr_graph_new(engine);
  int64_t one = 1;
  orr_output(graph, "return", orr_sum_all(graph, orr_input(graph, "plan", ORR_ROW, 1, &one)));
  program = orr_compile(graph);
  orr_graph_free(graph);
  cr_expect_null(orr_objective_program(engine, program, NULL));
  cr_expect(strstr(orr_engine_message(engine), "input 'plan'"));
  orr_program_free(program);
  orr_engine_free(engine);
}
