/* space.c - spaces in Lua, and records: tables of values by field name. */
#include "lua/space.h"

#include <math.h>
#include <string.h>

static void free_space(void *space) { orr_space_free(space); }

/* Where values are read to or written from: one of the two. */
typedef struct numbers {
  orr_real *real;
  double *exact;
} numbers;

static void put(numbers to, int64_t index, double value) {
  if (to.real) to.real[index] = (orr_real)value;
  else to.exact[index] = value;
}

/* ---- records out */

static void push_tensor(lua_State *L, const orr_field *field, const orr_real *values) {
  lua_push_object(L, &lua_tensor_class,
                  orr_tensor_from(lua_engine(L), field->axes, field->shape, values));
}

void lua_push_record(lua_State *L, const orr_space *space, const orr_real *values) {
  int fields = orr_space_fields(space);
  lua_createtable(L, 0, fields);
  for (int i = 0; i < fields; i++) {
    const orr_field *field = orr_space_field(space, i);
    if (field->axes) push_tensor(L, field, values + field->offset);
    else lua_pushnumber(L, (double)values[field->offset]);
    lua_setfield(L, -2, field->name);
  }
}

void lua_push_exact_record(lua_State *L, const orr_space *space, const double *values) {
  int fields = orr_space_fields(space);
  lua_createtable(L, 0, fields);
  for (int i = 0; i < fields; i++) {
    const orr_field *field = orr_space_field(space, i);
    if (field->axes) {
      lua_createtable(L, (int)field->count, 0);
      for (int64_t k = 0; k < field->count; k++) {
        lua_pushnumber(L, values[field->offset + k]);
        lua_rawseti(L, -2, k + 1);
      }
    } else {
      lua_pushnumber(L, values[field->offset]);
    }
    lua_setfield(L, -2, field->name);
  }
}

/* ---- records in */

static void read_tensor(lua_State *L, orr_tensor *x, const orr_field *field, const char *what,
                        numbers to) {
  if (orr_tensor_count(x) != field->count)
    lua_complain(L, "%s: field '%s' has %I numbers, the tensor %I", what, field->name,
                 (LUAI_UACINT)field->count, (LUAI_UACINT)orr_tensor_count(x));
  if (orr_tensor_is_contiguous(x)) lua_pushnil(L); /* nothing is made, in every step of a loop */
  else lua_push_object(L, &lua_tensor_class, orr_tensor_contiguous(x));
  if (!lua_isnil(L, -1)) x = lua_check_tensor(L, -1);
  const void *data = orr_tensor_data(x);
  orr_dtype dtype = orr_tensor_dtype(x);
  for (int64_t i = 0; i < field->count; i++)
    put(to, field->offset + i,
        dtype == ORR_REAL   ? (double)((const orr_real *)data)[i]
        : dtype == ORR_BYTE ? (double)((const uint8_t *)data)[i]
                            : (double)((const int32_t *)data)[i]);
  lua_pop(L, 1);
}

/* The numbers of a list, or of lists in it, are appended at *at. */
static void read_list(lua_State *L, int depth, const orr_field *field, const char *what, numbers to,
                      int64_t *at) {
  luaL_checkstack(L, 4, what);
  lua_Integer n = luaL_len(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    int type = lua_geti(L, -1, i);
    if (type == LUA_TTABLE && depth < ORR_AXES) {
      read_list(L, depth + 1, field, what, to, at);
    } else if (type == LUA_TNUMBER) {
      if (*at < field->count) put(to, field->offset + *at, lua_tonumber(L, -1));
      ++*at;
    } else {
      lua_complain(L, "%s: field '%s' has a %s at position %I, where a number is wanted", what,
                   field->name, luaL_typename(L, -1), (LUAI_UACINT)i);
    }
    lua_pop(L, 1);
  }
}

/* The value on top of the stack. */
static void read_value(lua_State *L, const orr_field *field, const char *what, numbers to) {
  int type = lua_type(L, -1);
  orr_tensor *x = type == LUA_TUSERDATA ? lua_test_tensor(L, -1) : NULL;
  if (x) {
    read_tensor(L, x, field, what, to);
  } else if (type == LUA_TTABLE) {
    int64_t at = 0;
    read_list(L, 1, field, what, to, &at);
    if (at != field->count)
      lua_complain(L, "%s: field '%s' has %I numbers, the list %I", what, field->name,
                   (LUAI_UACINT)field->count, (LUAI_UACINT)at);
  } else if (field->count == 1 && (type == LUA_TNUMBER || type == LUA_TBOOLEAN)) {
    put(to, field->offset, type == LUA_TNUMBER ? lua_tonumber(L, -1) : lua_toboolean(L, -1));
  } else {
    lua_complain(L, "%s: field '%s' wants %s, not %s%s", what, field->name,
                 field->count == 1 ? "a number" : "a list of numbers or a tensor",
                 type == LUA_TNIL ? "" : "a ", luaL_typename(L, -1));
  }
}

