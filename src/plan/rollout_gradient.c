/* rollout_gradient.c - gradients of a learned rollout's returns with respect to plans. A program of
   its own gives every particle's return and the gradient of it; rows are those of rollout_layout.c,
   row = slot * n + plan. The gradient of a mean over particles is the mean of their gradients; of
   another measure of risk it is the sum of theirs by the measure's derivatives. */
#include <math.h>
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

struct rollout_gradient {
  orr_program *program;
  orr_run *run;
  bool state_rows;                        /* whether the program's "state" is one of each row */
  int return_stride, gradient_stride;     /* between rows; 0: the same number for all */
  int n, states;                          /* of the rest now; 0: nothing yet */
  orr_tensor *state, *time, *plans;       /* [states, S] or [S], [], [n, horizon, actions] */
  orr_tensor *state_of_row, *plan_of_row; /* int32 [n * particles] */
  double *values;                         /* [3][particles], for rollout_weigh */
};

void rollout_close_gradient(learned *model) {
  rollout_gradient *gradient = model->gradient;
  if (!gradient) return;
  orr_tensor *tensors[] = {gradient->state, gradient->time, gradient->plans, gradient->state_of_row,
                           gradient->plan_of_row};
  for (size_t i = 0; i < COUNT(tensors); i++) orr_tensor_free(tensors[i]);
  orr_run_free(gradient->run);
  orr_program_free(gradient->program);
  engine_free_memory(model->engine, gradient->values);
  engine_free_memory(model->engine, gradient);
  model->gradient = NULL;
}

/* ---- what it accepts ---- */

static orr_status check_inputs(learned *model) {
  rollout_gradient *gradient = model->gradient;
  const orr_program *program = gradient->program;
  int plan = rollout_find_input(program, "plan"), state = rollout_find_input(program, "state");
  const int64_t wide[2] = {model->horizon, model->actions};
  if (plan < 0 || orr_program_input_level(program, plan) != ORR_ROW ||
      !shape_equal(orr_program_input_axes(program, plan), orr_program_input_shape(program, plan), 2,
                   wide))
    return engine_fail(model->engine, ORR_SHAPE,
                       "a gradient program needs the rollout's input 'plan', [%d, %d] for each row",
                       model->horizon, model->actions);
  const int64_t size = model->observation;
  if (state >= 0 && (orr_program_input_level(program, state) == ORR_MEMBER ||
                     !shape_equal(orr_program_input_axes(program, state),
                                  orr_program_input_shape(program, state), 1, &size)))
    return engine_fail(model->engine, ORR_SHAPE,
                       "a gradient program's input 'state' has %lld numbers, like the rollout's",
                       (long long)size);
  gradient->state_rows = state >= 0 && orr_program_input_level(program, state) == ORR_ROW;
  return ORR_OK;
}

static orr_status check_outputs(learned *model) {
  rollout_gradient *gradient = model->gradient;
  const orr_program *program = gradient->program;
  const int64_t wide[2] = {model->horizon, model->actions};
  if (rollout_output_fits(program, "return", 0, NULL, false, &gradient->return_stride) &&
      rollout_output_fits(program, "gradient", 2, wide, false, &gradient->gradient_stride))
    return ORR_OK;
  return engine_fail(model->engine, ORR_SHAPE,
                     "a gradient program needs outputs 'return', one number a row, and 'gradient', "
                     "[%d, %d] a row",
                     model->horizon, model->actions);
}

orr_status rollout_open_gradient(learned *model, orr_program *program) {
  if (!program || model->steps) return ORR_OK; /* TS1 has its own */
  if (model->rows.function)
    return engine_fail(model->engine, ORR_ARGUMENT,
                       "a rollout with a reward function has no gradient program: the function's "
                       "derivative is not known");
  rollout_gradient *gradient = engine_new_zeroed(model->engine, 1, sizeof *gradient);
  if (!gradient) return ORR_MEMORY;
  model->gradient = gradient;
  gradient->program = orr_program_retain(program);
  gradient->run = orr_run_new(program);
  gradient->time = orr_tensor_new(model->engine, ORR_REAL, 0, NULL);
  size_t particles = (size_t)model->particles;
  gradient->values = engine_new_zeroed(model->engine, 3 * particles, sizeof(double));
  if (!gradient->run || !gradient->time || !gradient->values)
    return orr_engine_status(model->engine);
  orr_status status = check_inputs(model);
  if (!status) status = check_outputs(model);
  if (!status && rollout_find_input(program, "time") >= 0)
    status = orr_run_input(gradient->run, "time", gradient->time, NULL);
  return status;
}

bool rollout_gradient_has_input(const learned *model, const char *name) {
  return model->gradient && rollout_find_input(model->gradient->program, name) >= 0;
}

orr_status rollout_gradient_set_input(learned *model, const char *name, orr_tensor *tensor) {
  return orr_run_input(model->gradient->run, name, tensor, NULL);
}

/* ---- rows ---- */

