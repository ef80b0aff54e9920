/* Planning in general, and random shooting and CEM, against objectives whose best plan is known.
   What holds for every planner is in test_planners.c. */
#include "bowl.h"

Test(plan, cem_finds_the_optimum_in_five_iterations) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  /* PETS' settings; two numbers (for more of them five iterations are too few), seeds 0 .. 19 */
  for (uint64_t seed = 0; seed < 20; seed++) {
    orr_planner_setting settings[] = {{"horizon", 1}, {"minimum_variance", 0}};
    orr_space *space = new_space(engine, -1, 1);
    orr_planner *planner = orr_planner_new(engine, "cem", space, settings, 2);
    orr_planner_seed(planner, seed);
    orr_plan_result result = run(planner, objective);
    double error = error_of(result.mean, 2, &bowl);
    cr_expect_lt(error, 1e-2, "seed %d: error %g", (int)seed, error);
    cr_expect_eq(result.iterations, 5);
    cr_expect_eq(result.plan, result.mean);
    for (int i = 1; i < 5; i++) cr_expect_gt(result.mean_returns[i], result.mean_returns[i - 1]);
    orr_planner_free(planner);
    orr_space_free(space);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, random_shooting_takes_the_best_plan) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "random_shooting", "population", 5000);
  orr_plan_result result = run(planner, objective);
  cr_expect_eq(result.plan, result.best);
  cr_expect_eq(result.best_return, result.best_returns[0]);
  double cost = 0;
  for (int v = 0; v < 2 * HORIZON; v++) {
    double apart = (double)(result.plan[v] - bowl.target[v]);
    cost += apart * apart;
  }
  cr_expect_float_eq(cost, -(double)result.best_return, 1e-5);
  cr_expect_lt(cost, 1);
  cr_expect_eq(bowl.plans, 5000);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, deviation_matters_and_samples_stay_within_two_of_them) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  double seen[2], wanted[2] = {0.1, 0.4};
  for (int i = 0; i < 2; i++) {
    orr_space *space = new_space(engine, -1, 1);
    orr_planner_setting settings[] = {{"horizon", HORIZON},
                                      {"deviation", wanted[i]},
                                      {"iterations", 1},
                                      {"population", 20000}};
    orr_planner *planner = orr_planner_new(engine, "cem", space, settings, 4);
    bowl.low = -2 * wanted[i];
    bowl.high = 2 * wanted[i];
    run(planner, objective);
    seen[i] = bowl.last_deviation;
    orr_planner_free(planner);
    orr_space_free(space);
  }
  /* a normal truncated at two deviations has 0.87963 of the deviation */
  for (int i = 0; i < 2; i++) cr_expect_float_eq(seen[i], 0.87963 * wanted[i], 0.02 * wanted[i]);
  cr_expect_eq(bowl.outside, 0);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, samples_near_a_bound_keep_their_distance) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_space *space = new_space(engine, -1, 1);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {"iterations", 1}, {"population", 20000}};
  orr_planner *planner = orr_planner_new(engine, "cem", space, settings, 3);
  for (int side = -1; side <= 1; side += 2) {
    orr_real start[2 * HORIZON] = {(orr_real)(0.8 * side)};
    orr_planner_set_plan(planner, start);
    run(planner, objective);
    /* half the distance of 0.2, truncated as above; clipping alone would pile samples up */
    cr_expect_float_eq(bowl.last_deviation, 0.87963 * 0.1, 0.002);
  }
  orr_planner_free(planner);
  orr_space_free(space);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, fewer_finite_plans_than_elites) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  bowl.poison = -0.85;
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "cem", "iterations", 1);
  orr_plan_result result = run(planner, objective);
  cr_assert(result.usable);
  cr_expect_lt(result.scored - result.non_finite, 40);
  cr_expect_lt(result.mean[0], -0.7f); /* only finite ones were averaged */
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, the_random_stream_is_the_planners_own) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "cem", NULL, 0);
  orr_random engine_before = *orr_engine_random(engine);
  orr_planner_seed(planner, 1);
  orr_plan_result result = run(planner, objective);
  orr_real first = result.plan[0];
  cr_expect_eq(orr_engine_random(engine)->counter, engine_before.counter);
  /* a reset alone goes on with the stream: another plan, not the same again */
  orr_planner_reset(planner);
  result = run(planner, objective);
  cr_expect_neq(result.plan[0], first);
  orr_random_bits(orr_engine_random(engine));
  orr_planner_reset(planner);
  orr_planner_seed(planner, 1);
  result = run(planner, objective);
  cr_expect_eq(result.plan[0], first);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, shift_moves_one_action_on) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  bowl.poison = -2; /* every plan is bad: the start comes back unchanged */
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "cem", NULL, 0);
  orr_real start[2 * HORIZON] = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f};
  orr_real shifted[2 * HORIZON] = {0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f, 0, 0};
  orr_planner_set_plan(planner, start);
  orr_planner_shift(planner);
  orr_plan_result result = run(planner, objective);
  cr_expect_arr_eq(result.plan, shifted, sizeof shifted);
  start[3] = NAN;
  cr_expect_eq(orr_planner_set_plan(planner, start), ORR_NUMBER);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, repeated_actions) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "cem", "action_repeat", 2);
  orr_plan_result result = run(planner, objective);
  cr_expect_eq(orr_planner_horizon(planner), HORIZON);
  for (int step = 0; step < HORIZON; step += 2)
    cr_expect_arr_eq(result.plan + 2 * step, result.plan + 2 * step + 2, 2 * sizeof(orr_real));
  /* the best held action is the mean of the two steps' targets */
  cr_expect_float_eq(result.plan[0], 0.2, 0.1);
  cr_expect_float_eq(result.plan[1], 0.1, 0.1);
  orr_planner_free(planner);
  cr_expect_null(new_planner(engine, "cem", "action_repeat", 3));
  cr_expect(strstr(orr_engine_message(engine), "no multiple"));
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, stops_when_the_variance_is_small) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "cem", "iterations", 50);
  orr_plan_result result = run(planner, objective);
  cr_expect_lt(result.iterations, 12);
  cr_expect_gt(result.iterations, 2);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, a_time_limit_makes_one_iteration_at_least) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "cem", NULL, 0);
  orr_real observation = 0;
  orr_plan_request request = orr_plan_request_defaults();
  orr_plan_result result;
  request.observation = &observation;
  request.seconds = 1e-9;
  cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
  cr_expect_eq(result.iterations, 1);
  cr_expect_gt(result.overrun, 0);
  request.seconds = 100;
  request.iterations = 2;
  cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
  cr_expect_eq(result.iterations, 2);
  cr_expect_eq(result.overrun, 0);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* Its first few plans only tell how long they take. */
