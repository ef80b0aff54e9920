/* objective_score.c - what can be asked of an objective from Lua: returns, proposals,
   disagreement. */
#include "lua/objective.h"
#include "lua/space.h"

/* A list of numbers is one observation, a list of records is several. */
orr_real *lua_read_observations(lua_State *L, int index, const orr_space *seen, int *states) {
  orr_tensor *x = seen ? lua_test_tensor(L, index) : NULL;
  size_t size = seen ? (size_t)orr_space_size(seen) : 1;
  bool rows = x && orr_tensor_axes(x) == 2 && orr_tensor_shape(x)[1] == (int64_t)size, list = false;
  if (seen && lua_istable(L, index)) {
    int first = lua_geti(L, index, 1);
    list = first == LUA_TTABLE || first == LUA_TUSERDATA;
    lua_pop(L, 1);
  }
  *states = rows ? (int)orr_tensor_shape(x)[0] : list ? (int)luaL_len(L, index) : 1;
  size_t count = (size_t)*states * size;
  orr_real *values = lua_newuserdatauv(L, (count + 1) * sizeof *values, 0);
  for (size_t i = 0; rows && i < count; i++) values[i] = (orr_real)orr_tensor_get(x, (int64_t)i);
  for (int i = 0; list && i < *states; i++) {
    lua_geti(L, index, i + 1);
    lua_read_flat(L, -1, seen, "observation", values + (size_t)i * size);
    lua_pop(L, 1);
  }
  if (seen && !rows && !list) lua_read_flat(L, index, seen, "observation", values);
  return values;
}

/* The tensor at `index` with `axes` axes, of which the last has the numbers of an action;
   pushed. */
static orr_tensor *read_plans(lua_State *L, int index, const orr_objective *objective, int axes,
                              const char *what) {
  int64_t done = orr_objective_action_size(objective);
  orr_tensor *plans = lua_to_tensor(L, index);
  lua_push_object(L, &lua_tensor_class, orr_tensor_convert(plans, ORR_REAL));
  lua_push_object(L, &lua_tensor_class, orr_tensor_contiguous(lua_check_tensor(L, -1)));
  plans = lua_check_tensor(L, -1);
  const int64_t *shape = orr_tensor_shape(plans);
  bool fits = orr_tensor_axes(plans) == axes && (!done || shape[axes - 1] == done);
  for (int i = 0; i < axes && fits; i++) fits = shape[i] <= INT32_MAX / 16;
  if (!fits) lua_complain(L, "%s %d", what, (int)done);
  return plans;
}

static orr_tensor *push_reals(lua_State *L, int axes, const int64_t *shape) {
  lua_push_object(L, &lua_tensor_class, orr_tensor_new(lua_engine(L), ORR_REAL, axes, shape));
  return lua_check_tensor(L, -1);
}

static uint64_t option_seed(lua_State *L, int index) {
  return (uint64_t)lua_option_integer(L, index, "seed", 0, INT64_MIN, INT64_MAX);
}

/*** objective:score(observation, plans, options): the returns of plans, a tensor of n x horizon x
numbers of an action (or a list of them); with gradients = true also the gradients of the returns, a
tensor shaped as the plans; with violations = true also by how much each plan breaks side
constraints. options: seed, step, gradients, violations. The observation may be a tensor of several
states, a row each, where the objective takes them: plans are then those of the first state, of the
second, and so on, as many for each. */
int lua_objective_score(lua_State *L) {
  static const char *const names[] = {"seed", "step", "gradients", "violations", NULL};
  orr_objective *objective = lua_check_objective(L, 1);
  lua_settop(L, 4);
  lua_check_options(L, 4, "score options", names);
  orr_scoring scoring = {.step = lua_option_integer(L, 4, "step", 0, 0, INT64_MAX),
                         .seed = option_seed(L, 4)};
  bool gradients = lua_option_boolean(L, 4, "gradients", false);
  bool violations = lua_option_boolean(L, 4, "violations", false);
  scoring.observation =
      lua_read_observations(L, 2, orr_objective_observation_space(objective), &scoring.states);
  orr_tensor *plans = read_plans(L, 3, objective, 3, "plans must be a tensor of n x horizon x");
  const int64_t *shape = orr_tensor_shape(plans);
  scoring.plans = orr_tensor_data(plans);
  scoring.n = (int)shape[0];
  scoring.horizon = (int)shape[1];
  scoring.returns = orr_tensor_data(push_reals(L, 1, shape));
  if (gradients) scoring.gradients = orr_tensor_data(push_reals(L, 3, shape));
  if (violations) scoring.violations = orr_tensor_data(push_reals(L, 1, shape));
  orr_objective_retain(objective); /* a script may close it meanwhile */
  orr_status status = orr_objective_score(objective, &scoring);
  orr_objective_free(objective);
  lua_check_status(L, status);
  return 1 + gradients + violations;
}

/*** objective:propose(observation, n, { horizon =, seed = 0, step = 0 }): n plans of the
objective's policy, as a tensor of n x horizon x numbers of an action. The observation may be
several, as for objective:score. */
int lua_objective_propose(lua_State *L) {
  static const char *const names[] = {"horizon", "seed", "step", NULL};
  orr_objective *objective = lua_check_objective(L, 1);
  orr_space *done = orr_objective_action_space(objective);
  lua_settop(L, 4);
  lua_check_options(L, 4, "propose options", names);
  int64_t n = luaL_checkinteger(L, 3), only = orr_objective_horizon(objective);
  int64_t horizon = lua_option_integer(L, 4, "horizon", only ? only : 1, 1, 10000);
  if (n < 1 || n > INT32_MAX / 16 || !done)
    return lua_complain(L, "propose: 1 plan or more is wanted, of an objective that knows actions");
  orr_proposing proposing = {.n = (int)n,
                             .horizon = (int)horizon,
                             .step = lua_option_integer(L, 4, "step", 0, 0, INT64_MAX),
                             .seed = option_seed(L, 4)};
  int64_t shape[3] = {n, horizon, orr_space_size(done)};
  proposing.observation =
      lua_read_observations(L, 2, orr_objective_observation_space(objective), &proposing.states);
  proposing.plans = orr_tensor_data(push_reals(L, 3, shape));
  orr_objective_retain(objective);
  orr_status status = orr_objective_propose(objective, &proposing);
  orr_objective_free(objective);
  lua_check_status(L, status);
  return 1;
}

/*** objective:disagree(observation, plan): how far the elites of a model are apart after each step
of a plan of horizon x numbers of an action: the standard deviation of their mean predictions in
units of the deviation that each number of the state had in the data, as the root of its mean square
over numbers. */
int lua_objective_disagree(lua_State *L) {
  orr_objective *objective = lua_check_objective(L, 1);
  int states = 1;
  lua_settop(L, 3);
  orr_real *observation =
      lua_read_observations(L, 2, orr_objective_observation_space(objective), &states);
  orr_tensor *plan = read_plans(L, 3, objective, 2, "a plan must be a tensor of horizon x");
  orr_tensor *apart = push_reals(L, 1, orr_tensor_shape(plan));
  orr_objective_retain(objective);
  orr_status status =
      orr_objective_disagree(objective, observation, orr_tensor_data(plan),
                             (int)orr_tensor_shape(plan)[0], orr_tensor_data(apart));
  orr_objective_free(objective);
  lua_check_status(L, status);
  return 1;
}
