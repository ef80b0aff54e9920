/* stream.c - streams of random numbers of their own, for orders of training data that depend on one
   seed and on nothing else that draws. */
#include <string.h>

#include "lua/lua_orrery.h"

#define STREAM "orrery.stream"

static orr_random *check_stream(lua_State *L, int index) {
  return luaL_checkudata(L, index, STREAM);
}

/*** orrery.stream(seed [, number]): a stream of random numbers apart from the engine's; streams of
one seed with different numbers are independent. */
static int new_stream(lua_State *L) {
  uint64_t seed = (uint64_t)luaL_checkinteger(L, 1), number = (uint64_t)luaL_optinteger(L, 2, 0);
  orr_random *stream = lua_newuserdatauv(L, sizeof *stream, 0);
  *stream = orr_random_new(seed, number);
  luaL_setmetatable(L, STREAM);
  return 1;
}

/*** stream:whole(): a whole number of 0 or more to seed something with. */
static int whole(lua_State *L) {
  orr_random *stream = check_stream(L, 1);
  uint64_t high = orr_random_bits(stream);
  lua_pushinteger(L, (lua_Integer)((high << 32 | orr_random_bits(stream)) >> 1));
  return 1;
}

/*** stream:uniform(): a number in [0, 1). */
static int uniform(lua_State *L) {
  lua_pushnumber(L, orr_random_uniform(check_stream(L, 1)));
  return 1;
}

/*** stream:integer(low, high): a whole number of low .. high, each equally likely. */
static int integer(lua_State *L) {
  orr_random *stream = check_stream(L, 1);
  lua_Integer low = luaL_checkinteger(L, 2), high = luaL_checkinteger(L, 3);
  luaL_argcheck(L, low <= high, 3, "the highest number is below the lowest");
  uint64_t n = (uint64_t)high - (uint64_t)low + 1; /* 0: any number at all */
  luaL_argcheck(L, n != 0, 3, "the range is too wide");
  lua_pushinteger(L, (lua_Integer)((uint64_t)low + orr_random_index(stream, n)));
  return 1;
}

/*** stream:integers(low, high, n): an int tensor of n such numbers. */
static int integers(lua_State *L) {
  orr_random *stream = check_stream(L, 1);
  lua_Integer low = luaL_checkinteger(L, 2), high = luaL_checkinteger(L, 3);
  int64_t count = luaL_checkinteger(L, 4);
  luaL_argcheck(L, low >= INT32_MIN && high <= INT32_MAX && low <= high, 3,
                "low .. high must be a range of 32-bit integers");
  lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
  lua_fill(L, handle, orr_tensor_new(lua_engine(L), ORR_INT, 1, &count));
  orr_random_indices(stream, (uint64_t)(high - low + 1), (int32_t)low, count,
                     orr_tensor_data(handle->object));
  return 1;
}

/*** stream:uniforms(n): a tensor of n numbers in [0, 1). */
static int uniforms(lua_State *L) {
  orr_random *stream = check_stream(L, 1);
  int64_t count = luaL_checkinteger(L, 2);
  lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
  lua_fill(L, handle, orr_tensor_new(lua_engine(L), ORR_REAL, 1, &count));
  orr_real *to = orr_tensor_data(handle->object);
  for (int64_t i = 0; i < count; i++) { /* a float must not round to 1 */
    orr_real x = (orr_real)orr_random_uniform(stream);
    to[i] = x < 1 ? x : 0;
  }
  return 1;
}

/* An int32 tensor of rows x n, pushed; its numbers. */
static int32_t *new_table(lua_State *L, int64_t rows, int64_t n) {
  int64_t shape[2] = {rows, n};
  lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
  lua_fill(L, handle, orr_tensor_new(lua_engine(L), ORR_INT, 2, shape));
  return orr_tensor_data(handle->object);
}

static int64_t check_size(lua_State *L, int index, lua_Integer least) {
  lua_Integer size = luaL_checkinteger(L, index);
  luaL_argcheck(L, size >= least && size <= INT32_MAX, index, "the number of rows is out of range");
  return size;
}

/*** stream:orders(members, n): an int tensor of members x n: in each row 1 .. n in random order. */
static int orders(lua_State *L) {
  orr_random *stream = check_stream(L, 1);
  int64_t rows = check_size(L, 2, 1), n = check_size(L, 3, 0);
  int32_t *to = new_table(L, rows, n);
  for (int64_t r = 0; r < rows; r++, to += n) {
    for (int64_t i = 0; i < n; i++) to[i] = (int32_t)i + 1;
    orr_random_shuffle(stream, to, n);
  }
  return 1;
}

/*** stream:draws(members, n): an int tensor of members x n, each number drawn from 1 .. n: the
bootstrap. */
static int draws(lua_State *L) {
  orr_random *stream = check_stream(L, 1);
  int64_t rows = check_size(L, 2, 1), n = check_size(L, 3, 1);
  int32_t *to = new_table(L, rows, n);
  orr_random_indices(stream, (uint64_t)n, 1, rows * n, to);
  return 1;
}

/*** stream:shuffle(table): changes the order within each row of an int tensor of two axes, in
place. */
static int shuffle(lua_State *L) {
  orr_random *stream = check_stream(L, 1);
  orr_tensor *table = lua_check_tensor(L, 2);
  luaL_argcheck(L,
                orr_tensor_dtype(table) == ORR_INT && orr_tensor_axes(table) == 2 &&
                    orr_tensor_is_contiguous(table),
                2, "a contiguous int tensor of two axes is needed");
  int64_t rows = orr_tensor_shape(table)[0], n = orr_tensor_shape(table)[1];
  int32_t *row = orr_tensor_data(table);
  for (int64_t r = 0; r < rows; r++, row += n) orr_random_shuffle(stream, row, n);
  orr_tensor_touch(table);
  lua_settop(L, 2);
  return 1;
}

/*** stream:state(): its three numbers as a list; stream:state(list) sets them. */
static int state(lua_State *L) {
  orr_random *stream = check_stream(L, 1);
  uint64_t *numbers[] = {&stream->key, &stream->stream, &stream->counter};
  if (lua_isnoneornil(L, 2)) {
    lua_createtable(L, 3, 0);
    for (int i = 0; i < 3; i++) {
      lua_pushinteger(L, (lua_Integer)*numbers[i]);
      lua_seti(L, -2, i + 1);
    }
    return 1;
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  for (int i = 0; i < 3; i++) {
    lua_geti(L, 2, i + 1);
    *numbers[i] = (uint64_t)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
  }
  lua_settop(L, 1);
  return 1;
}

void open_stream(lua_State *L, int module) {
  static const luaL_Reg methods[] = {{"whole", whole},       {"uniform", uniform},
                                     {"integer", integer},   {"integers", integers},
                                     {"uniforms", uniforms}, {"orders", orders},
                                     {"draws", draws},       {"shuffle", shuffle},
                                     {"state", state},       {NULL, NULL}};
  static const luaL_Reg functions[] = {{"stream", new_stream}, {NULL, NULL}};
  luaL_newmetatable(L, STREAM);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_add_functions(L, module, functions);
}
