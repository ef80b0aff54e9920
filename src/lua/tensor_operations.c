/* tensor_operations.c - what is done with tensors: one function per row of ops.def, and the
   structured ones. Each stands in the module (orrery.tanh(x)) and among the methods (x:tanh()),
   takes numbers as well, and passes on to the method of that name when an argument is a symbol, so
   that a function written with them runs on numbers, tensors and symbols alike. */
#include "lua/tensor.h"

#include <math.h>

/* Rows of ops.def. */

static int apply_unary(lua_State *L, const char *name, double (*on_number)(double),
                       orr_tensor *(*on_tensor)(const orr_tensor *)) {
  if (lua_type(L, 1) == LUA_TNUMBER) {
    lua_pushnumber(L, on_number(lua_tonumber(L, 1)));
    return 1;
  }
  if (lua_call_foreign(L, name, 1)) return 1;
  return lua_push_result(L, on_tensor(lua_to_tensor(L, 1)));
}

static int apply_binary(lua_State *L, const char *name, double (*on_numbers)(double, double),
                        orr_tensor *(*on_tensors)(const orr_tensor *, const orr_tensor *)) {
  if (lua_type(L, 1) == LUA_TNUMBER && lua_type(L, 2) == LUA_TNUMBER) {
    lua_pushnumber(L, on_numbers(lua_tonumber(L, 1), lua_tonumber(L, 2)));
    return 1;
  }
  if (lua_call_foreign(L, name, 2)) return 1;
  orr_tensor *a = lua_to_tensor(L, 1), *b = lua_to_tensor(L, 2);
  return lua_push_result(L, on_tensors(a, b));
}

#define UNARY(name, ...)                                                \
  static int apply_##name(lua_State *L) {                               \
    return apply_unary(L, #name, orr_number_##name, orr_tensor_##name); \
  }
#define BINARY(name, ...)                                                \
  static int apply_##name(lua_State *L) {                                \
    return apply_binary(L, #name, orr_number_##name, orr_tensor_##name); \
  }
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED

/* Arguments. */

/* Passes to a symbol's method, or gives the first argument as a tensor; NULL: the result is
   there. */
static orr_tensor *tensor_or_foreign(lua_State *L, const char *name, int count) {
  if (lua_call_foreign(L, name, count)) return NULL;
  return lua_to_tensor(L, 1);
}

/* Indices become what a script counts: from 1. */
static int push_indices(lua_State *L, orr_tensor *x) {
  if (!x) return lua_raise(L);
  int32_t *values = orr_tensor_data(x); /* fresh and contiguous */
  for (int64_t i = 0; i < orr_tensor_count(x); i++) values[i]++;
  return lua_push_result(L, x);
}

/* Pushes the indices at `index` as the C API counts: from 0. */
static orr_tensor *push_from_zero(lua_State *L, int index) {
  orr_tensor *x = lua_to_tensor(L, index);
  if (orr_tensor_dtype(x) == ORR_REAL) {
    lua_push_tensor(L, orr_tensor_number(lua_engine(L), 1));
    return lua_push_tensor(L, orr_tensor_sub(x, lua_check_tensor(L, -1))), lua_check_tensor(L, -1);
  }
  lua_push_tensor(L, orr_tensor_convert(x, ORR_INT));
  x = lua_check_tensor(L, -1);
  int32_t *values = orr_tensor_data(x);
  for (int64_t i = 0; i < orr_tensor_count(x); i++) values[i]--;
  return x;
}

/* Reductions: name(x, axis, keep); no axis: over everything. Of a number: as it comes. */

typedef orr_tensor *(*reduction)(const orr_tensor *, int axis, bool keep);

static int reduce(lua_State *L, const char *name, reduction function) {
  orr_tensor *x = tensor_or_foreign(L, name, 1);
  if (!x) return 1;
  int axis = lua_check_axis(L, 2, orr_tensor_axes(x), ORR_ALL_AXES);
  return lua_push_result(L, function(x, axis, lua_toboolean(L, 3)));
}

