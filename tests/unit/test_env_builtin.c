/* test_env_builtin.c - the built-in environments against equations written down independently, in
   long double, and against physics: energy, equilibria, walls. */
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

TestSuite(builtin, .init = open_engine, .fini = close_engine);

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

/* Gymnasium 0.29, pendulum.py: angle_normalize(x) = ((x + pi) % (2 pi)) - pi; costs before the
   step; newthdot = thdot + (3 g / (2 l) sin(th) + 3 / (m l^2) u) dt, clipped to 8; newth = th +
   newthdot dt. */
Test(builtin, pendulum_is_gymnasiums) {
  const long double pi = acosl(-1), g = 10, m = 1, l = 1, dt = 0.05L;
  orr_env *env = make("pendulum", NULL, 0, 0);
  orr_random random = orr_random_new(11, 0);
  orr_real o[3];
  orr_env_reset(env, 1, o);
  for (int i = 0; i < 2000; i++) {
    double state[2] = {20 * orr_random_uniform(&random) - 10, 16 * orr_random_uniform(&random) - 8},
           after[2];
    orr_real action = (orr_real)(6 * orr_random_uniform(&random) - 3);
    orr_env_result r;
    cr_assert_eq(orr_env_set_state(env, state), ORR_OK);
    cr_assert_eq(orr_env_step(env, &action, o, &r), ORR_OK);
    orr_env_get_state(env, after);
    long double u = fminl(fmaxl((long double)action, -2), 2), th = state[0], thdot = state[1];
    long double turned = fmodl(th + pi, 2 * pi);
    if (turned < 0) turned += 2 * pi;
    long double angle = turned - pi, cost = angle * angle + 0.1L * thdot * thdot + 0.001L * u * u;
    long double speed = thdot + (3 * g / (2 * l) * sinl(th) + 3 / (m * l * l) * u) * dt;
    speed = fminl(fmaxl(speed, -8), 8);
    cr_assert_float_eq(after[1], (double)speed, 1e-12);
    cr_assert_float_eq(after[0], (double)(th + speed * dt), 1e-12);
    cr_assert_float_eq((double)r.reward, (double)-cost, 1e-5);
    cr_assert_float_eq((double)o[0], (double)cosl(after[0]), 1e-6);
    cr_assert_float_eq((double)o[1], (double)sinl(after[0]), 1e-6);
    cr_assert_float_eq((double)o[2], after[1], 1e-6);
    cr_assert_not(r.terminated);
  }
  orr_env_free(env);
}

Test(builtin, pendulum_starts_like_gymnasiums_and_lasts_200_steps) {
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  double state[2], most[2] = {0, 0}, sum = 0;
  orr_real o[3], a = 0;
  for (int seed = 0; seed < 2000; seed++) {
    orr_env_reset(env, (uint64_t)seed, o);
    orr_env_get_state(env, state);
    for (int i = 0; i < 2; i++) most[i] = fmax(most[i], fabs(state[i]));
    sum += state[0];
  }
  cr_expect(most[0] > 3.1 && most[0] <= acos(-1));
  cr_expect(most[1] > 0.98 && most[1] <= 1);
  cr_expect_float_eq(sum / 2000, 0, 0.15);
  orr_env_result r = {0};
  int steps = 0;
  for (; !r.truncated; steps++) cr_assert_eq(orr_env_step(env, &a, o, &r), ORR_OK);
  cr_expect_eq(steps, 200);
  orr_env_free(env);
}

/* Lagrange's equations of a cart with a rod, angle 0 down, solved as a linear system of two:
     (M + m) x'' + m l / 2 cos(q) q'' = u - b x' + m l / 2 q'^2 sin(q)
     m l / 2 cos(q) x'' + m l^2 / 3 q'' = -m g l / 2 sin(q) */
