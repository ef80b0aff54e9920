/* call.c - calling Lua with a traceback, and telling the person what went wrong. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* The message of an error, with the traceback. Runs before the stack unwinds: the engine's flag is
   lowered here so that what the script closes on its way out can still use the engine to save. */
static int describe_error(lua_State *L) {
  orr_engine *engine = lua_touserdata(L, lua_upvalueindex(1));
  orr_interrupt_clear(engine);
  const char *message = lua_tostring(L, 1);
  bool plain = interrupt_exit_code() != 0;
  if (message == NULL) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_isstring(L, -1)) {
      message = lua_tostring(L, -1);
      plain = true; /* an error that was made to be read as it is */
    } else {
      message = lua_pushfstring(L, "(the error is a %s value)", luaL_typename(L, 1));
    }
  }
  if (plain) lua_pushstring(L, message);
  else luaL_traceback(L, L, message, 1);
  return 1;
}

int call_watched(lua_State *L, orr_engine *engine, int arguments) {
  int function = lua_gettop(L) - arguments;
  lua_pushlightuserdata(L, engine);
  lua_pushcclosure(L, describe_error, 1);
  lua_insert(L, function);
  interrupt_watch(L, engine);
  int status = lua_pcall(L, arguments, LUA_MULTRET, function);
  interrupt_rest();
  orr_interrupt_clear(engine);
  lua_remove(L, function);
  return status;
}

int report_error(lua_State *L) {
  const char *message = lua_tostring(L, -1);
  fflush(stdout);
  fprintf(stderr, "orrery: %s\n", message ? message : "(no message)");
  fflush(stderr);
  lua_pop(L, 1);
  int code = interrupt_exit_code();
  return code ? code : 1;
}

/* A warning, in parts; "@off" and "@on" are as in Lua itself. */
static void show_warning(void *user, const char *part, int more) {
  static bool off, inside;
  (void)user;
  if (!inside && !more && part[0] == '@') {
    if (strcmp(part, "@off") == 0) off = true;
    if (strcmp(part, "@on") == 0) off = false;
    return;
  }
  if (!off) {
    if (!inside) {
      fflush(stdout);
      if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr); /* a line of progress may stand there */
      fputs("warning: ", stderr);
    }
    fputs(part, stderr);
    if (!more) fputc('\n', stderr);
  }
  inside = more != 0;
}

void show_warnings(lua_State *L) { lua_setwarnf(L, show_warning, NULL); }
