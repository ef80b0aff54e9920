/* tensor.h - what the files of the tensor's binding share. */
#ifndef LUA_TENSOR_H
#define LUA_TENSOR_H

#include "lua/lua_orrery.h"

/* Pushes the view of first .. last along the axis (from 0); first and last as Lua counts. */
int lua_push_range(lua_State *L, const orr_tensor *x, int axis, int64_t first, int64_t last,
                   int64_t step);

void lua_add_tensor_makers(lua_State *L, int module);
void lua_add_tensor_operations(lua_State *L, int module);
void lua_add_tensor_shapes(lua_State *L, int module);
void lua_add_tensor_files(lua_State *L, int module);

#endif
