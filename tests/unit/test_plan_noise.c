/* What each sampling planner draws and how it weighs: deviations, spectra, splines,
   temperatures. */
#include <stdlib.h>

#include "bowl.h"

enum { MOST = 40000, STEPS = 16 };

/* Keeps the plans of every batch; the return is minus the distance of the first number to `goal`,
   or 0. */
struct record {
  orr_real *plans; /* the last batch's */
  int n, horizon, calls;
  orr_real goal;
  bool flat;
};

static orr_status look(void *user, const orr_scoring *scoring) {
  struct record *record = user;
  size_t count = (size_t)scoring->n * (size_t)scoring->horizon;
  cr_assert_leq(count, (size_t)MOST * STEPS);
  memcpy(record->plans, scoring->plans, count * sizeof(orr_real));
  record->n = scoring->n;
  record->horizon = scoring->horizon;
  record->calls++;
  for (int i = 0; i < scoring->n; i++) {
    orr_real apart = scoring->plans[i * scoring->horizon] - record->goal;
    scoring->returns[i] = record->flat ? 0 : -(orr_real)fabs((double)apart);
  }
  return ORR_OK;
}

/* Plans once more, without letting go of the plan before. */
static orr_plan_result plan_again(orr_planner *planner, struct record *record) {
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = record;
  callbacks.score = look;
  orr_objective *objective = orr_objective_function(orr_planner_engine(planner), &callbacks);
  orr_plan_result result = run(planner, objective);
  orr_objective_free(objective);
  return result;
}

static orr_plan_result plan_with(orr_engine *engine, const char *name, struct record *record,
                                 orr_planner_setting *settings, int count, orr_planner **kept) {
  orr_real low = -100, high = 100; /* far: nothing is clipped at a deviation of 0.1 */
  orr_field field = {.name = "u", .low = &low, .high = &high};
  orr_space *space = orr_space_new(engine, &field, 1);
  orr_planner *planner = orr_planner_new(engine, name, space, settings, count);
  cr_assert(planner, "%s", orr_engine_message(engine));
  orr_plan_result result = plan_again(planner, record);
  orr_space_free(space);
  if (kept) *kept = planner;
  return result;
}

/* Over plans: covariance of steps i and j, of mean 0. */
static double covariance(const struct record *record, int i, int j) {
  double sum = 0;
  for (int p = 0; p < record->n; p++)
    sum += (double)record->plans[p * record->horizon + i] *
           (double)record->plans[p * record->horizon + j];
  return sum / record->n;
}

static struct record new_record(void) {
  return (struct record){.plans = malloc((size_t)MOST * STEPS * sizeof(orr_real)), .flat = true};
}

Test(plan_noise, deviation_matters_to_every_planner_that_has_one) {
  orr_engine *engine = new_engine(1);
  struct record record = new_record();
  const struct {
    const char *name;
    double share; /* of the deviation that samples should have at the last step */
  } planners[] = {
      {"cem", 0.87963}, {"icem", 1}, {"mppi", 1}, {"pddm", 0}, {"predictive_sampling", 1}};
  for (size_t i = 0; i < sizeof planners / sizeof *planners; i++) {
    double seen[2];
    for (int j = 0; j < 2; j++) {
      double deviation = j ? 0.1 : 0.02;
      orr_planner_setting settings[] = {{"horizon", STEPS},
                                        {"population", 20000},
                                        {"iterations", 1},
                                        {"deviation", deviation}};
      orr_planner *planner;
      plan_with(engine, planners[i].name, &record, settings, 4, &planner);
      seen[j] = sqrt(covariance(&record, STEPS - 1, STEPS - 1));
      /* halves of a range of 200 */
      if (planners[i].share > 0)
        cr_expect_float_eq(seen[j], 100 * deviation * planners[i].share, 2 * deviation, "%s: %g",
                           planners[i].name, seen[j]);
      orr_planner_free(planner);
    }
    cr_expect_float_eq(seen[1] / seen[0], 5, 0.2, "%s", planners[i].name);
  }
  free(record.plans);
  orr_engine_free(engine);
}

/* Power at frequency k, from the covariances. */
static double power(const struct record *record, int k) {
  double sum = 0;
  for (int i = 0; i < record->horizon; i++)
    for (int j = 0; j < record->horizon; j++)
      sum += covariance(record, i, j) * cos(6.283185307179586 * k * (i - j) / record->horizon);
  return sum;
}

Test(plan_noise, power_falls_with_the_noise_exponent_of_icem) {
  orr_engine *engine = new_engine(1);
  struct record record = new_record();
  for (int exponent = 0; exponent <= 3; exponent++) {
    orr_planner_setting settings[] = {{"horizon", STEPS},
                                      {"population", 20000},
                                      {"iterations", 1},
                                      {"deviation", 0.1},
                                      {"noise_exponent", exponent}};
    orr_planner *planner;
    plan_with(engine, "icem", &record, settings, 5, &planner);
    /* every step has the deviation asked for, whatever the colour */
    for (int t = 0; t < STEPS; t++)
      cr_expect_float_eq(sqrt(covariance(&record, t, t)), 10, 0.3, "exponent %d, step %d: %g",
                         exponent, t, sqrt(covariance(&record, t, t)));
    double slope = log(power(&record, 1) / power(&record, 4)) / log(4);
    cr_expect_float_eq(slope, exponent, 0.1, "exponent %d: %g", exponent, slope);
    orr_planner_free(planner);
  }
  free(record.plans);
  orr_engine_free(engine);
}

