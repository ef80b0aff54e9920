/* simulator_worth.c - what plans are worth that were played on the true simulator: returns of
   rollouts, with what counts after the end and the value at the horizon; risk over particles; side
   constraints.

   An event of probability p at each step happens within the horizon with probability 1 - prod (1 -
   p). */
#include <math.h>
#include <string.h>

#include "plan/rollout.h"
#include "plan/simulator.h"
#include "tensor/tensor.h"

typedef struct worth {
  double *limits;         /* [constraints] */
  double *scratch;        /* [particles + constraints], of one plan at a time */
  const orr_real *events; /* lent by the reward program's run until plans are weighed */
  int stride;
  orr_run *value;
  int rows;         /* rollouts that the run reads */
  orr_tensor *ends; /* [rows, observation]: last states */
} worth;

void simulator_close_worth(simulator *sim) {
  worth *w = sim->worth;
  if (!w) return;
  orr_run_free(w->value);
  orr_tensor_free(w->ends);
  orr_program_free(sim->options.value);
  engine_free_memory(sim->engine, w->limits);
  engine_free_memory(sim->engine, w->scratch);
  engine_free_memory(sim->engine, w);
  sim->worth = NULL;
}

/* ---- what it accepts ---- */

static orr_status check_value(const simulator *sim, const orr_program *program) {
  int s = rollout_find_input(program, "s"), value = rollout_find_output(program, "value");
  int64_t seen = sim->observation;
  if (s >= 0 && orr_program_input_level(program, s) == ORR_ROW &&
      shape_equal(orr_program_input_axes(program, s), orr_program_input_shape(program, s), 1,
                  &seen) &&
      value >= 0 && orr_program_output_level(program, value) == ORR_ROW &&
      orr_program_output_axes(program, value) == 0)
    return ORR_OK;
  return engine_fail(sim->engine, ORR_SHAPE,
                     "a value program needs an input 's' of [%d] and an output 'value' of one "
                     "number, for each row",
                     sim->observation);
}

static orr_status check_events(const simulator *sim, const orr_simulator_options *options) {
  int64_t count = options->constraints;
  int events = options->reward ? rollout_find_output(options->reward, "events") : -1;
  if (!count) return ORR_OK;
  if (options->limits && count > 0 && events >= 0 &&
      orr_program_output_level(options->reward, events) != ORR_MEMBER &&
      shape_equal(orr_program_output_axes(options->reward, events),
                  orr_program_output_shape(options->reward, events), 1, &count))
    return ORR_OK;
  return engine_fail(sim->engine, ORR_SHAPE,
                     "%d side constraints need limits, and a reward program with an output "
                     "'events' of [%d] for each row",
                     options->constraints, options->constraints);
}

orr_status simulator_open_worth(simulator *sim, const orr_simulator_options *options) {
  orr_engine *engine = sim->engine;
  orr_status status = risk_check(engine, &options->risk);
  if (!status) status = check_events(sim, options);
  if (!status && options->value) status = check_value(sim, options->value);
  if (!status && options->risk.over_members)
    status = engine_fail(engine, ORR_ARGUMENT, "risk: over members, but a simulator has none");
  if (status) return status;
  worth *made = sim->worth = engine_new_zeroed(engine, 1, sizeof *made);
  if (!made) return ORR_MEMORY;
  size_t count = (size_t)options->constraints;
  made->limits = engine_new_zeroed(engine, count + 1, sizeof(double));
  made->scratch = engine_new_zeroed(engine, (size_t)options->particles + count, sizeof(double));
  if (!made->limits || !made->scratch) return ORR_MEMORY;
  for (size_t i = 0; i < count; i++) made->limits[i] = options->limits[i];
  if (!options->value) return ORR_OK;
  sim->options.value = orr_program_retain(options->value);
  made->value = orr_run_new(options->value);
  return made->value ? ORR_OK : orr_engine_status(engine);
}

