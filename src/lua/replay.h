/* replay.h - what replay.c, replay_read.c, relabel.c and recorder.c share. */
#ifndef LUA_REPLAY_H
#define LUA_REPLAY_H

#include "lua/lua_orrery.h"
#include "orrery/priority.h"
#include "orrery/relabel.h"

extern const lua_class lua_replay_class;

enum { MOST_FIELDS = 64 }; /* read or added at once */

orr_replay *lua_check_replay(lua_State *L); /* the first argument */
/* The option `stream` of the table at index; NULL: none, which is the engine's. */
orr_random *lua_option_stream(lua_State *L, int index);
/* Pushes room for so many. */
int64_t *lua_new_indices(lua_State *L, int64_t count);
/* Numbers of transitions, which count from 1 in Lua, of a list or tensor at index; pushes what
   holds them. */
int64_t *lua_check_indices(lua_State *L, int index, int64_t *count);

int lua_new_recorder(lua_State *L);
int lua_add_episode(lua_State *L);
void open_recorder(lua_State *L);
void open_relabel(lua_State *L);
void open_replay_read(lua_State *L);

#endif
