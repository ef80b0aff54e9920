/* cliff.c - walk up a hill in the wind: the higher the better, and beyond the top it goes straight
   down. Random walks never get there, so a model of what they saw knows only "further is higher".

     position' = position + stride walk + wind N(0, 1)
     height    = position up to the edge; beyond it the walker lies at the bottom and stays there
     reward    = height, of the state after */
#include <math.h>

#include "env/env.h"

#define SETTINGS(SETTING)                                                               \
  SETTING(stride, 0.5, 1e-3, 1e3, "longest step in m")                                  \
  SETTING(wind, 0.1, 0, 1e3, "standard deviation of what the wind adds to a step in m") \
  SETTING(edge, 10, -1e3, 1e3, "where the hill ends, in m, which is also its height")   \
  SETTING(bottom, -20, -1e4, 1e3, "height of the ground beyond the edge in m")          \
  SETTING(start_noise, 0.1, 0, 1e3, "standard deviation of where the walk starts in m")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

typedef struct cliff {
  double position, fallen; /* fallen: 0 or 1 */
} cliff;

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  (void)given;
  env_field(observation, "position", 0, -INFINITY, INFINITY);
  env_field(observation, "height", 0, -INFINITY, INFINITY);
  env_field(action, "walk", 0, -1, 1);
  env_field(state, "position", 0, -INFINITY, INFINITY);
  env_field(state, "fallen", 0, 0, 1);
}

static void reset(const double *given, orr_random *random, double *state) {
  const settings *s = (const settings *)given;
  cliff *c = (cliff *)state;
  c->position = fmin(s->start_noise * orr_random_normal(random), s->edge);
  c->fallen = 0;
}

static double height(const settings *s, const cliff *c) {
  return c->fallen > 0 ? s->bottom : c->position;
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  const settings *s = (const settings *)given;
  cliff *c = (cliff *)state;
  double gust = s->wind * orr_random_normal(random);
  if (c->fallen <= 0) {
    c->position += s->stride * (double)action[0] + gust;
    if (c->position > s->edge) c->fallen = 1;
  }
  result->reward = (orr_real)height(s, c);
}

static void observe(const double *given, const double *state, orr_real *observation) {
  const settings *s = (const settings *)given;
  const cliff *c = (const cliff *)state;
  observation[0] = (orr_real)c->position;
  observation[1] = (orr_real)height(s, c);
}

/* The walker, `size` tall, with its feet at x, y; lying down, or standing. */
static void draw_walker(const env_view *view, double x, double y, double size, bool lies) {
  double w = 0.13 * size, legs = 0.45 * size, neck = 0.75 * size, middle = 0.87 * size;
  if (lies) {
    env_view_line(view, x, y + w / 2, x + neck, y + w / 2, w, ENV_ACCENT);
    env_view_disc(view, x + middle, y + 0.14 * size, 0.14 * size, ENV_ACCENT);
    return;
  }
  env_view_line(view, x - 0.16 * size, y, x, y + legs, w, ENV_ACCENT);
  env_view_line(view, x + 0.16 * size, y, x, y + legs, w, ENV_ACCENT);
  env_view_line(view, x, y + legs, x, y + neck, w, ENV_ACCENT);
  env_view_line(view, x - 0.2 * size, y + 0.52 * size, x + 0.2 * size, y + 0.62 * size, 0.8 * w,
                ENV_ACCENT);
  env_view_disc(view, x, y + middle, 0.14 * size, ENV_ACCENT);
}

static void draw(const double *given, const double *state, orr_canvas *canvas) {
  const settings *s = (const settings *)given;
  const cliff *c = (const cliff *)state;
  double edge = s->edge, unit = fmax(fabs(edge), 1) / 10, far = 100 * unit;
  double low = fmin(s->bottom, edge - 4 * unit) - 2 * unit, high = edge + 4 * unit;
  double size = 3.2 * unit, half = (high - low) / 2;
  double middle = edge - 0.4 * half, left = middle - half;
  if (c->position - size < left) middle = c->position - size + half; /* the view follows */
  env_view view = env_view_new(canvas, middle - half, middle + half, low, high);
  double ground[] = {edge - far, edge - far, edge,       edge,      edge,       s->bottom,
                     edge + far, s->bottom,  edge + far, low - far, edge - far, low - far};
  env_view_polygon(&view, ground, 6, ENV_RAIL);
  env_view_line(&view, edge, edge, edge, edge + 2.4 * unit, 0.16 * unit, ENV_GOAL);
  double flag[] = {
      edge, edge + 2.4 * unit, edge, edge + 1.4 * unit, edge - 1.6 * unit, edge + 1.9 * unit};
  env_view_polygon(&view, flag, 3, ENV_GOAL);
  bool lies = c->fallen > 0;
  draw_walker(&view, lies ? fmax(c->position, edge + 0.4 * size) : c->position, height(s, c), size,
              lies);
}

ENV_CLASS(cliff, "walk up a hill and stop before its edge", 40)
