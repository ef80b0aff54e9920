/* objective_program.c - a learned rollout as an objective. Rows of the program are particles of plans:
   row = slot * n + plan, where slots are the particles sorted by the member that they use, so that
   rows are grouped by member and a tile of them has one member's weights in cache. What the slots of
   one group have in common for a plan, a program of its own works out before, its rows being
   group * n + plan. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"
#include "tensor/tensor.h"

enum {
  LAYOUTS = 16
}; /* batch sizes whose row indices are kept: planners may shrink their population */

typedef struct layout {
  int n;             /* plans; 0: unused */
  orr_tensor *index; /* int32 [n * particles]: row to plan */
  /* With a first program: its rows to plans, a view of the above, and a particle's row to its. */
  orr_tensor *first, *shared;
} layout;

typedef struct learned {
  orr_engine *engine;
  orr_program *program, *first; /* first: NULL or what particles share */
  orr_run *run, *first_run;
  int particles, groups; /* groups: members that have particles; 0: no members */
  int *entries;          /* [groups]: member that each group uses */
  int *slots;            /* [groups or 1]: particles in each */
  int64_t *sizes;        /* [groups]: rows in each */
  int horizon, actions;
  int stride;                       /* between the returns of rows: 0 when all are one number */
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

static void free_layout(layout *old) {
  orr_tensor_free(old->index);
  orr_tensor_free(old->first);
  orr_tensor_free(old->shared);
  *old = (layout){0};
}

/* The rows of the first program begin like those of the rollout, each n being all the plans. */
static bool lay_out_first(const learned *model, layout *made) {
  int groups = model->groups ? model->groups : 1;
  int64_t rows = (int64_t)made->n * model->particles;
  made->first = orr_tensor_slice(made->index, 0, 0, (int64_t)made->n * groups, 1);
  made->shared = orr_tensor_new(model->engine, ORR_INT, 1, &rows);
  if (!made->first || !made->shared) return false;
  int32_t *row = orr_tensor_data(made->shared);
  for (int g = 0; g < groups; g++)
    for (int slot = 0; slot < model->slots[g]; slot++)
      for (int plan = 0; plan < made->n; plan++) *row++ = g * made->n + plan;
  return true;
}

static int make_layout(learned *model, int n) {
  for (int i = 0; i < LAYOUTS; i++)
    if (model->layouts[i].n == n) return i;
  int64_t rows = (int64_t)n * model->particles;
  layout made = {n, orr_tensor_new(model->engine, ORR_INT, 1, &rows), NULL, NULL};
  if (!made.index) return -1;
  int32_t *plan = orr_tensor_data(made.index);
  for (int64_t row = 0; row < rows; row++) plan[row] = (int32_t)(row % n);
  if (model->first && !lay_out_first(model, &made)) {
    free_layout(&made);
    return -1;
  }
  int place = model->oldest;
  model->oldest = (place + 1) % LAYOUTS;
  free_layout(&model->layouts[place]);
  model->layouts[place] = made;
  return place;
}

/* Rows of a run: those of each group, or all of them where there are no members. */
static orr_status group_rows(const learned *model, orr_run *run, int64_t rows) {
  if (!model->groups) return orr_run_rows(run, rows, 1);
  orr_status status = orr_run_groups(run, model->groups, model->sizes);
  return status ? status : orr_run_members(run, model->entries);
}

static orr_status use_layout(learned *model, int n, orr_tensor *plans) {
  if (model->bound >= 0 && model->layouts[model->bound].n == n && model->bound_plans == plans)
    return ORR_OK;
  model->bound = -1;
  int place = make_layout(model, n);
  if (place < 0) return orr_engine_status(model->engine);
  const layout *used = &model->layouts[place];
  orr_status status = orr_run_input(model->run, "plan", plans, used->index);
  if (!status && model->first && find_input(model->first, "plan") >= 0)
    status = orr_run_input(model->first_run, "plan", plans, used->first);
  if (status) return status;
  model->bound_plans = plans;
  for (int g = 0; g < model->groups; g++) model->sizes[g] = (int64_t)n * model->slots[g];
  status = group_rows(model, model->run, (int64_t)n * model->particles);
  for (int g = 0; g < model->groups; g++) model->sizes[g] = n;
  if (!status && model->first) status = group_rows(model, model->first_run, n);
  if (!status) model->bound = place;
  return status;
}

static void free_layouts(learned *model) {
  for (int i = 0; i < LAYOUTS; i++) free_layout(&model->layouts[i]);
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

/* What the first program gives becomes the rollout's. */
static orr_status run_first(learned *model) {
  if (!model->first) return ORR_OK;
  orr_status status = orr_run_go(model->first_run);
  for (int i = 0; i < orr_program_outputs(model->first) && !status; i++) {
    const char *name = orr_program_output_name(model->first, i);
    orr_tensor *output = orr_run_output(model->first_run, name);
    if (!output) return orr_engine_status(model->engine);
    status = orr_run_input(model->run, name, output, model->layouts[model->bound].shared);
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
  *(orr_real *)orr_tensor_data(model->time) = (orr_real)scoring->step;
  orr_tensor_touch(model->time);
  orr_run_seed(model->run, scoring->seed, scoring->iteration);
  orr_run_until(model->run, scoring->deadline);
  if (model->first) orr_run_until(model->first_run, scoring->deadline);
  status = run_first(model);
  if (!status) status = orr_run_go(model->run);
  if (status) return status;
  bool states = model->rows.function != NULL;
  orr_tensor *output = orr_run_output(model->run, states ? "states" : "return");
  if (!output) return orr_engine_status(model->engine);
  if (states) status = reward_states(model, orr_tensor_data(output), scoring);
  if (!status) reduce(model, states ? model->row_returns : orr_tensor_data(output), scoring);
  return status;
}

static bool is_own(const learned *model, const char *name) {
  bool own = !strcmp(name, "state") || !strcmp(name, "plan") || !strcmp(name, "time");
  for (int i = 0; model->first && i < orr_program_outputs(model->first); i++)
    own = own || !strcmp(name, orr_program_output_name(model->first, i));
  return own;
}

static orr_status set_input(void *user, const char *name, orr_tensor *tensor) {
  learned *model = user;
  bool first = model->first && find_input(model->first, name) >= 0;
  bool rollout = find_input(model->program, name) >= 0;
  if (is_own(model, name) || (!first && !rollout))
    return engine_fail(model->engine, ORR_FIELD, "the rollout has no input '%s' to set", name);
  orr_status status = rollout ? orr_run_input(model->run, name, tensor, NULL) : ORR_OK;
  return first && !status ? orr_run_input(model->first_run, name, tensor, NULL) : status;
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

/* The inputs of the rollout, or of the first program, which needs not have them all. */
static orr_status check_inputs(const learned *model, const orr_program *program) {
  orr_engine *engine = model->engine;
  bool all = program == model->program;
  int state = find_input(program, "state"), plan = find_input(program, "plan");
  int time = find_input(program, "time");
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

static orr_status check_program(learned *model) {
  const orr_program *program = model->program;
  orr_engine *engine = model->engine;
  orr_status status = check_inputs(model, program);
  if (status) return status;
  const int64_t *plan = orr_program_input_shape(program, find_input(program, "plan"));
  const int64_t *shape = orr_program_input_shape(program, find_input(program, "state"));
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
  int i = find_input(a, name), j = find_input(b, name);
  if (i < 0 || j < 0) return true;
  return shape_equal(orr_program_input_axes(a, i), orr_program_input_shape(a, i),
                     orr_program_input_axes(b, j), orr_program_input_shape(b, j));
}

static orr_status check_first(const learned *model) {
  const orr_program *first = model->first, *rollout = model->program;
  if (!first) return ORR_OK;
  orr_status status = check_inputs(model, first);
  if (status) return status;
  if (!same_input(first, rollout, "state") || !same_input(first, rollout, "plan"))
    return engine_fail(model->engine, ORR_SHAPE,
                       "the first program's inputs have other shapes than the rollout's");
  for (int i = 0; i < orr_program_outputs(first); i++) {
    const char *name = orr_program_output_name(first, i);
    int input = find_input(rollout, name);
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

static void free_learned(void *user) {
  learned *model = user;
  if (!model) return;
  free_layouts(model);
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
  if (model->free_user) model->free_user(model->rows.user);
  orr_program_free(model->program);
  orr_program_free(model->first);
  engine_free_memory(model->engine, model);
}

/* A run with what never changes; NULL on failure. */
static orr_run *open_run(learned *model, orr_program *program) {
  orr_run *run = orr_run_new(program);
  if (!run) return NULL;
  orr_status status = ORR_OK;
  if (find_input(program, "state") >= 0) status = orr_run_input(run, "state", model->state, NULL);
  if (!status && find_input(program, "time") >= 0)
    status = orr_run_input(run, "time", model->time, NULL);
  if (!status) return run;
  orr_run_free(run);
  return NULL;
}

static orr_status open_learned(learned *model, const orr_rollout_options *options) {
  model->rows.function = options->reward_function;
  model->rows.user = options->user;
  orr_status status = check_program(model);
  if (!status) status = check_first(model);
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
  if (!(model->run = open_run(model, model->program))) return orr_engine_status(model->engine);
  if (model->first && !(model->first_run = open_run(model, model->first)))
    return orr_engine_status(model->engine);
  return ORR_OK;
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
  if (options->first) model->first = orr_program_retain(options->first);
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
  callbacks.any_thread = !options->reward_function;
  orr_objective *objective = status ? NULL : orr_objective_function(engine, &callbacks);
  if (!objective) free_learned(model);
  else model->free_user = options->free_user;
  return objective;
}