Test(plan, the_first_call_with_a_limit_plans_as_one_without) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  const char *names[] = {"cem",
                         "icem",
                         "random_shooting",
                         "mppi",
                         "pddm",
                         "predictive_sampling",
                         "enumerated_shooting",
                         "gradient"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    orr_planner *free = new_planner(engine, names[i], NULL, 0),
                *limited = new_planner(engine, names[i], NULL, 0);
    orr_plan_result wanted = run(free, objective), result;
    orr_real observation = 0;
    orr_plan_request request = orr_plan_request_defaults();
    request.observation = &observation;
    request.seconds = 1000;
    cr_assert_eq(orr_planner_plan(limited, objective, &request, &result), ORR_OK);
    cr_expect_arr_eq(result.plan, wanted.plan, 2 * HORIZON * sizeof(orr_real), "%s", names[i]);
    cr_expect(result.iterations == wanted.iterations && !result.shrunk, "%s", names[i]);
    cr_expect_gt(result.scored, wanted.scored);
    orr_planner_free(free);
    orr_planner_free(limited);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* Half a population fits into the time; what is learned from it is more than which plan is best. */
Test(plan, a_population_that_takes_too_long_is_shrunk) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  const char *names[] = {"cem", "icem", "random_shooting", "mppi", "pddm", "predictive_sampling"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    orr_planner *planner = new_planner(engine, names[i], "population", 160);
    orr_real observation = 0;
    orr_plan_request request = orr_plan_request_defaults();
    orr_plan_result result;
    request.observation = &observation;
    bowl.each = 1e-3;
    request.seconds = 0.08;
    bool shrunk = true, moved = false;
    for (int call = 0; call < 4; call++) { /* on a busy machine the first may only find its pace */
      cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
      shrunk = shrunk && result.shrunk && result.scored < 160;
      for (int v = 0; v < 2 * HORIZON; v++) moved = moved || result.mean[v] != 0;
    }
    cr_expect(shrunk && moved, "%s", names[i]);
    bowl.each = 0;
    request.seconds = 0;
    cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
    cr_expect(!result.shrunk && result.scored >= 160, "%s", names[i]);
    orr_planner_free(planner);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* A later iteration of fewer plans is no whole population, nor a reason to go on where there is no
   time. */
Test(plan, a_smaller_iteration_is_not_a_whole_one) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  bowl.each = 1e-3;
  orr_objective *objective = new_objective(engine, &bowl);
  orr_space *space = new_space(engine, -1, 1);
  orr_planner_setting fading[] = {
      {"horizon", HORIZON}, {"population", 200}, {"elites", 4}, {"decay", 2}, {"iterations", 8}};
  orr_planner_setting refining[] = {
      {"horizon", HORIZON}, {"population", 200}, {"elites", 4}, {"iterations", 2}, {"refine", 2}};
  struct {
    const char *name;
    const orr_planner_setting *settings;
    int count;
  } cases[] = {{"icem", fading, 5}, {"cem", refining, 5}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    orr_planner *planner =
        orr_planner_new(engine, cases[i].name, space, cases[i].settings, cases[i].count);
    orr_real observation = 0;
    orr_plan_request request = orr_plan_request_defaults();
    orr_plan_result result;
    request.observation = &observation;
    request.seconds = 0.15;
    for (int call = 0; call < 3; call++) {
      cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
      cr_expect(result.shrunk && result.scored > 0, "%s, case %d", cases[i].name, (int)i);
      bool executes_something = false;
      for (int v = 0; v < 2 * HORIZON; v++)
        executes_something = executes_something || result.plan[v] != 0;
      cr_expect(executes_something, "%s, case %d", cases[i].name, (int)i);
    }
    orr_planner_free(planner);
  }
  orr_space_free(space);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, a_failing_objective_and_an_interrupt_stop_planning) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  bowl.fail_after = 3;
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "cem", NULL, 0);
  orr_real observation = 0;
  orr_plan_request request = orr_plan_request_defaults();
  orr_plan_result result;
  request.observation = &observation;
  cr_expect_eq(orr_planner_plan(planner, objective, &request, &result), ORR_CALLBACK);
  cr_expect_eq(result.iterations, 2);
  cr_expect(result.usable);
  bowl.fail_after = 0;
  orr_interrupt(engine);
  cr_expect_eq(orr_planner_plan(planner, objective, &request, &result), ORR_INTERRUPTED);
  orr_interrupt_clear(engine);
  cr_expect_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

