/* rollout_steps.c - TS1: at every step each particle is predicted by a member drawn anew (Chua et
   al. 2018). The program makes one step. Rows keep their members, so that a tile has one member's
   weights; between steps what the particles carry moves to other rows: for every plan one of all
   orders of its particles, each equally likely, so that members stay balanced. */
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

typedef struct rollout_steps {
  orr_run *finish;
  int width;         /* numbers that a particle carries */
  orr_real *start;   /* [width - observation]: what follows the state at first */
  int32_t *order;    /* [particles] */
  int n;             /* plans of the rest now; 0: nothing yet */
  orr_tensor *carry; /* [n * particles, width] */
  orr_tensor *plans; /* [n * horizon, actions] */
  orr_tensor *at;    /* int32 [n * particles]: row to action */
} rollout_steps;

void rollout_close_steps(learned *model) {
  rollout_steps *steps = model->steps;
  if (!steps) return;
  orr_tensor_free(steps->carry);
  orr_tensor_free(steps->plans);
  orr_tensor_free(steps->at);
  orr_run_free(steps->finish);
  engine_free_memory(model->engine, steps->start);
  engine_free_memory(model->engine, steps->order);
  engine_free_memory(model->engine, steps);
  model->steps = NULL;
}

/* ---- what it accepts ---- */

/* The size of a ROW input that is a vector; -1: there is no such input. */
static int row_size(const orr_program *program, const char *name) {
  int input = rollout_find_input(program, name);
  if (input < 0 || orr_program_input_level(program, input) != ORR_ROW ||
      orr_program_input_axes(program, input) != 1)
    return -1;
  return (int)orr_program_input_shape(program, input)[0];
}

static orr_status check_steps(learned *model, const orr_rollout_options *options) {
  orr_engine *engine = model->engine;
  int width = row_size(model->program, "carry"), actions = row_size(model->program, "action");
  if (options->horizon < 1)
    return engine_fail(engine, ORR_ARGUMENT, "rollout: a horizon of %d steps", options->horizon);
  if (options->first || options->reward_function)
    return engine_fail(engine, ORR_ARGUMENT,
                       "rollout: with TS1 there is no program of the first step and no reward "
                       "function");
  int elites = options->elites ? options->elites_count : options->members;
  if (model->particles < elites)
    return engine_fail(
        engine, ORR_ARGUMENT,
        "rollout: with TS1 every step deals out all %d elites, so %d particles are too "
        "few; give as many, or more",
        elites, model->particles);
  if (options->risk.over_members)
    return engine_fail(engine, ORR_ARGUMENT,
                       "risk: over members, but with TS1 particles have no member of their own");
  if (actions < 1 || width <= options->start_count || options->start_count < 0)
    return engine_fail(engine, ORR_SHAPE,
                       "a rollout's step needs inputs 'action' [action size] and 'carry' "
                       "[observation size + %d] for each row",
                       options->start_count);
  if (row_size(model->finish, "carry") != width)
    return engine_fail(engine, ORR_SHAPE,
                       "the program that ends a rollout needs an input 'carry' of [%d], as its "
                       "step has",
                       width);
  model->horizon = options->horizon;
  model->actions = actions;
  model->observation = model->rows.observation = width - options->start_count;
  model->many_states = true;
  return ORR_OK;
}

orr_status rollout_open_steps(learned *model, const orr_rollout_options *options) {
  orr_status status = check_steps(model, options);
  if (status) return status;
  orr_engine *engine = model->engine;
  rollout_steps *steps = model->steps = engine_new_zeroed(engine, 1, sizeof *steps);
  if (!steps) return ORR_MEMORY;
  steps->width = model->observation + options->start_count;
  steps->start = engine_new_zeroed(engine, (size_t)steps->width, sizeof(orr_real));
  steps->order = engine_new_zeroed(engine, (size_t)model->particles, sizeof(int32_t));
  model->time = orr_tensor_new(engine, ORR_REAL, 0, NULL);
  if (!steps->start || !steps->order || !model->time) return ORR_MEMORY;
  for (int i = 0; i < options->start_count; i++) steps->start[i] = options->start[i];
  steps->finish = orr_run_new(model->finish);
  if (!steps->finish) return orr_engine_status(engine);
  status = rollout_check_output(model, model->finish);
  return status ? status : rollout_open_slopes(model, options->gradient, steps->width);
}

/* ---- rows ---- */

static orr_status make_rows(learned *model, int n) {
  rollout_steps *steps = model->steps;
  int64_t rows = (int64_t)n * model->particles, carry[2] = {rows, steps->width};
  int64_t plans[2] = {(int64_t)n * model->horizon, model->actions};
  bool made = tensor_make_room(model->engine, &steps->carry, ORR_REAL, 2, carry) &&
              tensor_make_room(model->engine, &steps->plans, ORR_REAL, 2, plans) &&
              tensor_make_room(model->engine, &steps->at, ORR_INT, 1, &rows);
  return made ? ORR_OK : orr_engine_status(model->engine);
}

