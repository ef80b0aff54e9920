/* rowwise.c - what a call of a compiled function does each time: whether its arguments are like
   those it was compiled for, and where each goes. lua/orrery/rowwise.lua makes the nodes:

     { pattern, name }        a tensor; pattern is core.pattern's answer
     { "number", name, t }    a number; t is a tensor without axes that takes it
     { keys, nodes }          a table with exactly these keys */
#include <string.h>

#include "lua/symbol.h"

enum { PATTERN = 2 + 8 * ORR_AXES, DEPTH = 32 };

/* Level and sizes, without the rows, as bytes; 0: no such tensor. */
static size_t write_pattern(const orr_tensor *x, bool uniform, char *pattern) {
  int axes = orr_tensor_axes(x), skipped = !uniform;
  if (axes < skipped) return 0;
  pattern[0] = uniform ? 'u' : 'r';
  pattern[1] = (char)(axes - skipped);
  size_t bytes = (size_t)(axes - skipped) * sizeof(int64_t);
  memcpy(pattern + 2, orr_tensor_shape(x) + skipped, bytes);
  return 2 + bytes;
}

/* core.pattern(tensor, uniform) */
static int pattern(lua_State *L) {
  char text[PATTERN];
  size_t size = write_pattern(lua_check_tensor(L, 1), lua_toboolean(L, 2), text);
  lua_pushlstring(L, text, size);
  return 1;
}

static bool match_tensor(lua_State *L, int value, const char *wanted, size_t size, int64_t *rows) {
  lua_handle *handle = luaL_testudata(L, value, lua_tensor_class.name);
  char text[PATTERN];
  if (!handle || !handle->object) return false;
  bool uniform = wanted[0] == 'u';
  if (write_pattern(handle->object, uniform, text) != size || memcmp(text, wanted, size))
    return false;
  if (uniform) return true;
  int64_t count = orr_tensor_shape(handle->object)[0];
  if (*rows >= 0 && *rows != count) return false;
  *rows = count;
  return true;
}

/* The tensor of a number's node, at `node`, takes the number at `value` and is pushed. */
static void push_number(lua_State *L, int node, int value) {
  lua_rawgeti(L, node, 3);
  orr_tensor *tensor = lua_check_tensor(L, -1);
  orr_real number = (orr_real)lua_tonumber(L, value);
  memcpy(orr_tensor_data(tensor), &number, sizeof number);
  orr_tensor_touch(tensor);
}

static bool match(lua_State *L, int node, int value, int values, int64_t *rows, int depth);

static bool match_table(lua_State *L, int node, int value, int values, int64_t *rows, int depth) {
  if (lua_type(L, value) != LUA_TTABLE || lua_getmetatable(L, value) || depth == DEPTH)
    return false;
  luaL_checkstack(L, 8, NULL);
  int keys = lua_gettop(L), count = (int)lua_rawlen(L, keys), given = 0;
  lua_rawgeti(L, node, 2);
  int nodes = keys + 1;
  for (lua_pushnil(L); lua_next(L, value); lua_pop(L, 1)) given++;
  bool fits = given == count;
  for (int i = 1; i <= count && fits; i++) {
    lua_rawgeti(L, nodes, i);
    lua_rawgeti(L, keys, i);
    lua_rawget(L, value);
    fits = match(L, nodes + 1, nodes + 2, values, rows, depth + 1);
    lua_settop(L, nodes);
  }
  return fits;
}

static bool match(lua_State *L, int node, int value, int values, int64_t *rows, int depth) {
  int top = lua_gettop(L);
  bool fits;
  if (lua_rawgeti(L, node, 1) != LUA_TSTRING) {
    fits = match_table(L, node, value, values, rows, depth);
  } else {
    size_t size;
    const char *wanted = lua_tolstring(L, -1, &size);
    bool number = wanted[0] == 'n';
    fits = number ? lua_type(L, value) == LUA_TNUMBER : match_tensor(L, value, wanted, size, rows);
    if (fits) {
      lua_rawgeti(L, node, 2);
      if (number) push_number(L, node, value);
      else lua_pushvalue(L, value);
      lua_rawset(L, values);
    }
  }
  lua_settop(L, top);
  return fits;
}

/* core.match(nodes, values, ...): whether the arguments fit their nodes: the number of rows (-1: no
   argument has rows), with the arguments put into `values` by name; or nil. */
static int match_arguments(lua_State *L) {
  int count = lua_gettop(L) - 2;
  int64_t rows = -1;
  bool fits = (int)lua_rawlen(L, 1) == count;
  luaL_checkstack(L, 12, NULL);
  int node = lua_gettop(L) + 1;
  for (int i = 1; i <= count && fits; i++) {
    lua_rawgeti(L, 1, i);
    fits = match(L, node, 2 + i, 2, &rows, 0);
    lua_settop(L, node - 1);
  }
  if (fits) lua_pushinteger(L, rows);
  else lua_pushnil(L);
  return 1;
}

/* core.any_symbol(...): whether one of the arguments is a symbol. */
static int any_symbol(lua_State *L) {
  bool found = false;
  for (int i = lua_gettop(L); i >= 1 && !found; i--) found = lua_test_symbol(L, i) != NULL;
  lua_pushboolean(L, found);
  return 1;
}

void open_rowwise(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"pattern", pattern},
                                       {"match", match_arguments},
                                       {"any_symbol", any_symbol},
                                       {NULL, NULL}};
  lua_getfield(L, module, "trace_core");
  lua_add_functions(L, lua_gettop(L), functions);
  lua_pop(L, 1);
}
