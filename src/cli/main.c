/* main.c - the `orrery` program: runs scripts, or reads them from the keyboard. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "orrery/lua.h"

static const char usage[] =
    "Usage: orrery [--threads=N] [--kernel=NAME] [command]\n"
    "\n"
    "  orrery run script.lua [--option=value ...]   run a script; --help lists its options\n"
    "  orrery check-env file.lua                    say what is wrong with an environment\n"
    "  orrery eval 'code'                           evaluate, and print the values\n"
    "  orrery                                       type Lua; values are printed\n"
    "  orrery --version\n"
    "  orrery --help\n"
    "\n"
    "  --threads=N     worker threads; 0, the default: one per core. Results do not depend on it.\n"
    "  --kernel=NAME   avx512, avx2 or portable; the default: the best that this processor runs.\n"
    "\n"
    "Ctrl-C asks a script to stop and to save what it has; a second one ends it at once.\n"
    "Where you type: a value is printed, an unfinished statement goes on in the next line, a\n"
    "leading `local` is dropped (input that is no terminal is read in the same way, and ends at "
    "the\n"
    "first error); the history is in $ORRERY_HISTORY or ~/.orrery_history.\n"
    "ORRERY_LUA=folder takes the Lua library from there instead of from the program.\n";

enum { EXIT_USAGE = 2 };

/* The global `arg` as in lua.c: arg[0] is the script, arg[1] its first argument. */
static void set_arguments(lua_State *L, char **arguments, int count) {
  lua_createtable(L, count, 1);
  for (int i = 0; i < count; i++) {
    lua_pushstring(L, arguments[i]);
    lua_rawseti(L, -2, i);
  }
  lua_setglobal(L, "arg");
}

static int finish(lua_State *L, int status) {
  if (status == LUA_OK) return 0;
  if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr); /* a line of progress may stand there */
  return report_error(L);
}

/* Leaves true on the stack when the script shall run: lua/orrery/script.lua looks at its
   options. */
static int check_arguments(lua_State *L, orr_engine *engine, char **arguments, int count) {
  static const char code[] = "return (require('orrery.script').check(...))";
  int status = luaL_loadbufferx(L, code, sizeof code - 1, "=run", "t");
  for (int i = 0; i < count; i++) lua_pushstring(L, arguments[i]);
  if (status == LUA_OK) status = call_watched(L, engine, count);
  return status;
}

static int run_script(lua_State *L, orr_engine *engine, char **arguments, int count) {
  if (count < 1) {
    fprintf(stderr, "orrery run: which script? As in: orrery run script.lua --option=value\n");
    return EXIT_USAGE;
  }
  if (!lua_checkstack(L, count + LUA_MINSTACK)) {
    fprintf(stderr, "orrery run: too many arguments\n");
    return EXIT_USAGE;
  }
  set_arguments(L, arguments, count);
  int status = check_arguments(L, engine, arguments, count);
  if (status != LUA_OK) return finish(L, status);
  if (!lua_toboolean(L, -1)) return 0;
  lua_pop(L, 1);
  status = luaL_loadfilex(L, arguments[0], "t");
  if (status == LUA_OK) {
    for (int i = 1; i < count; i++) lua_pushstring(L, arguments[i]);
    status = call_watched(L, engine, count - 1);
  }
  return finish(L, status);
}

static int evaluate(lua_State *L, orr_engine *engine, char **arguments, int count) {
  if (count != 1) {
    fprintf(stderr, "orrery eval: give one argument, as in: orrery eval 'orrery.version'\n");
    return EXIT_USAGE;
  }
  int first = lua_gettop(L) + 1;
  int status = repl_load(L, arguments[0], strlen(arguments[0]));
  if (status == LUA_OK) status = call_watched(L, engine, 0);
  if (status == LUA_OK) repl_print(L, first);
  return finish(L, status);
}

