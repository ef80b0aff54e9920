/* What holds for every planner there is: bounds, bad plans, resets, threads, many states,
   constraints. */
#include "bowl.h"
#include "limited_memory.h"

#define EACH_PLANNER(name)                            \
  for (int row = 0; row < orr_planner_count(); row++) \
    for (const char *name = orr_planner_name_at(row); name && !skipped(name); name = NULL)

/* It needs the derivatives of dynamics, which a bowl does not have: see test_plan_ilqr.c. */
static bool skipped(const char *name) { return strcmp(name, "ilqr") == 0; }

static bool has_option(const char *name, const char *option) {
  for (int row = 0; row < orr_planner_count(); row++) {
    int count;
    const orr_planner_option *options = orr_planner_options_at(row, &count);
    if (strcmp(orr_planner_name_at(row), name)) continue;
    for (int i = 0; i < count; i++)
      if (!strcmp(options[i].name, option)) return true;
  }
  return false;
}

/* HORIZON steps; enumerated shooting over 5 levels, the others as they are. */
static orr_planner *new_one(orr_engine *engine, const char *name, orr_real low, orr_real high) {
  orr_space *space = new_space(engine, low, high);
  bool levels = has_option(name, "levels");
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {"levels", 5}, {"population", 1e6}};
  orr_planner *planner = orr_planner_new(engine, name, space, settings, levels ? 3 : 1);
  cr_assert(planner, "%s: %s", name, orr_engine_message(engine));
  orr_space_free(space);
  return planner;
}

/* Ten plans one after the other, each starting from the last. */
static orr_plan_result settle(orr_planner *planner, orr_objective *objective) {
  orr_plan_result result = run(planner, objective);
  for (int i = 0; i < 9; i++) result = run(planner, objective);
  return result;
}

