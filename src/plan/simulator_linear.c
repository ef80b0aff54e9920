/* simulator_linear.c - the true dynamics and rewards to first and second order along a plan, by
   finite differences on the environment's flat state. At every step single transitions are played,
   on all threads, from states and actions around those of the plan: with m numbers in state and
   action, m^2 + m + 2 of them, of which

     d f / d x      = (f(x + h) - f(x - h)) / 2 h
     d2 f / dx dy   = (f(x + h, y + k) - f(x + h) - f(y + k) + 2 f - f(x - h) - f(y - k)
                      + f(x - h, y - k)) / 2 h k

   An action nearer than h to a bound is varied around a point inside. All meet the same noise. */
#include <math.h>
#include <string.h>

#include "plan/simulator.h"

enum {
  PLAN,
  MIDDLE,
  VARIED
}; /* candidates: as planned; what is varied; from here on, variations */

#define STEP 2e-2 /* h in halves of a number's range, or in its own units where that is less */

struct simulator_linear {
  simulator *single; /* plays transitions: plans of one step, from states of their own */
  int states, actions, m, n;
  double *starts, *ends; /* [n][states] */
  orr_real *plans;       /* [n][actions] */
  orr_real *returns;     /* [n]: rewards */
  double *h;             /* [m] */
  orr_real *rewards;     /* [m][m]: second derivatives of the reward */
};

void simulator_close_linear(simulator *sim) {
  simulator_linear *linear = sim->linear;
  if (!linear) return;
  if (linear->single) linear->single->starts = linear->single->ends = NULL;
  simulator_free(linear->single);
  engine_free_memory(sim->engine, linear->starts);
  engine_free_memory(sim->engine, linear->plans);
  engine_free_memory(sim->engine, linear);
  sim->linear = NULL;
}

/* Of the numbers of a space, which begin at `first` among those of state and action. */
static void choose_steps(simulator_linear *linear, const orr_space *space, int first) {
  for (int f = 0; f < orr_space_fields(space); f++) {
    const orr_field *field = orr_space_field(space, f);
    for (int64_t i = field->offset; i < field->offset + field->count; i++) {
      double half = ((double)orr_space_high(space)[i] - (double)orr_space_low(space)[i]) / 2;
      if (!(half < 1)) half = 1;
      linear->h[first + i] = field->n > 0 ? 0 : STEP * half; /* nothing between whole numbers */
    }
  }
}

static orr_status new_arrays(simulator *sim) {
  simulator_linear *linear = sim->linear;
  orr_engine *engine = sim->engine;
  linear->states = (int)orr_space_size(orr_env_state_space(sim->env));
  linear->actions = sim->actions;
  linear->m = linear->states + linear->actions;
  if (linear->m > 200)
    return engine_fail(engine, ORR_ARGUMENT,
                       "environment '%s' has %d numbers in state and action, too many for "
                       "differences: up to 200",
                       orr_env_name(sim->env), linear->m);
  linear->n = VARIED + linear->m * (linear->m + 1);
  size_t n = (size_t)linear->n, states = (size_t)linear->states, actions = (size_t)sim->actions;
  size_t m = (size_t)linear->m;
  linear->starts = engine_new_zeroed(engine, 2 * n * states + m, sizeof(double));
  linear->plans = engine_new_zeroed(engine, n * (actions + 1) + m * m, sizeof(orr_real));
  if (!linear->starts || !linear->plans) return ORR_MEMORY;
  linear->ends = linear->starts + n * states;
  linear->h = linear->ends + n * states;
  linear->returns = linear->plans + n * actions;
  linear->rewards = linear->returns + n;
  choose_steps(linear, orr_env_state_space(sim->env), 0);
  choose_steps(linear, orr_env_action_space(sim->env), linear->states);
  return ORR_OK;
}

static orr_status new_single(simulator *sim) {
  simulator_linear *linear = sim->linear;
  orr_simulator_options options = sim->options;
  options.particles = 1;
  options.any_observation = true;
  options.risk = (orr_risk_options){0};
  options.constraints = 0;
  options.afterwards = 0;
  options.value = NULL;
  /* a copy where there is one: the host may be stepping the environment meanwhile */
  simulator *single =
      simulator_new(sim->engine, sim->workers ? sim->copies[0] : sim->env, &options);
  if (!single) return orr_engine_status(sim->engine);
  linear->single = single;
  single->starts = linear->starts;
  single->ends = linear->ends;
  for (int i = 0; i < sim->inputs_count; i++) {
    orr_status status = simulator_set_input(single, sim->inputs[i].name, sim->inputs[i].tensor);
    if (status) return status;
  }
  return simulator_prepare(single, linear->n, 1);
}

