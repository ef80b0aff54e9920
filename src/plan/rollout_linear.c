/* rollout_linear.c - the dynamics and rewards of a learned rollout to first and second order along
   a plan. Each elite follows the plan on its own path of mean predictions (program `path`, a row
   for each elite); the derivatives at every step of every path come at once (program `linear`, a
   row for each elite and step) and are averaged over elites, weighted by the particles that each
   one has. The state may have more numbers than the observation, such as the probability that the
   episode still goes on. */
#include <math.h>
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

enum { NEXT_S, NEXT_A, REWARD_S, REWARD_A, REWARD_SS, REWARD_AS, REWARD_AA, OUTPUTS };

static const struct {
  const char *name, *shape; /* S: numbers of a state, A: of an action */
} outputs[OUTPUTS] = {{"next_s", "SS"},   {"next_a", "SA"},    {"reward_s", "S"},
                      {"reward_a", "A"},  {"reward_ss", "SS"}, {"reward_as", "AS"},
                      {"reward_aa", "AA"}};

struct rollout_linear {
  orr_program *path, *linear;
  orr_run *path_run, *linear_run;
  int size;                        /* S */
  orr_tensor *state, *plan, *time; /* [1, seen] or [seen], [1, horizon, actions], [] */
  orr_tensor *s, *a, *t, *last;    /* [elites * horizon, S], [horizon, actions], [horizon], same */
  orr_tensor *step_of_row;         /* int32 [elites * horizon] */
  size_t sizes[OUTPUTS], strides[OUTPUTS]; /* numbers in a row; from row to row */
};

void rollout_close_linear(learned *model) {
  rollout_linear *linear = model->linear;
  if (!linear) return;
  orr_tensor *tensors[] = {linear->state, linear->plan, linear->time, linear->s,
                           linear->a,     linear->t,    linear->last, linear->step_of_row};
  for (size_t i = 0; i < COUNT(tensors); i++) orr_tensor_free(tensors[i]);
  orr_run_free(linear->path_run);
  orr_run_free(linear->linear_run);
  orr_program_free(linear->path);
  orr_program_free(linear->linear);
  engine_free_memory(model->engine, linear);
  model->linear = NULL;
}

static int count_groups(const learned *model) { return model->groups ? model->groups : 1; }

/* ---- what it accepts ---- */

static orr_status check_outputs(learned *model) {
  rollout_linear *linear = model->linear;
  const orr_program *program = linear->linear;
  int s = rollout_find_input(program, "s");
  linear->size = model->observation;
  if (s >= 0 && orr_program_input_axes(program, s) == 1)
    linear->size = (int)orr_program_input_shape(program, s)[0];
  const int64_t path[2] = {(int64_t)model->horizon + 1, linear->size};
  if (linear->size < model->observation ||
      !rollout_output_fits(linear->path, "states", 2, path, true, NULL))
    return engine_fail(model->engine, ORR_SHAPE,
                       "a path program needs an output 'states', [%d, %d] for each row, and a "
                       "linear program an input 's' of as many numbers, %d or more",
                       model->horizon + 1, linear->size, model->observation);
  for (int i = 0; i < OUTPUTS; i++) {
    int64_t shape[2], count = 1;
    int axes = (int)strlen(outputs[i].shape), at = rollout_find_output(program, outputs[i].name);
    for (int axis = 0; axis < axes; axis++) {
      shape[axis] = outputs[i].shape[axis] == 'S' ? linear->size : model->actions;
      count *= shape[axis];
    }
    if (at < 0 || orr_program_output_level(program, at) == ORR_MEMBER ||
        !shape_equal(orr_program_output_axes(program, at), orr_program_output_shape(program, at),
                     axes, shape))
      return engine_fail(model->engine, ORR_SHAPE,
                         "a linear program needs an output '%s' of %lld numbers for each row",
                         outputs[i].name, (long long)count);
    linear->sizes[i] = (size_t)count;
    linear->strides[i] = orr_program_output_level(program, at) == ORR_ROW ? (size_t)count : 0;
  }
  return ORR_OK;
}

