/* callback.c - Lua functions that the engine calls: on a Lua thread of their own, so that they can
   be called from any place of the engine. Errors end here and become the engine's message. */
#include "lua/callback.h"

#include <string.h>

#include "lua/host.h"
#include "orrery/lua.h"

enum { STRIDE = 100000 }; /* instructions between two looks at the limit */

lua_State *volatile *orr_lua_running(lua_State *L) { return &lua_make_host(L)->running; }

/* The message, and how the function came there, where it did so through others of its own. */
static int add_traceback(lua_State *L) {
  static const char engine[] = "\n\t[C]: in ?"; /* the last line: who called the function */
  size_t size, last = sizeof engine - 1;
  const char *message = lua_tostring(L, 1);
  if (!message) {
    lua_pushfstring(L, "the error is a %s", luaL_typename(L, 1));
    return 1;
  }
  luaL_traceback(L, L, NULL, 1);
  const char *way = lua_tolstring(L, -1, &size);
  if (size > last && strcmp(way + size - last, engine) == 0) size -= last;
  int functions = 0;
  for (size_t i = 0; i + 1 < size; i++) functions += way[i] == '\n' && way[i + 1] == '\t';
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "\n");
  lua_pushlstring(L, way, size);
  if (functions < 2) lua_settop(L, 3);
  lua_concat(L, lua_gettop(L) - 2);
  return 1;
}

/* The hook of limited calls. Coroutines that they make inherit it, and may outlive the limit. */
static void count_down(lua_State *L, lua_Debug *activation) {
  (void)activation;
  lua_host *host = lua_find_host(L);
  if (!host->limit) {
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  host->left -= STRIDE;
  if (host->left <= 0)
    luaL_error(L, "%s does not end: stopped after %I million instructions", host->callee,
               (LUAI_UACINT)(host->limit / 1000000));
}

static int call_limited(lua_State *L, lua_host *host, const char *name, int arguments) {
  int handler = lua_gettop(L) - arguments - 1;
  if (!host->limit) return lua_pcall(L, arguments, 0, handler);
  host->left = host->limit;
  host->callee = name;
  lua_sethook(L, count_down, LUA_MASKCOUNT, STRIDE);
  int failed = lua_pcall(L, arguments, 0, handler);
  lua_sethook(L, NULL, 0, 0);
  return failed;
}

orr_status lua_call_back(lua_State *L, orr_engine *engine, const char *name, int arguments) {
  lua_host *host = lua_find_host(L);
  lua_State *outer = host->running;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, -arguments - 2);
  host->running =
      L; /* before the look at the flag: an interrupt in between must reach L or be seen */
  orr_status status = ORR_OK;
  if (orr_interrupted(engine)) {
    status = orr_engine_fail(engine, ORR_INTERRUPTED, "interrupted");
  } else {
    int failed = call_limited(L, host, name, arguments);
    const char *message = failed ? lua_tostring(L, -1) : NULL;
    if (failed)
      status = orr_engine_fail(engine, failed == LUA_ERRMEM ? ORR_MEMORY : ORR_CALLBACK,
                               message ? message : "error without a text");
  }
  host->running = outer;
  return status;
}

/* system.limit_callbacks(instructions): stops every call of an environment's function that runs
   longer; 0: no limit. In steps of 100000. Returns the limit before. */
int lua_limit_callbacks(lua_State *L) {
  lua_host *host = lua_find_host(L);
  lua_pushinteger(L, (lua_Integer)host->limit);
  host->limit = luaL_checkinteger(L, 1);
  return 1;
}
