/* host.c - a program that embeds Orrery, linked through pkg-config: two engines side by side, then
   `require "orrery"` in a Lua state of its own that uses the host's engine. Built by tests/run with
   what `pkg-config --cflags --libs orrery orrery-lua lua5.4` says. argv[1]: where orrery.so is. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include <orrery/base.h>
#include <orrery/lua.h>
#include <orrery/tensor.h>

#define CHECK(condition) \
  if (!(condition)) return fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), 1

static int two_engines(void) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  options.seed = 7;
  orr_engine *one = orr_engine_new(&options), *two = orr_engine_new(&options);
  CHECK(one != NULL && two != NULL);
  for (int i = 0; i < 100; i++)
    CHECK(orr_random_bits(orr_engine_random(one)) == orr_random_bits(orr_engine_random(two)));
  int64_t shape[2] = {3, -1};
  CHECK(orr_tensor_new(one, ORR_REAL, 2, shape) == NULL);
  CHECK(orr_engine_status(one) != ORR_OK && orr_engine_message(one)[0] != '\0');
  CHECK(orr_engine_status(two) == ORR_OK);
  orr_interrupt(one);
  CHECK(orr_interrupted(one) && !orr_interrupted(two));
  shape[1] = 4;
  orr_tensor *tensor = orr_tensor_new(two, ORR_REAL, 2, shape);
  CHECK(tensor != NULL && orr_tensor_count(tensor) == 12);
  orr_engine_free(one);
  orr_engine_free(two); /* the tensor holds it */
  CHECK(orr_tensor_count(tensor) == 12);
  orr_tensor_free(tensor);
  return 0;
}

static int from_lua(const char *folder) {
  static const char script[] = "package.cpath = (...) .. '/?.so'\n"
                               "local orrery = require 'orrery'\n"
                               "assert(require 'orrery.check' == require 'orrery.check')\n"
                               "assert(orrery.threads() == 1)\n"
                               "assert(orrery.seed() == 41)\n"
                               "return orrery.version\n";
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  options.seed = 41;
  orr_engine *engine = orr_engine_new(&options);
  lua_State *L = luaL_newstate();
  CHECK(engine != NULL && L != NULL);
  luaL_openlibs(L);
  orr_lua_set_engine(L, engine);
  int status = luaL_loadbufferx(L, script, strlen(script), "=host", "t");
  lua_pushstring(L, folder);
  if (status == LUA_OK) status = lua_pcall(L, 1, 1, 0);
  if (status != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  CHECK(status == LUA_OK);
  CHECK(strcmp(lua_tostring(L, -1), orr_version()) == 0);
  lua_close(L);
  CHECK(orr_engine_status(engine) == ORR_OK);
  orr_engine_free(engine);
  return 0;
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  return two_engines() || from_lua(arguments[1]);
}
