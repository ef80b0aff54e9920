/* open.c - `require "orrery"`: makes the engine and the module table, opens every bound type and
   runs the Lua library's init. The library's files are compiled in; while developing, the
   environment variable ORRERY_LUA names the source tree's lua/ folder, which is looked at first. */
#include <stdlib.h>
#include <string.h>

#include "lua/host.h"

/* Pushes the function of the library's file `name` ("orrery.model") and returns true; or a reason
   why there is none, and false. Raises where the file is there but does not compile. */
static bool push_library(lua_State *L, const char *name) {
  const char *folder = getenv("ORRERY_LUA"), *relative = luaL_gsub(L, name, ".", "/");
  int below = lua_gettop(L);
  if (folder && folder[0]) {
    int status = luaL_loadfilex(L, lua_pushfstring(L, "%s/%s.lua", folder, relative), "t");
    if (status != LUA_OK && status != LUA_ERRFILE) lua_error(L);
    if (status == LUA_OK) {
      lua_replace(L, below);
      lua_settop(L, below);
      return true;
    }
  }
  for (const struct orr_lua_source *source = orr_lua_sources; source->name; source++) {
    if (strcmp(source->name, name) != 0) continue;
    const char *chunk = lua_pushfstring(L, "@lua/%s.lua", relative);
    if (luaL_loadbufferx(L, source->text, source->size, chunk, "t") != LUA_OK) lua_error(L);
    lua_replace(L, below);
    lua_settop(L, below);
    return true;
  }
  lua_pushfstring(L, "no file '%s' in the orrery library", name);
  lua_replace(L, below);
  lua_settop(L, below);
  return false;
}

/* An entry of package.searchers. */
static int search_library(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (strncmp(name, "orrery.", 7) != 0) return 0;
  if (!push_library(L, name)) return 1;
  lua_pushvalue(L, 1);
  return 2;
}

/* Second, behind preload: the library's files must be those of this engine. */
static void add_searcher(lua_State *L) {
  lua_getglobal(L, "package");
  if (!lua_istable(L, -1))
    luaL_error(L, "orrery: the package library is not open in this Lua state");
  lua_getfield(L, -1, "searchers");
  if (!lua_istable(L, -1)) luaL_error(L, "orrery: package.searchers is not a table");
  for (lua_Integer i = luaL_len(L, -1); i >= 1; i--) {
    lua_geti(L, -1, i);
    bool ours = lua_tocfunction(L, -1) == search_library;
    lua_pop(L, 1);
    if (ours) {
      lua_pop(L, 2);
      return;
    }
  }
  for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) {
    lua_geti(L, -1, i);
    lua_seti(L, -2, i + 1);
  }
  lua_pushcfunction(L, search_library);
  lua_seti(L, -2, 2);
  lua_pop(L, 2);
}

/* The engine's warnings become Lua's, which the host shows or not (warn "@on"). */
static void log_to_lua(void *user, orr_log_level level, const char *message) {
  lua_State *L = user;
  if (level < ORR_LOG_WARNING) return;
  lua_warning(L, "orrery: ", 1);
  lua_warning(L, message, 0);
}

static void make_engine(lua_State *L) {
  lua_host *host = lua_make_host(L);
  if (host->engine) return;
  orr_engine_options options = orr_engine_options_defaults();
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  options.log = log_to_lua;
  options.log_user = lua_tothread(L, -1);
  lua_pop(L, 1);
  host->engine = orr_engine_new(&options);
  if (!host->engine) luaL_error(L, "orrery: out of memory for an engine");
  host->told = orr_engine_bytes(host->engine);
}

void orr_lua_set_engine(lua_State *L, orr_engine *engine) {
  lua_host *host = lua_make_host(L);
  orr_engine *before = host->engine;
  host->engine = orr_engine_retain(engine);
  host->told = engine ? orr_engine_bytes(engine) : 0;
  orr_engine_free(before);
}

/* The module is in package.loaded while init runs, so that the library's files may require it. */
static void run_init(lua_State *L, int module) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushvalue(L, module);
  lua_setfield(L, -2, "orrery");
  if (push_library(L, "orrery.init")) {
    lua_pushvalue(L, module);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      lua_pushnil(L);
      lua_setfield(L, -3, "orrery");
      lua_error(L);
    }
  } else {
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

int luaopen_orrery(lua_State *L) {
  luaL_checkversion(L);
  lua_settop(L, 0);
  make_engine(L);
  add_searcher(L);
  lua_newtable(L);
#define OPEN(type) open_##type(L, 1);
#include "lua/open.def"
#undef OPEN
  run_init(L, 1);
  return 1;
}
