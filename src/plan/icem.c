/* icem.c - iCEM, the improved cross-entropy method (Pinneri et al. 2020): noise that is correlated
   over time, a shrinking population, elites kept between iterations and, shifted, between steps;
   the best plan scored is executed, not the mean.

     noise: Gaussian, its power falling as 1 / frequency^exponent, of deviation 1 at every step
     population of iteration i: max(2 elites, population / decay^i) */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

typedef struct icem_shared {
  double *mean, *variance; /* [variables]: of the elites, while refitting */
  orr_real *colour;        /* [length][length]: noise[t] = sum over i of colour[t][i] draw[i] */
  int elites, reused;
} icem_shared;

typedef struct icem_state { /* arrays follow it */
  orr_real *deviation;      /* [variables] */
  orr_real *kept;           /* [reused][length][actions]: the best elites of the last iteration */
  int count;                /* of them */
  bool shifted;             /* since: their last decisions are to be drawn */
} icem_state;

/* Column 2k-1 and 2k: cosine and sine of frequency k, by amplitude k^(-exponent / 2); column 0 is
   the constant, which gets the amplitude of frequency 1 as in the paper's code. Rows are then
   scaled to length 1: independent draws give every step the deviation 1. */
static void fill_colour(orr_real *colour, int n, double exponent) {
  const double turn = 6.283185307179586;
  for (int t = 0; t < n; t++) {
    double squares = 0;
    for (int i = 0; i < n; i++) {
      int k = (i + 1) / 2;
      double angle = turn * k * t / n;
      /* of an even length the highest frequency has no sine */
      double wave = i == 0 ? sqrt(0.5) : i % 2 ? cos(angle) : sin(angle);
      if (2 * k == n) wave *= sqrt(0.5);
      double value = wave * pow(k ? k : 1, -exponent / 2);
      colour[t * n + i] = (orr_real)value;
      squares += value * value;
    }
    for (int i = 0; i < n; i++) colour[t * n + i] /= (orr_real)sqrt(squares);
  }
}

static orr_status open(orr_planner *planner) {
  const icem_options *options = planner->options;
  orr_engine *engine = planner->engine;
  if (options->elites > options->population)
    return engine_fail(engine, ORR_ARGUMENT, "icem: %g elites out of a population of %g",
                       options->elites, options->population);
  size_t variables = (size_t)planner->variables, length = (size_t)planner->length;
  if (length > 4096)
    return engine_fail(engine, ORR_ARGUMENT, "icem: %d decisions; noise is made for up to 4096",
                       planner->length);
  icem_shared *shared = engine_new_zeroed(engine, 1,
                                          sizeof *shared + 2 * variables * sizeof(double) +
                                              length * length * sizeof(orr_real));
  if (!shared) return ORR_MEMORY;
  planner->shared = shared;
  shared->mean = (double *)(shared + 1);
  shared->variance = shared->mean + variables;
  shared->colour = (orr_real *)(shared->variance + variables);
  shared->elites = (int)options->elites;
  shared->reused = (int)ceil(options->elites * options->reused);
  fill_colour(shared->colour, planner->length, options->noise_exponent);
  planner->ranked = shared->elites;
  planner->population = (int)options->population;
  planner->iterations = (int)options->iterations;
  planner->normal = true;
  planner->state_size =
      sizeof(icem_state) + (1 + (size_t)shared->reused) * variables * sizeof(orr_real);
  return ORR_OK;
}

static int batch(const orr_planner *planner) {
  const icem_options *options = planner->options;
  int least = 2 * (int)options->elites, n = planner->population;
  double wanted = n / pow(options->decay, planner->iteration);
  if (wanted > least) least = (int)wanted;
  least += planner->proposals;
  return least < n ? least : n;
}

static void begin(orr_planner *planner, search *s) {
  const icem_options *options = planner->options;
  icem_state *state = s->state;
  state->deviation = (orr_real *)(state + 1);
  state->kept = state->deviation + planner->variables;
  for (int v = 0; v < planner->variables; v++)
    state->deviation[v] = (orr_real)options->deviation * planner->half[v % planner->actions];
}

static void shape(const orr_planner *planner, const search *s, orr_real draws[][BLOCK],
                  orr_real plan[][BLOCK]) {
  const icem_shared *shared = planner->shared;
  const icem_state *state = s->state;
  int length = planner->length, actions = planner->actions;
  for (int t = 0; t < length; t++) {
    for (int a = 0; a < actions; a++) {
      int v = t * actions + a;
      orr_real noise[BLOCK] = {0};
      for (int i = 0; i < length; i++) {
        orr_real colour = shared->colour[t * length + i];
        const orr_real *draw = draws[i * actions + a];
        for (int lane = 0; lane < BLOCK; lane++) noise[lane] += colour * draw[lane];
      }
      for (int lane = 0; lane < BLOCK; lane++)
        plan[v][lane] = clamp(s->mean[v] + state->deviation[v] * noise[lane], planner->low[a],
                              planner->high[a]);
    }
  }
}

/* Elites take the place of the first samples; one that was shifted keeps the last decision of the
   sample it replaces. */
static orr_status sample(orr_planner *planner, search *s) {
  icem_state *state = s->state;
  size_t variables = (size_t)planner->variables, kept = variables;
  planner_sample(planner, s, 0, planner->batch, shape);
  int free = planner->batch - planner->proposals, count = state->count < free ? state->count : free;
  if (state->shifted) kept -= (size_t)planner->actions;
  for (int e = 0; e < count; e++)
    memcpy(s->candidates + (size_t)e * variables, state->kept + (size_t)e * variables,
           kept * sizeof(orr_real));
  if (planner->iteration == planner->last && count < free)
    memcpy(s->candidates + (size_t)count * variables, s->mean, variables * sizeof(orr_real));
  return ORR_OK;
}

static void update(orr_planner *planner, search *s) {
  const icem_options *options = planner->options;
  const icem_shared *shared = planner->shared;
  icem_state *state = s->state;
  size_t variables = (size_t)planner->variables;
  int elites = s->elites;
  double keep = options->alpha;
  elite_moments(planner, s, elites, shared->mean, shared->variance);
  for (size_t v = 0; v < variables; v++) {
    double deviation = keep * (double)state->deviation[v] + (1 - keep) * sqrt(shared->variance[v]);
    s->mean[v] = (orr_real)(keep * (double)s->mean[v] + (1 - keep) * shared->mean[v]);
    state->deviation[v] = (orr_real)deviation;
  }
  state->count = shared->reused < elites ? shared->reused : elites;
  state->shifted = false;
  for (int e = 0; e < state->count; e++)
    memcpy(state->kept + (size_t)e * variables, s->candidates + (size_t)s->order[e] * variables,
           variables * sizeof(orr_real));
}

static void forget(orr_planner *planner, search *s) {
  (void)planner;
  ((icem_state *)s->state)->count = 0;
}

static void shift(orr_planner *planner, search *s) {
  icem_state *state = s->state;
  size_t actions = (size_t)planner->actions, variables = (size_t)planner->variables;
  for (int e = 0; e < state->count; e++) {
    orr_real *plan = state->kept + (size_t)e * variables;
    memmove(plan, plan + actions, (variables - actions) * sizeof(orr_real));
  }
  state->shifted = true;
}

const planner_type icem_planner = {.open = open,
                                   .sample = sample,
                                   .update = update,
                                   .batch = batch,
                                   .begin = begin,
                                   .forget = forget,
                                   .shift = shift,
                                   .shrinks = true,
                                   .executes_best = true,
                                   .repeats_last = true};
