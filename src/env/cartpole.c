/* cartpole.c - swing a pole up on a cart and balance it over the origin. The equations of motion of
   PILCO (Deisenroth, Efficient Reinforcement Learning using Gaussian Processes, 2010, appendix C.2)
   for a rod on a cart with friction, angle 0 hanging down; the reward of PETS (Chua et al. 2018):

     exp(-|tip - (0, length)|^2 / length^2) - 0.01 (force / max_force)^2, of the state after */
#include <math.h>

#include "env/env.h"

#define SETTINGS(SETTING)                                                              \
  SETTING(gravity, 9.82, -1000, 1000, "gravity in m/s^2, downwards")                   \
  SETTING(cart_mass, 0.5, 1e-3, 1e3, "mass of the cart in kg")                         \
  SETTING(pole_mass, 0.5, 1e-3, 1e3, "mass of the pole in kg")                         \
  SETTING(length, 0.6, 1e-2, 1e2, "length of the pole in m")                           \
  SETTING(friction, 0.1, 0, 1e3, "friction of the cart in N s/m")                      \
  SETTING(max_force, 10, 1e-3, 1e5, "strongest push in N")                             \
  SETTING(time_step, 0.04, 1e-4, 1, "seconds of a step, done in four parts")           \
  SETTING(start_noise, 0.05, 0, 10, "standard deviation of every number of the start") \
  SETTING(goal, 0, -100, 100, "where on the rail the reward wants the pole, in m")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

typedef struct cartpole {
  double position, velocity, angle, angular_velocity;
} cartpole;

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  const settings *s = (const settings *)given;
  env_field(observation, "position", 0, -INFINITY, INFINITY);
  env_field(observation, "velocity", 0, -INFINITY, INFINITY);
  env_field(observation, "cos", 0, -1, 1);
  env_field(observation, "sin", 0, -1, 1);
  env_field(observation, "angular_velocity", 0, -INFINITY, INFINITY);
  env_field(action, "force", 0, -s->max_force, s->max_force);
  env_field(state, "position", 0, -INFINITY, INFINITY);
  env_field(state, "velocity", 0, -INFINITY, INFINITY);
  env_field(state, "angle", 0, -INFINITY, INFINITY);
  env_field(state, "angular_velocity", 0, -INFINITY, INFINITY);
}

static void reset(const double *given, orr_random *random, double *state) {
  const settings *s = (const settings *)given;
  for (int i = 0; i < 4; i++) state[i] = s->start_noise * orr_random_normal(random);
}

/* One explicit Euler step. */
static void integrate(const settings *s, cartpole *c, double force, double dt) {
  double m = s->pole_mass, l = s->length, g = s->gravity, total = s->cart_mass + m;
  double sine = sin(c->angle), cosine = cos(c->angle),
         spin = c->angular_velocity * c->angular_velocity;
  double push = force - s->friction * c->velocity;
  double below = 4 * total - 3 * m * cosine * cosine;
  double acceleration = (2 * m * l * spin * sine + 3 * m * g * sine * cosine + 4 * push) / below;
  double angular =
      (-3 * m * l * spin * sine * cosine - 6 * total * g * sine - 6 * push * cosine) / (l * below);
  c->position += dt * c->velocity;
  c->angle += dt * c->angular_velocity;
  c->velocity += dt * acceleration;
  c->angular_velocity += dt * angular;
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  cartpole *c = (cartpole *)state;
  double force = (double)action[0], effort = force / s->max_force;
  for (int i = 0; i < 4; i++) integrate(s, c, force, s->time_step / 4);
  double x = c->position + s->length * sin(c->angle) - s->goal,
         y = -s->length * cos(c->angle) - s->length;
  result->reward =
      (orr_real)(exp(-(x * x + y * y) / (s->length * s->length)) - 0.01 * effort * effort);
}

static void observe(const double *given, const double *state, orr_real *observation) {
  (void)given;
  const cartpole *c = (const cartpole *)state;
  observation[0] = (orr_real)c->position;
  observation[1] = (orr_real)c->velocity;
  observation[2] = (orr_real)cos(c->angle);
  observation[3] = (orr_real)sin(c->angle);
  observation[4] = (orr_real)c->angular_velocity;
}

/* The view follows the cart where it leaves the middle. */
static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const cartpole *c = (const cartpole *)state;
  double l = s->length, x = c->position, half = 1.6 * l;
  double shift = x > half ? x - half : x < -half ? x + half : 0;
  env_view view = env_view_new(canvas, -2.2 * l + shift, 2.2 * l + shift, -1.35 * l, 1.45 * l);
  env_view_box(&view, shift - 20 * l, shift + 20 * l, -0.02 * l, 0.02 * l, 0, ENV_RAIL);
  for (int mark = (int)floor((shift - 6 * l) / l); mark <= (int)ceil((shift + 6 * l) / l); mark++)
    env_view_box(&view, mark * l - 0.012 * l, mark * l + 0.012 * l, -0.09 * l, -0.02 * l, 0,
                 ENV_RAIL);
  env_view_disc(&view, s->goal, l, 0.06 * l, ENV_GOAL);
  env_view_box(&view, x - 0.3 * l, x + 0.3 * l, -0.14 * l, 0.14 * l, 0.05 * l, ENV_BODY);
  env_view_line(&view, x, 0, x + l * sin(c->angle), -l * cos(c->angle), 0.11 * l, ENV_ACCENT);
  env_view_disc(&view, x, 0, 0.035 * l, ENV_INK);
}

ENV_CLASS(cartpole, "swing a pole up on a cart and balance it in the middle", 200)
