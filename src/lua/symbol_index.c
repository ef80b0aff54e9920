/* symbol_index.c - s[i], s[{ i, { first, last } }], s[symbol] and s:method(). */
#include <math.h>
#include <string.h>

#include "lua/symbol.h"

static int pick(lua_State *L, lua_symbol *s) {
  lua_graph *g = s->owner;
  int axes = orr_node_axes(g->graph, s->node);
  const int64_t *shape = orr_node_shape(g->graph, s->node);
  lua_Number wanted = lua_tonumber(L, 2);
  const char *text = luaL_tolstring(L, 2, NULL);
  if (axes == 0) return lua_complain(L, "s[%s]: this symbol is a single number", text);
  int64_t n = shape[0], rest[ORR_AXES];
  lua_Integer i;
  bool whole = wanted == floor(wanted) && lua_numbertointeger(floor(wanted), &i);
  if (whole && i == n + 1) { /* where ipairs stops */
    lua_pushnil(L);
    return 1;
  }
  if (!whole || i == 0 || i > n || i < -n)
    return lua_complain(L, "s[%s]: the first axis has elements 1 to %I", text, (lua_Integer)n);
  if (i < 0) i += n + 1;
  memcpy(rest, shape + 1, (size_t)(axes - 1) * sizeof *rest);
  orr_node part = orr_slice(g->graph, s->node, 0, i - 1, 1);
  return lua_push_symbol(L, g, orr_reshape(g->graph, part, axes - 1, rest));
}

/* s[{ i, { first, last }, ... }]: an element or a range of each axis. */
static int pick_many(lua_State *L, lua_symbol *s) {
  lua_graph *g = s->owner;
  int wanted = (int)luaL_len(L, 2), axis = 0;
  orr_node x = s->node;
  for (int i = 1; i <= wanted && x != ORR_NONE; i++) {
    int axes = orr_node_axes(g->graph, x);
    if (axis >= axes)
      return lua_complain(L, "index: %d entries for a symbol of %d axes", wanted, axes);
    int64_t shape[ORR_AXES], n = orr_node_shape(g->graph, x)[axis];
    memcpy(shape, orr_node_shape(g->graph, x), sizeof shape);
    bool range = lua_geti(L, 2, i) == LUA_TTABLE;
    if (range) lua_geti(L, -1, 1), lua_geti(L, -2, 2);
    else lua_pushvalue(L, -1), lua_pushvalue(L, -1);
    lua_Integer first = luaL_optinteger(L, -2, 1), last = luaL_optinteger(L, -1, n);
    if (first < 0) first += n + 1;
    if (last < 0) last += n + 1;
    if (first < 1 || last > n || first > last + 1)
      return lua_complain(L, "index: %I to %I is not within axis %d, of length %I", first, last,
                          axis + 1, (lua_Integer)n);
    x = orr_slice(g->graph, x, axis, first - 1, last - first + 1);
    if (!range) {
      memmove(shape + axis, shape + axis + 1, sizeof *shape * (size_t)(axes - axis - 1));
      x = orr_reshape(g->graph, x, axes - 1, shape);
    }
    axis += range;
    lua_pop(L, 3);
  }
  return lua_push_symbol(L, g, x);
}

static int gather(lua_State *L, lua_symbol *s) {
  lua_graph *g = lua_target_graph(L, 1, 2);
  (void)s;
  orr_node table = lua_to_node(L, 1, g), index = lua_to_node(L, 2, g);
  index = orr_binary(g->graph, ORR_OP_sub, index, orr_number(g->graph, 1));
  return lua_push_symbol(L, g, orr_gather(g->graph, table, index));
}

int lua_index_symbol(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  if (lua_type(L, 2) == LUA_TNUMBER) return pick(L, s);
  if (lua_test_symbol(L, 2)) return gather(L, s);
  if (lua_istable(L, 2)) return pick_many(L, s);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (lua_getfield(L, LUA_REGISTRYINDEX, "orrery.no_method") == LUA_TFUNCTION) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
    return lua_complain(L, "%s", lua_tostring(L, -1));
  }
  return lua_complain(L, "a symbol has no '%s'", luaL_tolstring(L, 2, NULL));
}
