/* tensor_shapes.c - other shapes and parts of tensors, joins, copies and writing in place. */
#include "lua/tensor.h"

/*** tensor:reshape(sizes...): the same numbers in another shape; one size may be -1: whatever is
left. A view where the memory allows. */
static int shape_reshape(lua_State *L) {
  if (lua_call_foreign(L, "reshape", 1)) return 1;
  int64_t shape[ORR_AXES];
  orr_tensor *x = lua_to_tensor(L, 1);
  int axes = lua_check_shape(L, 2, shape);
  return lua_push_tensor(L, orr_tensor_reshape(x, axes, shape));
}

/*** tensor:flatten(): all numbers in one axis. */
static int shape_flatten(lua_State *L) {
  if (lua_call_foreign(L, "flatten", 1)) return 1;
  return lua_push_tensor(L, orr_tensor_reshape(lua_to_tensor(L, 1), 1, (int64_t[]){-1}));
}

/*** tensor:broadcast(sizes...): a view that repeats axes of length 1, as NumPy does. */
static int shape_broadcast(lua_State *L) {
  if (lua_call_foreign(L, "broadcast", 1)) return 1;
  int64_t shape[ORR_AXES];
  orr_tensor *x = lua_to_tensor(L, 1);
  int axes = lua_check_shape(L, 2, shape);
  return lua_push_tensor(L, orr_tensor_broadcast(x, axes, shape));
}

/*** tensor:transpose(axes...): a view with the axes in another order: axis i of the result is the
i-th axis named; without arguments the last two change places. */
static int shape_transpose(lua_State *L) {
  if (lua_call_foreign(L, "transpose", 1)) return 1;
  int64_t axes[ORR_AXES];
  int order[ORR_AXES];
  orr_tensor *x = lua_to_tensor(L, 1);
  int count = lua_check_shape(L, 2, axes);
  if (count == 0) return lua_push_tensor(L, orr_tensor_transpose(x, NULL));
  if (count != orr_tensor_axes(x))
    return lua_complain(L, "transpose names %d axes of a tensor that has %d", count,
                        orr_tensor_axes(x));
  for (int i = 0; i < count; i++) {
    if (axes[i] == 0 || axes[i] > count || axes[i] < -count)
      return lua_complain(L, "transpose: no axis %I: there are %d", (lua_Integer)axes[i], count);
    order[i] = axes[i] > 0 ? (int)axes[i] - 1 : (int)axes[i];
  }
  return lua_push_tensor(L, orr_tensor_transpose(x, order));
}

/*** tensor:slice(first, last, axis, step): a view of entries first .. last, both included, of an
axis (the first by default), every step-th; negative ones count from the end, last is -1 by
default. */
static int shape_slice(lua_State *L) {
  if (lua_call_foreign(L, "slice", 1)) return 1;
  orr_tensor *x = lua_to_tensor(L, 1);
  if (orr_tensor_axes(x) == 0) return lua_complain(L, "slice: a number has no axes");
  int axis = lua_check_axis(L, 4, orr_tensor_axes(x), 0);
  return lua_push_range(L, x, axis, luaL_checkinteger(L, 2), luaL_optinteger(L, 3, -1),
                        luaL_optinteger(L, 5, 1));
}

/*** tensor:insert_axis(axis): a view with one more axis, of length 1, at that place (the first by
default; -1: behind the last). */
static int shape_insert_axis(lua_State *L) {
  if (lua_call_foreign(L, "insert_axis", 1)) return 1;
  orr_tensor *x = lua_to_tensor(L, 1);
  int axis = lua_check_axis(L, 2, orr_tensor_axes(x) + 1, 0);
  return lua_push_tensor(L, orr_tensor_insert_axis(x, axis));
}

/* Joins: a list of tensors, tables and numbers, at 1; parts[i] stay anchored in the list's copy,
   left at the stack's index 3. Returns false when a symbol's method gave the result instead. */
static bool read_parts(lua_State *L, const char *name, bool numbers_have_axis,
                       const orr_tensor ***parts, int *count) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  int n = (int)luaL_len(L, 1);
  if (n == 0) lua_complain(L, "%s: there is nothing in the list", name);
  for (int i = 1; i <= n; i++) {
    lua_geti(L, 1, i);
    if (lua_push_foreign_method(L, -1, name)) {
      lua_pushvalue(L, 1);
      lua_pushvalue(L, 2);
      lua_call(L, 2, 1);
      return false;
    }
    lua_pop(L, 1);
  }
  lua_createtable(L, n, 0);
  *parts = lua_newuserdatauv(L, (size_t)n * sizeof **parts, 0);
  for (int i = 1; i <= n; i++) {
    lua_geti(L, 1, i);
    bool number = lua_type(L, -1) == LUA_TNUMBER;
    if (!number && lua_type(L, -1) != LUA_TTABLE && !lua_test_tensor(L, -1))
      lua_complain(L, "%s: part %d is a %s, not a tensor or number", name, i, luaL_typename(L, -1));
    lua_to_tensor(L, -1);
    if (number && numbers_have_axis) {
      lua_push_tensor(L, orr_tensor_insert_axis(lua_check_tensor(L, -1), 0));
      lua_remove(L, -2);
    }
    (*parts)[i - 1] = lua_check_tensor(L, -1);
    lua_rawseti(L, 3, i);
  }
  *count = n;
  return true;
}

