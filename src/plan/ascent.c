/* ascent.c - Adam (Kingma and Ba 2015) on several plans at once, up the gradients of their returns.
   A plan is moved as a point in units of halves of the actions' ranges,

     action = middle + half * point,   or, squashed,   action = middle + half * tanh(point),

   and ends at the bounds, or only nears them. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

size_t ascent_size(const orr_planner *planner, int plans) {
  size_t numbers = (size_t)plans * (size_t)planner->variables;
  return 3 * numbers * sizeof(orr_real) + (size_t)plans * sizeof(bool);
}

void ascent_place(ascent *a, void *memory, const orr_planner *planner, int plans) {
  size_t numbers = (size_t)plans * (size_t)planner->variables;
  a->points = memory;
  a->first = a->points + numbers;
  a->second = a->first + numbers;
  a->frozen = (bool *)(a->second + numbers);
  a->plans = plans;
}

static bool is_squashed(const ascent *a, const orr_planner *planner, int action) {
  return a->squash && isfinite(planner->low[action]) && isfinite(planner->high[action]);
}

static orr_real to_point(const ascent *a, const orr_planner *planner, int action, orr_real value) {
  enum { ALMOST = 3 }; /* tanh(3) = 0.995: from further out nothing would move */
  if (!(planner->half[action] > 0)) return 0;
  orr_real point = (value - planner->middle[action]) / planner->half[action];
  if (!is_squashed(a, planner, action)) return point;
  double inside = fmin(fmax((double)point, -tanh(ALMOST)), tanh(ALMOST));
  return (orr_real)atanh(inside);
}

static orr_real to_action(const ascent *a, const orr_planner *planner, int action, orr_real point) {
  if (is_squashed(a, planner, action)) point = (orr_real)tanh((double)point);
  return clamp(planner->middle[action] + planner->half[action] * point, planner->low[action],
               planner->high[action]);
}

/* d action / d point. */
static double scale_at(const ascent *a, const orr_planner *planner, int action, orr_real point) {
  double half = (double)planner->half[action];
  if (!is_squashed(a, planner, action)) return half;
  double y = tanh((double)point);
  return half * (1 - y * y);
}

void ascent_start(ascent *a, const orr_planner *planner, const orr_real *plans) {
  size_t variables = (size_t)planner->variables, numbers = (size_t)a->plans * variables;
  for (size_t i = 0; i < numbers; i++) {
    a->points[i] = to_point(a, planner, (int)(i % variables) % planner->actions, plans[i]);
    a->first[i] = a->second[i] = 0;
  }
  for (int p = 0; p < a->plans; p++) a->frozen[p] = false;
  a->steps = 0;
}

static bool is_finite(const orr_real *x, int count) {
  for (int i = 0; i < count; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

static void move(ascent *a, const orr_planner *planner, int plan, const orr_real *gradient) {
  const double keep1 = 0.9, keep2 = 0.999, small = 1e-8;
  double unbias1 = 1 / (1 - pow(keep1, a->steps)), unbias2 = 1 / (1 - pow(keep2, a->steps));
  size_t at = (size_t)plan * (size_t)planner->variables;
  for (int v = 0; v < planner->variables; v++) {
    int action = v % planner->actions;
    orr_real *point = a->points + at + v, *first = a->first + at + v, *second = a->second + at + v;
    double slope = (double)gradient[v] * scale_at(a, planner, action, *point);
    *first = (orr_real)(keep1 * (double)*first + (1 - keep1) * slope);
    *second = (orr_real)(keep2 * (double)*second + (1 - keep2) * slope * slope);
    *point +=
        (orr_real)(a->rate * unbias1 * (double)*first / (sqrt(unbias2 * (double)*second) + small));
    if (!is_squashed(a, planner, action)) /* stays at the bound rather than going on behind it */
      *point = to_point(a, planner, action, to_action(a, planner, action, *point));
  }
}

int ascent_step(ascent *a, const orr_planner *planner, const orr_real *returns,
                const orr_real *gradients) {
  int lost = 0;
  a->steps++;
  for (int plan = 0; plan < a->plans; plan++) {
    const orr_real *gradient = gradients + (size_t)plan * (size_t)planner->variables;
    if (a->frozen[plan]) continue;
    bool good = is_finite(gradient, planner->variables);
    if (!good && isfinite(returns[plan])) lost++;
    a->frozen[plan] = !good || !isfinite(returns[plan]);
    if (!a->frozen[plan]) move(a, planner, plan, gradient);
  }
  return lost;
}

void ascent_write(const ascent *a, const orr_planner *planner, const orr_real *instead,
                  orr_real *plans) {
  size_t variables = (size_t)planner->variables;
  for (size_t p = 0; p < (size_t)a->plans; p++) {
    const orr_real *point = a->points + p * variables;
    orr_real *plan = plans + p * variables;
    if (a->frozen[p]) memcpy(plan, instead, variables * sizeof(orr_real));
    for (size_t v = 0; v < variables && !a->frozen[p]; v++)
      plan[v] = to_action(a, planner, (int)v % planner->actions, point[v]);
  }
}
