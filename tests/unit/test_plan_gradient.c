/* Gradients of returns with respect to plans: by differences, of simulators, of learned rollouts;
   and the planner that follows them. */
#include "bowl.h"

/* ---- by differences ---- */

static orr_objective *differences_of(orr_engine *engine, struct bowl *bowl, orr_space *space) {
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = bowl;
  callbacks.score = score_bowl;
  callbacks.differences = true;
  callbacks.action = space;
  return orr_objective_function(engine, &callbacks);
}

static void score(orr_objective *objective, const orr_real *observation, const orr_real *plans,
                  int n, int horizon, orr_real *returns, orr_real *gradients) {
  orr_scoring scoring = {.observation = observation,
                         .plans = plans,
                         .n = n,
                         .horizon = horizon,
                         .seed = 3,
                         .returns = returns,
                         .gradients = gradients};
  cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK, "%s",
               orr_engine_message(orr_objective_engine(objective)));
}

Test(plan_gradient, differences_are_slopes_of_returns) {
  orr_engine *engine = new_engine(1);
  orr_space *space = new_space(engine, -1, 1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = differences_of(engine, &bowl, space);
  cr_expect(orr_objective_has_gradients(objective));
  orr_real plans[2][2 * HORIZON], gradients[2][2 * HORIZON], returns[2];
  for (int v = 0; v < 2 * HORIZON; v++) {
    plans[0][v] = (orr_real)(0.1 * v - 0.35);
    plans[1][v] = v % 2 ? 1 : -1; /* at the bounds */
  }
  score(objective, NULL, plans[0], 2, HORIZON, returns, gradients[0]);
  /* two plans, and two more for each number of each */
  cr_expect_eq(bowl.plans, 2 + 2 * 2 * 2 * HORIZON);
  cr_expect_eq(bowl.outside, 0);
  for (int v = 0; v < 2 * HORIZON; v++) {
    double inside = -2 * (double)(plans[0][v] - bowl.target[v]);
    double at_bound = -2 * (double)(plans[1][v] - bowl.target[v]);
    cr_expect_float_eq((double)gradients[0][v], inside, 1e-3);
    cr_expect_float_eq((double)gradients[1][v], at_bound, 1e-2); /* one-sided */
  }
  orr_objective_callbacks nowhere = orr_objective_callbacks_defaults();
  nowhere.score = score_bowl;
  nowhere.differences = true;
  cr_expect_null(orr_objective_function(engine, &nowhere));
  orr_objective_free(objective);
  orr_space_free(space);
  orr_engine_free(engine);
}

/* ---- simulators ---- */

/* x' = x + a + noise, the reward is -x'^2. */
static orr_status reset_walk(void *user, orr_random *random, double *state) {
  (void)user, (void)random;
  *state = 0.5;
  return ORR_OK;
}

static orr_status step_walk(void *user, double *state, const orr_real *action, orr_random *random,
                            orr_env_result *result) {
  *state += (double)action[0] + *(double *)user * orr_random_normal(random);
  result->reward = (orr_real) - (*state * *state);
  return ORR_OK;
}

static orr_status observe_walk(void *user, const double *state, orr_real *observation) {
  (void)user;
  *observation = (orr_real)*state;
  return ORR_OK;
}

static orr_env *new_walk(orr_engine *engine, double *noise) {
  orr_real low = -1, high = 1;
  orr_field observation = {.name = "x"}, action = {.name = "push", .low = &low, .high = &high};
  orr_space *seen = orr_space_new(engine, &observation, 1);
  orr_space *done = orr_space_new(engine, &action, 1);
  orr_env_callbacks callbacks = orr_env_callbacks_defaults();
  callbacks.name = "walk";
  callbacks.observation = callbacks.state = seen;
  callbacks.action = done;
  callbacks.thread_safe = true;
  callbacks.user = noise;
  callbacks.reset = reset_walk;
  callbacks.step = step_walk;
  callbacks.observe = observe_walk;
  orr_env *env = orr_env_from_callbacks(engine, &callbacks);
  cr_assert(env, "%s", orr_engine_message(engine));
  orr_space_free(seen);
  orr_space_free(done);
  return env;
}

/* d return / d a_t = sum over later steps of -2 x', of which the noise is a draw: with the same
   noise in both plans of a difference the slope of the slope stays 2, whatever the draw. */
Test(plan_gradient, variations_meet_the_same_noise) {
  double noise = 1;
  orr_engine *engine = new_engine(2);
  orr_env *env = new_walk(engine, &noise);
  orr_real observation, plans[2] = {-0.5f, -0.4f}, returns[2], gradients[2];
  cr_assert_eq(orr_env_reset(env, 1, &observation), ORR_OK);
  orr_objective *objective = orr_objective_env(engine, env, NULL);
  score(objective, &observation, plans, 1, 1, returns, gradients);
  /* the noise of this plan follows from its slope -2 x', with x' = 0 + noise */
  double x = -(double)gradients[0] / 2;
  cr_expect_gt(fabs(x), 1e-3);
  cr_expect_lt(fabs(x), 5); /* other noise for both would give differences of hundreds */
  orr_objective_free(objective);
  orr_env_free(env);
  orr_engine_free(engine);
}

Test(plan_gradient, simulators_have_slopes) {
  double noise = 0;
  orr_engine *engine = new_engine(2);
  orr_env *env = new_walk(engine, &noise);
  enum { STEPS = 5 };
  orr_real observation, plans[3 * STEPS], returns[3], gradients[3 * STEPS];
  for (int i = 0; i < 3 * STEPS; i++) plans[i] = (orr_real)(0.3 * sin(1.7 * i));
  cr_assert_eq(orr_env_reset(env, 1, &observation), ORR_OK);
  orr_objective *objective = orr_objective_env(engine, env, NULL);
  score(objective, &observation, plans, 3, STEPS, returns, gradients);
  for (int plan = 0; plan < 3; plan++) {
    double x[STEPS], at = 0.5, slope = 0;
    for (int t = 0; t < STEPS; t++) x[t] = at += (double)plans[plan * STEPS + t];
    for (int t = STEPS; t-- > 0;) {
      slope -= 2 * x[t];
      cr_expect_float_eq((double)gradients[plan * STEPS + t], slope, 2e-3);
    }
  }
  orr_objective_free(objective);
  orr_env_free(env);
  orr_engine_free(engine);
}

/* ---- learned rollouts ---- */

enum { MEMBERS = 3 };

/* Rolls x' = x + a + bias of the member out; the return is the sum of -(x' - 1)^2. */
static orr_program *new_rollout(orr_engine *engine, bool differentiated) {
  int64_t one = 1, plan_shape[2] = {HORIZON, 1}, bias_shape[2] = {MEMBERS, 1};
  orr_tensor *biases = orr_tensor_new(engine, ORR_REAL, 2, bias_shape);
  for (int m = 0; m < MEMBERS; m++) ((orr_real *)orr_tensor_data(biases))[m] = (orr_real)(0.2 * m);
  orr_graph *graph = orr_graph_new(engine);
  orr_node state = orr_input(graph, "state", differentiated ? ORR_ROW : ORR_UNIFORM, 1, &one);
  orr_node plan = orr_input(graph, "plan", ORR_ROW, 2, plan_shape);
  orr_node bias = orr_parameter(graph, biases, ORR_MEMBER);
  orr_tensor_free(biases);
  orr_graph *body = orr_scan_begin(graph, HORIZON, false);
  orr_node x = orr_scan_carry(body, state), total = orr_scan_carry(body, orr_number(graph, 0));
  orr_node next = orr_binary(body, ORR_OP_add, x, orr_scan_slice(body, plan));
  next = orr_binary(body, ORR_OP_add, next, orr_scan_capture(body, bias));
  orr_node apart = orr_binary(body, ORR_OP_sub, next, orr_number(body, 1));
  orr_node cost = orr_sum_all(body, orr_unary(body, ORR_OP_square, apart));
  orr_node after[2] = {next, orr_binary(body, ORR_OP_sub, total, cost)}, results[2], slope;
  cr_assert_eq(orr_scan_end(body, after, 0, NULL, results), ORR_OK);
  orr_output(graph, "return", results[1]);
  if (differentiated) {
    cr_assert_eq(orr_gradient(graph, results[1], 1, &plan, &slope), ORR_OK);
    orr_output(graph, "gradient", slope);
  }
  orr_program *program = orr_compile(graph);
  cr_assert(program, "%s", orr_engine_message(engine));
  orr_graph_free(graph);
  return program;
}

static orr_objective *new_learned(orr_engine *engine, int particles, orr_risk_options risk) {
  orr_rollout_options options = orr_rollout_options_defaults();
  orr_program *program = new_rollout(engine, false);
  options.gradient = new_rollout(engine, true);
  options.members = MEMBERS;
  options.particles = particles;
  options.risk = risk;
  orr_objective *objective = orr_objective_program(engine, program, &options);
  cr_assert(objective, "%s", orr_engine_message(engine));
  orr_program_free(program);
  orr_program_free(options.gradient);
  return objective;
}

/* Differences of the returns that the same objective gives without gradients; NaN at a kink, where
   another particle becomes the one that counts: the slopes to both sides differ there by more than
   the curvature of 2 for each step makes them. */
static double difference(orr_objective *objective, const orr_real *plan, int v, bool kinks) {
  orr_real observation = 0.25f, varied[3 * HORIZON], returns[3];
  const double h = sizeof(orr_real) == sizeof(float) ? 1e-2 : 1e-4;
  for (int i = 0; i < 3; i++) {
    memcpy(varied + i * HORIZON, plan, HORIZON * sizeof(orr_real));
    varied[i * HORIZON + v] += (orr_real)((i - 1) * h);
  }
  score(objective, &observation, varied, 3, HORIZON, returns, NULL);
  double below = (double)(returns[1] - returns[0]) / h,
         above = (double)(returns[2] - returns[1]) / h;
  if (kinks && fabs(above - below) > 3 * HORIZON * h) return NAN;
  return (below + above) / 2;
}

Test(plan_gradient, learned_rollouts_have_slopes_under_every_risk) {
  orr_engine *engine = new_engine(2);
  const orr_risk_options risks[] = {{.measure = ORR_RISK_mean},
                                    {.measure = ORR_RISK_worst},
                                    {.measure = ORR_RISK_cvar, .parameter = 0.4},
                                    {.measure = ORR_RISK_mean_minus_deviations, .parameter = 1.5},
                                    {.measure = ORR_RISK_optimistic, .parameter = 0.7},
                                    {.measure = ORR_RISK_cvar,
                                     .parameter = 0.5,
                                     .over_members = true}};
  orr_real plans[20 * HORIZON], gradients[20 * HORIZON], returns[20], again[20];
  orr_random random = orr_random_new(2, 0);
  for (int i = 0; i < 20 * HORIZON; i++) plans[i] = (orr_real)(orr_random_uniform(&random) - 0.5);
  int kinks = 0;
  for (size_t r = 0; r < sizeof risks / sizeof *risks; r++) {
    bool sorts = risks[r].measure == ORR_RISK_worst || risks[r].measure == ORR_RISK_cvar;
    orr_objective *objective = new_learned(engine, 7, risks[r]); /* 3, 2 and 2 of the members */
    orr_real observation = 0.25f;
    score(objective, &observation, plans, 20, HORIZON, returns, gradients);
    score(objective, &observation, plans, 20, HORIZON, again, NULL);
    for (int i = 0; i < 20; i++) {
      cr_expect_float_eq((double)returns[i], (double)again[i], 1e-4);
      for (int v = 0; v < HORIZON; v++) {
        double slope = difference(objective, plans + i * HORIZON, v, sorts);
        kinks += isnan(slope);
        if (isnan(slope)) continue;
        cr_expect_float_eq((double)gradients[i * HORIZON + v], slope, 1e-2 * (1 + fabs(slope)),
                           "risk %d, plan %d, step %d: %g, %g", (int)r, i, v,
                           (double)gradients[i * HORIZON + v], slope);
      }
    }
    orr_objective_free(objective);
  }
  cr_expect_leq(kinks, 6 * HORIZON, "%d", kinks); /* of 60 plans */
  orr_engine_free(engine);
}

Test(plan_gradient, programs_without_a_gradient_are_refused) {
  orr_engine *engine = new_engine(1);
  orr_rollout_options options = orr_rollout_options_defaults();
  orr_program *program = new_rollout(engine, false);
  options.members = MEMBERS;
  options.gradient = program; /* gives returns only */
  cr_expect_null(orr_objective_program(engine, program, &options));
  cr_expect(strstr(orr_engine_message(engine), "'gradient'"), "%s", orr_engine_message(engine));
  options.gradient = NULL;
  orr_objective *objective = orr_objective_program(engine, program, &options);
  cr_expect_not(orr_objective_has_gradients(objective));
  orr_field field = {.name = "push"};
  orr_space *one = orr_space_new(engine, &field, 1);
  orr_planner_setting settings[] = {{"horizon", HORIZON}};
  orr_planner *planner = orr_planner_new(engine, "gradient", one, settings, 1);
  orr_plan_request request = orr_plan_request_defaults();
  orr_real observation = 0;
  request.observation = &observation;
  cr_expect_eq(orr_planner_plan(planner, objective, &request, NULL), ORR_ARGUMENT);
  orr_planner_free(planner);
  orr_space_free(one);
  orr_objective_free(objective);
  orr_program_free(program);
  orr_engine_free(engine);
}

/* ---- the planner ---- */

/* Two hills for each number, at -0.5 and, higher, at 0.7; from 0 it is up to the lower one.
   Gradients of the first plan are not finite from the third batch on, when it asks for that. */
struct hills {
  int batches;
  bool poison;
};

static orr_status score_hills(void *user, const orr_scoring *scoring) {
  struct hills *hills = user;
  int variables = 2 * scoring->horizon;
  hills->batches++;
  for (int i = 0; i < scoring->n; i++) {
    double sum = 0;
    for (int v = 0; v < variables; v++) {
      double x = (double)scoring->plans[i * variables + v], w = (x + 0.5) * (x - 0.7);
      sum += 0.2 * x - 4 * w * w;
      if (scoring->gradients)
        scoring->gradients[i * variables + v] = (orr_real)(0.2 - 8 * w * (2 * x - 0.2));
    }
    scoring->returns[i] = (orr_real)sum;
    if (hills->poison && hills->batches > 2 && i == 0 && scoring->gradients)
      scoring->gradients[3] = NAN;
  }
  return ORR_OK;
}

static orr_objective *new_hills(orr_engine *engine, struct hills *hills) {
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = hills;
  callbacks.score = score_hills;
  callbacks.gradients = true;
  return orr_objective_function(engine, &callbacks);
}

Test(plan_gradient, several_starts_find_a_better_hill_than_one) {
  orr_engine *engine = new_engine(1);
  struct hills hills = {0};
  orr_objective *objective = new_hills(engine, &hills);
  double reached[2];
  for (int many = 0; many < 2; many++) {
    orr_planner *planner = new_planner(engine, "gradient", "population", many ? 200 : 1);
    orr_planner_seed(planner, 4);
    reached[many] = (double)run(planner, objective).best_return;
    orr_planner_free(planner);
  }
  cr_expect_gt(reached[1], reached[0] + 0.1, "%g, %g", reached[0], reached[1]);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_gradient, starts_with_bad_gradients_are_given_up_and_counted) {
  orr_engine *engine = new_engine(1);
  struct hills hills = {.poison = true};
  orr_objective *objective = new_hills(engine, &hills);
  orr_planner *planner = new_planner(engine, "gradient", NULL, 0);
  orr_plan_result result = run(planner, objective);
  cr_expect_eq(result.non_finite, 1, "%d", (int)result.non_finite);
  cr_expect(result.usable);
  for (int v = 0; v < 2 * HORIZON; v++) cr_expect(isfinite(result.plan[v]));
  orr_planner_free(planner);
  /* alone, it stays where it was */
  hills.batches = 0;
  planner = new_planner(engine, "gradient", "population", 1);
  result = run(planner, objective);
  cr_expect(result.usable);
  cr_expect_eq(result.non_finite, 1);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_gradient, both_ways_to_keep_bounds_reach_the_optimum) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  bowl.target[0] = 2; /* out of reach: the plan ends at the bound */
  orr_objective *objective = new_objective(engine, &bowl);
  for (int squash = 0; squash < 2; squash++) {
    orr_planner *planner = new_planner(engine, "gradient", "squash", squash);
    orr_plan_result result = run(planner, objective);
    for (int i = 0; i < 3; i++) result = run(planner, objective);
    cr_expect_gt((double)result.plan[0], 0.98, "squash %d: %g", squash, (double)result.plan[0]);
    for (int v = 1; v < 2 * HORIZON; v++)
      cr_expect_float_eq((double)result.plan[v], (double)bowl.target[v], 0.03);
    cr_expect_eq(bowl.outside, 0);
    cr_expect_eq(result.plan, result.best);
    orr_planner_free(planner);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}
