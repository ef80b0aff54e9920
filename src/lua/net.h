/* net.h - nets, as other binding files see them. */
#ifndef LUA_NET_H
#define LUA_NET_H

#include "lua/lua_orrery.h"
#include "orrery/nn.h"

extern const lua_class lua_net_class;
orr_net *lua_check_net(lua_State *L, int index);

#endif
