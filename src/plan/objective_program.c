/* objective_program.c - a learned rollout as an objective. Rows of the program are particles of
   plans (rollout_layout.c); their returns become one for each plan. */
#include <math.h>
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

static orr_status reward_buffers(learned *model, size_t rollouts) {
  if (!model->rows.function) return ORR_OK;
  engine_free_memory(model->engine, model->row_returns);
  model->row_returns = engine_new_zeroed(model->engine, rollouts, sizeof(orr_real));
  if (!model->row_returns) return ORR_MEMORY;
  return reward_rows_new(&model->rows, model->engine, rollouts, model->horizon);
}

static orr_status prepare(void *user, int n, int horizon) {
  learned *model = user;
  (void)horizon; /* the program's own */
  if (model->steps) return rollout_prepare_steps(model, n);
  if ((int64_t)n * model->particles > INT32_MAX / 16)
    return engine_fail(model->engine, ORR_ARGUMENT, "%d plans with %d particles are too many", n,
                       model->particles);
  if (n > model->capacity) {
    int64_t shape[3] = {n, model->horizon, model->actions};
    orr_tensor *plans = orr_tensor_new(model->engine, ORR_REAL, 3, shape);
    if (!plans) return orr_engine_status(model->engine);
    model->layout.n = 0;
    orr_tensor_free(model->plans);
    model->plans = plans;
    model->capacity = 0;
    if (model->many_states) {
      int64_t starts[2] = {n, model->observation};
      orr_tensor_free(model->state);
      model->state = orr_tensor_new(model->engine, ORR_REAL, 2, starts);
      if (!model->state) return orr_engine_status(model->engine);
    }
    orr_status status = reward_buffers(model, (size_t)n * (size_t)model->particles);
    if (status) return status;
    model->capacity = n;
  }
  orr_status status = rollout_use_layout(model, n, 1, model->plans);
  if (!status) status = orr_run_prepare(model->run);
  if (!status && model->first) status = orr_run_prepare(model->first_run);
  return status ? status : rollout_prepare_gradient(model, n);
}

/* ---- scoring ---- */

/* The mean over particles, in the order of slots. One that is not finite spoils its plan: a sum of
   infinities may be NaN or infinite, and either ranks last. */
static void reduce_mean(const learned *model, const orr_real *returns, const orr_scoring *scoring) {
  enum { TOGETHER = 64 };
  int n = scoring->n;
  for (int first = 0; first < n; first += TOGETHER) {
    int count = n - first < TOGETHER ? n - first : TOGETHER;
    double sum[TOGETHER] = {0};
    for (int slot = 0; slot < model->particles; slot++) {
      const orr_real *given = returns + (slot * n + first) * model->stride;
      for (int i = 0; i < count; i++) sum[i] += (double)given[i * model->stride];
    }
    for (int i = 0; i < count; i++)
      scoring->returns[first + i] = (orr_real)(sum[i] / model->particles);
  }
}

static void reduce(const learned *model, const orr_real *returns, const orr_scoring *scoring) {
  const orr_risk_options *risk = &model->risk;
  if (risk->measure == ORR_RISK_mean && !risk->over_members) {
    reduce_mean(model, returns, scoring);
    return;
  }
  for (int plan = 0; plan < scoring->n; plan++) {
    for (int slot = 0; slot < model->particles; slot++)
      model->scratch[slot] = (double)returns[(slot * scoring->n + plan) * model->stride];
    scoring->returns[plan] =
        (orr_real)(risk->over_members
                       ? risk_measure_groups(risk, model->scratch, model->slots, model->groups)
                       : risk_measure(risk, model->scratch, model->particles));
  }
}

/* events[row * event_stride + constraint], of which the mean over particles is held against
   limits. */
