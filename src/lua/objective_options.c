/* objective_options.c - options that several objectives have: risk, and lists of numbers. */
#include <string.h>

#include "lua/objective.h"

enum { MOST_MEASURES = 16 };

/* The measure of that name. */
static orr_risk measure_of(lua_State *L, const char *name) {
  const char *names[MOST_MEASURES + 1] = {NULL};
  int count = orr_risk_count();
  for (int i = 0; i < count && i < MOST_MEASURES; i++) {
    names[i] = orr_risk_name(i);
    if (!strcmp(names[i], name)) return (orr_risk)i;
  }
  const char *near = orr_nearest_name(name, names, count);
  if (near)
    return (orr_risk)lua_complain(L, "risk: there is no '%s'; did you mean '%s'?", name, near);
  luaL_Buffer known;
  luaL_buffinit(L, &known);
  for (int i = 0; i < count; i++) {
    if (i) luaL_addstring(&known, ", ");
    luaL_addstring(&known, names[i]);
  }
  luaL_pushresult(&known);
  return (orr_risk)lua_complain(L, "risk: there is no '%s'; there is %s", name,
                                lua_tostring(L, -1));
}

/* { "cvar", alpha = 0.1, over = "members" }, on top: refuses what the measure does not have. */
static void read_details(lua_State *L, int table, orr_risk_options *risk) {
  const char *parameter = orr_risk_parameter((int)risk->measure);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (lua_isinteger(L, -2) && lua_tointeger(L, -2) == 1) continue;
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (!strcmp(key, "over")) {
      const char *over = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
      risk->over_members = !strcmp(over, "members");
      if (!risk->over_members && strcmp(over, "particles") != 0)
        lua_complain(L, "risk: over is \"particles\" or \"members\", not \"%s\"", over);
    } else if (*parameter && !strcmp(key, parameter)) {
      risk->parameter = luaL_checknumber(L, -1);
    } else {
      lua_complain(L, "risk '%s' has no '%s'; it has %s%sover", orr_risk_name((int)risk->measure),
                   key, parameter, *parameter ? " and " : "");
    }
  }
}

orr_risk_options lua_option_risk(lua_State *L, int index) {
  orr_risk_options risk = {ORR_RISK_mean, 0, false};
  int type = lua_option_push(L, index, "risk"), table = lua_gettop(L);
  if (type == LUA_TNIL) return risk;
  if (type == LUA_TTABLE) lua_geti(L, table, 1);
  if (lua_type(L, -1) != LUA_TSTRING)
    lua_complain(L, "risk: a name such as \"worst\", or { \"cvar\", alpha = 0.1 }");
  risk.measure = measure_of(L, lua_tostring(L, -1));
  risk.parameter = orr_risk_default((int)risk.measure);
  if (type == LUA_TTABLE) read_details(L, table, &risk);
  lua_settop(L, table);
  return risk;
}

double *lua_option_numbers(lua_State *L, int index, const char *name, int *count) {
  *count = 0;
  if (lua_option_push(L, index, name) == LUA_TNIL) return NULL;
  orr_tensor *x = lua_to_tensor(L, lua_gettop(L));
  *count = (int)orr_tensor_count(x);
  double *numbers = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *numbers, 0);
  for (int i = 0; i < *count; i++) numbers[i] = orr_tensor_get(x, i);
  return numbers;
}

/*** orrery.objective.risks(): the measures of risk by name: { doc, and, where it has one, parameter
and its default }. */
int lua_objective_risks(lua_State *L) {
  lua_createtable(L, 0, orr_risk_count());
  for (int i = 0; i < orr_risk_count(); i++) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, orr_risk_doc(i));
    lua_setfield(L, -2, "doc");
    if (*orr_risk_parameter(i)) {
      lua_pushstring(L, orr_risk_parameter(i));
      lua_setfield(L, -2, "parameter");
      lua_pushnumber(L, orr_risk_default(i));
      lua_setfield(L, -2, "default");
    }
    lua_setfield(L, -2, orr_risk_name(i));
  }
  return 1;
}
