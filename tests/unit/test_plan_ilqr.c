/* iLQR against problems whose solution is known, and the derivatives that it plans with. */
#include "bowl.h"

enum { STEPS = 12, S = 2, A = 2 };

/* x' = F x + G u; the reward is -(x' Q x' + u R u), all x here being the next state. */
static const double F[S][S] = {{1, 0.2}, {-0.1, 1.1}}, G[S][A] = {{0.1, 0.3}, {0.5, -0.2}};
static const double Q[S][S] = {{2, 0.3}, {0.3, 1}}, R[A][A] = {{0.1, 0.02}, {0.02, 0.3}};

struct linear {
  double deadline; /* that it was told */
  bool late;       /* it answers that time is up */
  double x[S];
  int linearised;
  double curve; /* added to Q's: the reward is then not concave */
};

static double stage(const struct linear *world, double x[S], const orr_real *u) {
  double next[S], cost = 0;
  for (int i = 0; i < S; i++) {
    next[i] = 0;
    for (int j = 0; j < S; j++) next[i] += F[i][j] * x[j];
    for (int j = 0; j < A; j++) next[i] += G[i][j] * (double)u[j];
  }
  for (int i = 0; i < S; i++)
    for (int j = 0; j < S; j++) cost += next[i] * Q[i][j] * next[j];
  for (int i = 0; i < A; i++)
    for (int j = 0; j < A; j++) cost += (double)u[i] * R[i][j] * (double)u[j];
  memcpy(x, next, sizeof next);
  return -cost - world->curve * (cos(3 * next[0]) - 1);
}

static double play(const struct linear *world, const orr_real *plan, int horizon) {
  double x[S] = {world->x[0], world->x[1]}, sum = 0;
  for (int t = 0; t < horizon; t++) sum += stage(world, x, plan + t * A);
  return sum;
}

static orr_status score_linear(void *user, const orr_scoring *scoring) {
  for (int i = 0; i < scoring->n; i++)
    scoring->returns[i] =
        (orr_real)play(user, scoring->plans + i * scoring->horizon * A, scoring->horizon);
  return ORR_OK;
}

/* Slope and curvature of the stage in (x, u), by hand; W: of the next state. */
static orr_status linearise(void *user, const orr_linearisation *along) {
  struct linear *world = user;
  double x[S] = {world->x[0], world->x[1]};
  world->linearised++;
  world->deadline = along->deadline;
  if (world->late) return ORR_LATE;
  for (int t = 0; t < along->horizon; t++) {
    const orr_real *u = along->plan + t * A;
    for (int i = 0; i < S; i++) along->states[t * S + i] = (orr_real)x[i];
    stage(world, x, u);
    double w[S], ww[S][S], d[S + A][S];
    for (int i = 0; i < S; i++) {
      w[i] = 0;
      for (int j = 0; j < S; j++) w[i] -= 2 * Q[i][j] * x[j], ww[i][j] = -2 * Q[i][j];
      for (int j = 0; j < S; j++) d[j][i] = F[i][j];
      for (int j = 0; j < A; j++) d[S + j][i] = G[i][j];
    }
    w[0] += 3 * world->curve * sin(3 * x[0]);
    ww[0][0] += 9 * world->curve * cos(3 * x[0]);
    double slope[S + A], second[S + A][S + A];
    for (int i = 0; i < S + A; i++) {
      slope[i] = 0;
      for (int k = 0; k < S; k++) slope[i] += d[i][k] * w[k];
      for (int j = 0; j < S + A; j++) {
        second[i][j] = 0;
        for (int k = 0; k < S; k++)
          for (int l = 0; l < S; l++) second[i][j] += d[i][k] * ww[k][l] * d[j][l];
      }
    }
    for (int i = 0; i < A; i++)
      for (int j = 0; j < A; j++) {
        slope[S + i] -= 2 * R[i][j] * (double)u[j];
        second[S + i][S + j] -= 2 * R[i][j];
      }
    for (int i = 0; i < S; i++) {
      along->reward_s[t * S + i] = (orr_real)slope[i];
      for (int j = 0; j < S; j++) {
        along->next_s[(t * S + i) * S + j] = (orr_real)F[i][j];
        along->reward_ss[(t * S + i) * S + j] = (orr_real)second[i][j];
      }
      for (int j = 0; j < A; j++) along->next_a[(t * S + i) * A + j] = (orr_real)G[i][j];
    }
    for (int i = 0; i < A; i++) {
      along->reward_a[t * A + i] = (orr_real)slope[S + i];
      for (int j = 0; j < S; j++)
        along->reward_as[(t * A + i) * S + j] = (orr_real)second[S + i][j];
      for (int j = 0; j < A; j++)
        along->reward_aa[(t * A + i) * A + j] = (orr_real)second[S + i][S + j];
    }
  }
  memset(along->value_s, 0, S * sizeof(orr_real));
  memset(along->value_ss, 0, S * S * sizeof(orr_real));
  return ORR_OK;
}