static void constrain(const learned *model, const orr_real *events, const orr_scoring *scoring) {
  for (int plan = 0; plan < scoring->n; plan++) {
    for (int c = 0; c < model->constraints; c++) {
      double sum = 0;
      for (int slot = 0; slot < model->particles; slot++)
        sum += (double)events[(slot * scoring->n + plan) * model->event_stride + c];
      model->scratch[c] = sum / model->particles;
    }
    scoring->violations[plan] = violations_of(model->scratch, model->limits, model->constraints);
  }
}

/* Rewards of the states that the program gave; a rollout with a number that is not finite is bad,
   whatever the function makes of it. */
static orr_status reward_states(learned *model, const orr_real *states,
                                const orr_scoring *scoring) {
  reward_rows *rows = &model->rows;
  size_t horizon = (size_t)model->horizon, seen = (size_t)rows->observation;
  size_t plan = horizon * (size_t)model->actions, path = horizon * seen;
  size_t n = (size_t)scoring->n, each = scoring->states > 1 ? n / (size_t)scoring->states : n;
  size_t rollouts = n * (size_t)model->particles;
  for (size_t r = 0; r < rollouts; r++) {
    memcpy(rows->next + r * path, states + r * path, path * sizeof(orr_real));
    memcpy(rows->s + r * path, scoring->observation + r % n / each * seen, seen * sizeof(orr_real));
    memcpy(rows->s + r * path + seen, states + r * path, (path - seen) * sizeof(orr_real));
    memcpy(rows->a + r * plan, scoring->plans + r % n * plan, plan * sizeof(orr_real));
    reward_rows_times(rows, r, scoring->step);
  }
  orr_status status = reward_rows_run(rows, rollouts);
  for (size_t r = 0; r < rollouts && !status; r++) {
    size_t first = r * horizon;
    model->row_returns[r] =
        sum_rewards(rows->rewards + first, rows->terminated + first, model->horizon);
    for (size_t i = 0; i < path; i++)
      if (!isfinite(states[r * path + i])) model->row_returns[r] = NAN;
  }
  return status;
}

/* What the first program gives becomes the rollout's. */
static orr_status run_first(learned *model) {
  if (!model->first) return ORR_OK;
  orr_status status = orr_run_go(model->first_run);
  for (int i = 0; i < orr_program_outputs(model->first) && !status; i++) {
    const char *name = orr_program_output_name(model->first, i);
    orr_tensor *output = orr_run_output(model->first_run, name);
    if (!output) return orr_engine_status(model->engine);
    status = orr_run_input(model->run, name, output, model->layout.shared);
  }
  return status;
}

/* Returns, and violations where they are wanted, of the run that is done. */
static orr_status take_outputs(learned *model, orr_run *run, const orr_scoring *scoring) {
  bool states = model->rows.function != NULL;
  orr_tensor *output = orr_run_output(run, states ? "states" : "return");
  if (!output) return orr_engine_status(model->engine);
  orr_status status = states ? reward_states(model, orr_tensor_data(output), scoring) : ORR_OK;
  if (status) return status;
  reduce(model, states ? model->row_returns : orr_tensor_data(output), scoring);
  if (scoring->violations)
    constrain(model, orr_tensor_data(orr_run_output(run, "events")), scoring);
  return ORR_OK;
}