static orr_status open_linear(simulator *sim) {
  if (sim->linear) return ORR_OK;
  sim->linear = engine_new_zeroed(sim->engine, 1, sizeof *sim->linear);
  if (!sim->linear) return ORR_MEMORY;
  orr_status status = new_arrays(sim);
  if (!status) status = new_single(sim);
  if (status) simulator_close_linear(sim);
  return status;
}

/* ---- one step ---- */

/* Moves number v of the candidate by `times` h. */
static void vary(simulator_linear *linear, int candidate, int v, int times) {
  int s = linear->states;
  double by = times * linear->h[v];
  if (v < s) linear->starts[candidate * s + v] += by;
  else linear->plans[candidate * linear->actions + v - s] += (orr_real)by;
}

/* Variations +h and -h of number v, and those of numbers v and w < v together. */
static int single_of(int v, bool plus) { return VARIED + 2 * v + !plus; }

static int pair_of(const simulator_linear *linear, int v, int w, bool plus) {
  return VARIED + 2 * linear->m + v * (v - 1) + 2 * w + !plus;
}

static void make_candidates(simulator_linear *linear, const orr_space *space, const double *state,
                            const orr_real *action) {
  int s = linear->states, a = linear->actions;
  const orr_real *low = orr_space_low(space), *high = orr_space_high(space);
  for (int c = 0; c < linear->n; c++) {
    memcpy(linear->starts + c * s, state, (size_t)s * sizeof(double));
    memcpy(linear->plans + c * a, action, (size_t)a * sizeof(orr_real));
    for (int i = 0; i < a && c != PLAN; i++) {
      orr_real h = (orr_real)linear->h[s + i], *u = &linear->plans[c * a + i];
      if (h > 0) *u = clamp(*u, low[i] + h, high[i] - h);
    }
  }
  for (int v = 0; v < linear->m; v++) {
    for (int plus = 0; plus < 2; plus++) {
      vary(linear, single_of(v, plus), v, plus ? 1 : -1);
      for (int w = 0; w < v; w++) {
        vary(linear, pair_of(linear, v, w, plus), v, plus ? 1 : -1);
        vary(linear, pair_of(linear, v, w, plus), w, plus ? 1 : -1);
      }
    }
  }
}

static void differentiate(const simulator_linear *linear, const orr_linearisation *along, int t) {
  int s = linear->states, a = linear->actions, m = linear->m;
  const orr_real *r = linear->returns;
  for (int v = 0; v < m; v++) {
    int up = single_of(v, true), down = single_of(v, false);
    double h = linear->h[v], scale = h > 0 ? 1 / (2 * h) : 0;
    for (int i = 0; i < s; i++) {
      orr_real slope = (orr_real)((linear->ends[up * s + i] - linear->ends[down * s + i]) * scale);
      if (v < s) along->next_s[(t * s + i) * s + v] = slope;
      else along->next_a[(t * s + i) * a + v - s] = slope;
    }
    orr_real slope = (orr_real)(((double)r[up] - (double)r[down]) * scale);
    if (v < s) along->reward_s[t * s + v] = slope;
    else along->reward_a[t * a + v - s] = slope;
    double twice = 2 * (double)r[MIDDLE];
    linear->rewards[v * m + v] =
        h > 0 ? (orr_real)(((double)r[up] + (double)r[down] - twice) / (h * h)) : 0;
    for (int w = 0; w < v; w++) {
      double sum = twice - (double)r[up] - (double)r[down] - (double)r[single_of(w, true)] -
                   (double)r[single_of(w, false)] + (double)r[pair_of(linear, v, w, true)] +
                   (double)r[pair_of(linear, v, w, false)];
      double hk = h * linear->h[w];
      linear->rewards[v * m + w] = linear->rewards[w * m + v] =
          hk > 0 ? (orr_real)(sum / (2 * hk)) : 0;
    }
  }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < m; j++) {
      orr_real second = linear->rewards[i * m + j];
      if (i < s && j < s) along->reward_ss[(t * s + i) * s + j] = second;
      if (i >= s && j < s) along->reward_as[(t * a + i - s) * s + j] = second;
      if (i >= s && j >= s) along->reward_aa[(t * a + i - s) * a + j - s] = second;
    }
}