static orr_objective *new_linear(orr_engine *engine, struct linear *world) {
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = world;
  callbacks.score = score_linear;
  callbacks.linearise = linearise;
  callbacks.state_size = S;
  return orr_objective_function(engine, &callbacks);
}

static orr_planner *new_ilqr(orr_engine *engine, double bound, int repeat) {
  orr_real lows[A] = {(orr_real)-bound, (orr_real)-bound},
           highs[A] = {(orr_real)bound, (orr_real)bound};
  orr_field field = {.name = "force", .axes = 1, .shape = {A}, .low = lows, .high = highs};
  orr_space *space = orr_space_new(engine, &field, 1);
  orr_planner_setting settings[] = {{"horizon", STEPS},
                                    {"action_repeat", repeat},
                                    {"tolerance", 0},
                                    {"iterations", 60}};
  orr_planner *planner = orr_planner_new(engine, "ilqr", space, settings, 4);
  cr_assert(planner, "%s", orr_engine_message(engine));
  orr_space_free(space);
  return planner;
}

/* The exact solution, by Riccati's recursion: V(x) = x P x, M = Q + P,
   K = -(R + G' M G)^-1 G' M F, P = F' M (F + G K). */
static void solve_exactly(const double start[S], double plan[STEPS][A]) {
  double p[S][S] = {{0}}, gains[STEPS][A][S];
  for (int t = STEPS; t-- > 0;) {
    double m[S][S], mf[S][S], mg[S][A], h[A][A], gmf[A][S], closed[S][S];
    for (int i = 0; i < S; i++)
      for (int j = 0; j < S; j++) m[i][j] = Q[i][j] + p[i][j];
    for (int i = 0; i < S; i++)
      for (int j = 0; j < S; j++) {
        mf[i][j] = m[i][0] * F[0][j] + m[i][1] * F[1][j];
        mg[i][j] = m[i][0] * G[0][j] + m[i][1] * G[1][j];
      }
    for (int i = 0; i < A; i++)
      for (int j = 0; j < A; j++) {
        h[i][j] = R[i][j] + G[0][i] * mg[0][j] + G[1][i] * mg[1][j];
        gmf[i][j] = G[0][i] * mf[0][j] + G[1][i] * mf[1][j];
      }
    double determinant = h[0][0] * h[1][1] - h[0][1] * h[1][0];
    for (int j = 0; j < S; j++) {
      gains[t][0][j] = -(h[1][1] * gmf[0][j] - h[0][1] * gmf[1][j]) / determinant;
      gains[t][1][j] = -(h[0][0] * gmf[1][j] - h[1][0] * gmf[0][j]) / determinant;
    }
    for (int i = 0; i < S; i++)
      for (int j = 0; j < S; j++)
        closed[i][j] = F[i][j] + G[i][0] * gains[t][0][j] + G[i][1] * gains[t][1][j];
    for (int i = 0; i < S; i++)
      for (int j = 0; j < S; j++) p[i][j] = mf[0][i] * closed[0][j] + mf[1][i] * closed[1][j];
  }
  double x[S] = {start[0], start[1]};
  for (int t = 0; t < STEPS; t++) {
    double next[S];
    for (int i = 0; i < A; i++) plan[t][i] = gains[t][i][0] * x[0] + gains[t][i][1] * x[1];
    for (int i = 0; i < S; i++)
      next[i] = F[i][0] * x[0] + F[i][1] * x[1] + G[i][0] * plan[t][0] + G[i][1] * plan[t][1];
    memcpy(x, next, sizeof next);
  }
}

