/* rollout_check.c - whether programs and members make a learned rollout. */
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

int rollout_find_input(const orr_program *program, const char *name) {
  for (int i = 0; i < orr_program_inputs(program); i++)
    if (!strcmp(orr_program_input_name(program, i), name)) return i;
  return -1;
}

int rollout_find_output(const orr_program *program, const char *name) {
  for (int i = 0; i < orr_program_outputs(program); i++)
    if (!strcmp(orr_program_output_name(program, i), name)) return i;
  return -1;
}

bool rollout_output_fits(const orr_program *program, const char *name, int axes,
                         const int64_t *shape, bool row, int *stride) {
  int output = rollout_find_output(program, name);
  if (output < 0) return false;
  orr_level level = orr_program_output_level(program, output);
  int64_t count = 1;
  for (int axis = 0; axis < axes; axis++) count *= shape[axis];
  if (stride) *stride = level == ORR_ROW ? (int)count : 0;
  return level != ORR_MEMBER && (!row || level == ORR_ROW) &&
         shape_equal(orr_program_output_axes(program, output),
                     orr_program_output_shape(program, output), axes, shape);
}

/* Of the program that ends a rollout. */
orr_status rollout_check_output(learned *model, const orr_program *program) {
  int64_t states[2] = {model->horizon, model->observation}, events = model->constraints;
  model->stride = 1; /* of a reward function's returns */
  if (model->rows.function && !rollout_output_fits(program, "states", 2, states, true, NULL))
    return engine_fail(model->engine, ORR_SHAPE,
                       "a rollout with a reward function needs an output 'states' of [horizon, "
                       "observation size] for each row");
  if (!model->rows.function &&
      !rollout_output_fits(program, "return", 0, NULL, false, &model->stride))
    return engine_fail(model->engine, ORR_SHAPE,
                       "a rollout needs an output 'return' of one number a row");
  if (events && !rollout_output_fits(program, "events", 1, &events, false, &model->event_stride))
    return engine_fail(model->engine, ORR_SHAPE,
                       "a rollout with %d side constraints needs an output 'events' of [%d] for "
                       "each row",
                       model->constraints, model->constraints);
  return ORR_OK;
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
                : orr_program_input_level(program, state) == ORR_MEMBER ||
                      orr_program_input_axes(program, state) != 1)
    return engine_fail(engine, ORR_SHAPE,
                       "a rollout needs an input 'state' of [observation size], for each row or "
                       "the same for all");
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
  model->observation = (int)shape[0];
  model->many_states =
      orr_program_input_level(program, rollout_find_input(program, "state")) == ORR_ROW;
  if (!model->many_states && !(model->state = orr_tensor_new(engine, ORR_REAL, 1, shape)))
    return ORR_MEMORY;
  if (!(model->time = orr_tensor_new(engine, ORR_REAL, 0, NULL))) return ORR_MEMORY;
  model->rows.observation = model->observation;
  model->rows.actions = model->actions;
  return rollout_check_output(model, program);
}

/* Whether the two have the same level and shape; true where either is absent. */
static bool same_input(const orr_program *a, const orr_program *b, const char *name) {
  int i = rollout_find_input(a, name), j = rollout_find_input(b, name);
  if (i < 0 || j < 0) return true;
  return orr_program_input_level(a, i) == orr_program_input_level(b, j) &&
         shape_equal(orr_program_input_axes(a, i), orr_program_input_shape(a, i),
                     orr_program_input_axes(b, j), orr_program_input_shape(b, j));
}

orr_status rollout_check_first(const learned *model) {
  const orr_program *first = model->first, *rollout = model->program;
  if (!first) return ORR_OK;
  orr_status status = check_inputs(model, first);
  if (status) return status;
  if (!same_input(first, rollout, "state") || !same_input(first, rollout, "plan"))
    return engine_fail(model->engine, ORR_SHAPE,
                       "the first program's inputs have other shapes or levels than the rollout's");
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

orr_status rollout_check_risk(learned *model, const orr_rollout_options *options) {
  orr_engine *engine = model->engine;
  orr_status status = risk_check(engine, &options->risk);
  if (status) return status;
  if (options->risk.over_members && !options->members)
    return engine_fail(engine, ORR_ARGUMENT, "risk: over members, but the rollout has none");
  if (options->constraints < 0 || (options->constraints > 0 && !options->limits))
    return engine_fail(engine, ORR_ARGUMENT, "rollout: %d side constraints without limits",
                       options->constraints);
  model->risk = options->risk;
  model->constraints = options->constraints;
  size_t constraints = (size_t)options->constraints;
  model->limits = engine_new_zeroed(engine, constraints + 1, sizeof(double));
  model->scratch =
      engine_new_zeroed(engine, (size_t)options->particles + constraints, sizeof(double));
  if (!model->limits || !model->scratch) return ORR_MEMORY;
  for (size_t i = 0; i < constraints; i++) model->limits[i] = options->limits[i];
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
