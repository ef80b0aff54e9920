/* objective_env.c - the true simulator as an objective: every plan is played from the environment's
   present state, on a copy of it per thread. With a reward program the observations are kept, and
   one run of the program over all (plan, particle, step) rows follows. */
#include <math.h>
#include <string.h>

#include "plan/rollout.h"
#include "plan/simulator.h"

enum { ROLLOUTS_PER_TASK = 2 };

/* ---- playing ---- */

static void play(simulator *sim, orr_env *env, int rollout) {
  const orr_scoring *scoring = sim->scoring;
  int plan = rollout / sim->options.particles;
  size_t horizon = (size_t)sim->horizon, wide = (horizon + 1) * (size_t)sim->observation;
  /* noise belongs to the rollout, not to the thread that plays it; variants of a plan share it */
  int shared = plan / (scoring->variants > 1 ? scoring->variants : 1);
  *orr_env_random(env) = orr_random_new(mix_bits(scoring->seed + scoring->iteration),
                                        (uint64_t)shared * (uint64_t)sim->options.particles +
                                            (uint64_t)(rollout % sim->options.particles));
  size_t states = (size_t)orr_space_size(orr_env_state_space(env));
  const double *start = sim->starts ? sim->starts + (size_t)rollout * states : sim->state;
  sim->statuses[rollout] =
      orr_env_rollout(env, start, scoring->plans + (size_t)plan * horizon * (size_t)sim->actions,
                      sim->horizon, sim->rewards + (size_t)rollout * horizon,
                      sim->observations ? sim->observations + (size_t)rollout * wide : NULL,
                      &sim->steps[rollout], &sim->ended[rollout]);
  if (sim->ends) orr_env_rollout_state(env, sim->ends + (size_t)rollout * states);
}

/* Whether nobody waits for what remains to be played. */
static bool is_over(const simulator *sim) {
  return sim->scoring->deadline > 0 && orr_clock() > sim->scoring->deadline;
}

static void play_task(void *context, int task, int worker) {
  simulator *sim = context;
  int rollouts = sim->scoring->n * sim->options.particles;
  int first = task * ROLLOUTS_PER_TASK, last = first + ROLLOUTS_PER_TASK;
  if (is_over(sim)) return;
  for (int r = first; r < last && r < rollouts; r++) play(sim, sim->copies[worker], r);
}

/* Callbacks that keep to one thread may fail for good: a script error is no bad plan. */
static orr_status play_alone(simulator *sim) {
  orr_random kept = *orr_env_random(sim->env);
  orr_status status = ORR_OK;
  int rollouts = sim->scoring->n * sim->options.particles;
  for (int r = 0; r < rollouts && !status; r++) {
    if (is_over(sim)) break;
    play(sim, sim->env, r);
    if (sim->statuses[r] != ORR_NUMBER) status = sim->statuses[r];
  }
  *orr_env_random(sim->env) = kept;
  return status;
}

/* ---- the objective ---- */

static orr_status make_copies(simulator *sim) {
  int workers = orr_engine_threads(sim->engine);
  if (!orr_env_thread_safe(sim->env) || workers <= sim->workers) return ORR_OK;
  orr_env **copies = engine_resize(sim->engine, sim->copies, (size_t)workers, sizeof(orr_env *));
  if (!copies) return ORR_MEMORY;
  sim->copies = copies;
  for (; sim->workers < workers; sim->workers++) {
    copies[sim->workers] = orr_env_copy(sim->workers ? copies[0] : sim->env);
    if (!copies[sim->workers]) return orr_engine_status(sim->engine);
  }
  return ORR_OK;
}

/* Planning for one environment while another one is stepped would go unnoticed otherwise. */
static orr_status check_observation(simulator *sim, const orr_real *given) {
  if (!given || sim->options.any_observation) return ORR_OK;
  if (orr_env_ended(sim->env) && orr_env_steps(sim->env) == 0)
    return engine_fail(sim->engine, ORR_STATE,
                       "environment '%s', on which plans are tried, has not begun: reset it, and "
                       "plan for the one that is stepped",
                       orr_env_name(sim->env));
  if (orr_env_observe(sim->env, sim->seen)) return ORR_OK; /* it cannot tell */
  for (int i = 0; i < sim->observation; i++) {
    double apart = fabs((double)given[i] - (double)sim->seen[i]);
    if (apart <= 1e-4 * (1 + fabs((double)sim->seen[i]))) continue;
    char name[ORR_FIELD_NAME + 16];
    orr_space_element_name(orr_env_observation_space(sim->env), i, name, sizeof name);
    return engine_fail(
        sim->engine, ORR_STATE,
        "the observation has %s = %g, but environment '%s', on which plans are tried, "
        "has %g: step that environment, not another one",
        name, (double)given[i], orr_env_name(sim->env), (double)sim->seen[i]);
  }
  return ORR_OK;
}