Test(plan_ilqr, is_exact_on_a_linear_quadratic_problem) {
  orr_engine *engine = new_engine(1);
  struct linear world = {.x = {1, -0.5}};
  orr_objective *objective = new_linear(engine, &world);
  orr_planner *planner = new_ilqr(engine, INFINITY, 1);
  orr_plan_result result = run(planner, objective);
  double exact[STEPS][A];
  solve_exactly(world.x, exact);
  for (int t = 0; t < STEPS; t++)
    for (int i = 0; i < A; i++)
      cr_expect_float_eq((double)result.plan[t * A + i], exact[t][i], 1e-4, "step %d: %g, %g", t,
                         (double)result.plan[t * A + i], exact[t][i]);
  /* where the first batch ended, it took one step to get there */
  orr_planner_reset(planner);
  orr_plan_request request = orr_plan_request_defaults();
  orr_real observation = 0;
  request.observation = &observation;
  request.iterations = 2;
  cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
  for (int i = 0; i < A; i++) cr_expect_float_eq((double)result.plan[i], exact[0][i], 1e-4);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* What the random plans of the first batch gave is the plan then, and no failure. */
Test(plan_ilqr, a_linearisation_that_the_deadline_cuts_short_leaves_the_best_plan) {
  orr_engine *engine = new_engine(1);
  struct linear world = {.x = {1, -0.5}};
  orr_objective *objective = new_linear(engine, &world);
  orr_planner *planner = new_ilqr(engine, 1, 1);
  orr_plan_request request = orr_plan_request_defaults();
  orr_real observation = 0, best = 0;
  request.observation = &observation;
  for (int late = 0; late < 2; late++) {
    orr_plan_result result;
    orr_planner_seed(planner, 1);
    orr_planner_reset(planner);
    request.iterations = late ? 0 : 1; /* 1: that batch alone, which tells its best */
    request.seconds = late ? 1000 : 0;
    world.late = late;
    cr_assert_eq(orr_planner_plan(planner, objective, &request, &result), ORR_OK);
    cr_expect(result.usable && isfinite(result.best_return));
    if (!late) best = result.best_return;
    cr_expect_eq(world.linearised, late);
  }
  cr_expect(best < 0);
  cr_expect_gt(world.deadline, orr_clock() + 900);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* No number inside its bounds has a slope, and one at a bound is pushed against it: for a concave return
   that is the best plan. Each number is held for `repeat` steps. */
static void expect_best(const struct linear *world, const orr_real *plan, double bound,
                        int repeat) {
  const double h = sizeof(orr_real) == sizeof(float) ? 0.01 : 1e-4;
  int held = 0;
  for (int decision = 0; decision < STEPS / repeat; decision++) {
    for (int i = 0; i < A; i++) {
      orr_real varied[2][STEPS * A];
      for (int side = 0; side < 2; side++) {
        memcpy(varied[side], plan, sizeof varied[side]);
        for (int k = 0; k < repeat; k++)
          varied[side][(decision * repeat + k) * A + i] += (orr_real)(side ? h : -h);
      }
      double slope = (play(world, varied[1], STEPS) - play(world, varied[0], STEPS)) / (2 * h);
      double u = (double)plan[decision * repeat * A + i];
      cr_expect(fabs(u) <= bound);
      if (u >= bound) cr_expect_gt(slope, -1e-3);
      else if (u <= -bound) cr_expect_lt(slope, 1e-3);
      else cr_expect_float_eq(slope, 0, 2e-3, "decision %d: %g at %g", decision, slope, u);
      held += fabs(u) >= bound;
    }
  }
  if (bound < INFINITY) cr_expect(held > 0 && held < STEPS / repeat * A, "%d", held);
}

Test(plan_ilqr, bounds_are_part_of_the_problem) {
  orr_engine *engine = new_engine(1);
  struct linear world = {.x = {1, -0.5}};
  orr_objective *objective = new_linear(engine, &world);
  orr_planner *planner = new_ilqr(engine, 0.3, 1);
  orr_plan_result result = run(planner, objective);
  expect_best(&world, result.plan, 0.3f, 1);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_ilqr, decisions_may_be_held) {
  orr_engine *engine = new_engine(1);
  struct linear world = {.x = {1, -0.5}};
  orr_objective *objective = new_linear(engine, &world);
  for (int bounded = 0; bounded < 2; bounded++) {
    orr_planner *planner = new_ilqr(engine, bounded ? 0.3 : INFINITY, 3);
    orr_plan_result result = run(planner, objective);
    for (int t = 0; t < STEPS; t++) cr_expect_eq(result.plan[t * A], result.plan[t / 3 * 3 * A]);
    expect_best(&world, result.plan, bounded ? 0.3f : INFINITY, 3);
    orr_planner_free(planner);
  }
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* Where rewards are not concave, regularisation finds the way up all the same, and it ends. */
Test(plan_ilqr, rewards_need_not_be_concave) {
  orr_engine *engine = new_engine(1);
  struct linear world = {.x = {1, -0.5}, .curve = 3};
  orr_objective *objective = new_linear(engine, &world);
  orr_planner *planner = new_ilqr(engine, 1, 1);
  orr_plan_result result = run(planner, objective);
  for (int i = 1; i < result.iterations; i++)
    cr_expect_geq((double)result.best_returns[i], (double)result.best_returns[i - 1] - 1e-4);
  cr_expect_gt((double)result.best_return, (double)result.best_returns[0] + 1);
  for (int v = 0; v < STEPS * A; v++) cr_expect(fabs((double)result.plan[v]) <= 1);
  cr_expect_lt(world.linearised, 61);
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

Test(plan_ilqr, objectives_without_derivatives_are_refused) {
  orr_engine *engine = new_engine(1);
  struct bowl bowl = new_bowl();
  orr_objective *objective = new_objective(engine, &bowl);
  orr_planner *planner = new_planner(engine, "ilqr", NULL, 0);
  cr_expect(orr_planner_wants_linearisation(planner));
  orr_plan_request request = orr_plan_request_defaults();
  orr_real observation = 0;
  request.observation = &observation;
  cr_expect_eq(orr_planner_plan(planner, objective, &request, NULL), ORR_ARGUMENT);
  cr_expect(strstr(orr_engine_message(engine), "derivatives"), "%s", orr_engine_message(engine));
  orr_planner_free(planner);
  orr_objective_free(objective);
  orr_engine_free(engine);
}

/* ---- derivatives of simulators ---- */

/* x' = x + v + u / 2, v' = v + u, the reward is -(x'^2 + x' u), and past x' = 2 it ends. */
static orr_status reset_cart(void *user, orr_random *random, double *state) {
  (void)user, (void)random;
  state[0] = 1;
  state[1] = -0.5;
  return ORR_OK;
}

static orr_status step_cart(void *user, double *state, const orr_real *action, orr_random *random,
                            orr_env_result *result) {
  (void)user, (void)random;
  double u = (double)action[0];
  state[0] += state[1] + u / 2;
  state[1] += u;
  result->reward = (orr_real) - (state[0] * state[0] + state[0] * u);
  result->terminated = state[0] > 2;
  return ORR_OK;
}

static orr_status observe_cart(void *user, const double *state, orr_real *observation) {
  (void)user;
  observation[0] = (orr_real)state[0];
  return ORR_OK;
}

static orr_env *new_cart(orr_engine *engine) {
  orr_real low = -1, high = 1;
  orr_field seen = {.name = "x"}, push = {.name = "push", .low = &low, .high = &high};
  orr_field hidden = {.name = "cart", .axes = 1, .shape = {2}};
  orr_env_callbacks callbacks = orr_env_callbacks_defaults();
  callbacks.name = "cart";
  callbacks.observation = orr_space_new(engine, &seen, 1);
  callbacks.action = orr_space_new(engine, &push, 1);
  callbacks.state = orr_space_new(engine, &hidden, 1);
  callbacks.thread_safe = true;
  callbacks.reset = reset_cart;
  callbacks.step = step_cart;
  callbacks.observe = observe_cart;
  orr_env *env = orr_env_from_callbacks(engine, &callbacks);
  cr_assert(env, "%s", orr_engine_message(engine));
  orr_space_free(callbacks.observation);
  orr_space_free(callbacks.action);
  orr_space_free(callbacks.state);
  return env;
}

Test(plan_ilqr, simulators_have_derivatives) {
  orr_engine *engine = new_engine(2);
  orr_env *env = new_cart(engine);
  orr_real observation;
  cr_assert_eq(orr_env_reset(env, 1, &observation), ORR_OK);
  orr_objective *objective = orr_objective_env(engine, env, NULL);
  cr_expect_eq(orr_objective_state_size(objective), 2);
  /* the second action is at a bound, and the third one ends it: x' is 0.75, 1.25, 2.75 */
  orr_real plan[4] = {0.5f, 1, 1, 1}, states[5][2], next_s[4][2][2], next_a[4][2], reward_s[4][2];
  orr_real reward_a[4], reward_ss[4][2][2], reward_as[4][2], reward_aa[4], value_s[2], value_ss[4];
  orr_linearisation along = {.observation = &observation,
                             .plan = plan,
                             .horizon = 4,
                             .step = 0,
                             .states = *states,
                             .next_s = **next_s,
                             .next_a = *next_a,
                             .reward_s = *reward_s,
                             .reward_a = reward_a,
                             .reward_ss = **reward_ss,
                             .reward_as = *reward_as,
                             .reward_aa = reward_aa,
                             .value_s = value_s,
                             .value_ss = value_ss,
                             .deadline = orr_clock() - 1};
  cr_expect_eq(orr_objective_linearise(objective, &along), ORR_LATE);
  along.deadline = orr_clock() + 1000;
  cr_assert_eq(orr_objective_linearise(objective, &along), ORR_OK, "%s",
               orr_engine_message(engine));
  double x = 1, v = -0.5;
  for (int t = 0; t < 4; t++) {
    bool counts = t < 3;
    double u = (double)plan[t], near = t ? u - 0.02 : u; /* a bound is left by a step */
    cr_expect_float_eq((double)states[t][0], x, 1e-5);
    cr_expect_float_eq((double)states[t][1], v, 1e-5);
    double next = x + v + near / 2;
    cr_expect_float_eq((double)next_s[t][0][1], counts, 1e-3);
    cr_expect_float_eq((double)next_s[t][1][0], 0, 1e-3);
    cr_expect_float_eq((double)next_a[t][0], counts ? 0.5 : 0, 1e-3);
    cr_expect_float_eq((double)next_a[t][1], counts, 1e-3);
    cr_expect_float_eq((double)reward_s[t][0], counts ? -(2 * next + near) : 0, 5e-3);
    cr_expect_float_eq((double)reward_a[t], counts ? -(next + near / 2 + next) : 0, 5e-3);
    cr_expect_float_eq((double)reward_ss[t][0][1], counts ? -2 : 0, 2e-2);
    cr_expect_float_eq((double)reward_as[t][1], counts ? -2 : 0, 2e-2);
    cr_expect_float_eq((double)reward_aa[t], counts ? -1.5 : 0, 2e-2);
    if (counts) x += v + u / 2, v += u;
  }
  cr_expect_float_eq(x, 2.75, 1e-9);
  orr_objective_free(objective);
  orr_env_free(env);
  orr_engine_free(engine);
}
