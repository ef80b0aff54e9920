/* weights.c - how distributions move towards the plans that scored well: the moments of the elites,
   and means weighted by exponentials of returns. */
#include <math.h>

#include "plan/plan.h"

void elite_moments(const orr_planner *planner, const search *s, int elites, double *mean,
                   double *variance) {
  int variables = planner->variables;
  for (int v = 0; v < variables; v++) mean[v] = variance[v] = 0;
  for (int e = 0; e < elites; e++) {
    const orr_real *plan = s->candidates + (size_t)s->order[e] * (size_t)variables;
    for (int v = 0; v < variables; v++) mean[v] += (double)plan[v];
  }
  for (int v = 0; v < variables; v++) mean[v] /= elites;
  for (int e = 0; e < elites; e++) {
    const orr_real *plan = s->candidates + (size_t)s->order[e] * (size_t)variables;
    for (int v = 0; v < variables; v++)
      variance[v] += ((double)plan[v] - mean[v]) * ((double)plan[v] - mean[v]);
  }
  for (int v = 0; v < variables; v++) variance[v] /= elites;
}

orr_status make_room_for_weights(orr_planner *planner) {
  planner->shared = engine_new_zeroed(planner->engine, (size_t)planner->variables, sizeof(double));
  return planner->shared ? ORR_OK : ORR_MEMORY;
}

void move_to_weighted_mean(orr_planner *planner, search *s, double temperature) {
  int variables = planner->variables;
  double *sums = planner->shared;
  double highest = (double)s->returns[s->order[0]], total = 0;
  /* what breaks constraints has no say where anything keeps them */
  const orr_real *broken = s->violations && s->violations[s->order[0]] == 0 ? s->violations : NULL;
  for (int v = 0; v < variables; v++) sums[v] = 0;
  for (int i = 0; i < planner->batch; i++) {
    if (!isfinite(s->returns[i]) || (broken && broken[i] > 0)) continue;
    double weight = exp(((double)s->returns[i] - highest) / temperature);
    if (weight == 0) continue;
    total += weight; /* at least 1, the best one's */
    const orr_real *plan = s->candidates + (size_t)i * (size_t)variables;
    for (int v = 0; v < variables; v++) sums[v] += weight * (double)plan[v];
  }
  for (int v = 0; v < variables; v++)
    s->mean[v] = clamp((orr_real)(sums[v] / total), planner->low[v % planner->actions],
                       planner->high[v % planner->actions]);
}
