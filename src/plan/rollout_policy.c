/* rollout_policy.c - plans that a policy proposes: a program rolls it out in the model (TD-MPC:
   Hansen et al. 2022). A row is a proposal. */
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

typedef struct rollout_policy {
  orr_program *program;
  orr_run *run;
  orr_tensor *time;
  int n, states;          /* of the rest now; 0: nothing yet */
  orr_tensor *state, *of; /* [states, S]; int32 [n]: a row's state */
} rollout_policy;

void rollout_close_policy(learned *model) {
  rollout_policy *policy = model->policy;
  if (!policy) return;
  orr_tensor_free(policy->state);
  orr_tensor_free(policy->of);
  orr_tensor_free(policy->time);
  orr_run_free(policy->run);
  orr_program_free(policy->program);
  engine_free_memory(model->engine, policy);
  model->policy = NULL;
}

static orr_status check_policy(const learned *model, const orr_program *program) {
  int state = rollout_find_input(program, "state");
  int64_t seen = model->observation, plans[2] = {model->horizon, model->actions};
  bool fits = state >= 0 && orr_program_input_level(program, state) == ORR_ROW &&
              shape_equal(orr_program_input_axes(program, state),
                          orr_program_input_shape(program, state), 1, &seen);
  if (fits && rollout_output_fits(program, "plans", 2, plans, true, NULL)) return ORR_OK;
  return engine_fail(model->engine, ORR_SHAPE,
                     "a policy program needs an input 'state' of [%d] and an output 'plans' of "
                     "[%d, %d] for each row",
                     model->observation, model->horizon, model->actions);
}

orr_status rollout_open_policy(learned *model, const orr_rollout_options *options) {
  if (!options->policy) return ORR_OK;
  orr_status status = check_policy(model, options->policy);
  if (status) return status;
  rollout_policy *policy = engine_new_zeroed(model->engine, 1, sizeof *policy);
  if (!policy) return ORR_MEMORY;
  model->policy = policy;
  policy->program = orr_program_retain(options->policy);
  policy->run = orr_run_new(policy->program);
  policy->time = orr_tensor_new(model->engine, ORR_REAL, 0, NULL);
  if (!policy->run || !policy->time) return orr_engine_status(model->engine);
  if (rollout_find_input(policy->program, "time") < 0) return ORR_OK;
  return orr_run_input(policy->run, "time", policy->time, NULL);
}

static orr_status lay_out(learned *model, int n, int states) {
  rollout_policy *policy = model->policy;
  if (policy->n == n && policy->states == states) return ORR_OK;
  int64_t shape[2] = {states, model->observation};
  policy->n = 0;
  if (!tensor_make_room(model->engine, &policy->state, ORR_REAL, 2, shape) ||
      !rollout_index_plans(model->engine, &policy->of, n, 1, n / states))
    return orr_engine_status(model->engine);
  orr_status status = orr_run_input(policy->run, "state", policy->state, policy->of);
  if (!status) status = orr_run_rows(policy->run, n, 1);
  if (status) return status;
  policy->n = n;
  policy->states = states;
  return ORR_OK;
}

orr_status rollout_propose(void *user, const orr_proposing *proposing) {
  learned *model = user;
  rollout_policy *policy = model->policy;
  int states = proposing->states > 1 ? proposing->states : 1;
  orr_status status = lay_out(model, proposing->n, states);
  if (status) return status;
  memcpy(orr_tensor_data(policy->state), proposing->observation,
         (size_t)states * (size_t)model->observation * sizeof(orr_real));
  *(orr_real *)orr_tensor_data(policy->time) = (orr_real)proposing->step;
  orr_tensor_touch(policy->state);
  orr_tensor_touch(policy->time);
  orr_run_seed(policy->run, proposing->seed, 0);
  status = orr_run_go(policy->run);
  if (!status)
    memcpy(proposing->plans, orr_tensor_data(orr_run_output(policy->run, "plans")),
           (size_t)proposing->n * (size_t)model->horizon * (size_t)model->actions *
               sizeof(orr_real));
  return status;
}

static orr_status set_input(const orr_program *program, orr_run *run, const char *name,
                            orr_tensor *tensor, bool *found) {
  if (rollout_find_input(program, name) < 0) return ORR_OK;
  *found = true;
  return orr_run_input(run, name, tensor, NULL);
}

orr_status rollout_set_other_inputs(learned *model, const char *name, orr_tensor *tensor,
                                    bool *found) {
  orr_status status = ORR_OK;
  if (model->policy)
    status = set_input(model->policy->program, model->policy->run, name, tensor, found);
  if (!status && model->steps)
    status = set_input(model->finish, rollout_steps_finish(model), name, tensor, found);
  if (!status) status = rollout_set_slopes_input(model, name, tensor, found);
  return status;
}
