/* lua_orrery.h - what every binding file shares. Only public headers and Lua are seen here.

   A bound type is one file src/lua/<type>.c with a lua_class, methods, and
   `void open_<type>(lua_State *L, int module)`, which registers the type, adds the functions of the
   type to the module table at stack index `module`, and is listed in open.def. A function of it:

     static int tensor_cumsum(lua_State *L) {
       orr_tensor *x = lua_check_tensor(L, 1);
       return lua_push_object(L, &lua_tensor_class, orr_tensor_cumsum(x, axis));  // or raises
     }

   Rules: no C memory is held in a plain variable across a Lua call that may raise: either the
   maker's call is the argument of lua_push_object, or the handle is made first (lua_new_handle:
   empty and collectable) and filled last (lua_fill). Scratch memory comes from lua_newuserdatauv. A
   failed call of the C API is raised with lua_raise, which adds the line of the script. */
#ifndef LUA_ORRERY_H
#define LUA_ORRERY_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "orrery/base.h"
#include "orrery/lua.h"
#include "orrery/tensor.h"

/* A file of lua/orrery, compiled in. name: its path below lua/ without ".lua", dots for slashes:
   "orrery.init", "orrery.nn". build/lua_sources.c holds the table, ended by a NULL name. */
struct orr_lua_source {
  const char *name;
  const char *text;
  size_t size;
};
extern const struct orr_lua_source orr_lua_sources[];

/* The engine of this state; raises when the module was never opened. */
orr_engine *lua_engine(lua_State *L);

/* Raises the engine's last message, behind the position of the nearest function outside
   lua/orrery. Returns only for `return lua_raise(L);`. */
int lua_raise(lua_State *L);
/* lua_raise unless the status is ORR_OK. */
void lua_check_status(lua_State *L, orr_status status);
/* As luaL_error, with lua_raise's idea of a position. */
int lua_complain(lua_State *L, const char *format, ...);

/* Tells the collector of C memory: whatever the engine's bytes grew by since the last time. Called
   by lua_fill; anything else that makes an object grow calls it after the growth. May run
   finalisers, so it is called when everything is anchored. */
void lua_tell_collector(lua_State *L);

/* Bound objects. */
typedef struct lua_class {
  const char *name;            /* "orrery.tensor": the metatable's key */
  const char *noun;            /* "tensor": in messages */
  void (*free)(void *object);  /* drops one hold */
  const luaL_Reg *methods;     /* object:method(); may be NULL */
  const luaL_Reg *metamethods; /* may be NULL; __gc, __close and __name are set for you */
} lua_class;

typedef struct lua_handle {
  void *object; /* NULL: empty or closed */
  const lua_class *class;
} lua_handle;

/* Registers the type: object:method, object:close(), __gc, __close. Leaves nothing on the stack.
   A metamethod __index replaces the table of methods, which it finds as its first upvalue. */
void lua_new_class(lua_State *L, const lua_class *class);
/* Pushes the table of the class's methods, to add some from another file. */
void lua_push_methods(lua_State *L, const lua_class *class);
/* Pushes an empty object of the type. lua_new_handle_holding: with that many user values, for Lua
   values the object keeps alive (lua_setiuservalue). */
lua_handle *lua_new_handle(lua_State *L, const lua_class *class);
lua_handle *lua_new_handle_holding(lua_State *L, const lua_class *class, int values);
/* Gives the object to the handle, tells the collector, returns 1; raises when object is NULL. */
int lua_fill(lua_State *L, lua_handle *handle, void *object);
/* All of that in one call for an object just made: frees it when Lua has no memory for the
   handle. */
int lua_push_object(lua_State *L, const lua_class *class, void *object);
/* The object at index; raises when it is something else, or closed. */
void *lua_check_object(lua_State *L, int index, const lua_class *class);
/* The same, but NULL when it is something else. */
void *lua_test_object(lua_State *L, int index, const lua_class *class);
/* Drops what the handle at index owns, now; the handle stays, closed. Idempotent. */
void lua_close_object(lua_State *L, int index);

/* Tensors. */
extern const lua_class lua_tensor_class;
orr_tensor *lua_check_tensor(lua_State *L, int index);
orr_tensor *lua_test_tensor(lua_State *L, int index); /* NULL when it is no tensor */
/* The tensor at index; a number or a nested table of numbers is replaced there by a new one. */
orr_tensor *lua_to_tensor(lua_State *L, int index);
/* Pushes a tensor just made, which passes to Lua (freed when Lua has no memory); raises when
   NULL. */
int lua_push_tensor(lua_State *L, orr_tensor *tensor);
/* As lua_push_tensor; a tensor without axes is pushed as a plain number. */
int lua_push_result(lua_State *L, orr_tensor *tensor);
/* A Lua axis (1 is the first, -1 the last) at index as a C axis of something with `axes` axes;
   none or nil: `otherwise`, returned as it is. */
int lua_check_axis(lua_State *L, int index, int axes, int otherwise);
/* Sizes at index: integers from there to the last argument, or one table of integers. Returns
   how many were written to shape[ORR_AXES]. */
int lua_check_shape(lua_State *L, int index, int64_t *shape);

/* Options: a table of named fields at index, or none or nil for all defaults. `names` ends with
   NULL; `what` names the table in messages ("cem options"). Raises on a key that is not among
   them, naming the nearest. */
void lua_check_options(lua_State *L, int index, const char *what, const char *const *names);
/* One option, or its default; raises when it has another type or lies outside low .. high. */
double lua_option_number(lua_State *L, int index, const char *name, double otherwise, double low,
                         double high);
int64_t lua_option_integer(lua_State *L, int index, const char *name, int64_t otherwise,
                           int64_t low, int64_t high);
bool lua_option_boolean(lua_State *L, int index, const char *name, bool otherwise);
/* Lives as long as the table does. */
const char *lua_option_string(lua_State *L, int index, const char *name, const char *otherwise);
/* The position of the option's value in `choices` (NULL-ended), or `otherwise`. */
int lua_option_choice(lua_State *L, int index, const char *name, int otherwise,
                      const char *const *choices);
/* Pushes the option's value, nil when absent; returns its Lua type. */
int lua_option_push(lua_State *L, int index, const char *name);
/* As lua_option_push; raises naming `what` when it is absent. */
int lua_option_need(lua_State *L, int index, const char *name, const char *what);

/* open_<type> of every row of open.def. */
#define OPEN(type) void open_##type(lua_State *L, int module);
#include "lua/open.def"
#undef OPEN

/* Adds the functions to the table at index. */
void lua_add_functions(lua_State *L, int index, const luaL_Reg *functions);

/* How Lua functions run on tensors, numbers and symbols alike: when any of the first `count`
   arguments is an object other than a tensor that has a method `name`, or a list with such an
   object inside, calls that method with all arguments as they are, and returns true with its one
   result on top. Symbols join in this way: symbol.max(2, s) must work as s:max(2) does. */
bool lua_call_foreign(lua_State *L, const char *name, int count);
/* Whether the value at index is such an object or list; the method is then on top. */
bool lua_push_foreign_method(lua_State *L, int index, const char *name);
#endif
