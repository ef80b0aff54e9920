/* test_tensor_lua.c - the bindings when memory runs out: in the engine or in Lua, at any
   allocation. The script fails with an error, nothing leaks, and the state works on. */
#include <criterion/criterion.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limited_memory.h"
#include "orrery/lua.h"

static const char script[] =
    "local orrery = require 'orrery'\n"
    "local t = orrery.tensor { { 1, 2, 3 }, { 4, 5, 6 } }\n"
    "local u = (t + 1) * t[1] - orrery.full(2, 3)\n"
    "local v = orrery.concat { u:sum(1), 7, t[{ 2, { 1, 2 } }] }\n"
    "v[1] = t:matmul(t:transpose())[1][1]\n"
    "local w = orrery.where(v:less(3), v, orrery.randn(#v)):sort():gather { 1, 3 }\n"
    "local x = t:reshape(3, -1):softmax(1):totable()\n"
    "local y = orrery.stack({ t, u }, 2):std(2):argsort()\n"
    "assert(#tostring(y) > 0 and #x == 3 and w:count() == 2)\n"
    "local path = ...\n"
    "orrery.save_tensors(path, { t = t, u = u }, { a = 'b' })\n"
    "assert(orrery.load_tensors(path).t:same(t))\n"
    "assert(not pcall(orrery.load_npy, path))\n";

/* All fail from the n-th on, not it alone: Lua collects and tries again after one that fails. */
static void *lua_allocate(void *user, void *old, size_t old_size, size_t new_size) {
  if (new_size == 0) return free(old), NULL;
  bool grows = !old || new_size > old_size; /* Lua counts on shrinking to work */
  return grows && runs_out(user) ? NULL : realloc(old, new_size);
}

static lua_State *open_state(struct memory *memory, orr_engine *engine) {
  lua_State *L = lua_newstate(lua_allocate, memory);
  luaL_openlibs(L);
  orr_lua_set_engine(L, engine);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_orrery);
  lua_setfield(L, -2, "orrery");
  lua_settop(L, 0);
  cr_assert_eq(luaL_dostring(L, "require 'orrery'"), LUA_OK, "%s", lua_tostring(L, -1));
  lua_settop(L, 0);
  return L;
}

static int run_script(lua_State *L) {
  if (luaL_loadbufferx(L, script, sizeof script - 1, "=script", "t") != LUA_OK) return lua_error(L);
  lua_pushstring(L, lua_touserdata(L, 1));
  lua_call(L, 1, 0);
  return 0;
}

static void fail_everywhere(bool in_lua) {
  struct memory in_engine = {.left = UNLIMITED}, in_state = {.left = UNLIMITED},
                *memory = in_lua ? &in_state : &in_engine;
  orr_engine *engine = limited_engine(&in_engine, 1);
  size_t empty = orr_engine_bytes(engine);
  char path[] = "/tmp/orrery-test-XXXXXX";
  close(mkstemp(path));
  lua_State *L = open_state(&in_state, engine);
  lua_gc(L, LUA_GCCOLLECT);
  size_t before = orr_engine_bytes(engine);
  int errors = 0;
  for (long n = 0;; n++) {
    long failed = memory->failed;
    lua_pushcfunction(L, run_script);
    lua_pushlightuserdata(L, path);
    memory->left = n;
    int status = lua_pcall(L, 1, 0, 0);
    memory->left = UNLIMITED;
    const char *message = status ? lua_tostring(L, -1) : "";
    if (status && status != LUA_ERRMEM)
      cr_assert_not_null(strstr(message, "memory"), "allocation %ld: %s", n, message);
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT);
    lua_gc(L, LUA_GCCOLLECT);
    cr_assert_eq(orr_engine_bytes(engine), before, "allocation %ld leaks: %s", n, message);
    errors += status != LUA_OK;
    if (memory->failed == failed) {
      cr_assert_eq(status, LUA_OK, "%s", message);
      break;
    }
  }
  cr_assert_gt(errors, 50, "%d", errors);
  lua_close(L);
  cr_assert_eq(orr_engine_bytes(engine), empty);
  orr_engine_free(engine);
  unlink(path);
}

Test(tensor_lua, any_allocation_of_the_engine_may_fail) { fail_everywhere(false); }
Test(tensor_lua, any_allocation_of_lua_may_fail) { fail_everywhere(true); }

static int open_protected(lua_State *L) {
  luaL_requiref(L, "orrery", luaopen_orrery, 0);
  return 0;
}

/* Opening the module: also with an engine of its own, which the state's end must free. */
Test(tensor_lua, opening_may_fail_anywhere) {
  int errors = 0;
  for (long n = 0;; n += 1 + n / 50) {
    struct memory memory = {.left = UNLIMITED};
    lua_State *L = lua_newstate(lua_allocate, &memory);
    luaL_openlibs(L);
    memory.left = n;
    lua_pushcfunction(L, open_protected);
    int status = lua_pcall(L, 0, 0, 0);
    memory.left = UNLIMITED;
    lua_close(L);
    if (memory.failed == 0) {
      cr_assert_eq(status, LUA_OK);
      break;
    }
    errors += status != LUA_OK;
  }
  cr_expect_gt(errors, 50, "%d", errors);
}
