/* ball_game.c - a player kicks a ball by running into it. One world, two tasks: pass the ball to
   the team-mate, who stops it, or shoot it into the goal mouth, from where it does not come back.
   So what was collected for one of them says something about the other.

     player: velocity' = (velocity + dt force / mass) / (1 + dt damping / mass)
     ball:   its speed falls by dt friction; kicks and rims leave `restitution` of the speed
     reward of the task chosen by `task` = 0 where it is done, else -1, of the state after */
#include <math.h>

#include "env/disc.h"
#include "env/env.h"

#define SETTINGS(SETTING)                                                                  \
  SETTING(task, 2, 1, 2, "what the reward is for: 1: to pass, 2: to shoot")                \
  SETTING(mouth, 0.8, 0.2, 1.6, "width of the goal mouth in m")                            \
  SETTING(reach, 0.2, 0.08, 0.4, "how far from the mate's middle a ball is stopped, in m") \
  SETTING(friction, 0.3, 0, 10, "deceleration of the ball in m/s^2")                       \
  SETTING(restitution, 0.8, 0, 1, "speed that is left after a kick or a bounce")           \
  SETTING(damping, 3, 0, 1e2, "damping of the player in N s/m")                            \
  SETTING(max_force, 6, 1e-2, 1e2, "strongest force along each axis in N")                 \
  SETTING(time_step, 0.05, 1e-3, 0.1, "seconds of a step, done in ten parts")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

typedef struct ball_game {
  disc player, ball;
  double mate[2];
} ball_game;

enum { PARTS = 10 };

/* Metres: half the field, the depth of the net behind x = field, how far off the posts a ball still
   goes in, which is more than it moves in a part of a step; m/s. */
static const double field = 1, net = 0.2, post = 0.02, top_speed = 2;
static const disc_kind player_kind = {0.08, 1}, ball_kind = {0.05, 0.3};

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  const settings *s = (const settings *)given;
  double edge = field - player_kind.radius;
  env_fields *both[2] = {observation, state};
  for (int i = 0; i < 2; i++) {
    env_field(both[i], "player", 2, -edge, edge);
    env_field(both[i], "player_velocity", 2, -INFINITY, INFINITY);
    env_field(both[i], "ball", 2, -field, field + net);
    env_field(both[i], "ball_velocity", 2, -INFINITY, INFINITY);
    env_field(both[i], "mate", 2, -field, field);
  }
  env_field(action, "force", 2, -s->max_force, s->max_force);
}

static double between(orr_random *random, double low, double high) {
  return low + (high - low) * orr_random_uniform(random);
}

/* The player near the ball, the mate far enough from both, in the way of a shot or not. */
static void reset(const double *given, orr_random *random, double *state) {
  (void)given;
  ball_game *g = (ball_game *)state;
  static const double pi = 3.14159265358979323846;
  g->ball.x[0] = between(random, -0.3, 0.5);
  g->ball.x[1] = between(random, -0.5, 0.5);
  double direction = between(random, -pi, pi), distance = between(random, 0.14, 0.2);
  g->player.x[0] = g->ball.x[0] + distance * cos(direction);
  g->player.x[1] = g->ball.x[1] + distance * sin(direction);
  do {
    g->mate[0] = between(random, -0.7, 0.7);
    g->mate[1] = between(random, -0.8, 0.8);
  } while (env_distance(g->mate, g->ball.x) < 0.4 || env_distance(g->mate, g->player.x) < 0.3);
}

static bool is_in_net(const ball_game *g) { return g->ball.x[0] >= field; }

static bool is_with_mate(const settings *s, const ball_game *g) {
  return env_distance(g->ball.x, g->mate) <= s->reach;
}

/* The rim of the field, which is open at the mouth between the posts; a ball in the net stays
   there. */
static void keep_ball(const settings *s, ball_game *g) {
  double edge = field - ball_kind.radius, half = s->mouth / 2 - ball_kind.radius;
  bool at_mouth = g->ball.x[0] > edge && fabs(g->ball.x[1]) <= half + post;
  bool between_posts = at_mouth || is_in_net(g);
  if (between_posts) disc_keep(&g->ball, 1, -half, half, s->restitution);
  disc_keep(&g->ball, 0, -edge, between_posts ? field + net : edge, s->restitution);
  disc_keep(&g->ball, 1, -edge, edge, s->restitution);
  if (is_in_net(g)) g->ball.v[0] = g->ball.v[1] = 0;
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  const settings *s = (const settings *)given;
  ball_game *g = (ball_game *)state;
  double force[2] = {(double)action[0], (double)action[1]}, dt = s->time_step / PARTS;
  double edge = field - player_kind.radius;
  for (int part = 0; part < PARTS; part++) {
    disc_drive(&g->player, player_kind.mass, force, s->damping, top_speed, dt);
    disc_slow(&g->ball, s->friction, dt);
    disc_move(&g->player, dt);
    disc_move(&g->ball, dt);
    if (!is_in_net(g)) disc_hit(&g->player, &player_kind, &g->ball, &ball_kind, s->restitution);
    if (is_with_mate(s, g)) g->ball.v[0] = g->ball.v[1] = 0;
    keep_ball(s, g);
    if (!is_in_net(g)) disc_yield(&g->player, &player_kind, &g->ball, &ball_kind);
    for (int i = 0; i < 2; i++) disc_keep(&g->player, i, -edge, edge, 0);
  }
  bool done = s->task < 1.5 ? is_with_mate(s, g) : is_in_net(g);
  result->reward = done ? 0 : -1;
}

static void observe(const double *given, const double *state, orr_real *observation) {
  (void)given;
  for (int i = 0; i < 10; i++) observation[i] = (orr_real)state[i];
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const ball_game *g = (const ball_game *)state;
  double half = s->mouth / 2;
  env_view view = env_view_new(canvas, -1.1, 1.3, -1.2, 1.2);
  env_view_box(&view, -1.04, 1.04, -1.04, 1.04, 0.03, ENV_INK);
  env_view_box(&view, field, field + net + 0.04, -half - 0.04, half + 0.04, 0.03, ENV_INK);
  env_view_box(&view, -field, field, -field, field, 0, ENV_SHEET);
  env_view_box(&view, field - 0.01, field + net, -half, half, 0, ENV_RAIL);
  env_view_line(&view, field, -half, field, half, 0.02, ENV_GOAL);
  env_view_ring(&view, g->mate[0], g->mate[1], s->reach, 0.015, ENV_GOAL);
  env_view_disc(&view, g->mate[0], g->mate[1], player_kind.radius, ENV_GOAL);
  env_view_disc(&view, g->player.x[0], g->player.x[1], player_kind.radius, ENV_BODY);
  env_view_disc(&view, g->ball.x[0], g->ball.x[1], ball_kind.radius, ENV_ACCENT);
}

ENV_CLASS(ball_game, "kick a ball to a team-mate or into a goal", 50)
