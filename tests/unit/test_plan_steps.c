/* Learned rollouts by TS1, what a policy proposes and how far members are apart; memory. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "limited_memory.h"
#include "orrery/plan.h"
#include "orrery/rollout.h"

enum { MEMBERS = 4, HORIZON = 3, PLANS = 30 };

static orr_program *compile(orr_graph *graph) {
  orr_program *program = graph ? orr_compile(graph) : NULL;
  orr_graph_free(graph);
  return program;
}

/* Drifts of the members: 0, 1, 2, 3. */
static orr_node new_drift(orr_graph *graph) {
  int64_t shape[2] = {MEMBERS, 1};
  orr_tensor *drifts = orr_tensor_new(orr_graph_engine(graph), ORR_REAL, 2, shape);
  if (!drifts) return ORR_NONE;
  for (int m = 0; m < MEMBERS; m++) ((orr_real *)orr_tensor_data(drifts))[m] = (orr_real)m;
  orr_node drift = orr_parameter(graph, drifts, ORR_MEMBER);
  orr_tensor_free(drifts);
  return drift;
}

/* x' = x + u + drift, total' = total + time. */
static orr_program *new_step(orr_engine *engine) {
  int64_t two = 2, one = 1;
  orr_graph *graph = orr_graph_new(engine);
  if (!graph) return NULL;
  orr_node carry = orr_input(graph, "carry", ORR_ROW, 1, &two);
  orr_node action = orr_input(graph, "action", ORR_ROW, 1, &one);
  orr_node time = orr_input(graph, "time", ORR_UNIFORM, 0, NULL);
  orr_node moved = orr_binary(graph, ORR_OP_add, action, new_drift(graph));
  orr_node parts[2] = {orr_binary(graph, ORR_OP_add, orr_slice(graph, carry, 0, 0, 1), moved),
                       orr_binary(graph, ORR_OP_add, orr_slice(graph, carry, 0, 1, 1), time)};
  orr_output(graph, "carry", orr_concat(graph, 2, parts, 0));
  return compile(graph);
}

/* return = x + 100 total; events: whether x > 4. */
static orr_program *new_finish(orr_engine *engine) {
  int64_t two = 2;
  orr_graph *graph = orr_graph_new(engine);
  if (!graph) return NULL;
  orr_node carry = orr_input(graph, "carry", ORR_ROW, 1, &two);
  orr_node x = orr_slice(graph, carry, 0, 0, 1), total = orr_slice(graph, carry, 0, 1, 1);
  orr_node hundred = orr_binary(graph, ORR_OP_mul, orr_number(graph, 100), total);
  orr_output(graph, "return", orr_sum_all(graph, orr_binary(graph, ORR_OP_add, x, hundred)));
  orr_node none = orr_binary(graph, ORR_OP_mul, orr_number(graph, 0), x);
  orr_node slopes[2] = {orr_binary(graph, ORR_OP_add, none, orr_number(graph, 1)),
                        orr_binary(graph, ORR_OP_add, none, orr_number(graph, 100))};
  orr_output(graph, "slope", orr_concat(graph, 2, slopes, 0));
  orr_output(graph, "events", orr_binary(graph, ORR_OP_less, orr_number(graph, 4), x));
  return compile(graph);
}

/* A step back: what is known of carry' is known of carry, and its first number of the action. */
static orr_program *new_back(orr_engine *engine) {
  int64_t two = 2, one = 1;
  orr_graph *graph = orr_graph_new(engine);
  if (!graph) return NULL;
  orr_node nothing = orr_number(graph, 0);
  orr_node carry = orr_input(graph, "carry", ORR_ROW, 1, &two);
  orr_node action = orr_input(graph, "action", ORR_ROW, 1, &one);
  orr_node after = orr_input(graph, "after", ORR_ROW, 1, &two);
  orr_node none = orr_binary(graph, ORR_OP_mul, nothing, carry);
  orr_node still = orr_binary(graph, ORR_OP_mul, nothing, action);
  orr_output(graph, "carry", orr_binary(graph, ORR_OP_add, after, none));
  orr_output(graph, "action",
             orr_binary(graph, ORR_OP_add, orr_slice(graph, after, 0, 0, 1), still));
  return compile(graph);
}

