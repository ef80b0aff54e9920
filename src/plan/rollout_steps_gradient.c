/* rollout_steps_gradient.c - gradients of returns under TS1. The steps are run and what particles
   carried into each is kept; then a program of its own, the pullback of one step, takes the
   derivative with respect to what a step gave to that with respect to what it was given, from the
   last step to the first:

     after_t-1[order[slot]] = d return / d carry_t[slot]      gradient_t = sum of d return / d action_t

   order being how particles changed members in between. The first `after` is the slope of the end,
   times what the particle weighs in its plan's risk. */
#include <math.h>
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

struct rollout_slopes {
  orr_program *program;
  orr_run *run;
  int width;                 /* numbers that a particle carries */
  int n;                     /* plans that the rest was made for; 0: nothing yet */
  orr_real *kept;            /* [horizon][n * particles][width] */
  orr_tensor *carry, *after; /* [n * particles, width] */
  double *values;            /* [3][particles], for rollout_weigh */
};

static void free_rows(learned *model) {
  rollout_slopes *slopes = model->slopes;
  orr_tensor_free(slopes->carry);
  orr_tensor_free(slopes->after);
  engine_free_memory(model->engine, slopes->kept);
  slopes->carry = slopes->after = NULL;
  slopes->kept = NULL;
  slopes->n = 0;
}

void rollout_close_slopes(learned *model) {
  rollout_slopes *slopes = model->slopes;
  if (!slopes) return;
  free_rows(model);
  orr_run_free(slopes->run);
  orr_program_free(slopes->program);
  engine_free_memory(model->engine, slopes->values);
  engine_free_memory(model->engine, slopes);
  model->slopes = NULL;
}

static bool has_row_input(const orr_program *program, const char *name, int64_t size) {
  int input = rollout_find_input(program, name);
  return input >= 0 && orr_program_input_level(program, input) == ORR_ROW &&
         shape_equal(orr_program_input_axes(program, input),
                     orr_program_input_shape(program, input), 1, &size);
}

orr_status rollout_open_slopes(learned *model, orr_program *program, int width) {
  if (!program) return ORR_OK;
  int64_t carry = width, action = model->actions;
  if (!has_row_input(program, "carry", carry) || !has_row_input(program, "action", action) ||
      !has_row_input(program, "after", carry) ||
      !rollout_output_fits(program, "carry", 1, &carry, true, NULL) ||
      !rollout_output_fits(program, "action", 1, &action, true, NULL) ||
      !rollout_output_fits(model->finish, "slope", 1, &carry, true, NULL))
    return engine_fail(
        model->engine, ORR_SHAPE,
        "gradients with TS1 need a program with inputs 'carry' and 'after' [%d] and "
        "'action' [%d], and outputs 'carry' and 'action', and an output 'slope' [%d] "
        "of the program that ends a rollout, all for each row",
        width, model->actions, width);
  rollout_slopes *slopes = model->slopes = engine_new_zeroed(model->engine, 1, sizeof *slopes);
  if (!slopes) return ORR_MEMORY;
  slopes->width = width;
  slopes->program = orr_program_retain(program);
  slopes->run = orr_run_new(program);
  slopes->values = engine_new_zeroed(model->engine, 3 * (size_t)model->particles, sizeof(double));
  if (!slopes->run || !slopes->values) return orr_engine_status(model->engine);
  if (rollout_find_input(program, "time") < 0) return ORR_OK;
  return orr_run_input(slopes->run, "time", model->time, NULL);
}

orr_status rollout_set_slopes_input(learned *model, const char *name, orr_tensor *tensor,
                                    bool *found) {
  if (!model->slopes || rollout_find_input(model->slopes->program, name) < 0) return ORR_OK;
  *found = true;
  return orr_run_input(model->slopes->run, name, tensor, NULL);
}

/* ---- rows: those of the steps ---- */

static orr_status lay_out(learned *model, int n) {
  rollout_slopes *slopes = model->slopes;
  if (slopes->n == n) return ORR_OK;
  int64_t rows = (int64_t)n * model->particles, carry[2] = {rows, slopes->width};
  size_t numbers = (size_t)rows * (size_t)slopes->width;
  free_rows(model);
  slopes->carry = orr_tensor_new(model->engine, ORR_REAL, 2, carry);
  slopes->after = orr_tensor_new(model->engine, ORR_REAL, 2, carry);
  slopes->kept =
      engine_new_zeroed(model->engine, numbers, (size_t)model->horizon * sizeof(orr_real));
  if (!slopes->carry || !slopes->after || !slopes->kept) return ORR_MEMORY;
  orr_status status = orr_run_input(slopes->run, "carry", slopes->carry, NULL);
  if (!status) status = orr_run_input(slopes->run, "after", slopes->after, NULL);
  for (int g = 0; g < model->groups; g++) model->sizes[g] = (int64_t)n * model->slots[g];
  if (!status) status = rollout_group_rows(model, slopes->run, rows);
  if (!status) slopes->n = n;
  return status;
}

