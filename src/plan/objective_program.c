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
  bool timed;                       /* the program has an input "time" */
  orr_tensor *state, *time, *plans; /* plans: [capacity, horizon, actions] */
  int capacity;
  layout layouts[LAYOUTS];
  int bound; /* the layout in force; -1: none */
  int oldest;
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

static orr_status use_layout(learned *model, int n) {
  if (model->bound >= 0 && model->layouts[model->bound].n == n) return ORR_OK;
  model->bound = -1;
  int place = make_layout(model, n);
  if (place < 0) return orr_engine_status(model->engine);
  orr_status status = orr_run_input(model->run, "plan", model->plans, model->layouts[place].index);
  if (status) return status;
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
    model->capacity = n;
  }
  return use_layout(model, n);
}

/* ---- scoring ---- */

/* The mean over particles, in the order of slots. One that is not finite spoils its plan: a sum of
   infinities may be NaN or infinite, and either ranks last. */
static void reduce(const learned *model, const orr_real *returns, const orr_scoring *scoring) {
  int n = scoring->n;
  for (int plan = 0; plan < n; plan++) {
    double sum = 0;
    for (int slot = 0; slot < model->particles; slot++) sum += (double)returns[slot * n + plan];
    scoring->returns[plan] = (orr_real)(sum / model->particles);
  }
}

static orr_status score(void *user, const orr_scoring *scoring) {
  learned *model = user;
  orr_status status = use_layout(model, scoring->n);
  if (status) return status;
  memcpy(orr_tensor_data(model->state), scoring->observation,
         (size_t)orr_tensor_count(model->state) * sizeof(orr_real));
  memcpy(orr_tensor_data(model->plans), scoring->plans,
         (size_t)scoring->n * (size_t)model->horizon * (size_t)model->actions * sizeof(orr_real));
  orr_tensor_touch(model->state);
  orr_tensor_touch(model->plans);
  if (model->timed) {
    *(orr_real *)orr_tensor_data(model->time) = (orr_real)scoring->step;
    orr_tensor_touch(model->time);
  }
  orr_run_seed(model->run, scoring->seed, scoring->iteration);
  status = orr_run_go(model->run);
  if (status) return status;
  orr_tensor *returns = orr_run_output(model->run, "return");
  if (!returns) return orr_engine_status(model->engine);
  reduce(model, orr_tensor_data(returns), scoring);
  return ORR_OK;
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
  for (int i = 0; i < orr_program_outputs(program); i++) {
    if (strcmp(orr_program_output_name(program, i), "return")) continue;
    if (orr_program_output_level(program, i) != ORR_ROW || orr_program_output_axes(program, i))
      break;
    const int64_t *shape = orr_program_input_shape(program, state);
    model->state = orr_tensor_new(engine, ORR_REAL, 1, shape);
    model->time = orr_tensor_new(engine, ORR_REAL, 0, NULL);
    return model->state && model->time ? ORR_OK : ORR_MEMORY;
  }
  return engine_fail(engine, ORR_SHAPE, "a rollout needs an output 'return' of one number a row");
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
  engine_free_memory(model->engine, model->entries);
  engine_free_memory(model->engine, model->slots);
  engine_free_memory(model->engine, model->sizes);
  orr_program_free(model->program);
  engine_free_memory(model->engine, model);
}

static orr_status open_learned(learned *model, const orr_rollout_options *options) {
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
  return objective;
}
