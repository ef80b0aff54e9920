/* pencil.c - an arm of two links in the plane holds a pencil over a sheet of paper: the reacher's
   arm (two_link.h), seen without a goal. What it draws is up to the task, a reward of the tip and
   of time; its own reward is only to hold the pencil over the middle of the sheet.

     reward = -|tip - middle|^2 - 0.01 |torque|^2, of the state after */
#include <math.h>

#include "env/two_link.h"

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

typedef struct pencil {
  double angle[2], velocity[2];
} pencil;

/* The sheet, in lengths of a link: a square ahead of the shoulder, all of it within reach. */
static const double middle = 1.1, half_side = 0.65;

static two_link arm_of(const settings *s) { return (two_link){s->length, s->mass, s->friction}; }

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  const settings *s = (const settings *)given;
  double reach = 2 * s->length;
  env_field(observation, "cos", 2, -1, 1);
  env_field(observation, "sin", 2, -1, 1);
  env_field(observation, "velocity", 2, -INFINITY, INFINITY);
  env_field(observation, "tip", 2, -reach, reach);
  env_field(action, "torque", 2, -s->max_torque, s->max_torque);
  env_field(state, "angle", 2, -INFINITY, INFINITY);
  env_field(state, "velocity", 2, -INFINITY, INFINITY);
}

/* At rest, the tip anywhere on the sheet. */
static void reset(const double *given, orr_random *random, double *state) {
  const settings *s = (const settings *)given;
  pencil *p = (pencil *)state;
  two_link arm = arm_of(s);
  double x = middle + half_side * (2 * orr_random_uniform(random) - 1);
  double y = half_side * (2 * orr_random_uniform(random) - 1);
  two_link_reach(&arm, s->length * x, s->length * y, p->angle);
  p->velocity[0] = p->velocity[1] = 0;
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  pencil *p = (pencil *)state;
  two_link arm = arm_of(s);
  double torque[2] = {(double)action[0], (double)action[1]}, elbow[2], tip[2];
  two_link_step(&arm, p->angle, p->velocity, torque, s->time_step);
  two_link_find(&arm, p->angle, elbow, tip);
  double x = tip[0] - middle * s->length, y = tip[1];
  double effort = torque[0] * torque[0] + torque[1] * torque[1];
  result->reward = (orr_real) - (x * x + y * y + 0.01 * effort);
}

static void observe(const double *given, const double *state, orr_real *observation) {
  const settings *s = (const settings *)given;
  const pencil *p = (const pencil *)state;
  two_link arm = arm_of(s);
  two_link_observe(&arm, p->angle, p->velocity, observation);
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const pencil *p = (const pencil *)state;
  two_link arm = arm_of(s);
  double elbow[2], tip[2], l = s->length, box = 2.3 * l, left = (middle - half_side) * l,
                           side = 2 * half_side * l;
  two_link_find(&arm, p->angle, elbow, tip);
  env_view view = env_view_new(canvas, -box, box, -box, box);
  env_view_ring(&view, 0, 0, 2 * l, 0.02 * l, ENV_RAIL);
  env_view_box(&view, left - 0.02 * l, left + side + 0.02 * l, -side / 2 - 0.02 * l,
               side / 2 + 0.02 * l, 0.02 * l, ENV_RAIL);
  env_view_box(&view, left, left + side, -side / 2, side / 2, 0, ENV_SHEET);
  two_link_draw(&arm, p->angle, &view);
  env_view_disc(&view, tip[0], tip[1], 0.08 * l, ENV_GOAL); /* seen from above: wood and lead */
  env_view_disc(&view, tip[0], tip[1], 0.03 * l, ENV_INK);
}

ENV_CLASS(pencil, "draw with a pencil at the tip of a two-link arm", 200)