Test(plan_noise, icem_shrinks_keeps_elites_and_adds_the_mean) {
  orr_engine *engine = new_engine(1);
  struct record record = new_record();
  record.flat = false;
  record.goal = 30;
  orr_planner_setting settings[] = {{"horizon", STEPS}, {"population", 100}, {"elites", 10},
                                    {"iterations", 3},  {"decay", 2},        {"alpha", 0}};
  orr_planner *planner;
  orr_plan_result result = plan_with(engine, "icem", &record, settings, 6, &planner);
  cr_expect_eq(record.n, 25); /* 100 / 2 / 2, above 2 elites */
  cr_expect_eq(result.scored, 175);
  cr_expect_eq(result.plan, result.best); /* executed, not the mean */
  /* what was best stays among the candidates: the best never gets worse */
  cr_expect_geq(result.best_returns[1], result.best_returns[0]);
  cr_expect_geq(result.best_returns[2], result.best_returns[1]);
  /* next step: the elites return one action on, and are scored anew there */
  orr_real second[3];
  for (int e = 0; e < 3; e++) second[e] = result.best[1];
  orr_planner_shift(planner);
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = &record;
  callbacks.score = look;
  orr_objective *objective = orr_objective_function(engine, &callbacks);
  orr_plan_request request = orr_plan_request_defaults();
  request.iterations = 1;
  cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
  bool found = false;
  for (int i = 0; i < record.n; i++) found = found || record.plans[i * STEPS] == second[0];
  cr_expect(found, "the best plan, shifted, is among the candidates");
  orr_planner_reset(planner);
  cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
  for (int i = 0; i < record.n; i++) cr_expect_neq(record.plans[i * STEPS], second[0]);
  orr_objective_free(objective);
  orr_planner_free(planner);
  free(record.plans);
  orr_engine_free(engine);
}

Test(plan_noise, mppi_is_the_plain_mean_when_hot_and_the_best_when_cold) {
  orr_engine *engine = new_engine(1);
  struct record record = new_record();
  record.flat = false;
  record.goal = 30;
  const char *names[] = {"mppi", "pddm"};
  for (int i = 0; i < 2; i++) {
    orr_planner_setting settings[] = {{"horizon", STEPS},
                                      {"population", 300},
                                      {"temperature", 1e12}};
    orr_planner *planner;
    orr_plan_result result = plan_with(engine, names[i], &record, settings, 3, &planner);
    for (int t = 0; t < STEPS; t++) {
      double mean = 0;
      for (int p = 0; p < record.n; p++) mean += (double)record.plans[p * STEPS + t] / record.n;
      cr_expect_float_eq(result.plan[t], mean, 1e-3, "%s", names[i]);
    }
    orr_planner_free(planner);
    settings[2].value = 1e-9;
    result = plan_with(engine, names[i], &record, settings, 3, &planner);
    cr_expect_arr_eq(result.plan, result.best, STEPS * sizeof(orr_real), "%s", names[i]);
    orr_planner_free(planner);
  }
  free(record.plans);
  orr_engine_free(engine);
}

/* With equal returns, weights are the control cost's alone: they pull the mean towards the
   middle. */
Test(plan_noise, mppi_charges_for_steering) {
  orr_engine *engine = new_engine(1);
  struct record record = new_record();
  double moved[2];
  for (int i = 0; i < 2; i++) {
    orr_planner_setting settings[] = {{"horizon", STEPS},
                                      {"population", 20000},
                                      {"deviation", 0.1},
                                      {"control_cost", i}};
    orr_planner *planner;
    plan_with(engine, "mppi", &record, settings, 4, &planner);
    orr_real start[STEPS];
    for (int t = 0; t < STEPS; t++) start[t] = t ? 0 : 5; /* half a deviation */
    orr_planner_set_plan(planner, start);
    orr_plan_result result = plan_again(planner, &record);
    moved[i] = (double)result.plan[0] - 5;
    orr_planner_free(planner);
  }
  cr_expect_float_eq(moved[0], 0, 0.3);
  /* E[noise exp(-m noise / s^2)] / E[exp(...)] = -m: all the way back to the middle */
  cr_expect_float_eq(moved[1], -5, 0.5, "%g", moved[1]);
  free(record.plans);
  orr_engine_free(engine);
}