static orr_status new_tensors(learned *model) {
  rollout_linear *linear = model->linear;
  orr_engine *engine = model->engine;
  int64_t horizon = model->horizon, seen = model->observation, actions = model->actions;
  int64_t rows = horizon * count_groups(model);
  const int64_t start[2] = {1, seen}, plan[3] = {1, horizon, actions};
  const int64_t paths[2] = {rows, linear->size};
  int state = rollout_find_input(linear->path, "state");
  bool by_row = state >= 0 && orr_program_input_level(linear->path, state) == ORR_ROW;
  linear->state = by_row ? orr_tensor_new(engine, ORR_REAL, 2, start)
                         : orr_tensor_new(engine, ORR_REAL, 1, &seen);
  linear->plan = orr_tensor_new(engine, ORR_REAL, 3, plan);
  linear->time = orr_tensor_new(engine, ORR_REAL, 0, NULL);
  linear->s = orr_tensor_new(engine, ORR_REAL, 2, paths);
  linear->a = orr_tensor_new(engine, ORR_REAL, 2, plan + 1);
  linear->t = orr_tensor_new(engine, ORR_REAL, 1, &horizon);
  linear->last = orr_tensor_new(engine, ORR_REAL, 1, &horizon);
  linear->step_of_row = orr_tensor_new(engine, ORR_INT, 1, &rows);
  if (!linear->state || !linear->plan || !linear->time || !linear->s || !linear->a || !linear->t ||
      !linear->last || !linear->step_of_row)
    return ORR_MEMORY;
  orr_real *last = orr_tensor_data(linear->last);
  for (int64_t t = 0; t < horizon; t++) last[t] = t + 1 == horizon;
  int32_t *step = orr_tensor_data(linear->step_of_row);
  for (int64_t row = 0; row < rows; row++) step[row] = (int32_t)(row % horizon);
  return ORR_OK;
}

static orr_status bind_path(learned *model) {
  rollout_linear *linear = model->linear;
  int64_t groups = count_groups(model);
  orr_tensor *zeros = orr_tensor_new(model->engine, ORR_INT, 1, &groups);
  if (!zeros) return ORR_MEMORY;
  memset(orr_tensor_data(zeros), 0, (size_t)groups * sizeof(int32_t));
  const orr_program *path = linear->path;
  int state = rollout_find_input(path, "state");
  bool by_row = state >= 0 && orr_program_input_level(path, state) == ORR_ROW;
  orr_status status = orr_run_input(linear->path_run, "plan", linear->plan, zeros);
  if (!status && state >= 0)
    status = orr_run_input(linear->path_run, "state", linear->state, by_row ? zeros : NULL);
  if (!status && rollout_find_input(path, "time") >= 0)
    status = orr_run_input(linear->path_run, "time", linear->time, NULL);
  orr_tensor_free(zeros);
  if (status) return status;
  for (int g = 0; g < model->groups; g++) model->sizes[g] = 1;
  return rollout_group_rows(model, linear->path_run, 1);
}

static orr_status bind_linear(learned *model) {
  rollout_linear *linear = model->linear;
  const struct {
    const char *name;
    orr_tensor *tensor, *index;
  } given[] = {{"s", linear->s, NULL},
               {"a", linear->a, linear->step_of_row},
               {"t", linear->t, linear->step_of_row},
               {"last", linear->last, linear->step_of_row}};
  for (size_t i = 0; i < COUNT(given); i++) {
    if (rollout_find_input(linear->linear, given[i].name) < 0) continue;
    orr_status status =
        orr_run_input(linear->linear_run, given[i].name, given[i].tensor, given[i].index);
    if (status) return status;
  }
  for (int g = 0; g < model->groups; g++) model->sizes[g] = model->horizon;
  return rollout_group_rows(model, linear->linear_run, model->horizon);
}

orr_status rollout_open_linear(learned *model, orr_program *path, orr_program *program) {
  if (!path && !program) return ORR_OK;
  if (!path || !program)
    return engine_fail(model->engine, ORR_ARGUMENT,
                       "to linearise a rollout takes two programs, of its path and of the "
                       "derivatives along it");
  if (model->rows.function)
    return engine_fail(model->engine, ORR_ARGUMENT,
                       "a rollout with a reward function cannot be linearised: the function's "
                       "derivatives are not known");
  rollout_linear *linear = engine_new_zeroed(model->engine, 1, sizeof *linear);
  if (!linear) return ORR_MEMORY;
  model->linear = linear;
  linear->path = orr_program_retain(path);
  linear->linear = orr_program_retain(program);
  linear->path_run = orr_run_new(path);
  linear->linear_run = orr_run_new(program);
  if (!linear->path_run || !linear->linear_run) return orr_engine_status(model->engine);
  orr_status status = check_outputs(model);
  if (!status) status = new_tensors(model);
  if (!status) status = bind_path(model);
  if (!status) status = bind_linear(model);
  if (!status) status = orr_run_prepare(linear->path_run);
  return status ? status : orr_run_prepare(linear->linear_run);
}

