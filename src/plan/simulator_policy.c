/* simulator_policy.c - plans that a policy proposes for the true simulator: at every step one run of
   its program chooses the actions of all proposals from their observations, and each is played on,
   on all threads. A row is a proposal. */
#include <string.h>

#include "plan/rollout.h"
#include "plan/simulator.h"
#include "tensor/tensor.h"

struct simulator_policy {
  orr_program *program;
  orr_run *run;
  orr_tensor *time;
  int n;                /* proposals that the rest was made for; 0: nothing yet */
  orr_tensor *seen;     /* [n][observation] */
  double *states;       /* [n][state] */
  orr_real *pairs;      /* [n][2][observation]: before and after a step */
  orr_status *statuses; /* [n] */
  bool *stopped;        /* [n]: ended, or cannot be played on: stays where it is */
  /* of the call in progress */
  const orr_proposing *proposing;
  int step;
};

static void free_rows(simulator *sim) {
  simulator_policy *policy = sim->policy;
  orr_tensor_free(policy->seen);
  engine_free_memory(sim->engine, policy->states);
  engine_free_memory(sim->engine, policy->pairs);
  engine_free_memory(sim->engine, policy->statuses);
  engine_free_memory(sim->engine, policy->stopped);
  policy->seen = NULL;
  policy->states = NULL;
  policy->pairs = NULL;
  policy->statuses = NULL;
  policy->stopped = NULL;
  policy->n = 0;
}

void simulator_close_policy(simulator *sim) {
  simulator_policy *policy = sim->policy;
  if (!policy) return;
  free_rows(sim);
  orr_tensor_free(policy->time);
  orr_run_free(policy->run);
  orr_program_free(policy->program);
  engine_free_memory(sim->engine, policy);
  sim->policy = NULL;
}

static bool is_fit(const simulator *sim, const orr_program *program) {
  int s = rollout_find_input(program, "s"), time = rollout_find_input(program, "time");
  int64_t seen = sim->observation, action = sim->actions;
  return s >= 0 && orr_program_input_level(program, s) == ORR_ROW &&
         shape_equal(orr_program_input_axes(program, s), orr_program_input_shape(program, s), 1,
                     &seen) &&
         (time < 0 || (orr_program_input_level(program, time) == ORR_UNIFORM &&
                       orr_program_input_axes(program, time) == 0)) &&
         rollout_output_fits(program, "action", 1, &action, true, NULL);
}

orr_status simulator_open_policy(simulator *sim, orr_program *program) {
  if (!program) return ORR_OK;
  if (!is_fit(sim, program))
    return engine_fail(sim->engine, ORR_SHAPE,
                       "a policy program for environment '%s' needs an input 's' of [%d] and an "
                       "output 'action' of [%d] for each row",
                       orr_env_name(sim->env), sim->observation, sim->actions);
  simulator_policy *policy = sim->policy = engine_new_zeroed(sim->engine, 1, sizeof *policy);
  if (!policy) return ORR_MEMORY;
  policy->program = orr_program_retain(program);
  policy->run = orr_run_new(program);
  policy->time = orr_tensor_new(sim->engine, ORR_REAL, 0, NULL);
  if (!policy->run || !policy->time) return orr_engine_status(sim->engine);
  if (rollout_find_input(program, "time") < 0) return ORR_OK;
  return orr_run_input(policy->run, "time", policy->time, NULL);
}

orr_status simulator_set_policy_input(simulator *sim, const char *name, orr_tensor *tensor,
                                      bool *found) {
  const simulator_policy *policy = sim->policy;
  if (!policy || !strcmp(name, "s") || !strcmp(name, "time") ||
      rollout_find_input(policy->program, name) < 0)
    return ORR_OK;
  *found = true;
  return orr_run_input(policy->run, name, tensor, NULL);
}

/* ---- rows ---- */

static orr_status make_rows(simulator *sim, int n) {
  simulator_policy *policy = sim->policy;
  orr_engine *engine = sim->engine;
  if (policy->n == n) return ORR_OK;
  free_rows(sim);
  size_t rows = (size_t)n, state = (size_t)orr_space_size(orr_env_state_space(sim->env));
  int64_t seen[2] = {n, sim->observation};
  policy->seen = orr_tensor_new(engine, ORR_REAL, 2, seen);
  policy->states = engine_new_zeroed(engine, rows * state + 1, sizeof(double));
  policy->pairs = engine_new_zeroed(engine, rows * 2 * (size_t)sim->observation, sizeof(orr_real));
  policy->statuses = engine_new_zeroed(engine, rows, sizeof(orr_status));
  policy->stopped = engine_new_zeroed(engine, rows, sizeof(bool));
  if (!policy->seen || !policy->states || !policy->pairs || !policy->statuses || !policy->stopped)
    return ORR_MEMORY;
  orr_status status = orr_run_input(policy->run, "s", policy->seen, NULL);
  if (!status) status = orr_run_rows(policy->run, n, 1);
  if (!status) policy->n = n;
  return status;
}