Test(planners, come_near_the_optimum) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  EACH_PLANNER(name) {
    orr_planner *planner = new_one(engine, name, -1, 1);
    orr_plan_result result = settle(planner, objective);
    double cost = 0;
    for (int v = 0; v < 2 * HORIZON; v++) {
      double apart = (double)(result.plan[v] - bowl.target[v]);
      cost += apart * apart;
    }
    /* the middle of the bounds has a cost of 1.97, a random plan 4.6; five levels come to 0.11 */
    cr_expect_lt(cost, strcmp(name, "random_shooting") ? 0.3 : 1, "%s: %g", name, cost);
    orr_planner_free(planner);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(planners, plans_stay_inside_bounds) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  bowl.target[0] = 5; /* outside: plans press against the bound */
  EACH_PLANNER(name) {
    orr_planner *planner = new_one(engine, name, (orr_real)0.2, (orr_real)0.7);
    orr_space *space = orr_planner_action_space(planner);
    bowl.low = (double)orr_space_low(space)[0];
    bowl.high = (double)orr_space_high(space)[0];
    bowl.outside = 0;
    orr_plan_result result = settle(planner, objective);
    for (int v = 0; v < 2 * HORIZON; v++)
      cr_expect((double)result.plan[v] >= bowl.low && (double)result.plan[v] <= bowl.high, "%s",
                name);
    cr_expect_gt(result.plan[0], (orr_real)0.62, "%s: %g", name, (double)result.plan[0]);
    cr_expect_eq(bowl.outside, 0, "%s", name);
    orr_planner_free(planner);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(planners, bad_plans_rank_last_though_all_returns_are_negative) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  bowl.offset = 1000;
  bowl.poison = 0.25; /* the optimum, 0.3, is out of reach */
  orr_objective *objective = new_objective(engine, &bowl);
  EACH_PLANNER(name) {
    orr_planner *planner = new_one(engine, name, -1, 1);
    int64_t non_finite = 0;
    for (int i = 0; i < 10; i++) {
      orr_plan_result result = run(planner, objective);
      cr_assert(result.usable, "%s", name);
      non_finite += result.non_finite;
      cr_expect_leq(result.best[0], (orr_real)0.25, "%s", name);
      cr_expect_leq(result.plan[0], (orr_real)0.25, "%s", name);
      cr_expect_lt(result.best_return, -999, "%s", name);
      cr_expect(isfinite(result.mean_returns[0]), "%s", name);
    }
    cr_expect_gt(non_finite, 0, "%s", name);
    orr_planner_free(planner);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(planners, all_bad_leaves_the_start) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  bowl.poison = -2;
  orr_objective *objective = new_objective(engine, &bowl);
  orr_real start[2 * HORIZON] = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f};
  EACH_PLANNER(name) {
    orr_planner *planner = new_one(engine, name, -1, 1);
    orr_planner_set_plan(planner, start);
    orr_plan_result result = run(planner, objective);
    cr_expect_not(result.usable, "%s", name);
    cr_expect_eq(result.non_finite, result.scored, "%s", name);
    cr_expect_arr_eq(result.plan, start, sizeof start, "%s", name);
    cr_expect(isnan(result.best_return) && isnan(result.best_returns[0]), "%s", name);
    orr_planner_free(planner);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(planners, nothing_survives_a_reset) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl(), other = new_bowl();
  for (int v = 0; v < 2 * HORIZON; v++) other.target[v] = (orr_real)-0.9;
  orr_objective *objective = new_objective(engine, &bowl), *before = new_objective(engine, &other);
  EACH_PLANNER(name) {
    orr_planner *used = new_one(engine, name, -1, 1), *fresh = new_one(engine, name, -1, 1);
    settle(used, before);
    orr_planner_shift(used);
    run(used, before);
    orr_planner_reset(used);
    orr_planner_seed(used, 7);
    orr_planner_seed(fresh, 7);
    for (int i = 0; i < 3; i++) {
      orr_plan_result a = run(used, objective), b = run(fresh, objective);
      cr_expect_arr_eq(a.plan, b.plan, 2 * HORIZON * sizeof(orr_real), "%s", name);
      cr_expect_arr_eq(a.best_returns, b.best_returns, (size_t)a.iterations * sizeof(orr_real));
      orr_planner_shift(used);
      orr_planner_shift(fresh);
    }
    orr_planner_free(used);
    orr_planner_free(fresh);
  }
  orr_objective_free(objective);
  orr_objective_free(before);
  orr_engine_free(engine);
}

Test(planners, same_bits_on_any_number_of_threads) {
  EACH_PLANNER(name) {
    orr_real plans[2][2 * HORIZON];
    for (int threads = 1; threads <= 2; threads++) {
      orr_engine *engine = new_engine(threads);
      struct bowl bowl = new_bowl();
      orr_objective *objective = new_objective(engine, &bowl);
      orr_space *space = new_space(engine, -1, 1);
      /* so many that they are shared out */
      orr_planner_setting settings[] = {{"horizon", HORIZON}, {"population", 3000}};
      orr_planner *planner =
          orr_planner_new(engine, name, space, settings, has_option(name, "levels") ? 0 : 2);
      if (has_option(name, "levels")) planner = new_one(engine, name, -1, 1);
      cr_assert(planner, "%s", orr_engine_message(engine));
      orr_plan_result result = run(planner, objective);
      memcpy(plans[threads - 1], result.plan, sizeof plans[0]);
      orr_planner_free(planner);
      orr_space_free(space);
      orr_objective_free(objective);
      orr_engine_free(engine);
    }
    cr_expect_arr_eq(plans[0], plans[1], sizeof plans[0], "%s", name);
  }
}

/* Each state's plans are those of a planner of its own: the bowl does not look at the state. */
Test(planners, many_states_in_one_call) {
  enum { STATES = 3 };
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  EACH_PLANNER(name) {
    orr_planner *one = new_one(engine, name, -1, 1), *many = new_one(engine, name, -1, 1);
    cr_assert_eq(orr_planner_set_states(many, STATES), ORR_OK);
    cr_expect_eq(orr_planner_states(many), STATES);
    orr_real observations[STATES] = {0};
    orr_plan_request request = orr_plan_request_defaults();
    orr_plan_result results[STATES];
    request.observation = observations;
    for (int i = 0; i < 3; i++) {
      bowl.calls = 0;
      orr_plan_result single = run(one, objective);
      int64_t calls = bowl.calls;
      bowl.calls = 0;
      cr_assert_eq(orr_planner_plan(many, objective, &request, results), ORR_OK);
      cr_expect_geq(calls + 5, bowl.calls, "%s: batches of all states", name);
      for (int j = 0; j < STATES; j++) {
        cr_expect_arr_eq(results[j].plan, single.plan, 2 * HORIZON * sizeof(orr_real), "%s", name);
        cr_expect(results[j].usable && results[j].best_return > -3, "%s: %g", name,
                  (double)results[j].best_return);
      }
      orr_planner_shift(one);
      orr_planner_shift(many);
    }
    /* forgetting one state's plan leaves the others as they are */
    orr_planner_reset_one(many, 1);
    orr_plan_result single = run(one, objective);
    cr_assert_eq(orr_planner_plan(many, objective, &request, results), ORR_OK);
    cr_expect_arr_eq(results[0].plan, single.plan, 2 * HORIZON * sizeof(orr_real), "%s", name);
    orr_planner_free(one);
    orr_planner_free(many);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(planners, plans_that_keep_constraints_rank_first) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  bowl.limit = -0.75;
  bowl.target[1] = 0;
  orr_objective *objective = new_objective(engine, &bowl);
  cr_assert(orr_objective_has_violations(objective));
  EACH_PLANNER(name) {
    orr_planner *planner = new_one(engine, name, -1, 1);
    orr_plan_result result = settle(planner, objective);
    cr_expect_leq(result.best[1], (orr_real)-0.75, "%s: %g", name, (double)result.best[1]);
    cr_expect_eq(result.best_violation, 0, "%s", name);
    cr_expect_leq(result.plan[1], (orr_real)-0.75, "%s executes %g", name, (double)result.plan[1]);
    /* and the warm start is no mean of what breaks it */
    if (strcmp(name, "cem"))
      cr_expect_lt(result.mean[1], (orr_real)-0.7, "%s: %g", name, (double)result.mean[1]);
    double cost = 0;
    for (int v = 0; v < 2 * HORIZON; v++) cost += pow((double)(result.best[v] - bowl.target[v]), 2);
    cr_expect_float_eq(-(double)result.best_return, cost, 1e-4, "%s", name); /* as it was scored */
    orr_planner_free(planner);
  }
  orr_objective_free(objective);
  /* where none keeps them, the least violation wins */
  bowl.limit = -3;
  objective = new_objective(engine, &bowl);
  orr_planner *planner = new_one(engine, "cem", -1, 1);
  orr_plan_result result = settle(planner, objective);
  cr_expect_lt(result.best[1], (orr_real)-0.95);
  cr_expect_gt(result.best_violation, 1.9);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* A policy that always proposes the optimum. */
static orr_status propose(void *user, const orr_proposing *proposing) {
  const struct bowl *bowl = user;
  int variables = 2 * proposing->horizon;
  for (int i = 0; i < proposing->n; i++)
    memcpy(proposing->plans + i * variables, bowl->target, (size_t)variables * sizeof(orr_real));
  return ORR_OK;
}

Test(planners, proposals_are_among_the_candidates) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *plain = new_objective(engine, &bowl);
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = &bowl;
  callbacks.score = score_bowl;
  callbacks.gradients = true;
  callbacks.propose = propose;
  orr_objective *objective = orr_objective_function(engine, &callbacks);
  EACH_PLANNER(name) {
    orr_planner *planner = new_planner(engine, name, "proposals", 2);
    if (!planner) { /* enumerated shooting is too large with all levels */
      cr_expect(strstr(orr_engine_message(engine), "enumerated"), "%s", orr_engine_message(engine));
      continue;
    }
    orr_plan_result result = run(planner, objective);
    cr_expect_float_eq(result.best_return, 0, 1e-6, "%s: %g", name, (double)result.best_return);
    cr_expect_lt(error_of(result.best, 2 * HORIZON, &bowl), 1e-6, "%s", name);
    orr_real observation = 0;
    orr_plan_request request = orr_plan_request_defaults();
    request.observation = &observation;
    cr_expect_eq(orr_planner_plan(planner, plain, &request, NULL), ORR_ARGUMENT);
    cr_expect(strstr(orr_engine_message(engine), "no policy to propose"));
    orr_planner_free(planner);
  }
  cr_expect_null(new_planner(engine, "cem", "proposals", 500));
  cr_expect(strstr(orr_engine_message(engine), "500 proposals in a population of 400"));
  orr_objective_free(objective);
  orr_objective_free(plain);
  orr_engine_free(engine);
}

Test(planners, one_step_and_one_number) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  EACH_PLANNER(name) {
    orr_space *space = new_space(engine, -1, 1);
    orr_planner_setting setting = {"horizon", 1};
    orr_planner *planner = orr_planner_new(engine, name, space, &setting, 1);
    cr_assert(planner, "%s: %s", name, orr_engine_message(engine));
    orr_plan_result result = settle(planner, objective);
    double within = strcmp(name, "enumerated_shooting") ? 0.2 : 0.35;
    cr_expect_lt(error_of(result.plan, 2, &bowl), within, "%s", name);
    orr_planner_shift(planner);
    orr_planner_free(planner);
    orr_space_free(space);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* ---- discrete actions ---- */

/* One point for every 2 pressed, but at the second step for a 0. */
static orr_status press(void *user, const orr_scoring *scoring) {
  int64_t *seen = user;
  for (int i = 0; i < scoring->n; i++) {
    scoring->returns[i] = 0;
    for (int t = 0; t < scoring->horizon; t++) {
      orr_real value = scoring->plans[i * scoring->horizon + t];
      seen[value == 0 ? 0 : value == 1 ? 1 : value == 2 ? 2 : 3]++;
      scoring->returns[i] += (orr_real)(value == 2 && t != 1);
      if (t == 1 && value == 0) scoring->returns[i] += 1;
    }
  }
  return ORR_OK;
}

Test(planners, discrete_actions) {
  orr_engine *engine = new_engine(1);
  orr_field button = {.name = "button", .n = 3};
  orr_space *space = orr_space_new(engine, &button, 1);
  const char *names[] = {"cem", "random_shooting", "enumerated_shooting"};
  for (int i = 0; i < 3; i++) {
    int64_t seen[4] = {0};
    orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
    callbacks.user = seen;
    callbacks.score = press;
    orr_objective *objective = orr_objective_function(engine, &callbacks);
    orr_planner_setting setting = {"horizon", 5};
    orr_planner *planner = orr_planner_new(engine, names[i], space, &setting, 1);
    orr_plan_result result = run(planner, objective);
    cr_expect_eq(seen[3], 0, "%s: whole numbers", names[i]);
    cr_expect_eq(result.best_return, 5, "%s: %g", names[i], (double)result.best_return);
    orr_real wanted[5] = {2, 0, 2, 2, 2};
    cr_expect_arr_eq(result.plan, wanted, sizeof wanted, "%s", names[i]);
    if (i == 2)
      cr_expect(result.scored == 243 && seen[0] == 405 && seen[1] == 405 && seen[2] == 405);
    else cr_expect(seen[0] > 0 && seen[1] > 0);
    orr_planner_free(planner);
    orr_objective_free(objective);
  }
  orr_space_free(space);
  orr_engine_free(engine);
}

/* ---- what a policy proposes may be nonsense ---- */

static orr_status propose_nonsense(void *user, const orr_proposing *proposing) {
  (void)user;
  for (int i = 0; i < proposing->n * proposing->horizon; i++) proposing->plans[i] = (orr_real)NAN;
  return ORR_OK;
}

static orr_status never_mind(void *user, const orr_scoring *scoring) {
  (void)user;
  for (int i = 0; i < scoring->n; i++) {
    scoring->returns[i] = 1;
    for (int t = 0; t < scoring->horizon; t++)
      cr_assert(isfinite(scoring->plans[i * scoring->horizon + t]));
  }
  return ORR_OK;
}

Test(planners, proposals_that_are_not_finite_are_left_out) {
  orr_engine *engine = new_engine(1);
  orr_real low = -1, high = 1;
  orr_field fields[] = {{.name = "button", .n = 3}, {.name = "u", .low = &low, .high = &high}};
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.score = never_mind;
  callbacks.propose = propose_nonsense;
  orr_objective *objective = orr_objective_function(engine, &callbacks);
  for (int f = 0; f < 2; f++) {
    orr_space *space = orr_space_new(engine, &fields[f], 1);
    orr_planner_setting settings[] = {{"horizon", 3}, {"proposals", 20}, {"population", 40}};
    orr_planner *planner = orr_planner_new(engine, "cem", space, settings, 3);
    orr_plan_result result = run(planner, objective);
    for (int t = 0; t < 3; t++) cr_expect(isfinite(result.plan[t]));
    orr_planner_free(planner);
    orr_space_free(space);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* ---- memory ---- */

Test(planners, without_memory_for_more_states_a_planner_is_refused_not_half_made) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 0);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_real observations[3] = {0};
  orr_plan_request request = orr_plan_request_defaults();
  request.observation = observations;
  for (int limit = 0; limit < 200; limit++) {
    orr_planner *planner = new_one(engine, "cem", -1, 1);
    memory.left = limit;
    orr_status status = orr_planner_set_states(planner, 3);
    memory.left = UNLIMITED;
    if (status) {
      cr_expect_eq(status, ORR_MEMORY);
      orr_planner_reset(planner);
      cr_expect_neq(orr_planner_plan(planner, objective, &request, NULL), ORR_OK);
      cr_expect_eq(orr_planner_set_states(planner, 3), ORR_OK);
    }
    cr_expect_eq(orr_planner_plan(planner, objective, &request, NULL), ORR_OK);
    orr_planner_free(planner);
    if (!status) {
      cr_expect_gt(limit, 5);
      limit = 200;
    }
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}
