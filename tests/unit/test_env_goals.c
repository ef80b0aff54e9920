/* test_env_goals.c - the environments with goals: starts, bits, and the physics of discs. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "orrery/env.h"

static orr_engine *engine;

static void open_engine(void) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  engine = orr_engine_new(&options);
}

static void close_engine(void) { orr_engine_free(engine); }

TestSuite(goals, .init = open_engine, .fini = close_engine);

static orr_env *make(const char *name, const orr_env_setting *settings, int count,
                     int64_t max_steps) {
  orr_env_options options = orr_env_options_defaults();
  options.settings = settings;
  options.settings_count = count;
  options.max_steps = max_steps;
  orr_env *env = orr_env_new(engine, name, &options);
  cr_assert(env, "%s", orr_engine_message(engine));
  return env;
}

static const orr_field *field_of(const orr_env *env, const char *name) {
  orr_space *space = orr_env_observation_space(env);
  int found = orr_space_find(space, name);
  return found < 0 ? NULL : orr_space_field(space, found);
}

static double apart(const orr_env *env, const orr_real *o) {
  const orr_field *a = field_of(env, "achieved_goal"), *d = field_of(env, "desired_goal");
  double sum = 0;
  for (int64_t i = 0; i < a->count; i++) {
    double x = (double)(o[a->offset + i] - o[d->offset + i]);
    sum += x * x;
  }
  return sqrt(sum);
}

Test(goals, no_start_satisfies_its_goal) {
  static const struct {
    const char *name;
    double near;
  } rows[] = {{"reacher", 0.05}, {"point_mass", 0.07}, {"push", 0.07}, {"bit_flipping", 0.5}};
  orr_real o[64];
  for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    orr_env *env = make(rows[k].name, NULL, 0, -1);
    const orr_field *a = field_of(env, "achieved_goal"), *d = field_of(env, "desired_goal");
    cr_assert(a && d && a->count == d->count && a->axes == d->axes, "%s", rows[k].name);
    double nearest = 9;
    for (uint64_t seed = 0; seed < 20000; seed++) {
      cr_assert_eq(orr_env_reset(env, seed, o), ORR_OK);
      nearest = fmin(nearest, apart(env, o));
    }
    cr_assert(nearest >= rows[k].near - 1e-6, "%s: %g", rows[k].name, nearest);
    cr_assert(nearest < rows[k].near + 0.6, "%s: %g", rows[k].name, nearest);
    orr_env_free(env);
  }
}

/* With the setting at 0 some do: the check above can fail. */
Test(goals, some_would_if_they_might) {
  orr_env_setting setting = {"near", 0};
  orr_env *env = make("push", &setting, 1, -1);
  orr_real o[16];
  int satisfied = 0;
  for (uint64_t seed = 0; seed < 2000; seed++) {
    orr_env_reset(env, seed, o);
    satisfied += apart(env, o) < 0.07;
  }
  cr_expect(satisfied > 40 && satisfied < 400, "%d", satisfied);
  orr_env_free(env);
}

Test(goals, bits_flip_one_by_one) {
  static const int sizes[] = {1, 2, 8, 40, 256};
  for (int k = 0; k < 5; k++) {
    int n = sizes[k];
    orr_env_setting setting = {"bits", n};
    orr_env *env = make("bit_flipping", &setting, 1, -1);
    cr_assert_eq(orr_env_max_steps(env), n);
    cr_assert_eq(orr_space_field(orr_env_action_space(env), 0)->n, n);
    orr_real o[512], before[512];
    orr_env_result r;
    for (uint64_t seed = 0; seed < 20; seed++) {
      orr_env_reset(env, seed, before);
      /* towards the goal: from the last differing bit to the first */
      int left = 0, step = 0;
      for (int i = 0; i < n; i++) left += before[i] != before[n + i];
      cr_assert_gt(left, 0);
      for (int i = n - 1; i >= 0; i--) {
        if (before[i] == before[n + i]) continue;
        orr_real action = (orr_real)i;
        cr_assert_eq(orr_env_step(env, &action, o, &r), ORR_OK);
        before[i] = 1 - before[i];
        cr_assert_arr_eq(before, o, 2 * (size_t)n * sizeof *o);
        left--;
        cr_assert_eq(r.reward, left ? -1 : 0);
        cr_assert_not(r.terminated);
        cr_assert_eq(r.truncated, ++step == n);
      }
    }
    orr_env_free(env);
  }
  orr_env_setting settings[] = {{"bits", 3}, {"ends", 1}};
  orr_env *env = make("bit_flipping", settings, 2, -1);
  double state[6] = {0, 1, 1, 1, 1, 1};
  orr_real o[6], outside = 3, first = 0;
  orr_env_result r;
  orr_env_set_state(env, state);
  cr_expect_eq(orr_env_step(env, &outside, o, &r), ORR_ARGUMENT);
  cr_expect_eq(orr_env_step(env, &first, o, &r), ORR_OK);
  cr_expect(r.terminated && r.reward == 0);
  orr_env_free(env);
}

