/* symbol_ops.c - the symbol's methods along axes: reductions, sorting, shapes, products, indexing.
   Axes and indices count from 1 as for tensors, negative ones from the end. */
#include <math.h>
#include <string.h>

#include "lua/symbol.h"

/* The symbol at 1 (or whatever becomes one), in the graph of operands 1 .. last. */
typedef struct operand {
  lua_graph *owner;
  orr_graph *g;
  orr_node x;
  int axes;
  const int64_t *shape;
} operand;

static operand operand_of(lua_State *L, int last) {
  operand o;
  o.owner = lua_target_graph(L, 1, last);
  o.g = o.owner->graph;
  o.x = lua_to_node(L, 1, o.owner);
  o.axes = orr_node_axes(o.g, o.x);
  o.shape = orr_node_shape(o.g, o.x);
  return o;
}

static int give(lua_State *L, const operand *o, orr_node node) {
  return lua_push_symbol(L, o->owner, node);
}

static orr_node flat(const operand *o, orr_node x) {
  int64_t count = orr_node_count(o->g, x);
  return orr_reshape(o->g, x, 1, &count);
}

static orr_node add_number(const operand *o, orr_node x, double number) {
  return orr_binary(o->g, ORR_OP_add, x, orr_number(o->g, number));
}

/* ---- reductions: (axis, keep); without an axis, over everything ---- */

typedef orr_node reduction(orr_graph *g, orr_node x, int axis, bool keep);

static int reduce(lua_State *L, reduction *f) {
  operand o = operand_of(L, 1);
  bool keep = lua_toboolean(L, 3);
  if (!lua_isnoneornil(L, 2))
    return give(L, &o, f(o.g, o.x, lua_check_axis(L, 2, o.axes, 0), keep));
  orr_node y = f(o.g, flat(&o, o.x), 0, false);
  int64_t ones[ORR_AXES] = {1, 1, 1, 1, 1, 1, 1, 1};
  return give(L, &o, keep && y != ORR_NONE ? orr_reshape(o.g, y, o.axes, ones) : y);
}

/* Where the extreme is, from 1 on. */
static orr_node first_greatest(orr_graph *g, orr_node x, int axis, bool keep) {
  orr_node y = orr_argmax(g, x, axis);
  if (y == ORR_NONE) return ORR_NONE;
  if (keep) {
    int64_t shape[ORR_AXES];
    int axes = orr_node_axes(g, x);
    memcpy(shape, orr_node_shape(g, x), sizeof shape);
    shape[axis < 0 ? axis + axes : axis] = 1;
    y = orr_reshape(g, y, axes, shape);
  }
  return orr_binary(g, ORR_OP_add, y, orr_number(g, 1));
}

static orr_node first_least(orr_graph *g, orr_node x, int axis, bool keep) {
  return first_greatest(g, orr_unary(g, ORR_OP_neg, x), axis, keep);
}

static orr_node euclidean(orr_graph *g, orr_node x, int axis, bool keep) {
  return orr_unary(g, ORR_OP_sqrt, orr_sum(g, orr_unary(g, ORR_OP_square, x), axis, keep));
}

/*** symbol:sum(axis, keep): along an axis, or of everything; keep leaves the axis with length 1. */
static int symbol_sum(lua_State *L) { return reduce(L, orr_sum); }
/*** symbol:mean(axis, keep): as sum. */
static int symbol_mean(lua_State *L) { return reduce(L, orr_mean); }
/*** symbol:logsumexp(axis, keep): log of the sum of exp, without overflow. */
static int symbol_logsumexp(lua_State *L) { return reduce(L, orr_logsumexp); }
/*** symbol:norm(axis, keep): Euclidean length. */
static int symbol_norm(lua_State *L) { return reduce(L, euclidean); }

static int position(lua_State *L, reduction *f) {
  operand o = operand_of(L, 1);
  return give(L, &o, f(o.g, o.x, lua_check_axis(L, 2, o.axes, -1), lua_toboolean(L, 3)));
}

/*** symbol:argmax(axis, keep): position of the greatest along the axis (the last), from 1; the
first of equals. */
static int symbol_argmax(lua_State *L) { return position(L, first_greatest); }
/*** symbol:argmin(axis, keep): position of the least along the axis (the last), from 1. */
static int symbol_argmin(lua_State *L) { return position(L, first_least); }

