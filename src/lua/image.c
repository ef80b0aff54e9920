/* image.c - pictures in Lua: PNG files, plots, film strips, animations. */
#include <math.h>
#include <string.h>

#include "lua/canvas.h"

/*** orrery.save_png(path, picture): writes a canvas or a tensor as a PNG file, whole or not at all.
Tensors are bytes, or reals of 0 .. 1, of [height, width] or [height, width, channels]. */
static int save_png(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  orr_picture p = lua_check_picture(L, 2);
  lua_check_status(L, orr_png_save(lua_engine(L), path, p.pixels, p.width, p.height, p.channels));
  return 0;
}

/*** orrery.load_png(path, channels): a byte tensor [height, width, channels]. channels is 1 (grey),
3 (RGB) or 4 (RGBA); without it, as the file has them. Anything but a whole PNG file of at most
16384 pixels a side and 64 Mpx is an error. */
static int load_png(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  int channels = (int)luaL_optinteger(L, 2, 0);
  return lua_push_object(L, &lua_tensor_class, orr_png_load(lua_engine(L), path, channels));
}

/* ---- plots */

static void free_plot(void *plot) { orr_plot_free(plot); }
static const lua_class plot_class = {"orrery.plot", "plot", free_plot, NULL, NULL};

/* The numbers of the option `name` of the series on top, in memory left below it; NULL when
   absent. */
static const double *read_numbers(lua_State *L, const char *name, int number, int *count) {
  int type = lua_option_push(L, -1, name);
  if (type == LUA_TNIL) {
    lua_pop(L, 1);
    return NULL;
  }
  orr_tensor *x = type == LUA_TUSERDATA ? lua_test_tensor(L, -1) : NULL;
  if (!x && type != LUA_TTABLE)
    lua_complain(L, "plot, series %d: %s must be a list of numbers or a tensor, not a %s", number,
                 name, luaL_typename(L, -1));
  if (x) {
    lua_push_object(L, &lua_tensor_class, orr_tensor_contiguous(x));
    lua_replace(L, -2);
    x = lua_check_tensor(L, -1);
  }
  lua_Integer n = x ? orr_tensor_count(x) : luaL_len(L, -1);
  if (n < 1 || n > 1 << 26 || (*count && n != *count))
    lua_complain(L, "plot, series %d: %s has %I numbers where %s", number, name, (LUAI_UACINT)n,
                 *count ? lua_pushfstring(L, "y has %d", *count) : "at least one is needed");
  double *values = lua_newuserdatauv(L, (size_t)n * sizeof *values, 0);
  for (lua_Integer i = 0; i < n; i++) {
    if (x) {
      const void *data = orr_tensor_data(x);
      values[i] = orr_tensor_dtype(x) == ORR_REAL   ? (double)((const orr_real *)data)[i]
                  : orr_tensor_dtype(x) == ORR_BYTE ? (double)((const uint8_t *)data)[i]
                                                    : (double)((const int32_t *)data)[i];
      continue;
    }
    int is_number, kind = lua_geti(L, -2, i + 1);
    values[i] = lua_tonumberx(L, -1, &is_number);
    if (!is_number && kind == LUA_TBOOLEAN && !lua_toboolean(L, -1))
      values[i] = (double)NAN, is_number = 1; /* a gap */
    if (!is_number)
      lua_complain(L, "plot, series %d: %s[%I] is a %s", number, name, (LUAI_UACINT)i + 1,
                   luaL_typename(L, -1));
    lua_pop(L, 1);
  }
  lua_remove(L, -2);
  lua_insert(L, -2); /* the memory below the series */
  *count = (int)n;
  return values;
}

