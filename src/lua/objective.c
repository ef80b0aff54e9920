/* objective.c - objectives in Lua: what scores the plans of a planner. orrery.mpc makes the usual ones. */
#include <string.h>

#include "lua/env.h"
#include "lua/objective.h"
#include "lua/space.h"
#include "lua/symbol.h"

/* User values of a handle: what its C object reads but does not own. */
enum { SCORER = 1, USER_VALUES = 1 };

static void free_objective(void *objective) { orr_objective_free(objective); }

orr_objective *lua_check_objective(lua_State *L, int index) {
  return lua_check_object(L, index, &lua_objective_class);
}

void lua_read_flat(lua_State *L, int index, const orr_space *space, const char *what,
                   orr_real *values) {
  orr_tensor *x = orr_space_fields(space) > 1 ? lua_test_tensor(L, index) : NULL;
  if (!x) {
    lua_read_record(L, index, space, what, values);
    return;
  }
  if (orr_tensor_count(x) != orr_space_size(space))
    lua_complain(L, "%s: %I numbers are wanted, the tensor has %I", what,
                 (LUAI_UACINT)orr_space_size(space), (LUAI_UACINT)orr_tensor_count(x));
  for (int64_t i = 0; i < orr_tensor_count(x); i++) values[i] = (orr_real)orr_tensor_get(x, i);
}

/* The space that option `name`, or option `env`, of the table at `index` gives, pushed; NULL and nil
   when there is neither. */
static orr_space *option_space(lua_State *L, int index, const char *name) {
  if (lua_option_push(L, index, name) != LUA_TNIL) return lua_check_object(L, -1, &lua_space_class);
  lua_pop(L, 1);
  if (lua_option_push(L, index, "env") == LUA_TNIL) return NULL;
  orr_env *env = lua_check_env(L, -1);
  lua_pop(L, 1);
  lua_push_space(L, strcmp(name, "action") ? orr_env_observation_space(env)
                                           : orr_env_action_space(env));
  return lua_check_object(L, -1, &lua_space_class);
}

/* Fills the handle under the scorer's anchor, which is on top, and leaves the handle there. */
static int fill_with_scorer(lua_State *L, lua_handle *handle, orr_objective *objective) {
  lua_setiuservalue(L, -2, SCORER);
  return lua_fill(L, handle, objective);
}

/*** orrery.objective.fn(f, options): plans scored by f(observation, plans), plans being a tensor of n x
horizon x numbers of an action; f returns n numbers, the higher the better: a tensor or a list. A return that is
not finite ranks its plan last. options: env, or the spaces `action` and, for observations, `observation`
(without it f gets nil); name; gradients = true: where its third argument is true, f also returns the gradients of
the returns, shaped as the plans are; differences = true: gradients are central differences, for which a plan is
scored 2 x horizon x numbers of an action times more. f is called once for each batch, in plain Lua. */
static int objective_fn(lua_State *L) {
  static const char *const names[] = {"env",       "observation", "action", "name",
                                      "gradients", "differences", NULL};
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_check_options(L, 2, "objective options", names);
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.observation = option_space(L, 2, "observation");
  callbacks.action = option_space(L, 2, "action");
  callbacks.name = lua_option_string(L, 2, "name", "function");
  callbacks.score = lua_score_plans;
  callbacks.gradients = lua_option_boolean(L, 2, "gradients", false);
  callbacks.differences = lua_option_boolean(L, 2, "differences", false);
  if (!callbacks.action)
    return lua_complain(
        L, "an objective needs an action space: give { env = env } or { action = space }");
  lua_handle *handle = lua_new_handle_holding(L, &lua_objective_class, USER_VALUES);
  lua_scorer *scorer = lua_push_scorer(L, 1, 0);
  lua_scorer_spaces(scorer, callbacks.observation, callbacks.action);
  callbacks.user = scorer;
  return fill_with_scorer(L, handle, orr_objective_function(lua_engine(L), &callbacks));
}