/* With a memory, so many allocations are left once the programs are there. */
static orr_objective *new_objective_within(orr_engine *engine, const orr_risk_options *risk,
                                           int particles, struct memory *memory, long left) {
  orr_rollout_options options = orr_rollout_options_defaults();
  const orr_real start = 7;
  const double limit = 0.25;
  orr_program *step = new_step(engine), *finish = new_finish(engine), *back = new_back(engine);
  orr_objective *objective = NULL;
  options.members = MEMBERS;
  options.particles = particles;
  options.finish = finish;
  options.gradient = back;
  options.start = &start;
  options.start_count = 1;
  options.horizon = HORIZON;
  options.limits = &limit;
  options.constraints = 1;
  if (risk) options.risk = *risk;
  if (memory) memory->left = left;
  objective = orr_objective_program(engine, step, &options);
  orr_program_free(step);
  orr_program_free(finish);
  orr_program_free(back);
  return objective;
}

static orr_objective *new_objective(orr_engine *engine, const orr_risk_options *risk,
                                    int particles) {
  return new_objective_within(engine, risk, particles, NULL, 0);
}

/* gradients may be NULL, as may violations. */
static orr_status score_sloped(orr_objective *objective, int n, uint64_t seed, orr_real *returns,
                               orr_real *violations, orr_real *gradients) {
  orr_real plans[PLANS * HORIZON], observations[2] = {-1, 2};
  for (int i = 0; i < PLANS * HORIZON; i++) plans[i] = (orr_real)(0.25 * (i % 5));
  orr_scoring scoring = {.observation = observations,
                         .states = 2,
                         .plans = plans,
                         .n = n,
                         .horizon = HORIZON,
                         .step = 5,
                         .seed = seed,
                         .returns = returns,
                         .gradients = gradients,
                         .violations = violations};
  return orr_objective_score(objective, &scoring);
}

static orr_status score(orr_objective *objective, int n, uint64_t seed, orr_real *returns,
                        orr_real *violations) {
  return score_sloped(objective, n, seed, returns, violations, NULL);
}

/* Each member moves as many particles at each step: the mean is known, whatever the order. */
Test(plan_steps, members_are_balanced_at_every_step) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 1);
  orr_objective *objective = new_objective(engine, NULL, 8);
  cr_assert(objective, "%s", orr_engine_message(engine));
  orr_real returns[PLANS], violations[PLANS];
  cr_assert_eq(score(objective, PLANS, 1, returns, violations), ORR_OK);
  for (int i = 0; i < PLANS; i++) {
    double x = i < PLANS / 2 ? -1 : 2;
    for (int t = 0; t < HORIZON; t++) x += 0.25 * ((i * HORIZON + t) % 5) + 1.5;
    cr_expect_float_eq((double)returns[i], x + 100 * (7 + 5 + 6 + 7), 1e-2);
    cr_expect(violations[i] >= 0 && violations[i] <= (orr_real)0.75);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
  cr_expect_eq(memory.live, 0);
}

Test(plan_steps, particles_change_members) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 1);
  const orr_risk_options worst = {ORR_RISK_worst, 0, false};
  orr_objective *objective = new_objective(engine, &worst, 4);
  orr_real returns[PLANS], others[PLANS];
  cr_assert_eq(score(objective, PLANS, 1, returns, NULL), ORR_OK);
  cr_assert_eq(score(objective, PLANS, 2, others, NULL), ORR_OK);
  int stuck = 0, same = 0;
  for (int i = 0; i < PLANS; i++) {
    double x = i < PLANS / 2 ? -1 : 2;
    for (int t = 0; t < HORIZON; t++) x += 0.25 * ((i * HORIZON + t) % 5);
    stuck += (double)returns[i] < x + 2500 + 0.5; /* one that had member 0 throughout: 1 in 4! */
    same += returns[i] == others[i];
  }
  cr_expect(stuck < PLANS / 2, "%d", stuck);
  cr_expect(same < PLANS, "%d", same);
  cr_assert_eq(score(objective, PLANS, 1, others, NULL), ORR_OK);
  cr_expect_arr_eq(returns, others, sizeof returns);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* Every action moves x by as much, whoever the particle is that a plan is worth. */
