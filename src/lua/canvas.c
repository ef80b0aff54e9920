/* canvas.c - the canvas in Lua: shapes, text, pictures. Coordinates are pixels from the top
   left. */
#include "lua/canvas.h"

#include <string.h>

static void free_canvas(void *canvas) { orr_canvas_free(canvas); }

static orr_canvas *check_canvas(lua_State *L) { return lua_check_object(L, 1, &lua_canvas_class); }

static int digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

orr_color lua_check_color(lua_State *L, int index, orr_color otherwise) {
  static const char *const names[] = {"black", "white",  "grey",   "red", "green",
                                      "blue",  "orange", "purple", NULL};
  static const orr_color colors[] = {0x22262bff, 0xffffffff, 0x8a919bff, 0xc8372dff,
                                     0x009e73ff, 0x0072b2ff, 0xd55e00ff, 0xcc79a7ff};
  if (lua_isnoneornil(L, index)) return otherwise;
  if (lua_isinteger(L, index)) return orr_palette((int)(lua_tointeger(L, index) - 1));
  const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
  for (int i = 0; names[i]; i++)
    if (strcmp(text, names[i]) == 0) return colors[i];
  size_t n = strlen(text);
  orr_color color = 0;
  bool good = text[0] == '#' && (n == 7 || n == 9);
  for (size_t i = 1; good && i < n; i++) {
    good = digit(text[i]) >= 0;
    color = color << 4 | (orr_color)(digit(text[i]) & 15);
  }
  if (!good)
    lua_complain(L,
                 "a colour is \"#rrggbb\", \"#rrggbbaa\", 1, 2 ... of the palette, black, white, "
                 "grey, red, green, "
                 "blue, orange or purple, not %s",
                 luaL_tolstring(L, index, NULL));
  return n == 7 ? color << 8 | 0xff : color;
}

/* Puts the tensor in place of what is at index. */
static orr_tensor *replace_tensor(lua_State *L, int index, orr_tensor *made) {
  lua_push_object(L, &lua_tensor_class, made);
  lua_replace(L, index);
  return lua_check_tensor(L, index);
}

orr_picture lua_check_picture(lua_State *L, int index) {
  index = lua_absindex(L, index);
  orr_canvas *canvas = lua_test_object(L, index, &lua_canvas_class);
  if (canvas)
    return (orr_picture){orr_canvas_pixels(canvas), orr_canvas_width(canvas),
                         orr_canvas_height(canvas), 3};
  orr_tensor *x = lua_test_tensor(L, index);
  if (!x) luaL_typeerror(L, index, "picture (a canvas or a tensor)");
  int axes = orr_tensor_axes(x);
  const int64_t *shape = orr_tensor_shape(x);
  if (axes < 2 || axes > 3 || (axes == 3 && (shape[2] < 1 || shape[2] > 4)) ||
      orr_tensor_dtype(x) == ORR_INT)
    lua_complain(L,
                 "a picture is a byte tensor (or a real one of 0 .. 1) of [height, width] or "
                 "[height, width, 1 to 4 "
                 "channels], not a tensor of %d axes",
                 axes);
  if (shape[0] < 1 || shape[1] < 1 || shape[0] > ORR_IMAGE_SIDE || shape[1] > ORR_IMAGE_SIDE)
    lua_complain(L, "a picture has 1 to %d pixels a side, not %I x %I", ORR_IMAGE_SIDE,
                 (LUAI_UACINT)shape[1], (LUAI_UACINT)shape[0]);
  int channels = axes == 3 ? (int)shape[2] : 1, width = (int)shape[1], height = (int)shape[0];
  if (orr_tensor_dtype(x) == ORR_REAL) {
    orr_tensor *scale = orr_tensor_number(lua_engine(L), 255);
    orr_tensor *scaled = orr_tensor_mul(x, scale);
    orr_tensor_free(scale);
    x = replace_tensor(L, index, scaled);
    x = replace_tensor(L, index, orr_tensor_convert(x, ORR_BYTE));
  }
  if (!orr_tensor_is_contiguous(x)) x = replace_tensor(L, index, orr_tensor_copy(x));
  return (orr_picture){orr_tensor_data(x), width, height, channels};
}

/*** orrery.canvas(width, height, color): a canvas to draw on, white or of that colour. Pixels count
from the top left corner. Colours are "#rrggbb", "#rrggbbaa", a name such as "red", or 1, 2 ... of
the plot palette. */
static int new_canvas(lua_State *L) {
  int width = (int)luaL_checkinteger(L, 1), height = (int)luaL_checkinteger(L, 2);
  orr_color color = lua_check_color(L, 3, 0xffffffff);
  lua_push_object(L, &lua_canvas_class, orr_canvas_new(lua_engine(L), width, height));
  orr_canvas_clear(lua_check_object(L, -1, &lua_canvas_class), color);
  return 1;
}

