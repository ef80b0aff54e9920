/* lua_orrery.c - see lua_orrery.h: errors, bound objects, the collector, functions that run on
   numbers, tensors and symbols alike. */
#include "lua/lua_orrery.h"

#include <stdarg.h>
#include <string.h>

#include "lua/host.h"

static const char host_key = 0;

lua_host *lua_find_host(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &host_key);
  lua_host *host = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return host;
}

static int close_host(lua_State *L) {
  lua_host *host = lua_touserdata(L, lua_upvalueindex(1));
  orr_engine *engine = host->engine;
  host->engine = NULL;
  orr_engine_free(engine);
  return 0;
}

/* Made before every other object, so that it is finalised after them. */
lua_host *lua_make_host(lua_State *L) {
  lua_host *host = lua_find_host(L);
  if (host) return host;
  host = lua_newuserdatauv(L, sizeof *host, 0);
  memset(host, 0, sizeof *host);
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, close_host, 1);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &host_key);
  return host;
}

orr_engine *lua_engine(lua_State *L) {
  lua_host *host = lua_find_host(L);
  if (!host || !host->engine) luaL_error(L, "orrery: the module is not open in this Lua state");
  return host->engine;
}

/* Errors. */

/* Pushes "file:line: " of the nearest running function that is a script outside lua/orrery, or of
   the nearest script at all. */
static void push_position(lua_State *L) {
  lua_Debug frame;
  int nearest = -1;
  for (int level = 1; lua_getstack(L, level, &frame); level++) {
    lua_getinfo(L, "Sl", &frame);
    if (frame.currentline <= 0) continue;
    if (nearest < 0) nearest = level;
    if (strstr(frame.source, "lua/orrery/")) continue;
    luaL_where(L, level);
    return;
  }
  if (nearest >= 0) luaL_where(L, nearest);
  else lua_pushliteral(L, "");
}

int lua_raise(lua_State *L) {
  push_position(L);
  lua_pushstring(L, orr_engine_message(lua_engine(L)));
  lua_concat(L, 2);
  return lua_error(L);
}

void lua_check_status(lua_State *L, orr_status status) {
  if (status != ORR_OK) lua_raise(L);
}

int lua_complain(lua_State *L, const char *format, ...) {
  va_list arguments;
  push_position(L);
  va_start(arguments, format);
  lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  lua_concat(L, 2);
  return lua_error(L);
}

/* More than this above twice the floor, and a full collection is due. */
static const size_t slack = (size_t)32 << 20;

/* Lua sees a userdata of a few bytes where megabytes hang from it. So the growth of the engine is
   reported as steps of the collector, in whole KiB (a step of 0 would mean something else). In
   generational mode steps collect the young only, and what an expression holds for two steps is
   old: hence the full collection when the engine has doubled, which incremental mode hardly ever
   needs. */
void lua_tell_collector(lua_State *L) {
  lua_host *host = lua_find_host(L);
  if (!host || !host->engine) return;
  size_t bytes = orr_engine_bytes(host->engine);
  if (bytes < host->told) host->told = bytes;
  size_t kib = (bytes - host->told) / 1024;
  if (kib == 0) return;
  host->told += kib * 1024;
  if (!lua_gc(L, LUA_GCISRUNNING)) return; /* the script stopped it */
  lua_gc(L, LUA_GCSTEP, kib < 1 << 20 ? (int)kib : 1 << 20);
  bytes = orr_engine_bytes(host->engine);
  if (bytes < host->floor) host->floor = bytes;
  if (bytes > 2 * host->floor + slack) {
    lua_gc(L, LUA_GCCOLLECT);
    bytes = host->floor = orr_engine_bytes(host->engine);
  }
  if (bytes < host->told) host->told = bytes;
}

/* Bound objects. */

static int close_handle(lua_State *L) {
  const lua_class *class = lua_touserdata(L, lua_upvalueindex(1));
  lua_handle *handle = luaL_checkudata(L, 1, class->name);
  void *object = handle->object;
  handle->object = NULL;
  if (object) class->free(object);
  return 0;
}

static void add_finaliser(lua_State *L, const char *name, const lua_class *class) {
  lua_pushlightuserdata(L, (void *)(uintptr_t) class);
  lua_pushcclosure(L, close_handle, 1);
  lua_setfield(L, -2, name);
}

