/* rollout_layout.c - which row of a learned rollout is which particle of which plan.

   row = slot * n + plan, where slots are the particles sorted by the member that they use, so that
   rows are grouped by member and a tile of them has one member's weights in cache. What the slots
   of one group have in common for a plan, a program of its own works out before, its rows being
   group * n + plan. */
#include "plan/rollout.h"
#include "tensor/tensor.h"

static void free_layout(layout *old) {
  orr_tensor_free(old->index);
  orr_tensor_free(old->start);
  orr_tensor_free(old->first);
  orr_tensor_free(old->first_start);
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
  if (made->start) {
    made->first_start = orr_tensor_slice(made->start, 0, 0, (int64_t)made->n * groups, 1);
    if (!made->first_start) return false;
  }
  int32_t *row = orr_tensor_data(made->shared);
  for (int g = 0; g < groups; g++)
    for (int slot = 0; slot < model->slots[g]; slot++)
      for (int plan = 0; plan < made->n; plan++) *row++ = g * made->n + plan;
  return true;
}

/* Which of the states each row starts in. */
static bool lay_out_states(const learned *model, layout *made) {
  int64_t rows = (int64_t)made->n * model->particles;
  made->start = orr_tensor_new(model->engine, ORR_INT, 1, &rows);
  if (!made->start) return false;
  int32_t *state = orr_tensor_data(made->start);
  int each = made->n / made->states;
  for (int64_t row = 0; row < rows; row++) state[row] = (int32_t)(row % made->n / each);
  return true;
}

static int make_layout(learned *model, int n, int states) {
  for (int i = 0; i < LAYOUTS; i++)
    if (model->layouts[i].n == n && model->layouts[i].states == states) return i;
  int64_t rows = (int64_t)n * model->particles;
  layout made = {.n = n,
                 .states = states,
                 .index = orr_tensor_new(model->engine, ORR_INT, 1, &rows)};
  if (!made.index) return -1;
  int32_t *plan = orr_tensor_data(made.index);
  for (int64_t row = 0; row < rows; row++) plan[row] = (int32_t)(row % n);
  if ((model->many_states && !lay_out_states(model, &made)) ||
      (model->first && !lay_out_first(model, &made))) {
    free_layout(&made);
    return -1;
  }
  int place = model->oldest;
  model->oldest = (place + 1) % LAYOUTS;
  free_layout(&model->layouts[place]);
  model->layouts[place] = made;
  return place;
}

orr_status rollout_group_rows(const learned *model, orr_run *run, int64_t rows) {
  if (!model->groups) return orr_run_rows(run, rows, 1);
  orr_status status = orr_run_groups(run, model->groups, model->sizes);
  return status ? status : orr_run_members(run, model->entries);
}

/* The starts and plans of one of the two runs. */
static orr_status bind_rows(const learned *model, orr_run *run, const orr_program *program,
                            orr_tensor *plans, orr_tensor *index, orr_tensor *start) {
  orr_status status = ORR_OK;
  if (rollout_find_input(program, "plan") >= 0) status = orr_run_input(run, "plan", plans, index);
  if (!status && start && rollout_find_input(program, "state") >= 0)
    status = orr_run_input(run, "state", model->state, start);
  return status;
}

orr_status rollout_use_layout(learned *model, int n, int states, orr_tensor *plans) {
  const layout *bound = model->bound < 0 ? NULL : &model->layouts[model->bound];
  if (bound && bound->n == n && bound->states == states && model->bound_plans == plans)
    return ORR_OK;
  model->bound = -1;
  int place = make_layout(model, n, states);
  if (place < 0) return orr_engine_status(model->engine);
  const layout *used = &model->layouts[place];
  orr_status status = bind_rows(model, model->run, model->program, plans, used->index, used->start);
  if (!status && model->first)
    status =
        bind_rows(model, model->first_run, model->first, plans, used->first, used->first_start);
  if (status) return status;
  model->bound_plans = plans;
  for (int g = 0; g < model->groups; g++) model->sizes[g] = (int64_t)n * model->slots[g];
  status = rollout_group_rows(model, model->run, (int64_t)n * model->particles);
  for (int g = 0; g < model->groups; g++) model->sizes[g] = n;
  if (!status && model->first) status = rollout_group_rows(model, model->first_run, n);
  if (!status) model->bound = place;
  return status;
}

void rollout_free_layouts(learned *model) {
  for (int i = 0; i < LAYOUTS; i++) free_layout(&model->layouts[i]);
  model->bound = -1;
  model->oldest = 0;
}