typedef struct push {
  double pusher[2], pusher_velocity[2], puck[2], velocity[2], goal[2];
} push;

Test(goals, push_starts_near_and_apart) {
  orr_env *env = make("push", NULL, 0, -1);
  orr_real o[10];
  push p;
  for (uint64_t seed = 0; seed < 20000; seed++) {
    orr_env_reset(env, seed, o);
    orr_env_get_state(env, (double *)&p);
    double d = hypot(p.puck[0] - p.pusher[0], p.puck[1] - p.pusher[1]);
    cr_assert(d >= 0.115 && d <= 0.16, "%g", d);
    for (int i = 0; i < 2; i++) {
      cr_assert(fabs(p.puck[i]) <= 0.35 && fabs(p.pusher[i]) <= 0.35 && fabs(p.goal[i]) <= 0.35);
      cr_assert(fabs(p.goal[i] - p.puck[i]) <= 0.2);
      cr_assert_eq(o[i], (orr_real)p.puck[i]);
      cr_assert_eq(o[2 + i], (orr_real)p.goal[i]);
      cr_assert_eq(o[4 + i], (orr_real)p.pusher[i]);
    }
  }
  orr_env_free(env);
}

/* Random pushes for long: nothing overlaps or leaves the table, the puck moves only after contact, and
   slides to rest by dry friction: v^2 / (2 mu g). */
Test(goals, push_keeps_the_laws_of_the_table) {
  orr_env *env = make("push", NULL, 0, 0);
  orr_random random = orr_random_new(4, 0);
  orr_real o[10], force[2];
  push p;
  double moved = 0, deepest = 0;
  orr_env_reset(env, 1, o);
  for (int i = 0; i < 50000; i++) {
    if (i % 200 == 0) orr_env_reset(env, (uint64_t)i, o);
    if (i % 8 == 0)
      for (int k = 0; k < 2; k++) force[k] = (orr_real)(4 * orr_random_uniform(&random) - 2);
    orr_real before[2] = {o[0], o[1]};
    cr_assert_eq(orr_env_step(env, force, o, NULL), ORR_OK);
    orr_env_get_state(env, (double *)&p);
    double d = hypot(p.puck[0] - p.pusher[0], p.puck[1] - p.pusher[1]);
    deepest = fmax(deepest, 0.11 - d);
    for (int k = 0; k < 2; k++) {
      cr_assert(fabs(p.puck[k]) <= 0.44 + 1e-9 && fabs(p.pusher[k]) <= 0.45 + 1e-9);
      moved += fabs((double)(o[k] - before[k]));
    }
  }
  cr_expect_gt(moved, 10, "%g m", moved);
  cr_expect_lt(deepest, 0.002); /* in a corner, where nothing can give way */
  push slide = {{-0.4, -0.4}, {0, 0}, {-0.2, 0}, {0.9, 0}, {0.4, 0.4}};
  orr_real none[2] = {0, 0};
  orr_env_set_state(env, (double *)&slide);
  for (int i = 0; i < 20; i++) orr_env_step(env, none, o, NULL);
  cr_expect_float_eq((double)o[0] + 0.2, 0.81 / (2 * 0.3 * 9.81), 0.003);
  cr_expect(o[8] == 0 && o[1] == 0);
  orr_env_free(env);
}