static int extreme(lua_State *L, orr_op op, reduction *f) {
  if (lua_isnoneornil(L, 2)) return reduce(L, f);
  lua_graph *owner = lua_target_graph(L, 1, 2);
  orr_node a = lua_to_node(L, 1, owner), b = lua_to_node(L, 2, owner);
  return lua_push_symbol(L, owner, orr_binary(owner->graph, op, a, b));
}

/*** symbol:max(y): the greater of two; without y: the greatest of all. */
static int symbol_max(lua_State *L) { return extreme(L, ORR_OP_max, orr_max_along); }
/*** symbol:min(y): the lesser of two; without y: the least of all. */
static int symbol_min(lua_State *L) { return extreme(L, ORR_OP_min, orr_min_along); }
/*** symbol:max_along(axis, keep): the greatest along an axis. */
static int symbol_max_along(lua_State *L) { return reduce(L, orr_max_along); }
/*** symbol:min_along(axis, keep): the least along an axis. */
static int symbol_min_along(lua_State *L) { return reduce(L, orr_min_along); }

static orr_node variance(lua_State *L, operand *o, int64_t *n) {
  bool keep = lua_toboolean(L, 3), all = lua_isnoneornil(L, 2);
  lua_Number correction = luaL_optnumber(L, 4, 0);
  orr_node x = all ? flat(o, o->x) : o->x;
  int axis = all ? 0 : lua_check_axis(L, 2, o->axes, 0), axes = orr_node_axes(o->g, x);
  *n = orr_node_shape(o->g, x)[axis < 0 ? axis + axes : axis];
  orr_node centred = orr_binary(o->g, ORR_OP_sub, x, orr_mean(o->g, x, axis, true));
  orr_node squares = orr_sum(o->g, orr_unary(o->g, ORR_OP_square, centred), axis, keep && !all);
  return orr_binary(o->g, ORR_OP_div, squares, orr_number(o->g, (double)*n - correction));
}

/*** symbol:variance(axis, keep, correction): mean squared distance from the mean. */
static int symbol_variance(lua_State *L) {
  operand o = operand_of(L, 1);
  int64_t n;
  return give(L, &o, variance(L, &o, &n));
}

/*** symbol:std(axis, keep, correction): root of the variance. */
static int symbol_std(lua_State *L) {
  operand o = operand_of(L, 1);
  int64_t n;
  return give(L, &o, orr_unary(o.g, ORR_OP_sqrt, variance(L, &o, &n)));
}

/* ---- along one axis, keeping the shape ---- */

/*** symbol:softmax(axis): exp(x) over its sum along the axis (the last). */
static int symbol_softmax(lua_State *L) {
  operand o = operand_of(L, 1);
  return give(L, &o, orr_softmax(o.g, o.x, lua_check_axis(L, 2, o.axes, -1)));
}

/*** symbol:cumsum(axis, backwards): running sum along the axis (the last). */
static int symbol_cumsum(lua_State *L) {
  operand o = operand_of(L, 1);
  return give(L, &o, orr_cumsum(o.g, o.x, lua_check_axis(L, 2, o.axes, -1), lua_toboolean(L, 3)));
}

static orr_node swap_axes(const operand *o, orr_node x, int a, int b) {
  int order[ORR_AXES];
  for (int i = 0; i < o->axes; i++) order[i] = i == a ? b : i == b ? a : i;
  return a == b ? x : orr_transpose(o->g, x, order);
}

static int sorted(lua_State *L, bool positions) {
  operand o = operand_of(L, 1);
  int axis = lua_check_axis(L, 2, o.axes, -1), last = o.axes - 1;
  if (axis < 0) axis += o.axes;
  orr_node x = swap_axes(&o, o.x, axis, last), order = orr_argsort(o.g, x);
  orr_node y = positions ? add_number(&o, order, 1) : orr_gather_along(o.g, x, order);
  return give(L, &o, y == ORR_NONE ? y : swap_axes(&o, y, axis, last));
}

