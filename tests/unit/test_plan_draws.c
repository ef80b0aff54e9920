/* What planners draw, how they rank, and that scoring reads their plans where they lie. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

Test(plan_draws, truncated_normals_are_the_quantiles) {
  /* 0.5 (1 + erf(z / sqrt 2)) gives back the share of the distribution within two deviations */
  double inside = erf(2 / sqrt(2.0));
  for (int i = 0; i < 20000; i++) {
    double u = i / 20000.0, z = (double)truncated_normal((orr_real)u);
    double share = 0.5 + 0.5 * erf(z / sqrt(2.0)) / inside;
    cr_assert_float_eq(share, u, 3e-6, "%g: %g", u, share);
    cr_assert(fabs(z) <= 2);
  }
}

static const orr_real *compared;
static int by_return(const void *a, const void *b) {
  int i = *(const int *)a, j = *(const int *)b;
  if (compared[i] != compared[j]) return compared[i] > compared[j] ? -1 : 1;
  return i - j;
}

Test(plan_draws, the_best_come_in_order_ties_by_index) {
  enum { MOST = 200 };
  orr_random random = orr_random_new(7, 0);
  for (int round = 0; round < 2000; round++) {
    int n = 1 + (int)orr_random_index(&random, MOST), finite = 0;
    int wanted = 1 + (int)orr_random_index(&random, MOST), order[MOST], sorted[MOST];
    orr_real returns[MOST];
    for (int i = 0; i < n; i++) {
      uint64_t kind = orr_random_index(&random, 20);
      returns[i] = kind == 0   ? (orr_real)NAN
                   : kind == 1 ? (orr_real)INFINITY
                   : kind == 2 ? (orr_real)-INFINITY
                               : (orr_real)orr_random_index(&random, 30);
      if (isfinite(returns[i])) sorted[finite++] = i;
    }
    compared = returns;
    qsort(sorted, (size_t)finite, sizeof *sorted, by_return);
    cr_assert_eq(rank_returns(returns, n, wanted, order), finite);
    for (int i = 0; i < finite && i < wanted; i++) cr_assert_eq(order[i], sorted[i]);
  }
}

enum { PLANS = 203, STEPS = 40, ACTIONS = 2 };

static orr_real seen[3][PLANS * STEPS * ACTIONS];
static int calls;
static const orr_real *memory;

static orr_status look(void *user, const orr_scoring *scoring) {
  (void)user;
  cr_assert_eq(scoring->n, PLANS);
  cr_assert(scoring->tensor && orr_tensor_data(scoring->tensor) == scoring->plans);
  cr_assert(!memory || memory == scoring->plans);
  memory = scoring->plans;
  memcpy(seen[calls++], scoring->plans, sizeof seen[0]);
  for (int i = 0; i < PLANS; i++) scoring->returns[i] = -scoring->plans[i * STEPS * ACTIONS];
  return ORR_OK;
}

Test(plan_draws, every_number_is_drawn_anew_and_the_same_on_any_threads) {
  for (int threads = 1; threads <= 3; threads++) {
    orr_engine_options options = orr_engine_options_defaults();
    options.threads = threads;
    orr_engine *engine = orr_engine_new(&options);
    orr_real low[ACTIONS] = {-1, -1}, high[ACTIONS] = {1, 1};
    orr_field field = {.name = "u", .axes = 1, .shape = {ACTIONS}, .low = low, .high = high};
    orr_space *space = orr_space_new(engine, &field, 1);
    cr_assert(space, "%s", orr_engine_message(engine));
    orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
    callbacks.score = look;
    orr_objective *objective = orr_objective_function(engine, &callbacks);
    orr_planner_setting settings[] = {{"horizon", STEPS},
                                      {"population", PLANS},
                                      {"iterations", 1},
                                      {"deviation", 100}};
    orr_planner *planner = orr_planner_new(engine, "cem", space, settings, 4);
    orr_plan_request request = orr_plan_request_defaults();
    memory = NULL;
    calls = threads - 1;
    cr_assert_eq(orr_planner_plan(planner, objective, &request, NULL), ORR_OK);
    orr_planner_free(planner);
    orr_objective_free(objective);
    orr_space_free(space);
    orr_engine_free(engine);
  }
  cr_assert_eq(memcmp(seen[0], seen[1], sizeof seen[0]), 0);
  cr_assert_eq(memcmp(seen[0], seen[2], sizeof seen[0]), 0);
  int n = PLANS * STEPS * ACTIONS, equal = 0;
  double sum = 0;
  for (int i = 0; i < n; i++) {
    sum += (double)seen[0][i];
    for (int j = i - 300; j < i; j++) equal += j >= 0 && seen[0][i] == seen[0][j];
  }
  cr_expect_lt(fabs(sum / n), 0.02);
  cr_expect_lt(equal, 20);
}