/*** orrery.concat(list, axis): joins tensors along one of their axes (the first by default); other
sizes must agree. Numbers count as vectors of one. */
static int join_concat(lua_State *L) {
  const orr_tensor **parts;
  int count;
  if (!read_parts(L, "concat", true, &parts, &count)) return 1;
  int axis = lua_check_axis(L, 2, orr_tensor_axes(parts[0]), 0);
  return lua_push_tensor(L, orr_tensor_concat(parts, count, axis));
}

/*** orrery.stack(list, axis): joins tensors of one shape along a new axis (the first by
default). */
static int join_stack(lua_State *L) {
  const orr_tensor **parts;
  int count;
  if (!read_parts(L, "stack", false, &parts, &count)) return 1;
  int axis = lua_check_axis(L, 2, orr_tensor_axes(parts[0]) + 1, 0);
  return lua_push_tensor(L, orr_tensor_stack(parts, count, axis));
}

/*** tensor:copy(): the same numbers in memory of their own. */
static int tensor_copy(lua_State *L) {
  return lua_push_tensor(L, orr_tensor_copy(lua_check_tensor(L, 1)));
}

/*** tensor:to(dtype): a copy as "real", "byte" or "int"; rounded (halves to even) and clipped to
the range, NaN to 0. */
static int tensor_to(lua_State *L) {
  static const char *const names[] = {"real", "byte", "int", NULL};
  static const orr_dtype dtypes[] = {ORR_REAL, ORR_BYTE, ORR_INT};
  orr_tensor *x = lua_check_tensor(L, 1);
  return lua_push_tensor(L, orr_tensor_convert(x, dtypes[luaL_checkoption(L, 2, NULL, names)]));
}

/*** tensor:assign(y): writes y, which broadcasts, into the tensor (and all its views); returns
it. */
static int tensor_assign(lua_State *L) {
  orr_tensor *x = lua_check_tensor(L, 1);
  lua_check_status(L, orr_tensor_assign(x, lua_to_tensor(L, 2)));
  lua_settop(L, 1);
  return 1;
}

/*** tensor:fill(value): writes one number everywhere; returns the tensor. */
static int tensor_fill(lua_State *L) {
  lua_check_status(L, orr_tensor_fill(lua_check_tensor(L, 1), luaL_checknumber(L, 2)));
  lua_settop(L, 1);
  return 1;
}

/*** tensor:all_finite(): whether no number is infinite or NaN. */
static int tensor_all_finite(lua_State *L) {
  lua_pushboolean(L, orr_tensor_all_finite(lua_check_tensor(L, 1)));
  return 1;
}

/*** tensor:same(y): whether shapes and all numbers are the same, NaN equal to NaN. (== is for
tensors of one number; rawequal asks whether they are one and the same tensor.) */
static int tensor_same(lua_State *L) {
  orr_tensor *x = lua_check_tensor(L, 1);
  lua_pushboolean(L, orr_tensor_same(x, lua_to_tensor(L, 2)));
  return 1;
}

/*** tensor:close_to(y, tolerance): whether shapes are the same and numbers x, y differ by no more
than tolerance * (1 + |y|); 1e-5 by default. */
static int tensor_close_to(lua_State *L) {
  orr_tensor *x = lua_check_tensor(L, 1), *y = lua_to_tensor(L, 2);
  lua_pushboolean(L, orr_tensor_close(x, y, luaL_optnumber(L, 3, 1e-5)));
  return 1;
}

/*** tensor:stop_gradient(): the tensor itself; of symbols, a constant to gradients. */
static int tensor_stop_gradient(lua_State *L) {
  lua_check_tensor(L, 1);
  lua_settop(L, 1);
  return 1;
}

static const luaL_Reg everywhere[] = {{"reshape", shape_reshape},
                                      {"flatten", shape_flatten},
                                      {"broadcast", shape_broadcast},
                                      {"transpose", shape_transpose},
                                      {"slice", shape_slice},
                                      {"insert_axis", shape_insert_axis},
                                      {NULL, NULL}};

static const luaL_Reg methods_only[] = {{"copy", tensor_copy},
                                        {"to", tensor_to},
                                        {"assign", tensor_assign},
                                        {"fill", tensor_fill},
                                        {"stop_gradient", tensor_stop_gradient},
                                        {"all_finite", tensor_all_finite},
                                        {"same", tensor_same},
                                        {"close_to", tensor_close_to},
                                        {NULL, NULL}};

static const luaL_Reg module_only[] = {{"concat", join_concat},
                                       {"stack", join_stack},
                                       {NULL, NULL}};

void lua_add_tensor_shapes(lua_State *L, int module) {
  lua_push_methods(L, &lua_tensor_class);
  luaL_setfuncs(L, everywhere, 0);
  luaL_setfuncs(L, methods_only, 0);
  lua_pop(L, 1);
  lua_add_functions(L, module, everywhere);
  lua_add_functions(L, module, module_only);
}