/* The checks are written in Lua: lua/orrery/check_env.lua returns a function of the file's path. */
static int check_env(lua_State *L, orr_engine *engine, char **arguments, int count) {
  static const char code[] = "local path = ...; return require('orrery.check_env').file(path)";
  if (count != 1) {
    fprintf(stderr, "orrery check-env: which file? As in: orrery check-env my_env.lua\n");
    return EXIT_USAGE;
  }
  int first = lua_gettop(L) + 1;
  int status = luaL_loadbufferx(L, code, sizeof code - 1, "=check-env", "t");
  lua_pushstring(L, arguments[0]);
  if (status == LUA_OK) status = call_watched(L, engine, 1);
  if (status != LUA_OK) return report_error(L);
  return lua_toboolean(L, first) ? 0 : 1;
}

static int run_command(lua_State *L, orr_engine *engine, char **arguments, int count) {
  if (count == 0) return repl_run(L, engine);
  const char *command = arguments[0];
  arguments++, count--;
  bool asks = count > 0 && (strcmp(arguments[0], "--help") == 0 || strcmp(arguments[0], "-h") == 0);
  if (strcmp(command, "help") == 0 || asks) {
    fputs(usage, stdout);
    return 0;
  }
  if (strcmp(command, "run") == 0) return run_script(L, engine, arguments, count);
  if (strcmp(command, "eval") == 0) return evaluate(L, engine, arguments, count);
  if (strcmp(command, "check-env") == 0) return check_env(L, engine, arguments, count);
  fprintf(stderr, "orrery: there is no command '%s'%s; orrery --help lists them\n", command,
          strstr(command, ".lua") ? ": to run a script, orrery run script.lua" : "");
  return EXIT_USAGE;
}

/* Runs protected: opens the libraries and `require "orrery"`. */
static int open_libraries(lua_State *L) {
  luaL_openlibs(L);
  watch_coroutines(L);
  show_warnings(L);
  luaL_requiref(L, "orrery", luaopen_orrery, 1);
  return 0;
}

static void log_message(void *user, orr_log_level level, const char *message) {
  (void)user;
  if (level >= ORR_LOG_INFO) fprintf(stderr, "orrery: %s\n", message);
}

static bool is_kernel(const char *name) {
  return strcmp(name, "avx512") == 0 || strcmp(name, "avx2") == 0 || strcmp(name, "portable") == 0;
}

/* Reads the options before the command; returns how many arguments they were, or -1. */
static int read_options(int count, char **arguments, orr_engine_options *options) {
  int i = 1;
  for (; i < count && strncmp(arguments[i], "--", 2) == 0; i++) {
    const char *option = arguments[i];
    if (strncmp(option, "--threads=", 10) == 0) {
      char *end;
      long threads = strtol(option + 10, &end, 10);
      if (end == option + 10 || *end != '\0' || threads < 0 || threads > 1024) {
        fprintf(stderr, "orrery: %s: threads must be a whole number in 0 .. 1024\n", option);
        return -1;
      }
      options->threads = (int)threads;
    } else if (strncmp(option, "--kernel=", 9) == 0) {
      options->kernel = option + 9;
      if (!is_kernel(options->kernel)) {
        fprintf(stderr, "orrery: %s: there are avx512, avx2 and portable\n", option);
        return -1;
      }
    } else {
      fprintf(stderr, "orrery: there is no option '%s'; orrery --help lists them\n", option);
      return -1;
    }
  }
  return i;
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "--version") == 0) {
    printf("orrery %s, %s\n", orr_version(), LUA_RELEASE);
    return 0;
  }
  if (count == 2 && (strcmp(arguments[1], "--help") == 0 || strcmp(arguments[1], "-h") == 0)) {
    fputs(usage, stdout);
    return 0;
  }
  orr_engine_options options = orr_engine_options_defaults();
  options.log = log_message;
  int first = read_options(count, arguments, &options);
  if (first < 0) return EXIT_USAGE;

  int code = 1;
  orr_engine *engine = orr_engine_new(&options);
  lua_State *L = luaL_newstate();
  if (engine == NULL || L == NULL) {
    fprintf(stderr, "orrery: the engine could not start: no memory, or no such kernel\n");
  } else {
    orr_lua_set_engine(L, engine);
    lua_pushcfunction(L, open_libraries);
    code = finish(L, call_watched(L, engine, 0));
    if (code == 0) code = run_command(L, engine, arguments + first, count - first);
  }
  if (L != NULL) lua_close(L);
  orr_engine_free(engine);
  return code;
}
