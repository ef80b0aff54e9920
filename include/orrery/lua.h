/* lua.h - the engine inside a Lua 5.4 state: in libraries of a host that links the bindings
   (pkg-config orrery-lua, or liborrery.a), and in orrery.so, which `require "orrery"` loads. */
#ifndef ORR_LUA_H
#define ORR_LUA_H

#include "orrery/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lua_State lua_State;

/* The module: creates the engine (unless the host gave one), opens every type and runs
   lua/orrery/init.lua with the module table as its argument. A host whose program contains it:

     luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
     lua_pushcfunction(L, luaopen_orrery);
     lua_setfield(L, -2, "orrery");

   What a person should know though nothing failed, such as a function that cannot be compiled and
   runs as plain Lua, is told once through Lua's warnings, which a new state does not show: turn
   them on with lua_warning(L, "@on", 0) or, in a script, warn "@on", or take them yourself with
   lua_setwarnf. The orrery program shows them on standard error. */
ORR_API int luaopen_orrery(lua_State *L);

/* Before the module is opened: the engine it shall use, instead of making its own. The state takes
   a hold of its own. */
ORR_API void orr_lua_set_engine(lua_State *L, orr_engine *engine);

/* Where the module keeps the Lua thread that runs a callback of the engine (the step of an
   environment written in Lua, a reward), NULL when none does. To stop a script from a signal
   handler, set a hook on this thread besides that of the script, and call orr_interrupt. A host
   that runs coroutines may keep the one that runs here. Lives as long as the state. */
ORR_API lua_State *volatile *orr_lua_running(lua_State *L);

#ifdef __cplusplus
}
#endif
#endif