static void refused(orr_engine *engine, const char *name, const char *option, double value,
                    const char *wanted) {
  cr_expect_null(new_planner(engine, name, option, value));
  cr_expect(strstr(orr_engine_message(engine), wanted), "'%s' does not say '%s'",
            orr_engine_message(engine), wanted);
}

Test(plan, options_are_checked) {
  orr_engine *engine = new_engine(1);
  refused(engine, "cam", NULL, 0, "did you mean 'cem'");
  refused(engine, "cem", "populaton", 10, "did you mean 'population'");
  refused(engine, "cem", "population", 2.5, "whole number");
  refused(engine, "cem", "population", 1, "must be in 2 ..");
  refused(engine, "cem", "alpha", NAN, "must be in 0 .. 1");
  refused(engine, "cem", "elites", 500, "500 elites out of a population of 400");
  orr_field discrete = {.name = "button", .n = 3};
  orr_space *space = orr_space_new(engine, &discrete, 1);
  cr_expect_null(orr_planner_new(engine, "mppi", space, NULL, 0));
  cr_expect(strstr(orr_engine_message(engine), "'button' is discrete"));
  orr_space_free(space);
  orr_engine_free(engine);
}

static orr_status all_alike(void *user, const orr_scoring *scoring) {
  *(orr_real *)user = scoring->plans[0];
  for (int i = 0; i < scoring->n; i++) scoring->returns[i] = -1;
  return ORR_OK;
}

