/* show.c - values as text for people: what the REPL prints. */
#include <lauxlib.h>
#include <string.h>

#include "cli.h"

enum { MOST_DEPTH = 3, MOST_ITEMS = 24, MOST_BYTES = 4000 };

static void add_value(lua_State *L, int text, int index, int depth);

/* The text so far is a string at stack index `text`. */
static void add(lua_State *L, int text, const char *more) {
  lua_pushvalue(L, text);
  lua_pushstring(L, more);
  lua_concat(L, 2);
  lua_replace(L, text);
}

static bool is_name(const char *key) {
  if (!(*key == '_' || (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z'))) return false;
  return key[strspn(key, "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")] ==
         '\0';
}

static void add_quoted(lua_State *L, int text, int index) {
  size_t size;
  const char *s = lua_tolstring(L, index, &size);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addchar(&b, '"');
  for (size_t i = 0; i < size; i++) {
    if (s[i] == '"' || s[i] == '\\') luaL_addchar(&b, '\\');
    if (s[i] == '\n') luaL_addstring(&b, "\\n");
    else if (s[i] == '\0') luaL_addstring(&b, "\\0");
    else luaL_addchar(&b, s[i]);
  }
  luaL_addchar(&b, '"');
  luaL_pushresult(&b);
  add(L, text, lua_tostring(L, -1));
  lua_pop(L, 1);
}

static void add_key(lua_State *L, int text, int index) {
  if (lua_type(L, index) == LUA_TSTRING && is_name(lua_tostring(L, index))) {
    add(L, text, lua_tostring(L, index));
  } else {
    add(L, text, "[");
    add_value(L, text, index, MOST_DEPTH);
    add(L, text, "]");
  }
  add(L, text, " = ");
}

/* Pushes a sequence of the table's keys outside its list part: text keys in order, then others. */
static void push_keys(lua_State *L, int table, lua_Integer length) {
  int texts = lua_gettop(L) + 1, others = texts + 1;
  lua_newtable(L);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && lua_tointeger(L, -2) <= length)
      continue;
    int list = lua_type(L, -2) == LUA_TSTRING ? texts : others;
    lua_pushvalue(L, -2);
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
  }
  lua_getglobal(L, "table");
  lua_getfield(L, -1, "sort");
  lua_pushvalue(L, texts);
  lua_call(L, 1, 0);
  lua_pop(L, 1);
  lua_Integer n = (lua_Integer)lua_rawlen(L, texts);
  lua_Integer more = (lua_Integer)lua_rawlen(L, others);
  for (lua_Integer i = 1; i <= more; i++) {
    lua_rawgeti(L, others, i);
    lua_rawseti(L, texts, n + i);
  }
  lua_settop(L, texts);
}

static void add_table(lua_State *L, int text, int table, int depth) {
  lua_Integer length = (lua_Integer)lua_rawlen(L, table), shown = 0;
  if (depth >= MOST_DEPTH) {
    lua_pushnil(L);
    bool empty = !lua_next(L, table);
    if (!empty) lua_pop(L, 2);
    add(L, text, empty ? "{}" : "{...}");
    return;
  }
  add(L, text, "{");
  push_keys(L, table, length);
  int keys = lua_gettop(L);
  lua_Integer named = (lua_Integer)lua_rawlen(L, keys);
  for (lua_Integer i = 1; i <= length + named; i++, shown++) {
    if (shown) add(L, text, ", ");
    if (shown >= MOST_ITEMS || lua_rawlen(L, text) > MOST_BYTES) {
      lua_pushfstring(L, "... %I more", (LUAI_UACINT)(length + named - shown));
      add(L, text, lua_tostring(L, -1));
      lua_pop(L, 1);
      break;
    }
    if (i <= length) {
      lua_rawgeti(L, table, i);
      add_value(L, text, lua_gettop(L), depth + 1);
    } else {
      lua_rawgeti(L, keys, i - length);
      add_key(L, text, lua_gettop(L));
      lua_pushvalue(L, -1);
      lua_rawget(L, table);
      add_value(L, text, lua_gettop(L), depth + 1);
    }
    lua_settop(L, keys);
  }
  lua_settop(L, keys - 1);
  add(L, text, "}");
}

static void add_value(lua_State *L, int text, int index, int depth) {
  luaL_checkstack(L, 20, "showing a value");
  bool own = luaL_getmetafield(L, index, "__tostring") != LUA_TNIL;
  if (own) lua_pop(L, 1);
  if (lua_type(L, index) == LUA_TSTRING) {
    add_quoted(L, text, index);
  } else if (lua_type(L, index) == LUA_TTABLE && !own) {
    add_table(L, text, index, depth);
  } else if (lua_type(L, index) == LUA_TFUNCTION && !lua_iscfunction(L, index)) {
    lua_Debug where;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &where);
    lua_pushfstring(L, "function (%s:%d)", where.short_src, where.linedefined);
    add(L, text, lua_tostring(L, -1));
    lua_pop(L, 1);
  } else {
    add(L, text, luaL_tolstring(L, index, NULL));
    lua_pop(L, 1);
  }
}

void push_shown(lua_State *L, int index) {
  index = lua_absindex(L, index);
  lua_pushliteral(L, "");
  add_value(L, lua_gettop(L), index, 0);
}