/*** symbol:sort(axis): ascending along the axis (the last), stable. */
static int symbol_sort(lua_State *L) { return sorted(L, false); }
/*** symbol:argsort(axis): positions, from 1, that sort along the axis (the last). */
static int symbol_argsort(lua_State *L) { return sorted(L, true); }

/* ---- products ---- */

/*** symbol:matmul(b): matrix product on the last two axes. */
static int symbol_matmul(lua_State *L) {
  operand o = operand_of(L, 2);
  return give(L, &o, orr_matmul(o.g, o.x, lua_to_node(L, 2, o.owner)));
}

/*** symbol:solve(b): x of A x = b for this matrix A. */
static int symbol_solve(lua_State *L) {
  operand o = operand_of(L, 2);
  return give(L, &o, orr_solve(o.g, o.x, lua_to_node(L, 2, o.owner)));
}

/*** symbol:dot(b): sum of products along the last axis. */
static int symbol_dot(lua_State *L) {
  operand o = operand_of(L, 2);
  orr_node product = orr_binary(o.g, ORR_OP_mul, o.x, lua_to_node(L, 2, o.owner));
  return give(L, &o, orr_sum(o.g, product, -1, false));
}

/*** symbol:outer(b): of two vectors, every product of their elements. */
static int symbol_outer(lua_State *L) {
  operand o = operand_of(L, 2);
  orr_node b = lua_to_node(L, 2, o.owner);
  if (o.axes != 1 || orr_node_axes(o.g, b) != 1)
    return lua_complain(L, "outer: both operands must be vectors");
  const int64_t column[] = {o.shape[0], 1};
  return give(L, &o, orr_binary(o.g, ORR_OP_mul, orr_reshape(o.g, o.x, 2, column), b));
}

/* ---- shapes ---- */

static int sizes_at(lua_State *L, int index, int64_t *shape, int64_t count) {
  int axes = lua_check_shape(L, index, shape), open = -1;
  int64_t known = 1;
  for (int i = 0; i < axes; i++) {
    if (shape[i] < 0) open = i;
    else known *= shape[i];
  }
  if (open >= 0 && known > 0 && count > 0) shape[open] = count / known;
  return axes;
}

/*** symbol:reshape(size, ...): the same numbers under another shape; -1 is whatever is left. */
static int symbol_reshape(lua_State *L) {
  operand o = operand_of(L, 1);
  int64_t shape[ORR_AXES];
  int axes = sizes_at(L, 2, shape, orr_node_count(o.g, o.x));
  return give(L, &o, orr_reshape(o.g, o.x, axes, shape));
}

/*** symbol:flatten(): as one axis. */
static int symbol_flatten(lua_State *L) {
  operand o = operand_of(L, 1);
  return give(L, &o, flat(&o, o.x));
}

/*** symbol:broadcast(size, ...): repeated along axes of length 1. */
static int symbol_broadcast(lua_State *L) {
  operand o = operand_of(L, 1);
  int64_t shape[ORR_AXES];
  int axes = lua_check_shape(L, 2, shape);
  return give(L, &o, orr_broadcast(o.g, o.x, axes, shape));
}

/*** symbol:transpose(axis, ...): axes in that order; without any, the last two change places. */
static int symbol_transpose(lua_State *L) {
  operand o = operand_of(L, 1);
  int order[ORR_AXES] = {0}, given = lua_gettop(L) - 1;
  if (lua_type(L, 2) == LUA_TTABLE) {
    lua_Integer n = luaL_len(L, 2);
    luaL_checkstack(L, ORR_AXES + 1, NULL);
    for (lua_Integer i = 1; i <= n && i <= ORR_AXES; i++) lua_geti(L, 2, i);
    lua_remove(L, 2);
    given = (int)n;
  }
  if (given == 0 && o.axes < 2) return lua_complain(L, "transpose: a matrix is needed");
  if (given == 0) return give(L, &o, swap_axes(&o, o.x, o.axes - 2, o.axes - 1));
  if (given != o.axes)
    return lua_complain(L, "transpose: %d axes were named, there are %d", given, o.axes);
  for (int i = 0; i < o.axes; i++) {
    order[i] = lua_check_axis(L, i + 2, o.axes, 0);
    if (order[i] < 0) order[i] += o.axes;
  }
  return give(L, &o, orr_transpose(o.g, o.x, order));
}