static size_t state_bytes(const simulator *sim) {
  return (size_t)orr_space_size(orr_env_state_space(sim->env)) * sizeof(double);
}

/* On the host's thread: env and `seen` are not looked at by another one that scores by a
   snapshot. */
static orr_status take_snapshot(void *user, const orr_real *observation, void *snapshot) {
  simulator *sim = user;
  orr_status status = check_observation(sim, observation);
  return status ? status : orr_env_get_state(sim->env, snapshot);
}

static void use_snapshot(void *user, const void *snapshot) {
  simulator *sim = user;
  sim->snapshot = snapshot;
}

orr_status simulator_start(simulator *sim, const orr_real *observation) {
  orr_status status = ORR_OK;
  if (sim->starts) {
    /* every rollout has a start of its own: env is not looked at */
  } else if (sim->snapshot) {
    memcpy(sim->state, sim->snapshot, state_bytes(sim));
  } else {
    status = check_observation(sim, observation);
    if (!status) status = orr_env_get_state(sim->env, sim->state);
  }
  return status ? status : make_copies(sim);
}

orr_status simulator_score(void *user, const orr_scoring *scoring) {
  simulator *sim = user;
  orr_status status = simulator_start(sim, scoring->iteration ? NULL : scoring->observation);
  if (status) return status;
  sim->scoring = scoring;
  int rollouts = scoring->n * sim->options.particles;
  if (sim->copies)
    pool_run(sim->engine, (rollouts + ROLLOUTS_PER_TASK - 1) / ROLLOUTS_PER_TASK, play_task, sim);
  else status = play_alone(sim);
  if (!status && is_over(sim))
    status = engine_fail(sim->engine, ORR_LATE, "the simulator's deadline has passed");
  if (!status && sim->options.reward) status = simulator_run_program(sim);
  if (!status && sim->options.reward_function) status = simulator_run_function(sim);
  if (!status) status = simulator_weigh(sim);
  sim->scoring = NULL;
  return status;
}

orr_status simulator_set_input(void *user, const char *name, orr_tensor *tensor) {
  simulator *sim = user;
  static const char *const bound[] = {"s", "a", "next", "t"};
  bool known = sim->options.reward && rollout_find_input(sim->options.reward, name) >= 0;
  for (size_t i = 0; i < COUNT(bound); i++) known = known && strcmp(name, bound[i]) != 0;
  bool found = false;
  orr_status status = simulator_set_value_input(sim, name, tensor, &found);
  if (!status) status = simulator_set_policy_input(sim, name, tensor, &found);
  if (status || (!known && found)) return status;
  if (!known)
    return engine_fail(sim->engine, ORR_FIELD, "the simulator's reward has no input '%s' to set",
                       name);
  status = orr_run_input(sim->rows->run, name, tensor, NULL);
  if (status || sim->starts) return status;
  return simulator_linear_set_input(sim, name, tensor);
}

static void free_buffers(simulator *sim) {
  orr_engine *engine = sim->engine;
  if (sim->rows) {
    for (int i = 0; i < ROW_INPUTS; i++) {
      orr_tensor_free(sim->rows->indices[i]);
      sim->rows->indices[i] = NULL;
    }
    sim->rows->n = 0;
    orr_tensor_free(sim->rows->observations);
    orr_tensor_free(sim->rows->plans);
    orr_tensor_free(sim->rows->times);
    sim->rows->observations = sim->rows->plans = sim->rows->times = NULL;
  }
  if (!sim->rows) engine_free_memory(engine, sim->observations);
  reward_rows_free(&sim->function, engine);
  engine_free_memory(engine, sim->rewards);
  engine_free_memory(engine, sim->steps);
  engine_free_memory(engine, sim->statuses);
  engine_free_memory(engine, sim->ended);
  sim->ended = NULL;
  sim->rewards = sim->observations = NULL;
  sim->steps = NULL;
  sim->statuses = NULL;
  sim->capacity = 0;
}

/* The program reads the observations in place. */
static orr_status program_buffers(simulator *sim, int64_t n) {
  struct program_rows *rows = sim->rows;
  int64_t horizon = sim->horizon;
  int64_t seen[2] = {n * sim->options.particles * (horizon + 1), sim->observation};
  int64_t taken[2] = {n * horizon, sim->actions};
  rows->observations = orr_tensor_new(sim->engine, ORR_REAL, 2, seen);
  rows->plans = orr_tensor_new(sim->engine, ORR_REAL, 2, taken);
  rows->times = orr_tensor_new(sim->engine, ORR_REAL, 1, &horizon);
  if (!rows->observations || !rows->plans || !rows->times) return ORR_MEMORY;
  sim->observations = orr_tensor_data(rows->observations);
  return ORR_OK;
}

