/* replay_read.c - replay for Lua: batches by field. What names another goal, several steps or
   priorities is answered by lua/orrery/relabel_sample.lua. */
#include <math.h>
#include <string.h>

#include "lua/replay.h"

static orr_replay *check_replay(lua_State *L) { return lua_check_replay(L); }

/* ---- a table of tensors by field */

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

static const char *const sample_options[] = {"anew",    "beta",  "fields", "gamma", "into",
                                             "relabel", "steps", "stream", "task",  NULL};
static const char *const window_options[] = {"fields", "into", "partial", "relabel",
                                             "stream", "task", NULL};
static const char *const all_options[] = {"fields", "into", NULL};

/* Options that lua/orrery/relabel_sample.lua reads: then its `function` answers the call. */
static bool asks_for_more(lua_State *L, int index, bool found) {
  static const char *const more[] = {"relabel", "task",  "tasks", "anew",
                                     "steps",   "gamma", "beta",  NULL};
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

/*** replay:sample(n, { fields = nil, stream = nil, into = nil, relabel = nil, task = nil, anew =
false, steps = 1, gamma = nil, beta = 0.4 }): a batch of n transitions, each equally likely: a table
of tensors by field, n first. Without `fields`: observation, action, reward, next_observation,
terminated, and the extra fields. `stream` is an orrery.stream to draw from; `into` an earlier
batch, whose tensors are written again. With `relabel`, a strategy of orrery.relabel, goals are
replaced, reward and terminated are those of the new goal by `task` (or the strategy's own), and
`relabeled` is 1 where that was done. With a task and no strategy, or with anew = true, the task
gives reward and terminated of all transitions, one replay serving many tasks; ends that are
recorded stay. With `gamma` the batch has a `discount`: gamma, and 0 where terminated; with `steps`
of n > 1, and gamma of 0.99 unless it is given, reward is the discounted sum of n rewards,
next_observation and all else that is "next" are n steps on, or as many as there are to the end, and
discount is gamma to that number. From a replay that is prioritised the batch also has `index`, for
replay:set_priorities, and `weight`, importance weights with beta. */
static int sample(lua_State *L) {
  orr_replay *replay = check_replay(L);
  int64_t count = check_count(L, 2, "the number of transitions");
  if (asks_for_more(L, 3, orr_replay_is_prioritised(replay))) return call_sampler(L, "sample");
  lua_check_options(L, 3, "sample options", sample_options);
  lua_settop(L, 3);
  orr_random *stream = lua_option_stream(L, 3);
  request r;
  int64_t *index = lua_new_indices(L, count);
  begin_request(L, &r, replay, 3, transition_fields, true);
  lua_check_status(L, orr_replay_sample(replay, stream, count, index));
  return finish_request(L, &r, replay, count, index, 0);
}

/*** replay:windows(n, length, { partial = false, fields = nil, stream = nil, into = nil, relabel =
nil, task = nil }): n stretches of `length` steps that do not leave their episode: observation [n,
length + 1, ...], action, reward, terminated and mask [n, length, ...], and the extra fields. Only
windows that fit, each equally likely; with `partial` any start, past the end the last observation
repeated, the rest 0, and so the mask. With `relabel` as of replay:sample: one goal for a window,
chosen for its first step. */
static int windows(lua_State *L) {
  static const char *const standard[] = {"observation", "action", "reward",
                                         "terminated",  "mask",   NULL};
  orr_replay *replay = check_replay(L);
  int64_t count = check_count(L, 2, "the number of windows");
  int64_t length = check_count(L, 3, "the length of windows");
  if (asks_for_more(L, 4, false)) return call_sampler(L, "windows");
  lua_check_options(L, 4, "windows options", window_options);
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
  lua_check_options(L, 2, "transitions options", all_options);
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

void open_replay_read(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"sample", sample}, {"windows", windows}, {"transitions", transitions},
      {"read", read},     {"episode", episode}, {"window_count", window_count},
      {NULL, NULL}};
  lua_push_methods(L, &lua_replay_class);
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 1);
}
