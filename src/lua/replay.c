/* replay.c - replay for Lua; recorder.c adds to it, and lua/orrery/replay.lua collects.
   In Lua episodes and times count from 1; in windows 0 stands for "past the end". */
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

/* The option prioritised, of a replay that was just made: { alpha = 0.6 } or true. */
static void option_prioritised(lua_State *L, int index, orr_replay *replay) {
  static const char *const names[] = {"alpha", NULL};
  int type = lua_istable(L, index) ? lua_option_push(L, index, "prioritised") : LUA_TNIL;
  if (type == LUA_TNIL || (type == LUA_TBOOLEAN && !lua_toboolean(L, -1))) return;
  int at = lua_gettop(L);
  if (type != LUA_TBOOLEAN && type != LUA_TTABLE)
    lua_complain(L, "replay options: prioritised is a table, as in { alpha = 0.6 }, not a %s",
                 lua_typename(L, type));
  double alpha = 0.6;
  if (type == LUA_TTABLE) {
    lua_check_options(L, at, "replay options, prioritised", names);
    alpha = lua_option_number(L, at, "alpha", alpha, 0, 10);
  }
  lua_check_status(L, orr_replay_prioritise(replay, alpha));
}

/*** orrery.replay { env = env, capacity = 1e6, bad_numbers = "error", prioritised = nil }: an empty store of whole
episodes, which takes memory as it fills; past its capacity, in transitions, the oldest episodes
leave. bad_numbers says what happens to numbers that are infinite or NaN: "error", "discard" (their
episode) or "clip". prioritised = { alpha = 0.6 } makes replay:sample draw by priority. Instead of an environment, spaces: observation, action; with observation_extras
and step_extras for further fields. */
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

/*** orrery.load_replay(path, { env = nil, salvage = false, capacity = nil, prioritised = nil }): what replay:save
wrote, and, where something is missing, a second result that says what. A file that ends too early
gives its whole episodes; damage before the end is an error unless salvage is asked for. `env` must
have the same fields; it is then the replay's. */
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

/* ---- reading: a table of tensors by field */

typedef struct request {
  orr_replay_output outputs[MOST_FIELDS];
  lua_handle *made[MOST_FIELDS]; /* handles that a new tensor goes into, in the result */
  int count;
  const orr_relabel *relabel; /* NULL: read as it was */
} request;

/* The field with its name on top of the stack, which is popped; `result` holds the tensors, `into`
   is an index of earlier ones, or 0. */
static void add_field(lua_State *L, request *r, int result, int into) {
  if (lua_type(L, -1) != LUA_TSTRING) lua_complain(L, "fields must be a list of names");
  if (r->count == MOST_FIELDS) lua_complain(L, "at most %d fields are read at once", MOST_FIELDS);
  orr_replay_output *output = &r->outputs[r->count];
  *output = (orr_replay_output){lua_tostring(L, -1), NULL};
  r->made[r->count] = NULL;
  if (into) {
    lua_pushvalue(L, -1);
    if (lua_gettable(L, into) != LUA_TNIL) output->tensor = lua_check_tensor(L, -1);
    else lua_pop(L, 1);
  }
  if (!output->tensor) r->made[r->count] = lua_new_handle(L, &lua_tensor_class);
  r->count++;
  lua_settable(L, result); /* which also keeps the name alive */
}

static void add_named(lua_State *L, request *r, int result, int into, const char *prefix,
                      const char *name) {
  lua_pushfstring(L, "%s%s", prefix, name);
  add_field(L, r, result, into);
}

static void add_extras(lua_State *L, request *r, int result, int into, orr_replay *replay,
                       bool next) {
  const orr_space *spaces[] = {orr_replay_observation_extras(replay),
                               orr_replay_step_extras(replay)};
  for (int which = 0; which < 2; which++)
    for (int i = 0; spaces[which] && i < orr_space_fields(spaces[which]); i++) {
      const char *name = orr_space_field(spaces[which], i)->name;
      add_named(L, r, result, into, "", name);
      if (which == 0 && next) add_named(L, r, result, into, "next_", name);
    }
}

/* Pushes the result table, and into r what to read: the fields that options at `index` name, or
   those of `standard` and all extra fields. */
static void begin_request(lua_State *L, request *r, orr_replay *replay, int index,
                          const char *const *standard, bool next) {
  bool given = lua_istable(L, index);
  int into = 0;
  r->count = 0;
  r->relabel = NULL;
  if (given && lua_option_push(L, index, "into") != LUA_TNIL) {
    luaL_checktype(L, -1, LUA_TTABLE);
    into = lua_gettop(L);
    lua_pushvalue(L, into);
  } else {
    lua_newtable(L);
  }
  int result = lua_gettop(L);
  if (!given || lua_option_push(L, index, "fields") == LUA_TNIL) {
    for (int i = 0; standard[i]; i++) add_named(L, r, result, into, "", standard[i]);
    add_extras(L, r, result, into, replay, next);
  } else {
    luaL_checktype(L, -1, LUA_TTABLE);
    int fields = lua_gettop(L);
    for (lua_Integer i = 1; i <= luaL_len(L, fields); i++) {
      lua_geti(L, fields, i);
      add_field(L, r, result, into);
    }
  }
  lua_settop(L, result);
}

