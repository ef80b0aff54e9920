/* cli.h - the parts of the `orrery` program. It sees the public headers and Lua only. */
#ifndef CLI_H
#define CLI_H

#include <lua.h>

#include "orrery/base.h"

/* interrupt.c: while a call of Lua runs, the first Ctrl-C (or SIGTERM) asks the engine and the
   script to stop, the second ends the process at once. */
void interrupt_watch(lua_State *L, orr_engine *engine);
void interrupt_rest(void);         /* signals do again what they did before interrupt_watch */
void interrupt_pass(lua_State *L); /* to a thread that begins or goes on to run */
int interrupt_exit_code(void);     /* 128 + the signal that came since interrupt_watch, or 0 */

/* coroutine.c: replaces what keeps Ctrl-C from coroutines. */
void watch_coroutines(lua_State *L);

/* call.c: the function and its arguments on top of the stack are replaced by all its results, or
   by one message with a traceback. Returns a Lua status. */
int call_watched(lua_State *L, orr_engine *engine, int arguments);
/* Prints and pops the message on top of the stack. Returns the exit code: 1, or that of the
   signal that stopped the script. */
int report_error(lua_State *L);
/* What the library and scripts tell with `warn` goes to standard error, a line each. */
void show_warnings(lua_State *L);

/* show.c: pushes a text for people: strings quoted, tables opened to a small depth. */
void push_shown(lua_State *L, int index);

/* repl.c: reads, evaluates, prints until the end of input. */
int repl_run(lua_State *L, orr_engine *engine);
/* Leaves a function on the stack that evaluates `code`, an expression or statements; or a message,
   returning a Lua status. */
int repl_load(lua_State *L, const char *code, size_t size);
/* Prints, and pops, the values from index `first` to the top. */
void repl_print(lua_State *L, int first);

#endif
