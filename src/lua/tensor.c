/* tensor.c - the tensor in Lua: making them, looking into them, printing.

   Axes, indices and ranges count from 1, negative ones from the end; ranges include both ends. A
   result without axes is a plain Lua number. t[i] is a number or a view, so t[i][j] reads and
   t[i] = x writes; t[{i, {first, last}, {}}] picks along several axes at once. */
#include "lua/tensor.h"

#include <math.h>
#include <string.h>

#include "lua/symbol.h"

static void free_tensor(void *object) { orr_tensor_free(object); }

/* Values from Lua. */

orr_tensor *lua_test_tensor(lua_State *L, int index) {
  return lua_test_object(L, index, &lua_tensor_class);
}

orr_tensor *lua_check_tensor(lua_State *L, int index) {
  return lua_check_object(L, index, &lua_tensor_class);
}

int lua_push_tensor(lua_State *L, orr_tensor *tensor) {
  return lua_push_object(L, &lua_tensor_class, tensor);
}

int lua_push_result(lua_State *L, orr_tensor *tensor) {
  if (!tensor) return lua_raise(L);
  if (orr_tensor_axes(tensor) > 0) return lua_push_tensor(L, tensor);
  double value = orr_tensor_get(tensor, 0);
  bool whole = orr_tensor_dtype(tensor) != ORR_REAL;
  orr_tensor_free(tensor);
  if (whole) lua_pushinteger(L, (lua_Integer)value);
  else lua_pushnumber(L, value);
  return 1;
}

int lua_check_axis(lua_State *L, int index, int axes, int otherwise) {
  if (lua_isnoneornil(L, index)) return otherwise;
  lua_Integer axis = luaL_checkinteger(L, index);
  if (axis >= 1 && axis <= axes) return (int)axis - 1;
  if (axis < 0 && axis >= -axes) return (int)axis + axes;
  return luaL_argerror(L, index, lua_pushfstring(L, "no axis %I: there are %d", axis, axes));
}

int lua_check_shape(lua_State *L, int index, int64_t *shape) {
  bool table = lua_istable(L, index);
  int count = table ? (int)luaL_len(L, index) : lua_gettop(L) - index + 1;
  if (count < 0) count = 0;
  if (count > ORR_AXES) lua_complain(L, "a tensor has 0 to %d axes, not %d", ORR_AXES, count);
  for (int i = 0; i < count; i++) {
    if (!table) {
      shape[i] = luaL_checkinteger(L, index + i);
      continue;
    }
    int whole;
    lua_geti(L, index, i + 1);
    shape[i] = lua_tointegerx(L, -1, &whole);
    lua_pop(L, 1);
    if (!whole) luaL_argerror(L, index, "sizes are whole numbers");
  }
  return count;
}

/* Nested tables: the shape by the first entries, then every value, checked against it. Tables are
   read as Lua reads them: what a traced function captured stands in for the table itself. */