static bool counts_places(const char *field) {
  return !strcmp(field, "episode") || !strcmp(field, "time");
}

/* Episodes and times count from 1; in windows 0 stays where `lengths` is 0. */
static void count_from_one(const request *r, orr_tensor *lengths) {
  for (int i = 0; i < r->count; i++) {
    orr_tensor *x = r->outputs[i].tensor;
    if (!counts_places(r->outputs[i].field)) continue;
    const int32_t *inside = lengths ? orr_tensor_data(lengths) : NULL;
    for (int64_t k = 0; k < orr_tensor_count(x); k++) {
      if (inside && !inside[k]) continue;
      if (orr_tensor_dtype(x) == ORR_INT) ((int32_t *)orr_tensor_data(x))[k]++;
      else ((orr_real *)orr_tensor_data(x))[k]++;
    }
  }
}

static orr_status read_request(const request *r, orr_replay *replay, int64_t count,
                               const int64_t *index, int64_t length, orr_replay_output *outputs) {
  if (r->relabel)
    return orr_replay_read_relabeled(replay, count, index, length, r->relabel, r->count, outputs);
  if (length) return orr_replay_read_windows(replay, count, index, length, r->count, outputs);
  return orr_replay_read(replay, count, index, r->count, outputs);
}

/* Reads and hands the new tensors to their handles; the result table is on top. length 0:
   transitions. */
static int finish_request(lua_State *L, request *r, orr_replay *replay, int64_t count,
                          const int64_t *index, int64_t length) {
  lua_check_status(L, read_request(r, replay, count, index, length, r->outputs));
  for (int i = 0; i < r->count; i++)
    if (r->made[i]) r->made[i]->object = r->outputs[i].tensor;
  orr_replay_output lengths = {"length", NULL};
  bool places = false;
  for (int i = 0; i < r->count; i++) places |= counts_places(r->outputs[i].field);
  if (length && places)
    lua_check_status(L, orr_replay_read_windows(replay, count, index, length, 1, &lengths));
  if (places) count_from_one(r, lengths.tensor);
  orr_tensor_free(lengths.tensor);
  lua_tell_collector(L);
  return 1;
}

static const char *const batch_options[] = {"fields", "into", "stream", "partial", NULL};

/* Options that lua/orrery/relabel_sample.lua reads: then its `function` answers the call. */
static bool asks_for_more(lua_State *L, int index, bool found) {
  static const char *const more[] = {"relabel", "task", "steps", "gamma", "beta", NULL};
  for (int i = 0; lua_istable(L, index) && more[i] && !found; i++) {
    found = lua_option_push(L, index, more[i]) != LUA_TNIL;
    lua_pop(L, 1);
  }
  return found;
}

static int call_sampler(lua_State *L, const char *function) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "orrery.relabel_sample");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, function);
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

static void check_batch_options(lua_State *L, int index, const char *what) {
  lua_check_options(L, index, what, batch_options);
}

orr_random *lua_option_stream(lua_State *L, int index) {
  if (!lua_istable(L, index) || lua_option_push(L, index, "stream") == LUA_TNIL) return NULL;
  orr_random *stream = luaL_testudata(L, -1, "orrery.stream");
  if (!stream)
    lua_complain(L, "option 'stream' must be an orrery.stream, not a %s", luaL_typename(L, -1));
  lua_pop(L, 1);
  return stream;
}

static int64_t check_count(lua_State *L, int index, const char *what) {
  lua_Integer count = luaL_checkinteger(L, index);
  if (count < 1 || count > INT32_MAX)
    lua_complain(L, "replay: %s must be 1 or more, got %d", what, (int)count);
  return count;
}

int64_t *lua_new_indices(lua_State *L, int64_t count) {
  return lua_newuserdatauv(L, (size_t)count * sizeof(int64_t), 0);
}

static const char *const transition_fields[] = {"observation",      "action",     "reward",
                                                "next_observation", "terminated", NULL};

