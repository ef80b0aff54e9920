/* mppi.c - model predictive path integral control (Williams et al. 2017): plans with Gaussian noise
   around the mean, which moves to their mean weighted by exponentials of returns.

     weight = exp((return - control_cost temperature sum of mean noise / deviation^2) / temperature)

   The temperature divides returns: the lower, the more the best plans count. (TD-MPC2 multiplies by
   what it calls temperature; PDDM's kappa and the gamma of some codes are its inverse.) */
#include "plan/plan.h"

static orr_status open(orr_planner *planner) {
  const mppi_options *options = planner->options;
  planner->population = (int)options->population;
  planner->iterations = (int)options->iterations;
  planner->normal = true;
  return make_room_for_weights(planner);
}

static void shape(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                  orr_real plan[][BLOCK]) {
  const mppi_options *options = planner->options;
  for (int v = 0; v < planner->variables; v++) {
    int action = v % planner->actions;
    orr_real mean = s->mean[v], deviation = (orr_real)options->deviation * planner->half[action];
    for (int lane = 0; lane < BLOCK; lane++)
      plan[v][lane] =
          clamp(mean + deviation * draws[v][lane], planner->low[action], planner->high[action]);
  }
}

static orr_status sample(orr_planner *planner, search *s) {
  planner_sample(planner, s, 0, planner->batch, shape);
  return ORR_OK;
}

/* The cost of steering away from the middle of each range, which the paper derives; in units where
   the noise has the option's deviation. */
static void charge_control(orr_planner *planner, search *s) {
  const mppi_options *options = planner->options;
  int variables = planner->variables;
  for (int i = 0; i < planner->batch; i++) {
    const orr_real *plan = s->candidates + (size_t)i * (size_t)variables;
    double cost = 0;
    for (int v = 0; v < variables; v++) {
      int action = v % planner->actions;
      double deviation = options->deviation * (double)planner->half[action];
      double mean = (double)(s->mean[v] - planner->middle[action]);
      if (deviation > 0) cost += mean * (double)(plan[v] - s->mean[v]) / (deviation * deviation);
    }
    s->returns[i] -= (orr_real)(options->control_cost * options->temperature * cost);
  }
  s->finite = rank_returns(s->returns, planner->batch, planner->ranked, s->order);
}

static void update(orr_planner *planner, search *s) {
  const mppi_options *options = planner->options;
  if (options->control_cost > 0) charge_control(planner, s);
  if (s->finite > 0) move_to_weighted_mean(planner, s, options->temperature);
}

const planner_type mppi_planner = {.open = open,
                                   .sample = sample,
                                   .update = update,
                                   .shrinks = true};