/* Binds the named inputs in option `inputs` of the objective on top. */
static int set_inputs(lua_State *L, int index) {
  int objective = lua_gettop(L);
  if (lua_option_push(L, index, "inputs") == LUA_TTABLE) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      if (lua_type(L, -2) != LUA_TSTRING) return lua_complain(L, "inputs have names");
      int value = lua_gettop(L);
      lua_check_status(L, orr_objective_set_input(lua_check_objective(L, objective),
                                                  lua_tostring(L, value - 1),
                                                  lua_to_tensor(L, value)));
      lua_settop(L, value);
    }
  }
  lua_settop(L, objective);
  return 1;
}

static orr_program *option_program(lua_State *L, int index, const char *name) {
  return lua_option_push(L, index, name) == LUA_TNIL ? NULL : lua_check_program(L, -1);
}

/*** orrery.objective.env(env, options): plans played on the environment itself, from the state it is in.
An observation that is not its present one is an error, unless any_observation = true. Its gradients, for planners
that want them, are central differences: a plan is played 2 x horizon x numbers of an action times more.
options: particles = 1 to average over noise; any_observation; reward, for another one than its own: a compiled program of s, a,
next and t, or a plain function(s, a, next, t); termination, a plain function that goes with the latter; risk, limits,
inputs, as in orrery.objective.program; afterwards = 0, the reward of every step after the end; value, a program
of the state at the horizon; policy, a program of proposals (all in rollout.h). */
static int objective_env(lua_State *L) {
  static const char *const names[] = {"particles", "any_observation", "reward",     "termination",
                                      "risk",      "limits",          "afterwards", "value",
                                      "policy",    "inputs",          NULL};
  orr_env *env = lua_check_env(L, 1);
  luaL_checkstack(L, 40, NULL);
  lua_settop(L, 2);
  lua_check_options(L, 2, "objective options", names);
  orr_simulator_options options = orr_simulator_options_defaults();
  options.particles = (int)lua_option_integer(L, 2, "particles", 1, 1, 1000000);
  options.any_observation = lua_option_boolean(L, 2, "any_observation", false);
  options.risk = lua_option_risk(L, 2);
  options.limits = lua_option_numbers(L, 2, "limits", &options.constraints);
  options.afterwards = lua_option_number(L, 2, "afterwards", 0, -1e30, 1e30);
  options.value = option_program(L, 2, "value");
  options.policy = option_program(L, 2, "policy");
  int termination = lua_option_push(L, 2, "termination") == LUA_TNIL ? 0 : lua_gettop(L);
  int reward = lua_option_push(L, 2, "reward"), reward_at = lua_gettop(L);
  if (termination) luaL_checktype(L, termination, LUA_TFUNCTION);
  lua_handle *handle = lua_new_handle_holding(L, &lua_objective_class, USER_VALUES);
  if (reward == LUA_TFUNCTION) {
    lua_scorer *scorer = lua_push_scorer(L, reward_at, termination);
    lua_scorer_spaces(scorer, orr_env_observation_space(env), orr_env_action_space(env));
    options.reward_function = lua_score_rows;
    options.user = scorer;
  } else {
    if (reward != LUA_TNIL) options.reward = lua_check_program(L, reward_at);
    lua_pushnil(L);
  }
  fill_with_scorer(L, handle, orr_objective_env(lua_engine(L), env, &options));
  return set_inputs(L, 2);
}

static orr_real *option_reals(lua_State *L, int index, const char *name, int *count) {
  double *numbers = lua_option_numbers(L, index, name, count);
  if (!numbers) return NULL;
  orr_real *reals = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *reals, 0);
  for (int i = 0; i < *count; i++) reals[i] = (orr_real)numbers[i];
  return reals;
}

/* The list of members in option `elites`, counted from 0; NULL when absent. */
static int *option_elites(lua_State *L, int index, int *count) {
  *count = 0;
  if (lua_option_push(L, index, "elites") == LUA_TNIL) return NULL;
  luaL_checktype(L, -1, LUA_TTABLE);
  *count = (int)luaL_len(L, -1);
  int *elites = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *elites, 0);
  for (int i = 0; i < *count; i++) {
    lua_geti(L, -2, i + 1);
    elites[i] = (int)luaL_checkinteger(L, -1) - 1;
    lua_pop(L, 1);
  }
  return elites;
}