/* As reduce; a number is its own sum, mean and extreme. */
static int reduce_or_same(lua_State *L, const char *name, reduction function) {
  if (lua_type(L, 1) != LUA_TNUMBER) return reduce(L, name, function);
  lua_settop(L, 1);
  return 1;
}

/*** orrery.sum(x, axis, keep): the sum along an axis, over everything without one. keep: the axis
stays, with length 1. All reductions take these arguments. */
static int apply_sum(lua_State *L) { return reduce_or_same(L, "sum", orr_tensor_sum); }

/*** orrery.mean(x, axis, keep): the mean along an axis, or of everything; of nothing: an error. */
static int apply_mean(lua_State *L) { return reduce_or_same(L, "mean", orr_tensor_mean); }

/*** orrery.max_along(x, axis, keep): the greatest along an axis, or of everything; NaN if one is.
x:max() without arguments is the same; x:max(y) is number by number. */
static int apply_max_along(lua_State *L) {
  return reduce_or_same(L, "max_along", orr_tensor_max_along);
}

/*** orrery.min_along(x, axis, keep): the least along an axis, or of everything; NaN if one is. */
static int apply_min_along(lua_State *L) {
  return reduce_or_same(L, "min_along", orr_tensor_min_along);
}

/*** orrery.logsumexp(x, axis, keep): log of the sum of exp(x), without overflow. */
static int apply_logsumexp(lua_State *L) {
  return reduce_or_same(L, "logsumexp", orr_tensor_logsumexp);
}

/*** orrery.norm(x, axis, keep): Euclidean norm: the root of the sum of squares. */
static int apply_norm(lua_State *L) {
  if (lua_type(L, 1) != LUA_TNUMBER) return reduce(L, "norm", orr_tensor_norm);
  lua_pushnumber(L, fabs(lua_tonumber(L, 1)));
  return 1;
}

static int spread_of(lua_State *L, const char *name, bool root) {
  orr_tensor *x = tensor_or_foreign(L, name, 1);
  if (!x) return 1;
  int axis = lua_check_axis(L, 2, orr_tensor_axes(x), ORR_ALL_AXES);
  int correction = (int)luaL_optinteger(L, 4, 0);
  return lua_push_result(L, root ? orr_tensor_std(x, axis, lua_toboolean(L, 3), correction)
                                 : orr_tensor_variance(x, axis, lua_toboolean(L, 3), correction));
}

/*** orrery.variance(x, axis, keep, correction): mean squared distance from the mean; n - correction
divides, correction being 0 by default. */
static int apply_variance(lua_State *L) { return spread_of(L, "variance", false); }

/*** orrery.std(x, axis, keep, correction): the root of the variance. */
static int apply_std(lua_State *L) { return spread_of(L, "std", true); }

/* x:max() is over everything, x:max(y) the row of ops.def. */
static int apply_any_max(lua_State *L) {
  return lua_isnoneornil(L, 2) ? apply_max_along(L) : apply_max(L);
}
static int apply_any_min(lua_State *L) {
  return lua_isnoneornil(L, 2) ? apply_min_along(L) : apply_min(L);
}

static int arg_extreme(lua_State *L, const char *name, reduction function) {
  orr_tensor *x = tensor_or_foreign(L, name, 1);
  if (!x) return 1;
  int axis = lua_check_axis(L, 2, orr_tensor_axes(x), -1);
  return push_indices(L, function(x, axis, lua_toboolean(L, 3)));
}

/*** orrery.argmax(x, axis, keep): where the greatest is along an axis (the last by default),
counted from 1; the first of equals, NaN ranking last. A vector gives a whole number. */
static int apply_argmax(lua_State *L) { return arg_extreme(L, "argmax", orr_tensor_argmax); }

/*** orrery.argmin(x, axis, keep): where the least is along an axis (the last by default). */
static int apply_argmin(lua_State *L) { return arg_extreme(L, "argmin", orr_tensor_argmin); }