static orr_status score(void *user, const orr_scoring *scoring) {
  learned *model = user;
  if (scoring->gradients) {
    orr_status known = rollout_score_gradient(model, scoring);
    if (known || !scoring->violations) return known;
  }
  if (model->steps) {
    orr_run *done = NULL;
    orr_status stepped = rollout_run_steps(model, scoring, NULL, &done);
    return stepped ? stepped : take_outputs(model, done, scoring);
  }
  orr_tensor *plans = scoring->tensor ? scoring->tensor : model->plans;
  int states = scoring->states > 1 ? scoring->states : 1;
  orr_status status = rollout_use_layout(model, scoring->n, states, plans);
  if (status) return status;
  memcpy(orr_tensor_data(model->state), scoring->observation,
         (size_t)states * (size_t)model->observation * sizeof(orr_real));
  if (!scoring->tensor)
    memcpy(orr_tensor_data(plans), scoring->plans,
           (size_t)scoring->n * (size_t)model->horizon * (size_t)model->actions * sizeof(orr_real));
  orr_tensor_touch(model->state);
  orr_tensor_touch(plans);
  *(orr_real *)orr_tensor_data(model->time) = (orr_real)scoring->step;
  orr_tensor_touch(model->time);
  orr_run_seed(model->run, scoring->seed, scoring->iteration);
  orr_run_until(model->run, scoring->deadline);
  if (model->first) orr_run_until(model->first_run, scoring->deadline);
  status = run_first(model);
  if (!status) status = orr_run_go(model->run);
  return status ? status : take_outputs(model, model->run, scoring);
}

static bool is_own(const learned *model, const char *name) {
  static const char *const owned[] = {"state", "plan", "time", "carry", "action", "after"};
  bool own = false;
  for (size_t i = 0; i < COUNT(owned); i++) own = own || !strcmp(name, owned[i]);
  for (int i = 0; model->first && i < orr_program_outputs(model->first); i++)
    own = own || !strcmp(name, orr_program_output_name(model->first, i));
  return own;
}

static orr_status set_input(void *user, const char *name, orr_tensor *tensor) {
  learned *model = user;
  bool first = model->first && rollout_find_input(model->first, name) >= 0;
  bool rollout = rollout_find_input(model->program, name) >= 0;
  bool gradient = rollout_gradient_has_input(model, name);
  bool linear = rollout_linear_has_input(model, name), other = false;
  orr_status status =
      is_own(model, name) ? ORR_OK : rollout_set_other_inputs(model, name, tensor, &other);
  if (status) return status;
  if (is_own(model, name) || (!first && !rollout && !gradient && !linear && !other))
    return engine_fail(model->engine, ORR_FIELD, "the rollout has no input '%s' to set", name);
  status = rollout ? orr_run_input(model->run, name, tensor, NULL) : ORR_OK;
  if (!status && gradient) status = rollout_gradient_set_input(model, name, tensor);
  if (!status && linear) status = rollout_linear_set_input(model, name, tensor);
  return first && !status ? orr_run_input(model->first_run, name, tensor, NULL) : status;
}

/* ---- making one ---- */

orr_rollout_options orr_rollout_options_defaults(void) {
  return (orr_rollout_options){.size = sizeof(orr_rollout_options), .particles = 1};
}

static void free_learned(void *user) {
  learned *model = user;
  if (!model) return;
  rollout_free_layout(model);
  rollout_close_gradient(model);
  rollout_close_linear(model);
  rollout_close_steps(model);
  rollout_close_slopes(model);
  rollout_close_policy(model);
  rollout_close_disagreement(model);
  orr_run_free(model->run);
  orr_run_free(model->first_run);
  orr_tensor_free(model->state);
  orr_tensor_free(model->time);
  orr_tensor_free(model->plans);
  reward_rows_free(&model->rows, model->engine);
  engine_free_memory(model->engine, model->row_returns);
  engine_free_memory(model->engine, model->entries);
  engine_free_memory(model->engine, model->slots);
  engine_free_memory(model->engine, model->sizes);
  engine_free_memory(model->engine, model->limits);
  engine_free_memory(model->engine, model->scratch);
  if (model->free_user) model->free_user(model->rows.user);
  orr_program_free(model->program);
  orr_program_free(model->first);
  orr_program_free(model->finish);
  engine_free_memory(model->engine, model);
}

/* A run with what never changes; NULL on failure. */
static orr_run *open_run(learned *model, orr_program *program) {
  orr_run *run = orr_run_new(program);
  if (!run) return NULL;
  orr_status status = ORR_OK;
  if (!model->many_states && rollout_find_input(program, "state") >= 0)
    status = orr_run_input(run, "state", model->state, NULL);
  if (!status && rollout_find_input(program, "time") >= 0)
    status = orr_run_input(run, "time", model->time, NULL);
  if (!status) return run;
  orr_run_free(run);
  return NULL;
}

