/* env.h - how a built-in environment is written: constants, spaces and four pure functions over a flat
   state. A file lists its settings once (see pendulum.c) and reads them as a struct of doubles. */
#ifndef ENV_H
#define ENV_H

#include "base/base.h"
#include "orrery/env.h"

enum {
  ENV_FIELDS = 8,
  ENV_LENGTH = 256
}; /* fields of a built-in's space, numbers of such a field */

typedef struct env_fields {
  int count;
  orr_field fields[ENV_FIELDS];
  orr_real bounds[ENV_FIELDS][2][ENV_LENGTH];
} env_fields;

/* Adds a field of `length` numbers (0: a single one) in low .. high; infinities are no bounds. */
void env_field(env_fields *fields, const char *name, int length, double low, double high);
/* Adds a single whole number 0 .. n - 1. */
void env_field_discrete(env_fields *fields, const char *name, int64_t n);

/* Environments with goals follow Gymnasium's GoalEnv: the observation has achieved_goal and desired_goal, of
   one shape, and a goal that the start satisfies is drawn again. */
typedef struct env_class {
  const char *name, *doc;
  int64_t max_steps; /* 0: as `limit` says */
  int settings_count;
  const orr_env_setting_info *settings;
  /* All of these get the settings, in the order of the list above. */
  void (*spaces)(const double *settings, env_fields *observation, env_fields *action,
                 env_fields *state);
  int64_t (*limit)(
      const double *settings); /* optional: max_steps where it follows from a setting */
  void (*reset)(const double *settings, orr_random *random, double *state);
  /* action is inside its bounds; sets reward and terminated */
  void (*step)(const double *settings, double *state, const orr_real *action, orr_random *random,
               orr_env_result *result);
  void (*observe)(const double *settings, const double *state, orr_real *observation);
  void (*draw)(const double *settings, const double *state, orr_canvas *canvas);
} env_class;

#define ENV(name) extern const env_class env_##name;
#include "env/envs.def"
#undef ENV

/* Between two points in the plane. */
double env_distance(const double a[2], const double b[2]);

/* The built-in of that name, or NULL with a message that names the nearest one. */
const env_class *env_class_find(orr_engine *engine, const char *name);

/* Takes back the last orr_env_step of the environment, after which nothing else was called: `random` is
   its stream before it. Where the state is hidden or cannot be put back the environment has ended:
   false. */
bool env_step_back(orr_env *env, orr_random random);

/* A file lists its settings as rows SETTING(name, default, low, high, doc) of a macro SETTINGS(SETTING);
   these expand a row to a struct member and to the public description. */
#define ENV_SETTING_MEMBER(name, value, low, high, doc) double name;
#define ENV_SETTING_INFO(name, value, low, high, doc) {#name, value, low, high, doc},

/* Drawing shared by the built-ins: world coordinates in metres, y up, fitted into the canvas. */
typedef struct env_view {
  orr_canvas *canvas;
  double scale, x, y; /* pixels a metre; where the world's origin is */
} env_view;

/* Clears the canvas and fits the box into it. */
env_view env_view_new(orr_canvas *canvas, double x_low, double x_high, double y_low, double y_high);
void env_view_line(const env_view *view, double x0, double y0, double x1, double y1, double width,
                   orr_color color);
void env_view_disc(const env_view *view, double x, double y, double radius, orr_color color);
void env_view_ring(const env_view *view, double x, double y, double radius, double width,
                   orr_color color);
void env_view_box(const env_view *view, double x_low, double x_high, double y_low, double y_high,
                  double radius, orr_color color);
/* `count` xy pairs, at most 16. */
void env_view_polygon(const env_view *view, const double *xy, int count, orr_color color);

/* The palette of the parts. */
enum {
  ENV_PAPER = 0xf7f7f2ff,
  ENV_SHEET = 0xffffffff,
  ENV_INK = 0x2b2f36ff,
  ENV_RAIL = 0xc9ccd1ff,
  ENV_BODY = 0x2f6f9fff,
  ENV_ACCENT = 0xd9622bff,
  ENV_GOAL = 0x3a9d5dff
};

#endif
