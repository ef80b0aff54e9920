/* objective_program.c - a learned rollout as an objective. Rows of the program are particles of plans:
   row = slot * n + plan, where slots are the particles sorted by the member that they use, so that
   rows are grouped by member and a tile of them has one member's weights in cache. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

enum {
  LAYOUTS = 16
}; /* batch sizes whose row indices are kept: planners may shrink their population */

typedef struct layout {
  int n;             /* plans; 0: unused */
  orr_tensor *index; /* int32 [n * particles]: row to plan */
} layout;

typedef struct learned {
  orr_engine *engine;
  orr_program *program;
  orr_run *run;
  int particles, groups; /* groups: members that have particles; 0: no members */
  int *entries;          /* [groups]: member that each group uses */
  int *slots;            /* [groups]: particles in each */
  int64_t *sizes;        /* [groups]: rows in each */
  int horizon, actions;
  int stride;                       /* between the returns of rows: 0 when all are one number */
  bool timed;                       /* the program has an input "time" */
  orr_tensor *state, *time, *plans; /* plans: [capacity, horizon, actions], to copy them to */
  orr_tensor *bound_plans;          /* lent: what the run reads, `plans` or a planner's own */
  int capacity;
  layout layouts[LAYOUTS];
  int bound; /* the layout in force; -1: none */
  int oldest;
  reward_rows rows;      /* of a reward function */
  orr_real *row_returns; /* [capacity * particles], with one */
  void (*free_user)(void *user);
} learned;

static int find_input(const orr_program *program, const char *name) {
  for (int i = 0; i < orr_program_inputs(program); i++)
    if (!strcmp(orr_program_input_name(program, i), name)) return i;
  return -1;
}

/* ---- layouts ---- */

static int make_layout(learned *model, int n) {
  for (int i = 0; i < LAYOUTS; i++)
    if (model->layouts[i].n == n) return i;
  int64_t rows = (int64_t)n * model->particles;
  orr_tensor *index = orr_tensor_new(model->engine, ORR_INT, 1, &rows);
  if (!index) return -1;
  int32_t *plan = orr_tensor_data(index);
  for (int64_t row = 0; row < rows; row++) plan[row] = (int32_t)(row % n);
  int place = model->oldest;
  model->oldest = (place + 1) % LAYOUTS;
  orr_tensor_free(model->layouts[place].index);
  model->layouts[place] = (layout){n, index};
  return place;
}

static orr_status use_layout(learned *model, int n, orr_tensor *plans) {
  if (model->bound >= 0 && model->layouts[model->bound].n == n && model->bound_plans == plans)
    return ORR_OK;
  model->bound = -1;
  int place = make_layout(model, n);
  if (place < 0) return orr_engine_status(model->engine);
  orr_status status = orr_run_input(model->run, "plan", plans, model->layouts[place].index);
  if (status) return status;
  model->bound_plans = plans;
  if (model->groups) {
    for (int g = 0; g < model->groups; g++) model->sizes[g] = (int64_t)n * model->slots[g];
    status = orr_run_groups(model->run, model->groups, model->sizes);
    if (!status) status = orr_run_members(model->run, model->entries);
  } else {
    status = orr_run_rows(model->run, (int64_t)n * model->particles, 1);
  }
  if (!status) model->bound = place;
  return status;
}

static void free_layouts(learned *model) {
  for (int i = 0; i < LAYOUTS; i++) {
    orr_tensor_free(model->layouts[i].index);
    model->layouts[i] = (layout){0};
  }
  model->bound = -1;
  model->oldest = 0;
}

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
  if ((int64_t)n * model->particles > INT32_MAX / 16)
    return engine_fail(model->engine, ORR_ARGUMENT, "%d plans with %d particles are too many", n,
                       model->particles);
  if (n > model->capacity) {
    int64_t shape[3] = {n, model->horizon, model->actions};
    orr_tensor *plans = orr_tensor_new(model->engine, ORR_REAL, 3, shape);
    if (!plans) return orr_engine_status(model->engine);
    free_layouts(model);
    orr_tensor_free(model->plans);
    model->plans = plans;
    model->capacity = 0;
    orr_status status = reward_buffers(model, (size_t)n * (size_t)model->particles);
    if (status) return status;
    model->capacity = n;
  }
  return use_layout(model, n, model->plans);
}

/* ---- scoring ---- */

/* The mean over particles, in the order of slots. One that is not finite spoils its plan: a sum of
   infinities may be NaN or infinite, and either ranks last. */
