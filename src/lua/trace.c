/* trace.c - what lua/orrery/trace.lua builds on: graphs as userdata, inputs, draws, scans,
   gradients, outputs. A table of functions, kept out of users' sight as orrery.trace_core. */
#include <string.h>

#include "lua/symbol.h"

void lua_add_closure_functions(lua_State *L, int index);

/* core.graph(): a new outermost graph. */
static int new_graph(lua_State *L) {
  lua_graph *g = lua_new_graph(L, 0);
  g->graph = orr_graph_new(lua_engine(L));
  return g->graph ? 1 : lua_raise(L);
}

/* core.close(graph): ends it; its symbols are of no use any more. */
static int close_graph(lua_State *L) {
  lua_graph *g = luaL_checkudata(L, 1, LUA_GRAPH);
  orr_graph *graph = g->graph;
  g->graph = NULL;
  if (!graph) return 0;
  if (g->parent) orr_scan_abandon(graph);
  else orr_graph_free(graph);
  return 0;
}

/* core.enter(graph or nil): what is built from now on; answers what was before. */
static int enter(lua_State *L) {
  lua_settop(L, 1);
  if (!lua_isnil(L, 1)) lua_check_graph(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_CURRENT_GRAPH);
  lua_pushvalue(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, LUA_CURRENT_GRAPH);
  return 1;
}

/* core.current(): the graph being built, or nil. */
static int current(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_CURRENT_GRAPH);
  lua_graph *g = luaL_testudata(L, -1, LUA_GRAPH);
  if (!g || !g->graph) lua_pushnil(L);
  return 1;
}

static orr_level level_at(lua_State *L, int index) {
  static const char *const names[] = {"uniform", "member", "row", NULL};
  return (orr_level)luaL_checkoption(L, index, "row", names);
}

static lua_graph *building(lua_State *L) { return lua_target_graph(L, 1, 0); }

static lua_graph *outermost(lua_graph *g) {
  while (g->parent) g = g->parent;
  return g;
}

/* core.input(name, level, shape) */
static int input(lua_State *L) {
  lua_graph *g = outermost(building(L));
  const char *name = luaL_checkstring(L, 1);
  int64_t shape[ORR_AXES];
  int axes = lua_check_shape(L, 3, shape);
  return lua_push_symbol(L, g, orr_input(g->graph, name, level_at(L, 2), axes, shape));
}

/* core.parameter(tensor, level): read each time the program runs. */
static int parameter(lua_State *L) {
  static const char *const names[] = {"uniform", "member", NULL};
  lua_graph *g = outermost(building(L));
  orr_level level = (orr_level)luaL_checkoption(L, 2, "uniform", names);
  return lua_push_symbol(L, g, orr_parameter(g->graph, lua_check_tensor(L, 1), level));
}

/* core.symbol(x): a number, tensor, symbol, or list of these, as a symbol. */
static int symbol(lua_State *L) {
  lua_settop(L, 1);
  lua_graph *g = lua_target_graph(L, 1, 1);
  return lua_push_symbol(L, g, lua_to_node(L, 1, g));
}

/* core.is_symbol(x) */
static int is_symbol(lua_State *L) {
  lua_pushboolean(L, lua_test_symbol(L, 1) != NULL);
  return 1;
}

/* core.is_tensor(x) */
static int is_tensor(lua_State *L) {
  lua_pushboolean(L, luaL_testudata(L, 1, lua_tensor_class.name) != NULL);
  return 1;
}

/* core.key(symbol): its graph's address and its node, which name it while the trace goes on. */
static int key(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  lua_pushlightuserdata(L, s->owner);
  lua_pushinteger(L, s->node);
  return 2;
}

static int draw(lua_State *L, orr_node (*f)(orr_graph *, int, const int64_t *)) {
  lua_graph *g = building(L);
  int64_t shape[ORR_AXES];
  int axes = lua_isnoneornil(L, 1) ? 0 : lua_check_shape(L, 1, shape);
  return lua_push_symbol(L, g, f(g->graph, axes, shape));
}

static int normal(lua_State *L) { return draw(L, orr_normal); }
static int uniform(lua_State *L) { return draw(L, orr_uniform); }

/* core.row_count(level) */
static int row_count(lua_State *L) {
  static const char *const names[] = {"uniform", "member", NULL};
  lua_graph *g = building(L);
  return lua_push_symbol(L, g,
                         orr_row_count(g->graph,
                                       (orr_level)luaL_checkoption(L, 1, "uniform", names)));
}

/* ---- scans ---- */

/* core.scan_begin(length, backwards): the body's graph, inside the one being built. */
static int scan_begin(lua_State *L) {
  int64_t length = luaL_checkinteger(L, 1);
  bool backwards = lua_toboolean(L, 2);
  current(L);
  lua_graph *parent = lua_check_graph(L, -1), *body = lua_new_graph(L, lua_gettop(L));
  body->graph = orr_scan_begin(parent->graph, length, backwards);
  return body->graph ? 1 : lua_raise(L);
}

static lua_graph *body_at(lua_State *L, int index) {
  lua_graph *g = lua_check_graph(L, index);
  if (!g->parent) luaL_error(L, "this graph is no scan's body");
  return g;
}

static int scan_input(lua_State *L, orr_node (*f)(orr_graph *, orr_node)) {
  lua_graph *body = body_at(L, 1);
  return lua_push_symbol(L, body, f(body->graph, lua_to_node(L, 2, body->parent)));
}

