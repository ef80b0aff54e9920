/* repl.c - `orrery` without arguments: line editing, history, several lines where a statement is
   unfinished, values of expressions printed. A leading `local` is dropped, so that samples can be
   pasted line by line. */
#include <errno.h>
#include <histedit.h>
#include <lauxlib.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "cli.h"

/* Whether the message on top says that the code ends too early. */
static bool ends_early(lua_State *L) {
  size_t size;
  const char *message = lua_tolstring(L, -1, &size);
  return size >= 5 && strcmp(message + size - 5, "<eof>") == 0;
}

int repl_load(lua_State *L, const char *code, size_t size) {
  const char *name = "=input";
  lua_pushliteral(L, "return ");
  lua_pushlstring(L, code, size);
  lua_concat(L, 2);
  size_t length;
  const char *expression = lua_tolstring(L, -1, &length);
  int status = luaL_loadbufferx(L, expression, length, name, "t");
  lua_remove(L, -2);
  if (status == LUA_OK) return status;
  if (ends_early(L)) { /* as `1 +` does; but `f(` may be an unfinished statement too */
    if (luaL_loadbufferx(L, code, size, name, "t") != LUA_OK) {
      lua_pop(L, 1);
      return status;
    }
    lua_remove(L, -2);
    return LUA_OK;
  }
  lua_pop(L, 1);
  if (strncmp(code, "local ", 6) == 0) {
    if (luaL_loadbufferx(L, code + 6, size - 6, name, "t") == LUA_OK) return LUA_OK;
    lua_pop(L, 1);
  }
  return luaL_loadbufferx(L, code, size, name, "t");
}

/* True, popping the message, when the message says that the chunk ends too early. */
static bool unfinished(lua_State *L, int status) {
  if (status != LUA_ERRSYNTAX || !ends_early(L)) return false;
  lua_pop(L, 1);
  return true;
}

static int print_values(lua_State *L) {
  int n = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    push_shown(L, i);
    fputs(lua_tostring(L, -1), stdout);
    putchar(i < n ? '\t' : '\n');
    lua_pop(L, 1);
  }
  return 0;
}

void repl_print(lua_State *L, int first) {
  int n = lua_gettop(L) - first + 1;
  if (n > 0) {
    lua_pushcfunction(L, print_values);
    lua_insert(L, first);
    if (lua_pcall(L, n, 0, 0) != LUA_OK) {
      const char *message = lua_tostring(L, -1);
      fprintf(stderr, "orrery: the value cannot be printed: %s\n", message ? message : "");
      lua_pop(L, 1);
    }
  }
  fflush(stdout);
}

/* Where lines come from. `editor` is NULL when the input is no terminal. */
typedef struct reader {
  EditLine *editor;
  History *history;
  const char *prompt;
} reader;

enum { LINE, END, DROPPED };

static volatile sig_atomic_t dropped;

static void on_interrupt(int number) {
  (void)number;
  dropped = 1;
}

static char *prompt_of(EditLine *editor) {
  reader *from;
  el_get(editor, EL_CLIENTDATA, &from);
  return (char *)from->prompt;
}

/* One wide character, 0 at the end of input, -1 at an error: as libedit's own, except that a
   signal ends the line. */
static int read_character(EditLine *editor, wchar_t *character) {
  (void)editor;
  mbstate_t state = {0};
  for (;;) {
    char byte;
    ssize_t got = read(STDIN_FILENO, &byte, 1);
    if (got == 0) return 0;
    if (got < 0 && (errno != EINTR || dropped)) return -1;
    if (got < 0) continue;
    size_t used = mbrtowc(character, &byte, 1, &state);
    if (used == 0 || used == 1) return 1;
    if (used == (size_t)-1) memset(&state, 0, sizeof state); /* not a character here: skip it */
  }
}

/* Pushes a line without its end, or nothing. */
static int edit_line(lua_State *L, reader *from, const char *prompt) {
  struct sigaction action = {.sa_handler = on_interrupt}, old; /* without SA_RESTART */
  int size = 0;
  from->prompt = prompt;
  dropped = 0;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &old);
  const char *line = el_gets(from->editor, &size);
  sigaction(SIGINT, &old, NULL);
  if (dropped) {
    el_reset(from->editor);
    putchar('\n');
    return DROPPED;
  }
  if (line == NULL || size <= 0) return END;
  if (line[size - 1] == '\n') size--;
  lua_pushlstring(L, line, (size_t)size);
  return LINE;
}