/* Along one axis, the last by default, keeping the shape. */

static int along(lua_State *L, const char *name, orr_tensor *(*function)(const orr_tensor *, int)) {
  orr_tensor *x = tensor_or_foreign(L, name, 1);
  if (!x) return 1;
  return lua_push_result(L, function(x, lua_check_axis(L, 2, orr_tensor_axes(x), -1)));
}

/*** orrery.softmax(x, axis): exp(x) divided by its sum along the axis (the last by default). */
static int apply_softmax(lua_State *L) { return along(L, "softmax", orr_tensor_softmax); }

/*** orrery.sort(x, axis): ascending along the axis (the last by default), NaN last. */
static int apply_sort(lua_State *L) { return along(L, "sort", orr_tensor_sort); }

/*** orrery.argsort(x, axis): the indices, from 1, that sort the axis (the last by default); equal
values keep their order, NaN last. */
static int apply_argsort(lua_State *L) {
  orr_tensor *x = tensor_or_foreign(L, "argsort", 1);
  if (!x) return 1;
  return push_indices(L, orr_tensor_argsort(x, lua_check_axis(L, 2, orr_tensor_axes(x), -1)));
}

/*** orrery.cumsum(x, axis, backwards): running sum along the axis (the last by default), from its
end when backwards is true. */
static int apply_cumsum(lua_State *L) {
  orr_tensor *x = tensor_or_foreign(L, "cumsum", 1);
  if (!x) return 1;
  int axis = lua_check_axis(L, 2, orr_tensor_axes(x), -1);
  return lua_push_result(L, orr_tensor_cumsum(x, axis, lua_toboolean(L, 3)));
}

/* Products. */

static int product(lua_State *L, const char *name,
                   orr_tensor *(*function)(const orr_tensor *, const orr_tensor *)) {
  if (lua_call_foreign(L, name, 2)) return 1;
  orr_tensor *a = lua_to_tensor(L, 1), *b = lua_to_tensor(L, 2);
  return lua_push_result(L, function(a, b));
}

/*** orrery.matmul(a, b): matrix product on the last two axes, axes before them broadcasting; a
vector is a row on the left and a column on the right. Inner lengths that differ are an error. */
static int apply_matmul(lua_State *L) { return product(L, "matmul", orr_tensor_matmul); }

/*** orrery.dot(a, b): the sum of a * b along the last axis. */
static int apply_dot(lua_State *L) {
  if (lua_type(L, 1) == LUA_TNUMBER && lua_type(L, 2) == LUA_TNUMBER) return apply_mul(L);
  return product(L, "dot", orr_tensor_dot);
}

/*** orrery.outer(a, b): of vectors of m and n numbers the m x n products. */
static int apply_outer(lua_State *L) { return product(L, "outer", orr_tensor_outer); }

/*** orrery.solve(A, b): x of A x = b for a small n x n matrix and b of n or n x m; a singular
matrix is an error. */
static int apply_solve(lua_State *L) { return product(L, "solve", orr_tensor_solve); }

/* Choice. */

/*** orrery.where(condition, a, b): a where the condition is not 0 (or is true), else b; shapes
broadcast. orrery.select is the same function. */
static int apply_where(lua_State *L) {
  int kind = lua_type(L, 1);
  bool plain = lua_type(L, 2) == LUA_TNUMBER && lua_type(L, 3) == LUA_TNUMBER;
  if (kind == LUA_TBOOLEAN || (kind == LUA_TNUMBER && plain)) {
    bool yes = kind == LUA_TBOOLEAN ? lua_toboolean(L, 1) : lua_tonumber(L, 1) != 0;
    luaL_checkany(L, 3);
    lua_pushvalue(L, yes ? 2 : 3);
    return 1;
  }
  if (lua_call_foreign(L, "where", 3)) return 1;
  orr_tensor *condition = lua_to_tensor(L, 1), *a = lua_to_tensor(L, 2), *b = lua_to_tensor(L, 3);
  return lua_push_result(L, orr_tensor_select(condition, a, b));
}