/* Adds the series at the top of the stack. */
static void add_series(lua_State *L, orr_plot *plot, int number) {
  static const char *const names[] = {"label", "x",    "y",      "low", "high",
                                      "color", "dots", "dashed", NULL};
  lua_check_options(L, -1, "series of a plot", names);
  orr_series series = {0};
  series.y = read_numbers(L, "y", number, &series.count);
  if (!series.y)
    lua_complain(L, "plot, series %d: y, a list of numbers or a tensor, is missing", number);
  series.x = read_numbers(L, "x", number, &series.count);
  series.low = read_numbers(L, "low", number, &series.count);
  series.high = read_numbers(L, "high", number, &series.count);
  if (!series.low != !series.high)
    lua_complain(L, "plot, series %d: a band needs both low and high", number);
  series.label = lua_option_string(L, -1, "label", NULL);
  series.dots = lua_option_boolean(L, -1, "dots", false);
  series.dashed = lua_option_boolean(L, -1, "dashed", false);
  lua_option_push(L, -1, "color");
  series.color = lua_check_color(L, -1, 0);
  lua_pop(L, 1);
  lua_check_status(L, orr_plot_add(plot, &series));
}

static void read_range(lua_State *L, const char *name, double *low, double *high) {
  if (lua_option_push(L, 1, name) == LUA_TTABLE) {
    lua_geti(L, -1, 1);
    lua_geti(L, -2, 2);
    *low = luaL_optnumber(L, -2, NAN);
    *high = luaL_optnumber(L, -1, NAN);
    lua_pop(L, 2);
  } else if (!lua_isnil(L, -1)) {
    lua_complain(L, "plot: %s is a pair {low, high}", name);
  }
  lua_pop(L, 1);
}

/* The option x_names, in memory left on the stack; NULL when absent. */
static const char *const *read_names(lua_State *L, int *count) {
  if (lua_option_push(L, 1, "x_names") == LUA_TNIL) return NULL;
  luaL_checktype(L, -1, LUA_TTABLE);
  int table = lua_gettop(L);
  *count = (int)luaL_len(L, table);
  luaL_checkstack(L, *count + 8, "plot");
  const char **names = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *names, 0);
  for (int i = 0; i < *count; i++) {
    lua_geti(L, table, i + 1);
    names[i] = luaL_checkstring(L, -1); /* stays on the stack until the plot has its copy */
  }
  return names;
}

/*** orrery.plot(options): a canvas with a line plot. options: series, a list of { y =, x =, label
=, low =, high =, color =, dots =, dashed = } whose numbers are lists or tensors (x: 1, 2, 3 ... by
default; low and high: a shaded band, or bars with dots; NaN or false leaves a gap); title; x and y,
the axes' labels; x_names, a list of texts that stand under x = 1, 2, 3 ...; x_range and y_range,
{low, high}; log_x, log_y; width and height in pixels (960 x 600). */
static int plot(lua_State *L) {
  static const char *const names[] = {"series", "title", "x",     "y",      "x_range", "y_range",
                                      "log_x",  "log_y", "width", "height", "x_names", NULL};
  lua_check_options(L, 1, "plot", names);
  lua_settop(L, 1);
  orr_plot_options options = orr_plot_options_defaults();
  options.title = lua_option_string(L, 1, "title", NULL);
  options.x_label = lua_option_string(L, 1, "x", NULL);
  options.y_label = lua_option_string(L, 1, "y", NULL);
  options.log_x = lua_option_boolean(L, 1, "log_x", false);
  options.log_y = lua_option_boolean(L, 1, "log_y", false);
  options.width = (int)lua_option_integer(L, 1, "width", options.width, 240, ORR_IMAGE_SIDE);
  options.height = (int)lua_option_integer(L, 1, "height", options.height, 180, ORR_IMAGE_SIDE);
  read_range(L, "x_range", &options.x_low, &options.x_high);
  read_range(L, "y_range", &options.y_low, &options.y_high);
  options.x_names = read_names(L, &options.x_names_count);
  lua_push_object(L, &plot_class, orr_plot_new(lua_engine(L), &options));
  orr_plot *made = lua_check_object(L, -1, &plot_class);
  lua_replace(L, 2);
  lua_settop(L, 2);
  if (lua_option_need(L, 1, "series", "plot") != LUA_TTABLE)
    lua_complain(L, "plot: series is a list of series, as in { { label = \"CEM\", y = returns } }");
  lua_Integer count = luaL_len(L, 3);
  for (lua_Integer i = 1; i <= count; i++) {
    luaL_checkstack(L, 10, "plot");
    if (lua_geti(L, 3, i) != LUA_TTABLE)
      lua_complain(L, "plot: series %I is no table", (LUAI_UACINT)i);
    add_series(L, made, (int)i);
    lua_settop(L, 3);
  }
  return lua_push_object(L, &lua_canvas_class, orr_plot_draw(made));
}

