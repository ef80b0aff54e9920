/* What a plan is worth whose particles differ, side constraints, and plans from many states. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "orrery/plan.h"
#include "orrery/rollout.h"

enum { MEMBERS = 5, HORIZON = 2 };

static const double weights[MEMBERS] = {3, -1, 4, 0.5, 2};

/* return = state + plan[0] w of the member; events: whether it is below 0, and 0.3 for all. */
static orr_program *new_program(orr_engine *engine, orr_level start) {
  int64_t one = 1, plan_shape[2] = {HORIZON, 1}, members[2] = {MEMBERS, 1};
  orr_graph *graph = orr_graph_new(engine);
  orr_tensor *w = orr_tensor_new(engine, ORR_REAL, 2, members);
  for (int m = 0; m < MEMBERS; m++) ((orr_real *)orr_tensor_data(w))[m] = (orr_real)weights[m];
  orr_node state = orr_input(graph, "state", start, 1, &one);
  orr_node plan = orr_input(graph, "plan", ORR_ROW, 2, plan_shape);
  orr_node push = orr_reshape(graph, orr_slice(graph, plan, 0, 0, 1), 1, &one);
  orr_node moved = orr_binary(graph, ORR_OP_mul, push, orr_parameter(graph, w, ORR_MEMBER));
  orr_node value = orr_binary(graph, ORR_OP_add, state, moved);
  orr_node events[2] = {orr_binary(graph, ORR_OP_less, value, orr_number(graph, 0)),
                        orr_broadcast(graph, orr_number(graph, 0.3), 1, &one)};
  orr_output(graph, "return", orr_sum_all(graph, value));
  orr_output(graph, "events", orr_concat(graph, 2, events, 0));
  orr_program *program = orr_compile(graph);
  cr_assert(program, "%s", orr_engine_message(engine));
  orr_tensor_free(w);
  orr_graph_free(graph);
  return program;
}

static orr_objective *try_objective(orr_engine *engine, orr_level start,
                                    const orr_rollout_options *options) {
  orr_program *program = new_program(engine, start);
  orr_objective *objective = orr_objective_program(engine, program, options);
  orr_program_free(program);
  return objective;
}

static orr_rollout_options some_options(int particles) {
  orr_rollout_options options = orr_rollout_options_defaults();
  options.members = MEMBERS;
  options.particles = particles;
  return options;
}

/* Plan i pushes by i; the start is 1. */
static void score(orr_objective *objective, int n, orr_real *returns, orr_real *violations) {
  orr_real observation = 1, plans[64 * HORIZON] = {0};
  for (int i = 0; i < n; i++) plans[i * HORIZON] = (orr_real)i;
  orr_scoring scoring = {.observation = &observation,
                         .plans = plans,
                         .n = n,
                         .horizon = HORIZON,
                         .returns = returns,
                         .violations = violations};
  cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK, "%s",
               orr_engine_message(orr_objective_engine(objective)));
}

static int rising(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The measures once more, plainly: CVaR as a sum over a fine division of the share. */
static double by_hand(const orr_risk_options *risk, double *values, int count) {
  double mean = 0, square = 0;
  qsort(values, (size_t)count, sizeof *values, rising);
  for (int i = 0; i < count; i++) mean += values[i] / count;
  for (int i = 0; i < count; i++) square += pow(values[i] - mean, 2) / count;
  double k = risk->parameter, sum = 0, weight = 0;
  switch (risk->measure) {
  case ORR_RISK_mean: return mean;
  case ORR_RISK_worst: return values[0];
  case ORR_RISK_mean_minus_deviations: return mean - k * sqrt(square);
  case ORR_RISK_optimistic: return mean + k * sqrt(square);
  case ORR_RISK_cvar: break;
  }
  for (int i = 0; i < count; i++) {
    double part = fmin(1.0 / count, fmax(0, k - (double)i / count));
    sum += part * values[i], weight += part;
  }
  return sum / weight;
}

Test(plan_risk, measures_are_those_of_their_definitions) {
  orr_engine *engine = orr_engine_new(NULL);
  const orr_risk_options risks[] = {{ORR_RISK_mean, 0, false},
                                    {ORR_RISK_worst, 0, false},
                                    {ORR_RISK_cvar, 0.1, false},
                                    {ORR_RISK_cvar, 0.25, false},
                                    {ORR_RISK_cvar, 0.37, false},
                                    {ORR_RISK_cvar, 1, false},
                                    {ORR_RISK_mean_minus_deviations, 1.5, false},
                                    {ORR_RISK_optimistic, 1, false}};
  const int particles[] = {1, 4, 5, 12, 40};
  for (size_t r = 0; r < sizeof risks / sizeof *risks; r++) {
    for (size_t k = 0; k < sizeof particles / sizeof *particles; k++) {
      orr_rollout_options options = some_options(particles[k]);
      options.risk = risks[r];
      orr_objective *objective = try_objective(engine, ORR_ROW, &options);
      orr_real returns[30];
      score(objective, 30, returns, NULL);
      for (int i = 0; i < 30; i++) {
        double values[40];
        for (int p = 0; p < particles[k]; p++) values[p] = 1 + i * weights[p % MEMBERS];
        cr_expect_float_eq((double)returns[i], by_hand(&risks[r], values, particles[k]), 1e-4,
                           "%s of %d", orr_risk_name((int)risks[r].measure), particles[k]);
      }
      orr_objective_free(objective);
    }
  }
  orr_engine_free(engine);
}

Test(plan_risk, members_weigh_the_same) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_rollout_options options = some_options(7); /* members 0 and 1 have two particles each */
  options.risk = (orr_risk_options){ORR_RISK_mean, 0, true};
  orr_objective *objective = try_objective(engine, ORR_ROW, &options);
  orr_real returns[3];
  score(objective, 3, returns, NULL);
  cr_expect_float_eq((double)returns[2], 1 + 2 * (3 - 1 + 4 + 0.5 + 2) / 5, 1e-5);
  orr_objective_free(objective);
  options.risk = (orr_risk_options){ORR_RISK_cvar, 0.3, true};
  objective = try_objective(engine, ORR_ROW, &options);
  score(objective, 3, returns, NULL); /* 1.5 members: -1 and half of 0.5 */
  cr_expect_float_eq((double)returns[2], 1 + 2 * (-1 + 0.25) / 1.5, 1e-5);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_risk, a_particle_that_is_not_finite_spoils_every_measure) {
  orr_engine *engine = orr_engine_new(NULL);
  for (int risk = 0; risk < orr_risk_count(); risk++) {
    for (int bad = 0; bad < 2; bad++) {
      orr_rollout_options options = some_options(5);
      options.risk = (orr_risk_options){(orr_risk)risk, 0.5, false};
      orr_objective *objective = try_objective(engine, ORR_ROW, &options);
      orr_real observation = 1, plans[HORIZON] = {bad ? INFINITY : NAN}, returns[1];
      orr_scoring scoring = {.observation = &observation,
                             .plans = plans,
                             .n = 1,
                             .horizon = HORIZON,
                             .returns = returns};
      cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK);
      cr_expect(!isfinite(returns[0]), "%s", orr_risk_name(risk));
      orr_objective_free(objective);
    }
  }
  orr_engine_free(engine);
}

