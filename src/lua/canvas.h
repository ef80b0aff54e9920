/* canvas.h - canvases and pictures, as the bindings that draw share them. */
#ifndef LUA_CANVAS_H
#define LUA_CANVAS_H

#include "lua/lua_orrery.h"
#include "orrery/image.h"

extern const lua_class lua_canvas_class;

/* The picture at index: a canvas; a byte tensor [height, width] or [height, width, channels]; or a
   real one of that shape with values 0 .. 1. The pixels live as long as that stack slot, in which a
   converted copy may be put. Raises on anything else. */
orr_picture lua_check_picture(lua_State *L, int index);
/* A colour at index: "#rrggbb", "#rrggbbaa", a name, or a number 1, 2 ... of the plot palette; none
   or nil: otherwise. */
orr_color lua_check_color(lua_State *L, int index, orr_color otherwise);

#endif
