/* recorder.c - adding episodes to a replay from Lua: step by step, or whole. */
#include "lua/replay.h"

#include <string.h>

#include "lua/space.h"

static void free_episode(void *episode) { orr_episode_free(episode); }

static const lua_class recorder_class;

static orr_replay *check_replay(lua_State *L) { return lua_check_object(L, 1, &lua_replay_class); }

/* A table by field name, and not a list of numbers. */
static bool is_record(lua_State *L, int index) {
  if (!lua_istable(L, index)) return false;
  bool record = lua_geti(L, index, 1) == LUA_TNIL;
  lua_pop(L, 1);
  return record;
}

/* Flat numbers of a space from the tensor, list or record at index, where what owns them is left.
   */
static const orr_real *check_flat(lua_State *L, int index, const orr_space *space,
                                  const char *what) {
  if (is_record(L, index)) {
    orr_real *values = lua_newuserdatauv(L, (size_t)orr_space_size(space) * sizeof *values, 0);
    lua_read_record(L, index, space, what, values);
    lua_replace(L, index);
    return values;
  }
  orr_tensor *x = lua_to_tensor(L, index);
  if (orr_tensor_count(x) != orr_space_size(space)) {
    char text[256];
    return lua_complain(L, "replay: the %s has %I numbers; %I are expected (%s)", what,
                        (lua_Integer)orr_tensor_count(x), (lua_Integer)orr_space_size(space),
                        orr_space_describe(space, text, sizeof text)),
           NULL;
  }
  if (orr_tensor_dtype(x) != ORR_REAL || !orr_tensor_is_contiguous(x)) {
    lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
    lua_fill(L, handle, orr_tensor_convert(x, ORR_REAL));
    lua_replace(L, index);
    x = handle->object;
  }
  return orr_tensor_data(x);
}

static orr_episode *check_recorder(lua_State *L) { return lua_check_object(L, 1, &recorder_class); }

/* User value 1 of a recorder. */
static orr_replay *replay_of(lua_State *L) {
  lua_getiuservalue(L, 1, 1);
  orr_replay *replay = lua_check_object(L, -1, &lua_replay_class);
  lua_pop(L, 1);
  return replay;
}

/*** replay:recorder(): builds episodes step by step: recorder:start(observation),
recorder:step(action, reward, next_observation) ..., recorder:finish(terminated, truncated). What is
not finished never enters the replay. */
int lua_new_recorder(lua_State *L) {
  orr_replay *replay = check_replay(L);
  lua_settop(L, 1);
  lua_handle *handle = lua_new_handle_holding(L, &recorder_class, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, 1);
  return lua_fill(L, handle, orr_episode_new(replay));
}

/*** recorder:start(observation): begins an episode; one that was not finished is dropped. */
static int recorder_start(lua_State *L) {
  orr_episode *e = check_recorder(L);
  lua_settop(L, 2);
  const orr_real *observation =
      check_flat(L, 2, orr_replay_observation_space(replay_of(L)), "observation");
  lua_check_status(L, orr_episode_start(e, observation));
  lua_settop(L, 1);
  return 1;
}

/*** recorder:step(action, reward, next_observation): adds a step. */
static int recorder_step(lua_State *L) {
  orr_episode *e = check_recorder(L);
  orr_replay *replay = replay_of(L);
  lua_settop(L, 4);
  const orr_real *action = check_flat(L, 2, orr_replay_action_space(replay), "action");
  orr_real reward = (orr_real)luaL_checknumber(L, 3);
  const orr_real *next = check_flat(L, 4, orr_replay_observation_space(replay), "observation");
  lua_check_status(L, orr_episode_step(e, action, reward, next));
  lua_settop(L, 1);
  return 1;
}

