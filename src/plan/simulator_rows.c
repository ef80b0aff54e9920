/* simulator_rows.c - rewards of a program or of a function, over rows (plan, particle, step). */
#include <string.h>

#include "plan/rollout.h"
#include "plan/simulator.h"
#include "tensor/tensor.h"

/* Rows are (plan, particle, step), the last one fastest: where one finds what it reads does not
   depend on how many there are. */
orr_status simulator_index_rows(simulator *sim, int n) {
  struct program_rows *rows = sim->rows;
  int64_t horizon = sim->horizon, count = (int64_t)n * sim->options.particles * horizon;
  int32_t *at[ROW_INPUTS];
  rows->n = 0;
  for (int i = 0; i < ROW_INPUTS; i++) {
    if (!tensor_make_room(sim->engine, &rows->indices[i], ORR_INT, 1, &count)) return ORR_MEMORY;
    at[i] = orr_tensor_data(rows->indices[i]);
  }
  for (int64_t row = 0; row < count; row++) {
    int64_t rollout = row / horizon, step = row % horizon;
    at[ROW_S][row] = (int32_t)(rollout * (horizon + 1) + step);
    at[ROW_NEXT][row] = at[ROW_S][row] + 1;
    at[ROW_A][row] = (int32_t)(rollout / sim->options.particles * horizon + step);
    at[ROW_T][row] = (int32_t)step;
  }
  orr_status status = simulator_use_rows(sim, n);
  return status ? status : orr_run_prepare(rows->run);
}

orr_status simulator_use_rows(simulator *sim, int n) {
  struct program_rows *rows = sim->rows;
  static const char *const names[] = {
      [ROW_S] = "s", [ROW_NEXT] = "next", [ROW_A] = "a", [ROW_T] = "t"};
  orr_tensor *const read[] = {[ROW_S] = rows->observations,
                              [ROW_NEXT] = rows->observations,
                              [ROW_A] = rows->plans,
                              [ROW_T] = rows->times};
  int64_t count = (int64_t)n * sim->options.particles * sim->horizon;
  if (rows->n == n) return ORR_OK;
  rows->n = 0;
  orr_status status = orr_run_rows(rows->run, count, 1);
  for (int i = 0; i < ROW_INPUTS && !status; i++) {
    if (!tensor_make_room(sim->engine, &rows->indices[i], ORR_INT, 1, &count)) return ORR_MEMORY;
    if (rollout_find_input(sim->options.reward, names[i]) >= 0)
      status = orr_run_input(rows->run, names[i], read[i], rows->indices[i]);
  }
  if (!status) rows->n = n;
  return status;
}

/* rewards[row * stride], stride 0 being the same for every row. */
static void replace_rewards(simulator *sim, const orr_real *rewards, int reward_stride,
                            const orr_real *terminated, int terminated_stride) {
  int rollouts = sim->scoring->n * sim->options.particles;
  for (int r = 0; r < rollouts; r++) {
    for (int t = 0; t < sim->horizon; t++) {
      int64_t row = (int64_t)r * sim->horizon + t;
      if (rewards && t < sim->steps[r]) sim->rewards[row] = rewards[row * reward_stride];
      /* the step that ends an episode still counts */
      if (terminated && t < sim->steps[r] && terminated[row * terminated_stride] != 0) {
        sim->steps[r] = t + 1;
        sim->ended[r] = true;
      }
    }
  }
}

/* NULL when there is none. A reward that looks at nothing is no ROW. */
static const orr_real *output(simulator *sim, const char *name, int *stride) {
  const orr_program *program = sim->options.reward;
  for (int i = 0; i < orr_program_outputs(program); i++) {
    if (strcmp(orr_program_output_name(program, i), name)) continue;
    *stride = orr_program_output_level(program, i) == ORR_ROW;
    return orr_tensor_data(orr_run_output(sim->rows->run, name));
  }
  return NULL;
}

orr_status simulator_run_program(simulator *sim) {
  const orr_scoring *scoring = sim->scoring;
  struct program_rows *rows = sim->rows;
  orr_status status = simulator_use_rows(sim, scoring->n);
  if (status) return status;
  memcpy(orr_tensor_data(rows->plans), scoring->plans,
         (size_t)scoring->n * (size_t)sim->horizon * (size_t)sim->actions * sizeof(orr_real));
  orr_real *times = orr_tensor_data(rows->times);
  for (int t = 0; t < sim->horizon; t++) times[t] = (orr_real)(scoring->step + t);
  orr_tensor_touch(rows->observations);
  orr_tensor_touch(rows->plans);
  orr_tensor_touch(rows->times);
  orr_run_seed(rows->run, scoring->seed, scoring->iteration);
  orr_run_until(rows->run, scoring->deadline);
  status = orr_run_go(rows->run);
  if (status) return status;
  int strides[2] = {0, 0};
  const orr_real *reward = output(sim, "reward", &strides[0]);
  const orr_real *terminated = output(sim, "terminated", &strides[1]);
  replace_rewards(sim, reward, strides[0], terminated, strides[1]);
  int of_events = 0;
  const orr_real *events = output(sim, "events", &of_events);
  simulator_note_events(sim, events, of_events * sim->options.constraints);
  return ORR_OK;
}

orr_status simulator_run_function(simulator *sim) {
  const orr_scoring *scoring = sim->scoring;
  reward_rows *rows = &sim->function;
  size_t observation = (size_t)sim->observation, horizon = (size_t)sim->horizon;
  size_t wide = horizon * (size_t)sim->actions;
  int rollouts = scoring->n * sim->options.particles;
  for (size_t r = 0; r < (size_t)rollouts; r++) {
    const orr_real *seen = sim->observations + r * (horizon + 1) * observation;
    size_t bytes = horizon * observation * sizeof(orr_real);
    memcpy(rows->s + r * horizon * observation, seen, bytes);
    memcpy(rows->next + r * horizon * observation, seen + observation, bytes);
    memcpy(rows->a + r * wide, scoring->plans + r / (size_t)sim->options.particles * wide,
           wide * sizeof(orr_real));
    reward_rows_times(rows, r, scoring->step);
  }
  orr_status status = reward_rows_run(rows, (size_t)rollouts);
  if (!status) replace_rewards(sim, rows->rewards, 1, rows->terminated, 1);
  return status;
}
