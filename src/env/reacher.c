/* reacher.c - an arm of two links in the plane moves its tip to a goal. Uniform rods without gravity,
   with friction in the joints; the second angle is measured from the first link. Equations of motion
   of a two-link manipulator (Spong, Hutchinson, Vidyasagar, Robot Modeling and Control, chapter 7):

     M(q) q'' + C(q, q') + friction q' = torque
     reward = -|tip - goal|^2 - 0.01 |torque|^2, of the state after (PETS, Chua et al. 2018) */
#include <math.h>

#include "env/env.h"

#define SETTINGS(SETTING)                                                    \
  SETTING(length, 0.5, 1e-2, 1e2, "length of each link in m")                \
  SETTING(mass, 0.5, 1e-3, 1e3, "mass of each link in kg")                   \
  SETTING(friction, 0.1, 0, 1e3, "friction of each joint in N m s")          \
  SETTING(max_torque, 1, 1e-3, 1e4, "strongest torque of each motor in N m") \
  SETTING(time_step, 0.04, 1e-4, 1, "seconds of a step, done in four parts")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

typedef struct reacher {
  double angle[2], velocity[2], goal[2];
} reacher;

static const double pi = 3.14159265358979323846;

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  const settings *s = (const settings *)given;
  double reach = 2 * s->length;
  env_field(observation, "cos", 2, -1, 1);
  env_field(observation, "sin", 2, -1, 1);
  env_field(observation, "velocity", 2, -INFINITY, INFINITY);
  env_field(observation, "tip", 2, -reach, reach);
  env_field(observation, "goal", 2, -reach, reach);
  env_field(action, "torque", 2, -s->max_torque, s->max_torque);
  env_field(state, "angle", 2, -INFINITY, INFINITY);
  env_field(state, "velocity", 2, -INFINITY, INFINITY);
  env_field(state, "goal", 2, -reach, reach);
}

static void find_joints(const settings *s, const reacher *r, double elbow[2], double tip[2]) {
  double both = r->angle[0] + r->angle[1];
  elbow[0] = s->length * cos(r->angle[0]);
  elbow[1] = s->length * sin(r->angle[0]);
  tip[0] = elbow[0] + s->length * cos(both);
  tip[1] = elbow[1] + s->length * sin(both);
}

/* The goal is uniform over the ring of 0.2 .. 0.95 of the reach. */
static void reset(const double *given, orr_random *random, double *state) {
  const settings *s = (const settings *)given;
  reacher *r = (reacher *)state;
  for (int i = 0; i < 2; i++) {
    r->angle[i] = pi * (2 * orr_random_uniform(random) - 1);
    r->velocity[i] = 0.1 * orr_random_normal(random);
  }
  double inner = 0.2 * 0.2, outer = 0.95 * 0.95;
  double radius = 2 * s->length * sqrt(inner + (outer - inner) * orr_random_uniform(random));
  double direction = 2 * pi * orr_random_uniform(random);
  r->goal[0] = radius * cos(direction);
  r->goal[1] = radius * sin(direction);
}

/* One step of semi-implicit Euler: velocities first, then angles with the new velocities. */
static void integrate(const settings *s, reacher *r, const double torque[2], double dt) {
  double ml2 = s->mass * s->length * s->length, c = cos(r->angle[1]), w0 = r->velocity[0],
         w1 = r->velocity[1];
  double m00 = ml2 * (5.0 / 3 + c), m01 = ml2 * (1.0 / 3 + c / 2), m11 = ml2 / 3;
  double h = ml2 / 2 * sin(r->angle[1]);
  double f0 = torque[0] - s->friction * w0 + h * (2 * w0 * w1 + w1 * w1);
  double f1 = torque[1] - s->friction * w1 - h * w0 * w0;
  double determinant = m00 * m11 - m01 * m01;
  r->velocity[0] += dt * (m11 * f0 - m01 * f1) / determinant;
  r->velocity[1] += dt * (m00 * f1 - m01 * f0) / determinant;
  for (int i = 0; i < 2; i++) r->angle[i] += dt * r->velocity[i];
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  reacher *r = (reacher *)state;
  double torque[2] = {(double)action[0], (double)action[1]}, elbow[2], tip[2];
  for (int i = 0; i < 4; i++) integrate(s, r, torque, s->time_step / 4);
  find_joints(s, r, elbow, tip);
  double x = tip[0] - r->goal[0], y = tip[1] - r->goal[1];
  double effort = torque[0] * torque[0] + torque[1] * torque[1];
  result->reward = (orr_real) - (x * x + y * y + 0.01 * effort);
}

static void observe(const double *given, const double *state, orr_real *observation) {
  const settings *s = (const settings *)given;
  const reacher *r = (const reacher *)state;
  double elbow[2], tip[2];
  find_joints(s, r, elbow, tip);
  for (int i = 0; i < 2; i++) {
    observation[i] = (orr_real)cos(r->angle[i]);
    observation[2 + i] = (orr_real)sin(r->angle[i]);
    observation[4 + i] = (orr_real)r->velocity[i];
    observation[6 + i] = (orr_real)tip[i];
    observation[8 + i] = (orr_real)r->goal[i];
  }
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const reacher *r = (const reacher *)state;
  double elbow[2], tip[2], l = s->length, box = 2.3 * l;
  find_joints(s, r, elbow, tip);
  env_view view = env_view_new(canvas, -box, box, -box, box);
  env_view_ring(&view, 0, 0, 2 * l, 0.02 * l, ENV_RAIL);
  env_view_ring(&view, r->goal[0], r->goal[1], 0.16 * l, 0.05 * l, ENV_GOAL);
  env_view_disc(&view, r->goal[0], r->goal[1], 0.06 * l, ENV_GOAL);
  env_view_line(&view, 0, 0, elbow[0], elbow[1], 0.2 * l, ENV_BODY);
  env_view_line(&view, elbow[0], elbow[1], tip[0], tip[1], 0.16 * l, ENV_ACCENT);
  env_view_disc(&view, 0, 0, 0.05 * l, ENV_INK);
  env_view_disc(&view, elbow[0], elbow[1], 0.04 * l, ENV_INK);
  env_view_disc(&view, tip[0], tip[1], 0.04 * l, ENV_PAPER);
}

const env_class env_reacher = {
    .name = "reacher",
    .doc = "move the tip of a two-link arm to a goal",
    .max_steps = 100,
    .settings_count = COUNT(infos),
    .settings = infos,
    .spaces = spaces,
    .reset = reset,
    .step = step,
    .observe = observe,
    .draw = draw,
};
