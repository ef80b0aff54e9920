/* simulator_rows.c - rewards of a program or of a function, over rows (plan, particle, step). */
#include <string.h>

#include "plan/rollout.h"
#include "plan/simulator.h"

static orr_tensor *index_tensor(orr_engine *engine, int64_t rows) {
  return orr_tensor_new(engine, ORR_INT, 1, &rows);
}

static void free_index(row_indices *index) {
  orr_tensor_free(index->s);
  orr_tensor_free(index->next);
  orr_tensor_free(index->a);
  orr_tensor_free(index->t);
  *index = (row_indices){0};
}

void simulator_free_indices(struct program_rows *rows) {
  for (int i = 0; i < INDEXED; i++) free_index(&rows->indices[i]);
  rows->indexed = 0;
}

static orr_status bind(simulator *sim, const char *name, orr_tensor *tensor, orr_tensor *index) {
  if (rollout_find_input(sim->options.reward, name) < 0) return ORR_OK;
  return orr_run_input(sim->rows->run, name, tensor, index);
}

/* Rows are (plan, particle, step), the last one fastest. NULL when there is no memory. */
static row_indices *make_index(simulator *sim, int n) {
  struct program_rows *rows = sim->rows;
  for (int i = 0; i < INDEXED; i++)
    if (rows->indices[i].n == n) return &rows->indices[i];
  row_indices *index = &rows->indices[rows->oldest];
  free_index(index);
  int64_t horizon = sim->horizon, count = (int64_t)n * sim->options.particles * horizon;
  index->s = index_tensor(sim->engine, count);
  index->next = index_tensor(sim->engine, count);
  index->a = index_tensor(sim->engine, count);
  index->t = index_tensor(sim->engine, count);
  if (!index->s || !index->next || !index->a || !index->t) {
    free_index(index);
    return NULL;
  }
  int32_t *s = orr_tensor_data(index->s), *next = orr_tensor_data(index->next);
  int32_t *a = orr_tensor_data(index->a), *t = orr_tensor_data(index->t);
  for (int64_t row = 0; row < count; row++) {
    int64_t rollout = row / horizon, step = row % horizon;
    s[row] = (int32_t)(rollout * (horizon + 1) + step);
    next[row] = s[row] + 1;
    a[row] = (int32_t)(rollout / sim->options.particles * horizon + step);
    t[row] = (int32_t)step;
  }
  index->n = n;
  rows->oldest = (rows->oldest + 1) % INDEXED;
  return index;
}

orr_status simulator_index_rows(simulator *sim, int n) {
  struct program_rows *rows = sim->rows;
  if (rows->indexed == n) return ORR_OK;
  rows->indexed = 0;
  row_indices *index = make_index(sim, n);
  if (!index) return ORR_MEMORY;
  int64_t count = (int64_t)n * sim->options.particles * sim->horizon;
  orr_status status = bind(sim, "s", rows->observations, index->s);
  if (!status) status = bind(sim, "next", rows->observations, index->next);
  if (!status) status = bind(sim, "a", rows->plans, index->a);
  if (!status) status = bind(sim, "t", rows->times, index->t);
  if (!status) status = orr_run_rows(rows->run, count, 1);
  if (!status) rows->indexed = n;
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
  orr_status status = simulator_index_rows(sim, scoring->n);
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
