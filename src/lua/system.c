/* system.c - the little of the operating system that run folders and progress lines need: the
   module `orrery.system`. Paths are as the process sees them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/callback.h"

static int fail(lua_State *L, const char *what, const char *path) {
  return lua_complain(L, "%s %s: %s", what, path, strerror(errno));
}

/*** system.make_folder(path): makes a folder and those above it; false when it was there
already. */
static int system_make_folder(lua_State *L) {
  size_t size;
  const char *path = luaL_checklstring(L, 1, &size);
  char *part = lua_newuserdatauv(L, size + 1, 0);
  memcpy(part, path, size + 1);
  for (size_t i = 1; i < size; i++) {
    if (part[i] != '/') continue;
    part[i] = '\0';
    if (mkdir(part, 0777) != 0 && errno != EEXIST) return fail(L, "cannot make the folder", part);
    part[i] = '/';
  }
  int made = mkdir(path, 0777) == 0;
  if (!made && errno != EEXIST) return fail(L, "cannot make the folder", path);
  struct stat info;
  if (!made && (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))) {
    errno = ENOTDIR;
    return fail(L, "cannot make the folder", path);
  }
  lua_pushboolean(L, made);
  return 1;
}

static int write_all(int file, const char *text, size_t size) {
  while (size > 0) {
    ssize_t written = write(file, text, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return -1;
    text += written;
    size -= (size_t)written;
  }
  return 0;
}

/* Makes a rename last through a power loss. */
static void sync_folder_of(lua_State *L, const char *path) {
  const char *slash = strrchr(path, '/');
  const char *folder = slash == NULL   ? "."
                       : slash == path ? "/"
                                       : lua_pushlstring(L, path, (size_t)(slash - path));
  int file = open(folder, O_RDONLY | O_DIRECTORY);
  if (file < 0) return;
  fsync(file);
  close(file);
}

/*** system.write(path, text): writes a file whole or not at all. */
static int system_write(lua_State *L) {
  size_t size;
  const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &size);
  const char *temporary = lua_pushfstring(L, "%s.partial", path);
  int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return fail(L, "cannot write", path);
  int failed = write_all(file, text, size) != 0 || fsync(file) != 0;
  int error = errno;
  if (close(file) != 0 && !failed) {
    failed = 1;
    error = errno;
  }
  if (!failed && rename(temporary, path) != 0) {
    failed = 1;
    error = errno;
  }
  if (failed) {
    unlink(temporary);
    errno = error;
    return fail(L, "cannot write", path);
  }
  sync_folder_of(L, path);
  return 0;
}

/*** system.exists(path): whether there is such a file or folder. */
static int system_exists(lua_State *L) {
  lua_pushboolean(L, access(luaL_checkstring(L, 1), F_OK) == 0);
  return 1;
}

/*** system.terminal(): columns of the terminal that standard error goes to; nil when it is none. */
static int system_terminal(lua_State *L) {
  struct winsize size = {0};
  if (!isatty(STDERR_FILENO)) return 0;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) size.ws_col = 80;
  lua_pushinteger(L, size.ws_col);
  return 1;
}

/*** system.interrupted(): whether the engine is to stop: Ctrl-C came, or its host wants it. */
static int system_interrupted(lua_State *L) {
  lua_pushboolean(L, orr_interrupted(lua_engine(L)));
  return 1;
}

static const luaL_Reg functions[] = {{"make_folder", system_make_folder},
                                     {"write", system_write},
                                     {"exists", system_exists},
                                     {"terminal", system_terminal},
                                     {"interrupted", system_interrupted},
                                     {"limit_callbacks", lua_limit_callbacks},
                                     {NULL, NULL}};

void open_system(lua_State *L, int module) {
  module = lua_absindex(L, module);
  luaL_newlib(L, functions);
  lua_setfield(L, module, "system");
}