static void cart_step(long double s[4], long double u) {
  const long double M = 0.5L, m = 0.5L, l = 0.6L, b = 0.1L, g = 9.82L, dt = 0.01L;
  for (int i = 0; i < 4; i++) {
    long double c = cosl(s[2]), n = sinl(s[2]);
    long double a11 = M + m, a12 = m * l / 2 * c, a22 = m * l * l / 3;
    long double r1 = u - b * s[1] + m * l / 2 * s[3] * s[3] * n, r2 = -m * g * l / 2 * n;
    long double d = a11 * a22 - a12 * a12, x = (r1 * a22 - a12 * r2) / d,
                q = (a11 * r2 - a12 * r1) / d;
    s[0] += dt * s[1];
    s[2] += dt * s[3];
    s[1] += dt * x;
    s[3] += dt * q;
  }
}

Test(builtin, cartpole_obeys_lagrange) {
  orr_env *env = make("cartpole", NULL, 0, 0);
  orr_random random = orr_random_new(5, 0);
  orr_real o[5];
  orr_env_reset(env, 1, o);
  for (int i = 0; i < 1000; i++) {
    double state[4], after[4];
    for (int k = 0; k < 4; k++) state[k] = 8 * orr_random_uniform(&random) - 4;
    orr_real force = (orr_real)(24 * orr_random_uniform(&random) - 12);
    orr_env_result r;
    orr_env_set_state(env, state);
    cr_assert_eq(orr_env_step(env, &force, o, &r), ORR_OK);
    orr_env_get_state(env, after);
    long double u = fminl(fmaxl((long double)force, -10), 10),
                s[4] = {state[0], state[1], state[2], state[3]};
    cart_step(s, u);
    for (int k = 0; k < 4; k++)
      cr_assert_float_eq(after[k], (double)s[k], 1e-9 * (1 + fabs(after[k])));
    long double x = s[0] + 0.6L * sinl(s[2]), y = -0.6L * cosl(s[2]) - 0.6L;
    long double reward = expl(-(x * x + y * y) / 0.36L) - 0.01L * (u / 10) * (u / 10);
    cr_assert_float_eq((double)r.reward, (double)reward, 1e-6);
    cr_assert_float_eq((double)o[2], (double)cosl(s[2]), 1e-6);
  }
  orr_env_free(env);
}

/* Gymnasium 0.29, cartpole.py: the equations as they stand there. */
Test(builtin, cartpole_balance_is_gymnasiums) {
  const long double gravity = 9.8L, masscart = 1, masspole = 0.1L, length = 0.5L, tau = 0.02L;
  const long double total_mass = masspole + masscart, polemass_length = masspole * length;
  orr_env *env = make("cartpole_balance", NULL, 0, 0);
  orr_random random = orr_random_new(5, 0);
  orr_real o[4];
  int over = 0;
  for (int i = 0; i < 2000; i++) {
    orr_env_reset(env, (uint64_t)i, o);
    for (int k = 0; k < 4; k++) cr_assert(fabs((double)o[k]) <= 0.05);
    double at[4] = {5 * orr_random_uniform(&random) - 2.5, 4 * orr_random_uniform(&random) - 2,
                    0.5 * orr_random_uniform(&random) - 0.25, 4 * orr_random_uniform(&random) - 2},
           after[4];
    orr_real action = (orr_real)(i % 2);
    orr_env_result r;
    cr_assert_eq(orr_env_set_state(env, at), ORR_OK);
    cr_assert_eq(orr_env_step(env, &action, o, &r), ORR_OK);
    orr_env_get_state(env, after);
    long double x = at[0], x_dot = at[1], theta = at[2], theta_dot = at[3];
    long double force = i % 2 ? 10 : -10, costheta = cosl(theta), sintheta = sinl(theta);
    long double temp = (force + polemass_length * theta_dot * theta_dot * sintheta) / total_mass;
    long double thetaacc = (gravity * sintheta - costheta * temp) /
                           (length * (4.0L / 3.0L - masspole * costheta * costheta / total_mass));
    long double xacc = temp - polemass_length * thetaacc * costheta / total_mass;
    long double want[4] = {x + tau * x_dot, x_dot + tau * xacc, theta + tau * theta_dot,
                           theta_dot + tau * thetaacc};
    for (int k = 0; k < 4; k++) cr_assert_float_eq(after[k], (double)want[k], 1e-12);
    bool terminated = fabsl(want[0]) > 2.4L || fabsl(want[2]) > 12 * 2 * acosl(-1) / 360;
    cr_assert_eq(r.terminated, terminated);
    cr_assert(r.reward == 1);
    over += terminated;
  }
  cr_expect(over > 100 && over < 1900);
  cr_expect_eq(orr_env_max_steps(env), 0);
  orr_env_free(env);
}

