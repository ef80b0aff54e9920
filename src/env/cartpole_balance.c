/* cartpole_balance.c - keep a pole upright on a cart by pushing it left or right: Gymnasium's
   CartPole-v1, by the equations, limits and start of its published source (Barto, Sutton and
   Anderson 1983, without friction), angle 0 being up. The reward is 1 for every step; the episode
   terminates where the pole leans by more than 12 degrees or the cart is more than 2.4 m off the
   middle. */
#include <math.h>

#include "env/env.h"

#define SETTINGS(SETTING)                                                            \
  SETTING(gravity, 9.8, -1000, 1000, "gravity in m/s^2, downwards")                  \
  SETTING(cart_mass, 1, 1e-3, 1e3, "mass of the cart in kg")                         \
  SETTING(pole_mass, 0.1, 1e-3, 1e3, "mass of the pole in kg")                       \
  SETTING(half_length, 0.5, 1e-2, 1e2, "half the length of the pole in m")           \
  SETTING(force, 10, 1e-3, 1e5, "force of a push in N")                              \
  SETTING(time_step, 0.02, 1e-4, 1, "seconds of a step, one of Euler's")             \
  SETTING(start_range, 0.05, 0, 10, "every number of the start is within +- that")   \
  SETTING(most_angle, 0.20943951023931953, 1e-3, 1.5, "radians at which it is over") \
  SETTING(most_position, 2.4, 1e-2, 1e3, "metres from the middle at which it is over")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

typedef struct cartpole {
  double position, velocity, angle, angular_velocity;
} cartpole;

static void add_fields(env_fields *fields) {
  env_field(fields, "position", 0, -INFINITY, INFINITY);
  env_field(fields, "velocity", 0, -INFINITY, INFINITY);
  env_field(fields, "angle", 0, -INFINITY, INFINITY);
  env_field(fields, "angular_velocity", 0, -INFINITY, INFINITY);
}

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  (void)given;
  add_fields(observation);
  env_field_discrete(action, "push", 2); /* 0: left, 1: right */
  add_fields(state);
}

static void reset(const double *given, orr_random *random, double *state) {
  const settings *s = (const settings *)given;
  for (int i = 0; i < 4; i++) state[i] = s->start_range * (2 * orr_random_uniform(random) - 1);
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  cartpole *c = (cartpole *)state;
  double force = action[0] > (orr_real)0.5 ? s->force : -s->force;
  double sine = sin(c->angle), cosine = cos(c->angle), total = s->cart_mass + s->pole_mass;
  double moment = s->pole_mass * s->half_length;
  double push = (force + moment * c->angular_velocity * c->angular_velocity * sine) / total;
  double angular = (s->gravity * sine - cosine * push) /
                   (s->half_length * (4.0 / 3 - s->pole_mass * cosine * cosine / total));
  double acceleration = push - moment * angular * cosine / total;
  c->position += s->time_step * c->velocity;
  c->velocity += s->time_step * acceleration;
  c->angle += s->time_step * c->angular_velocity;
  c->angular_velocity += s->time_step * angular;
  result->reward = 1;
  result->terminated = fabs(c->position) > s->most_position || fabs(c->angle) > s->most_angle;
}

static void observe(const double *given, const double *state, orr_real *observation) {
  (void)given;
  for (int i = 0; i < 4; i++) observation[i] = (orr_real)state[i];
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const cartpole *c = (const cartpole *)state;
  double x = c->position, limit = s->most_position, length = 2 * s->half_length;
  double width = 1.1 * limit, unit = 0.1 * width;
  env_view view = env_view_new(canvas, -width, width, -0.4 * width, 1.6 * width);
  env_view_box(&view, -width, width, -0.1 * unit, 0.1 * unit, 0, ENV_RAIL);
  for (int side = -1; side <= 1; side += 2)
    env_view_line(&view, side * limit, -unit, side * limit, unit, 0.2 * unit, ENV_GOAL);
  env_view_box(&view, x - 1.5 * unit, x + 1.5 * unit, -0.6 * unit, 0.6 * unit, 0.2 * unit,
               ENV_BODY);
  env_view_line(&view, x, 0, x + length * sin(c->angle), length * cos(c->angle), 0.4 * unit,
                ENV_ACCENT);
  env_view_disc(&view, x, 0, 0.15 * unit, ENV_INK);
}

ENV_CLASS(cartpole_balance,
          "keep a pole upright on a cart by pushes to the left or right (Gymnasium's CartPole-v1)",
          500)