static void refuse_unknown(lua_State *L, int index, const orr_space *space, const char *what) {
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      lua_complain(L, "%s: fields have names; there is one under [%s]", what,
                   luaL_tolstring(L, -1, NULL));
    const char *name = lua_tostring(L, -1);
    if (orr_space_find(space, name) < 0 && !orr_space_lookup(space, name, "such"))
      lua_complain(L, "%s: %s", what, orr_engine_message(lua_engine(L)));
  }
}

static void read_record(lua_State *L, int index, const orr_space *space, const char *what,
                        numbers to) {
  index = lua_absindex(L, index);
  int fields = orr_space_fields(space), top = lua_gettop(L);
  const orr_field *first = orr_space_field(space, 0);
  bool record = lua_istable(L, index);
  if (record && fields == 1) { /* {torque = 1} or, for a field with axes, its list */
    record = lua_getfield(L, index, first->name) != LUA_TNIL || (lua_geti(L, index, 1) == LUA_TNIL);
    lua_settop(L, top);
  }
  if (!record && fields == 1) {
    lua_pushvalue(L, index);
    read_value(L, first, what, to);
    lua_settop(L, top);
    return;
  }
  if (!record)
    lua_complain(L, "%s: a table of fields is wanted, as in {%s = ...}, not %s%s", what,
                 first->name, lua_isnil(L, index) ? "" : "a ", luaL_typename(L, index));
  for (int i = 0; i < fields; i++) {
    const orr_field *field = orr_space_field(space, i);
    if (lua_getfield(L, index, field->name) == LUA_TNIL) {
      refuse_unknown(L, index, space, what);
      lua_complain(L, "%s: field '%s' is missing", what, field->name);
    }
    read_value(L, field, what, to);
    lua_settop(L, top);
  }
  refuse_unknown(L, index, space, what);
}

void lua_read_record(lua_State *L, int index, const orr_space *space, const char *what,
                     orr_real *values) {
  read_record(L, index, space, what, (numbers){values, NULL});
}

void lua_read_exact_record(lua_State *L, int index, const orr_space *space, const char *what,
                           double *values) {
  read_record(L, index, space, what, (numbers){NULL, values});
}

/* ---- descriptions */