static orr_status open_learned(learned *model, const orr_rollout_options *options) {
  model->rows.function = options->reward_function;
  model->rows.user = options->user;
  orr_status status = rollout_check_members(model, options);
  if (!status) status = rollout_check_risk(model, options);
  if (!status && model->finish) status = rollout_open_steps(model, options);
  if (!status && !model->finish) status = rollout_check_program(model);
  if (!status) status = rollout_check_first(model);
  if (status) return status;
  if (options->observation && orr_space_size(options->observation) != model->observation)
    return engine_fail(model->engine, ORR_SHAPE,
                       "rollout: observations have %lld numbers, the program's 'state' %lld",
                       (long long)orr_space_size(options->observation),
                       (long long)model->observation);
  if (options->action && orr_space_size(options->action) != model->actions)
    return engine_fail(model->engine, ORR_SHAPE,
                       "rollout: actions have %lld numbers, those of the program's 'plan' %d",
                       (long long)orr_space_size(options->action), model->actions);
  if (!(model->run = open_run(model, model->program))) return orr_engine_status(model->engine);
  if (model->first && !(model->first_run = open_run(model, model->first)))
    return orr_engine_status(model->engine);
  status = rollout_open_gradient(model, options->gradient);
  if (!status) status = rollout_open_linear(model, options->path, options->linear);
  if (!status) status = rollout_open_policy(model, options);
  return status ? status : rollout_open_disagreement(model, options);
}

orr_objective *orr_objective_program(orr_engine *engine, orr_program *program,
                                     const orr_rollout_options *given) {
  orr_rollout_options options = orr_rollout_options_defaults();
  if (READ_OPTIONS(engine, orr_rollout_options, &options, given)) return NULL;
  if (!program) {
    engine_fail(engine, ORR_ARGUMENT, "orr_objective_program needs a program");
    return NULL;
  }
  learned *model = engine_new_zeroed(engine, 1, sizeof *model);
  if (!model) return NULL;
  model->engine = engine;
  model->program = orr_program_retain(program);
  if (options.first) model->first = orr_program_retain(options.first);
  if (options.finish) model->finish = orr_program_retain(options.finish);
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.name = "learned rollout";
  callbacks.user = model;
  callbacks.score = score;
  callbacks.prepare = prepare;
  callbacks.set_input = set_input;
  callbacks.free_user = free_learned;
  callbacks.observation = options.observation;
  callbacks.action = options.action;
  orr_status status = open_learned(model, &options);
  /* whoever gives an observation must know how large it is */
  orr_field field = {.name = "state", .axes = 1, .shape = {model->observation}};
  orr_space *unnamed = status || callbacks.observation ? NULL : orr_space_new(engine, &field, 1);
  if (!status && !callbacks.observation) {
    callbacks.observation = unnamed;
    if (!unnamed) status = orr_engine_status(engine);
  }
  callbacks.action_size = model->actions;
  callbacks.horizon = model->horizon;
  callbacks.violations = model->constraints > 0;
  callbacks.many_states = model->many_states;
  callbacks.any_thread = !options.reward_function;
  callbacks.gradients = model->gradient || model->slopes;
  callbacks.propose = model->policy ? rollout_propose : NULL;
  callbacks.disagree = model->disagreement ? rollout_disagree : NULL;
  callbacks.linearise = model->linear ? rollout_linearise : NULL;
  callbacks.state_size = rollout_linear_size(model);
  orr_objective *objective = status ? NULL : orr_objective_function(engine, &callbacks);
  orr_space_free(unnamed);
  if (!objective) free_learned(model);
  else model->free_user = options.free_user;
  return objective;
}