static orr_status make_room(learned *model, int n, int states) {
  rollout_gradient *gradient = model->gradient;
  orr_engine *engine = model->engine;
  int64_t plans[3] = {n, model->horizon, model->actions};
  int64_t starts[2] = {states, model->observation};
  int own = gradient->state_rows ? 0 : 1; /* without a state's row it has no axis for them */
  if ((int64_t)n * model->particles > INT32_MAX / 16)
    return engine_fail(engine, ORR_ARGUMENT, "%d plans with %d particles are too many", n,
                       model->particles);
  bool made = tensor_make_room(engine, &gradient->plans, ORR_REAL, 3, plans) &&
              tensor_make_room(engine, &gradient->state, ORR_REAL, 2 - own, starts + own) &&
              rollout_index_plans(engine, &gradient->plan_of_row, n, model->particles, 1) &&
              rollout_index_plans(engine, &gradient->state_of_row, n, model->particles, n / states);
  return made ? ORR_OK : orr_engine_status(engine);
}

static orr_status lay_out(learned *model, int n, int states) {
  rollout_gradient *gradient = model->gradient;
  if (gradient->n == n && gradient->states == states) return ORR_OK;
  if (states > 1 && !gradient->state_rows)
    return engine_fail(model->engine, ORR_ARGUMENT,
                       "the gradient program has one 'state' for all rows, not one for each");
  gradient->n = 0;
  orr_status status = make_room(model, n, states);
  orr_run *run = gradient->run;
  if (!status) status = orr_run_input(run, "plan", gradient->plans, gradient->plan_of_row);
  if (!status && rollout_find_input(gradient->program, "state") >= 0)
    status = orr_run_input(run, "state", gradient->state,
                           gradient->state_rows ? gradient->state_of_row : NULL);
  if (status) return status;
  for (int g = 0; g < model->groups; g++) model->sizes[g] = (int64_t)n * model->slots[g];
  status = rollout_group_rows(model, run, (int64_t)n * model->particles);
  if (status) return status;
  gradient->n = n;
  gradient->states = states;
  return ORR_OK;
}

orr_status rollout_prepare_gradient(learned *model, int n) {
  if (!model->gradient) return ORR_OK;
  orr_status status = lay_out(model, n, 1);
  return status ? status : orr_run_prepare(model->gradient->run);
}

/* ---- scoring ---- */

double rollout_weigh(const learned *model, const orr_real *returns, size_t stride, size_t plan,
                     size_t n, double *values) {
  const orr_risk_options *risk = &model->risk;
  int particles = model->particles;
  double *sorted = values + particles, *weights = sorted + particles;
  bool finite = true;
  for (int slot = 0; slot < particles; slot++) {
    values[slot] = (double)returns[((size_t)slot * n + plan) * stride];
    finite = finite && isfinite(values[slot]);
  }
  if (!finite) return NAN;
  memcpy(weights, values, (size_t)particles * sizeof(double)); /* measures overwrite */
  double worth = risk->over_members
                     ? risk_measure_groups(risk, weights, model->slots, model->groups)
                     : risk_measure(risk, weights, particles);
  if (risk->over_members)
    risk_weights_groups(risk, values, model->slots, model->groups, sorted, weights);
  else risk_weights(risk, values, particles, sorted, weights);
  return worth;
}

/* In the order of slots; what is not finite spoils its plan. */
static void reduce(const learned *model, const orr_scoring *scoring) {
  const rollout_gradient *gradient = model->gradient;
  const orr_real *returns = orr_tensor_data(orr_run_output(gradient->run, "return"));
  const orr_real *slopes = orr_tensor_data(orr_run_output(gradient->run, "gradient"));
  const double *weights = gradient->values + 2 * model->particles;
  size_t variables = (size_t)model->horizon * (size_t)model->actions, n = (size_t)scoring->n;
  for (size_t plan = 0; plan < n; plan++) {
    double worth =
        rollout_weigh(model, returns, (size_t)gradient->return_stride, plan, n, gradient->values);
    orr_real *out = scoring->gradients + plan * variables;
    scoring->returns[plan] = (orr_real)worth;
    for (size_t v = 0; v < variables; v++) out[v] = isnan(worth) ? (orr_real)NAN : 0;
    for (size_t slot = 0; slot < (size_t)model->particles && !isnan(worth); slot++) {
      const orr_real *slope = slopes + (slot * n + plan) * (size_t)gradient->gradient_stride;
      orr_real weight = (orr_real)weights[slot];
      for (size_t v = 0; v < variables && weight != 0; v++) out[v] += weight * slope[v];
    }
  }
}

orr_status rollout_score_gradient(learned *model, const orr_scoring *scoring) {
  rollout_gradient *gradient = model->gradient;
  if (model->slopes) return rollout_score_slopes(model, scoring);
  int states = scoring->states > 1 ? scoring->states : 1;
  orr_status status = lay_out(model, scoring->n, states);
  if (status) return status;
  memcpy(orr_tensor_data(gradient->state), scoring->observation,
         (size_t)orr_tensor_count(gradient->state) * sizeof(orr_real));
  memcpy(orr_tensor_data(gradient->plans), scoring->plans,
         (size_t)orr_tensor_count(gradient->plans) * sizeof(orr_real));
  *(orr_real *)orr_tensor_data(gradient->time) = (orr_real)scoring->step;
  orr_tensor_touch(gradient->state);
  orr_tensor_touch(gradient->plans);
  orr_tensor_touch(gradient->time);
  orr_run_seed(gradient->run, scoring->seed, scoring->iteration);
  orr_run_until(gradient->run, scoring->deadline);
  status = orr_run_go(gradient->run);
  if (!status) reduce(model, scoring);
  return status;
}