static int table_shape(lua_State *L, int index, int64_t *shape) {
  int axes = 0;
  lua_pushvalue(L, index);
  while (lua_istable(L, -1)) {
    if (axes == ORR_AXES)
      lua_complain(L, "a table nested more than %d deep is no tensor", ORR_AXES);
    shape[axes++] = (int64_t)luaL_len(L, -1);
    lua_geti(L, -1, 1);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
  return axes;
}

/* Reads the value on top into values, moving *at on. */
static void read_values(lua_State *L, int axis, int axes, const int64_t *shape, double *values,
                        size_t *at) {
  if (axis == axes) {
    if (lua_isboolean(L, -1)) values[(*at)++] = lua_toboolean(L, -1);
    else if (lua_type(L, -1) == LUA_TNUMBER) values[(*at)++] = lua_tonumber(L, -1);
    else
      lua_complain(L, "number %d of the table is a %s, not a number", (int)*at + 1,
                   luaL_typename(L, -1));
    return;
  }
  if (!lua_istable(L, -1) || (int64_t)luaL_len(L, -1) != shape[axis])
    lua_complain(
        L, "ragged table: along axis %d there are %d entries in the first, %s in a later part",
        axis + 1, (int)shape[axis],
        lua_istable(L, -1) ? lua_pushfstring(L, "%d", (int)luaL_len(L, -1)) : "no");
  for (int64_t i = 1; i <= shape[axis]; i++) {
    lua_geti(L, -1, i);
    read_values(L, axis + 1, axes, shape, values, at);
    lua_pop(L, 1);
  }
}

static orr_dtype check_dtype(lua_State *L, int index, orr_dtype otherwise) {
  static const char *const names[] = {"real", "byte", "int", NULL};
  static const orr_dtype dtypes[] = {ORR_REAL, ORR_BYTE, ORR_INT};
  return lua_isnoneornil(L, index) ? otherwise : dtypes[luaL_checkoption(L, index, NULL, names)];
}

/* Pushes a tensor of the number, boolean or nested table at index. */
static orr_tensor *push_from(lua_State *L, int index, orr_dtype dtype) {
  int64_t shape[ORR_AXES];
  size_t count = 1, at = 0;
  luaL_checkstack(L, ORR_AXES + 8, "nested table");
  int axes = table_shape(L, index, shape);
  for (int i = 0; i < axes; i++)
    if (__builtin_mul_overflow(count, (size_t)shape[i], &count) || count > ((size_t)1 << 40))
      lua_complain(L, "the table is too large");
  double *values = lua_newuserdatauv(L, (count ? count : 1) * sizeof *values, 0);
  lua_pushvalue(L, index);
  read_values(L, 0, axes, shape, values, &at);
  lua_pop(L, 1);
  lua_push_tensor(L, orr_tensor_new(lua_engine(L), dtype, axes, shape));
  orr_tensor *x = lua_test_tensor(L, -1);
  orr_tensor_write(x, values);
  lua_remove(L, -2);
  return x;
}

orr_tensor *lua_to_tensor(lua_State *L, int index) {
  orr_tensor *x = lua_test_tensor(L, index);
  if (x) return x;
  int type = lua_type(L, index);
  /* An object without a list inside is no empty list. */
  bool object = type == LUA_TTABLE && luaL_len(L, index) == 0 && lua_getmetatable(L, index);
  if (object || (type != LUA_TNUMBER && type != LUA_TBOOLEAN && type != LUA_TTABLE))
    luaL_typeerror(L, index, "tensor, number or table of numbers");
  index = lua_absindex(L, index);
  x = push_from(L, index, ORR_REAL);
  lua_replace(L, index);
  return x;
}

/*** orrery.tensor(values, dtype): a tensor of a number or a nested table of numbers, all parts of
one length (a ragged table is an error); of a tensor, a copy. dtype: "real" (float32, the default),
"byte" (0 .. 255) or "int" (int32); values are rounded and clipped to it. */
static int tensor_new(lua_State *L) {
  orr_tensor *x = lua_test_tensor(L, 1);
  if (x) return lua_push_tensor(L, orr_tensor_convert(x, check_dtype(L, 2, orr_tensor_dtype(x))));
  if (!lua_istable(L, 1)) luaL_checknumber(L, 1);
  push_from(L, 1, check_dtype(L, 2, ORR_REAL));
  return 1;
}

/*** orrery.is_tensor(x): whether x is a tensor. */
static int is_tensor(lua_State *L) {
  lua_pushboolean(L, luaL_testudata(L, 1, lua_tensor_class.name) != NULL);
  return 1;
}

/* Looking into one. */

/*** tensor:shape(): the sizes, as that many results: `local rows, columns = t:shape()`. */
static int tensor_shape(lua_State *L) {
  orr_tensor *x = lua_check_tensor(L, 1);
  for (int i = 0; i < orr_tensor_axes(x); i++) lua_pushinteger(L, orr_tensor_shape(x)[i]);
  return orr_tensor_axes(x);
}

/*** tensor:size(axis): the length of one axis. #t is that of the first. */
static int tensor_size(lua_State *L) {
  orr_tensor *x = lua_check_tensor(L, 1);
  if (orr_tensor_axes(x) == 0) lua_complain(L, "a tensor without axes has no length");
  lua_pushinteger(L, orr_tensor_shape(x)[lua_check_axis(L, 2, orr_tensor_axes(x), 0)]);
  return 1;
}

static int tensor_length(lua_State *L) {
  lua_settop(L, 1);
  return tensor_size(L);
}

/*** tensor:axes(): how many axes it has. */
static int tensor_axes(lua_State *L) {
  lua_pushinteger(L, orr_tensor_axes(lua_check_tensor(L, 1)));
  return 1;
}

/*** tensor:count(): how many numbers it holds. */
static int tensor_count(lua_State *L) {
  lua_pushinteger(L, orr_tensor_count(lua_check_tensor(L, 1)));
  return 1;
}

/*** tensor:dtype(): "real", "byte" or "int". */
static int tensor_dtype(lua_State *L) {
  lua_pushstring(L, orr_dtype_name(orr_tensor_dtype(lua_check_tensor(L, 1))));
  return 1;
}

static void push_value(lua_State *L, orr_dtype dtype, double value) {
  if (dtype == ORR_REAL) lua_pushnumber(L, value);
  else lua_pushinteger(L, (lua_Integer)value);
}

/*** tensor:item(): the number in a tensor that holds just one; an error otherwise. */
static int tensor_item(lua_State *L) {
  orr_tensor *x = lua_check_tensor(L, 1);
  double value;
  lua_check_status(L, orr_tensor_item(x, &value));
  push_value(L, orr_tensor_dtype(x), value);
  return 1;
}

static void push_nested(lua_State *L, const orr_tensor *x, int axis, int64_t *at) {
  if (axis == orr_tensor_axes(x)) {
    push_value(L, orr_tensor_dtype(x), orr_tensor_get(x, (*at)++));
    return;
  }
  int64_t n = orr_tensor_shape(x)[axis];
  lua_createtable(L, n < 1 << 24 ? (int)n : 0, 0);
  for (int64_t i = 1; i <= n; i++) {
    push_nested(L, x, axis + 1, at);
    lua_rawseti(L, -2, i);
  }
}

/*** tensor:totable(): nested tables of numbers; a plain number when there are no axes. */
static int tensor_totable(lua_State *L) {
  orr_tensor *x = lua_check_tensor(L, 1);
  int64_t at = 0;
  luaL_checkstack(L, ORR_AXES + 4, "nested table");
  push_nested(L, x, 0, &at);
  return 1;
}

static int tensor_tostring(lua_State *L) {
  lua_handle *handle = luaL_checkudata(L, 1, lua_tensor_class.name);
  if (!handle->object) {
    lua_pushliteral(L, "tensor (closed)");
    return 1;
  }
  size_t size = orr_tensor_text(handle->object, NULL, 0) + 1;
  luaL_Buffer text;
  char *room = luaL_buffinitsize(L, &text, size);
  orr_tensor_text(handle->object, room, size);
  luaL_pushresultsize(&text, size - 1);
  return 1;
}

/* Indexing. */

/* Pushes the view that t[{...}] with the table at index picks. */
static void push_picked(lua_State *L, orr_tensor *x, int index) {
  int wanted = (int)luaL_len(L, index), axis = 0;
  if (wanted > orr_tensor_axes(x))
    lua_complain(L, "index: %d entries for a tensor of %d axes", wanted, orr_tensor_axes(x));
  lua_pushvalue(L, 1);
  for (int i = 1; i <= wanted; i++) {
    x = lua_check_tensor(L, -1);
    lua_geti(L, index, i);
    if (lua_isinteger(L, -1)) {
      lua_Integer at = lua_tointeger(L, -1);
      if (at == 0) lua_complain(L, "index: entries count from 1, there is no 0");
      lua_push_tensor(L, orr_tensor_at(x, axis, at > 0 ? at - 1 : at));
    } else if (lua_istable(L, -1)) {
      int64_t length = orr_tensor_shape(x)[axis], first = 1, last = length;
      lua_geti(L, -1, 1);
      lua_geti(L, -2, 2);
      first = lua_isnil(L, -2) ? first : luaL_checkinteger(L, -2);
      last = lua_isnil(L, -1) ? last : luaL_checkinteger(L, -1);
      lua_pop(L, 2);
      lua_push_range(L, x, axis++, first, last, 1);
    } else {
      lua_complain(L, "index: an entry is a whole number or a range {first, last}, not a %s",
                   luaL_typename(L, -1));
    }
    lua_replace(L, -3); /* the narrower view takes the place of the wider one */
    lua_pop(L, 1);
  }
}

int lua_push_range(lua_State *L, const orr_tensor *x, int axis, int64_t first, int64_t last,
                   int64_t step) {
  int64_t length = orr_tensor_shape(x)[axis];
  if (first < 0) first += length + 1;
  if (last < 0) last += length + 1;
  if (first < 1 || last > length || first > last + 1 || step < 1)
    lua_complain(L, "%I to %I by %I is not within axis %d, of length %I", (lua_Integer)first,
                 (lua_Integer)last, (lua_Integer)step, axis + 1, (lua_Integer)length);
  return lua_push_tensor(L, orr_tensor_slice(x, axis, first - 1, last, step));
}

/* The number at place `at` (from 0) of a vector, without a view in between. */
static int push_element(lua_State *L, const orr_tensor *x, int64_t at) {
  push_value(L, orr_tensor_dtype(x), orr_tensor_get(x, at));
  return 1;
}

static int complain_method(lua_State *L) {
  const char *names[160], *name = luaL_tolstring(L, 2, NULL);
  int count = 0;
  lua_pushnil(L);
  while (count < 160 && lua_next(L, lua_upvalueindex(1))) {
    lua_pop(L, 1);
    names[count++] = lua_tostring(L, -1); /* keys are strings, anchored by the table */
  }
  const char *near = orr_nearest_name(name, names, count);
  if (near) return lua_complain(L, "a tensor has no '%s'; did you mean '%s'?", name, near);
  return lua_complain(L, "a tensor has no '%s'", name);
}

static int tensor_index(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    return complain_method(L);
  }
  orr_tensor *x = lua_check_tensor(L, 1);
  if (lua_istable(L, 2)) {
    push_picked(L, x, 2);
    x = lua_check_tensor(L, -1);
    return orr_tensor_axes(x) ? 1 : push_element(L, x, 0);
  }
  int whole;
  lua_Integer at = lua_tointegerx(L, 2, &whole);
  if (!whole) return complain_method(L);
  if (orr_tensor_axes(x) == 0)
    return lua_complain(L, "a tensor without axes has no entries; use :item()");
  int64_t length = orr_tensor_shape(x)[0];
  if (at == length + 1) { /* where ipairs stops */
    lua_pushnil(L);
    return 1;
  }
  if (at == 0) return lua_complain(L, "entries of a tensor count from 1, there is no 0");
  if (orr_tensor_axes(x) == 1 && at >= -length && at <= length)
    return push_element(L, x, at > 0 ? at - 1 : at + length);
  return lua_push_tensor(L, orr_tensor_at(x, 0, at > 0 ? at - 1 : at));
}

