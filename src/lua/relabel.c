/* relabel.c - the steps that sampling with relabeling is made of, for lua/orrery/relabel.lua and
   samplers of one's own. Numbers are int tensors, and count from 1. */
#include <string.h>

#include "lua/replay.h"

/* Pushes an int tensor of `count` numbers, each one more than in C. */
static void push_numbers(lua_State *L, const int64_t *numbers, int64_t count) {
  lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
  lua_fill(L, handle, orr_tensor_new(lua_engine(L), ORR_INT, 1, &count));
  int32_t *to = orr_tensor_data(handle->object);
  for (int64_t i = 0; i < count; i++) {
    if (numbers[i] >= INT32_MAX)
      lua_complain(L, "replay: more than %d observations cannot be numbered by int tensors",
                   INT32_MAX);
    to[i] = (int32_t)numbers[i] + 1;
  }
}

static orr_real *push_reals(lua_State *L, int64_t count) {
  lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
  lua_fill(L, handle, orr_tensor_new(lua_engine(L), ORR_REAL, 1, &count));
  return orr_tensor_data(handle->object);
}

/*** replay:draw(n, { length = nil, partial = false, stream = nil }): the numbers of n transitions,
an int tensor, as replay:sample draws them; with a length those that windows begin with, as
replay:windows draws them. replay:read reads them. */
static int draw(lua_State *L) {
  static const char *const names[] = {"length", "partial", "stream", NULL};
  orr_replay *replay = lua_check_replay(L);
  lua_Integer count = luaL_checkinteger(L, 2);
  if (count < 1 || count > INT32_MAX)
    lua_complain(L, "replay: the number of transitions must be 1 or more, got %d", (int)count);
  lua_settop(L, 3);
  lua_check_options(L, 3, "draw options", names);
  bool given = lua_istable(L, 3);
  orr_random *stream = lua_option_stream(L, 3);
  int64_t length = given ? lua_option_integer(L, 3, "length", 1, 1, INT32_MAX) : 1;
  bool partial = given && lua_option_boolean(L, 3, "partial", false);
  int64_t *index = lua_new_indices(L, count);
  lua_check_status(L, orr_replay_sample_windows(replay, stream, length, !partial && length > 1,
                                                count, index));
  push_numbers(L, index, count);
  return 1;
}

/*** replay:draw_prioritised(n, { beta = 0.4, stream = nil }): the numbers of n transitions by
priority, an int tensor as of replay:draw; their `index` for replay:set_priorities, an int tensor
that stays right when old episodes leave; and their importance weights. */
static int draw_prioritised(lua_State *L) {
  static const char *const names[] = {"beta", "stream", NULL};
  orr_replay *replay = lua_check_replay(L);
  lua_Integer count = luaL_checkinteger(L, 2);
  if (count < 1 || count > INT32_MAX)
    lua_complain(L, "replay: the number of transitions must be 1 or more, got %d", (int)count);
  lua_settop(L, 3);
  lua_check_options(L, 3, "draw_prioritised options", names);
  orr_random *stream = lua_option_stream(L, 3);
  double beta = lua_istable(L, 3) ? lua_option_number(L, 3, "beta", 0.4, 0, 10) : 0.4;
  int64_t *index = lua_new_indices(L, count), *numbers = lua_new_indices(L, count);
  int64_t shape = count;
  lua_handle *kept = lua_new_handle(L, &lua_tensor_class);
  lua_fill(L, kept, orr_tensor_new(lua_engine(L), ORR_INT, 1, &shape));
  int at = lua_gettop(L);
  orr_real *weights = push_reals(L, count);
  lua_check_status(L, orr_replay_sample_prioritised(replay, stream, beta, count, index, numbers,
                                                    weights));
  int32_t *to = orr_tensor_data(kept->object);
  for (int64_t i = 0; i < count; i++) to[i] = (int32_t)(numbers[i] & INT32_MAX);
  push_numbers(L, index, count);
  lua_insert(L, at);
  return 3;
}

/*** replay:set_priorities(index, priorities): new priorities, 0 or more, such as sizes of errors,
of the transitions of a batch: index is the batch's own. Those that have left meanwhile are passed
over. */
static int set_priorities(lua_State *L) {
  orr_replay *replay = lua_check_replay(L);
  orr_tensor *index = lua_check_tensor(L, 2), *given = lua_to_tensor(L, 3);
  int64_t count = orr_tensor_count(index);
  luaL_argcheck(L, orr_tensor_dtype(index) == ORR_INT && orr_tensor_is_contiguous(index), 2,
                "the `index` of a batch is needed");
  luaL_argcheck(L,
                orr_tensor_dtype(given) == ORR_REAL && orr_tensor_is_contiguous(given) &&
                    orr_tensor_count(given) == count,
                3, "as many priorities as transitions are needed, a contiguous tensor of reals");
  int64_t *numbers = lua_new_indices(L, count);
  for (int64_t i = 0; i < count; i++) numbers[i] = ((const int32_t *)orr_tensor_data(index))[i];
  lua_check_status(L, orr_replay_set_priorities(replay, count, numbers, orr_tensor_data(given)));
  return 0;
}