static orr_status use_rows(simulator *sim, int rollouts) {
  worth *w = sim->worth;
  const int64_t shape[2] = {rollouts, sim->observation};
  if (w->rows == rollouts) return ORR_OK;
  w->rows = 0;
  if (!tensor_make_room(sim->engine, &w->ends, ORR_REAL, 2, shape))
    return orr_engine_status(sim->engine);
  orr_status status = orr_run_input(w->value, "s", w->ends, NULL);
  if (!status) status = orr_run_rows(w->value, rollouts, 1);
  if (!status) w->rows = rollouts;
  return status;
}

orr_status simulator_prepare_worth(simulator *sim, int n) {
  worth *w = sim->worth;
  if (!w->value) return ORR_OK;
  w->rows = 0;
  orr_status status = use_rows(sim, n * sim->options.particles);
  return status ? status : orr_run_prepare(w->value);
}

orr_status simulator_set_value_input(simulator *sim, const char *name, orr_tensor *tensor,
                                     bool *found) {
  if (!sim->worth->value || !strcmp(name, "s") || rollout_find_input(sim->options.value, name) < 0)
    return ORR_OK;
  *found = true;
  return orr_run_input(sim->worth->value, name, tensor, NULL);
}

/* ---- weighing ---- */

void simulator_note_events(simulator *sim, const orr_real *events, int stride) {
  sim->worth->events = events;
  sim->worth->stride = stride;
}

/* Values of the last states of all rollouts, ended or not. NULL: none are wanted. */
static orr_status run_value(simulator *sim, const orr_real **values) {
  worth *w = sim->worth;
  *values = NULL;
  if (!w->value) return ORR_OK;
  int rollouts = sim->scoring->n * sim->options.particles;
  size_t seen = (size_t)sim->observation, path = ((size_t)sim->horizon + 1) * seen;
  orr_status status = use_rows(sim, rollouts);
  if (status) return status;
  orr_real *ends = orr_tensor_data(w->ends);
  for (int r = 0; r < rollouts; r++)
    memcpy(ends + (size_t)r * seen, sim->observations + (size_t)r * path + path - seen,
           seen * sizeof *ends);
  orr_tensor_touch(w->ends);
  orr_run_seed(w->value, sim->scoring->seed, sim->scoring->iteration);
  orr_run_until(w->value, sim->scoring->deadline);
  status = orr_run_go(w->value);
  if (!status) *values = orr_tensor_data(orr_run_output(w->value, "value"));
  return status;
}

static double return_of(const simulator *sim, int rollout, const orr_real *values) {
  const orr_real *rewards = sim->rewards + (size_t)rollout * (size_t)sim->horizon;
  if (sim->statuses[rollout]) return NAN;
  double sum = 0;
  for (int t = 0; t < sim->steps[rollout]; t++) sum += (double)rewards[t];
  sum += sim->options.afterwards * (sim->horizon - sim->steps[rollout]);
  if (values && !sim->ended[rollout]) sum += (double)values[rollout];
  return sum;
}

/* Of the mean over particles of how probable each event is within the horizon, before the end. */
static orr_real violation_of(const simulator *sim, int plan) {
  const worth *w = sim->worth;
  int particles = sim->options.particles, count = sim->options.constraints;
  double *probabilities = w->scratch;
  for (int c = 0; c < count; c++) {
    double sum = 0;
    for (int r = plan * particles; r < (plan + 1) * particles; r++) {
      double not_yet = 1;
      for (int t = 0; t < sim->steps[r]; t++) {
        int64_t row = (int64_t)r * sim->horizon + t;
        not_yet *= 1 - (double)w->events[row * w->stride + c];
      }
      sum += 1 - not_yet;
    }
    probabilities[c] = sum / particles;
  }
  return violations_of(probabilities, w->limits, count);
}

orr_status simulator_weigh(simulator *sim) {
  const orr_scoring *scoring = sim->scoring;
  const orr_real *values;
  orr_status status = run_value(sim, &values);
  if (status) return status;
  double *returns = sim->worth->scratch;
  int particles = sim->options.particles;
  for (int plan = 0; plan < scoring->n; plan++) {
    for (int p = 0; p < particles; p++) returns[p] = return_of(sim, plan * particles + p, values);
    scoring->returns[plan] = (orr_real)risk_measure(&sim->options.risk, returns, particles);
    if (scoring->violations) scoring->violations[plan] = violation_of(sim, plan);
  }
  return ORR_OK;
}
