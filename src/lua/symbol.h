/* symbol.h - what a traced function sees instead of a number: a node of a graph being built. */
#ifndef LUA_SYMBOL_H
#define LUA_SYMBOL_H

#include "lua_orrery.h"
#include "orrery/program.h"

/* A graph while it is built, or the body of a scan. Userdata "orrery.graph"; a body's first user
   value is its parent's userdata. */
typedef struct lua_graph {
  orr_graph *graph; /* NULL: ended */
  struct lua_graph *parent;
  int depth; /* 0: the outermost */
} lua_graph;

/* Userdata "orrery.symbol". User values: 1 the graph's userdata, 2 a name for people, or nil. */
typedef struct lua_symbol {
  lua_graph *owner;
  orr_node node;
} lua_symbol;

/* Line numbers from here on are those of copies of functions being traced (trace_closure.c). */
enum { LUA_COPY_LINES = 1 << 24 };

#define LUA_SYMBOL "orrery.symbol"
#define LUA_GRAPH "orrery.graph"

lua_symbol *lua_test_symbol(lua_State *L, int index);  /* NULL when it is none */
lua_symbol *lua_check_symbol(lua_State *L, int index); /* of a trace that goes on */
lua_graph *lua_check_graph(lua_State *L, int index);
/* Pushes a new userdata for a graph still to be set; parent_index 0: an outermost one. */
lua_graph *lua_new_graph(lua_State *L, int parent_index);
/* The innermost graph that operands first .. last (positive indices) belong to; without symbols
   among them, the one being built; raises when there is none. Tables of symbols count. */
lua_graph *lua_target_graph(lua_State *L, int first, int last);
/* The graph being built, or NULL. */
lua_graph *lua_current_graph(lua_State *L);
#define LUA_CURRENT_GRAPH "orrery.current" /* where the registry keeps it */
/* The node of a number, boolean, tensor, symbol, or table of these (stacked), in the graph;
   raises. */
orr_node lua_to_node(lua_State *L, int index, lua_graph *graph);
/* Pushes the node as a symbol, returns 1; raises when it is ORR_NONE. */
int lua_push_symbol(lua_State *L, lua_graph *graph, orr_node node);
/* __index of symbols; upvalue 1: the table of methods. */
int lua_index_symbol(lua_State *L);
/* The methods of symbol_ops.c. */
extern const luaL_Reg lua_symbol_structured[];

/* A program with a run of its own: userdata "orrery.program". */
typedef struct lua_program {
  orr_program *program;
  orr_run *run;
  bool entries; /* the run has members chosen */
} lua_program;
extern const lua_class lua_program_class;
orr_program *lua_check_program(lua_State *L, int index);
orr_run *lua_check_program_run(lua_State *L, int index);
/* As lua_new_handle and lua_fill, with room for the pair; the program is taken over. */
lua_handle *lua_new_program(lua_State *L);
int lua_fill_program(lua_State *L, lua_handle *handle, orr_program *program);

#endif
