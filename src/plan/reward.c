/* reward.c - rewards by a function of the host, called with the rows of many rollouts at once. */
#include <math.h>

#include "plan/plan.h"

orr_status reward_rows_new(reward_rows *rows, orr_engine *engine, size_t rollouts, int horizon) {
  size_t count = rollouts * (size_t)horizon;
  size_t observation = (size_t)rows->observation, actions = (size_t)rows->actions;
  reward_rows_free(rows, engine);
  rows->s = engine_new_zeroed(engine, count * (2 * observation + actions + 3), sizeof(orr_real));
  if (!rows->s) return ORR_MEMORY;
  rows->next = rows->s + count * observation;
  rows->a = rows->next + count * observation;
  rows->t = rows->a + count * actions;
  rows->rewards = rows->t + count;
  rows->terminated = rows->rewards + count;
  rows->horizon = horizon;
  return ORR_OK;
}

void reward_rows_free(reward_rows *rows, orr_engine *engine) {
  engine_free_memory(engine, rows->s);
  rows->s = NULL;
}

void reward_rows_times(reward_rows *rows, size_t rollout, int64_t step) {
  orr_real *t = rows->t + rollout * (size_t)rows->horizon;
  for (int i = 0; i < rows->horizon; i++) t[i] = (orr_real)(step + i);
}

orr_status reward_rows_run(reward_rows *rows, size_t rollouts) {
  size_t count = rollouts * (size_t)rows->horizon;
  for (size_t i = 0; i < count; i++) rows->terminated[i] = 0;
  return rows->function(rows->user, (int)count, rows->s, rows->a, rows->next, rows->t,
                        rows->rewards, rows->terminated);
}

orr_real sum_rewards(const orr_real *rewards, const orr_real *terminated, int steps) {
  double sum = 0;
  for (int t = 0; t < steps; t++) {
    sum += (double)rewards[t];
    if (terminated && terminated[t] != 0) break; /* the step that ends an episode still counts */
  }
  return (orr_real)sum;
}