/*** symbol:slice(first, last, axis, step): entries first to last of an axis (the first), every
step-th; negative ones count from the end. */
static int symbol_slice(lua_State *L) {
  operand o = operand_of(L, 1);
  if (o.axes == 0) return lua_complain(L, "slice: this symbol is a single number");
  int axis = lua_check_axis(L, 4, o.axes, 0);
  if (axis < 0) axis += o.axes;
  int64_t n = o.shape[axis], first = luaL_optinteger(L, 2, 1), last = luaL_optinteger(L, 3, -1);
  int64_t step = luaL_optinteger(L, 5, 1);
  if (first < 0) first += n + 1;
  if (last < 0) last += n + 1;
  if (first < 1 || last > n || first > last + 1 || step < 1)
    return lua_complain(L, "slice: %I to %I by %I is not within axis %d, of length %I",
                        (lua_Integer)first, (lua_Integer)last, (lua_Integer)step, axis + 1,
                        (lua_Integer)n);
  if (step == 1) return give(L, &o, orr_slice(o.g, o.x, axis, first - 1, last - first + 1));
  int64_t count = (last - first) / step + 1;
  if (count > 4096)
    return lua_complain(L, "slice: %I entries by a step are too many", (lua_Integer)count);
  orr_node *parts = lua_newuserdatauv(L, (size_t)count * sizeof *parts, 0);
  for (int64_t i = 0; i < count; i++) parts[i] = orr_slice(o.g, o.x, axis, first - 1 + i * step, 1);
  return give(L, &o, orr_concat(o.g, (int)count, parts, axis));
}

/*** symbol:insert_axis(axis): a new axis of length 1 there. */
static int symbol_insert_axis(lua_State *L) {
  operand o = operand_of(L, 1);
  int axis = lua_check_axis(L, 2, o.axes + 1, 0);
  if (axis < 0) axis += o.axes + 1;
  int64_t shape[ORR_AXES];
  if (o.axes == ORR_AXES)
    return lua_complain(L, "insert_axis: there are %d axes already", ORR_AXES);
  for (int i = 0; i <= o.axes; i++)
    shape[i] = i < axis ? o.shape[i] : i == axis ? 1 : o.shape[i - 1];
  return give(L, &o, orr_reshape(o.g, o.x, o.axes + 1, shape));
}

static int join(lua_State *L, bool along_new) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_graph *owner = lua_target_graph(L, 1, 1);
  lua_Integer n = luaL_len(L, 1);
  if (n < 1 || n > 4096) return lua_complain(L, "there must be 1 to 4096 parts to join, got %I", n);
  orr_node *parts = lua_newuserdatauv(L, (size_t)n * sizeof *parts, 0);
  int axes = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, 1, i);
    parts[i - 1] = lua_to_node(L, lua_gettop(L), owner);
    const int64_t one = 1;
    if (!along_new && orr_node_axes(owner->graph, parts[i - 1]) == 0)
      parts[i - 1] = orr_reshape(owner->graph, parts[i - 1], 1, &one);
    if (parts[i - 1] == ORR_NONE) return lua_raise(L);
    int own = orr_node_axes(owner->graph, parts[i - 1]);
    axes = own > axes ? own : axes;
    lua_pop(L, 1);
  }
  int axis = lua_check_axis(L, 2, axes + along_new, 0);
  return lua_push_symbol(L, owner,
                         along_new ? orr_stack(owner->graph, (int)n, parts, axis)
                                   : orr_concat(owner->graph, (int)n, parts, axis));
}

/*** symbol.concat(list, axis): joined along an axis they have (the first); numbers count as
vectors of one. */
static int symbol_concat(lua_State *L) { return join(L, false); }
/*** symbol.stack(list, axis): joined along a new axis (the first). */
static int symbol_stack(lua_State *L) { return join(L, true); }

/* ---- picking ---- */

static orr_node index_at(lua_State *L, const operand *o, int index) {
  return add_number(o, lua_to_node(L, index, o->owner), -1);
}

/*** symbol:gather(index): entries of the first axis, index counting from 1. */
static int symbol_gather(lua_State *L) {
  operand o = operand_of(L, 2);
  return give(L, &o, orr_gather(o.g, o.x, index_at(L, &o, 2)));
}

