/* symbol.c - symbols: the same operators and methods as a tensor, but each adds a node to the graph
   being traced. What cannot be known before the program runs is an error that says what to do;
   comparisons ask the tracer (lua/orrery/trace.lua) which outcome to follow. */
#include "lua/symbol.h"

#include <math.h>
#include <string.h>

static const char symbols_key = 0;

/* ---- graphs ---- */

lua_graph *lua_new_graph(lua_State *L, int parent_index) {
  lua_graph *g = lua_newuserdatauv(L, sizeof *g, 1);
  *g = (lua_graph){NULL, NULL, 0};
  luaL_setmetatable(L, LUA_GRAPH);
  if (parent_index) {
    lua_pushvalue(L, parent_index);
    lua_setiuservalue(L, -2, 1);
    g->parent = lua_touserdata(L, parent_index);
    g->depth = g->parent->depth + 1;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &symbols_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, g);
  lua_pop(L, 1);
  return g;
}

lua_graph *lua_check_graph(lua_State *L, int index) {
  lua_graph *g = luaL_checkudata(L, index, LUA_GRAPH);
  if (!g->graph) lua_complain(L, "this trace has ended");
  return g;
}

lua_graph *lua_current_graph(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_CURRENT_GRAPH);
  lua_graph *g = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return g && g->graph ? g : NULL;
}

/* A body that was never ended dies with its parent's graph, which is finalised after it. */
static int close_graph(lua_State *L) {
  lua_graph *g = luaL_checkudata(L, 1, LUA_GRAPH);
  orr_graph *graph = g->graph;
  g->graph = NULL;
  if (!graph) return 0;
  if (!g->parent) orr_graph_free(graph);
  else if (g->parent->graph) orr_scan_abandon(graph);
  return 0;
}

/* ---- symbols ---- */

lua_symbol *lua_test_symbol(lua_State *L, int index) {
  return luaL_testudata(L, index, LUA_SYMBOL);
}

lua_symbol *lua_check_symbol(lua_State *L, int index) {
  lua_symbol *s = luaL_checkudata(L, index, LUA_SYMBOL);
  if (!s->owner->graph)
    lua_complain(L,
                 "this symbol belongs to %s that has ended: symbols live only while the function "
                 "that was given them is traced, so return what is needed later",
                 s->owner->parent ? "the body of a scan" : "a trace");
  return s;
}

/* Pushes the userdata of a graph known by its address only. */
static void push_graph(lua_State *L, lua_graph *graph) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &symbols_key);
  lua_rawgetp(L, -1, graph);
  if (lua_isnil(L, -1)) luaL_error(L, "this trace has ended");
  lua_remove(L, -2);
}

int lua_push_symbol(lua_State *L, lua_graph *graph, orr_node node) {
  if (node == ORR_NONE) return lua_raise(L);
  lua_symbol *s = lua_newuserdatauv(L, sizeof *s, 2);
  *s = (lua_symbol){graph, node};
  push_graph(L, graph);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, LUA_SYMBOL);
  return 1;
}

static bool is_inside(const lua_graph *inner, const lua_graph *outer) {
  for (; inner; inner = inner->parent)
    if (inner == outer) return true;
  return false;
}

static void deepest_symbol(lua_State *L, int index, int nesting, lua_graph **deepest) {
  lua_symbol *s = lua_test_symbol(L, index);
  if (s) {
    lua_check_symbol(L, index);
    if (!*deepest || s->owner->depth > (*deepest)->depth) *deepest = s->owner;
  } else if (lua_type(L, index) == LUA_TTABLE && nesting < 8) {
    luaL_checkstack(L, 4, NULL);
    lua_Integer n = luaL_len(L, index);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_geti(L, index, i);
      deepest_symbol(L, lua_gettop(L), nesting + 1, deepest);
      lua_pop(L, 1);
    }
  }
}

lua_graph *lua_target_graph(lua_State *L, int first, int last) {
  lua_graph *deepest = NULL;
  for (int i = first; i <= last; i++) deepest_symbol(L, i, 0, &deepest);
  if (!deepest) deepest = lua_current_graph(L);
  if (!deepest) lua_complain(L, "this works only inside a function that is being traced");
  return deepest;
}

static orr_node capture(lua_State *L, lua_graph *graph, const lua_symbol *s) {
  if (s->owner == graph) return s->node;
  double number;
  if (orr_node_number(s->owner->graph, s->node, &number)) return orr_number(graph->graph, number);
  orr_node outer = capture(L, graph->parent, s);
  return outer == ORR_NONE ? ORR_NONE : orr_scan_capture(graph->graph, outer);
}

