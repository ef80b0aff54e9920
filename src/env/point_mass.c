/* point_mass.c - push a puck to a goal in a square room with a wall that stands in the way. The puck
   slides along what it touches: only the speed into a wall is lost.

     velocity' = velocity + dt (force - friction velocity) / mass
     position' = position + dt velocity'
     reward    = -|position - goal| - 0.01 |force|^2, of the state after */
#include <math.h>

#include "env/env.h"

#define SETTINGS(SETTING)                                                            \
  SETTING(mass, 0.5, 0.1, 1e3, "mass of the puck in kg")                             \
  SETTING(friction, 0.5, 0, 1e3, "friction in N s/m")                                \
  SETTING(max_force, 1, 1e-3, 2, "strongest push along each axis in N")              \
  SETTING(time_step, 0.05, 1e-4, 0.1, "seconds of a step")                           \
  SETTING(wall, 1.4, 0, 1.8, "height of the wall in m, from the bottom; 0: no wall") \
  SETTING(near, 0.07, 0, 0.5, "goals that start nearer to the puck, in m, are drawn again")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

typedef struct point_mass {
  double position[2], velocity[2], goal[2];
} point_mass;

/* Metres: half the side of the room, the puck's radius, half the wall's thickness. A puck is never so
   fast that it jumps over the wall: top_speed times a step is less than what it has to cross. */
static const double room = 1, radius = 0.07, half_wall = 0.06, top_speed = 2;

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  const settings *s = (const settings *)given;
  double edge = room - radius;
  env_fields *both[2] = {observation, state};
  for (int i = 0; i < 2; i++) {
    env_field(both[i], i ? "position" : "achieved_goal", 2, -edge, edge);
    env_field(both[i], "velocity", 2, -top_speed, top_speed);
    env_field(both[i], i ? "goal" : "desired_goal", 2, -edge, edge);
  }
  env_field(action, "force", 2, -s->max_force, s->max_force);
}

/* Whether a puck with its middle there overlaps the wall. */
static bool in_wall(const settings *s, double x, double y) {
  return s->wall > 0 && fabs(x) < half_wall + radius && y < s->wall - room + radius;
}

static void place(const settings *s, orr_random *random, double point[2]) {
  double edge = room - radius;
  do {
    for (int i = 0; i < 2; i++) point[i] = edge * (2 * orr_random_uniform(random) - 1);
  } while (in_wall(s, point[0], point[1]));
}

static void reset(const double *given, orr_random *random, double *state) {
  const settings *s = (const settings *)given;
  point_mass *p = (point_mass *)state;
  place(s, random, p->position);
  do place(s, random, p->goal);
  while (env_distance(p->position, p->goal) < s->near);
}

/* Moves along one axis; in the room's and the wall's way the speed along it is lost. */
static void slide(const settings *s, point_mass *p, int axis) {
  double edge = room - radius, before = p->position[axis];
  double *x = &p->position[axis];
  *x += s->time_step * p->velocity[axis];
  double kept = fmin(fmax(*x, -edge), edge);
  if (*x != kept) {
    *x = kept;
    p->velocity[axis] = 0;
  }
  if (!in_wall(s, p->position[0], p->position[1])) return;
  if (axis == 0) *x = before < 0 ? -half_wall - radius : half_wall + radius;
  else *x = s->wall - room + radius;
  p->velocity[axis] = 0;
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  point_mass *p = (point_mass *)state;
  double effort = 0;
  for (int i = 0; i < 2; i++) {
    double force = (double)action[i];
    effort += force * force;
    double velocity =
        p->velocity[i] + s->time_step * (force - s->friction * p->velocity[i]) / s->mass;
    p->velocity[i] = fmin(fmax(velocity, -top_speed), top_speed);
  }
  slide(s, p, 0);
  slide(s, p, 1);
  result->reward = (orr_real) - (env_distance(p->position, p->goal) + 0.01 * effort);
}

static void observe(const double *given, const double *state, orr_real *observation) {
  (void)given;
  for (int i = 0; i < 6; i++) observation[i] = (orr_real)state[i];
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const point_mass *p = (const point_mass *)state;
  env_view view = env_view_new(canvas, -1.08, 1.08, -1.08, 1.08);
  env_view_box(&view, -1.05, 1.05, -1.05, 1.05, 0.03, ENV_INK);
  env_view_box(&view, -room, room, -room, room, 0, 0xffffffff);
  if (s->wall > 0)
    env_view_box(&view, -half_wall, half_wall, -room - 0.02, s->wall - room, 0.02, ENV_INK);
  env_view_ring(&view, p->goal[0], p->goal[1], radius, 0.02, ENV_GOAL);
  env_view_disc(&view, p->goal[0], p->goal[1], 0.02, ENV_GOAL);
  env_view_line(&view, p->position[0], p->position[1], p->position[0] + 0.25 * p->velocity[0],
                p->position[1] + 0.25 * p->velocity[1], 0.025, ENV_RAIL);
  env_view_disc(&view, p->position[0], p->position[1], radius, ENV_ACCENT);
}

const env_class env_point_mass = {
    .name = "point_mass",
    .doc = "push a puck around a wall to a goal",
    .max_steps = 150,
    .settings_count = COUNT(infos),
    .settings = infos,
    .spaces = spaces,
    .reset = reset,
    .step = step,
    .observe = observe,
    .draw = draw,
};
