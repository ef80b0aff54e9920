/* score.c - candidates of all searches scored in one batch, ranked, and the best plans
   remembered. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

/* ---- ranking ---- */

static bool ranks_before(const orr_real *returns, int a, int b) {
  if (returns[a] != returns[b]) return returns[a] > returns[b];
  return a < b;
}

/* Heapsort: in place, and the order is total, so any sort gives this one. */
static void sink(const orr_real *returns, int *heap, int root, int n) {
  for (;;) {
    int child = 2 * root + 1;
    if (child >= n) return;
    if (child + 1 < n && ranks_before(returns, heap[child], heap[child + 1])) child++;
    if (!ranks_before(returns, heap[root], heap[child])) return;
    int swapped = heap[root];
    heap[root] = heap[child];
    heap[child] = swapped;
    root = child;
  }
}

int rank_returns(const orr_real *returns, int n, int wanted, int *order) {
  int finite = 0, kept = 0;
  /* order is a heap of the best so far; its root is the one that ranks last */
  for (int i = 0; i < n; i++) {
    if (!isfinite(returns[i])) continue;
    finite++;
    if (kept < wanted) {
      order[kept++] = i;
      for (int root = kept / 2; kept == wanted && root-- > 0;) sink(returns, order, root, kept);
    } else if (returns[i] > returns[order[0]]) { /* equal ones come later: they rank behind */
      order[0] = i;
      sink(returns, order, 0, kept);
    }
  }
  if (kept < wanted)
    for (int root = kept / 2; root-- > 0;) sink(returns, order, root, kept);
  for (int end = kept; end-- > 1;) {
    int swapped = order[0];
    order[0] = order[end];
    order[end] = swapped;
    sink(returns, order, 0, end);
  }
  return finite;
}

/* As far below the worst that keeps its constraints as that is below the best, and further with the
   violation: so they rank behind, and weigh little where weights are exponential. */
void lower_violators(orr_real *returns, const orr_real *violations, int n) {
  double lowest = INFINITY, highest = -INFINITY;
  for (int i = 0; i < n; i++) {
    if (!isfinite(violations[i])) returns[i] = NAN;
    if (!isfinite(returns[i]) || violations[i] > 0) continue;
    if ((double)returns[i] < lowest) lowest = (double)returns[i];
    if ((double)returns[i] > highest) highest = (double)returns[i];
  }
  bool none = lowest > highest;
  double unit = none ? 1 : 1 + highest - lowest;
  for (int i = 0; i < n; i++) {
    if (!isfinite(returns[i]) || !(violations[i] > 0)) continue;
    double below = none ? 0 : lowest - unit;
    returns[i] = (orr_real)(below - unit * (double)violations[i]);
  }
}

/* ---- the best plan so far ---- */

static bool is_better(orr_real value, orr_real violation, const search *s) {
  if (isnan(s->best_return)) return true;
  if (violation != s->best_violation) return violation < s->best_violation;
  return value > s->best_return;
}

/* values: returns as they were scored. */
static void remember(orr_planner *planner, search *s, const orr_real *values) {
  double sum = 0;
  for (int i = 0; i < planner->batch; i++)
    if (isfinite(s->returns[i])) sum += (double)values[i];
  s->mean_returns[planner->iteration] = s->finite ? (orr_real)(sum / s->finite) : NAN;
  s->best_returns[planner->iteration] = NAN;
  if (s->done) return; /* alone it would not have gone on */
  s->scored += planner->batch;
  s->non_finite += planner->batch - s->finite;
  if (!s->finite) return;
  int winner = s->order[0];
  orr_real violation = s->violations ? s->violations[winner] : 0;
  s->best_returns[planner->iteration] = values[winner];
  if (!is_better(values[winner], violation, s)) return;
  s->best_return = values[winner];
  s->best_violation = violation;
  memcpy(s->best, s->candidates + (size_t)winner * (size_t)planner->variables,
         (size_t)planner->variables * sizeof(orr_real));
}

/* ---- scoring ---- */

/* Every decision `repeat` times: [length][actions] to [horizon][actions]. */
static void widen(const orr_planner *planner) {
  size_t actions = (size_t)planner->actions, variables = (size_t)planner->variables;
  orr_real *out = orr_tensor_data(planner->wide);
  for (int i = 0; i < planner->states * planner->batch; i++)
    for (int step = 0; step < planner->horizon; step++, out += actions)
      memcpy(out,
             planner->candidates + (size_t)i * variables +
                 (size_t)(step / planner->repeat) * actions,
             actions * sizeof(orr_real));
}

/* And back: a decision's gradient is the sum of those of its steps. */
static void narrow_gradients(const orr_planner *planner) {
  size_t count = (size_t)planner->states * (size_t)planner->batch;
  const orr_real *wide = planner->wide_gradients;
  memset(planner->gradients, 0, count * (size_t)planner->variables * sizeof(orr_real));
  for (size_t i = 0; i < count; i++)
    for (int step = 0; step < planner->horizon; step++)
      for (int a = 0; a < planner->actions; a++)
        planner->gradients[i * (size_t)planner->variables +
                           (size_t)(step / planner->repeat * planner->actions + a)] += *wide++;
}

orr_status planner_score(orr_planner *planner) {
  int n = planner->states * planner->batch;
  orr_tensor *plans = planner->wide ? planner->wide : planner->plans;
  if (planner->wide) widen(planner);
  orr_tensor_touch(plans);
  bool limited = planner->constrained;
  orr_real *values = limited ? planner->values : planner->returns;
  orr_scoring scoring = {.observation = planner->request->observation,
                         .states = planner->states,
                         .plans = orr_tensor_data(plans),
                         .tensor = plans,
                         .n = n,
                         .horizon = planner->horizon,
                         .step = planner->request->step,
                         .seed = planner->seed,
                         .iteration = (uint32_t)planner->iteration,
                         .returns = values,
                         .deadline = planner->deadline,
                         .violations = limited ? planner->violations : NULL,
                         .gradients = !planner->differentiate   ? NULL
                                      : planner->wide_gradients ? planner->wide_gradients
                                                                : planner->gradients};
  for (int i = 0; i < n; i++) values[i] = NAN;
  for (int i = 0; i < planner->states; i++) planner->searches[i].finite = 0;
  orr_status status = orr_objective_score(planner->objective, &scoring);
  if (status) return status;
  if (planner->wide_gradients && planner->differentiate) narrow_gradients(planner);
  for (int i = 0; i < planner->states; i++) {
    search *s = &planner->searches[i];
    size_t first = (size_t)i * (size_t)planner->batch;
    s->violations = limited ? planner->violations + first : NULL;
    if (limited) {
      memcpy(s->returns, values + first, (size_t)planner->batch * sizeof(orr_real));
      lower_violators(s->returns, s->violations, planner->batch);
    }
    s->finite = rank_returns(s->returns, planner->batch, planner->ranked, s->order);
    remember(planner, s, values + first);
  }
  return ORR_OK;
}
