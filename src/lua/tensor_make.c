/* tensor_make.c - tensors from sizes: constants, ramps, draws. Sizes are whole numbers or one table
   of them; none gives a tensor without axes. */
#include "lua/tensor.h"

/* The dtype named by the last argument, when that is a string; it is taken off the stack. */
static orr_dtype take_dtype(lua_State *L) {
  static const char *const names[] = {"real", "byte", "int", NULL};
  static const orr_dtype dtypes[] = {ORR_REAL, ORR_BYTE, ORR_INT};
  int top = lua_gettop(L);
  if (top == 0 || lua_type(L, top) != LUA_TSTRING) return ORR_REAL;
  orr_dtype dtype = dtypes[luaL_checkoption(L, top, NULL, names)];
  lua_settop(L, top - 1);
  return dtype;
}

static int push_filled(lua_State *L, int first_size, double value) {
  int64_t shape[ORR_AXES];
  orr_dtype dtype = take_dtype(L);
  int axes = lua_check_shape(L, first_size, shape);
  return lua_push_tensor(L, orr_tensor_full(lua_engine(L), dtype, axes, shape, value));
}

/*** orrery.zeros(sizes..., dtype): a tensor of zeros; sizes are numbers or one table of them.
dtype: "real" (the default), "byte" or "int". Sizes too large for memory are an error. */
static int make_zeros(lua_State *L) { return push_filled(L, 1, 0); }

/*** orrery.ones(sizes..., dtype): a tensor of ones. */
static int make_ones(lua_State *L) { return push_filled(L, 1, 1); }

/*** orrery.full(value, sizes..., dtype): a tensor of one value. */
static int make_full(lua_State *L) { return push_filled(L, 2, luaL_checknumber(L, 1)); }

/*** orrery.eye(n): the n x n identity matrix. */
static int make_eye(lua_State *L) {
  return lua_push_tensor(L, orr_tensor_eye(lua_engine(L), luaL_checkinteger(L, 1)));
}

/*** orrery.arange(first, last, step): first, first + step ... up to last, which is included when it
is met, as in a Lua for loop; step is 1 by default. arange(n) is 1 .. n. */
static int make_arange(lua_State *L) {
  double first = luaL_checknumber(L, 1), last = luaL_optnumber(L, 2, first),
         step = luaL_optnumber(L, 3, 1);
  if (lua_isnoneornil(L, 2)) first = 1;
  /* Half a step more lets rounding neither drop the last one nor add another. */
  double stop = step == 0 ? last : last + step * 1e-9 + (step > 0 ? 1e-300 : -1e-300);
  return lua_push_tensor(L, orr_tensor_arange(lua_engine(L), first, stop, step));
}

/*** orrery.linspace(first, last, count): count numbers evenly from first to last, both included. */
static int make_linspace(lua_State *L) {
  double first = luaL_checknumber(L, 1), last = luaL_checknumber(L, 2);
  return lua_push_tensor(L,
                         orr_tensor_linspace(lua_engine(L), first, last, luaL_checkinteger(L, 3)));
}

/*** orrery.randn(sizes...): independent standard normal draws from the engine's stream. */
static int make_randn(lua_State *L) {
  int64_t shape[ORR_AXES];
  int axes = lua_check_shape(L, 1, shape);
  return lua_push_tensor(L, orr_tensor_normal(lua_engine(L), axes, shape, 0, 1));
}

/*** orrery.rand(sizes...): independent draws, uniform in [0, 1). */
static int make_rand(lua_State *L) {
  int64_t shape[ORR_AXES];
  int axes = lua_check_shape(L, 1, shape);
  return lua_push_tensor(L, orr_tensor_uniform(lua_engine(L), axes, shape, 0, 1));
}

/*** orrery.randint(low, high, sizes...): an int tensor of whole numbers low .. high, both
included. */
static int make_randint(lua_State *L) {
  int64_t shape[ORR_AXES];
  lua_Integer low = luaL_checkinteger(L, 1), high = luaL_checkinteger(L, 2);
  int axes = lua_check_shape(L, 3, shape);
  return lua_push_tensor(L, orr_tensor_integers(lua_engine(L), axes, shape, low, high));
}

/*** orrery.permutation(n): 1 .. n in random order, as an int tensor: indices for gather. */
static int make_permutation(lua_State *L) {
  lua_push_tensor(L, orr_tensor_permutation(lua_engine(L), luaL_checkinteger(L, 1)));
  orr_tensor *x = lua_check_tensor(L, -1);
  int32_t *values = orr_tensor_data(x);
  for (int64_t i = 0; i < orr_tensor_count(x); i++) values[i]++;
  return 1;
}

void lua_add_tensor_makers(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"zeros", make_zeros},
                                       {"ones", make_ones},
                                       {"full", make_full},
                                       {"eye", make_eye},
                                       {"arange", make_arange},
                                       {"linspace", make_linspace},
                                       {"randn", make_randn},
                                       {"rand", make_rand},
                                       {"randint", make_randint},
                                       {"permutation", make_permutation},
                                       {NULL, NULL}};
  lua_add_functions(L, module, functions);
}
