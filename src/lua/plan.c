/* plan.c - planners in Lua: descriptions, checked when written, made into planners by an mpc. */
#include <math.h>
#include <string.h>

#include "lua/objective.h"
#include "lua/space.h"
#include "orrery/mpc.h"

#define DESCRIPTION "orrery.planner"

static int find_planner(const char *name) {
  for (int i = 0; i < orr_planner_count(); i++)
    if (strcmp(orr_planner_name_at(i), name) == 0) return i;
  return -1;
}

static void push_value(lua_State *L, const orr_planner_option *option, double value) {
  if (option->whole) lua_pushinteger(L, (lua_Integer)value);
  else lua_pushnumber(L, value);
}

/* Options that do not fit together are found by making such a planner, for a single number. */
static void check_together(lua_State *L, int index) {
  static const orr_real low = -1, high = 1;
  orr_field field = {.name = "action", .low = &low, .high = &high};
  orr_space *space = orr_space_new(lua_engine(L), &field, 1);
  if (!space) lua_raise(L);
  lua_push_object(L, &lua_space_class, space);
  orr_planner_free(lua_make_planner(L, index, space));
  lua_pop(L, 1);
}

/*** orrery.plan.cem(options), orrery.plan.random_shooting(options), ...: a planner, for orrery.mpc.
Options that are unknown or out of range are errors; orrery.planners() lists them all. The answer is
a table of all options, which may be read and changed until an mpc is made of it. Actions are
sought within their bounds; those without, around 0 within about 1: give bounds. */
static int describe(lua_State *L) {
  int row = (int)lua_tointeger(L, lua_upvalueindex(1)), count;
  const orr_planner_option *options = orr_planner_options_at(row, &count);
  const char *name = orr_planner_name_at(row);
  lua_settop(L, 1);
  const char **names = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *names, 0);
  for (int i = 0; i < count; i++) names[i] = options[i].name;
  names[count] = NULL;
  lua_check_options(L, 1, lua_pushfstring(L, "%s options", name), names);
  lua_createtable(L, 0, count + 1);
  for (int i = 0; i < count; i++) {
    const orr_planner_option *o = &options[i];
    double value = o->whole ? (double)lua_option_integer(L, 1, o->name, (int64_t)o->value,
                                                         (int64_t)o->low, (int64_t)o->high)
                            : lua_option_number(L, 1, o->name, o->value, o->low, o->high);
    push_value(L, o, value);
    lua_setfield(L, -2, o->name);
  }
  lua_pushstring(L, name);
  lua_setfield(L, -2, "planner");
  luaL_setmetatable(L, DESCRIPTION);
  check_together(L, lua_gettop(L));
  return 1;
}

orr_planner *lua_make_planner(lua_State *L, int index, orr_space *actions) {
  index = lua_absindex(L, index);
  bool described = lua_istable(L, index) && lua_getfield(L, index, "planner") == LUA_TSTRING;
  int row = described ? find_planner(lua_tostring(L, -1)) : -1, count;
  if (row < 0)
    lua_complain(L, "a planner is wanted, as in orrery.plan.cem { horizon = 20 }, not a %s",
                 luaL_typename(L, index));
  const orr_planner_option *options = orr_planner_options_at(row, &count);
  const char **names = lua_newuserdatauv(L, ((size_t)count + 2) * sizeof *names, 0);
  for (int i = 0; i < count; i++) names[i] = options[i].name;
  names[count] = "planner";
  names[count + 1] = NULL;
  lua_check_options(L, index, orr_planner_name_at(row), names);
  orr_planner_setting *settings = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *settings, 0);
  for (int i = 0; i < count; i++) {
    if (lua_getfield(L, index, options[i].name) != LUA_TNUMBER)
      lua_complain(L, "%s: the option '%s' must be a number, not a %s", orr_planner_name_at(row),
                   options[i].name, luaL_typename(L, -1));
    settings[i] = (orr_planner_setting){options[i].name, lua_tonumber(L, -1)};
    lua_pop(L, 1);
  }
  orr_planner *planner =
      orr_planner_new(lua_engine(L), orr_planner_name_at(row), actions, settings, count);
  if (!planner) lua_raise(L);
  lua_pop(L, 3); /* settings, names, name */
  return planner;
}