void lua_new_class(lua_State *L, const lua_class *class) {
  if (!luaL_newmetatable(L, class->name)) { /* opened twice in one state */
    lua_pop(L, 1);
    return;
  }
  lua_newtable(L);
  if (class->methods) luaL_setfuncs(L, class->methods, 0);
  add_finaliser(L, "close", class);
  if (class->metamethods) {
    lua_pushvalue(L, -1);
    lua_insert(L, -3); /* methods, metatable, methods */
    luaL_setfuncs(L, class->metamethods, 1);
    lua_insert(L, -2); /* metatable, methods */
  }
  if (lua_getfield(L, -2, "__index") == LUA_TNIL) {
    lua_pushvalue(L, -2);
    lua_setfield(L, -4, "__index");
  }
  lua_pop(L, 1);
  lua_setfield(L, -2, "methods"); /* for lua_call_foreign and other files that add some */
  add_finaliser(L, "__gc", class);
  add_finaliser(L, "__close", class);
  lua_pushstring(L, class->noun);
  lua_setfield(L, -2, "__metatable"); /* scripts cannot reach __gc of another type */
  lua_pop(L, 1);
}

void lua_push_methods(lua_State *L, const lua_class *class) {
  luaL_getmetatable(L, class->name);
  lua_getfield(L, -1, "methods");
  lua_remove(L, -2);
}

lua_handle *lua_new_handle_holding(lua_State *L, const lua_class *class, int values) {
  lua_handle *handle = lua_newuserdatauv(L, sizeof *handle, values);
  *handle = (lua_handle){NULL, class};
  luaL_setmetatable(L, class->name);
  return handle;
}

lua_handle *lua_new_handle(lua_State *L, const lua_class *class) {
  return lua_new_handle_holding(L, class, 0);
}

int lua_fill(lua_State *L, lua_handle *handle, void *object) {
  if (!object) return lua_raise(L);
  handle->object = object;
  lua_tell_collector(L);
  return 1;
}

static int push_empty(lua_State *L) {
  lua_new_handle(L, lua_touserdata(L, 1));
  return 1;
}

int lua_push_object(lua_State *L, const lua_class *class, void *object) {
  if (!object) return lua_raise(L);
  lua_pushcfunction(L, push_empty);
  lua_pushlightuserdata(L, (void *)(uintptr_t) class);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    class->free(object);
    return lua_error(L);
  }
  return lua_fill(L, lua_touserdata(L, -1), object);
}

void *lua_test_object(lua_State *L, int index, const lua_class *class) {
  lua_handle *handle = luaL_testudata(L, index, class->name);
  if (!handle) return NULL;
  if (!handle->object) lua_complain(L, "this %s was closed", class->noun);
  return handle->object;
}

void *lua_check_object(lua_State *L, int index, const lua_class *class) {
  void *object = lua_test_object(L, index, class);
  if (!object) luaL_typeerror(L, index, class->noun);
  return object;
}

void lua_close_object(lua_State *L, int index) {
  lua_handle *handle = lua_touserdata(L, index);
  if (!handle || !handle->object) return;
  void *object = handle->object;
  handle->object = NULL;
  handle->class->free(object);
}

void lua_add_functions(lua_State *L, int index, const luaL_Reg *functions) {
  lua_pushvalue(L, index);
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}

static bool push_method(lua_State *L, int index, const char *name, int depth) {
  int type = lua_type(L, index);
  if (type != LUA_TUSERDATA && type != LUA_TTABLE) return false;
  if (type == LUA_TUSERDATA && luaL_testudata(L, index, lua_tensor_class.name)) return false;
  if (lua_getmetatable(L, index)) {
    lua_pop(L, 1);
    if (lua_getfield(L, index, name) != LUA_TNIL) return true;
    lua_pop(L, 1);
    return false;
  }
  if (type != LUA_TTABLE || depth == 0 || !lua_checkstack(L, 4)) return false;
  int n = (int)lua_rawlen(L, index);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, index, i);
    bool found = push_method(L, lua_gettop(L), name, depth - 1);
    lua_remove(L, found ? -2 : -1);
    if (found) return true;
  }
  return false;
}

bool lua_push_foreign_method(lua_State *L, int index, const char *name) {
  return push_method(L, lua_absindex(L, index), name, ORR_AXES);
}

bool lua_call_foreign(lua_State *L, const char *name, int count) {
  int top = lua_gettop(L);
  if (count > top) count = top;
  for (int i = 1; i <= count; i++) {
    if (!lua_push_foreign_method(L, i, name)) continue;
    luaL_checkstack(L, top + 1, "too many arguments");
    for (int k = 1; k <= top; k++) lua_pushvalue(L, k);
    lua_call(L, top, 1);
    return true;
  }
  return false;
}