Test(builtin, cartpole_hangs_still_and_falls_when_upright) {
  orr_env *env = make("cartpole", NULL, 0, 0);
  double hanging[4] = {0}, upright[4] = {0, 0, acos(-1) + 1e-3, 0}, state[4];
  orr_real o[5], none = 0;
  orr_env_reset(env, 1, o);
  orr_env_set_state(env, hanging);
  for (int i = 0; i < 500; i++) orr_env_step(env, &none, o, NULL);
  orr_env_get_state(env, state);
  for (int k = 0; k < 4; k++) cr_expect_eq(state[k], 0);
  orr_env_set_state(env, upright);
  for (int i = 0; i < 50; i++) orr_env_step(env, &none, o, NULL);
  orr_env_get_state(env, state);
  cr_expect_gt(fabs(state[2] - acos(-1)), 1);
  orr_env_free(env);
}

static double cart_energy(const double s[4]) {
  const double M = 0.5, m = 0.5, l = 0.6, g = 9.82;
  double c = cos(s[2]);
  return 0.5 * (M + m) * s[1] * s[1] + 0.5 * m * l * c * s[1] * s[3] + m * l * l / 6 * s[3] * s[3] -
         m * g * l / 2 * c;
}

Test(builtin, cartpole_keeps_its_energy) {
  orr_env_setting settings[] = {{"friction", 0}, {"time_step", 4e-4}};
  orr_env *env = make("cartpole", settings, 2, 0);
  double state[4] = {0, 1, 2, -1}, after[4];
  orr_real o[5], none = 0;
  orr_env_reset(env, 1, o);
  orr_env_set_state(env, state);
  for (int i = 0; i < 5000; i++) orr_env_step(env, &none, o, NULL); /* 2 s */
  orr_env_get_state(env, after);
  cr_expect_float_eq(cart_energy(after), cart_energy(state), 0.02);
  cr_expect_gt(fabs(after[2] - state[2]), 0.1);
  orr_env_free(env);
}

/* Two uniform rods of mass 0.5 and length 0.5 with joint angles p and q: speeds of their
   middles. */
static double arm_energy(const double s[4]) {
  const double m = 0.5, l = 0.5, inertia = m * l * l / 12;
  double both = s[0] + s[1], w1 = s[2], w2 = s[2] + s[3];
  double x1 = -l / 2 * sin(s[0]) * w1, y1 = l / 2 * cos(s[0]) * w1;
  double x2 = 2 * x1 - l / 2 * sin(both) * w2, y2 = 2 * y1 + l / 2 * cos(both) * w2;
  return 0.5 * m * (x1 * x1 + y1 * y1 + x2 * x2 + y2 * y2) + 0.5 * inertia * (w1 * w1 + w2 * w2);
}