Test(plan_steps, gradients_follow_particles_back) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 1);
  for (int risk = 0; risk < orr_risk_count(); risk++) {
    const orr_risk_options options = {(orr_risk)risk, 0.3, false};
    orr_objective *objective = new_objective(engine, &options, 12);
    orr_real returns[PLANS], sloped[PLANS], gradients[PLANS * HORIZON];
    cr_assert_eq(score(objective, PLANS, 1, returns, NULL), ORR_OK);
    cr_assert_eq(score_sloped(objective, PLANS, 1, sloped, NULL, gradients), ORR_OK);
    cr_expect_arr_eq(returns, sloped, sizeof returns);
    for (int v = 0; v < PLANS * HORIZON; v++)
      cr_expect_float_eq((double)gradients[v], 1, 1e-4, "%s: %g", orr_risk_name(risk),
                         (double)gradients[v]);
    orr_objective_free(objective);
  }
  orr_engine_free(engine);
  cr_expect_eq(memory.live, 0);
}

Test(plan_steps, scoring_allocates_nothing) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 1);
  for (int risk = 0; risk < orr_risk_count(); risk++) {
    const orr_risk_options options = {(orr_risk)risk, 0.3, false};
    orr_objective *objective = new_objective(engine, &options, 12);
    orr_real returns[PLANS], violations[PLANS], slopes[PLANS * HORIZON];
    cr_assert_eq(score_sloped(objective, PLANS, 1, returns, violations, slopes), ORR_OK);
    long before = memory.asked;
    for (uint64_t seed = 0; seed < 5; seed++)
      cr_assert_eq(score_sloped(objective, PLANS, seed, returns, violations, slopes), ORR_OK);
    cr_expect_eq(memory.asked, before, "%s", orr_risk_name(risk));
    orr_objective_free(objective);
  }
  orr_engine_free(engine);
}

Test(plan_steps, any_allocation_may_fail) {
  int failures = 0;
  for (long n = 0; n < 2000; n++) {
    struct memory memory = {.left = UNLIMITED};
    orr_engine *engine = limited_engine(&memory, 1);
    orr_real returns[PLANS], violations[PLANS], slopes[PLANS * HORIZON];
    orr_objective *objective = new_objective_within(engine, NULL, 5, &memory, n);
    bool good =
        objective && score_sloped(objective, PLANS, 1, returns, violations, slopes) == ORR_OK;
    if (!good)
      cr_expect_eq(orr_engine_status(engine), ORR_MEMORY, "%s", orr_engine_message(engine));
    orr_objective_free(objective);
    orr_engine_free(engine);
    cr_expect_eq(memory.live, 0, "after %ld", n);
    if (good) break;
    failures++;
  }
  cr_expect(failures > 20 && failures < 2000, "%d", failures);
}

Test(plan_steps, what_does_not_fit_is_refused) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *engine = limited_engine(&memory, 1);
  const orr_risk_options over = {ORR_RISK_worst, 0, true};
  cr_expect_null(new_objective(engine, &over, 5));
  cr_expect(strstr(orr_engine_message(engine), "no member of their own"));
  orr_program *finish = new_finish(engine);
  orr_rollout_options options = orr_rollout_options_defaults();
  options.horizon = 2;
  options.finish = finish;
  cr_expect_null(orr_objective_program(engine, finish, &options));
  cr_expect(strstr(orr_engine_message(engine), "inputs 'action'"));
  orr_program_free(finish);
  orr_engine_free(engine);
}
