/* rollout_layout.c - which row of a learned rollout is which particle of which plan.

   row = slot * n + plan, where slots are the particles sorted by the member that they use, so that
   rows are grouped by member and a tile of them has one member's weights in cache. What the slots
   of one group have in common for a plan, a program of its own works out before, its rows being
   group * n + plan. */
#include <string.h>

#include "plan/rollout.h"
#include "tensor/tensor.h"

bool rollout_index_plans(orr_engine *engine, orr_tensor **index, int n, int times, int each) {
  int64_t rows = (int64_t)n * times;
  if (!tensor_make_room(engine, index, ORR_INT, 1, &rows)) return false;
  int32_t *row = orr_tensor_data(*index);
  for (int plan = 0; plan < n; plan++) row[plan] = plan / each;
  for (int i = 1; i < times; i++) memcpy(row + (int64_t)i * n, row, (size_t)n * sizeof *row);
  return true;
}

/* The row of the first program for each row of the rollout. */
static bool index_groups(learned *model, int n) {
  int groups = model->groups ? model->groups : 1;
  int64_t rows = (int64_t)n * model->particles;
  if (!tensor_make_room(model->engine, &model->layout.shared, ORR_INT, 1, &rows)) return false;
  int32_t *row = orr_tensor_data(model->layout.shared);
  for (int g = 0; g < groups; g++)
    for (int slot = 0; slot < model->slots[g]; slot++)
      for (int plan = 0; plan < n; plan++) *row++ = g * n + plan;
  return true;
}

static bool index_rows(learned *model, int n, int states) {
  layout *made = &model->layout;
  orr_engine *engine = model->engine;
  int particles = model->particles, groups = model->groups ? model->groups : 1, each = n / states;
  bool many = model->many_states, first = model->first != NULL;
  return rollout_index_plans(engine, &made->index, n, particles, 1) &&
         (!many || rollout_index_plans(engine, &made->start, n, particles, each)) &&
         (!first || (rollout_index_plans(engine, &made->first, n, groups, 1) &&
                     (!many || rollout_index_plans(engine, &made->first_start, n, groups, each)) &&
                     index_groups(model, n)));
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

/* What the first program gave had as many rows as there were. */
static void release_first(const learned *model) {
  for (int i = 0; model->first && i < orr_program_outputs(model->first); i++)
    orr_run_release(model->run, orr_program_output_name(model->first, i));
}

orr_status rollout_use_layout(learned *model, int n, int states, orr_tensor *plans) {
  layout *used = &model->layout;
  if (used->n == n && used->states == states && model->bound_plans == plans) return ORR_OK;
  used->n = 0;
  release_first(model);
  if (!index_rows(model, n, states)) return orr_engine_status(model->engine);
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
  if (status) return status;
  used->n = n;
  used->states = states;
  return ORR_OK;
}

void rollout_free_layout(learned *model) {
  layout *old = &model->layout;
  orr_tensor *tensors[] = {old->index, old->start, old->first, old->first_start, old->shared};
  for (size_t i = 0; i < COUNT(tensors); i++) orr_tensor_free(tensors[i]);
  *old = (layout){0};
}
