/* test_lua.c - runs every tests/lua/test_*.lua in a fresh state; a file passes when it returns
   without an error. ORRERY_TEST_LUA=part limits which: those whose name contains the part. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <glob.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "orrery/lua.h"

typedef struct script {
  char path[256];
} script;

static int describe(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_orrery);
  lua_setfield(L, -2, "orrery");
  lua_settop(L, 0);
  return L;
}

ParameterizedTestParameters(lua, file) {
  glob_t found = {0};
  const char *part = getenv("ORRERY_TEST_LUA");
  glob("tests/lua/test_*.lua", 0, NULL, &found);
  script *scripts = cr_malloc((found.gl_pathc + 1) * sizeof *scripts);
  size_t count = 0;
  for (size_t i = 0; i < found.gl_pathc; i++) {
    const char *path = found.gl_pathv[i];
    if (part != NULL && strstr(path, part) == NULL) continue;
    if (strlen(path) < sizeof scripts->path) strcpy(scripts[count++].path, path);
  }
  globfree(&found);
  return cr_make_param_array(script, scripts, count);
}

ParameterizedTest(script *given, lua, file, .timeout = 300) {
  lua_State *L = open_state();
  lua_pushcfunction(L, describe);
  int status = luaL_loadfilex(L, given->path, "t");
  if (status == LUA_OK) status = lua_pcall(L, 0, 0, 1);
  cr_expect(status == LUA_OK, "%s: %s", given->path, lua_tostring(L, -1));
  lua_close(L);
}

Test(lua, there_are_files) {
  glob_t found = {0};
  cr_assert_eq(glob("tests/lua/test_*.lua", 0, NULL, &found), 0, "no tests/lua/test_*.lua here");
  globfree(&found);
}