Test(builtin, reacher_gains_just_the_work_of_its_motors) {
  orr_env_setting settings[] = {{"friction", 0}, {"time_step", 4e-4}};
  orr_env *env = make("reacher", settings, 2, 0);
  double state[6] = {0.3, -1.2, 2, -3, 0.5, 0.5}, before[6], after[6], work = 0;
  orr_real o[10];
  orr_env_reset(env, 1, o);
  orr_env_set_state(env, state);
  memcpy(before, state, sizeof before);
  for (int i = 0; i < 5000; i++) {
    orr_real torque[2] = {(orr_real)(0.2 * sin(i * 1e-3)), (orr_real)(-0.1 * cos(i * 2e-3))};
    orr_env_step(env, torque, o, NULL);
    orr_env_get_state(env, after);
    for (int k = 0; k < 2; k++) work += (double)torque[k] * (after[k] - before[k]);
    memcpy(before, after, sizeof before);
  }
  cr_expect_gt(fabs(work), 0.02);
  cr_expect_float_eq(arm_energy(after), arm_energy(state) + work, 0.002);
  double x = 0.5 * cos(after[0]) + 0.5 * cos(after[0] + after[1]),
         y = 0.5 * sin(after[0]) + 0.5 * sin(after[0] + after[1]);
  cr_expect_float_eq((double)o[6], x, 1e-6);
  cr_expect_float_eq((double)o[7], y, 1e-6);
  cr_expect(o[8] == (orr_real)0.5 && o[9] == (orr_real)0.5);
  orr_env_free(env);
}

Test(builtin, reacher_is_rewarded_for_being_near) {
  orr_env *env = make("reacher", NULL, 0, 0);
  double state[6] = {0, acos(-1) / 2, 0, 0, 0.5, 0.5};
  orr_real o[10], none[2] = {0, 0}, full[2] = {1, 1};
  orr_env_result r;
  orr_env_reset(env, 1, o);
  orr_env_set_state(env, state);
  orr_env_step(env, none, o, &r);
  cr_expect_float_eq((double)r.reward, 0, 1e-9);
  orr_env_set_state(env, state);
  orr_env_step(env, full, o, &r);
  double x = (double)(o[6] - o[8]), y = (double)(o[7] - o[9]);
  cr_expect_float_eq((double)r.reward, -(x * x + y * y) - 0.02, 1e-6);
  orr_env_free(env);
}

Test(builtin, pencil_starts_at_rest_anywhere_on_its_sheet) {
  orr_env *env = make("pencil", NULL, 0, 0);
  double low[2] = {9, 9}, high[2] = {-9, -9}, q[4];
  orr_real o[8];
  for (uint64_t seed = 0; seed < 2000; seed++) {
    orr_env_reset(env, seed, o);
    orr_env_get_state(env, q);
    double tip[2] = {0.5 * cos(q[0]) + 0.5 * cos(q[0] + q[1]),
                     0.5 * sin(q[0]) + 0.5 * sin(q[0] + q[1])};
    for (int i = 0; i < 2; i++) {
      cr_assert_float_eq((double)o[6 + i], tip[i], 1e-6);
      cr_assert_eq(q[2 + i], 0);
      low[i] = fmin(low[i], tip[i]);
      high[i] = fmax(high[i], tip[i]);
    }
    cr_assert(q[1] > 0 && q[1] < acos(-1)); /* the elbow is always on the same side */
  }
  cr_expect(low[0] >= 0.225 && low[0] < 0.24 && high[0] <= 0.875 && high[0] > 0.86);
  cr_expect(low[1] >= -0.325 && low[1] < -0.31 && high[1] <= 0.325 && high[1] > 0.31);
  orr_env_free(env);
}

Test(builtin, pencil_moves_as_the_reacher_does) {
  orr_env_setting settings[] = {
      {"length", 0.7}, {"mass", 0.3}, {"friction", 0.05}, {"max_torque", 3}, {"time_step", 0.02}};
  orr_env *pencil = make("pencil", settings, 5, 0), *reacher = make("reacher", settings, 5, 0);
  double state[6] = {0.3, 1.2, 0.5, -0.4, 0, 0}, p[4], r[6];
  orr_real o[8], seen[10], torque[2];
  orr_env_result result;
  orr_env_reset(pencil, 1, o);
  orr_env_reset(reacher, 1, seen);
  orr_env_set_state(pencil, state);
  orr_env_set_state(reacher, state);
  for (int i = 0; i < 200; i++) {
    for (int k = 0; k < 2; k++) torque[k] = (orr_real)(3 * sin(0.1 * i + 2 * k));
    orr_env_step(pencil, torque, o, &result);
    orr_env_step(reacher, torque, seen, NULL);
    cr_assert_arr_eq(o, seen, sizeof o);
    orr_env_get_state(pencil, p);
    orr_env_get_state(reacher, r);
    cr_assert_arr_eq(p, r, sizeof p);
    double x = (double)o[6] - 0.77, y = (double)o[7];
    double effort = (double)(torque[0] * torque[0] + torque[1] * torque[1]);
    cr_assert_float_eq((double)result.reward, -(x * x + y * y) - 0.01 * effort, 1e-5);
  }
  orr_env_free(pencil);
  orr_env_free(reacher);
}