static int give_back(lua_State *L) {
  lua_settop(L, 1);
  return 1;
}

/*** canvas:clear(color): fills all of it; white by default. Like all that draws, returns the
canvas. */
static int clear(lua_State *L) {
  orr_canvas_clear(check_canvas(L), lua_check_color(L, 2, 0xffffffff));
  return give_back(L);
}

/*** canvas:line(x0, y0, x1, y1, width, color): a stroke with round ends, 2 pixels wide and black by
default. */
static int line(lua_State *L) {
  orr_canvas_line(check_canvas(L), luaL_checknumber(L, 2), luaL_checknumber(L, 3),
                  luaL_checknumber(L, 4), luaL_checknumber(L, 5), luaL_optnumber(L, 6, 2),
                  lua_check_color(L, 7, 0x22262bff));
  return give_back(L);
}

/* The list x1, y1, x2, y2 ... or {x, y}, {x, y} ... at index, in memory left on the stack. */
static double *read_points(lua_State *L, int index, int *count) {
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Integer n = luaL_len(L, index);
  bool pairs = lua_geti(L, index, 1) == LUA_TTABLE;
  lua_pop(L, 1);
  if (n < 1 || n > 1 << 24 || (!pairs && n % 2))
    lua_complain(L,
                 "points are a list x1, y1, x2, y2 ... or of pairs {x, y}; this one has %I entries",
                 (LUAI_UACINT)n);
  *count = (int)(pairs ? n : n / 2);
  double *xy = lua_newuserdatauv(L, (size_t)*count * 2 * sizeof *xy, 0);
  for (int i = 0; i < 2 * *count; i++) {
    if (pairs) {
      if (lua_geti(L, index, i / 2 + 1) != LUA_TTABLE)
        lua_complain(L, "point %d is no pair {x, y}", i / 2 + 1);
      lua_geti(L, -1, i % 2 + 1);
      lua_remove(L, -2);
    } else {
      lua_geti(L, index, i + 1);
    }
    int is_number;
    xy[i] = lua_tonumberx(L, -1, &is_number);
    if (!is_number)
      lua_complain(L, "point %d has a %s for a coordinate", i / 2 + 1, luaL_typename(L, -1));
    lua_pop(L, 1);
  }
  return xy;
}

/*** canvas:polyline(points, width, color): one stroke through a list of points, {x1, y1, x2, y2
...} or {{x, y}, ...}. */
static int polyline(lua_State *L) {
  int count;
  orr_canvas *canvas = check_canvas(L);
  double width = luaL_optnumber(L, 3, 2);
  orr_color color = lua_check_color(L, 4, 0x22262bff);
  const double *xy = read_points(L, 2, &count);
  lua_check_status(L, orr_canvas_polyline(canvas, xy, count, width, color));
  return give_back(L);
}

/*** canvas:polygon(points, color): the inside of a closed line, by the even-odd rule. */
static int polygon(lua_State *L) {
  int count;
  orr_canvas *canvas = check_canvas(L);
  orr_color color = lua_check_color(L, 3, 0x22262bff);
  const double *xy = read_points(L, 2, &count);
  lua_check_status(L, orr_canvas_polygon(canvas, xy, count, color));
  return give_back(L);
}

/*** canvas:disc(x, y, radius, color): a filled circle. */
static int disc(lua_State *L) {
  orr_canvas_disc(check_canvas(L), luaL_checknumber(L, 2), luaL_checknumber(L, 3),
                  luaL_checknumber(L, 4), lua_check_color(L, 5, 0x22262bff));
  return give_back(L);
}

/*** canvas:ring(x, y, radius, width, color): a circle drawn with a pen. */
static int ring(lua_State *L) {
  orr_canvas_ring(check_canvas(L), luaL_checknumber(L, 2), luaL_checknumber(L, 3),
                  luaL_checknumber(L, 4), luaL_optnumber(L, 5, 2),
                  lua_check_color(L, 6, 0x22262bff));
  return give_back(L);
}

