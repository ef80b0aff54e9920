/* coroutine.c - coroutine.resume and coroutine.wrap that say which thread runs, so that Ctrl-C
   reaches a coroutine that never yields. Otherwise they do what those of Lua do. */
#include <lauxlib.h>
#include <stdbool.h>

#include "cli.h"
#include "orrery/lua.h"

/* Takes `arguments` off the stack of L. Returns how many results are on it instead, or -1: a
   message. Nothing here raises an error before `running` is as it was. */
static int resume(lua_State *L, lua_State *thread, int arguments) {
  int results;
  if (!lua_checkstack(thread, arguments)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_State *volatile *running = orr_lua_running(L);
  lua_State *outer = *running;
  lua_xmove(L, thread, arguments);
  *running = thread;
  interrupt_pass(thread);
  int status = lua_resume(thread, L, arguments, &results);
  *running = outer;
  interrupt_pass(L);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(thread, L, 1);
    return -1;
  }
  if (!lua_checkstack(L, results + 1)) {
    lua_pop(thread, results);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(thread, L, results);
  return results;
}

static int resume_function(lua_State *L) {
  lua_State *thread = lua_tothread(L, 1);
  luaL_argexpected(L, thread, 1, "coroutine");
  int results = resume(L, thread, lua_gettop(L) - 1);
  lua_pushboolean(L, results >= 0);
  if (results < 0) results = 1;
  lua_insert(L, -results - 1);
  return results + 1;
}

static int wrapped(lua_State *L) {
  lua_State *thread = lua_tothread(L, lua_upvalueindex(1));
  int results = resume(L, thread, lua_gettop(L));
  if (results >= 0) return results;
  int status = lua_status(thread);
  if (status != LUA_OK && status != LUA_YIELD) { /* an error inside: close its variables */
    status = lua_resetthread(thread);
    lua_xmove(thread, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int wrap_function(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *thread = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, thread, 1);
  lua_pushcclosure(L, wrapped, 1);
  return 1;
}

void watch_coroutines(lua_State *L) {
  static const luaL_Reg functions[] = {{"resume", resume_function},
                                       {"wrap", wrap_function},
                                       {NULL, NULL}};
  lua_getglobal(L, "coroutine");
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}
