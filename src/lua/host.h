/* host.h - what lua_orrery.c and open.c know of a Lua state. */
#ifndef LUA_HOST_H
#define LUA_HOST_H

#include "lua/lua_orrery.h"

typedef struct lua_host {
  orr_engine *engine;          /* NULL: not open yet, or closed with the state */
  size_t told;                 /* engine bytes that the collector knows of */
  size_t floor;                /* engine bytes after the last full collection, or fewer */
  lua_State *volatile running; /* see orr_lua_running */
  int64_t limit, left; /* instructions that a callback may take (0: any number), and those left */
  const char *callee;  /* of the callback that runs under a limit */
} lua_host;

lua_host *lua_find_host(lua_State *L); /* NULL: none yet */
lua_host *lua_make_host(lua_State *L);

#endif