static bool holds_symbol(lua_State *L, int index) {
  lua_graph *deepest = NULL;
  deepest_symbol(L, index, 0, &deepest);
  return deepest != NULL;
}

static orr_node stack_table(lua_State *L, int index, lua_graph *graph) {
  lua_Integer n = luaL_len(L, index);
  if (n < 1 || n > 4096) lua_complain(L, "a list of %I symbols cannot become one", n);
  orr_node *parts = lua_newuserdatauv(L, (size_t)n * sizeof *parts, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, index, i);
    parts[i - 1] = lua_to_node(L, lua_gettop(L), graph);
    lua_pop(L, 1);
  }
  orr_node node = orr_stack(graph->graph, (int)n, parts, 0);
  lua_pop(L, 1);
  if (node == ORR_NONE) lua_raise(L);
  return node;
}

orr_node lua_to_node(lua_State *L, int index, lua_graph *graph) {
  orr_node node = ORR_NONE;
  lua_symbol *s;
  orr_tensor *tensor;
  switch (lua_type(L, index)) {
  case LUA_TNUMBER: node = orr_number(graph->graph, lua_tonumber(L, index)); break;
  case LUA_TBOOLEAN: node = orr_number(graph->graph, lua_toboolean(L, index)); break;
  case LUA_TTABLE:
    luaL_checkstack(L, 8, NULL);
    if (holds_symbol(L, index)) return stack_table(L, index, graph);
    lua_pushvalue(L, index);
    tensor = lua_to_tensor(L, lua_gettop(L));
    node = orr_parameter(graph->graph, tensor, ORR_UNIFORM);
    lua_pop(L, 1);
    break;
  default:
    if ((s = lua_test_symbol(L, index))) {
      lua_check_symbol(L, index);
      if (!is_inside(graph, s->owner))
        lua_complain(L, "a symbol of %s is used outside of it: return it as one of its results",
                     s->owner->parent ? "a scan's body" : "another trace");
      node = capture(L, graph, s);
    } else if ((tensor = lua_test_tensor(L, index))) {
      node = orr_parameter(graph->graph, tensor, ORR_UNIFORM);
    } else {
      lua_complain(L, "a %s cannot be computed with", luaL_typename(L, index));
    }
  }
  if (node == ORR_NONE) lua_raise(L);
  return node;
}

/* ---- operators ---- */

static int unary(lua_State *L, orr_op op) {
  lua_graph *g = lua_target_graph(L, 1, 1);
  return lua_push_symbol(L, g, orr_unary(g->graph, op, lua_to_node(L, 1, g)));
}

static int binary(lua_State *L, orr_op op) {
  if (lua_gettop(L) < 2) lua_complain(L, "%s needs two operands", orr_op_name(op));
  lua_graph *g = lua_target_graph(L, 1, 2);
  orr_node a = lua_to_node(L, 1, g), b = lua_to_node(L, 2, g);
  return lua_push_symbol(L, g, orr_binary(g->graph, op, a, b));
}

#define UNARY(name, f, d, low, high, doc) \
  static int symbol_##name(lua_State *L) { return unary(L, ORR_OP_##name); }
#define BINARY(name, f, da, db, low, high, doc) \
  static int symbol_##name(lua_State *L) { return binary(L, ORR_OP_##name); }
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED

/* x ^ 2 as a square: the gradient of a general power needs log x. */
static int symbol_power(lua_State *L) {
  lua_graph *g = lua_target_graph(L, 1, 2);
  orr_node x = lua_to_node(L, 1, g), y = lua_to_node(L, 2, g);
  double exponent = NAN;
  if (!orr_node_number(g->graph, y, &exponent)) exponent = NAN;
  orr_node result;
  if (exponent == 1) result = x;
  else if (exponent == 2) result = orr_unary(g->graph, ORR_OP_square, x);
  else if (exponent == 3)
    result = orr_binary(g->graph, ORR_OP_mul, x, orr_unary(g->graph, ORR_OP_square, x));
  else if (exponent == 0.5) result = orr_unary(g->graph, ORR_OP_sqrt, x);
  else if (exponent == -1) result = orr_unary(g->graph, ORR_OP_reciprocal, x);
  else result = orr_binary(g->graph, ORR_OP_pow, x, y);
  return lua_push_symbol(L, g, result);
}

/* Which way to go on a condition: known when it is constant, else the tracer's choice, which also
   looks at the opposite: not (a < b) answers b <= a, NaN aside. */