Test(builtin, point_mass_stays_out_of_walls_and_slides_along_them) {
  orr_env *env = make("point_mass", NULL, 0, 0);
  orr_random random = orr_random_new(2, 0);
  orr_real o[6], force[2];
  int touched = 0, crossed = 0;
  orr_env_reset(env, 1, o);
  for (int i = 0; i < 20000; i++) {
    if (i % 20 == 0)
      for (int k = 0; k < 2; k++) force[k] = (orr_real)(2 * orr_random_uniform(&random) - 1);
    orr_real before = o[0];
    orr_env_step(env, force, o, NULL);
    double x = (double)o[0], y = (double)o[1];
    cr_assert(fabs(x) <= 0.93 + 1e-6 && fabs(y) <= 0.93 + 1e-6);
    cr_assert_not(fabs(x) < 0.13 - 1e-6 && y < 0.47 - 1e-6, "inside the wall at %g, %g", x, y);
    touched += fabs(fabs(x) - 0.13) < 1e-6 && y < 0.46;
    crossed += before * o[0] < 0 && y < 0.4;
  }
  cr_expect_gt(touched, 10);
  cr_expect_eq(crossed, 0);
  double state[6] = {-0.13, -0.5, 0, 0.3, 0.5, 0.5}, after[6];
  orr_real right[2] = {1, 0};
  orr_env_set_state(env, state);
  orr_env_step(env, right, o, NULL);
  orr_env_get_state(env, after);
  cr_expect_eq(after[2], 0); /* pressed against the wall */
  cr_expect_gt(after[3], 0.2);
  cr_expect_gt(after[1], -0.5);
  orr_env_free(env);
}

/* From states all over the hill: what is left of a step beyond the stride is the wind. */
Test(builtin, cliff_is_a_walk_in_the_wind_that_ends_at_the_edge) {
  orr_env *env = make("cliff", NULL, 0, 0);
  orr_random random = orr_random_new(3, 0);
  orr_real o[2], walk;
  orr_env_result r;
  double state[2], after[2], sum = 0, squares = 0;
  int walked = 0, fell = 0;
  orr_env_reset(env, 1, o);
  for (int i = 0; i < 20000; i++) {
    state[0] = 11 * orr_random_uniform(&random) - 1;
    if (state[0] > 10) state[0] = 9.9;
    state[1] = 0;
    walk = (orr_real)(3 * orr_random_uniform(&random) - 1.5); /* also outside its bounds */
    orr_env_set_state(env, state);
    cr_assert_eq(orr_env_step(env, &walk, o, &r), ORR_OK);
    orr_env_get_state(env, after);
    double gust = after[0] - state[0] - 0.5 * fmin(fmax((double)walk, -1), 1);
    sum += gust;
    squares += gust * gust;
    bool falls = after[0] > 10;
    (falls ? fell++ : walked++);
    cr_assert_eq(after[1], falls);
    cr_assert_float_eq((double)r.reward, falls ? -20 : after[0], 1e-5);
    cr_assert(o[1] == r.reward);
    cr_assert_float_eq((double)o[0], after[0], 1e-5);
    cr_assert_not(r.terminated);
  }
  cr_expect(walked > 15000 && fell > 100);
  cr_expect_float_eq(sum / 20000, 0, 0.003);
  cr_expect_float_eq(squares / 20000, 0.01, 0.0005);
  orr_env_free(env);
}