/*** replay:sample(n, { fields = nil, stream = nil, into = nil, relabel = nil, task = nil, steps = 1,
gamma = nil, beta = 0.4 }): a batch of n transitions, each equally likely: a table of tensors by field, n first.
Without `fields`: observation, action, reward, next_observation, terminated, and the extra fields.
`stream` is an orrery.stream to draw from; `into` an earlier batch, whose tensors are written again.
With `relabel`, a strategy of orrery.relabel, goals are replaced, reward and terminated are those of
the new goal by `task` (or the strategy's own), and `relabeled` is 1 where that was done. With
`gamma` the batch has a `discount`: gamma, and 0 where terminated; with `steps` of n, reward is the
discounted sum of n rewards, next_observation and all else that is "next" are n steps on, or as many
as there are to the end, and discount is gamma to that number. From a replay that is prioritised the
batch also has `index`, for replay:set_priorities, and `weight`, importance weights with beta. */
static int sample(lua_State *L) {
  orr_replay *replay = check_replay(L);
  int64_t count = check_count(L, 2, "the number of transitions");
  if (asks_for_more(L, 3, orr_replay_is_prioritised(replay))) return call_sampler(L, "sample");
  check_batch_options(L, 3, "sample options");
  lua_settop(L, 3);
  orr_random *stream = lua_option_stream(L, 3);
  request r;
  int64_t *index = lua_new_indices(L, count);
  begin_request(L, &r, replay, 3, transition_fields, true);
  lua_check_status(L, orr_replay_sample(replay, stream, count, index));
  return finish_request(L, &r, replay, count, index, 0);
}

/*** replay:windows(n, length, { partial = false, fields = nil, stream = nil, into = nil, relabel =
nil, task = nil }): n stretches of `length` steps that do not leave their episode: observation [n, length + 1, ...],
action, reward, terminated and mask [n, length, ...], and the extra fields. Only windows that fit,
each equally likely; with `partial` any start, past the end the last observation repeated, the rest
0, and so the mask. With `relabel` as of replay:sample: one goal for a window, chosen for its first
step. */
static int windows(lua_State *L) {
  static const char *const standard[] = {"observation", "action", "reward",
                                         "terminated",  "mask",   NULL};
  orr_replay *replay = check_replay(L);
  int64_t count = check_count(L, 2, "the number of windows");
  int64_t length = check_count(L, 3, "the length of windows");
  if (asks_for_more(L, 4, false)) return call_sampler(L, "windows");
  check_batch_options(L, 4, "windows options");
  lua_settop(L, 4);
  orr_random *stream = lua_option_stream(L, 4);
  bool partial = lua_istable(L, 4) && lua_option_boolean(L, 4, "partial", false);
  request r;
  int64_t *index = lua_new_indices(L, count);
  begin_request(L, &r, replay, 4, standard, false);
  lua_check_status(L, orr_replay_sample_windows(replay, stream, length, !partial, count, index));
  return finish_request(L, &r, replay, count, index, length);
}

/*** replay:transitions({ fields = nil }): every transition, oldest first, as tensors: observation,
action, reward, next_observation, terminated, episode (from 1, an int tensor), and the extra fields.
*/
static int transitions(lua_State *L) {
  static const char *const standard[] = {"observation", "action",  "reward", "next_observation",
                                         "terminated",  "episode", NULL};
  orr_replay *replay = check_replay(L);
  check_batch_options(L, 2, "transitions options");
  lua_settop(L, 2);
  request r;
  begin_request(L, &r, replay, 2, standard, true);
  return finish_request(L, &r, replay, orr_replay_transitions(replay), NULL, 0);
}

int64_t *lua_check_indices(lua_State *L, int index, int64_t *count) {
  orr_tensor *x = lua_to_tensor(L, index);
  *count = orr_tensor_count(x);
  luaL_argcheck(L, orr_tensor_is_contiguous(x) && *count > 0, index,
                "a list or contiguous tensor of numbers "
                "is needed");
  int64_t *numbers = lua_new_indices(L, *count);
  for (int64_t i = 0; i < *count; i++) {
    const void *data = orr_tensor_data(x);
    double number = orr_tensor_dtype(x) == ORR_INT    ? ((const int32_t *)data)[i]
                    : orr_tensor_dtype(x) == ORR_BYTE ? ((const uint8_t *)data)[i]
                                                      : (double)((const orr_real *)data)[i];
    luaL_argcheck(L, number == floor(number) && fabs(number) < 1e15, index,
                  "numbers of transitions are whole");
    numbers[i] = (int64_t)number - 1;
  }
  return numbers;
}

/* The option goals of replay:read, whose table stays on the stack with what the relabeling points
   to. */