static int tensor_set_index(lua_State *L) {
  orr_tensor *x = lua_check_tensor(L, 1);
  if (lua_istable(L, 2)) {
    push_picked(L, x, 2);
  } else {
    lua_Integer at = luaL_checkinteger(L, 2);
    if (at == 0) return lua_complain(L, "entries of a tensor count from 1, there is no 0");
    lua_push_tensor(L, orr_tensor_at(x, 0, at > 0 ? at - 1 : at));
  }
  orr_tensor *place = lua_check_tensor(L, -1);
  if (lua_type(L, 3) == LUA_TNUMBER)
    lua_check_status(L, orr_tensor_fill(place, lua_tonumber(L, 3)));
  else lua_check_status(L, orr_tensor_assign(place, lua_to_tensor(L, 3)));
  return 0;
}

/* tensor < number: only where there is one number on either side. */
static int compare(lua_State *L, bool equal_too) {
  double side[2];
  for (int i = 1; i <= 2; i++) {
    orr_tensor *x = lua_test_tensor(L, i);
    if (x && orr_tensor_count(x) == 1) side[i - 1] = orr_tensor_get(x, 0);
    else if (!x && lua_type(L, i) == LUA_TNUMBER) side[i - 1] = lua_tonumber(L, i);
    else
      return lua_complain(L, "tensors compare number by number, into 1s and 0s: a:less(b), "
                             "a:less_equal(b), a:equal(b)");
  }
  lua_pushboolean(L, equal_too ? side[0] <= side[1] : side[0] < side[1]);
  return 1;
}

