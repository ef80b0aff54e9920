/* callback.h - calling Lua from inside the engine. */
#ifndef LUA_CALLBACK_H
#define LUA_CALLBACK_H

#include "lua/lua_orrery.h"

/* Calls the function below `arguments` on top of the stack of L, a Lua thread kept for that,
   without results. A failure becomes the engine's message with a traceback; what it leaves on the
   stack is the caller's to remove. `name`, of what is called, is for messages. */
orr_status lua_call_back(lua_State *L, orr_engine *engine, const char *name, int arguments);

int lua_limit_callbacks(lua_State *L);

#endif
