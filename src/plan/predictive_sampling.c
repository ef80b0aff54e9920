/* predictive_sampling.c - predictive sampling (Howell et al. 2022, MuJoCo MPC): noise on the knots
   of a spline, the best of the noisy plans and the plan so far is kept. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

typedef struct spline {
  int knots;
  orr_real *basis; /* [length][knots]: plan = basis times knots, for each number of an action */
} spline;

typedef struct spline_state { /* the array follows it */
  orr_real *knots;            /* [knots][actions]: of the plan so far */
} spline_state;

static double knot_time(const spline *shared, int length, int knot) {
  return shared->knots > 1 ? (double)knot * (length - 1) / (shared->knots - 1) : 0;
}

/* Adds weight times the slope at a knot, by differences of its neighbours. Knots are 1 apart. */
static void add_slope(orr_real *row, int knots, int knot, double weight) {
  int before = knot > 0 ? knot - 1 : knot, after = knot + 1 < knots ? knot + 1 : knot;
  if (after == before) return;
  row[after] += (orr_real)(weight / (after - before));
  row[before] -= (orr_real)(weight / (after - before));
}

/* Degree 0 holds each knot until the next, 1 is linear, 3 a cubic Hermite spline. */
static void fill_basis(spline *shared, int length, int degree) {
  int knots = shared->knots;
  for (int t = 0; t < length; t++) {
    orr_real *row = shared->basis + t * knots;
    double at = knots > 1 && length > 1 ? (double)t * (knots - 1) / (length - 1) : 0;
    int left = (int)floor(at + 1e-9);
    if (left > knots - 1) left = knots - 1;
    double u = left + 1 < knots ? at - left : 0;
    int right = left + 1 < knots ? left + 1 : left;
    if (u < 0) u = 0;
    if (degree == 0) {
      row[left] = 1;
    } else if (degree == 1) {
      row[left] += (orr_real)(1 - u);
      row[right] += (orr_real)u;
    } else {
      row[left] += (orr_real)((1 + 2 * u) * (1 - u) * (1 - u));
      row[right] += (orr_real)(u * u * (3 - 2 * u));
      add_slope(row, knots, left, u * (1 - u) * (1 - u));
      add_slope(row, knots, right, u * u * (u - 1));
    }
  }
}

static orr_status open(orr_planner *planner) {
  const predictive_sampling_options *options = planner->options;
  orr_engine *engine = planner->engine;
  int knots = (int)options->knots, degree = (int)options->degree;
  if (degree == 2)
    return engine_fail(engine, ORR_ARGUMENT,
                       "predictive_sampling: degree is 0 (held), 1 (linear) or 3 (cubic), not 2");
  if (knots > planner->length) knots = planner->length;
  size_t numbers = (size_t)planner->length * (size_t)knots;
  spline *shared = engine_new_zeroed(engine, 1, sizeof *shared + numbers * sizeof(orr_real));
  if (!shared) return ORR_MEMORY;
  planner->shared = shared;
  shared->knots = knots;
  shared->basis = (orr_real *)(shared + 1);
  fill_basis(shared, planner->length, degree);
  planner->draws = knots * planner->actions;
  planner->normal = true;
  planner->population = (int)options->population;
  planner->iterations = (int)options->iterations;
  planner->state_size = sizeof(spline_state) + (size_t)planner->draws * sizeof(orr_real);
  return ORR_OK;
}

/* The knots are where the plan so far is at their times; one that is held starts at its time, not
   before. */
static void read_knots(const orr_planner *planner, search *s) {
  const spline *shared = planner->shared;
  const predictive_sampling_options *options = planner->options;
  spline_state *state = s->state;
  int actions = planner->actions;
  bool held = options->degree == 0;
  state->knots = (orr_real *)(state + 1);
  for (int k = 0; k < shared->knots; k++) {
    double time = knot_time(shared, planner->length, k);
    int step = (int)(held ? ceil(time - 1e-9) : floor(time + 0.5));
    memcpy(state->knots + k * actions, s->mean + step * actions,
           (size_t)actions * sizeof(orr_real));
  }
}

static void shape(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                  orr_real plan[][BLOCK]) {
  const predictive_sampling_options *options = planner->options;
  const spline *shared = planner->shared;
  const spline_state *state = s->state;
  int actions = planner->actions, knots = shared->knots;
  for (int i = 0; i < planner->draws; i++) { /* draws become knots */
    int a = i % actions;
    orr_real deviation = (orr_real)options->deviation * planner->half[a];
    for (int lane = 0; lane < BLOCK; lane++)
      draws[i][lane] =
          clamp(state->knots[i] + deviation * draws[i][lane], planner->low[a], planner->high[a]);
  }
  for (int v = 0; v < planner->variables; v++) {
    int a = v % actions;
    const orr_real *row = shared->basis + v / actions * knots;
    orr_real value[BLOCK] = {0};
    for (int k = 0; k < knots; k++)
      for (int lane = 0; lane < BLOCK; lane++) value[lane] += row[k] * draws[k * actions + a][lane];
    for (int lane = 0; lane < BLOCK; lane++)
      plan[v][lane] = clamp(value[lane], planner->low[a], planner->high[a]);
  }
}

static orr_status sample(orr_planner *planner, search *s) {
  read_knots(planner, s);
  planner_sample(planner, s, 0, planner->batch, shape);
  memcpy(s->candidates, s->mean, (size_t)planner->variables * sizeof(orr_real));
  return ORR_OK;
}

static void update(orr_planner *planner, search *s) {
  memcpy(s->mean, s->candidates + (size_t)s->order[0] * (size_t)planner->variables,
         (size_t)planner->variables * sizeof(orr_real));
}

const planner_type predictive_sampling_planner = {.open = open,
                                                  .sample = sample,
                                                  .update = update,
                                                  .shrinks = true,
                                                  .repeats_last = true,
                                                  .executes_best = true};
