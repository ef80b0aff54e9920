/* push.c - a disc that is driven by a force pushes a puck to a goal on a table with a rim. The
   pusher is damped, the puck slides with dry friction, and where they meet nothing bounces
   (disc.h):

     pusher: velocity' = (velocity + dt force / mass) / (1 + dt damping / mass)
     puck:   its speed falls by dt friction g
     reward = 0 where the puck is within `near` of the goal, else -1, of the state after

   The plane and the success radius of 7 cm are those of FetchPush (Andrychowicz et al. 2017); the
   puck starts near the pusher, and the goal is drawn around the puck, never where that already
   lies. */
#include <math.h>

#include "env/disc.h"
#include "env/env.h"

#define SETTINGS(SETTING)                                                                   \
  SETTING(pusher_mass, 0.2, 1e-2, 1e2, "mass of the pusher in kg")                          \
  SETTING(puck_mass, 0.2, 1e-2, 1e2, "mass of the puck in kg")                              \
  SETTING(damping, 2, 0, 1e2, "damping of the pusher in N s/m")                             \
  SETTING(friction, 0.3, 0, 10, "friction of the puck on the table")                        \
  SETTING(max_force, 2, 1e-2, 1e2, "strongest force along each axis in N")                  \
  SETTING(time_step, 0.05, 1e-3, 0.1, "seconds of a step, done in ten parts")               \
  SETTING(goal_range, 0.2, 0.1, 1, "how far goals lie from the puck along each axis, in m") \
  SETTING(near, 0.07, 0, 0.09, "success: how near the puck's middle is to the goal in m")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

typedef struct push {
  disc pusher, puck;
  double goal[2];
} push;

enum { PARTS = 10 };

/* Metres: half the side of the table, the two radii, how far from the rim goals and starts are, and
   how far the puck is from the pusher at the start. At top_speed a part of a step is 1.6 cm at
   most. */
static const double table = 0.5, pusher_radius = 0.05, puck_radius = 0.06, margin = 0.15,
                    start_gap = 0.05, top_speed = 1.6, gravity = 9.81;

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  const settings *s = (const settings *)given;
  double tip = table - pusher_radius, edge = table - puck_radius;
  env_field(observation, "achieved_goal", 2, -edge, edge); /* the puck */
  env_field(observation, "desired_goal", 2, -edge, edge);
  env_field(observation, "pusher", 2, -tip, tip);
  env_field(observation, "pusher_velocity", 2, -top_speed, top_speed);
  env_field(observation, "velocity", 2, -INFINITY, INFINITY);
  env_field(action, "force", 2, -s->max_force, s->max_force);
  env_field(state, "pusher", 2, -tip, tip);
  env_field(state, "pusher_velocity", 2, -top_speed, top_speed);
  env_field(state, "puck", 2, -edge, edge);
  env_field(state, "velocity", 2, -INFINITY, INFINITY);
  env_field(state, "goal", 2, -edge, edge);
}

/* Uniform in the square of that half side around the point, as far as it is in the inner table. */
static void place(orr_random *random, const double around[2], double half, double point[2]) {
  double inner = table - margin;
  for (int i = 0; i < 2; i++) {
    double low = fmax(around[i] - half, -inner), high = fmin(around[i] + half, inner);
    point[i] = low + (high - low) * orr_random_uniform(random);
  }
}

static void reset(const double *given, orr_random *random, double *state) {
  const settings *s = (const settings *)given;
  push *p = (push *)state;
  double touch = pusher_radius + puck_radius, distance;
  static const double middle[2] = {0, 0};
  place(random, middle, table, p->puck.x);
  do {
    place(random, p->puck.x, touch + start_gap, p->pusher.x);
    distance = env_distance(p->pusher.x, p->puck.x);
  } while (distance < touch + 0.005 || distance > touch + start_gap);
  do place(random, p->puck.x, s->goal_range, p->goal);
  while (env_distance(p->puck.x, p->goal) <= s->near);
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  push *p = (push *)state;
  double force[2] = {(double)action[0], (double)action[1]}, dt = s->time_step / PARTS;
  double tip = table - pusher_radius, edge = table - puck_radius;
  disc_kind pusher = {pusher_radius, s->pusher_mass}, puck = {puck_radius, s->puck_mass};
  for (int part = 0; part < PARTS; part++) {
    disc_drive(&p->pusher, s->pusher_mass, force, s->damping, top_speed, dt);
    disc_slow(&p->puck, s->friction * gravity, dt);
    disc_move(&p->pusher, dt);
    disc_move(&p->puck, dt);
    disc_hit(&p->pusher, &pusher, &p->puck, &puck, 0);
    for (int i = 0; i < 2; i++) disc_keep(&p->puck, i, -edge, edge, 0);
    disc_yield(&p->pusher, &pusher, &p->puck, &puck);
    for (int i = 0; i < 2; i++) disc_keep(&p->pusher, i, -tip, tip, 0);
  }
  result->reward = env_distance(p->puck.x, p->goal) <= s->near ? 0 : -1;
}

static void observe(const double *given, const double *state, orr_real *observation) {
  (void)given;
  const push *p = (const push *)state;
  const double *fields[] = {p->puck.x, p->goal, p->pusher.x, p->pusher.v, p->puck.v};
  for (int i = 0; i < 10; i++) observation[i] = (orr_real)fields[i / 2][i % 2];
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const push *p = (const push *)state;
  env_view view = env_view_new(canvas, -0.55, 0.55, -0.55, 0.55);
  env_view_box(&view, -0.53, 0.53, -0.53, 0.53, 0.02, ENV_INK);
  env_view_box(&view, -table, table, -table, table, 0, ENV_SHEET);
  env_view_ring(&view, p->goal[0], p->goal[1], s->near, 0.012, ENV_GOAL);
  env_view_disc(&view, p->puck.x[0], p->puck.x[1], puck_radius, ENV_ACCENT);
  env_view_disc(&view, p->goal[0], p->goal[1], 0.012, ENV_GOAL);
  env_view_disc(&view, p->pusher.x[0], p->pusher.x[1], pusher_radius, ENV_BODY);
  env_view_disc(&view, p->puck.x[0], p->puck.x[1], 0.01, ENV_PAPER);
}

ENV_CLASS(push, "push a puck across a table to a goal", 50)
