/* vector_env.c - many environments stepped together, from Lua. What a task says of the steps of all
   copies comes from lua/orrery/judge.lua. */
#include <string.h>

#include "lua/env.h"
#include "lua/replay.h"
#include "orrery/vector_env.h"

/* User values of the handle: the tensors of results by name, the judge of a task, the replay and
   the environment (or the list) it was made with. */
enum { RESULTS = 1, JUDGE, REPLAY, ENV, USER_VALUES = ENV };

static void free_vector_env(void *many) { orr_vector_env_free(many); }

static const lua_class vector_env_class;

static orr_vector_env *check_many(lua_State *L) {
  return lua_check_object(L, 1, &vector_env_class);
}

static void add_result(lua_State *L, const char *name, orr_tensor *tensor) {
  lua_push_object(L, &lua_tensor_class, orr_tensor_retain(tensor));
  lua_setfield(L, -2, name);
}

/* Puts the results of the object at index into its user value. */
static void keep_results(lua_State *L, int index, const orr_vector_env *many) {
  const orr_vector_env_rows *r = orr_vector_env_results(many);
  lua_createtable(L, 0, 7);
  add_result(L, "observation", r->observation);
  add_result(L, "final_observation", r->final_observation);
  add_result(L, "action", r->action);
  add_result(L, "reward", r->reward);
  add_result(L, "terminated", r->terminated);
  add_result(L, "truncated", r->truncated);
  add_result(L, "time", r->time);
  lua_setiuservalue(L, index, RESULTS);
}

/* The environments of the list at index, whose table keeps them alive. */
static orr_env **read_list(lua_State *L, int index, int64_t *count) {
  *count = (int64_t)luaL_len(L, index);
  if (*count < 1 || *count > ORR_VECTOR_ENV_COPIES)
    lua_complain(L, "vector_env: an environment is needed, or a list of 1 to %d of them",
                 ORR_VECTOR_ENV_COPIES);
  orr_env **envs = lua_newuserdatauv(L, (size_t)*count * sizeof *envs, 0);
  for (int64_t i = 0; i < *count; i++) {
    lua_geti(L, index, (lua_Integer)i + 1);
    envs[i] = lua_check_env(L, -1);
    lua_pop(L, 1);
  }
  return envs;
}

/*** orrery.vector_env(env, copies, options): many copies of an environment, stepped together in C
on all threads. A copy whose episode has ended starts the next one by itself. Environments written
in Lua cannot be copied: give a list of them, orrery.vector_env({ a, b }, options), which are
stepped in turn, each with a self of its own. The options:
  replay     every episode is kept there; none: nothing is
  task       its reward takes the place of the environment's, its termination ends episodes too, its
             success is told by many:finished; computed for all copies at once. Termination and
             success mean yes by true or a number above 0.5; anything less, and NaN, is no
  max_steps  an episode is truncated after so many steps at the latest; none: the environment's own
             limit
What copy i lives through depends on the seed and i alone, and is what env:reset(seed) and env:step
give with the seeds of orrery.stream(seed, i - 1). n copies have, as tensors which the next step
overwrites:
  observation        n x S: flat, what the next actions are chosen from
  final_observation  n x S: what the step led to: the observation, but the last one where an episode
                     ended
  action             n x A: of the last step, as moved into bounds
  reward, terminated, truncated, time   n: time counts the steps of the episode, from 0
and copies (n), env (as given), replay, pending (advance was called and settle is due). */
static int new_vector_env(lua_State *L) {
  static const char *const names[] = {"replay", "task", "max_steps", NULL};
  bool list = lua_type(L, 1) == LUA_TTABLE;
  if (list && lua_isnoneornil(L, 2)) lua_settop(L, 3);
  else if (list && lua_istable(L, 2)) lua_settop(L, 2);
  else lua_settop(L, 3);
  int at = lua_gettop(L);
  lua_check_options(L, at, "vector_env options", names);
  orr_vector_env_options options = orr_vector_env_options_defaults();
  options.max_steps = lua_option_integer(L, at, "max_steps", 0, 0, INT32_MAX);
  lua_handle *handle = lua_new_handle_holding(L, &vector_env_class, USER_VALUES);
  int made = lua_gettop(L);
  if (lua_option_push(L, at, "replay") != LUA_TNIL)
    options.replay = lua_check_object(L, -1, &lua_replay_class);
  lua_setiuservalue(L, made, REPLAY);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, made, ENV);
  if (list) {
    int64_t count;
    orr_env **envs = read_list(L, 1, &count);
    if (at == 3 && !lua_isnil(L, 2) && luaL_checkinteger(L, 2) != count)
      return lua_complain(L,
                          "vector_env: %I copies of a list of %I environments; they are one each",
                          (LUAI_UACINT)lua_tointeger(L, 2), (LUAI_UACINT)count);
    lua_fill(L, handle, orr_vector_env_from(envs, count, &options));
  } else {
    orr_env *env = lua_check_env(L, 1);
    lua_fill(L, handle, orr_vector_env_new(env, luaL_checkinteger(L, 2), &options));
  }
  keep_results(L, made, handle->object);
  if (lua_option_push(L, at, "task") != LUA_TNIL) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "orrery.judge");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "of_vector_env");
    lua_pushvalue(L, -3);
    lua_pushvalue(L, made);
    lua_call(L, 2, 1);
    lua_setiuservalue(L, made, JUDGE);
  }
  lua_settop(L, made);
  return 1;
}

