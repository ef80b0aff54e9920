/* options.c - options tables: unknown keys are refused with the nearest known one, values are
   checked against their range. */
#include <stdio.h>
#include <string.h>

#include "lua/lua_orrery.h"

static int count_names(const char *const *names) {
  int n = 0;
  while (names[n]) n++;
  return n;
}

static bool is_known(const char *name, const char *const *names) {
  for (int i = 0; names[i]; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

void lua_check_options(lua_State *L, int index, const char *what, const char *const *names) {
  if (lua_isnoneornil(L, index)) return;
  if (!lua_istable(L, index))
    lua_complain(L, "%s: a table of named fields is wanted, not a %s", what,
                 luaL_typename(L, index));
  index = lua_absindex(L, index);
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      lua_complain(L, "%s: options have names; there is one under [%s]", what,
                   luaL_tolstring(L, -1, NULL));
    const char *name = lua_tostring(L, -1);
    if (is_known(name, names)) continue;
    const char *near = orr_nearest_name(name, names, count_names(names));
    if (near) lua_complain(L, "%s: no option '%s'; did you mean '%s'?", what, name, near);
    luaL_Buffer known;
    luaL_buffinit(L, &known);
    for (int i = 0; names[i]; i++) {
      if (i) luaL_addstring(&known, ", ");
      luaL_addstring(&known, names[i]);
    }
    luaL_pushresult(&known);
    lua_complain(L, "%s: no option '%s'; there are: %s", what, name, lua_tostring(L, -1));
  }
}

int lua_option_push(lua_State *L, int index, const char *name) {
  if (lua_istable(L, index)) return lua_getfield(L, index, name);
  lua_pushnil(L);
  return LUA_TNIL;
}

int lua_option_need(lua_State *L, int index, const char *name, const char *what) {
  int type = lua_option_push(L, index, name);
  if (type == LUA_TNIL) lua_complain(L, "%s: the option '%s' is missing", what, name);
  return type;
}

static void complain_type(lua_State *L, const char *name, const char *wanted) {
  if (lua_type(L, -1) == LUA_TNUMBER)
    lua_complain(L, "option '%s': %s is wanted, not %s", name, wanted, lua_tostring(L, -1));
  lua_complain(L, "option '%s': %s is wanted, not a %s", name, wanted, luaL_typename(L, -1));
}

double lua_option_number(lua_State *L, int index, const char *name, double otherwise, double low,
                         double high) {
  double value = otherwise;
  if (lua_option_push(L, index, name) != LUA_TNIL) {
    if (lua_type(L, -1) != LUA_TNUMBER) complain_type(L, name, "a number");
    value = lua_tonumber(L, -1);
    if (!(value >= low && value <= high)) {
      char text[100];
      snprintf(text, sizeof text, "%.10g, outside %.10g to %.10g", value, low, high);
      lua_complain(L, "option '%s' is %s", name,
                   value == value ? text : "NaN, which is not a number");
    }
  }
  lua_pop(L, 1);
  return value;
}

int64_t lua_option_integer(lua_State *L, int index, const char *name, int64_t otherwise,
                           int64_t low, int64_t high) {
  int64_t value = otherwise;
  if (lua_option_push(L, index, name) != LUA_TNIL) {
    int whole = 0;
    if (lua_type(L, -1) == LUA_TNUMBER) value = lua_tointegerx(L, -1, &whole);
    if (!whole) complain_type(L, name, "a whole number");
    if (value < low || value > high)
      lua_complain(L, "option '%s' is %I, outside %I to %I", name, (lua_Integer)value,
                   (lua_Integer)low, (lua_Integer)high);
  }
  lua_pop(L, 1);
  return value;
}

bool lua_option_boolean(lua_State *L, int index, const char *name, bool otherwise) {
  bool value = otherwise;
  if (lua_option_push(L, index, name) != LUA_TNIL) {
    if (!lua_isboolean(L, -1)) complain_type(L, name, "true or false");
    value = lua_toboolean(L, -1);
  }
  lua_pop(L, 1);
  return value;
}

const char *lua_option_string(lua_State *L, int index, const char *name, const char *otherwise) {
  const char *value = otherwise;
  if (lua_option_push(L, index, name) != LUA_TNIL) {
    if (lua_type(L, -1) != LUA_TSTRING) complain_type(L, name, "a string");
    value = lua_tostring(L, -1);
  }
  lua_pop(L, 1);
  return value;
}

int lua_option_choice(lua_State *L, int index, const char *name, int otherwise,
                      const char *const *choices) {
  const char *value = lua_option_string(L, index, name, NULL);
  if (!value) return otherwise;
  for (int i = 0; choices[i]; i++)
    if (strcmp(choices[i], value) == 0) return i;
  const char *near = orr_nearest_name(value, choices, count_names(choices));
  if (near) return lua_complain(L, "option '%s': no '%s'; did you mean '%s'?", name, value, near);
  luaL_Buffer known;
  luaL_buffinit(L, &known);
  for (int i = 0; choices[i]; i++) {
    if (i) luaL_addstring(&known, ", ");
    luaL_addstring(&known, choices[i]);
  }
  luaL_pushresult(&known);
  return lua_complain(L, "option '%s': no '%s'; there are: %s", name, value, lua_tostring(L, -1));
}