static int read_line(lua_State *L, reader *from, const char *prompt) {
  if (from->editor != NULL) return edit_line(L, from, prompt);
  char *line = NULL;
  size_t room = 0;
  ssize_t size = getline(&line, &room, stdin);
  if (size > 0 && line[size - 1] == '\n') size--;
  if (size >= 0) lua_pushlstring(L, line, (size_t)size);
  free(line);
  return size >= 0 ? LINE : END;
}

/* $ORRERY_HISTORY, or .orrery_history in the home folder; the caller frees it. */
static char *history_path(void) {
  const char *named = getenv("ORRERY_HISTORY"), *home = getenv("HOME");
  char *path = NULL;
  if (named != NULL) return strdup(named);
  if (home == NULL || asprintf(&path, "%s/.orrery_history", home) < 0) return NULL;
  return path;
}

static void open_editor(reader *from) {
  HistEvent event;
  from->editor = el_init("orrery", stdin, stdout, stderr);
  from->history = history_init();
  if (from->editor == NULL || from->history == NULL) return;
  history(from->history, &event, H_SETSIZE, 1000);
  history(from->history, &event, H_SETUNIQUE, 1);
  el_set(from->editor, EL_CLIENTDATA, from);
  el_set(from->editor, EL_PROMPT, prompt_of);
  el_set(from->editor, EL_EDITOR, "emacs");
  el_set(from->editor, EL_GETCFN, read_character);
  el_set(from->editor, EL_HIST, history, from->history);
  char *path = history_path();
  if (path != NULL) history(from->history, &event, H_LOAD, path);
  free(path);
}

static void close_editor(reader *from) {
  HistEvent event;
  char *path = history_path();
  if (path != NULL && from->history != NULL) history(from->history, &event, H_SAVE, path);
  free(path);
  if (from->history != NULL) history_end(from->history);
  if (from->editor != NULL) el_end(from->editor);
}

/* Several lines are kept in the history as one. */
static void remember(reader *from, const char *code) {
  HistEvent event;
  if (from->editor == NULL || *code == '\0') return;
  char *line = strdup(code);
  if (line == NULL) return;
  for (char *c = line; *c; c++)
    if (*c == '\n') *c = ' ';
  history(from->history, &event, H_ENTER, line);
  free(line);
}

/* Reads lines until they make a chunk. LINE: its function, or a message, is on the stack, and
   *status says which. */
static int read_chunk(lua_State *L, reader *from, int *status) {
  int got = read_line(L, from, "> ");
  if (got != LINE) return got;
  for (;;) {
    size_t size;
    const char *code = lua_tolstring(L, -1, &size);
    *status = repl_load(L, code, size);
    if (!unfinished(L, *status)) break;
    lua_pushliteral(L, "\n");
    got = read_line(L, from, ">> ");
    if (got == DROPPED) return got;
    if (got == END) { /* say what is unfinished */
      lua_pop(L, 1);
      *status = repl_load(L, code, size);
      break;
    }
    lua_concat(L, 3);
  }
  remember(from, lua_tostring(L, -2));
  lua_remove(L, -2);
  return LINE;
}

int repl_run(lua_State *L, orr_engine *engine) {
  reader from = {0};
  if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
    setlocale(LC_CTYPE, ""); /* so that the editor knows the terminal's characters */
    printf("Orrery %s   %s   help: orrery --help, end: Ctrl-D\n", orr_version(), LUA_VERSION);
    open_editor(&from);
  }
  int code = 0;
  for (;;) {
    int status = LUA_OK;
    lua_settop(L, 0);
    int got = read_chunk(L, &from, &status);
    if (got == END) break;
    if (got == DROPPED) continue;
    if (status == LUA_OK) status = call_watched(L, engine, 0);
    if (status == LUA_OK) repl_print(L, 1);
    else code = report_error(L);
    if (from.editor != NULL) code = 0;
    else if (code) break;
  }
  if (from.editor != NULL) putchar('\n');
  close_editor(&from);
  return code;
}