/* A push along the line of centres moves the puck straight ahead of the pusher, to the goal. */
Test(goals, push_reaches_a_goal_straight_ahead) {
  orr_env *env = make("push", NULL, 0, 0);
  push p = {{-0.2, 0}, {0, 0}, {-0.05, 0}, {0, 0}, {0.2, 0}};
  orr_real o[10], force[2] = {2, 0};
  orr_env_result r = {0};
  orr_env_set_state(env, (double *)&p);
  int t = 0;
  do orr_env_step(env, force, o, &r);
  while (r.reward < 0 && ++t < 50);
  cr_expect(r.reward == 0 && t < 30, "step %d", t);
  cr_expect(fabs((double)o[1]) < 1e-6 && apart(env, o) <= 0.07);
  cr_expect((double)(o[0] - o[4]) > 0.11 - 1e-6);
  orr_env_free(env);
}

typedef struct game {
  double player[2], player_velocity[2], ball[2], ball_velocity[2], mate[2];
} game;

/* Runs against the ball, then lets go; the reward of the end. */
static orr_real kick(orr_env *env, game *g, orr_real x, orr_real y, orr_real *o) {
  orr_real force[2] = {x, y}, none[2] = {0, 0};
  orr_env_result r;
  orr_env_set_state(env, (double *)g);
  bool kicked = false;
  for (int t = 0; t < 120; t++) {
    cr_assert_eq(orr_env_step(env, kicked ? none : force, o, &r), ORR_OK);
    kicked = kicked || o[6] != 0 || o[7] != 0;
  }
  orr_env_get_state(env, (double *)g);
  return r.reward;
}

Test(goals, a_ball_is_shot_into_the_goal_and_passed_to_the_mate) {
  orr_env_setting pass = {"task", 1};
  orr_env *shooting = make("ball_game", NULL, 0, 0), *passing = make("ball_game", &pass, 1, 0);
  orr_real o[10] = {0};
  game ahead = {{0.1, 0.1}, {0, 0}, {0.4, 0.1}, {0, 0}, {-0.5, 0.5}}, same = ahead;
  cr_expect_eq(kick(shooting, &ahead, 6, 0, o), 0);
  cr_expect(o[4] >= 1 && o[4] <= (orr_real)1.2 && o[6] == 0); /* in the net, at rest */
  cr_expect_eq(kick(passing, &same, 6, 0, o), -1);            /* the same world, another task */
  cr_expect_arr_eq(&ahead, &same, sizeof same);
  game wide = {{0.1, 0.6}, {0, 0}, {0.4, 0.6}, {0, 0}, {-0.5, 0.5}};
  cr_expect_eq(kick(shooting, &wide, 6, 0, o), -1); /* off the rim */
  cr_expect_lt(o[4], (orr_real)0.951);
  game mate = {{0, -0.3}, {0, 0}, {0, 0}, {0, 0}, {0, 0.6}};
  cr_expect_eq(kick(passing, &mate, 0, 6, o), 0);
  cr_expect(o[5] > (orr_real)0.39 && o[5] < (orr_real)0.6 && o[7] == 0);
  orr_env_free(shooting);
  orr_env_free(passing);
}

Test(goals, a_ball_stays_on_the_field_or_in_the_net) {
  orr_env *env = make("ball_game", NULL, 0, 0);
  orr_random random = orr_random_new(5, 0);
  orr_real o[10], force[2];
  int scored = 0, passed = 0;
  for (int i = 0; i < 100000; i++) {
    if (i % 100 == 0) orr_env_reset(env, (uint64_t)i, o);
    if (i % 10 == 0)
      for (int k = 0; k < 2; k++) force[k] = (orr_real)(12 * orr_random_uniform(&random) - 6);
    cr_assert_eq(orr_env_step(env, force, o, NULL), ORR_OK);
    double x = (double)o[4], y = (double)o[5];
    cr_assert(x >= -0.95 - 1e-6 && x <= 1.2 + 1e-6 && fabs(y) <= 0.95 + 1e-6);
    cr_assert(x <= 0.95 + 1e-6 || fabs(y) <= 0.35 + 1e-6, "%g, %g", x, y);
    scored += i % 100 == 99 && x >= 1;
    passed += i % 100 == 99 && hypot(x - (double)o[8], y - (double)o[9]) <= 0.2;
  }
  cr_expect(scored > 5 && scored < 300, "%d of 1000", scored); /* by chance */
  cr_expect(passed > 5 && passed < 300, "%d of 1000", passed);
  orr_env_free(env);
}
