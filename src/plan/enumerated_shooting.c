/* enumerated_shooting.c - scores every plan there is and takes the best: all sequences of discrete
   actions, and of continuous numbers a few levels from their low to their high bound. Long horizons
   need action_repeat. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

typedef struct choices {
  int *values;    /* [actions]: how many each number can have */
  bool *discrete; /* [actions]: they are 0, 1, ... */
  int64_t stride; /* candidate i is plan i stride, modulo their number: each plan once */
} choices;

static int64_t greatest_divisor(int64_t a, int64_t b) { return b ? greatest_divisor(b, a % b) : a; }

/* So that also the first of them, where there is no time for more, are of all kinds. */
static void choose_stride(choices *shared, int64_t plans) {
  shared->stride = (int64_t)(0.618 * (double)plans) + 1;
  while (greatest_divisor(shared->stride, plans) > 1) shared->stride++;
}

static orr_status count_plans(orr_planner *planner, choices *shared) {
  const enumerated_shooting_options *options = planner->options;
  double decisions = 1, plans = 1;
  for (int a = 0; a < planner->actions; a++) decisions *= shared->values[a];
  for (int t = 0; t < planner->length && plans <= options->population; t++) plans *= decisions;
  if (plans > options->population)
    return engine_fail(
        planner->engine, ORR_ARGUMENT,
        "enumerated_shooting: %.0f actions in %d decisions are more than %.0f plans; shorten the "
        "horizon, raise action_repeat, or take another planner",
        decisions, planner->length, options->population);
  planner->population = (int)plans;
  choose_stride(shared, planner->population);
  return ORR_OK;
}

static orr_status open(orr_planner *planner) {
  const enumerated_shooting_options *options = planner->options;
  choices *shared =
      engine_new_zeroed(planner->engine, 1,
                        sizeof *shared + (size_t)planner->actions * (sizeof(int) + sizeof(bool)));
  if (!shared) return ORR_MEMORY;
  planner->shared = shared;
  shared->values = (int *)(shared + 1);
  shared->discrete = (bool *)(shared->values + planner->actions);
  for (int f = 0; f < orr_space_fields(planner->space); f++) {
    const orr_field *field = orr_space_field(planner->space, f);
    for (int64_t i = 0; i < field->count; i++) {
      shared->discrete[field->offset + i] = field->n > 0;
      shared->values[field->offset + i] = field->n > (1 << 20) ? 1 << 20
                                          : field->n > 0       ? (int)field->n
                                                               : (int)options->levels;
    }
  }
  planner->iterations = 1;
  return count_plans(planner, shared);
}

/* Plan i is i written with the first action's first number as the highest digit. */
static orr_status sample(orr_planner *planner, search *s) {
  const choices *shared = planner->shared;
  for (int i = 0; i < planner->batch; i++) {
    orr_real *plan = s->candidates + (size_t)i * (size_t)planner->variables;
    int rest = (int)(i * shared->stride % planner->population);
    for (int v = planner->variables; v-- > 0;) {
      int a = v % planner->actions, values = shared->values[a], digit = rest % values;
      orr_real share = values > 1 ? 2 * (orr_real)digit / (orr_real)(values - 1) - 1 : 0;
      plan[v] = shared->discrete[a] ? (orr_real)digit
                                    : clamp(planner->middle[a] + planner->half[a] * share,
                                            planner->low[a], planner->high[a]);
      rest /= values;
    }
  }
  return ORR_OK;
}

static void update(orr_planner *planner, search *s) {
  memcpy(s->mean, s->best, (size_t)planner->variables * sizeof(orr_real));
}

const planner_type enumerated_shooting_planner = {.open = open,
                                                  .sample = sample,
                                                  .update = update,
                                                  .shrinks = true,
                                                  .executes_best = true,
                                                  .discrete = true};