static int scan_carry(lua_State *L) { return scan_input(L, orr_scan_carry); }
static int scan_slice(lua_State *L) { return scan_input(L, orr_scan_slice); }

/* core.scan_step(body): 1, 2, ... */
static int scan_step(lua_State *L) {
  lua_graph *body = body_at(L, 1);
  orr_node step = orr_scan_step(body->graph);
  return lua_push_symbol(L, body,
                         orr_binary(body->graph, ORR_OP_add, step, orr_number(body->graph, 1)));
}

static orr_node *nodes_at(lua_State *L, int index, lua_graph *g, int *count) {
  luaL_checktype(L, index, LUA_TTABLE);
  *count = (int)luaL_len(L, index);
  orr_node *nodes = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *nodes, 0);
  for (int i = 0; i < *count; i++) {
    lua_geti(L, index, i + 1);
    nodes[i] = lua_to_node(L, lua_gettop(L), g);
    lua_pop(L, 1);
  }
  return nodes;
}

static int push_nodes(lua_State *L, lua_graph *g, const orr_node *nodes, int count) {
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_push_symbol(L, g, nodes[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* core.scan_end(body, next, outputs): one list, the last carries and then the stacked outputs. */
static int scan_end(lua_State *L) {
  lua_graph *body = body_at(L, 1), *parent = body->parent;
  int carries, outputs;
  orr_node *next = nodes_at(L, 2, body, &carries), *output = nodes_at(L, 3, body, &outputs);
  orr_node *results =
      lua_newuserdatauv(L, ((size_t)carries + (size_t)outputs + 1) * sizeof *results, 0);
  orr_graph *graph = body->graph;
  body->graph = NULL;
  lua_check_status(L, orr_scan_end(graph, next, outputs, output, results));
  return push_nodes(L, parent, results, carries + outputs);
}

/* ---- gradients and results ---- */

/* core.gradient(y, wrt): the list of d y / d wrt[i]. */
static int gradient(lua_State *L) {
  lua_graph *g = lua_target_graph(L, 1, 2);
  orr_node y = lua_to_node(L, 1, g);
  int count;
  orr_node *wrt = nodes_at(L, 2, g, &count);
  orr_node *gradients = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *gradients, 0);
  lua_check_status(L, orr_gradient(g->graph, y, count, wrt, gradients));
  return push_nodes(L, g, gradients, count);
}

/* core.copy(x): x as a node of its own in the graph being built, which no other is merged with:
   what a derivative is taken with respect to. In a scan's body it is one of the body, even for an x
   from outside. */
static int copy(lua_State *L) {
  lua_settop(L, 1);
  current(L);
  lua_graph *now = luaL_testudata(L, -1, LUA_GRAPH), *of_x = lua_target_graph(L, 1, 1);
  lua_graph *g = now && now->graph && now->depth > of_x->depth ? now : of_x;
  orr_node x = lua_to_node(L, 1, g);
  return lua_push_symbol(L, g, orr_copy(g->graph, x));
}

/* core.output(name, symbol) */
static int output(lua_State *L) {
  lua_graph *g = outermost(lua_target_graph(L, 2, 2));
  lua_check_status(L, orr_output(g->graph, luaL_checkstring(L, 1), lua_to_node(L, 2, g)));
  return 0;
}

/* core.update(parameter, value): after a run the parameter's tensor holds the value. */
static int update(lua_State *L) {
  lua_graph *g = outermost(lua_target_graph(L, 1, 2));
  orr_node p = lua_to_node(L, 1, g);
  lua_check_status(L, orr_update(g->graph, p, lua_to_node(L, 2, g)));
  return 0;
}

/* core.updated(parameter): what its tensor will hold after a run. */
static int updated(lua_State *L) {
  lua_graph *g = outermost(lua_target_graph(L, 1, 1));
  return lua_push_symbol(L, g, orr_updated(g->graph, lua_to_node(L, 1, g)));
}

/* core.compile(graph): a program. */
static int compile(lua_State *L) {
  lua_graph *g = lua_check_graph(L, 1);
  lua_handle *handle = lua_new_program(L);
  return lua_fill_program(L, handle, orr_compile(g->graph));
}

/* core.on_decide(f): f(condition) answers which way a comparison goes; f(name) words a refusal. */
static int on_decide(lua_State *L) {
  lua_settop(L, 2);
  lua_setfield(L, LUA_REGISTRYINDEX, "orrery.no_method");
  lua_setfield(L, LUA_REGISTRYINDEX, "orrery.decide");
  return 0;
}

/* clang-format off */
static const luaL_Reg functions[] = {
    {"graph", new_graph}, {"close", close_graph}, {"enter", enter}, {"current", current},
    {"input", input}, {"parameter", parameter}, {"symbol", symbol}, {"is_symbol", is_symbol},
    {"is_tensor", is_tensor}, {"key", key}, {"normal", normal}, {"uniform", uniform},
    {"row_count", row_count}, {"scan_begin", scan_begin}, {"scan_carry", scan_carry},
    {"scan_slice", scan_slice}, {"scan_step", scan_step}, {"scan_end", scan_end},
    {"gradient", gradient}, {"copy", copy}, {"output", output}, {"update", update},
    {"updated", updated},
    {"compile", compile},
    {"on_decide", on_decide}, {NULL, NULL}};
/* clang-format on */

void open_trace(lua_State *L, int module);

void open_trace(lua_State *L, int module) {
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  lua_add_closure_functions(L, lua_gettop(L));
  lua_setfield(L, module, "trace_core");
}