static int decide(lua_State *L, lua_graph *g, orr_node condition, orr_node opposite) {
  double number;
  if (condition == ORR_NONE || opposite == ORR_NONE) return lua_raise(L);
  if (orr_node_number(g->graph, condition, &number)) {
    lua_pushboolean(L, number != 0);
    return 1;
  }
  if (orr_node_axes(g->graph, condition) != 0)
    return lua_complain(L,
                        "comparing %d values cannot choose one branch: compare one element, or use "
                        "orrery.where, a:less(b), :max() or :min()",
                        (int)orr_node_count(g->graph, condition));
  if (lua_getfield(L, LUA_REGISTRYINDEX, "orrery.decide") != LUA_TFUNCTION)
    return lua_complain(L, "symbols can be compared only while a function is traced");
  lua_push_symbol(L, g, condition);
  lua_push_symbol(L, g, opposite);
  lua_call(L, 2, 1);
  return 1;
}

static int compare(lua_State *L, orr_op op) {
  lua_graph *g = lua_target_graph(L, 1, 2);
  orr_node a = lua_to_node(L, 1, g), b = lua_to_node(L, 2, g),
           condition = orr_binary(g->graph, op, a, b);
  if (op == ORR_OP_equal) return decide(L, g, condition, condition);
  orr_op other = op == ORR_OP_less ? ORR_OP_less_equal : ORR_OP_less;
  return decide(L, g, condition, orr_binary(g->graph, other, b, a));
}

static int less_than(lua_State *L) { return compare(L, ORR_OP_less); }
static int less_or_equal(lua_State *L) { return compare(L, ORR_OP_less_equal); }

static int equals(lua_State *L) {
  if (!lua_test_symbol(L, 1) || !lua_test_symbol(L, 2)) {
    if (lua_test_tensor(L, 1) || lua_test_tensor(L, 2))
      return lua_complain(L, "== between a symbol and a tensor: use orrery.equal(a, b)");
    lua_pushboolean(L, false);
    return 1;
  }
  lua_symbol *a = lua_check_symbol(L, 1), *b = lua_check_symbol(L, 2);
  if (orr_node_axes(a->owner->graph, a->node) || orr_node_axes(b->owner->graph, b->node))
    return lua_complain(
        L, "== of values with axes: use orrery.equal(a, b), which compares element by element");
  return compare(L, ORR_OP_equal);
}

static int no_text(lua_State *L) {
  return lua_complain(L,
                      "a symbol cannot become text: its value is known only when the program runs");
}
static int no_bits(lua_State *L) {
  return lua_complain(
      L, "bitwise operators do not work on symbols: use //, %% and * for whole numbers");
}
static int no_call(lua_State *L) {
  return lua_complain(L, "a symbol is a number to come, not a function; use s[i] for an element");
}
static int no_assignment(lua_State *L) {
  return lua_complain(L, "elements of a symbol cannot be assigned: build a new one, as in "
                         "orrery.stack { a, b }");
}
static int nothing(lua_State *L) {
  (void)L;
  return 0;
}

static int length(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  if (orr_node_axes(s->owner->graph, s->node) == 0)
    return lua_complain(L, "# of a symbol without axes: it is a single number");
  lua_pushinteger(L, orr_node_shape(s->owner->graph, s->node)[0]);
  return 1;
}

static void push_shape(lua_State *L, const orr_graph *g, orr_node n) {
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  for (int i = 0; i < orr_node_axes(g, n); i++) {
    lua_pushfstring(L, i ? ", %I" : "%I", (lua_Integer)orr_node_shape(g, n)[i]);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
}

static const char *const level_names[] = {"uniform", "member", "row"};

/* Whether the nearest running script function is one that is traced: a copy, known by its lines. */
static bool asked_by_traced(lua_State *L) {
  lua_Debug ar;
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "l", &ar);
    if (ar.currentline > 0) return ar.currentline >= LUA_COPY_LINES;
  }
  return false;
}

static int to_text(lua_State *L) {
  lua_symbol *s = luaL_checkudata(L, 1, LUA_SYMBOL);
  if (asked_by_traced(L)) return no_text(L);
  if (!s->owner->graph) {
    lua_pushliteral(L, "symbol of a trace that has ended");
    return 1;
  }
  const orr_graph *g = s->owner->graph;
  double number;
  if (orr_node_number(g, s->node, &number)) {
    lua_pushfstring(L, "symbol %f", number);
    return 1;
  }
  lua_getiuservalue(L, 1, 2);
  const char *name = lua_tostring(L, -1);
  push_shape(L, g, s->node);
  lua_pushfstring(L, "symbol %s: %s %s%s%s", name ? name : orr_op_name(orr_node_op(g, s->node)),
                  level_names[orr_node_level(g, s->node)],
                  orr_node_axes(g, s->node) ? "[" : "scalar", lua_tostring(L, -1),
                  orr_node_axes(g, s->node) ? "]" : "");
  return 1;
}

