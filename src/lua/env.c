/* env.c - environments in Lua: made by name or from a table, stepped with records. */
#include "lua/env.h"

#include <string.h>

#include "lua/canvas.h"
#include "lua/space.h"

static void free_env(void *env) { orr_env_free(env); }

orr_env *lua_check_env(lua_State *L, int index) {
  orr_env *env = lua_test_object(L, index, &lua_env_class);
  if (!env)
    lua_complain(L,
                 "an environment is needed, not %s; its methods are called with a colon, as in "
                 "env:step(action)",
                 lua_isnoneornil(L, index) ? "nothing"
                                           : lua_pushfstring(L, "a %s", luaL_typename(L, index)));
  return env;
}

/* ---- built-in ones */

static int index_of(const char *name) {
  for (int i = 0; i < orr_env_builtin_count(); i++)
    if (strcmp(orr_env_builtin_name(i), name) == 0) return i;
  return -1;
}

/* A table of options at 2, or none, for the built-in called `name`. */
static int new_builtin(lua_State *L, const char *name) {
  int count = 0, used = 0;
  const orr_env_setting_info *infos = orr_env_builtin_settings(index_of(name), &count);
  const char **names = lua_newuserdatauv(L, ((size_t)count + 2) * sizeof *names, 0);
  orr_env_setting *settings = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *settings, 0);
  orr_env_options options = orr_env_options_defaults();
  for (int i = 0; i < count; i++) names[i] = infos[i].name;
  names[count] = "max_steps";
  names[count + 1] = NULL;
  if (infos) lua_check_options(L, 2, lua_pushfstring(L, "environment '%s'", name), names);
  if (infos) options.max_steps = lua_option_integer(L, 2, "max_steps", -1, 0, INT32_MAX);
  for (int i = 0; i < count; i++) {
    if (lua_option_push(L, 2, infos[i].name) != LUA_TNIL)
      settings[used++] =
          (orr_env_setting){infos[i].name,
                            lua_option_number(L, 2, infos[i].name, 0, infos[i].low, infos[i].high)};
    lua_pop(L, 1);
  }
  options.settings = settings;
  options.settings_count = used;
  return lua_push_object(L, &lua_env_class, orr_env_new(lua_engine(L), name, &options));
}

/*** orrery.env(name, options): a built-in environment: pendulum, cartpole, cartpole_balance,
reacher, point_mass, pencil, cliff, bit_flipping, push, ball_game; see orrery.environments for their
options. Those with goals follow Gymnasium's GoalEnv: the observation has achieved_goal and
desired_goal, and no start satisfies its goal. max_steps changes when an episode is truncated, 0:
never. It has name, observation_space, action_space, state_space (nil: hidden), max_steps, steps,
ended, thread_safe, can_draw and definition. */
/*** orrery.env(definition): an environment written in Lua, a table of
  name         for messages
  observation  its fields, as orrery.space takes them
  action       likewise; actions are moved into their bounds before step sees them
  max_steps    steps until an episode is truncated; none: no limit
  reset        function(self, random): starts an episode; returns an observation
  step         function(self, action, random): returns observation, reward, terminated
  state        optional: the fields of the state, so that it can be read and set
  get_state    function(self): returns the state; without it, the fields of self by those names
  set_state    function(self, state): takes it; may return the observation
  observe      function(self): returns the present observation; needed where set_state does not
  draw         function(self, canvas)
self is a fresh table that finds what it lacks in the definition. All chance comes from random:
random:uniform(low, high), random:normal(mean, deviation), random:integer(low, high).
orrery.check_env says what is wrong with a definition. */
static int new_env(lua_State *L) {
  if (lua_test_object(L, 1, &lua_env_class)) {
    lua_settop(L, 1);
    return 1;
  }
  if (lua_istable(L, 1)) return lua_make_env(L, 1);
  lua_settop(L, 2);
  return new_builtin(L, luaL_checkstring(L, 1));
}

