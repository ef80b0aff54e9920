/* replay.c - replay for Lua; recorder.c adds to it, replay_read.c and relabel.c sample from it, and
   lua/orrery/replay.lua collects. In Lua episodes and times count from 1; in windows 0 stands for
   "past the end". */
#include "lua/replay.h"

#include <math.h>
#include <string.h>

#include "lua/env.h"
#include "lua/space.h"

static void free_replay(void *replay) { orr_replay_free(replay); }

static orr_replay *check_replay(lua_State *L) { return lua_check_replay(L); }
orr_replay *lua_check_replay(lua_State *L) { return lua_check_object(L, 1, &lua_replay_class); }

/* ---- making */

/* The space under an option: a space or a list of fields; left on the stack to keep it alive. NULL
   when absent. */
static orr_space *option_space(lua_State *L, const char *name) {
  if (lua_option_push(L, 1, name) == LUA_TNIL) return NULL;
  int index = lua_gettop(L);
  return lua_make_space(L, index, lua_pushfstring(L, "replay options, %s", name));
}

/* Under "env" or, without one, "observation" and "action". */
static void option_spaces(lua_State *L, orr_replay_options *options) {
  options->observation = option_space(L, "observation");
  options->action = option_space(L, "action");
  options->observation_extras = option_space(L, "observation_extras");
  options->step_extras = option_space(L, "step_extras");
  int type = lua_option_push(L, 1, "env");
  orr_env *env = lua_test_object(L, -1, &lua_env_class);
  lua_pop(L, 1);
  if (!env && type != LUA_TNIL)
    lua_complain(L,
                 "replay options: 'env' must be an environment, as orrery.env makes it, not a %s",
                 lua_typename(L, type));
  if (env && !options->observation) options->observation = orr_env_observation_space(env);
  if (env && !options->action) options->action = orr_env_action_space(env);
  if (!options->observation || !options->action)
    lua_complain(L, "replay options: an environment is needed, as in { env = env }, or the spaces "
                    "'observation' and 'action'");
}

static int64_t option_capacity(lua_State *L, int index, int64_t otherwise) {
  int64_t capacity = otherwise;
  int type = lua_option_push(L, index, "capacity");
  if (type != LUA_TNIL) {
    int whole = 0;
    capacity = lua_tointegerx(L, -1, &whole);
    if (type != LUA_TNUMBER || !whole || capacity < 1 || capacity > ORR_REPLAY_CAPACITY)
      lua_complain(
          L, "replay options: capacity must be a whole number of transitions, 1 to %d, got %s",
          ORR_REPLAY_CAPACITY, luaL_tolstring(L, -1, NULL));
  }
  lua_pop(L, 1);
  return capacity;
}

/* The option prioritised, of a replay that was just made: { alpha = 0.6 }, or true, which leaves
   that of one that was loaded. */
static void option_prioritised(lua_State *L, int index, orr_replay *replay) {
  static const char *const names[] = {"alpha", NULL};
  int type = lua_istable(L, index) ? lua_option_push(L, index, "prioritised") : LUA_TNIL;
  if (type == LUA_TNIL || (type == LUA_TBOOLEAN && !lua_toboolean(L, -1))) return;
  int at = lua_gettop(L);
  if (type != LUA_TBOOLEAN && type != LUA_TTABLE)
    lua_complain(L, "replay options: prioritised is a table, as in { alpha = 0.6 }, not a %s",
                 lua_typename(L, type));
  double alpha = orr_replay_is_prioritised(replay) ? orr_replay_alpha(replay) : 0.6;
  if (type == LUA_TTABLE) {
    lua_check_options(L, at, "replay options, prioritised", names);
    alpha = lua_option_number(L, at, "alpha", alpha, 0, 10);
  }
  lua_check_status(L, orr_replay_prioritise(replay, alpha));
}