static orr_status observation_buffer(simulator *sim, size_t rollouts) {
  size_t seen = rollouts * ((size_t)sim->horizon + 1) * (size_t)sim->observation;
  sim->observations = engine_new_zeroed(sim->engine, seen, sizeof(orr_real));
  return sim->observations ? ORR_OK : ORR_MEMORY;
}

static orr_status function_buffers(simulator *sim, size_t rollouts) {
  return reward_rows_new(&sim->function, sim->engine, rollouts, sim->horizon);
}

orr_status simulator_prepare(void *user, int n, int horizon) {
  simulator *sim = user;
  int64_t rollouts = (int64_t)n * sim->options.particles;
  if (rollouts * (horizon + 1) > INT32_MAX / (sim->observation + sim->actions))
    return engine_fail(sim->engine, ORR_ARGUMENT,
                       "simulator: %d plans of %d steps with %d particles are too many", n, horizon,
                       sim->options.particles);
  free_buffers(sim);
  sim->horizon = horizon;
  sim->rewards = engine_new_zeroed(sim->engine, (size_t)(rollouts * horizon), sizeof(orr_real));
  sim->steps = engine_new_zeroed(sim->engine, (size_t)rollouts, sizeof(int));
  sim->statuses = engine_new_zeroed(sim->engine, (size_t)rollouts, sizeof(orr_status));
  sim->ended = engine_new_zeroed(sim->engine, (size_t)rollouts, sizeof(bool));
  orr_status status =
      sim->rewards && sim->steps && sim->statuses && sim->ended ? ORR_OK : ORR_MEMORY;
  if (!status && sim->options.reward) status = program_buffers(sim, n);
  if (!status && sim->options.reward) status = simulator_index_rows(sim, n);
  if (!status && !sim->rows && (sim->options.reward_function || sim->options.value))
    status = observation_buffer(sim, (size_t)rollouts);
  if (!status && sim->options.reward_function) status = function_buffers(sim, (size_t)rollouts);
  if (!status) status = simulator_prepare_worth(sim, n);
  if (!status) status = make_copies(sim);
  if (!status) sim->capacity = n;
  return status;
}

void simulator_free(void *user) {
  simulator *sim = user;
  if (!sim) return;
  simulator_close_linear(sim);
  simulator_close_policy(sim);
  simulator_free_inputs(sim);
  free_buffers(sim);
  for (int i = 0; i < sim->workers; i++) orr_env_free(sim->copies[i]);
  engine_free_memory(sim->engine, sim->copies);
  engine_free_memory(sim->engine, sim->state);
  engine_free_memory(sim->engine, sim->seen);
  if (sim->rows) orr_run_free(sim->rows->run);
  engine_free_memory(sim->engine, sim->rows);
  orr_program_free(sim->options.reward);
  simulator_close_worth(sim);
  if (sim->options.free_user) sim->options.free_user(sim->options.user);
  orr_env_free(sim->env);
  engine_free_memory(sim->engine, sim);
}

orr_simulator_options orr_simulator_options_defaults(void) {
  return (orr_simulator_options){.size = sizeof(orr_simulator_options), .particles = 1};
}

static orr_status check_rows(const simulator *sim) {
  const struct {
    const char *name;
    int64_t count;
  } rows[] = {{"s", sim->observation}, {"next", sim->observation}, {"a", sim->actions}, {"t", 1}};
  const orr_program *program = sim->options.reward;
  for (int i = 0; i < orr_program_inputs(program); i++) {
    for (size_t j = 0; j < COUNT(rows); j++) {
      if (strcmp(orr_program_input_name(program, i), rows[j].name)) continue;
      int64_t count = 1;
      for (int axis = 0; axis < orr_program_input_axes(program, i); axis++)
        count *= orr_program_input_shape(program, i)[axis];
      if (orr_program_input_level(program, i) != ORR_ROW || count != rows[j].count)
        return engine_fail(sim->engine, ORR_SHAPE,
                           "reward program: input '%s' has %lld numbers a sample, but environment "
                           "'%s' gives %lld a row",
                           rows[j].name, (long long)count, orr_env_name(sim->env),
                           (long long)rows[j].count);
    }
  }
  for (int i = 0; i < orr_program_outputs(program); i++)
    if (!strcmp(orr_program_output_name(program, i), "reward") &&
        !orr_program_output_axes(program, i))
      return ORR_OK;
  /* one that only ends episodes or has events leaves the environment's rewards */
  if (rollout_find_output(program, "reward") < 0 &&
      (rollout_find_output(program, "terminated") >= 0 ||
       rollout_find_output(program, "events") >= 0))
    return ORR_OK;
  return engine_fail(sim->engine, ORR_SHAPE,
                     "a reward program needs an output 'reward' of one number a row");
}

