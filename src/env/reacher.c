/* reacher.c - an arm of two links in the plane moves its tip to a goal: uniform rods without
   gravity, with friction in the joints; the second angle is measured from the first link
   (two_link.h).

     reward = -|tip - goal|^2 - 0.01 |torque|^2, of the state after (PETS, Chua et al. 2018) */
#include <math.h>

#include "env/two_link.h"

#define SETTINGS(SETTING)                                                    \
  SETTING(length, 0.5, 1e-2, 1e2, "length of each link in m")                \
  SETTING(mass, 0.5, 1e-3, 1e3, "mass of each link in kg")                   \
  SETTING(friction, 0.1, 0, 1e3, "friction of each joint in N m s")          \
  SETTING(max_torque, 1, 1e-3, 1e4, "strongest torque of each motor in N m") \
  SETTING(time_step, 0.04, 1e-4, 1, "seconds of a step, done in four parts") \
  SETTING(near, 0.05, 0, 1e2, "goals that start nearer to the tip, in m, are drawn again")

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
  env_field(observation, "achieved_goal", 2, -reach, reach); /* the tip */
  env_field(observation, "desired_goal", 2, -reach, reach);
  env_field(action, "torque", 2, -s->max_torque, s->max_torque);
  env_field(state, "angle", 2, -INFINITY, INFINITY);
  env_field(state, "velocity", 2, -INFINITY, INFINITY);
  env_field(state, "goal", 2, -reach, reach);
}

static two_link arm_of(const settings *s) { return (two_link){s->length, s->mass, s->friction}; }

/* Uniform over the ring of 0.2 .. 0.95 of the reach. */
static void place_goal(const settings *s, orr_random *random, double goal[2]) {
  double inner = 0.2 * 0.2, outer = 0.95 * 0.95;
  double radius = 2 * s->length * sqrt(inner + (outer - inner) * orr_random_uniform(random));
  double direction = 2 * pi * orr_random_uniform(random);
  goal[0] = radius * cos(direction);
  goal[1] = radius * sin(direction);
}

static void reset(const double *given, orr_random *random, double *state) {
  const settings *s = (const settings *)given;
  reacher *r = (reacher *)state;
  for (int i = 0; i < 2; i++) {
    r->angle[i] = pi * (2 * orr_random_uniform(random) - 1);
    r->velocity[i] = 0.1 * orr_random_normal(random);
  }
  two_link arm = arm_of(s);
  double elbow[2], tip[2];
  two_link_find(&arm, r->angle, elbow, tip);
  do place_goal(s, random, r->goal);
  while (env_distance(tip, r->goal) < fmin(s->near, s->length)); /* never everywhere */
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  reacher *r = (reacher *)state;
  double torque[2] = {(double)action[0], (double)action[1]}, elbow[2], tip[2];
  two_link arm = arm_of(s);
  two_link_step(&arm, r->angle, r->velocity, torque, s->time_step);
  two_link_find(&arm, r->angle, elbow, tip);
  double x = tip[0] - r->goal[0], y = tip[1] - r->goal[1];
  double effort = torque[0] * torque[0] + torque[1] * torque[1];
  result->reward = (orr_real) - (x * x + y * y + 0.01 * effort);
}

static void observe(const double *given, const double *state, orr_real *observation) {
  const settings *s = (const settings *)given;
  const reacher *r = (const reacher *)state;
  two_link arm = arm_of(s);
  two_link_observe(&arm, r->angle, r->velocity, observation);
  for (int i = 0; i < 2; i++) observation[8 + i] = (orr_real)r->goal[i];
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const reacher *r = (const reacher *)state;
  two_link arm = arm_of(s);
  double elbow[2], tip[2], l = s->length, box = 2.3 * l;
  two_link_find(&arm, r->angle, elbow, tip);
  env_view view = env_view_new(canvas, -box, box, -box, box);
  env_view_ring(&view, 0, 0, 2 * l, 0.02 * l, ENV_RAIL);
  env_view_ring(&view, r->goal[0], r->goal[1], 0.16 * l, 0.05 * l, ENV_GOAL);
  env_view_disc(&view, r->goal[0], r->goal[1], 0.06 * l, ENV_GOAL);
  two_link_draw(&arm, r->angle, &view);
  env_view_disc(&view, tip[0], tip[1], 0.04 * l, ENV_PAPER);
}

ENV_CLASS(reacher, "move the tip of a two-link arm to a goal", 100)