/*** orrery.clamp(x, low, high): x, but no less than low and no more than high; NaN stays. */
static int apply_clamp(lua_State *L) {
  if (lua_type(L, 1) == LUA_TNUMBER && lua_type(L, 2) == LUA_TNUMBER &&
      lua_type(L, 3) == LUA_TNUMBER) {
    double x = orr_number_max(lua_tonumber(L, 1), lua_tonumber(L, 2));
    lua_pushnumber(L, orr_number_min(x, lua_tonumber(L, 3)));
    return 1;
  }
  if (lua_call_foreign(L, "clamp", 3)) return 1;
  orr_tensor *x = lua_to_tensor(L, 1), *low = lua_to_tensor(L, 2), *high = lua_to_tensor(L, 3);
  return lua_push_result(L, orr_tensor_clamp(x, low, high));
}

/*** orrery.gather(x, index): entries of the first axis by index (a tensor or table of whole numbers
from 1); the result's shape is the index's, then what follows x's first axis. An index outside
1 .. #x is an error. */
static int apply_gather(lua_State *L) {
  if (lua_call_foreign(L, "gather", 2)) return 1;
  orr_tensor *x = lua_to_tensor(L, 1), *index = push_from_zero(L, 2);
  return lua_push_result(L, orr_tensor_gather(x, index));
}

/*** orrery.gather_along(x, index): entries of the last axis by index, one list per vector: x of
... x n and index of ... x k give ... x k. */
static int apply_gather_along(lua_State *L) {
  if (lua_call_foreign(L, "gather_along", 2)) return 1;
  orr_tensor *x = lua_to_tensor(L, 1), *index = push_from_zero(L, 2);
  return lua_push_result(L, orr_tensor_gather_along(x, index));
}

/* The rows of ops.def under their own names. */
static const luaL_Reg rows[] = {
#define UNARY(name, ...) {#name, apply_##name},
#define BINARY(name, ...) {#name, apply_##name},
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
    {NULL, NULL}};

static const luaL_Reg structured[] = {{"sum", apply_sum},
                                      {"mean", apply_mean},
                                      {"max_along", apply_max_along},
                                      {"min_along", apply_min_along},
                                      {"logsumexp", apply_logsumexp},
                                      {"norm", apply_norm},
                                      {"variance", apply_variance},
                                      {"std", apply_std},
                                      {"argmax", apply_argmax},
                                      {"argmin", apply_argmin},
                                      {"softmax", apply_softmax},
                                      {"sort", apply_sort},
                                      {"argsort", apply_argsort},
                                      {"cumsum", apply_cumsum},
                                      {"matmul", apply_matmul},
                                      {"dot", apply_dot},
                                      {"outer", apply_outer},
                                      {"solve", apply_solve},
                                      {"where", apply_where},
                                      {"select", apply_where},
                                      {"clamp", apply_clamp},
                                      {"gather", apply_gather},
                                      {"gather_along", apply_gather_along},
                                      {"max", apply_any_max},
                                      {"min", apply_any_min},
                                      {"maximum", apply_max},
                                      {"minimum", apply_min},
                                      {NULL, NULL}};

static const luaL_Reg operators[] = {
    {"__add", apply_add},        {"__sub", apply_sub}, {"__mul", apply_mul},
    {"__div", apply_div},        {"__pow", apply_pow}, {"__mod", apply_mod},
    {"__idiv", apply_floor_div}, {"__unm", apply_neg}, {NULL, NULL}};

void lua_add_tensor_operations(lua_State *L, int module) {
  lua_push_methods(L, &lua_tensor_class);
  luaL_setfuncs(L, rows, 0);
  luaL_setfuncs(L, structured, 0);
  lua_pop(L, 1);
  lua_add_functions(L, module, rows);
  lua_add_functions(L, module, structured);
  luaL_getmetatable(L, lua_tensor_class.name);
  luaL_setfuncs(L, operators, 0);
  lua_pop(L, 1);
}