/*** orrery.objective.program(program, options): plans rolled out by a compiled program of a state
and a plan (horizon x numbers of an action), whose output is "return". options: members, particles, elites,
observation, action; horizon, which must be the program's; first, a program whose outputs are inputs of this one
that the particles of a plan with one member share (see rollout.h); gradient, or path and linear, programs of derivatives
for planners that use them (see rollout.h; model:objective makes them). risk: "mean" or another measure of orrery.objective.risks(), as in
{ "cvar", alpha = 0.1, over = "members" }; limits of side constraints; finish and start for TS1; policy; states and
scale for the disagreement of members (all in rollout.h). With an option `reward`, a plain
function(s, a, next, t), and perhaps `termination`, the output is "states" instead, horizon x numbers of a
state. */
static int objective_program(lua_State *L) {
  static const char *const names[] = {"members", "particles",   "elites",   "observation",
                                      "action",  "env",         "horizon",  "first",
                                      "reward",  "termination", "gradient", "path",
                                      "linear",  "risk",        "limits",   "finish",
                                      "start",   "policy",      "states",   "scale",
                                      "inputs",  NULL};
  orr_program *program = lua_check_program(L, 1);
  luaL_checkstack(L, 60, NULL);
  lua_settop(L, 2);
  lua_check_options(L, 2, "objective options", names);
  orr_rollout_options options = orr_rollout_options_defaults();
  options.members = (int)lua_option_integer(L, 2, "members", 0, 0, 1 << 20);
  options.particles = (int)lua_option_integer(L, 2, "particles", 1, 1, 100000);
  options.elites = option_elites(L, 2, &options.elites_count);
  options.observation = option_space(L, 2, "observation");
  options.action = option_space(L, 2, "action");
  options.first = option_program(L, 2, "first");
  options.gradient = option_program(L, 2, "gradient");
  options.path = option_program(L, 2, "path");
  options.linear = option_program(L, 2, "linear");
  options.finish = option_program(L, 2, "finish");
  options.policy = option_program(L, 2, "policy");
  options.states = option_program(L, 2, "states");
  options.horizon = (int)lua_option_integer(L, 2, "horizon", 0, 0, 10000);
  options.risk = lua_option_risk(L, 2);
  options.limits = lua_option_numbers(L, 2, "limits", &options.constraints);
  options.start = option_reals(L, 2, "start", &options.start_count);
  int scales = 0;
  options.scale = option_reals(L, 2, "scale", &scales);
  if (options.states && options.observation && scales != orr_space_size(options.observation))
    return lua_complain(L, "scale: %d numbers are wanted, not %d",
                        (int)orr_space_size(options.observation), scales);
  int termination = lua_option_push(L, 2, "termination") == LUA_TNIL ? 0 : lua_gettop(L);
  int reward = lua_option_push(L, 2, "reward"), reward_at = lua_gettop(L);
  lua_handle *handle = lua_new_handle_holding(L, &lua_objective_class, USER_VALUES);
  if (reward != LUA_TNIL) {
    luaL_checktype(L, reward_at, LUA_TFUNCTION);
    if (!options.observation || !options.action)
      return lua_complain(L, "a plain reward function needs the spaces `observation` and `action`");
    lua_scorer *scorer = lua_push_scorer(L, reward_at, termination);
    lua_scorer_spaces(scorer, options.observation, options.action);
    options.reward_function = lua_score_rows;
    options.user = scorer;
  } else {
    lua_pushnil(L);
  }
  fill_with_scorer(L, handle, orr_objective_program(lua_engine(L), program, &options));
  return set_inputs(L, 2);
}

/* A new tensor as field `name` of the table on top, and its numbers. */
static orr_real *new_field(lua_State *L, const char *name, int axes, const int64_t *shape) {
  lua_push_object(L, &lua_tensor_class, orr_tensor_new(lua_engine(L), ORR_REAL, axes, shape));
  orr_real *numbers = orr_tensor_data(lua_check_tensor(L, -1));
  lua_setfield(L, -2, name);
  return numbers;
}