static orr_status linearise_step(simulator *sim, const orr_linearisation *along, int t,
                                 double *state) {
  simulator_linear *linear = sim->linear;
  make_candidates(linear, orr_env_action_space(sim->env), state, along->plan + t * sim->actions);
  orr_scoring scoring = {.plans = linear->plans,
                         .n = linear->n,
                         .variants = linear->n,
                         .horizon = 1,
                         .step = along->step + t,
                         .seed = (uint64_t)(along->step + t),
                         .deadline = along->deadline,
                         .returns = linear->returns};
  orr_status status = simulator_score(linear->single, &scoring);
  if (status) return status;
  differentiate(linear, along, t);
  memcpy(state, linear->ends + PLAN * linear->states, (size_t)linear->states * sizeof(double));
  return ORR_OK;
}

/* ---- along a plan ---- */

/* What a termination leaves: the last state, and nothing that would depend on anything. */
static void clear(const simulator_linear *linear, const orr_linearisation *along) {
  size_t s = (size_t)linear->states, a = (size_t)linear->actions, h = (size_t)along->horizon;
  memset(along->next_s, 0, h * s * s * sizeof(orr_real));
  memset(along->next_a, 0, h * s * a * sizeof(orr_real));
  memset(along->reward_s, 0, h * s * sizeof(orr_real));
  memset(along->reward_a, 0, h * a * sizeof(orr_real));
  memset(along->reward_ss, 0, h * s * s * sizeof(orr_real));
  memset(along->reward_as, 0, h * a * s * sizeof(orr_real));
  memset(along->reward_aa, 0, h * a * a * sizeof(orr_real));
  memset(along->value_s, 0, s * sizeof(orr_real));
  memset(along->value_ss, 0, s * s * sizeof(orr_real));
}

orr_status simulator_linearise(void *user, const orr_linearisation *along) {
  simulator *sim = user;
  orr_real value;
  orr_scoring scoring = {.observation = along->observation,
                         .plans = along->plan,
                         .n = 1,
                         .horizon = along->horizon,
                         .step = along->step,
                         .deadline = along->deadline,
                         .returns = &value};
  orr_status status = simulator_score(sim, &scoring); /* tells where it ends */
  if (!status) status = open_linear(sim);
  if (status) return status;
  simulator_linear *linear = sim->linear;
  int states = linear->states, steps = sim->steps[0];
  double *state = sim->state;
  clear(linear, along);
  for (int t = 0; t <= along->horizon && !status; t++) {
    for (int i = 0; i < states; i++) along->states[t * states + i] = (orr_real)state[i];
    if (t < along->horizon && t < steps) status = linearise_step(sim, along, t, state);
  }
  return status;
}

/* ---- inputs of the reward ---- */

void simulator_free_inputs(simulator *sim) {
  for (int i = 0; i < sim->inputs_count; i++) {
    engine_free_memory(sim->engine, sim->inputs[i].name);
    orr_tensor_free(sim->inputs[i].tensor);
  }
  engine_free_memory(sim->engine, sim->inputs);
  sim->inputs = NULL;
  sim->inputs_count = 0;
}

static orr_status remember(simulator *sim, const char *name, orr_tensor *tensor) {
  for (int i = 0; i < sim->inputs_count; i++) {
    if (strcmp(sim->inputs[i].name, name)) continue;
    orr_tensor_retain(tensor);
    orr_tensor_free(sim->inputs[i].tensor);
    sim->inputs[i].tensor = tensor;
    return ORR_OK;
  }
  size_t count = (size_t)sim->inputs_count + 1;
  simulator_input *inputs = engine_resize(sim->engine, sim->inputs, count, sizeof *inputs);
  if (!inputs) return ORR_MEMORY;
  sim->inputs = inputs;
  char *copy = engine_copy_string(sim->engine, name);
  if (!copy) return ORR_MEMORY;
  inputs[sim->inputs_count++] = (simulator_input){copy, orr_tensor_retain(tensor)};
  return ORR_OK;
}

orr_status simulator_linear_set_input(simulator *sim, const char *name, orr_tensor *tensor) {
  orr_status status = remember(sim, name, tensor);
  if (status || !sim->linear) return status;
  return simulator_set_input(sim->linear->single, name, tensor);
}