/* All start where env, or the snapshot, is. */
static orr_status begin(simulator *sim, const orr_proposing *proposing) {
  simulator_policy *policy = sim->policy;
  orr_status status = simulator_start(sim, proposing->observation);
  if (!status) status = make_rows(sim, proposing->n);
  const orr_real *observation = proposing->observation;
  if (!status && !observation) {
    status = orr_env_observe(sim->env, sim->seen);
    observation = sim->seen;
  }
  if (status) return status;
  size_t state = (size_t)orr_space_size(orr_env_state_space(sim->env));
  size_t size = (size_t)sim->observation;
  orr_real *seen = orr_tensor_data(policy->seen);
  for (size_t row = 0; row < (size_t)proposing->n; row++) {
    memcpy(policy->states + row * state, sim->state, state * sizeof(double));
    memcpy(seen + row * size, observation, size * sizeof *seen);
    policy->stopped[row] = false;
  }
  policy->proposing = proposing;
  return ORR_OK;
}

/* ---- playing ---- */

static orr_real *action_of(const simulator *sim, int row) {
  const orr_proposing *proposing = sim->policy->proposing;
  size_t at = (size_t)row * (size_t)proposing->horizon + (size_t)sim->policy->step;
  return proposing->plans + at * (size_t)sim->actions;
}

/* Noise belongs to the proposal and the step, not to the thread. */
static void play(simulator *sim, orr_env *env, int row) {
  simulator_policy *policy = sim->policy;
  size_t size = (size_t)sim->observation, wide = size * sizeof(orr_real);
  size_t states = (size_t)orr_space_size(orr_env_state_space(env));
  double *state = policy->states + (size_t)row * states;
  orr_real *pair = policy->pairs + (size_t)row * 2 * size, reward;
  bool ended = false;
  policy->statuses[row] = ORR_OK;
  if (policy->stopped[row]) return;
  *orr_env_random(env) =
      orr_random_new(mix_bits(policy->proposing->seed + (uint64_t)policy->step), (uint64_t)row);
  orr_status status =
      orr_env_rollout(env, state, action_of(sim, row), 1, &reward, pair, NULL, &ended);
  policy->statuses[row] = status;
  policy->stopped[row] = status || ended;
  if (status) return;
  orr_env_rollout_state(env, state);
  memcpy((orr_real *)orr_tensor_data(policy->seen) + (size_t)row * size, pair + size, wide);
}

static void play_task(void *context, int row, int worker) {
  simulator *sim = context;
  play(sim, sim->copies[worker], row);
}

/* As in scoring, a callback that fails for good stops it all. */
static orr_status play_alone(simulator *sim) {
  orr_random kept = *orr_env_random(sim->env);
  orr_status status = ORR_OK;
  for (int row = 0; row < sim->policy->n && !status; row++) {
    play(sim, sim->env, row);
    if (sim->policy->statuses[row] != ORR_NUMBER) status = sim->policy->statuses[row];
  }
  *orr_env_random(sim->env) = kept;
  return status;
}

/* What is not finite stays so: planners leave out such a proposal. */
static void take_actions(simulator *sim) {
  const orr_real *chosen = orr_tensor_data(orr_run_output(sim->policy->run, "action"));
  size_t actions = (size_t)sim->actions;
  orr_space *space = orr_env_action_space(sim->env);
  for (int row = 0; row < sim->policy->n; row++, chosen += actions) {
    orr_real *action = action_of(sim, row);
    memcpy(action, chosen, actions * sizeof *action);
    if (orr_space_first_non_finite(space, action) < 0) orr_space_clip(space, action);
  }
}

orr_status simulator_propose(void *user, const orr_proposing *proposing) {
  simulator *sim = user;
  simulator_policy *policy = sim->policy;
  orr_status status = begin(sim, proposing);
  for (policy->step = 0; policy->step < proposing->horizon && !status; policy->step++) {
    *(orr_real *)orr_tensor_data(policy->time) = (orr_real)(proposing->step + policy->step);
    orr_tensor_touch(policy->time);
    orr_tensor_touch(policy->seen);
    orr_run_seed(policy->run, mix_bits(proposing->seed ^ (uint64_t)policy->step), 0);
    status = orr_run_go(policy->run);
    if (status) break;
    take_actions(sim);
    if (policy->step + 1 == proposing->horizon) break;
    if (sim->copies) pool_run(sim->engine, policy->n, play_task, sim);
    else status = play_alone(sim);
  }
  policy->proposing = NULL;
  return status;
}