static void reduce(const learned *model, const orr_real *returns, const orr_scoring *scoring) {
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

/* Rewards of the states that the program gave; a rollout with a number that is not finite is bad,
   whatever the function makes of it. */
static orr_status reward_states(learned *model, const orr_real *states,
                                const orr_scoring *scoring) {
  reward_rows *rows = &model->rows;
  size_t horizon = (size_t)model->horizon, seen = (size_t)rows->observation;
  size_t plan = horizon * (size_t)model->actions, path = horizon * seen;
  size_t rollouts = (size_t)scoring->n * (size_t)model->particles;
  for (size_t r = 0; r < rollouts; r++) {
    memcpy(rows->next + r * path, states + r * path, path * sizeof(orr_real));
    memcpy(rows->s + r * path, scoring->observation, seen * sizeof(orr_real));
    memcpy(rows->s + r * path + seen, states + r * path, (path - seen) * sizeof(orr_real));
    memcpy(rows->a + r * plan, scoring->plans + r % (size_t)scoring->n * plan,
           plan * sizeof(orr_real));
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

static orr_status score(void *user, const orr_scoring *scoring) {
  learned *model = user;
  orr_tensor *plans = scoring->tensor ? scoring->tensor : model->plans;
  orr_status status = use_layout(model, scoring->n, plans);
  if (status) return status;
  memcpy(orr_tensor_data(model->state), scoring->observation,
         (size_t)orr_tensor_count(model->state) * sizeof(orr_real));
  if (!scoring->tensor)
    memcpy(orr_tensor_data(plans), scoring->plans,
           (size_t)scoring->n * (size_t)model->horizon * (size_t)model->actions * sizeof(orr_real));
  orr_tensor_touch(model->state);
  orr_tensor_touch(plans);
  if (model->timed) {
    *(orr_real *)orr_tensor_data(model->time) = (orr_real)scoring->step;
    orr_tensor_touch(model->time);
  }
  orr_run_seed(model->run, scoring->seed, scoring->iteration);
  status = orr_run_go(model->run);
  if (status) return status;
  bool states = model->rows.function != NULL;
  orr_tensor *output = orr_run_output(model->run, states ? "states" : "return");
  if (!output) return orr_engine_status(model->engine);
  if (states) status = reward_states(model, orr_tensor_data(output), scoring);
  if (!status) reduce(model, states ? model->row_returns : orr_tensor_data(output), scoring);
  return status;
}

static orr_status set_input(void *user, const char *name, orr_tensor *tensor) {
  learned *model = user;
  bool own = !strcmp(name, "state") || !strcmp(name, "plan") || !strcmp(name, "time");
  if (own || find_input(model->program, name) < 0)
    return engine_fail(model->engine, ORR_FIELD, "the rollout has no input '%s' to set", name);
  return orr_run_input(model->run, name, tensor, NULL);
}

/* ---- making one ---- */

orr_rollout_options orr_rollout_options_defaults(void) {
  return (orr_rollout_options){.size = sizeof(orr_rollout_options), .particles = 1};
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

static orr_status check_program(learned *model) {
  const orr_program *program = model->program;
  orr_engine *engine = model->engine;
  int state = find_input(program, "state"), plan = find_input(program, "plan");
  int time = find_input(program, "time");
  if (plan < 0 || orr_program_input_level(program, plan) != ORR_ROW ||
      orr_program_input_axes(program, plan) != 2)
    return engine_fail(engine, ORR_SHAPE,
                       "a rollout needs an input 'plan' of [horizon, action size] for each row");
  if (state < 0 || orr_program_input_level(program, state) != ORR_UNIFORM ||
      orr_program_input_axes(program, state) != 1)
    return engine_fail(
        engine, ORR_SHAPE,
        "a rollout needs an input 'state' of [observation size], the same for all rows");
  if (time >= 0 && (orr_program_input_level(program, time) != ORR_UNIFORM ||
                    orr_program_input_axes(program, time) != 0))
    return engine_fail(engine, ORR_SHAPE, "a rollout's input 'time' is one number for all rows");
  model->timed = time >= 0;
  model->horizon = (int)orr_program_input_shape(program, plan)[0];
  model->actions = (int)orr_program_input_shape(program, plan)[1];
  const int64_t *shape = orr_program_input_shape(program, state);
  model->state = orr_tensor_new(engine, ORR_REAL, 1, shape);
  model->time = orr_tensor_new(engine, ORR_REAL, 0, NULL);
  if (!model->state || !model->time) return ORR_MEMORY;
  model->rows.observation = (int)shape[0];
  model->rows.actions = model->actions;
  return check_output(model);
}

/* Particle p uses elite p % elites: groups are elites in order, the first ones having the odd
   particles. */
static orr_status check_members(learned *model, const orr_rollout_options *options) {
  orr_engine *engine = model->engine;
  int elites = options->elites ? options->elites_count : options->members;
  if (options->particles < 1 || options->particles > 100000)
    return engine_fail(engine, ORR_ARGUMENT, "rollout: %d particles, must be 1 .. 100000",
                       options->particles);
  if (options->members < 0 || (options->members > 0 && elites < 1))
    return engine_fail(engine, ORR_ARGUMENT, "rollout: %d elites of %d members", elites,
                       options->members);
  model->particles = options->particles;
  if (!options->members) return ORR_OK;
  model->groups = elites < options->particles ? elites : options->particles;
  size_t groups = (size_t)model->groups;
  model->entries = engine_new_zeroed(engine, groups, sizeof(int));
  model->slots = engine_new_zeroed(engine, groups, sizeof(int));
  model->sizes = engine_new_zeroed(engine, groups, sizeof(int64_t));
  if (!model->entries || !model->slots || !model->sizes) return ORR_MEMORY;
  for (int e = 0; e < elites; e++) {
    int entry = options->elites ? options->elites[e] : e;
    if (entry < 0 || entry >= options->members)
      return engine_fail(engine, ORR_ARGUMENT, "rollout: elite %d is member %d of %d", e, entry,
                         options->members);
    if (e < model->groups) model->entries[e] = entry;
  }
  for (int p = 0; p < model->particles; p++) model->slots[p % model->groups]++;
  return ORR_OK;
}

static void free_learned(void *user) {
  learned *model = user;
  if (!model) return;
  free_layouts(model);
  orr_run_free(model->run);
  orr_tensor_free(model->state);
  orr_tensor_free(model->time);
  orr_tensor_free(model->plans);
  reward_rows_free(&model->rows, model->engine);
  engine_free_memory(model->engine, model->row_returns);
  engine_free_memory(model->engine, model->entries);
  engine_free_memory(model->engine, model->slots);
  engine_free_memory(model->engine, model->sizes);
  if (model->free_user) model->free_user(model->rows.user);
  orr_program_free(model->program);
  engine_free_memory(model->engine, model);
}

static orr_status open_learned(learned *model, const orr_rollout_options *options) {
  model->rows.function = options->reward_function;
  model->rows.user = options->user;
  orr_status status = check_program(model);
  if (!status) status = check_members(model, options);
  if (status) return status;
  if (options->observation &&
      orr_space_size(options->observation) != orr_tensor_count(model->state))
    return engine_fail(model->engine, ORR_SHAPE,
                       "rollout: observations have %lld numbers, the program's 'state' %lld",
                       (long long)orr_space_size(options->observation),
                       (long long)orr_tensor_count(model->state));
  if (options->action && orr_space_size(options->action) != model->actions)
    return engine_fail(model->engine, ORR_SHAPE,
                       "rollout: actions have %lld numbers, those of the program's 'plan' %d",
                       (long long)orr_space_size(options->action), model->actions);
  model->run = orr_run_new(model->program);
  if (!model->run) return orr_engine_status(model->engine);
  status = orr_run_input(model->run, "state", model->state, NULL);
  if (!status && model->timed) status = orr_run_input(model->run, "time", model->time, NULL);
  return status;
}

orr_objective *orr_objective_program(orr_engine *engine, orr_program *program,
                                     const orr_rollout_options *options) {
  orr_rollout_options defaults = orr_rollout_options_defaults();
  if (!options) options = &defaults;
  if (!program) {
    engine_fail(engine, ORR_ARGUMENT, "orr_objective_program needs a program");
    return NULL;
  }
  learned *model = engine_new_zeroed(engine, 1, sizeof *model);
  if (!model) return NULL;
  model->engine = engine;
  model->program = orr_program_retain(program);
  model->bound = -1;
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.name = "learned rollout";
  callbacks.user = model;
  callbacks.score = score;
  callbacks.prepare = prepare;
  callbacks.set_input = set_input;
  callbacks.free_user = free_learned;
  callbacks.observation = options->observation;
  callbacks.action = options->action;
  orr_status status = open_learned(model, options);
  callbacks.horizon = model->horizon;
  orr_objective *objective = status ? NULL : orr_objective_function(engine, &callbacks);
  if (!objective) free_learned(model);
  else model->free_user = options->free_user;
  return objective;
}