orr_status rollout_prepare_steps(learned *model, int n) {
  rollout_steps *steps = model->steps;
  if (steps->n == n) return ORR_OK;
  if ((int64_t)n * model->particles * steps->width > INT32_MAX)
    return engine_fail(model->engine, ORR_ARGUMENT, "%d plans with %d particles are too many", n,
                       model->particles);
  int64_t rows = (int64_t)n * model->particles;
  steps->n = 0;
  orr_run_release(steps->finish, "carry"); /* an output of other rows */
  orr_status status = make_rows(model, n);
  if (!status) status = orr_run_input(model->run, "carry", steps->carry, NULL);
  if (!status) status = rollout_bind_actions(model, model->run);
  for (int g = 0; g < model->groups; g++) model->sizes[g] = (int64_t)n * model->slots[g];
  if (!status) status = rollout_group_rows(model, model->run, rows);
  if (!status) status = orr_run_prepare(model->run);
  if (!status) status = orr_run_rows(steps->finish, rows, 1);
  if (!status) status = orr_run_prepare(steps->finish);
  if (!status) steps->n = n;
  return status;
}

/* ---- running ---- */

static void start(learned *model, const orr_scoring *scoring) {
  rollout_steps *steps = model->steps;
  size_t n = (size_t)scoring->n, each = scoring->states > 1 ? n / (size_t)scoring->states : n;
  size_t seen = (size_t)model->observation, width = (size_t)steps->width;
  orr_real *carry = orr_tensor_data(steps->carry);
  for (size_t row = 0; row < n * (size_t)model->particles; row++, carry += width) {
    memcpy(carry, scoring->observation + row % n / each * seen, seen * sizeof *carry);
    memcpy(carry + seen, steps->start, (width - seen) * sizeof *carry);
  }
  memcpy(orr_tensor_data(steps->plans), scoring->plans,
         n * (size_t)model->horizon * (size_t)model->actions * sizeof(orr_real));
  orr_tensor_touch(steps->carry);
  orr_tensor_touch(steps->plans);
}

const int32_t *rollout_order_after(const learned *model, const orr_scoring *scoring, int t,
                                   int plan) {
  rollout_steps *steps = model->steps;
  uint64_t seed = mix_bits(scoring->seed + mix_bits(scoring->iteration)) + (uint64_t)t;
  int each = scoring->states > 1 ? scoring->n / scoring->states : scoring->n;
  orr_random random = orr_random_new(seed, (uint64_t)(plan % each)); /* as its state alone has */
  for (int slot = 0; slot < model->particles; slot++) steps->order[slot] = slot;
  orr_random_shuffle(&random, steps->order, model->particles);
  return steps->order;
}

/* What each particle carries moves to the row of the member that it has next. */
static void change_members(learned *model, const orr_real *from, const orr_scoring *scoring,
                           int t) {
  rollout_steps *steps = model->steps;
  size_t width = (size_t)steps->width, n = (size_t)scoring->n;
  orr_real *carry = orr_tensor_data(steps->carry);
  for (size_t plan = 0; plan < n; plan++) {
    const int32_t *order = rollout_order_after(model, scoring, t, (int)plan);
    for (size_t slot = 0; slot < (size_t)model->particles; slot++)
      memcpy(carry + (slot * n + plan) * width, from + ((size_t)order[slot] * n + plan) * width,
             width * sizeof *carry);
  }
  orr_tensor_touch(steps->carry);
}

orr_status rollout_bind_actions(const learned *model, orr_run *run) {
  return orr_run_input(run, "action", model->steps->plans, model->steps->at);
}

orr_status rollout_run_step(learned *model, orr_run *run, const orr_scoring *scoring, int t) {
  int32_t *at = orr_tensor_data(model->steps->at);
  for (int slot = 0; slot < model->particles; slot++)
    for (int plan = 0; plan < scoring->n; plan++) *at++ = plan * model->horizon + t;
  orr_tensor_touch(model->steps->at);
  *(orr_real *)orr_tensor_data(model->time) = (orr_real)(scoring->step + t);
  orr_tensor_touch(model->time);
  orr_run_seed(run, mix_bits(scoring->seed ^ (uint64_t)t), scoring->iteration);
  orr_run_until(run, scoring->deadline);
  return orr_run_go(run);
}

orr_status rollout_run_steps(learned *model, const orr_scoring *scoring, orr_real *kept,
                             orr_run **done) {
  rollout_steps *steps = model->steps;
  orr_status status = rollout_prepare_steps(model, scoring->n);
  if (status) return status;
  size_t numbers = (size_t)orr_tensor_count(steps->carry);
  start(model, scoring);
  for (int t = 0; t < model->horizon && !status; t++) {
    if (kept)
      memcpy(kept + (size_t)t * numbers, orr_tensor_data(steps->carry), numbers * sizeof *kept);
    status = rollout_run_step(model, model->run, scoring, t);
    if (!status && t + 1 < model->horizon)
      change_members(model, orr_tensor_data(orr_run_output(model->run, "carry")), scoring, t);
  }
  if (status) return status;
  status = orr_run_input(steps->finish, "carry", orr_run_output(model->run, "carry"), NULL);
  orr_run_seed(steps->finish, scoring->seed, scoring->iteration);
  orr_run_until(steps->finish, scoring->deadline);
  *done = steps->finish;
  return status ? status : orr_run_go(steps->finish);
}

orr_run *rollout_steps_finish(const learned *model) { return model->steps->finish; }