static int read_shape(lua_State *L, int64_t *shape, const char *what, const char *name) {
  if (lua_isinteger(L, -1)) {
    shape[0] = lua_tointeger(L, -1);
    return 1;
  }
  if (!lua_istable(L, -1) || luaL_len(L, -1) > ORR_AXES)
    lua_complain(L, "%s: the shape of field '%s' is a whole number or a list of at most %d of them",
                 what, name, ORR_AXES);
  int axes = (int)luaL_len(L, -1);
  for (int i = 0; i < axes; i++) {
    lua_geti(L, -1, i + 1);
    if (!lua_isinteger(L, -1))
      lua_complain(L, "%s: the shape of field '%s' is made of whole numbers", what, name);
    shape[i] = lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  return axes;
}

static int64_t count_of(const orr_field *field) {
  int64_t count = 1;
  for (int i = 0; i < field->axes; i++)
    count =
        field->shape[i] < 1 || field->shape[i] > (1 << 26) / count ? 0 : count * field->shape[i];
  return count; /* 0: orr_space_new will say what is wrong */
}

/* Bounds of the field whose description is at -1: a number for all, or a list. The memory is left
   on the stack below it. */
static const orr_real *read_bound(lua_State *L, const orr_field *field, const char *name,
                                  const char *what) {
  int64_t count = count_of(field);
  if (lua_getfield(L, -1, name) == LUA_TNIL || count == 0) {
    lua_pop(L, 1);
    return NULL;
  }
  orr_real *bounds = lua_newuserdatauv(L, (size_t)count * sizeof *bounds, 0);
  lua_insert(L, -3); /* memory, description, bound */
  if (lua_type(L, -1) == LUA_TNUMBER) {
    for (int64_t i = 0; i < count; i++) bounds[i] = (orr_real)lua_tonumber(L, -1);
  } else {
    orr_field flat = *field;
    flat.offset = 0;
    flat.count = count;
    const char *message = lua_pushfstring(L, "%s, %s bound", what, name);
    lua_insert(L, -2);
    read_value(L, &flat, message, (numbers){bounds, NULL});
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return bounds;
}

/* The description at the top: "name" or {"name", shape, low =, high =, n =, dtype =}. Leaves memory
   of bounds below it. */
static void read_field(lua_State *L, orr_field *field, const char *what) {
  static const char *const known[] = {"name", "shape", "low", "high", "n", "dtype", NULL};
  static const char *const dtypes[] = {"real", "byte", "int", NULL};
  if (lua_type(L, -1) == LUA_TSTRING) {
    field->name = lua_tostring(L, -1);
    return;
  }
  if (!lua_istable(L, -1))
    lua_complain(L, "%s: a field is described as {\"name\", low = -1, high = 1}, not by a %s", what,
                 luaL_typename(L, -1));
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    if (lua_isinteger(L, -1) && (lua_tointeger(L, -1) == 1 || lua_tointeger(L, -1) == 2)) continue;
    if (lua_type(L, -1) == LUA_TSTRING && orr_nearest_name(lua_tostring(L, -1), known, 6) &&
        strcmp(orr_nearest_name(lua_tostring(L, -1), known, 6), lua_tostring(L, -1)) == 0)
      continue;
    lua_complain(L, "%s: a field has name, shape, low, high, n and dtype, not '%s'", what,
                 luaL_tolstring(L, -1, NULL));
  }
  if (lua_getfield(L, -1, "name") == LUA_TNIL) lua_geti(L, -2, 1), lua_remove(L, -2);
  if (lua_type(L, -1) != LUA_TSTRING)
    lua_complain(L, "%s: a field has no name, as in {\"velocity\", low = -8, high = 8}", what);
  field->name = lua_tostring(L, -1);
  lua_pop(L, 1);
  if (lua_getfield(L, -1, "shape") == LUA_TNIL) lua_geti(L, -2, 2), lua_remove(L, -2);
  if (!lua_isnil(L, -1)) field->axes = read_shape(L, field->shape, what, field->name);
  lua_pop(L, 1);
  field->n = lua_option_integer(L, -1, "n", 0, 0, 1 << 24);
  field->dtype = (orr_dtype)lua_option_choice(L, -1, "dtype", ORR_REAL, dtypes);
  field->low = read_bound(L, field, "low", what);
  field->high = read_bound(L, field, "high", what);
}

int lua_push_space(lua_State *L, orr_space *space) {
  if (!space) {
    lua_pushnil(L);
    return 1;
  }
  lua_handle *handle = lua_new_handle(L, &lua_space_class);
  return lua_fill(L, handle, orr_space_retain(space));
}

orr_space *lua_make_space(lua_State *L, int index, const char *what) {
  orr_space *ready = lua_test_object(L, index, &lua_space_class);
  if (ready) {
    lua_pushvalue(L, index);
    return ready;
  }
  index = lua_absindex(L, index);
  if (lua_type(L, index) != LUA_TTABLE || luaL_len(L, index) < 1)
    lua_complain(L,
                 "%s: a list of fields is wanted, as in { {\"position\"}, {\"velocity\", low = -8, "
                 "high = 8} }",
                 what);
  int top = lua_gettop(L), count = (int)luaL_len(L, index);
  orr_field *fields = lua_newuserdatauv(L, (size_t)count * sizeof *fields, 0);
  memset(fields, 0, (size_t)count * sizeof *fields);
  for (int i = 0; i < count; i++) {
    luaL_checkstack(L, 12, what);
    lua_geti(L, index, i + 1);
    read_field(L, &fields[i], what);
  }
  orr_space *space = orr_space_new(lua_engine(L), fields, count);
  if (!space) lua_complain(L, "%s: %s", what, orr_engine_message(lua_engine(L)));
  lua_push_object(L, &lua_space_class, space);
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return space;
}

/* ---- the class */

/*** orrery.space(fields): named fields. A field is "name" or {"name", shape, low =, high =, n =,
dtype =}: shape a whole number or a list (none: a single number), bounds a number or a list, n for
whole values 0 .. n-1, dtype "real", "byte" or "int" for how replay keeps it. Bad names, shapes and
bounds are errors. A space has names, size and fields. */
static int new_space(lua_State *L) {
  lua_settop(L, 1);
  lua_make_space(L, 1, "space");
  return 1;
}

static orr_space *check_space(lua_State *L) { return lua_check_object(L, 1, &lua_space_class); }

static orr_real *new_values(lua_State *L, const orr_space *space) {
  return lua_newuserdatauv(L, (size_t)orr_space_size(space) * sizeof(orr_real), 0);
}

/*** space:sample(stream): a record drawn uniformly within bounds, normal where there are none, from
an orrery.stream, or without one from the engine's random numbers. */
static int sample(lua_State *L) {
  orr_space *space = check_space(L);
  orr_random *stream = lua_isnoneornil(L, 2) ? orr_engine_random(lua_engine(L))
                                             : luaL_checkudata(L, 2, "orrery.stream");
  orr_real *values = new_values(L, space);
  orr_space_sample(space, stream, values);
  lua_push_record(L, space, values);
  return 1;
}

/*** space:clip(record): the record with every value moved into its bounds. */
static int clip(lua_State *L) {
  orr_space *space = check_space(L);
  lua_settop(L, 2);
  orr_real *values = new_values(L, space);
  lua_read_record(L, 2, space, "clip", values);
  orr_space_clip(space, values);
  lua_push_record(L, space, values);
  return 1;
}

/*** space:contains(record): whether every value is finite and within its bounds; if not, also the
name of the first that is not. */
static int contains(lua_State *L) {
  orr_space *space = check_space(L);
  lua_settop(L, 2);
  orr_real *values = new_values(L, space);
  lua_read_record(L, 2, space, "contains", values);
  int64_t bad = orr_space_first_outside(space, values, 0);
  if (bad < 0) bad = orr_space_first_non_finite(space, values);
  char name[128];
  lua_pushboolean(L, bad < 0);
  if (bad < 0) return 1;
  lua_pushstring(L, orr_space_element_name(space, bad, name, sizeof name));
  return 2;
}

/*** space:flatten(record): a tensor of all its numbers, field after field. */
static int flatten(lua_State *L) {
  orr_space *space = check_space(L);
  lua_settop(L, 2);
  int64_t size = orr_space_size(space);
  orr_real *values = new_values(L, space);
  lua_read_record(L, 2, space, "flatten", values);
  return lua_push_object(L, &lua_tensor_class, orr_tensor_from(lua_engine(L), 1, &size, values));
}

/*** space:record(tensor): the reverse of flatten: a table of values by field name. */
static int record(lua_State *L) {
  orr_space *space = check_space(L);
  lua_settop(L, 2);
  orr_field all = {.name = "record", .count = orr_space_size(space)};
  orr_real *values = new_values(L, space);
  read_tensor(L, lua_check_tensor(L, 2), &all, "record", (numbers){values, NULL});
  lua_push_record(L, space, values);
  return 1;
}

static void push_bounds(lua_State *L, const orr_field *field, const orr_real *bounds) {
  if (field->axes) push_tensor(L, field, bounds);
  else lua_pushnumber(L, (double)bounds[0]);
}

static void push_field(lua_State *L, const orr_field *field) {
  lua_createtable(L, 0, 6);
  lua_pushstring(L, field->name);
  lua_setfield(L, -2, "name");
  lua_createtable(L, field->axes, 0);
  for (int i = 0; i < field->axes; i++) {
    lua_pushinteger(L, field->shape[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "shape");
  push_bounds(L, field, field->low);
  lua_setfield(L, -2, "low");
  push_bounds(L, field, field->high);
  lua_setfield(L, -2, "high");
  lua_pushinteger(L, field->count);
  lua_setfield(L, -2, "count");
  lua_pushstring(L, orr_dtype_name(field->dtype));
  lua_setfield(L, -2, "dtype");
  if (!field->n) return;
  lua_pushinteger(L, field->n);
  lua_setfield(L, -2, "n");
}

/*** space:field(name): what is known of a field: name, shape, low, high, count, dtype, and n where
it is discrete. An unknown name is an error. */
static int field_of(lua_State *L) {
  const orr_field *field = orr_space_lookup(check_space(L), luaL_checkstring(L, 2), "such");
  if (!field) return lua_raise(L);
  push_field(L, field);
  return 1;
}

static int index_space(lua_State *L) {
  orr_space *space = check_space(L);
  const char *key = luaL_checkstring(L, 2);
  int count = orr_space_fields(space);
  lua_pushvalue(L, 2);
  if (lua_gettable(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (strcmp(key, "size") == 0) {
    lua_pushinteger(L, orr_space_size(space));
    return 1;
  }
  bool names = strcmp(key, "names") == 0;
  if (!names && strcmp(key, "fields") != 0)
    return lua_complain(L, "a space has no '%s'; it has names, fields and size", key);
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    const orr_field *field = orr_space_field(space, i);
    if (names) lua_pushstring(L, field->name);
    else push_field(L, field);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int equal_spaces(lua_State *L) {
  orr_space *a = lua_test_object(L, 1, &lua_space_class),
            *b = lua_test_object(L, 2, &lua_space_class);
  lua_pushboolean(L, a && b && orr_space_equal(a, b));
  return 1;
}

static int space_text(lua_State *L) {
  char text[600];
  lua_pushfstring(L, "space(%s)", orr_space_describe(check_space(L), text, sizeof text));
  return 1;
}

static const luaL_Reg methods[] = {{"sample", sample},   {"clip", clip},     {"contains", contains},
                                   {"flatten", flatten}, {"record", record}, {"field", field_of},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__index", index_space},
                                       {"__eq", equal_spaces},
                                       {"__tostring", space_text},
                                       {NULL, NULL}};

const lua_class lua_space_class = {"orrery.space", "space", free_space, methods, metamethods};

void open_space(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"space", new_space}, {NULL, NULL}};
  lua_new_class(L, &lua_space_class);
  lua_add_functions(L, module, functions);
}
