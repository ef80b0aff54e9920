/* pddm.c - PDDM's filtered, reward-weighted refinement (Nagabandi et al. 2019, section 3.3): noise
   that is smoothed over time, and a mean weighted by exponentials of returns.

     n[t] = filter u[t] + (1 - filter) n[t-1],  u ~ N(0, deviation^2)      plan = mean + n

   The released code smooths mean and noise together instead, from the action executed last on:
     plan[t] = filter (mean[t] + u[t]) + (1 - filter) plan[t-1]             (filter_plan = 1) */
#include "plan/plan.h"

static orr_status open(orr_planner *planner) {
  const pddm_options *options = planner->options;
  planner->population = (int)options->population;
  planner->iterations = (int)options->iterations;
  planner->normal = true;
  return make_room_for_weights(planner);
}

static void shape(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                  orr_real plan[][BLOCK]) {
  const pddm_options *options = planner->options;
  orr_real new = (orr_real)options->filter, old = 1 - new;
  bool whole = options->filter_plan != 0;
  int actions = planner->actions;
  for (int v = 0; v < planner->variables; v++) {
    int a = v % actions;
    orr_real mean = s->mean[v], deviation = (orr_real)options->deviation * planner->half[a];
    /* draws[v] becomes the smoothed noise, or the smoothed plan before it is moved into bounds */
    for (int lane = 0; lane < BLOCK; lane++) {
      orr_real before = v >= actions ? draws[v - actions][lane] : whole ? s->previous[a] : 0;
      orr_real noise = deviation * draws[v][lane];
      draws[v][lane] = new *(whole ? mean + noise : noise) + old *before;
      plan[v][lane] =
          clamp(whole ? draws[v][lane] : mean + draws[v][lane], planner->low[a], planner->high[a]);
    }
  }
}

static orr_status sample(orr_planner *planner, search *s) {
  planner_sample(planner, s, 0, planner->batch, shape);
  return ORR_OK;
}

static void update(orr_planner *planner, search *s) {
  const pddm_options *options = planner->options;
  move_to_weighted_mean(planner, s, options->temperature);
}

const planner_type pddm_planner = {
    .open = open, .sample = sample, .update = update, .shrinks = true, .repeats_last = true};