/* The list { "future", 4, "none", 1 } at index. */
static int check_parts(lua_State *L, int index, orr_relabel_part *parts, int most) {
  static const char *const strategies[] = {"none", "final", "future", "episode", "random", NULL};
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Integer count = luaL_len(L, index) / 2;
  if (count < 1 || count > most)
    lua_complain(L, "choose_goals: 1 to %d strategies are mixed", most);
  for (lua_Integer i = 0; i < count; i++) {
    lua_geti(L, index, 2 * i + 1);
    lua_geti(L, index, 2 * i + 2);
    parts[i].strategy = (orr_relabel_strategy)luaL_checkoption(L, -2, NULL, strategies);
    parts[i].weight = luaL_checknumber(L, -1);
    lua_pop(L, 2);
  }
  return (int)count;
}

/*** replay:choose_goals(numbers, strategies, { stream = nil }): for each transition the number of
an observation whose achieved goal may take the place of what was desired, by strategies mixed by
weight, as in { "future", 4, "none", 1 }; 0: none. An int tensor. The observations of all episodes
have one numbering, from 1 with the oldest, an episode of T steps having T + 1. The strategies:
"final", the last observation; "future", any after the transition's own, so its next one, too;
"episode", any but the first of the episode; "random", any but the first of any episode. */
static int choose_goals(lua_State *L) {
  enum { MOST = 32 };
  static const char *const names[] = {"stream", NULL};
  orr_replay *replay = lua_check_replay(L);
  orr_relabel_part parts[MOST];
  lua_settop(L, 4);
  lua_check_options(L, 4, "choose_goals options", names);
  int64_t count;
  int mixed = check_parts(L, 3, parts, MOST);
  orr_random *stream = lua_option_stream(L, 4);
  int64_t *index = lua_check_indices(L, 2, &count);
  int64_t *chosen = lua_new_indices(L, count);
  lua_check_status(L, orr_relabel_choose(replay, stream, mixed, parts, count, index, chosen));
  push_numbers(L, chosen, count);
  return 1;
}

/*** replay:episode_starts(numbers): for each transition the number of the first one of its episode,
and the length of the longest of these episodes. */
static int episode_starts(lua_State *L) {
  orr_replay *replay = lua_check_replay(L);
  int64_t count, longest = 0, episode = 0;
  int64_t *index = lua_check_indices(L, 2, &count);
  orr_episode_info info = {.length = 0};
  for (int64_t i = 0; i < count; i++) {
    lua_check_status(L, orr_replay_episode_of(replay, index[i], &episode));
    lua_check_status(L, orr_replay_episode(replay, episode, &info));
    index[i] = info.first;
    if (info.length > longest) longest = info.length;
  }
  push_numbers(L, index, count);
  lua_pushinteger(L, longest);
  return 2;
}

static const orr_real *check_window(lua_State *L, int index, int64_t count, int64_t *length) {
  orr_tensor *x = lua_check_tensor(L, index);
  luaL_argcheck(L,
                orr_tensor_dtype(x) == ORR_REAL && orr_tensor_axes(x) == 2 &&
                    orr_tensor_is_contiguous(x) && orr_tensor_shape(x)[0] == count &&
                    (*length == 0 || *length == orr_tensor_shape(x)[1]),
                index, "a contiguous tensor of windows is needed, one row for each transition");
  *length = orr_tensor_shape(x)[1];
  return orr_tensor_data(x);
}

/*** replay:returns(numbers, reward, terminated, mask, gamma): n-step returns of windows, [n, steps]
each, that begin at these transitions: the discounted sums of rewards up to the first step that is
masked out or terminated; gamma to the number of steps taken, 0 after a termination; 1 where there
was one, else 0; and the numbers of the last transitions taken, whose next observations follow. */
static int returns(lua_State *L) {
  lua_check_replay(L);
  int64_t count, length = 0;
  lua_settop(L, 6);
  int64_t *index = lua_check_indices(L, 2, &count);
  const orr_real *reward = check_window(L, 3, count, &length),
                 *terminated = check_window(L, 4, count, &length),
                 *mask = check_window(L, 5, count, &length);
  double gamma = luaL_checknumber(L, 6);
  int64_t *taken = lua_new_indices(L, count);
  orr_real *sum = push_reals(L, count), *discount = push_reals(L, count),
           *ended = push_reals(L, count);
  lua_check_status(L, orr_relabel_returns(lua_engine(L), count, length, reward, terminated, mask,
                                          gamma, sum, discount, ended, taken));
  for (int64_t i = 0; i < count; i++) taken[i] += index[i] - 1;
  push_numbers(L, taken, count);
  return 4;
}

void open_relabel(lua_State *L) {
  static const luaL_Reg methods[] = {{"draw", draw},
                                     {"draw_prioritised", draw_prioritised},
                                     {"set_priorities", set_priorities},
                                     {"choose_goals", choose_goals},
                                     {"returns", returns},
                                     {"episode_starts", episode_starts},
                                     {NULL, NULL}};
  lua_push_methods(L, &lua_replay_class);
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 1);
}