/* cem { horizon = 25, ... } */
static int describe_text(lua_State *L) {
  lua_getfield(L, 1, "planner");
  const char *name = lua_tostring(L, -1);
  int row = name ? find_planner(name) : -1, count;
  const orr_planner_option *options = orr_planner_options_at(row, &count);
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  luaL_addstring(&text, row < 0 ? "planner" : orr_planner_name_at(row));
  for (int i = 0; i < count; i++) {
    luaL_addstring(&text, i ? ", " : " { ");
    luaL_addstring(&text, options[i].name);
    luaL_addstring(&text, " = ");
    lua_getfield(L, 1, options[i].name);
    luaL_tolstring(L, -1, NULL);
    lua_remove(L, -2);
    luaL_addvalue(&text);
  }
  luaL_addstring(&text, count ? " }" : "");
  luaL_pushresult(&text);
  return 1;
}

/*** orrery.planners(): a list of { name =, doc =, options = { { name =, value =, low =, high =,
whole =, doc = } ... } }: all planners with the defaults and ranges of their options. */
static int planners(lua_State *L) {
  lua_createtable(L, orr_planner_count(), 0);
  for (int row = 0; row < orr_planner_count(); row++) {
    int count;
    const orr_planner_option *options = orr_planner_options_at(row, &count);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, orr_planner_name_at(row));
    lua_setfield(L, -2, "name");
    lua_pushstring(L, orr_planner_doc_at(row));
    lua_setfield(L, -2, "doc");
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
      const orr_planner_option *o = &options[i];
      lua_createtable(L, 0, 6);
      lua_pushstring(L, o->name);
      lua_setfield(L, -2, "name");
      push_value(L, o, o->value);
      lua_setfield(L, -2, "value");
      push_value(L, o, o->low);
      lua_setfield(L, -2, "low");
      push_value(L, o, o->high);
      lua_setfield(L, -2, "high");
      lua_pushboolean(L, o->whole);
      lua_setfield(L, -2, "whole");
      lua_pushstring(L, o->doc);
      lua_setfield(L, -2, "doc");
      lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "options");
    lua_rawseti(L, -2, row + 1);
  }
  return 1;
}

/*** orrery.planner_wants(planner): what a planner plans with besides returns, and objectives must
know: "gradients", "linearisation" or nil. */
static int planner_wants(lua_State *L) {
  static const orr_real low = -1, high = 1;
  orr_field field = {.name = "action", .low = &low, .high = &high};
  orr_space *space = orr_space_new(lua_engine(L), &field, 1);
  if (!space) lua_raise(L);
  lua_push_object(L, &lua_space_class, space);
  orr_planner *planner = lua_make_planner(L, 1, space);
  const char *wanted = orr_planner_wants_gradients(planner)       ? "gradients"
                       : orr_planner_wants_linearisation(planner) ? "linearisation"
                                                                  : NULL;
  orr_planner_free(planner);
  lua_pushstring(L, wanted);
  return 1;
}

static int no_planner(lua_State *L) {
  const char *name = luaL_tolstring(L, 2, NULL);
  const char **names = lua_newuserdatauv(L, (size_t)orr_planner_count() * sizeof *names, 0);
  for (int i = 0; i < orr_planner_count(); i++) names[i] = orr_planner_name_at(i);
  const char *near = orr_nearest_name(name, names, orr_planner_count());
  if (near) return lua_complain(L, "there is no planner '%s'; did you mean '%s'?", name, near);
  return lua_complain(L, "there is no planner '%s'; orrery.planners() lists them", name);
}

void open_plan(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"planners", planners},
                                       {"planner_wants", planner_wants},
                                       {NULL, NULL}};
  module = lua_absindex(L, module);
  luaL_newmetatable(L, DESCRIPTION);
  lua_pushcfunction(L, describe_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushstring(L, DESCRIPTION);
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
  lua_createtable(L, 0, orr_planner_count());
  for (int row = 0; row < orr_planner_count(); row++) {
    lua_pushinteger(L, row);
    lua_pushcclosure(L, describe, 1);
    lua_setfield(L, -2, orr_planner_name_at(row));
  }
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, no_planner);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_setfield(L, module, "plan");
  lua_add_functions(L, module, functions);
}
