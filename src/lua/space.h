/* space.h - records: the values of a space as a Lua table by field name, in and out. */
#ifndef LUA_SPACE_H
#define LUA_SPACE_H

#include "lua/lua_orrery.h"
#include "orrery/space.h"

extern const lua_class lua_space_class;

/* Pushes a space that shares the hold; nil when NULL. */
int lua_push_space(lua_State *L, orr_space *space);
/* Pushes the space that the list of fields at index describes (see orrery.space), or the one that
   is there. `what` begins messages: "environment 'maze', observation". */
orr_space *lua_make_space(lua_State *L, int index, const char *what);

/* Pushes {cos = 1, tip = tensor}: numbers for fields without axes, tensors for the others. */
void lua_push_record(lua_State *L, const orr_space *space, const orr_real *values);
/* The same from doubles, none of whose digits is lost: lists instead of tensors. */
void lua_push_exact_record(lua_State *L, const orr_space *space, const double *values);
/* Reads a record: a number, boolean (1 or 0), list or tensor for each field, no field missing and
   none unknown. A space of a single field also takes that field's value as it is. Raises naming
   `what` and the field. */
void lua_read_record(lua_State *L, int index, const orr_space *space, const char *what,
                     orr_real *values);
void lua_read_exact_record(lua_State *L, int index, const orr_space *space, const char *what,
                           double *values);

#endif