Test(plan_risk, violations_are_what_exceeds_the_limits) {
  orr_engine *engine = orr_engine_new(NULL);
  const double limits[2] = {0.05, 0.1};
  orr_rollout_options options = some_options(10);
  options.limits = limits;
  options.constraints = 2;
  orr_objective *objective = try_objective(engine, ORR_ROW, &options);
  cr_expect(orr_objective_has_violations(objective));
  cr_expect(orr_objective_any_thread(objective)); /* it calls no function of the host */
  orr_real returns[4], violations[4];
  score(objective, 4, returns, violations);
  /* 1 - i is below 0 from i = 2 on, for one member in five */
  for (int i = 0; i < 4; i++)
    cr_expect_float_eq((double)violations[i], (i >= 2 ? 0.15 : 0) + 0.2, 1e-5);
  cr_expect_float_eq((double)returns[3], 1 + 3 * (3 - 1 + 4 + 0.5 + 2) / 5, 1e-5);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_risk, many_states_score_as_one_by_one) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_rollout_options options = some_options(7);
  orr_objective *objective = try_objective(engine, ORR_ROW, &options);
  cr_assert(orr_objective_many_states(objective));
  orr_real observations[3] = {1, -2, 5}, plans[12 * HORIZON], together[12], alone[12];
  for (int i = 0; i < 12 * HORIZON; i++) plans[i] = (orr_real)(i % 7) - 3;
  for (int states = 3; states >= 1; states--) {
    int n = 4 * states;
    orr_scoring scoring = {.observation = observations,
                           .states = states,
                           .plans = plans,
                           .n = n,
                           .horizon = HORIZON,
                           .returns = together};
    cr_assert_eq(orr_objective_score(objective, &scoring), ORR_OK);
    for (int s = 0; s < states; s++) {
      orr_scoring one = {.observation = observations + s,
                         .plans = plans + 4 * s * HORIZON,
                         .n = 4,
                         .horizon = HORIZON,
                         .returns = alone + 4 * s};
      cr_assert_eq(orr_objective_score(objective, &one), ORR_OK);
    }
    cr_expect_arr_eq(together, alone, (size_t)n * sizeof *alone);
  }
  orr_objective_free(objective);
  objective = try_objective(engine, ORR_UNIFORM, &options);
  orr_scoring refused = {.observation = observations,
                         .states = 3,
                         .plans = plans,
                         .n = 12,
                         .horizon = HORIZON,
                         .returns = together};
  cr_expect_eq(orr_objective_score(objective, &refused), ORR_ARGUMENT);
  cr_expect(strstr(orr_engine_message(engine), "one state at a time"));
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_risk, nonsense_is_refused) {
  orr_engine *engine = orr_engine_new(NULL);
  const orr_risk_options bad[] = {{ORR_RISK_cvar, 0, false},
                                  {ORR_RISK_cvar, 1.5, false},
                                  {ORR_RISK_optimistic, NAN, false},
                                  {(orr_risk)99, 0, false}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    orr_rollout_options options = some_options(5);
    options.risk = bad[i];
    cr_expect_null(try_objective(engine, ORR_ROW, &options));
    cr_expect(strstr(orr_engine_message(engine), "risk"));
  }
  orr_rollout_options options = some_options(5);
  options.constraints = 3;
  options.limits = (const double[]){0, 0, 0};
  cr_expect_null(try_objective(engine, ORR_ROW, &options));
  cr_expect(strstr(orr_engine_message(engine), "'events' of [3]"));
  orr_engine_free(engine);
}