/*** orrery.environments(): the built-in environments, a list of { name =, doc =, settings = { {
name =, value =, low =, high =, doc = } ... } }. */
static int environments(lua_State *L) {
  lua_createtable(L, orr_env_builtin_count(), 0);
  for (int i = 0; i < orr_env_builtin_count(); i++) {
    int count;
    const orr_env_setting_info *infos = orr_env_builtin_settings(i, &count);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, orr_env_builtin_name(i));
    lua_setfield(L, -2, "name");
    lua_pushstring(L, orr_env_builtin_doc(i));
    lua_setfield(L, -2, "doc");
    lua_createtable(L, count, 0);
    for (int k = 0; k < count; k++) {
      lua_createtable(L, 0, 5);
      lua_pushstring(L, infos[k].name);
      lua_setfield(L, -2, "name");
      lua_pushnumber(L, infos[k].value);
      lua_setfield(L, -2, "value");
      lua_pushnumber(L, infos[k].low);
      lua_setfield(L, -2, "low");
      lua_pushnumber(L, infos[k].high);
      lua_setfield(L, -2, "high");
      lua_pushstring(L, infos[k].doc);
      lua_setfield(L, -2, "doc");
      lua_rawseti(L, -2, k + 1);
    }
    lua_setfield(L, -2, "settings");
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* ---- stepping */

static orr_real *new_values(lua_State *L, const orr_space *space) {
  return lua_newuserdatauv(L, (size_t)orr_space_size(space) * sizeof(orr_real), 0);
}

/*** env:reset(seed): starts an episode; returns the observation. The same seed gives the same start
and the same noise; without one, the engine's random numbers are used. */
static int reset(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  lua_settop(L, 2);
  orr_real *observation = new_values(L, orr_env_observation_space(env));
  if (lua_isnoneornil(L, 2))
    lua_check_status(L, orr_env_reset_from(env, orr_engine_random(lua_engine(L)), observation));
  else lua_check_status(L, orr_env_reset(env, (uint64_t)luaL_checkinteger(L, 2), observation));
  lua_push_record(L, orr_env_observation_space(env), observation);
  return 1;
}

/*** env:step(action): one step. Returns observation, reward, terminated (the task is over),
truncated (only the time is). action is a record such as {torque = 1}, or the value itself where
there is one field; it is moved into its bounds. Numbers that are not finite, fields that are
missing or unknown, and steps after the end are errors; the environment is then as before. */
static int step(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  lua_settop(L, 2);
  orr_space *space = orr_env_action_space(env);
  orr_real *action = new_values(L, space),
           *observation = new_values(L, orr_env_observation_space(env));
  lua_read_record(L, 2, space, "action", action);
  orr_env_result result;
  lua_check_status(L, orr_env_step(env, action, observation, &result));
  lua_push_record(L, orr_env_observation_space(env), observation);
  lua_pushnumber(L, (double)result.reward);
  lua_pushboolean(L, result.terminated);
  lua_pushboolean(L, result.truncated);
  return 4;
}

/*** env:observe(): the present observation. */
static int observe(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  orr_real *observation = new_values(L, orr_env_observation_space(env));
  lua_check_status(L, orr_env_observe(env, observation));
  lua_push_record(L, orr_env_observation_space(env), observation);
  return 1;
}

/*** env:state(): the present state as a record, lists for fields with axes; no digit is lost. An
error where the state is hidden. */
static int state(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  orr_space *space = orr_env_state_space(env);
  double *values =
      lua_newuserdatauv(L, (space ? (size_t)orr_space_size(space) : 1) * sizeof *values, 0);
  lua_check_status(L, orr_env_get_state(env, values));
  lua_push_exact_record(L, space, values);
  return 1;
}

/*** env:set_state(state): goes to a state as env:state gives it, counts steps from 0 again, and
undoes the end of an episode. Returns the observation. */
static int set_state(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  lua_settop(L, 2);
  orr_space *space = orr_env_state_space(env);
  if (!space) return state(L); /* which says why not */
  double *values = lua_newuserdatauv(L, (size_t)orr_space_size(space) * sizeof *values, 0);
  lua_read_exact_record(L, 2, space, "state", values);
  lua_check_status(L, orr_env_set_state(env, values));
  return observe(L);
}

/*** env:random_state(): where the environment's stream of random numbers is, three whole numbers in
a list; env:random_state(list) puts it there. With env:state(), what is needed to go on bit for
bit. */
static int random_state(lua_State *L) {
  orr_random *random = orr_env_random(lua_check_env(L, 1));
  uint64_t *numbers[3] = {&random->key, &random->stream, &random->counter};
  if (!lua_isnoneornil(L, 2)) {
    uint64_t given[3];
    luaL_checktype(L, 2, LUA_TTABLE);
    for (int i = 0; i < 3; i++) {
      lua_geti(L, 2, i + 1);
      given[i] = (uint64_t)luaL_checkinteger(L, -1);
    }
    for (int i = 0; i < 3; i++) *numbers[i] = given[i];
  }
  lua_createtable(L, 3, 0);
  for (int i = 0; i < 3; i++) {
    lua_pushinteger(L, (lua_Integer)*numbers[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/*** env:draw(width, height): a canvas of the present state, 480 x 480 pixels by default;
env:draw(canvas) draws into that one. An error where the environment cannot draw. */
static int draw(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  lua_settop(L, 3);
  orr_canvas *canvas = lua_test_object(L, 2, &lua_canvas_class);
  if (canvas) {
    lua_settop(L, 2);
  } else {
    int width = (int)luaL_optinteger(L, 2, 480), height = (int)luaL_optinteger(L, 3, width);
    lua_push_object(L, &lua_canvas_class, orr_canvas_new(lua_engine(L), width, height));
    canvas = lua_check_object(L, -1, &lua_canvas_class);
  }
  lua_check_status(L, orr_env_draw(env, canvas));
  return 1;
}

/*** env:copy(): an independent environment in the same state. An error for environments written in
Lua. */
static int copy(lua_State *L) {
  return lua_push_object(L, &lua_env_class, orr_env_copy(lua_check_env(L, 1)));
}

/*** env:rollout(state, actions): the rewards of a list of actions played from a state, as a tensor,
and how many steps it took to terminate; the environment itself stays where it is. */
static int rollout(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  orr_space *states = orr_env_state_space(env), *actions = orr_env_action_space(env);
  luaL_checktype(L, 3, LUA_TTABLE);
  if (!states) return state(L);
  int64_t horizon = (int64_t)luaL_len(L, 3);
  luaL_argcheck(L, horizon >= 1 && horizon <= 1 << 24, 3, "at least one action is needed");
  size_t size = (size_t)orr_space_size(actions);
  double *from = lua_newuserdatauv(L, (size_t)orr_space_size(states) * sizeof *from, 0);
  orr_real *plan = lua_newuserdatauv(L, (size_t)horizon * size * sizeof *plan, 0);
  lua_read_exact_record(L, 2, states, "state", from);
  for (int64_t t = 0; t < horizon; t++) {
    lua_geti(L, 3, t + 1);
    lua_read_record(L, -1, actions, "action", plan + (size_t)t * size);
    lua_pop(L, 1);
  }
  lua_push_object(L, &lua_tensor_class, orr_tensor_new(lua_engine(L), ORR_REAL, 1, &horizon));
  int steps;
  orr_status status = orr_env_rollout(env, from, plan, (int)horizon,
                                      orr_tensor_data(lua_check_tensor(L, -1)), NULL, &steps, NULL);
  if (status != ORR_NUMBER) lua_check_status(L, status); /* NaN rewards say it already */
  lua_pushinteger(L, steps);
  return 2;
}

/* ---- properties */

static int env_index(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  const char *key = luaL_checkstring(L, 2);
  lua_pushvalue(L, 2);
  if (lua_gettable(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (strcmp(key, "name") == 0) lua_pushstring(L, orr_env_name(env));
  else if (strcmp(key, "observation_space") == 0) lua_push_space(L, orr_env_observation_space(env));
  else if (strcmp(key, "action_space") == 0) lua_push_space(L, orr_env_action_space(env));
  else if (strcmp(key, "state_space") == 0) lua_push_space(L, orr_env_state_space(env));
  else if (strcmp(key, "max_steps") == 0) lua_pushinteger(L, orr_env_max_steps(env));
  else if (strcmp(key, "steps") == 0) lua_pushinteger(L, orr_env_steps(env));
  else if (strcmp(key, "ended") == 0) lua_pushboolean(L, orr_env_ended(env));
  else if (strcmp(key, "thread_safe") == 0) lua_pushboolean(L, orr_env_thread_safe(env));
  else if (strcmp(key, "can_draw") == 0) lua_pushboolean(L, orr_env_can_draw(env));
  else if (strcmp(key, "definition") == 0) return lua_push_definition(L, 1);
  else
    return lua_complain(
        L,
        "an environment has no '%s'; it has name, observation_space, action_space, state_space, "
        "max_steps, steps, ended, thread_safe, can_draw, definition and the methods reset, step, "
        "observe, state, set_state, random_state, draw, copy, rollout",
        key);
  return 1;
}

static int env_text(lua_State *L) {
  orr_env *env = lua_check_env(L, 1);
  char seen[400], done[400];
  lua_pushfstring(L, "env(%s: observation %s; action %s)", orr_env_name(env),
                  orr_space_describe(orr_env_observation_space(env), seen, sizeof seen),
                  orr_space_describe(orr_env_action_space(env), done, sizeof done));
  return 1;
}

static const luaL_Reg methods[] = {
    {"reset", reset}, {"step", step},           {"observe", observe},
    {"state", state}, {"set_state", set_state}, {"draw", draw},
    {"copy", copy},   {"rollout", rollout},     {"random_state", random_state},
    {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__index", env_index},
                                       {"__tostring", env_text},
                                       {NULL, NULL}};

const lua_class lua_env_class = {"orrery.env", "environment", free_env, methods, metamethods};

void open_env(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"env", new_env},
                                       {"environments", environments},
                                       {NULL, NULL}};
  lua_new_class(L, &lua_env_class);
  lua_open_random(L);
  lua_add_functions(L, module, functions);
}