/*** symbol:gather_along(index): entries of the last axis, one list of positions per vector. */
static int symbol_gather_along(lua_State *L) {
  operand o = operand_of(L, 2);
  return give(L, &o, orr_gather_along(o.g, o.x, index_at(L, &o, 2)));
}

/*** symbol:where(a, b): a where this is not 0, else b. */
static int symbol_where(lua_State *L) {
  operand o = operand_of(L, 3);
  orr_node a = lua_to_node(L, 2, o.owner), b = lua_to_node(L, 3, o.owner);
  return give(L, &o, orr_select(o.g, o.x, a, b));
}

/*** symbol:clamp(low, high): moved into the range. */
static int symbol_clamp(lua_State *L) {
  operand o = operand_of(L, 3);
  orr_node y = o.x;
  if (!lua_isnoneornil(L, 2)) y = orr_binary(o.g, ORR_OP_max, y, lua_to_node(L, 2, o.owner));
  if (!lua_isnoneornil(L, 3)) y = orr_binary(o.g, ORR_OP_min, y, lua_to_node(L, 3, o.owner));
  return give(L, &o, y);
}

/*** symbol:stop_gradient(): the same value, seen as constant by gradients. */
static int symbol_stop_gradient(lua_State *L) {
  operand o = operand_of(L, 1);
  return give(L, &o, orr_stop_gradient(o.g, o.x));
}

/* ---- over rows ---- */

static orr_level level_at(lua_State *L, int index) {
  static const char *const names[] = {"uniform", "member", NULL};
  return (orr_level)luaL_checkoption(L, index, "uniform", names);
}

/*** symbol:row_sum(level): over all rows, or with "member" over each member's own. */
static int symbol_row_sum(lua_State *L) {
  operand o = operand_of(L, 1);
  return give(L, &o, orr_row_sum(o.g, o.x, level_at(L, 2)));
}

/*** symbol:row_mean(level): as row_sum, divided by the number of rows. */
static int symbol_row_mean(lua_State *L) {
  operand o = operand_of(L, 1);
  return give(L, &o, orr_row_mean(o.g, o.x, level_at(L, 2)));
}

/*** symbol:axes(): how many axes there are. */
static int symbol_axes(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  lua_pushinteger(L, orr_node_axes(s->owner->graph, s->node));
  return 1;
}

/*** symbol:count(): how many numbers. */
static int symbol_count(lua_State *L) {
  lua_symbol *s = lua_check_symbol(L, 1);
  lua_pushinteger(L, orr_node_count(s->owner->graph, s->node));
  return 1;
}

/* clang-format off */
const luaL_Reg lua_symbol_structured[] = {
    {"sum", symbol_sum}, {"mean", symbol_mean}, {"logsumexp", symbol_logsumexp},
    {"norm", symbol_norm},
    {"argmax", symbol_argmax}, {"argmin", symbol_argmin}, {"max", symbol_max}, {"min", symbol_min},
    {"max_along", symbol_max_along}, {"min_along", symbol_min_along}, {"variance", symbol_variance},
    {"std", symbol_std}, {"softmax", symbol_softmax}, {"cumsum", symbol_cumsum},
    {"sort", symbol_sort},
    {"argsort", symbol_argsort}, {"matmul", symbol_matmul}, {"solve", symbol_solve},
    {"dot", symbol_dot},
    {"outer", symbol_outer}, {"reshape", symbol_reshape}, {"flatten", symbol_flatten},
    {"broadcast", symbol_broadcast}, {"transpose", symbol_transpose}, {"slice", symbol_slice},
    {"insert_axis", symbol_insert_axis}, {"concat", symbol_concat},
    {"stack", symbol_stack}, {"gather", symbol_gather}, {"gather_along", symbol_gather_along},
    {"where", symbol_where}, {"select", symbol_where}, {"clamp", symbol_clamp},
    {"stop_gradient", symbol_stop_gradient}, {"row_sum", symbol_row_sum},
    {"row_mean", symbol_row_mean},
    {"axes", symbol_axes}, {"count", symbol_count}, {NULL, NULL}};
/* clang-format on */