/*** objective:linearise(observation, plan, options): dynamics and rewards to first and second order along a plan
of horizon x numbers of an action, where the objective knows them. options: step. A table of tensors, S being the
numbers of a state and A those of an action: states (horizon + 1 x S), next_s (horizon x S x S), next_a (.. x S x A),
reward_s, reward_a, reward_ss, reward_as (.. x A x S), reward_aa; value_s and value_ss of the value at the
horizon. */
static int linearise(lua_State *L) {
  static const char *const names[] = {"step", NULL};
  orr_objective *objective = lua_check_objective(L, 1);
  orr_space *seen = orr_objective_observation_space(objective);
  lua_settop(L, 4);
  lua_check_options(L, 4, "linearise options", names);
  orr_tensor *plan = lua_to_tensor(L, 3);
  orr_real *observation =
      lua_newuserdatauv(L, (seen ? (size_t)orr_space_size(seen) : 1) * sizeof *observation, 0);
  if (seen) lua_read_flat(L, 2, seen, "observation", observation);
  lua_push_object(L, &lua_tensor_class, orr_tensor_convert(plan, ORR_REAL));
  lua_push_object(L, &lua_tensor_class, orr_tensor_contiguous(lua_check_tensor(L, -1)));
  plan = lua_check_tensor(L, -1);
  int64_t actions = orr_objective_action_size(objective);
  const int64_t *given = orr_tensor_shape(plan);
  if (orr_tensor_axes(plan) != 2 || given[0] > 10000 || (actions && given[1] != actions))
    return lua_complain(L, "a plan must be a tensor of horizon x %d", (int)actions);
  int64_t horizon = given[0], s = orr_objective_state_size(objective), a = given[1];
  const int64_t ss[] = {horizon, s, s}, sa[] = {horizon, s, a}, as[] = {horizon, a, s},
                aa[] = {horizon, a, a}, path[] = {horizon + 1, s};
  lua_newtable(L);
  orr_linearisation along = {
      .observation = observation,
      .plan = orr_tensor_data(plan),
      .horizon = (int)horizon,
      .step = lua_option_integer(L, 4, "step", 0, 0, INT64_MAX),
      .states = new_field(L, "states", 2, path),
      .next_s = new_field(L, "next_s", 3, ss),
      .next_a = new_field(L, "next_a", 3, sa),
      .reward_s = new_field(L, "reward_s", 2, ss),
      .reward_a = new_field(L, "reward_a", 2, as),
      .reward_ss = new_field(L, "reward_ss", 3, ss),
      .reward_as = new_field(L, "reward_as", 3, as),
      .reward_aa = new_field(L, "reward_aa", 3, aa),
      .value_s = new_field(L, "value_s", 1, ss + 1),
      .value_ss = new_field(L, "value_ss", 2, ss + 1),
  };
  orr_objective_retain(objective);
  orr_status status = orr_objective_linearise(objective, &along);
  orr_objective_free(objective);
  lua_check_status(L, status);
  return 1;
}

/*** objective:set_input(name, value): sets a named input of a compiled objective, such as a goal: a tensor, which
is read at every scoring, or a number or list. */
static int set_input(lua_State *L) {
  orr_objective *objective = lua_check_objective(L, 1);
  const char *name = luaL_checkstring(L, 2);
  lua_check_status(L, orr_objective_set_input(objective, name, lua_to_tensor(L, 3)));
  lua_settop(L, 1);
  return 1;
}

/*** objective:horizon(): the horizon of plans that it scores; nil: any. */
static int horizon(lua_State *L) {
  int only = orr_objective_horizon(lua_check_objective(L, 1));
  if (only) lua_pushinteger(L, only);
  else lua_pushnil(L);
  return 1;
}

static int objective_text(lua_State *L) {
  lua_pushfstring(L, "objective: %s", orr_objective_name(lua_check_objective(L, 1)));
  return 1;
}

static const luaL_Reg methods[] = {{"score", lua_objective_score},
                                   {"propose", lua_objective_propose},
                                   {"disagree", lua_objective_disagree},
                                   {"linearise", linearise},
                                   {"set_input", set_input},
                                   {"horizon", horizon},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", objective_text}, {NULL, NULL}};

const lua_class lua_objective_class = {"orrery.objective", "objective", free_objective, methods,
                                       metamethods};

void open_objective(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"fn", objective_fn},
                                       {"env", objective_env},
                                       {"program", objective_program},
                                       {"risks", lua_objective_risks},
                                       {NULL, NULL}};
  module = lua_absindex(L, module);
  lua_new_class(L, &lua_objective_class);
  lua_createtable(L, 0, 3);
  lua_add_functions(L, lua_gettop(L), functions);
  lua_setfield(L, module, "objective");
}