Test(plan_noise, pddm_smooths_noise_over_time) {
  orr_engine *engine = new_engine(1);
  struct record record = new_record();
  for (int whole = 0; whole < 2; whole++) {
    orr_planner_setting settings[] = {{"horizon", STEPS},
                                      {"population", 20000},
                                      {"deviation", 0.1},
                                      {"filter", 0.6},
                                      {"filter_plan", whole}};
    orr_planner *planner;
    plan_with(engine, "pddm", &record, settings, 5, &planner);
    /* n[0] = 0.6 u, then an autoregression that keeps 0.4 of what was */
    cr_expect_float_eq(sqrt(covariance(&record, 0, 0)), 6, 0.2);
    cr_expect_float_eq(sqrt(covariance(&record, 9, 9)), 10 * sqrt(0.36 / (1 - 0.16)), 0.2);
    cr_expect_float_eq(covariance(&record, 9, 10) / covariance(&record, 9, 9), 0.4, 0.03);
    cr_expect_float_eq(covariance(&record, 9, 11) / covariance(&record, 9, 9), 0.16, 0.03);
    /* a mean that jumps: smoothed together with the noise, or not */
    orr_real start[STEPS];
    for (int t = 0; t < STEPS; t++) start[t] = t < 8 ? 0 : 50;
    orr_planner_set_plan(planner, start);
    plan_again(planner, &record);
    double mean = 0;
    for (int p = 0; p < record.n; p++) mean += (double)record.plans[p * STEPS + 8] / record.n;
    cr_expect_float_eq(mean, whole ? 30 : 50, 0.5, "%g", mean);
    orr_planner_free(planner);
  }
  free(record.plans);
  orr_engine_free(engine);
}

Test(plan_noise, splines_of_predictive_sampling) {
  orr_engine *engine = new_engine(1);
  struct record record = new_record();
  int degrees[] = {0, 1, 3};
  for (int d = 0; d < 3; d++) {
    orr_planner_setting settings[] = {{"horizon", STEPS},
                                      {"population", 200},
                                      {"knots", 4},
                                      {"degree", degrees[d]}};
    orr_planner *planner;
    plan_with(engine, "predictive_sampling", &record, settings, 4, &planner);
    /* 16 steps: knots at 0, 5, 10, 15 */
    for (int p = 1; p < record.n; p++) {
      const orr_real *plan = record.plans + p * STEPS;
      double left = (double)plan[5], right = (double)plan[10];
      for (int t = 5; t <= 10; t++) {
        double u = (t - 5) / 5.0, wanted = 0;
        double out = (right - (double)plan[0]) / 2, in = ((double)plan[15] - left) / 2;
        if (degrees[d] == 0) wanted = t < 10 ? left : right;
        if (degrees[d] == 1) wanted = left + u * (right - left);
        if (degrees[d] == 3)
          wanted = (2 * u * u * u - 3 * u * u + 1) * left + (u * u * u - 2 * u * u + u) * out +
                   (3 * u * u - 2 * u * u * u) * right + (u * u * u - u * u) * in;
        cr_expect_float_eq(plan[t], wanted, 1e-2, "degree %d, step %d: %g, not %g", degrees[d], t,
                           (double)plan[t], wanted);
      }
      cr_expect_neq(plan[5], plan[10]);
    }
    /* the plan so far is one of the candidates: it is never given up for a worse one */
    for (int t = 0; t < STEPS; t++) cr_expect_eq(record.plans[t], 0);
    orr_planner_free(planner);
  }
  free(record.plans);
  orr_engine_free(engine);
}

/* A plan that holds its knots is read back as it is, also where their times are no whole steps. */
Test(plan_noise, held_knots_stay_where_they_are) {
  orr_engine *engine = new_engine(1);
  struct record record = new_record();
  for (int knots = 2; knots <= 9; knots++) {
    orr_planner_setting settings[] = {{"horizon", STEPS},
                                      {"population", 2},
                                      {"knots", knots},
                                      {"degree", 0}};
    orr_planner *planner;
    plan_with(engine, "predictive_sampling", &record, settings, 4, &planner);
    orr_real plan[STEPS];
    memcpy(plan, record.plans + STEPS, sizeof plan); /* the one with noise */
    orr_planner_set_plan(planner, plan);
    orr_planner_setting quiet[] = {{"horizon", STEPS},
                                   {"population", 2},
                                   {"knots", knots},
                                   {"degree", 0},
                                   {"deviation", 1e-6}};
    orr_planner_free(planner);
    orr_real low = -100, high = 100;
    orr_field field = {.name = "u", .low = &low, .high = &high};
    orr_space *space = orr_space_new(engine, &field, 1);
    planner = orr_planner_new(engine, "predictive_sampling", space, quiet, 5);
    orr_planner_set_plan(planner, plan);
    plan_again(planner, &record);
    for (int t = 0; t < STEPS; t++)
      cr_expect_float_eq(record.plans[STEPS + t], plan[t], 1e-2, "%d knots, step %d", knots, t);
    orr_planner_free(planner);
    orr_space_free(space);
  }
  free(record.plans);
  orr_engine_free(engine);
}