Test(builtin, cliff_lets_nobody_back_up) {
  orr_env_setting settings[] = {{"edge", 2}, {"bottom", -3}, {"wind", 0}};
  orr_env *env = make("cliff", settings, 3, 40);
  double brink[2] = {2, 0}, state[2];
  orr_real o[2], on = 1, back = -1;
  orr_env_result r;
  orr_env_reset(env, 1, o);
  orr_env_set_state(env, brink);
  orr_env_step(env, &back, o, &r); /* right at the edge is still on the hill */
  cr_expect(r.reward == (orr_real)1.5);
  orr_env_set_state(env, brink);
  orr_env_step(env, &on, o, &r);
  cr_expect(r.reward == -3);
  for (int i = 0; i < 20; i++) orr_env_step(env, &back, o, &r);
  orr_env_get_state(env, state);
  cr_expect_eq(state[0], 2.5);
  cr_expect_eq(state[1], 1);
  cr_expect(r.reward == -3 && !r.terminated);
  orr_env_free(env);
}

/* What holds for all of them. */
Test(builtin, every_one_keeps_the_promises) {
  for (int e = 0; e < orr_env_builtin_count(); e++) {
    const char *name = orr_env_builtin_name(e);
    orr_env *a = make(name, NULL, 0, 0), *b = orr_env_copy(a);
    orr_space *seen = orr_env_observation_space(a), *acts = orr_env_action_space(a);
    size_t bytes = (size_t)orr_space_size(seen) * sizeof(orr_real);
    double state[16], starts = 0;
    orr_real o[32], p[32], first[32], action[8];
    orr_env_result r, s;
    orr_random random = orr_random_new(9, 0);
    for (uint64_t seed = 0; seed < 5; seed++) { /* a seed fixes the start */
      cr_assert_eq(orr_env_reset(a, seed, o), ORR_OK);
      orr_env_reset(b, seed, p);
      cr_assert_arr_eq(o, p, bytes);
      if (seed && memcmp(first, o, bytes)) starts++;
      memcpy(first, o, bytes);
    }
    cr_expect_eq(starts, 4, "%s starts alike for different seeds", name);
    for (int i = 0; i < 1000; i++) { /* a state fixes what follows, to the bit */
      orr_space_sample(acts, &random, action);
      if (i % 3 == 0)
        for (int64_t k = 0; k < orr_space_size(acts); k++)
          action[k] = (i % 2 ? orr_space_low : orr_space_high)(acts)[k];
      cr_assert_eq(orr_env_get_state(a, state), ORR_OK);
      cr_assert_eq(orr_env_set_state(b, state), ORR_OK);
      cr_assert_eq(orr_env_step(a, action, o, &r), ORR_OK);
      orr_env_step(b, action, p, &s);
      cr_assert_eq(r.terminated, s.terminated);
      cr_assert_arr_eq(o, p, bytes, "%s, step %d", name, i);
      cr_assert(r.reward == s.reward);
      cr_assert_eq(orr_space_first_outside(seen, o, (orr_real)1e-5), -1, "%s leaves its bounds",
                   name);
      if (r.terminated) orr_env_reset(a, (uint64_t)i, o);
    }
    orr_canvas *canvas = orr_canvas_new(engine, 120, 90);
    cr_assert(orr_env_can_draw(a));
    cr_expect_eq(orr_env_draw(a, canvas), ORR_OK);
    int colors = 0;
    const uint8_t *pixels = orr_canvas_pixels(canvas);
    for (int i = 3; i < 120 * 90 * 3; i += 3) colors += memcmp(pixels + i, pixels + i - 3, 3) != 0;
    cr_expect_gt(colors, 100);
    orr_canvas_free(canvas);
    cr_expect(orr_env_builtin_doc(e));
    orr_env_free(a);
    orr_env_free(b);
  }
  cr_expect_null(orr_env_builtin_name(orr_env_builtin_count()));
}
