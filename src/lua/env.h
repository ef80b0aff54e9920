/* env.h - environments, as the bindings that take one share them. */
#ifndef LUA_ENV_H
#define LUA_ENV_H

#include "lua/lua_orrery.h"
#include "orrery/env.h"

extern const lua_class lua_env_class;

orr_env *lua_check_env(lua_State *L, int index);
/* Pushes the environment that the table at index defines: see orrery.env. */
int lua_make_env(lua_State *L, int index);
/* What was given to lua_make_env, on top of the stack; false, and nothing, for other
   environments. */
bool lua_push_definition(lua_State *L, int index);

/* For `random`, the stream that reset and step of such an environment get. */
void lua_open_random(lua_State *L);

#endif