/* ---- backwards ---- */

/* Returns, and what each particle's end adds to its plan's. */
static void begin(learned *model, const orr_scoring *scoring, orr_run *finish) {
  rollout_slopes *slopes = model->slopes;
  const orr_real *returns = orr_tensor_data(orr_run_output(finish, "return"));
  const orr_real *slope = orr_tensor_data(orr_run_output(finish, "slope"));
  const double *weights = slopes->values + 2 * model->particles;
  orr_real *after = orr_tensor_data(slopes->after);
  size_t n = (size_t)scoring->n, width = (size_t)slopes->width;
  for (size_t plan = 0; plan < n; plan++) {
    double worth = rollout_weigh(model, returns, (size_t)model->stride, plan, n, slopes->values);
    scoring->returns[plan] = (orr_real)worth;
    for (size_t slot = 0; slot < (size_t)model->particles; slot++) {
      size_t at = (slot * n + plan) * width;
      orr_real weight = isnan(worth) ? 0 : (orr_real)weights[slot];
      for (size_t i = 0; i < width; i++) after[at + i] = weight != 0 ? weight * slope[at + i] : 0;
    }
  }
}

static orr_status pull_back(learned *model, const orr_scoring *scoring, int t) {
  rollout_slopes *slopes = model->slopes;
  size_t numbers = (size_t)orr_tensor_count(slopes->carry);
  memcpy(orr_tensor_data(slopes->carry), slopes->kept + (size_t)t * numbers,
         numbers * sizeof(orr_real));
  orr_tensor_touch(slopes->carry);
  orr_tensor_touch(slopes->after);
  return rollout_run_step(model, slopes->run, scoring, t);
}

/* In the order of slots. */
static void add_gradients(const learned *model, const orr_scoring *scoring, int t) {
  const orr_real *of_rows = orr_tensor_data(orr_run_output(model->slopes->run, "action"));
  size_t n = (size_t)scoring->n, actions = (size_t)model->actions, horizon = (size_t)model->horizon;
  for (size_t plan = 0; plan < n; plan++) {
    orr_real *out = scoring->gradients + (plan * horizon + (size_t)t) * actions;
    for (size_t a = 0; a < actions; a++) out[a] = isnan(scoring->returns[plan]) ? (orr_real)NAN : 0;
    for (size_t slot = 0; slot < (size_t)model->particles; slot++)
      for (size_t a = 0; a < actions; a++) out[a] += of_rows[(slot * n + plan) * actions + a];
  }
}

/* What is known of the carry goes to the rows that it came from before particles changed members. */
static void give_back(learned *model, const orr_scoring *scoring, int t) {
  rollout_slopes *slopes = model->slopes;
  const orr_real *given = orr_tensor_data(orr_run_output(slopes->run, "carry"));
  orr_real *after = orr_tensor_data(slopes->after);
  size_t n = (size_t)scoring->n, width = (size_t)slopes->width;
  for (size_t plan = 0; plan < n; plan++) {
    const int32_t *order = rollout_order_after(model, scoring, t, (int)plan);
    for (size_t slot = 0; slot < (size_t)model->particles; slot++)
      memcpy(after + ((size_t)order[slot] * n + plan) * width, given + (slot * n + plan) * width,
             width * sizeof *after);
  }
}

orr_status rollout_score_slopes(learned *model, const orr_scoring *scoring) {
  rollout_slopes *slopes = model->slopes;
  orr_run *finish = NULL;
  orr_status status = rollout_prepare_steps(model, scoring->n);
  if (!status) status = lay_out(model, scoring->n);
  if (!status) status = rollout_bind_actions(model, slopes->run);
  if (!status) status = rollout_run_steps(model, scoring, slopes->kept, &finish);
  if (status) return status;
  begin(model, scoring, finish);
  for (int t = model->horizon - 1; t >= 0 && !status; t--) {
    status = pull_back(model, scoring, t);
    if (status) break;
    add_gradients(model, scoring, t);
    if (t > 0) give_back(model, scoring, t - 1);
  }
  return status;
}