/*** orrery.replay { env = env, capacity = 1e6, bad_numbers = "error", prioritised = nil }: an empty
store of whole episodes, which takes memory as it fills; past its capacity, in transitions, the
oldest episodes leave. bad_numbers says what happens to numbers that are infinite or NaN: "error",
"discard" (their episode) or "clip". prioritised = { alpha = 0.6 } makes replay:sample draw by
priority. Instead of an environment, spaces: observation, action; with observation_extras and
step_extras for further fields. What it has: #replay transitions, replay.episodes, capacity,
prioritised (whether it is), alpha (of its priorities, or nil), env, observation_space,
action_space, observation_extras, step_extras. */
static int new_replay(lua_State *L) {
  static const char *const names[] = {"env",    "capacity",    "bad_numbers",        "observation",
                                      "action", "prioritised", "observation_extras", "step_extras",
                                      NULL};
  static const char *const bad[] = {"error", "discard", "clip", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_check_options(L, 1, "replay options", names);
  orr_replay_options options = orr_replay_options_defaults();
  options.capacity = option_capacity(L, 1, options.capacity);
  options.bad_numbers = (orr_bad_numbers)lua_option_choice(L, 1, "bad_numbers", ORR_BAD_ERROR, bad);
  option_spaces(L, &options);
  lua_handle *handle = lua_new_handle_holding(L, &lua_replay_class, 1);
  lua_option_push(L, 1, "env");
  lua_setiuservalue(L, -2, 1);
  int made = lua_gettop(L);
  lua_fill(L, handle, orr_replay_new(lua_engine(L), &options));
  option_prioritised(L, 1, handle->object);
  lua_settop(L, made);
  return 1;
}

/* An environment whose spaces are not those of the file is an error. */
static void check_same(lua_State *L, const orr_replay *replay, const orr_env *env) {
  const orr_space *pairs[][2] = {{orr_replay_observation_space(replay),
                                  orr_env_observation_space(env)},
                                 {orr_replay_action_space(replay), orr_env_action_space(env)}};
  for (int i = 0; i < 2; i++) {
    if (orr_space_equal(pairs[i][0], pairs[i][1])) continue;
    char ours[300], theirs[300];
    lua_complain(L,
                 "load_replay: the %s of the file (%s) is not that of the environment '%s' (%s), "
                 "or has other bounds",
                 i ? "action" : "observation", orr_space_describe(pairs[i][0], ours, sizeof ours),
                 orr_env_name(env), orr_space_describe(pairs[i][1], theirs, sizeof theirs));
  }
}

/*** orrery.load_replay(path, { env = nil, salvage = false, capacity = nil, prioritised = nil }):
what replay:save wrote, and, where something is missing, a second result that says what. A file that
ends too early gives its whole episodes; damage before the end is an error unless salvage is asked
for. `env` must have the same fields; it is then the replay's. Priorities are as saved;
prioritised = { alpha = 0.6 } takes them to another power, or begins with equal ones. */
static int load_replay(lua_State *L) {
  static const char *const names[] = {"env", "salvage", "capacity", "prioritised", NULL};
  const char *path = luaL_checkstring(L, 1);
  lua_settop(L, 2);
  lua_check_options(L, 2, "load options", names);
  orr_replay_load_options options = orr_replay_load_options_defaults();
  options.salvage = lua_option_boolean(L, 2, "salvage", false);
  options.capacity = option_capacity(L, 2, 0);
  orr_env *env = lua_option_push(L, 2, "env") == LUA_TNIL ? NULL : lua_check_env(L, 3);
  orr_replay_report report;
  lua_handle *handle = lua_new_handle_holding(L, &lua_replay_class, 1);
  lua_fill(L, handle, orr_replay_load(lua_engine(L), path, &options, &report));
  int made = lua_gettop(L);
  option_prioritised(L, 2, handle->object);
  lua_settop(L, made);
  if (env) check_same(L, handle->object, env);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, 1);
  if (!report.message[0]) return 1;
  lua_pushstring(L, report.message);
  return 2;
}

/*** replay:save(path): writes it into one file, whole or not at all. */
static int save(lua_State *L) {
  lua_check_status(L, orr_replay_save(check_replay(L), luaL_checkstring(L, 2)));
  return 0;
}

/*** replay:clear(): drops all episodes. */
static int clear(lua_State *L) {
  orr_replay_clear(check_replay(L));
  return 0;
}