bool rollout_linear_has_input(const learned *model, const char *name) {
  static const char *const own[] = {"s", "a", "t", "last"};
  if (!model->linear) return false;
  for (size_t i = 0; i < COUNT(own); i++)
    if (!strcmp(name, own[i])) return false;
  return rollout_find_input(model->linear->path, name) >= 0 ||
         rollout_find_input(model->linear->linear, name) >= 0;
}

orr_status rollout_linear_set_input(learned *model, const char *name, orr_tensor *tensor) {
  rollout_linear *linear = model->linear;
  orr_status status = ORR_OK;
  if (rollout_find_input(linear->path, name) >= 0)
    status = orr_run_input(linear->path_run, name, tensor, NULL);
  if (!status && rollout_find_input(linear->linear, name) >= 0)
    status = orr_run_input(linear->linear_run, name, tensor, NULL);
  return status;
}

/* ---- at work ---- */

static double weight_of(const learned *model, int group) {
  return (double)model->slots[group] / model->particles;
}

/* The states at which derivatives are taken, and their mean over elites. */
static void take_path(learned *model, const orr_linearisation *along) {
  rollout_linear *linear = model->linear;
  size_t size = (size_t)linear->size, horizon = (size_t)model->horizon;
  size_t path = (horizon + 1) * size;
  const orr_real *states = orr_tensor_data(orr_run_output(linear->path_run, "states"));
  orr_real *s = orr_tensor_data(linear->s);
  for (size_t i = 0; i < path; i++) along->states[i] = 0;
  for (int g = 0; g < count_groups(model); g++, states += path, s += horizon * size) {
    orr_real weight = (orr_real)weight_of(model, g);
    memcpy(s, states, horizon * size * sizeof(orr_real));
    for (size_t i = 0; i < path; i++) along->states[i] += weight * states[i];
  }
}

static orr_status follow(learned *model, const orr_linearisation *along) {
  rollout_linear *linear = model->linear;
  memcpy(orr_tensor_data(linear->state), along->observation,
         (size_t)model->observation * sizeof(orr_real));
  memcpy(orr_tensor_data(linear->plan), along->plan,
         (size_t)orr_tensor_count(linear->plan) * sizeof(orr_real));
  *(orr_real *)orr_tensor_data(linear->time) = (orr_real)along->step;
  orr_tensor_touch(linear->state);
  orr_tensor_touch(linear->plan);
  orr_tensor_touch(linear->time);
  orr_run_until(linear->path_run, along->deadline);
  orr_status status = orr_run_go(linear->path_run);
  if (!status) take_path(model, along);
  return status;
}

static void average(const learned *model, int output, orr_real *mean) {
  const rollout_linear *linear = model->linear;
  const orr_real *given = orr_tensor_data(orr_run_output(linear->linear_run, outputs[output].name));
  size_t size = linear->sizes[output], stride = linear->strides[output];
  size_t horizon = (size_t)model->horizon;
  for (size_t i = 0; i < horizon * size; i++) mean[i] = 0;
  for (int g = 0; g < count_groups(model); g++) {
    orr_real weight = (orr_real)weight_of(model, g);
    for (size_t t = 0; t < horizon; t++) {
      const orr_real *row = given + ((size_t)g * horizon + t) * stride;
      for (size_t i = 0; i < size; i++) mean[t * size + i] += weight * row[i];
    }
  }
}

int rollout_linear_size(const learned *model) { return model->linear ? model->linear->size : 0; }

orr_status rollout_linearise(void *user, const orr_linearisation *along) {
  learned *model = user;
  rollout_linear *linear = model->linear;
  orr_status status = follow(model, along);
  if (status) return status;
  memcpy(orr_tensor_data(linear->a), along->plan,
         (size_t)orr_tensor_count(linear->a) * sizeof(orr_real));
  orr_real *times = orr_tensor_data(linear->t);
  for (int t = 0; t < model->horizon; t++) times[t] = (orr_real)(along->step + t);
  orr_tensor_touch(linear->s);
  orr_tensor_touch(linear->a);
  orr_tensor_touch(linear->t);
  orr_run_until(linear->linear_run, along->deadline);
  status = orr_run_go(linear->linear_run);
  if (status) return status;
  orr_real *const means[OUTPUTS] = {along->next_s,   along->next_a,    along->reward_s,
                                    along->reward_a, along->reward_ss, along->reward_as,
                                    along->reward_aa};
  for (int i = 0; i < OUTPUTS; i++) average(model, i, means[i]);
  size_t size = (size_t)linear->size;
  for (size_t i = 0; i < size; i++) along->value_s[i] = 0;
  for (size_t i = 0; i < size * size; i++) along->value_ss[i] = 0;
  return ORR_OK;
}