Test(plan, ties_go_to_the_lower_index) {
  orr_engine *engine = new_engine(1);
  orr_real first = 0;
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = &first;
  callbacks.score = all_alike;
  orr_objective *objective = orr_objective_function(engine, &callbacks);
  orr_planner *planner = new_planner(engine, "random_shooting", NULL, 0);
  orr_plan_result result = run(planner, objective);
  cr_expect_eq(result.plan[0], first);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, objectives_refuse_what_they_cannot_do) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_real observation = 0, plans[4 * 2] = {0}, returns[4];
  orr_scoring scoring = {
      .observation = &observation, .plans = plans, .n = 4, .horizon = 1, .returns = returns};
  cr_expect_eq(orr_objective_score(objective, &scoring), ORR_OK);
  orr_real numbers[4];
  scoring.violations = numbers;
  cr_expect_eq(orr_objective_score(objective, &scoring), ORR_ARGUMENT);
  scoring.violations = NULL;
  cr_expect_eq(orr_objective_disagree(objective, &observation, plans, 1, numbers), ORR_ARGUMENT);
  orr_linearisation along = {.observation = &observation, .plan = plans, .horizon = 1};
  cr_expect_eq(orr_objective_linearise(objective, &along), ORR_ARGUMENT);
  orr_proposing proposing = {.observation = &observation, .n = 4, .horizon = 1, .plans = plans};
  cr_expect_eq(orr_objective_propose(objective, &proposing), ORR_ARGUMENT);
  scoring.states = 3; /* of 4 plans */
  cr_expect_eq(orr_objective_score(objective, &scoring), ORR_ARGUMENT);
  scoring.states = 1;
  scoring.n = 0;
  cr_expect_eq(orr_objective_score(objective, &scoring), ORR_ARGUMENT);
  cr_expect_eq(orr_objective_set_input(objective, "goal", NULL), ORR_FIELD);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan, every_planner_is_described) {
  for (int i = 0; i < orr_planner_count(); i++) {
    int count = 0;
    const orr_planner_option *options = orr_planner_options_at(i, &count);
    cr_expect_gt(strlen(orr_planner_doc_at(i)), 10);
    cr_expect_geq(count, 3);
    for (int j = 0; j < count; j++) {
      cr_expect_gt(strlen(options[j].doc), 5);
      cr_expect(options[j].value >= options[j].low && options[j].value <= options[j].high);
    }
    cr_expect_str_eq(options[0].name, "horizon");
    cr_expect_str_eq(options[1].name, "action_repeat");
  }
  cr_expect_null(orr_planner_name_at(orr_planner_count()));
}

/* Few samples in eight dimensions leave the elites far from the optimum: their gradients lead
   there. */
Test(plan, cem_refines_its_elites_by_gradients) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  double error[2];
  for (int i = 0; i < 2; i++) {
    orr_space *space = new_space(engine, -1, 1);
    orr_planner_setting settings[] = {{"horizon", HORIZON},
                                      {"population", 40},
                                      {"iterations", 3},
                                      {"refine", i * 50},
                                      {"elites", 5}};
    orr_planner *planner = orr_planner_new(engine, "cem", space, settings, 5);
    cr_assert(planner, "%s", orr_engine_message(engine));
    orr_plan_result result = run(planner, objective);
    cr_expect_eq(result.iterations, i ? 53 : 3);
    cr_expect_eq(result.scored, 120 + i * 250);
    cr_expect_eq(orr_planner_wants_gradients(planner), i == 1);
    error[i] = error_of(result.plan, 2 * HORIZON, &bowl);
    orr_planner_free(planner);
    orr_space_free(space);
  }
  cr_expect_gt(error[0], 0.1, "%g", error[0]);
  cr_expect_lt(error[1], 0.02, "%g", error[1]);
  orr_objective_free(objective);
  orr_engine_free(engine);
}
