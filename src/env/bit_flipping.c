/* bit_flipping.c - make n bits equal to n others by flipping one at a time: the task that shows what
   hindsight is for (Andrychowicz et al. 2017, section 3.1). Of 2^n states one is rewarded.

     reward = 0 where all bits are the goal's, else -1, of the state after

   As in the paper an episode lasts n steps, and has succeeded when the goal was hit at any of them; it goes
   on after that, unless `ends` is 1. */
#include <math.h>
#include <string.h>

#include "env/env.h"

#define SETTINGS(SETTING)                                                      \
  SETTING(bits, 8, 1, 256, "how many bits there are, and steps of an episode") \
  SETTING(ends, 0, 0, 1, "1: the episode ends at the goal; 0: it goes on")

typedef struct settings {
  SETTINGS(ENV_SETTING_MEMBER)
} settings;

static const orr_env_setting_info infos[] = {SETTINGS(ENV_SETTING_INFO)};

static int bits_of(const double *given) { return (int)((const settings *)given)->bits; }

static int64_t limit(const double *given) { return bits_of(given); }

static void spaces(const double *given, env_fields *observation, env_fields *action,
                   env_fields *state) {
  int n = bits_of(given);
  env_field(observation, "achieved_goal", n, 0, 1);
  env_field(observation, "desired_goal", n, 0, 1);
  env_field_discrete(action, "flip", n);
  env_field(state, "bits", n, 0, 1);
  env_field(state, "goal", n, 0, 1);
}

static bool is_at_goal(const double *state, int n) {
  return memcmp(state, state + n, (size_t)n * sizeof *state) == 0;
}

static void reset(const double *given, orr_random *random, double *state) {
  int n = bits_of(given);
  do
    for (int i = 0; i < 2 * n; i++) state[i] = (double)orr_random_index(random, 2);
  while (is_at_goal(state, n));
}

static void step(const double *given, double *state, const orr_real *action, orr_random *random,
                 orr_env_result *result) {
  (void)random;
  int n = bits_of(given), flipped = (int)action[0];
  state[flipped] = state[flipped] > 0 ? 0 : 1;
  bool reached = is_at_goal(state, n);
  result->reward = reached ? 0 : -1;
  result->terminated = reached && ((const settings *)given)->ends > 0;
}

static void observe(const double *given, const double *state, orr_real *observation) {
  for (int i = 0; i < 2 * bits_of(given); i++) observation[i] = (orr_real)state[i];
}

/* A tile for each bit, green where the goal has a 1; its disc is the bit, filled for 1. */
static void draw(const double *given, const double *state, orr_canvas *canvas) {
  int n = bits_of(given), wide = (int)ceil(sqrt(n)), tall = (n + wide - 1) / wide;
  env_view view = env_view_new(canvas, -0.2, wide + 0.2, -0.2, wide + 0.2);
  double bottom = (wide + tall) / 2.0;
  for (int i = 0; i < n; i++) {
    double x = i % wide + 0.5, y = bottom - (double)(i / wide) - 0.5;
    orr_color tile = state[n + i] > 0 ? ENV_GOAL : ENV_RAIL;
    env_view_box(&view, x - 0.45, x + 0.45, y - 0.45, y + 0.45, 0.1, tile);
    if (state[i] > 0) env_view_disc(&view, x, y, 0.27, ENV_ACCENT);
    else env_view_ring(&view, x, y, 0.24, 0.06, ENV_PAPER);
  }
}

const env_class env_bit_flipping = {
    .name = "bit_flipping",
    .doc = "make bits equal to a goal by flipping one at a time",
    .settings_count = COUNT(infos),
    .settings = infos,
    .spaces = spaces,
    .limit = limit,
    .reset = reset,
    .step = step,
    .observe = observe,
    .draw = draw,
};
