/* interrupt.c - Ctrl-C. The handlers live here and never in the library: they raise the engine's
   flag, which is async-signal-safe, and set a hook that raises an error in the script, as lua.c
   does: in the main thread and in the one that runs, of a coroutine or of a callback of the
   engine. */
#include <lauxlib.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "orrery/lua.h"

static lua_State *volatile watched_state;
static lua_State *volatile *volatile watched_running;
static orr_engine *volatile watched_engine;
static volatile sig_atomic_t signal_seen;
static struct sigaction old_interrupt, old_terminate;

/* The position is that of the person's own script, not of the library that it called. */
static void raise_interrupted(lua_State *L, lua_Debug *activation) {
  lua_Debug frame;
  int level = 0;
  (void)activation;
  lua_sethook(L, NULL, 0, 0);
  for (; lua_getstack(L, level, &frame); level++) {
    lua_getinfo(L, "Sl", &frame);
    if (frame.currentline > 0 && strstr(frame.source, "lua/orrery/") == NULL) break;
  }
  luaL_where(L, level);
  lua_pushliteral(L, "interrupted");
  lua_concat(L, 2);
  lua_error(L);
}

static void stop(lua_State *L) {
  lua_sethook(L, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static void on_signal(int number) {
  if (signal_seen) _exit(128 + number);
  signal_seen = number;
  orr_interrupt(watched_engine);
  lua_State *inner = *watched_running;
  stop(watched_state);
  if (inner != NULL) stop(inner);
}

void interrupt_watch(lua_State *L, orr_engine *engine) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  watched_state = L;
  watched_running = orr_lua_running(L);
  *watched_running = NULL;
  watched_engine = engine;
  signal_seen = 0;
  orr_interrupt_clear(engine);
  sigaction(SIGINT, &action, &old_interrupt);
  sigaction(SIGTERM, &action, &old_terminate);
}

void interrupt_rest(void) {
  sigaction(SIGINT, &old_interrupt, NULL);
  sigaction(SIGTERM, &old_terminate, NULL);
  lua_sethook(watched_state, NULL, 0, 0);
}

void interrupt_pass(lua_State *L) {
  if (watched_engine != NULL && orr_interrupted(watched_engine)) stop(L);
}

int interrupt_exit_code(void) { return signal_seen ? 128 + signal_seen : 0; }