static orr_status open_simulator(simulator *sim, const orr_simulator_options *options) {
  orr_engine *engine = sim->engine;
  if (!orr_env_state_space(sim->env))
    return engine_fail(
        engine, ORR_STATE,
        "environment '%s' hides its state, so plans cannot be tried on it: declare state "
        "fields, or plan with a learned model",
        orr_env_name(sim->env));
  if (options->particles < 1 || options->particles > 1000000)
    return engine_fail(engine, ORR_ARGUMENT, "simulator: %d particles, must be 1 .. 1000000",
                       options->particles);
  if (options->reward && options->reward_function)
    return engine_fail(engine, ORR_ARGUMENT,
                       "simulator: a reward program and a reward function, not both");
  sim->observation = (int)orr_space_size(orr_env_observation_space(sim->env));
  sim->actions = (int)orr_space_size(orr_env_action_space(sim->env));
  sim->state = engine_new_zeroed(engine, (size_t)orr_space_size(orr_env_state_space(sim->env)) + 1,
                                 sizeof(double));
  sim->options = *options;
  sim->options.reward = sim->options.value = sim->options.policy = NULL;
  sim->options.limits = NULL;
  sim->options.free_user = NULL; /* until nothing can fail any more */
  sim->seen = engine_new_zeroed(engine, (size_t)sim->observation + 1, sizeof(orr_real));
  if (!sim->state || !sim->seen) return ORR_MEMORY;
  sim->function = (reward_rows){.function = options->reward_function,
                                .user = options->user,
                                .observation = sim->observation,
                                .actions = sim->actions};
  orr_status status = simulator_open_worth(sim, options);
  if (!status) status = simulator_open_policy(sim, options->policy);
  if (status || !options->reward) return status;
  sim->rows = engine_new_zeroed(engine, 1, sizeof *sim->rows);
  if (!sim->rows) return ORR_MEMORY;
  sim->options.reward = orr_program_retain(options->reward);
  status = check_rows(sim);
  if (status) return status;
  sim->rows->run = orr_run_new(options->reward);
  return sim->rows->run ? ORR_OK : orr_engine_status(engine);
}

simulator *simulator_new(orr_engine *engine, orr_env *env, const orr_simulator_options *options) {
  simulator *sim = engine_new_zeroed(engine, 1, sizeof *sim);
  if (!sim) return NULL;
  sim->engine = engine;
  sim->env = orr_env_retain(env);
  if (!open_simulator(sim, options)) return sim;
  simulator_free(sim);
  return NULL;
}

orr_objective *orr_objective_env(orr_engine *engine, orr_env *env,
                                 const orr_simulator_options *given) {
  orr_simulator_options options = orr_simulator_options_defaults();
  if (READ_OPTIONS(engine, orr_simulator_options, &options, given)) return NULL;
  if (!env) {
    engine_fail(engine, ORR_ARGUMENT, "orr_objective_env needs an environment");
    return NULL;
  }
  simulator *sim = simulator_new(engine, env, &options);
  if (!sim) return NULL;
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.name = orr_env_name(env);
  callbacks.user = sim;
  callbacks.score = simulator_score;
  callbacks.prepare = simulator_prepare;
  callbacks.set_input = simulator_set_input;
  callbacks.differences = true;
  callbacks.state_size = (int)orr_space_size(orr_env_state_space(env));
  callbacks.linearise = simulator_linearise;
  callbacks.propose = sim->policy ? simulator_propose : NULL;
  callbacks.free_user = simulator_free;
  callbacks.observation = orr_env_observation_space(env);
  callbacks.action = orr_env_action_space(env);
  callbacks.violations = sim->options.constraints > 0;
  callbacks.any_thread = !sim->options.reward_function && orr_env_thread_safe(env);
  callbacks.snapshot_size = state_bytes(sim);
  callbacks.take_snapshot = take_snapshot;
  callbacks.use_snapshot = use_snapshot;
  orr_objective *objective = orr_objective_function(engine, &callbacks);
  if (!objective) simulator_free(sim);
  else sim->options.free_user = options.free_user;
  return objective;
}
