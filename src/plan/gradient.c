/* gradient.c - planning by gradients of the return: several starts climb by Adam, through the model
   where it is a learned one, and the best plan that was scored on the way is executed. The first
   start is what is left of the last plan, the others are random. A start whose gradient or return
   is not finite is given up, and counted. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

typedef struct gradient_state { /* the ascent's arrays follow it */
  ascent ascent;
  bool started;
} gradient_state;

static orr_status open(orr_planner *planner) {
  const gradient_options *options = planner->options;
  planner->population = (int)options->population;
  planner->iterations = (int)options->iterations;
  planner->normal = true;
  planner->state_size = sizeof(gradient_state) + ascent_size(planner, planner->population);
  return ORR_OK;
}

static void begin(orr_planner *planner, search *s) {
  const gradient_options *options = planner->options;
  gradient_state *state = s->state;
  ascent_place(&state->ascent, state + 1, planner, planner->population);
  state->ascent.rate = options->learning_rate;
  state->ascent.squash = options->squash != 0;
  state->started = false;
}

/* Starts keep their direction for a while: white noise would push nowhere, and all starts be
   alike. */
static void shape(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                  orr_real plan[][BLOCK]) {
  const gradient_options *options = planner->options;
  orr_real keep = (orr_real)options->correlation, deviation = (orr_real)options->deviation;
  orr_real fresh = (orr_real)sqrt(1 - options->correlation * options->correlation);
  (void)s;
  for (int v = 0; v < planner->variables; v++) {
    int action = v % planner->actions;
    orr_real middle = planner->middle[action], scale = planner->half[action] * deviation;
    orr_real low = planner->low[action], high = planner->high[action];
    for (int lane = 0; lane < BLOCK; lane++) {
      if (v >= planner->actions)
        draws[v][lane] = keep * draws[v - planner->actions][lane] + fresh * draws[v][lane];
      plan[v][lane] = clamp(middle + scale * draws[v][lane], low, high);
    }
  }
}

/* Starts of which none had a finite return are drawn anew. */
static orr_status sample(orr_planner *planner, search *s) {
  const gradient_state *state = s->state;
  if (state->started) {
    ascent_write(&state->ascent, planner, s->mean, s->candidates);
    return ORR_OK;
  }
  memcpy(s->candidates, s->mean, (size_t)planner->variables * sizeof(orr_real));
  planner_sample(planner, s, 1, planner->batch, shape);
  return ORR_OK;
}

static void update(orr_planner *planner, search *s) {
  gradient_state *state = s->state;
  if (!state->started) ascent_start(&state->ascent, planner, s->candidates);
  state->started = true;
  s->non_finite += ascent_step(&state->ascent, planner, s->returns, s->gradients);
  memcpy(s->mean, s->best, (size_t)planner->variables * sizeof(orr_real));
}

const planner_type gradient_planner = {.open = open,
                                       .begin = begin,
                                       .sample = sample,
                                       .update = update,
                                       .executes_best = true,
                                       .gradients = true,
                                       .starts = true};