/*** canvas:rectangle(x, y, width, height, color, radius): a filled rectangle; radius rounds its
corners. */
static int rectangle(lua_State *L) {
  orr_canvas_rectangle(check_canvas(L), luaL_checknumber(L, 2), luaL_checknumber(L, 3),
                       luaL_checknumber(L, 4), luaL_checknumber(L, 5), luaL_optnumber(L, 7, 0),
                       lua_check_color(L, 6, 0x22262bff));
  return give_back(L);
}

/*** canvas:text(x, y, text, options): text on the baseline y. options: size, the height of a
capital letter in pixels (10); align, "left", "center" or "right"; turn, degrees counter-clockwise;
color. */
static int text(lua_State *L) {
  static const char *const names[] = {"size", "align", "turn", "color", NULL};
  static const char *const aligns[] = {"left", "center", "right", NULL};
  orr_canvas *canvas = check_canvas(L);
  double x = luaL_checknumber(L, 2), y = luaL_checknumber(L, 3);
  const char *words = luaL_tolstring(L, 4, NULL);
  lua_replace(L, 4);
  lua_settop(L, 5);
  lua_check_options(L, 5, "text options", names);
  double size = lua_option_number(L, 5, "size", 10, 1, 1000),
         turn = lua_option_number(L, 5, "turn", 0, -3600, 3600);
  orr_align align = (orr_align)lua_option_choice(L, 5, "align", ORR_LEFT, aligns);
  lua_option_push(L, 5, "color");
  orr_canvas_text(canvas, x, y, size, align, turn, lua_check_color(L, -1, 0x22262bff), words);
  return give_back(L);
}

/*** canvas:picture(x, y, picture, scale): copies a canvas or a tensor of pixels, each as a square
of scale pixels (1). */
static int picture(lua_State *L) {
  orr_canvas *canvas = check_canvas(L);
  int x = (int)luaL_checkinteger(L, 2), y = (int)luaL_checkinteger(L, 3),
      scale = (int)luaL_optinteger(L, 5, 1);
  orr_picture p = lua_check_picture(L, 4);
  if (p.pixels == orr_canvas_pixels(canvas)) lua_complain(L, "a canvas cannot be drawn on itself");
  orr_canvas_picture(canvas, x, y, p.pixels, p.width, p.height, p.channels, scale);
  return give_back(L);
}

/*** canvas:tensor(): its pixels as a byte tensor [height, width, 3], a copy. */
static int tensor(lua_State *L) {
  orr_canvas *canvas = check_canvas(L);
  int64_t shape[3] = {orr_canvas_height(canvas), orr_canvas_width(canvas), 3};
  lua_push_object(L, &lua_tensor_class, orr_tensor_new(lua_engine(L), ORR_BYTE, 3, shape));
  orr_tensor *copy = lua_check_tensor(L, -1);
  memcpy(orr_tensor_data(copy), orr_canvas_pixels(canvas), (size_t)orr_tensor_count(copy));
  return 1;
}

/*** canvas:save(path): writes a PNG file, whole or not at all; returns the canvas. */
static int save(lua_State *L) {
  orr_canvas *canvas = check_canvas(L);
  lua_check_status(L, orr_canvas_save(canvas, luaL_checkstring(L, 2)));
  return give_back(L);
}

static int canvas_index(lua_State *L) {
  orr_canvas *canvas = check_canvas(L);
  const char *key = luaL_checkstring(L, 2);
  lua_pushvalue(L, 2);
  if (lua_gettable(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (strcmp(key, "width") == 0) lua_pushinteger(L, orr_canvas_width(canvas));
  else if (strcmp(key, "height") == 0) lua_pushinteger(L, orr_canvas_height(canvas));
  else return lua_complain(L, "a canvas has no '%s'; it has width and height", key);
  return 1;
}

static int canvas_text(lua_State *L) {
  orr_canvas *canvas = check_canvas(L);
  lua_pushfstring(L, "canvas(%d x %d)", orr_canvas_width(canvas), orr_canvas_height(canvas));
  return 1;
}

static const luaL_Reg methods[] = {{"clear", clear},         {"line", line}, {"polyline", polyline},
                                   {"polygon", polygon},     {"disc", disc}, {"ring", ring},
                                   {"rectangle", rectangle}, {"text", text}, {"picture", picture},
                                   {"tensor", tensor},       {"save", save}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__index", canvas_index},
                                       {"__tostring", canvas_text},
                                       {NULL, NULL}};

const lua_class lua_canvas_class = {"orrery.canvas", "canvas", free_canvas, methods, metamethods};

void open_canvas(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"canvas", new_canvas}, {NULL, NULL}};
  lua_new_class(L, &lua_canvas_class);
  lua_add_functions(L, module, functions);
}