static const orr_field *find_extra(const orr_replay *replay, const char *name) {
  const orr_space *spaces[] = {orr_replay_observation_extras(replay),
                               orr_replay_step_extras(replay)};
  for (int i = 0; i < 2; i++) {
    int found = spaces[i] ? orr_space_find(spaces[i], name) : -1;
    if (found >= 0) return orr_space_field(spaces[i], found);
  }
  return NULL;
}

/*** recorder:set(field, values): an extra field of the newest observation or step. */
static int recorder_set(lua_State *L) {
  orr_episode *e = check_recorder(L);
  const char *name = luaL_checkstring(L, 2);
  lua_settop(L, 3);
  const orr_field *field = find_extra(replay_of(L), name);
  orr_tensor *x = lua_to_tensor(L, 3);
  if (field && orr_tensor_count(x) != field->count)
    return lua_complain(L, "replay: '%s' has %I numbers; %I are expected", name,
                        (lua_Integer)orr_tensor_count(x), (lua_Integer)field->count);
  lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
  lua_fill(L, handle, field ? orr_tensor_convert(x, field->dtype) : orr_tensor_retain(x));
  lua_check_status(L, orr_episode_set(e, name, orr_tensor_data(handle->object)));
  lua_settop(L, 1);
  return 1;
}

/*** recorder:finish(terminated, truncated): the episode enters the replay. */
static int recorder_finish(lua_State *L) {
  orr_episode *e = check_recorder(L);
  lua_check_status(L, orr_episode_finish(e, lua_toboolean(L, 2), lua_toboolean(L, 3)));
  lua_tell_collector(L);
  return 0;
}

static int recorder_length(lua_State *L) {
  int64_t length = orr_episode_length(check_recorder(L));
  lua_pushinteger(L, length < 0 ? 0 : length);
  return 1;
}

/*** replay:add_episode { observation = ..., action = ..., reward = ..., terminated = false,
truncated = false, ... }: a whole episode, as tensors or lists: T + 1 observations, T actions and
rewards, and extra fields by name. */
int lua_add_episode(lua_State *L) {
  orr_replay *replay = check_replay(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  orr_replay_input inputs[MOST_FIELDS];
  int count = 0;
  bool ends[2] = {false, false};
  luaL_checkstack(L, 2 * MOST_FIELDS + 8, NULL);
  for (lua_pushnil(L); lua_next(L, 2);) { /* names and tensors stay on the stack */
    if (lua_type(L, -2) != LUA_TSTRING)
      return lua_complain(L, "replay: an episode is a table by field");
    const char *name = lua_tostring(L, -2);
    int end = !strcmp(name, "terminated") ? 0 : !strcmp(name, "truncated") ? 1 : -1;
    if (end >= 0) {
      ends[end] = lua_toboolean(L, -1);
      lua_pop(L, 1);
      continue;
    }
    if (count == MOST_FIELDS) return lua_complain(L, "replay: too many fields");
    lua_to_tensor(L, -1);
    orr_tensor *x = lua_check_tensor(L, -1);
    if (!orr_tensor_is_contiguous(x)) {
      lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
      lua_fill(L, handle, orr_tensor_copy(x));
      lua_replace(L, -2);
      x = handle->object;
    }
    inputs[count++] = (orr_replay_input){name, x};
    lua_pushvalue(L, -2); /* the key, for lua_next */
  }
  lua_check_status(L, orr_replay_add(replay, count, inputs, ends[0], ends[1]));
  lua_tell_collector(L);
  return 0;
}

static const luaL_Reg recorder_methods[] = {{"start", recorder_start},
                                            {"step", recorder_step},
                                            {"set", recorder_set},
                                            {"finish", recorder_finish},
                                            {NULL, NULL}};
static const luaL_Reg recorder_metamethods[] = {{"__len", recorder_length}, {NULL, NULL}};
static const lua_class recorder_class = {"orrery.recorder", "recorder", free_episode,
                                         recorder_methods, recorder_metamethods};

void open_recorder(lua_State *L) { lua_new_class(L, &recorder_class); }
