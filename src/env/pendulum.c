/* pendulum.c - swing a rod up and hold it, with a motor too weak to lift it at once: the equations
   and constants of Gymnasium's Pendulum-v1. Angle 0 is up, positive counter-clockwise.

     velocity' = velocity + dt (3 g / (2 l) sin(angle) + 3 / (m l^2) torque), within +-max_speed
     angle'    = angle + dt velocity'
     reward    = -(angle in -pi .. pi)^2 - 0.1 velocity^2 - 0.001 torque^2, of the state before */
#include <math.h>

#include "env/env.h"

#define SETTINGS(SETTING)                                                   \
  SETTING(gravity, 10, -1000, 1000, "gravity in m/s^2, downwards")          \
  SETTING(mass, 1, 1e-3, 1e3, "mass of the rod in kg")                      \
  SETTING(length, 1, 1e-2, 1e2, "length of the rod in m")                   \
  SETTING(time_step, 0.05, 1e-4, 1, "seconds of a step")                    \
  SETTING(max_torque, 2, 1e-3, 1e4, "strongest torque of the motor in N m") \
  SETTING(max_speed, 8, 1e-1, 1e3, "fastest turning in rad/s")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

typedef struct pendulum {
  double angle, velocity;
} pendulum;

static const double pi = 3.14159265358979323846;

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  const settings *s = (const settings *)given;
  env_field(observation, "cos", 0, -1, 1);
  env_field(observation, "sin", 0, -1, 1);
  env_field(observation, "velocity", 0, -s->max_speed, s->max_speed);
  env_field(action, "torque", 0, -s->max_torque, s->max_torque);
  env_field(state, "angle", 0, -INFINITY, INFINITY);
  env_field(state, "velocity", 0, -s->max_speed, s->max_speed);
}

static void reset(const double *given, orr_random *random, double *state) {
  (void)given;
  pendulum *p = (pendulum *)state;
  p->angle = pi * (2 * orr_random_uniform(random) - 1);
  p->velocity = 2 * orr_random_uniform(random) - 1;
}

static double wrapped(double angle) { return angle - 2 * pi * floor((angle + pi) / (2 * pi)); }

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  pendulum *p = (pendulum *)state;
  double torque = (double)action[0], from_up = wrapped(p->angle);
  result->reward =
      (orr_real) - (from_up * from_up + 0.1 * p->velocity * p->velocity + 0.001 * torque * torque);
  double acceleration = 3 * s->gravity / (2 * s->length) * sin(p->angle) +
                        3 / (s->mass * s->length * s->length) * torque;
  double velocity = p->velocity + s->time_step * acceleration;
  p->velocity = fmin(fmax(velocity, -s->max_speed), s->max_speed);
  p->angle += s->time_step * p->velocity;
}

static void observe(const double *given, const double *state, orr_real *observation) {
  (void)given;
  const pendulum *p = (const pendulum *)state;
  observation[0] = (orr_real)cos(p->angle);
  observation[1] = (orr_real)sin(p->angle);
  observation[2] = (orr_real)p->velocity;
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const pendulum *p = (const pendulum *)state;
  double l = s->length, x = -l * sin(p->angle), y = l * cos(p->angle);
  env_view view = env_view_new(canvas, -1.3 * l, 1.3 * l, -1.3 * l, 1.3 * l);
  env_view_ring(&view, 0, 0, l, 0.012 * l, ENV_RAIL);
  env_view_disc(&view, 0, l, 0.03 * l, ENV_GOAL);
  env_view_line(&view, 0, 0, x, y, 0.16 * l, ENV_ACCENT);
  env_view_disc(&view, 0, 0, 0.045 * l, ENV_INK);
}

ENV_CLASS(pendulum, "swing a rod up and hold it there with a weak motor", 200)
