/* replay.h - what replay.c and recorder.c share. */
#ifndef LUA_REPLAY_H
#define LUA_REPLAY_H

#include "lua/lua_orrery.h"
#include "orrery/replay.h"

extern const lua_class lua_replay_class;

enum { MOST_FIELDS = 64 }; /* read or added at once */

int lua_new_recorder(lua_State *L);
int lua_add_episode(lua_State *L);
void open_recorder(lua_State *L);

#endif