/* ---- film strips and animations */

/*** orrery.film_strip(frames, options): a canvas with the pictures side by side, small ones
enlarged. options: captions, a list of texts below them (false: none); columns, frames in a row
(all); title. Frames of different sizes are an error. */
static int film_strip(lua_State *L) {
  static const char *const names[] = {"captions", "columns", "title", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_check_options(L, 2, "film strip options", names);
  int count = (int)luaL_len(L, 1);
  orr_picture *frames = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *frames, 0);
  const char **captions = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *captions, 0);
  lua_createtable(L, 2 * count, 0); /* what must live until the strip is drawn */
  for (int i = 0; i < count; i++) {
    lua_geti(L, 1, i + 1);
    frames[i] = lua_check_picture(L, -1);
    lua_rawseti(L, 5, 2 * i + 1);
    captions[i] = NULL;
    if (lua_option_push(L, 2, "captions") == LUA_TTABLE && lua_geti(L, -1, i + 1) != LUA_TNIL &&
        lua_toboolean(L, -1)) {
      captions[i] = luaL_tolstring(L, -1, NULL);
      lua_rawseti(L, 5, 2 * i + 2);
    }
    lua_settop(L, 5);
  }
  int columns = (int)lua_option_integer(L, 2, "columns", 0, 0, 1 << 20);
  const char *title = lua_option_string(L, 2, "title", NULL);
  return lua_push_object(L, &lua_canvas_class,
                         orr_film_strip(lua_engine(L), frames, captions, count, columns, title));
}

static void abandon(void *animation) { orr_animation_abandon(animation); }
static const lua_class animation_class = {"orrery.animation", "animation", abandon, NULL, NULL};

/* Pushes frame i: of the list, or the next of the function. */
static bool push_frame(lua_State *L, lua_Integer i) {
  if (lua_istable(L, 2)) {
    lua_geti(L, 2, i);
  } else {
    lua_pushvalue(L, 2);
    lua_pushinteger(L, i);
    lua_call(L, 1, 1);
  }
  return !lua_isnil(L, -1);
}

/*** orrery.save_animation(path, frames, options): writes an animated PNG, which browsers play.
frames is a list of pictures of one size, or a function that returns the i-th and then nil, so that
they need not all be in memory. options: fps, frames per second (25). The file appears whole or not
at all. */
static int save_animation(lua_State *L) {
  static const char *const names[] = {"fps", NULL};
  const char *path = luaL_checkstring(L, 1);
  if (!lua_istable(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 3);
  lua_check_options(L, 3, "animation options", names);
  double fps = lua_option_number(L, 3, "fps", 25, 0.1, 1000);
  lua_handle *handle = lua_new_handle(L, &animation_class);
  int width = 0, height = 0;
  for (lua_Integer i = 1; push_frame(L, i); i++) {
    orr_picture p = lua_check_picture(L, -1);
    if (i == 1) {
      width = p.width, height = p.height;
      handle->object = orr_animation_new(lua_engine(L), path, width, height, fps);
      if (!handle->object) return lua_raise(L);
    }
    if (p.width != width || p.height != height)
      return lua_complain(L, "animation: frame %I is %d x %d pixels, the first one %d x %d",
                          (LUAI_UACINT)i, p.width, p.height, width, height);
    lua_check_status(L, orr_animation_add(handle->object, p.pixels, p.channels));
    lua_settop(L, 4);
  }
  orr_animation *animation = handle->object;
  if (!animation) return lua_complain(L, "animation: there are no frames");
  handle->object = NULL;
  lua_check_status(L, orr_animation_close(animation));
  return 0;
}

void open_image(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"save_png", save_png},
                                       {"load_png", load_png},
                                       {"plot", plot},
                                       {"film_strip", film_strip},
                                       {"save_animation", save_animation},
                                       {NULL, NULL}};
  lua_new_class(L, &plot_class);
  lua_new_class(L, &animation_class);
  lua_add_functions(L, module, functions);
}