/*** replay:counts(): a table of what ever happened: episodes and transitions added (also those that
have left), discarded episodes, clipped numbers; and bytes, the memory taken. */
static int counts(lua_State *L) {
  orr_replay *replay = check_replay(L);
  orr_replay_counts c = orr_replay_count(replay);
  const struct {
    const char *name;
    int64_t value;
  } rows[] = {{"episodes", c.episodes},
              {"transitions", c.transitions},
              {"discarded", c.discarded},
              {"clipped", c.clipped},
              {"bytes", (int64_t)orr_replay_bytes(replay)}};
  lua_newtable(L);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    lua_pushinteger(L, rows[i].value);
    lua_setfield(L, -2, rows[i].name);
  }
  return 1;
}

/* ---- the objects */

static int replay_length(lua_State *L) {
  lua_pushinteger(L, orr_replay_transitions(check_replay(L)));
  return 1;
}

/* The space of that name; false: there is none of this name. */
static bool push_space(lua_State *L, orr_replay *replay, const char *name) {
  const struct {
    const char *name;
    orr_space *space;
  } spaces[] = {{"observation_space", orr_replay_observation_space(replay)},
                {"action_space", orr_replay_action_space(replay)},
                {"observation_extras", orr_replay_observation_extras(replay)},
                {"step_extras", orr_replay_step_extras(replay)}};
  for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
    if (!strcmp(name, spaces[i].name)) return lua_push_space(L, spaces[i].space);
  return false;
}

/* replay.episodes, replay.capacity, what else describes it, its spaces and replay.env, nil where it
   was made without one; everything else is a method, of this file or of lua/orrery/replay.lua,
   which is loaded when first asked for one. */
static int replay_index(lua_State *L) {
  orr_replay *replay = check_replay(L);
  const char *name = luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (!strcmp(name, "env")) {
    lua_getiuservalue(L, 1, 1);
    return 1;
  }
  if (!strcmp(name, "prioritised")) {
    lua_pushboolean(L, orr_replay_is_prioritised(replay));
    return 1;
  }
  if (!strcmp(name, "alpha")) {
    if (orr_replay_is_prioritised(replay)) lua_pushnumber(L, orr_replay_alpha(replay));
    else lua_pushnil(L);
    return 1;
  }
  if (!strcmp(name, "episodes") || !strcmp(name, "capacity")) {
    lua_pushinteger(L, name[0] == 'e' ? orr_replay_episodes(replay) : orr_replay_capacity(replay));
    return 1;
  }
  if (push_space(L, replay, name)) return 1;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "orrery.replay");
  lua_call(L, 1, 1);
  if (lua_getfield(L, -1, name) == LUA_TNIL) return lua_complain(L, "a replay has no '%s'", name);
  return 1;
}

static int replay_text(lua_State *L) {
  orr_replay *replay = check_replay(L);
  lua_pushfstring(L, "replay of %I transitions in %I episodes (capacity %I)",
                  (lua_Integer)orr_replay_transitions(replay),
                  (lua_Integer)orr_replay_episodes(replay),
                  (lua_Integer)orr_replay_capacity(replay));
  return 1;
}

static const luaL_Reg replay_methods[] = {{"add_episode", lua_add_episode},
                                          {"recorder", lua_new_recorder},
                                          {"clear", clear},
                                          {"counts", counts},
                                          {"save", save},
                                          {NULL, NULL}};
static const luaL_Reg replay_metamethods[] = {{"__index", replay_index},
                                              {"__len", replay_length},
                                              {"__tostring", replay_text},
                                              {NULL, NULL}};
const lua_class lua_replay_class = {"orrery.replay_store", "replay", free_replay, replay_methods,
                                    replay_metamethods};

void open_replay(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"replay", new_replay},
                                       {"load_replay", load_replay},
                                       {NULL, NULL}};
  lua_new_class(L, &lua_replay_class);
  open_recorder(L);
  open_replay_read(L);
  open_relabel(L);
  lua_add_functions(L, module, functions);
}