/* ---- stepping */

typedef orr_status (*advance_function)(orr_vector_env *many, const orr_real *actions);

/* A script may close it meanwhile, in an environment written in Lua. */
static void act(lua_State *L, orr_vector_env *many, const orr_real *actions,
                advance_function advance) {
  orr_vector_env_retain(many);
  orr_status status = advance(many, actions);
  orr_vector_env_free(many);
  lua_check_status(L, status);
}

/* Real numbers [n, width], or [n] where width is 1 (or 0), from the tensor or list at index. */
static orr_real *read_rows(lua_State *L, int index, const orr_vector_env *many, int64_t width,
                           const char *what) {
  int64_t n = orr_vector_env_copies(many);
  orr_tensor *x = lua_to_tensor(L, index);
  int axes = orr_tensor_axes(x);
  const int64_t *shape = orr_tensor_shape(x);
  bool fits =
      axes == 2 ? shape[0] == n && shape[1] == width : axes == 1 && width <= 1 && shape[0] == n;
  if (!fits) {
    const char *wanted = width > 0 ? lua_pushfstring(L, "%d x %d", (int)n, (int)width)
                                   : lua_pushfstring(L, "%d", (int)n);
    const char *given = axes == 2   ? lua_pushfstring(L, "%d x %d", (int)shape[0], (int)shape[1])
                        : axes == 1 ? lua_pushfstring(L, "%d", (int)shape[0])
                                    : lua_pushfstring(L, "one of %d axes", axes);
    return lua_complain(L, "vector_env: %s must be a tensor of %s, a row for each copy, not %s",
                        what, wanted, given),
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

static int push_results(lua_State *L) {
  static const char *const names[] = {"observation", "reward", "terminated", "truncated"};
  lua_getiuservalue(L, 1, RESULTS);
  for (int i = 0; i < 4; i++) lua_getfield(L, -1 - i, names[i]);
  lua_tell_collector(L);
  return 4;
}

/*** many:reset(seed): starts an episode in every copy; those under way are dropped. Returns the
observation; without a seed the engine's random numbers give one. */
static int reset(lua_State *L) {
  orr_vector_env *many = check_many(L);
  uint64_t seed = lua_isnoneornil(L, 2)
                      ? (uint64_t)orr_random_bits(orr_engine_random(lua_engine(L)))
                      : (uint64_t)luaL_checkinteger(L, 2);
  orr_vector_env_retain(many);
  orr_status status = orr_vector_env_reset(many, seed);
  orr_vector_env_free(many);
  lua_check_status(L, status);
  lua_settop(L, 1);
  push_results(L);
  lua_pop(L, 3);
  return 1;
}

/* One of the verdict's tensors, in the table at index, or NULL; left on the stack. */
static const orr_real *option_rows(lua_State *L, int index, const orr_vector_env *many,
                                   const char *name) {
  if (lua_option_push(L, index, name) == LUA_TNIL) return NULL;
  return read_rows(L, lua_gettop(L), many, 0, name);
}

static int settle_by(lua_State *L, orr_vector_env *many, int index) {
  static const char *const names[] = {"reward", "terminated", "success", NULL};
  lua_check_options(L, index, "settle options", names);
  orr_vector_env_verdict verdict;
  verdict.reward = option_rows(L, index, many, "reward");
  verdict.terminated = option_rows(L, index, many, "terminated");
  verdict.success = option_rows(L, index, many, "success");
  orr_vector_env_retain(many);
  orr_status status = orr_vector_env_settle(many, &verdict);
  orr_vector_env_free(many);
  lua_check_status(L, status);
  return push_results(L);
}

static const orr_real *read_actions(lua_State *L, const orr_vector_env *many) {
  lua_settop(L, 2);
  int64_t width = orr_space_size(orr_env_action_space(orr_vector_env_copy(many, 0)));
  return read_rows(L, 2, many, width, "actions");
}

/*** many:step(actions): steps every copy. actions: n x A, moved into bounds; n numbers where A is
1, such as an int tensor for a discrete field, which counts from 0. Returns observation, reward,
terminated, truncated: tensors that the next step overwrites. An error of an environment leaves
every copy as it was before; where one cannot go back (its state is hidden), a reset is due. An
error of the task, or of a new start, comes after the step: many:settle is then due, or a reset. */
static int step(lua_State *L) {
  orr_vector_env *many = check_many(L);
  const orr_real *actions = read_actions(L, many);
  if (lua_getiuservalue(L, 1, JUDGE) == LUA_TNIL) {
    act(L, many, actions, orr_vector_env_step);
    return push_results(L);
  }
  act(L, many, actions, orr_vector_env_advance);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return settle_by(L, many, lua_gettop(L));
}

/*** many:advance(actions): the first half of a step, for rewards that are computed elsewhere: fills
final_observation, action, reward, terminated and truncated; observation and time are still those
before. */
static int advance(lua_State *L) {
  orr_vector_env *many = check_many(L);
  act(L, many, read_actions(L, many), orr_vector_env_advance);
  return 0;
}

/*** many:settle { reward = r, terminated = d, success = w }: the second half: keeps the step and
starts anew what has ended. reward takes the place of the environment's own, terminated ends
episodes too, success is told by many:finished, both where they are above 0.5, and not where they
are less or NaN; n numbers each, and each may be left out. Returns what many:step does. After an
error it may be called again. */
static int settle(lua_State *L) {
  orr_vector_env *many = check_many(L);
  lua_settop(L, 2);
  return settle_by(L, many, 2);
}

/*** many:finished(): the episodes that ended since the last call, a list of { copy =, ["return"] =,
length =, terminated =, success =, success_at_end = }: at any step, at the last; nil where nothing
judges success. */
static int finished(lua_State *L) {
  orr_vector_env *many = check_many(L);
  int64_t count;
  const orr_vector_env_episode *list = orr_vector_env_finished(many, &count);
  lua_createtable(L, (int)count, 0);
  for (int64_t i = 0; i < count; i++) {
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, (lua_Integer)list[i].copy + 1);
    lua_setfield(L, -2, "copy");
    lua_pushnumber(L, list[i].total);
    lua_setfield(L, -2, "return");
    lua_pushinteger(L, (lua_Integer)list[i].length);
    lua_setfield(L, -2, "length");
    lua_pushboolean(L, list[i].terminated);
    lua_setfield(L, -2, "terminated");
    if (list[i].judged) {
      lua_pushboolean(L, list[i].success);
      lua_setfield(L, -2, "success");
      lua_pushboolean(L, list[i].success_at_end);
      lua_setfield(L, -2, "success_at_end");
    }
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  orr_vector_env_forget(many);
  return 1;
}

/*** many:cut(): puts the episodes under way into the replay, as truncated; a reset is then due. */
static int cut(lua_State *L) {
  lua_check_status(L, orr_vector_env_cut(check_many(L)));
  lua_tell_collector(L);
  return 0;
}

static const orr_field *find_extra(const orr_replay *replay, const char *name) {
  const orr_space *spaces[] = {replay ? orr_replay_observation_extras(replay) : NULL,
                               replay ? orr_replay_step_extras(replay) : NULL};
  for (int i = 0; i < 2; i++) {
    int found = spaces[i] ? orr_space_find(spaces[i], name) : -1;
    if (found >= 0) return orr_space_field(spaces[i], found);
  }
  return NULL;
}

/*** many:set(field, values): an extra field of the replay, n x its numbers: kept with the newest
observation of each copy (or its next step), and with all that follow until it is set again. So a
task's identifier is set once the copy has started its episode. */
static int set(lua_State *L) {
  orr_vector_env *many = check_many(L);
  const char *name = luaL_checkstring(L, 2);
  lua_settop(L, 3);
  const orr_field *field = find_extra(orr_vector_env_replay(many), name);
  if (!field) lua_check_status(L, orr_vector_env_set(many, name, NULL)); /* which says why not */
  orr_tensor *x = lua_to_tensor(L, 3);
  int64_t n = orr_vector_env_copies(many);
  if (orr_tensor_count(x) != n * field->count || orr_tensor_shape(x)[0] != n)
    return lua_complain(L,
                        "vector_env: '%s' must be a tensor of %d rows, one for each copy, of %d "
                        "numbers; it has %d in all",
                        name, (int)n, (int)field->count, (int)orr_tensor_count(x));
  lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
  lua_fill(L, handle, orr_tensor_convert(x, field->dtype));
  lua_check_status(L, orr_vector_env_set(many, name, orr_tensor_data(handle->object)));
  lua_settop(L, 1);
  return 1;
}

/* ---- the object */

static int vector_env_index(lua_State *L) {
  orr_vector_env *many = check_many(L);
  const char *key = luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  lua_getiuservalue(L, 1, RESULTS);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  if (strcmp(key, "copies") == 0) lua_pushinteger(L, orr_vector_env_copies(many));
  else if (strcmp(key, "pending") == 0) lua_pushboolean(L, orr_vector_env_is_pending(many));
  else if (strcmp(key, "replay") == 0) lua_getiuservalue(L, 1, REPLAY);
  else if (strcmp(key, "env") == 0) lua_getiuservalue(L, 1, ENV);
  else
    return lua_complain(
        L,
        "a vector environment has no '%s'; it has observation, final_observation, "
        "action, reward, terminated, truncated, time, copies, pending, replay, env and "
        "the methods reset, step, advance, settle, finished, cut, set",
        key);
  return 1;
}

static int vector_env_text(lua_State *L) {
  orr_vector_env *many = check_many(L);
  lua_pushfstring(L, "vector_env of %d x %s", (int)orr_vector_env_copies(many),
                  orr_env_name(orr_vector_env_copy(many, 0)));
  return 1;
}

static const luaL_Reg methods[] = {{"reset", reset},       {"step", step},
                                   {"advance", advance},   {"settle", settle},
                                   {"finished", finished}, {"cut", cut},
                                   {"set", set},           {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__index", vector_env_index},
                                       {"__tostring", vector_env_text},
                                       {NULL, NULL}};
static const lua_class vector_env_class = {"orrery.vector_env", "vector environment",
                                           free_vector_env, methods, metamethods};

void open_vector_env(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"vector_env", new_vector_env}, {NULL, NULL}};
  lua_new_class(L, &vector_env_class);
  lua_add_functions(L, module, functions);
}