/* ---- what a symbol says of itself ---- */

/*** symbol:level(): "uniform", "member" or "row": how often the value exists. */
static int symbol_level(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  lua_pushstring(L, level_names[orr_node_level(s->owner->graph, s->node)]);
  return 1;
}

/*** symbol:shape(): the sizes of its axes, as that many results. */
static int symbol_shape(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  const orr_graph *g = s->owner->graph;
  int axes = orr_node_axes(g, s->node);
  luaL_checkstack(L, axes, NULL);
  for (int i = 0; i < axes; i++) lua_pushinteger(L, orr_node_shape(g, s->node)[i]);
  return axes;
}

/*** symbol:size(axis): the length of one axis. */
static int symbol_size(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  const orr_graph *g = s->owner->graph;
  int axes = orr_node_axes(g, s->node), axis = lua_check_axis(L, 2, axes, 0);
  if (axes == 0) return lua_complain(L, "size: this symbol is a single number");
  lua_pushinteger(L, orr_node_shape(g, s->node)[axis < 0 ? axis + axes : axis]);
  return 1;
}

/*** symbol:known(): the number, where it is constant; otherwise nil. */
static int symbol_known(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  double number;
  if (orr_node_number(s->owner->graph, s->node, &number)) lua_pushnumber(L, number);
  else lua_pushnil(L);
  return 1;
}

/*** symbol:dtype(): "real", as all computing is. */
static int symbol_dtype(lua_State *L) {
  lua_check_symbol(L, 1);
  lua_pushliteral(L, "real");
  return 1;
}

/*** symbol:copy(): the symbol itself; symbols never change. */
static int symbol_copy(lua_State *L) {
  lua_check_symbol(L, 1);
  lua_settop(L, 1);
  return 1;
}

/*** symbol:item(): the number in a value that holds just one. */
static int symbol_item(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  int64_t count = orr_node_count(s->owner->graph, s->node);
  if (count != 1) return lua_complain(L, "item: there are %I numbers, not one", (lua_Integer)count);
  return lua_push_symbol(L, s->owner, orr_reshape(s->owner->graph, s->node, 0, NULL));
}

/*** symbol:named(name): the same symbol, called that in messages. */
static int symbol_named(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  luaL_checkstring(L, 2);
  lua_push_symbol(L, s->owner, s->node);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 2);
  return 1;
}

/* clang-format off */
static const luaL_Reg methods[] = {
#define UNARY(name, ...) {#name, symbol_##name},
#define BINARY(name, ...) {#name, symbol_##name},
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
    {"level", symbol_level}, {"shape", symbol_shape}, {"size", symbol_size},
    {"known", symbol_known},
    {"named", symbol_named}, {"dtype", symbol_dtype}, {"copy", symbol_copy}, {"item", symbol_item},
    {"maximum", symbol_max}, {"minimum", symbol_min}, {NULL, NULL}};
/* clang-format on */

/* clang-format off */
static const luaL_Reg metamethods[] = {
    {"__add", symbol_add}, {"__sub", symbol_sub}, {"__mul", symbol_mul}, {"__div", symbol_div},
    {"__mod", symbol_mod}, {"__idiv", symbol_floor_div}, {"__pow", symbol_power},
    {"__unm", symbol_neg},
    {"__lt", less_than}, {"__le", less_or_equal}, {"__eq", equals}, {"__len", length},
    {"__concat", no_text}, {"__call", no_call}, {"__newindex", no_assignment},
    {"__tostring", to_text},
    {"__band", no_bits}, {"__bor", no_bits}, {"__bxor", no_bits}, {"__bnot", no_bits},
    {"__shl", no_bits}, {"__shr", no_bits}, {"__close", nothing}, {NULL, NULL}};
/* clang-format on */

void open_symbol(lua_State *L, int module);

void open_symbol(lua_State *L, int module) {
  (void)module;
  lua_newtable(L); /* graphs by address, weak */
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &symbols_key);
  if (luaL_newmetatable(L, LUA_GRAPH)) {
    lua_pushcfunction(L, close_graph);
    lua_setfield(L, -2, "__gc");
    lua_pushliteral(L, "graph");
    lua_setfield(L, -2, "__metatable");
  }
  lua_pop(L, 1);
  if (luaL_newmetatable(L, LUA_SYMBOL)) {
    luaL_setfuncs(L, metamethods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    luaL_setfuncs(L, lua_symbol_structured, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "methods");
    lua_pushcclosure(L, lua_index_symbol, 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "symbol");
    lua_setfield(L, -2, "__metatable");
  }
  lua_pop(L, 1);
}
