/* rollout_check.c - whether programs and members make a learned rollout. */
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

int rollout_find_input(const orr_program *program, const char *name) {
  for (int i = 0; i < orr_program_inputs(program); i++)
    if (!strcmp(orr_program_input_name(program, i), name)) return i;
  return -1;
}

static orr_status check_output(learned *model) {
  const orr_program *program = model->program;
  bool states = model->rows.function != NULL;
  for (int i = 0; i < orr_program_outputs(program); i++) {
    if (strcmp(orr_program_output_name(program, i), states ? "states" : "return")) continue;
    orr_level level = orr_program_output_level(program, i);
    const int64_t *shape = orr_program_output_shape(program, i);
    int axes = orr_program_output_axes(program, i);
    model->stride = level == ORR_ROW;
    if (states && level == ORR_ROW && axes == 2 && shape[0] == model->horizon &&
        shape[1] == model->rows.observation)
      return ORR_OK;
    if (!states && level != ORR_MEMBER && axes == 0) return ORR_OK;
  }
  return engine_fail(model->engine, ORR_SHAPE,
                     states
                         ? "a rollout with a reward function needs an output 'states' of [horizon, "
                           "observation size] for each row"
                         : "a rollout needs an output 'return' of one number a row");
}

/* The inputs of the rollout, or of the first program, which needs not have them all. */
static orr_status check_inputs(const learned *model, const orr_program *program) {
  orr_engine *engine = model->engine;
  bool all = program == model->program;
  int state = rollout_find_input(program, "state"), plan = rollout_find_input(program, "plan");
  int time = rollout_find_input(program, "time");
  if (plan < 0 ? all
               : orr_program_input_level(program, plan) != ORR_ROW ||
                     orr_program_input_axes(program, plan) != 2)
    return engine_fail(engine, ORR_SHAPE,
                       "a rollout needs an input 'plan' of [horizon, action size] for each row");
  if (state < 0 ? all
                : orr_program_input_level(program, state) != ORR_UNIFORM ||
                      orr_program_input_axes(program, state) != 1)
    return engine_fail(
        engine, ORR_SHAPE,
        "a rollout needs an input 'state' of [observation size], the same for all rows");
  if (time >= 0 && (orr_program_input_level(program, time) != ORR_UNIFORM ||
                    orr_program_input_axes(program, time) != 0))
    return engine_fail(engine, ORR_SHAPE, "a rollout's input 'time' is one number for all rows");
  return ORR_OK;
}

orr_status rollout_check_program(learned *model) {
  const orr_program *program = model->program;
  orr_engine *engine = model->engine;
  orr_status status = check_inputs(model, program);
  if (status) return status;
  const int64_t *plan = orr_program_input_shape(program, rollout_find_input(program, "plan"));
  const int64_t *shape = orr_program_input_shape(program, rollout_find_input(program, "state"));
  model->horizon = (int)plan[0];
  model->actions = (int)plan[1];
  model->state = orr_tensor_new(engine, ORR_REAL, 1, shape);
  model->time = orr_tensor_new(engine, ORR_REAL, 0, NULL);
  if (!model->state || !model->time) return ORR_MEMORY;
  model->rows.observation = (int)shape[0];
  model->rows.actions = model->actions;
  return check_output(model);
}

/* Whether the two have the same shape; true where either is absent. */
static bool same_input(const orr_program *a, const orr_program *b, const char *name) {
  int i = rollout_find_input(a, name), j = rollout_find_input(b, name);
  if (i < 0 || j < 0) return true;
  return shape_equal(orr_program_input_axes(a, i), orr_program_input_shape(a, i),
                     orr_program_input_axes(b, j), orr_program_input_shape(b, j));
}

orr_status rollout_check_first(const learned *model) {
  const orr_program *first = model->first, *rollout = model->program;
  if (!first) return ORR_OK;
  orr_status status = check_inputs(model, first);
  if (status) return status;
  if (!same_input(first, rollout, "state") || !same_input(first, rollout, "plan"))
    return engine_fail(model->engine, ORR_SHAPE,
                       "the first program's inputs have other shapes than the rollout's");
  for (int i = 0; i < orr_program_outputs(first); i++) {
    const char *name = orr_program_output_name(first, i);
    int input = rollout_find_input(rollout, name);
    if (input < 0 || orr_program_input_level(rollout, input) != ORR_ROW ||
        orr_program_output_level(first, i) != ORR_ROW ||
        !shape_equal(orr_program_output_axes(first, i), orr_program_output_shape(first, i),
                     orr_program_input_axes(rollout, input),
                     orr_program_input_shape(rollout, input)))
      return engine_fail(model->engine, ORR_SHAPE,
                         "output '%s' of the first program is no input by row of the rollout, of "
                         "the same shape",
                         name);
  }
  return ORR_OK;
}

/* Particle p uses elite p % elites: groups are elites in order, the first ones having the odd
   particles. */
orr_status rollout_check_members(learned *model, const orr_rollout_options *options) {
  orr_engine *engine = model->engine;
  int elites = options->elites ? options->elites_count : options->members;
  if (options->particles < 1 || options->particles > 100000)
    return engine_fail(engine, ORR_ARGUMENT, "rollout: %d particles, must be 1 .. 100000",
                       options->particles);
  if (options->members < 0 || (options->members > 0 && elites < 1))
    return engine_fail(engine, ORR_ARGUMENT, "rollout: %d elites of %d members", elites,
                       options->members);
  model->particles = options->particles;
  if (options->members) model->groups = elites < options->particles ? elites : options->particles;
  size_t groups = model->groups ? (size_t)model->groups : 1;
  model->entries = engine_new_zeroed(engine, groups, sizeof(int));
  model->slots = engine_new_zeroed(engine, groups, sizeof(int));
  model->sizes = engine_new_zeroed(engine, groups, sizeof(int64_t));
  if (!model->entries || !model->slots || !model->sizes) return ORR_MEMORY;
  for (int p = 0; p < model->particles; p++) model->slots[(size_t)p % groups]++;
  if (!options->members) return ORR_OK;
  for (int e = 0; e < elites; e++) {
    int entry = options->elites ? options->elites[e] : e;
    if (entry < 0 || entry >= options->members)
      return engine_fail(engine, ORR_ARGUMENT, "rollout: elite %d is member %d of %d", e, entry,
                         options->members);
    if (e < model->groups) model->entries[e] = entry;
  }
  return ORR_OK;
}
