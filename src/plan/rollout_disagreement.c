/* rollout_disagreement.c - how far the elites are apart along a plan. Each follows it by its own
   mean predictions; at each step the variance over elites of every number of the state, in units of
   the scale, is averaged over numbers: disagreement = sqrt(mean over numbers of variance *
   scale^2). */
#include <math.h>
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

typedef struct rollout_disagreement {
  orr_program *program;
  orr_run *run;
  orr_tensor *state, *plan, *zero; /* [1, S], [1, horizon, actions], int32 [elites] of zeros */
  orr_real *scale;                 /* [S] */
  int elites;
} rollout_disagreement;

void rollout_close_disagreement(learned *model) {
  rollout_disagreement *apart = model->disagreement;
  if (!apart) return;
  orr_tensor_free(apart->state);
  orr_tensor_free(apart->plan);
  orr_tensor_free(apart->zero);
  orr_run_free(apart->run);
  orr_program_free(apart->program);
  engine_free_memory(model->engine, apart->scale);
  engine_free_memory(model->engine, apart);
  model->disagreement = NULL;
}

static orr_status check_states(const learned *model, const orr_program *program) {
  int state = rollout_find_input(program, "state"), plan = rollout_find_input(program, "plan");
  int64_t path[2] = {model->horizon, model->observation};
  int64_t actions[2] = {model->horizon, model->actions};
  bool fits = state >= 0 && plan >= 0 && orr_program_input_level(program, state) == ORR_ROW &&
              orr_program_input_level(program, plan) == ORR_ROW &&
              shape_equal(orr_program_input_axes(program, state),
                          orr_program_input_shape(program, state), 1, path + 1) &&
              shape_equal(orr_program_input_axes(program, plan),
                          orr_program_input_shape(program, plan), 2, actions);
  if (fits && rollout_output_fits(program, "states", 2, path, true, NULL)) return ORR_OK;
  return engine_fail(model->engine, ORR_SHAPE,
                     "a program of states needs inputs 'state' of [%d] and 'plan' of [%d, %d], and "
                     "an output 'states' of [%d, %d], for each row",
                     model->observation, model->horizon, model->actions, model->horizon,
                     model->observation);
}

/* All elites, also those that have no particles. */
static orr_status bind(learned *model, const orr_rollout_options *options) {
  rollout_disagreement *apart = model->disagreement;
  int elites = apart->elites;
  int *entries = engine_new_zeroed(model->engine, (size_t)elites, sizeof *entries);
  if (!entries) return ORR_MEMORY;
  for (int e = 0; e < elites; e++) entries[e] = options->elites ? options->elites[e] : e;
  orr_status status = orr_run_input(apart->run, "state", apart->state, apart->zero);
  if (!status) status = orr_run_input(apart->run, "plan", apart->plan, apart->zero);
  if (!status && rollout_find_input(apart->program, "time") >= 0)
    status = orr_run_input(apart->run, "time", model->time, NULL); /* states do not depend on it */
  if (!status) status = orr_run_rows(apart->run, elites, elites);
  if (!status) status = orr_run_members(apart->run, entries);
  engine_free_memory(model->engine, entries);
  return status;
}

orr_status rollout_open_disagreement(learned *model, const orr_rollout_options *options) {
  if (!options->states) return ORR_OK;
  if (options->members < 1 || !options->scale)
    return engine_fail(model->engine, ORR_ARGUMENT,
                       "rollout: a program of states goes with members and a scale");
  orr_status status = check_states(model, options->states);
  if (status) return status;
  orr_engine *engine = model->engine;
  rollout_disagreement *apart = engine_new_zeroed(engine, 1, sizeof *apart);
  if (!apart) return ORR_MEMORY;
  model->disagreement = apart;
  apart->elites = options->elites ? options->elites_count : options->members;
  int64_t state[2] = {1, model->observation}, elites = apart->elites;
  int64_t plan[3] = {1, model->horizon, model->actions};
  apart->program = orr_program_retain(options->states);
  apart->run = orr_run_new(apart->program);
  apart->state = orr_tensor_new(engine, ORR_REAL, 2, state);
  apart->plan = orr_tensor_new(engine, ORR_REAL, 3, plan);
  apart->zero = orr_tensor_new(engine, ORR_INT, 1, &elites);
  apart->scale = engine_new_zeroed(engine, (size_t)model->observation, sizeof(orr_real));
  if (!apart->run || !apart->state || !apart->plan || !apart->zero || !apart->scale)
    return ORR_MEMORY;
  memcpy(apart->scale, options->scale, (size_t)model->observation * sizeof(orr_real));
  return bind(model, options);
}

/* Of one step; states are `stride` apart from elite to elite. */
static double spread(const rollout_disagreement *apart, const orr_real *states, size_t stride,
                     int seen) {
  double sum = 0;
  for (int i = 0; i < seen; i++) {
    double mean = 0, square = 0, scale = (double)apart->scale[i];
    for (int e = 0; e < apart->elites; e++) mean += (double)states[(size_t)e * stride + (size_t)i];
    mean /= apart->elites;
    for (int e = 0; e < apart->elites; e++) {
      double off = (double)states[(size_t)e * stride + (size_t)i] - mean;
      square += off * off;
    }
    sum += square / apart->elites * scale * scale;
  }
  return sqrt(sum / seen);
}

orr_status rollout_disagree(void *user, const orr_real *observation, const orr_real *plan,
                            int horizon, orr_real *disagreement) {
  learned *model = user;
  rollout_disagreement *apart = model->disagreement;
  size_t seen = (size_t)model->observation;
  memcpy(orr_tensor_data(apart->state), observation, seen * sizeof(orr_real));
  memcpy(orr_tensor_data(apart->plan), plan,
         (size_t)horizon * (size_t)model->actions * sizeof(orr_real));
  orr_tensor_touch(apart->state);
  orr_tensor_touch(apart->plan);
  orr_status status = orr_run_go(apart->run);
  if (status) return status;
  const orr_real *states = orr_tensor_data(orr_run_output(apart->run, "states"));
  for (int t = 0; t < horizon; t++)
    disagreement[t] = (orr_real)spread(apart, states + (size_t)t * seen, (size_t)horizon * seen,
                                       model->observation);
  return ORR_OK;
}