/* Lua asks only for two different userdata. Vectors have no one answer: that of Lua without this,
   that two tensors of equal numbers differ, is a reward that never comes. A closed one equals
   nothing. */
static int tensor_equal(lua_State *L) {
  if (lua_test_symbol(L, 1) || lua_test_symbol(L, 2))
    return lua_complain(L, "== between a symbol and a tensor: use orrery.equal(a, b)");
  lua_handle *a = luaL_testudata(L, 1, lua_tensor_class.name);
  lua_handle *b = luaL_testudata(L, 2, lua_tensor_class.name);
  if (!a || !b || !a->object || !b->object) {
    lua_pushboolean(L, false);
    return 1;
  }
  if (orr_tensor_count(a->object) != 1 || orr_tensor_count(b->object) != 1)
    return lua_complain(L, "== of tensors: use orrery.equal(a, b), which compares number by number "
                           "into 1s and 0s; orrery.equal(a, b):min() is 1 where all are equal. "
                           "Whether both are the same object: rawequal(a, b)");
  lua_pushboolean(L, orr_tensor_get(a->object, 0) == orr_tensor_get(b->object, 0));
  return 1;
}

static int tensor_less(lua_State *L) { return compare(L, false); }
static int tensor_less_equal(lua_State *L) { return compare(L, true); }

static const luaL_Reg methods[] = {{"shape", tensor_shape},     {"size", tensor_size},
                                   {"axes", tensor_axes},       {"count", tensor_count},
                                   {"dtype", tensor_dtype},     {"item", tensor_item},
                                   {"totable", tensor_totable}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__index", tensor_index}, {"__newindex", tensor_set_index},
                                       {"__len", tensor_length},  {"__tostring", tensor_tostring},
                                       {"__lt", tensor_less},     {"__le", tensor_less_equal},
                                       {"__eq", tensor_equal},    {NULL, NULL}};

const lua_class lua_tensor_class = {"orrery.tensor", "tensor", free_tensor, methods, metamethods};

void open_tensor(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"tensor", tensor_new},
                                       {"is_tensor", is_tensor},
                                       {NULL, NULL}};
  lua_new_class(L, &lua_tensor_class);
  lua_add_functions(L, module, functions);
  lua_add_tensor_makers(L, module);
  lua_add_tensor_operations(L, module);
  lua_add_tensor_shapes(L, module);
  lua_add_tensor_files(L, module);
}
