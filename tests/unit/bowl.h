/* bowl.h - an objective whose best plan is known, for tests of planners. */
#ifndef BOWL_H
#define BOWL_H

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "orrery/plan.h"
#include "orrery/rollout.h"

enum { HORIZON = 4 };

/* -sum of (plan - target)^2, minus `offset`; plans whose first number exceeds `poison` give NaN. */
struct bowl {
  orr_real target[2 * HORIZON];
  double offset, poison;
  int64_t calls, plans, outside;
  double low, high, last_deviation;
  double limit;   /* plans whose second number exceeds it break a side constraint, by the excess */
  int fail_after; /* calls; 0: never */
  double each;    /* seconds that scoring a plan takes */
};

static inline orr_status score_bowl(void *user, const orr_scoring *scoring) {
  struct bowl *bowl = user;
  int variables = 2 * scoring->horizon;
  double sum = 0, squares = 0;
  bowl->calls++;
  bowl->plans += scoring->n;
  double sleep = bowl->each * scoring->n;
  struct timespec time = {(time_t)sleep, (long)(1e9 * (sleep - floor(sleep)))};
  if (sleep > 0) nanosleep(&time, NULL);
  if (bowl->fail_after && bowl->calls >= bowl->fail_after) return ORR_CALLBACK;
  for (int i = 0; i < scoring->n; i++) {
    const orr_real *plan = scoring->plans + i * variables;
    double cost = bowl->offset;
    for (int v = 0; v < variables; v++) {
      double apart = (double)(plan[v] - bowl->target[v]);
      cost += apart * apart;
      if ((double)plan[v] < bowl->low || (double)plan[v] > bowl->high) bowl->outside++;
    }
    sum += (double)plan[0];
    squares += (double)(plan[0] * plan[0]);
    scoring->returns[i] = (double)plan[0] > bowl->poison ? (orr_real)NAN : (orr_real)-cost;
    for (int v = 0; v < variables && scoring->gradients; v++)
      scoring->gradients[i * variables + v] = -2 * (plan[v] - bowl->target[v]);
    if (scoring->violations)
      scoring->violations[i] =
          (double)plan[1] > bowl->limit ? (orr_real)((double)plan[1] - bowl->limit) : 0;
  }
  bowl->last_deviation = sqrt(squares / scoring->n - sum * sum / scoring->n / scoring->n);
  return ORR_OK;
}

static inline struct bowl new_bowl(void) {
  struct bowl bowl = {.target = {0.3f, -0.7f, 0.1f, 0.9f, -0.4f, 0, 0.5f, -0.2f}};
  bowl.poison = bowl.limit = INFINITY;
  bowl.low = -1;
  bowl.high = 1;
  return bowl;
}

static inline orr_engine *new_engine(int threads) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = threads;
  return orr_engine_new(&options);
}

static inline orr_objective *new_objective(orr_engine *engine, struct bowl *bowl) {
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = bowl;
  callbacks.score = score_bowl;
  callbacks.gradients = true;
  callbacks.violations = bowl->limit < INFINITY;
  callbacks.many_states = true;
  return orr_objective_function(engine, &callbacks);
}

static inline orr_space *new_space(orr_engine *engine, orr_real low, orr_real high) {
  orr_real lows[2] = {low, low}, highs[2] = {high, high};
  orr_field field = {.name = "force", .axes = 1, .shape = {2}, .low = lows, .high = highs};
  return orr_space_new(engine, &field, 1);
}

static inline orr_planner *new_planner(orr_engine *engine, const char *name, const char *option,
                                       double value) {
  orr_space *space = new_space(engine, -1, 1);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {option, value}};
  orr_planner *planner = orr_planner_new(engine, name, space, settings, option ? 2 : 1);
  orr_space_free(space);
  return planner;
}

static inline orr_plan_result run(orr_planner *planner, orr_objective *objective) {
  orr_real observation = 0;
  orr_plan_request request = orr_plan_request_defaults();
  orr_plan_result result;
  request.observation = &observation;
  cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK, "%s",
               orr_engine_message(orr_planner_engine(planner)));
  return result;
}

static inline double error_of(const orr_real *plan, int count, const struct bowl *bowl) {
  double worst = 0;
  for (int v = 0; v < count; v++) worst = fmax(worst, fabs((double)(plan[v] - bowl->target[v])));
  return worst;
}

#endif