static const orr_relabel *option_goals(lua_State *L, int options, int64_t count,
                                       orr_relabel *relabel) {
  static const char *const names[] = {"desired", "achieved", "source", "values", NULL};
  if (!lua_istable(L, options) || lua_option_push(L, options, "goals") == LUA_TNIL) return NULL;
  int goals = lua_gettop(L);
  lua_check_options(L, goals, "read options, goals", names);
  *relabel = orr_relabel_defaults();
  relabel->desired = lua_option_string(L, goals, "desired", relabel->desired);
  relabel->achieved = lua_option_string(L, goals, "achieved", relabel->achieved);
  if (lua_option_push(L, goals, "values") != LUA_TNIL)
    relabel->values = lua_check_tensor(L, lua_gettop(L));
  if (lua_option_push(L, goals, "source") != LUA_TNIL) {
    int64_t sources;
    relabel->source = lua_check_indices(L, lua_gettop(L), &sources);
    if (sources != count)
      lua_complain(L, "read options, goals: %d sources for %d transitions", (int)sources,
                   (int)count);
  }
  return relabel;
}

/*** replay:read(numbers, { length = nil, fields = nil, into = nil, goals = nil }): the transitions
with these numbers (1 is the oldest; a list or an int tensor), as from replay:sample; with a length
the windows that begin there, as from replay:windows with `partial`. goals: { source =, desired =
"desired_goal", achieved = "achieved_goal" } reads the desired field of each transition, and its
place in the flat observation, from the achieved field of the observation with that number (from 1,
as replay:choose_goals gives them; 0: its own goal stays). With `values`, a tensor of goals, source
is a row of it, and without a source each transition's own row. */
static int read(lua_State *L) {
  static const char *const names[] = {"fields", "goals", "into", "length", NULL};
  static const char *const standard[] = {"observation", "action", "reward",
                                         "terminated",  "mask",   NULL};
  orr_replay *replay = check_replay(L);
  lua_settop(L, 3);
  lua_check_options(L, 3, "read options", names);
  int64_t length = lua_istable(L, 3) ? lua_option_integer(L, 3, "length", 0, 1, INT32_MAX) : 0,
          count;
  int64_t *index = lua_check_indices(L, 2, &count);
  orr_relabel relabel;
  const orr_relabel *goals = option_goals(L, 3, count, &relabel);
  request *r = lua_newuserdatauv(L, sizeof *r, 0);
  begin_request(L, r, replay, 3, length ? standard : transition_fields, !length);
  r->relabel = goals;
  return finish_request(L, r, replay, count, index, length);
}

/*** replay:episode(i): episode i (1 is the oldest; -1 the newest): a table with number, first (its
first transition), length, terminated, truncated, and tensors: observation [length + 1, ...],
action, reward [length, ...], and the extra fields. */
static int episode(lua_State *L) {
  static const char *const standard[] = {"observation", "action", "reward", NULL};
  orr_replay *replay = check_replay(L);
  lua_Integer i = luaL_checkinteger(L, 2), count = orr_replay_episodes(replay);
  orr_episode_info info;
  if (i < 0) i += count + 1;
  if (i < 1 || i > count)
    return lua_complain(L, "replay: no episode %I; it holds %I", luaL_checkinteger(L, 2), count);
  lua_check_status(L, orr_replay_episode(replay, i - 1, &info));
  lua_settop(L, 1);
  lua_pushnil(L);
  request r;
  begin_request(L, &r, replay, 2, standard, false);
  finish_request(L, &r, replay, 1, &info.first, info.length);
  for (int k = 0; k < r.count; k++) { /* without the axis of one window */
    lua_pushstring(L, r.outputs[k].field);
    lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
    const int64_t *shape = orr_tensor_shape(r.outputs[k].tensor);
    lua_fill(L, handle,
             orr_tensor_reshape(r.outputs[k].tensor, orr_tensor_axes(r.outputs[k].tensor) - 1,
                                shape + 1));
    lua_settable(L, -3);
  }
  lua_pushinteger(L, info.number + 1);
  lua_setfield(L, -2, "number");
  lua_pushinteger(L, info.first + 1);
  lua_setfield(L, -2, "first");
  lua_pushinteger(L, info.length);
  lua_setfield(L, -2, "length");
  lua_pushboolean(L, info.terminated);
  lua_setfield(L, -2, "terminated");
  lua_pushboolean(L, info.truncated);
  lua_setfield(L, -2, "truncated");
  return 1;
}

/*** replay:window_count(length): how many windows of so many steps fit. */
static int window_count(lua_State *L) {
  lua_pushinteger(L,
                  orr_replay_windows(check_replay(L), check_count(L, 2, "the length of windows")));
  return 1;
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

/* replay.episodes, replay.capacity, its spaces and replay.env, nil where it was made without one;
   everything else is a method, of this file or of lua/orrery/replay.lua, which is loaded when first asked for
   one. */
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

static const luaL_Reg replay_methods[] = {{"sample", sample},
                                          {"windows", windows},
                                          {"transitions", transitions},
                                          {"read", read},
                                          {"episode", episode},
                                          {"window_count", window_count},
                                          {"add_episode", lua_add_episode},
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
  open_relabel(L);
  lua_add_functions(L, module, functions);
}
