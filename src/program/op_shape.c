/* op_shape.c - the same numbers in another arrangement: reshape, broadcast, transpose, slice and
   its adjoint pad, concat; stop_gradient, which rearranges nothing but the gradient. */
#include <string.h>

#include "program/graph.h"

/* y[...] = x[offset + sum index[i] stride[i]] for row-major y; strides in features, 0 repeats. */
static void copy_strided(orr_real *y, const orr_real *x, int axes, const int64_t *shape,
                         const int64_t *stride, int64_t lanes) {
  int64_t index[ORR_AXES] = {0}, total = count_shape(axes, shape);
  if (total == 0) return;
  int64_t inner = axes ? shape[axes - 1] : 1, step = axes ? stride[axes - 1] : 1;
  for (int64_t done = 0; done < total; done += inner) {
    if (step == 1) {
      memcpy(y, x, (size_t)(inner * lanes) * sizeof *y);
      y += inner * lanes;
    } else if (lanes == 1) {
      for (int64_t i = 0; i < inner; i++) *y++ = x[i * step];
    } else {
      for (int64_t i = 0; i < inner; i++, y += lanes)
        memcpy(y, x + i * step * lanes, (size_t)lanes * sizeof *y);
    }
    for (int axis = axes - 2; axis >= 0; axis--) {
      x += stride[axis] * lanes;
      if (++index[axis] < shape[axis]) break;
      x -= stride[axis] * shape[axis] * lanes;
      index[axis] = 0;
    }
  }
}

static void row_major(const node *n, int64_t *stride) {
  int64_t step = 1;
  for (int i = n->axes - 1; i >= 0; i--) stride[i] = step, step *= n->shape[i];
}

/* ---- reshape ---- */

orr_node orr_reshape(orr_graph *graph, orr_node x, int axes, const int64_t *shape) {
  if (x == ORR_NONE) return ORR_NONE;
  const node *n = node_at(graph, x);
  if (shape_equal(axes, shape, n->axes, n->shape)) return x;
  if (count_shape(axes, shape) != n->count) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    return graph_fail(graph, ORR_OP_reshape, "%s has %lld numbers and cannot become %s",
                      shape_text(a, n->axes, n->shape), (long long)n->count,
                      shape_text(b, axes, shape));
  }
  if (n->op == ORR_OP_reshape) return orr_reshape(graph, n->in[0], axes, shape);
  return graph_add(graph, ORR_OP_reshape, axes, shape, 1, &x, NULL, 0);
}

static void copy_forward(const op_call *call) {
  memcpy(call->y, call->x[0], (size_t)(call->node->count * call->lanes) * sizeof *call->y);
}

static void reshape_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self), *x = node_at(g, n->in[0]);
  walk_give(walk, n->in[0],
            orr_reshape(g, orr_broadcast(g, dy, n->axes, n->shape), x->axes, x->shape));
}

/* ---- broadcast ---- */

orr_node orr_broadcast(orr_graph *graph, orr_node x, int axes, const int64_t *shape) {
  if (x == ORR_NONE) return ORR_NONE;
  const node *n = node_at(graph, x);
  if (shape_equal(axes, shape, n->axes, n->shape)) return x;
  bool fits = axes >= n->axes;
  for (int i = 1; fits && i <= n->axes; i++)
    fits = n->shape[n->axes - i] == 1 || n->shape[n->axes - i] == shape[axes - i];
  if (!fits) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    return graph_fail(graph, ORR_OP_broadcast, "%s cannot be repeated to %s",
                      shape_text(a, n->axes, n->shape), shape_text(b, axes, shape));
  }
  return graph_add(graph, ORR_OP_broadcast, axes, shape, 1, &x, NULL, 0);
}

static void broadcast_forward(const op_call *call) {
  const node *y = call->node, *x = node_at(call->graph, y->in[0]);
  int64_t stride[ORR_AXES] = {0}, step = 1;
  for (int i = y->axes - 1, j = x->axes - 1; j >= 0; i--, j--) {
    stride[i] = x->shape[j] == 1 ? 0 : step;
    step *= x->shape[j];
  }
  copy_strided(call->y, call->x[0], y->axes, y->shape, stride, call->lanes);
}

static void broadcast_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  walk_give(walk, n->in[0], orr_broadcast(g, dy, n->axes, n->shape));
}

/* ---- transpose ---- */

orr_node orr_transpose(orr_graph *graph, orr_node x, const int *order) {
  if (x == ORR_NONE) return ORR_NONE;
  const node *n = node_at(graph, x);
  int64_t shape[ORR_AXES], attributes[ATTRIBUTES];
  bool seen[ORR_AXES] = {false}, same = true;
  for (int i = 0; i < n->axes; i++) {
    int axis = order[i] < 0 ? order[i] + n->axes : order[i];
    if (axis < 0 || axis >= n->axes || seen[axis])
      return graph_fail(graph, ORR_OP_transpose, "the order must name each of the %d axes once",
                        n->axes);
    seen[axis] = true;
    same = same && axis == i;
    shape[i] = n->shape[axis];
    attributes[i] = axis;
  }
  if (same) return x;
  return graph_add(graph, ORR_OP_transpose, n->axes, shape, 1, &x, attributes, n->axes);
}

static void transpose_forward(const op_call *call) {
  const node *y = call->node, *x = node_at(call->graph, y->in[0]);
  int64_t from[ORR_AXES], stride[ORR_AXES];
  row_major(x, from);
  for (int i = 0; i < y->axes; i++) stride[i] = from[y->attribute[i]];
  copy_strided(call->y, call->x[0], y->axes, y->shape, stride, call->lanes);
}

static void transpose_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  int back[ORR_AXES];
  for (int i = 0; i < n->axes; i++) back[n->attribute[i]] = i;
  walk_give(walk, n->in[0], orr_transpose(g, orr_broadcast(g, dy, n->axes, n->shape), back));
}

/* ---- slice and pad ---- */

orr_node orr_slice(orr_graph *graph, orr_node x, int axis, int64_t first, int64_t count) {
  int which = graph_axis(graph, ORR_OP_slice, x, axis);
  if (which < 0) return ORR_NONE;
  const node *n = node_at(graph, x);
  if (first < 0 || count < 0 || first > n->shape[which] - count)
    return graph_fail(graph, ORR_OP_slice, "entries %lld to %lld of axis %d, which has %lld",
                      (long long)first, (long long)(first + count - 1), axis,
                      (long long)n->shape[which]);
  if (count == n->shape[which]) return x;
  int64_t shape[ORR_AXES], attributes[2] = {which, first};
  memcpy(shape, n->shape, sizeof shape);
  shape[which] = count;
  return graph_add(graph, ORR_OP_slice, n->axes, shape, 1, &x, attributes, 2);
}

static void slice_forward(const op_call *call) {
  const node *y = call->node, *x = node_at(call->graph, y->in[0]);
  int64_t stride[ORR_AXES];
  row_major(x, stride);
  const orr_real *first = call->x[0] + y->attribute[1] * stride[y->attribute[0]] * call->lanes;
  copy_strided(call->y, first, y->axes, y->shape, stride, call->lanes);
}

static void slice_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self), *x = node_at(g, n->in[0]);
  int axis = (int)n->attribute[0];
  int64_t before = n->attribute[1], after = x->shape[axis] - before - n->shape[axis];
  walk_give(walk, n->in[0],
            orr_pad(g, orr_broadcast(g, dy, n->axes, n->shape), axis, before, after));
}

orr_node orr_pad(orr_graph *graph, orr_node x, int axis, int64_t before, int64_t after) {
  int which = graph_axis(graph, ORR_OP_pad, x, axis);
  if (which < 0) return ORR_NONE;
  const node *n = node_at(graph, x);
  if (before < 0 || after < 0)
    return graph_fail(graph, ORR_OP_pad, "cannot pad by a negative number");
  if (before == 0 && after == 0) return x;
  int64_t shape[ORR_AXES], attributes[2] = {which, before};
  memcpy(shape, n->shape, sizeof shape);
  shape[which] += before + after;
  return graph_add(graph, ORR_OP_pad, n->axes, shape, 1, &x, attributes, 2);
}

static void pad_forward(const op_call *call) {
  const node *y = call->node, *x = node_at(call->graph, y->in[0]);
  int axis = (int)y->attribute[0];
  size_t outer = (size_t)count_shape(axis, y->shape);
  size_t inner = (size_t)(count_shape(y->axes - axis - 1, y->shape + axis + 1) * call->lanes);
  size_t from = (size_t)x->shape[axis] * inner, to = (size_t)y->shape[axis] * inner;
  size_t before = (size_t)y->attribute[1] * inner;
  memset(call->y, 0, outer * to * sizeof *call->y);
  for (size_t o = 0; o < outer; o++)
    memcpy(call->y + o * to + before, call->x[0] + o * from, from * sizeof *call->y);
}

static void pad_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self), *x = node_at(g, n->in[0]);
  int axis = (int)n->attribute[0];
  orr_node full = orr_broadcast(g, dy, n->axes, n->shape);
  walk_give(walk, n->in[0], orr_slice(g, full, axis, n->attribute[1], x->shape[axis]));
}

/* ---- concat ---- */

orr_node orr_concat(orr_graph *graph, int count, const orr_node *parts, int axis) {
  if (count < 1) return graph_fail(graph, ORR_OP_concat, "nothing to join");
  if (count > OPERANDS) { /* joined in groups */
    orr_node joined = orr_concat(graph, OPERANDS - 1, parts, axis), rest[2] = {joined, ORR_NONE};
    rest[1] = orr_concat(graph, count - OPERANDS + 1, parts + OPERANDS - 1, axis);
    return orr_concat(graph, 2, rest, axis);
  }
  int which = graph_axis(graph, ORR_OP_concat, parts[0], axis);
  if (which < 0) return ORR_NONE;
  const node *first = node_at(graph, parts[0]);
  int64_t shape[ORR_AXES], attribute = which;
  memcpy(shape, first->shape, sizeof shape);
  for (int i = 1; i < count; i++) {
    if (parts[i] == ORR_NONE) return ORR_NONE;
    const node *n = node_at(graph, parts[i]);
    int64_t other[ORR_AXES];
    memcpy(other, n->shape, sizeof other);
    other[which] = first->shape[which];
    if (!shape_equal(first->axes, first->shape, n->axes, other)) {
      char a[SHAPE_TEXT], b[SHAPE_TEXT];
      return graph_fail(graph, ORR_OP_concat, "shapes %s and %s differ beside the axis to join",
                        shape_text(a, first->axes, first->shape), shape_text(b, n->axes, n->shape));
    }
    shape[which] += n->shape[which];
  }
  if (count == 1) return parts[0];
  return graph_add(graph, ORR_OP_concat, first->axes, shape, count, parts, &attribute, 1);
}

orr_node orr_stack(orr_graph *graph, int count, const orr_node *parts, int axis) {
  if (count < 1 || parts[0] == ORR_NONE)
    return count < 1 ? graph_fail(graph, ORR_OP_concat, "nothing to stack") : ORR_NONE;
  orr_node widened[256];
  if (count > 256) { /* stacked in groups, then joined */
    orr_node two[2] = {orr_stack(graph, 256, parts, axis),
                       orr_stack(graph, count - 256, parts + 256, axis)};
    return orr_concat(graph, 2, two, axis);
  }
  const node *first = node_at(graph, parts[0]);
  int which = axis < 0 ? axis + first->axes + 1 : axis;
  if (which < 0 || which > first->axes || first->axes == ORR_AXES)
    return graph_fail(graph, ORR_OP_concat, "cannot stack along axis %d of values with %d axes",
                      axis, first->axes);
  for (int i = 0; i < count; i++) {
    if (parts[i] == ORR_NONE) return ORR_NONE;
    const node *n = node_at(graph, parts[i]);
    if (n->axes != first->axes)
      return graph_fail(graph, ORR_OP_concat, "stacked values differ in their number of axes");
    int64_t shape[ORR_AXES];
    for (int j = 0; j <= n->axes; j++)
      shape[j] = j < which ? n->shape[j] : j == which ? 1 : n->shape[j - 1];
    widened[i] = orr_reshape(graph, parts[i], n->axes + 1, shape);
  }
  return orr_concat(graph, count, widened, which);
}

static void concat_forward(const op_call *call) {
  const node *y = call->node;
  int axis = (int)y->attribute[0];
  size_t outer = (size_t)count_shape(axis, y->shape);
  size_t inner = (size_t)(count_shape(y->axes - axis - 1, y->shape + axis + 1) * call->lanes);
  size_t whole = (size_t)y->shape[axis] * inner, done = 0;
  for (int i = 0; i < y->inputs; i++) {
    size_t part = (size_t)node_at(call->graph, y->in[i])->shape[axis] * inner;
    for (size_t o = 0; o < outer; o++)
      memcpy(call->y + o * whole + done, call->x[i] + o * part, part * sizeof *call->y);
    done += part;
  }
}

static void concat_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  orr_graph *g = walk_graph(walk);
  const node *n = node_at(g, self);
  int axis = (int)n->attribute[0];
  int64_t first = 0;
  orr_node full = orr_broadcast(g, dy, n->axes, n->shape);
  for (int i = 0; i < n->inputs; i++) {
    int64_t count = node_at(g, n->in[i])->shape[axis];
    if (walk_wants(walk, n->in[i]))
      walk_give(walk, n->in[i], orr_slice(g, full, axis, first, count));
    first += count;
  }
}

/* ---- stop_gradient and copy ---- */

orr_node orr_stop_gradient(orr_graph *graph, orr_node x) {
  if (x == ORR_NONE) return ORR_NONE;
  return graph_add(graph, ORR_OP_stop_gradient, node_at(graph, x)->axes, node_at(graph, x)->shape,
                   1, &x, NULL, 0);
}

/* A node of its own, never merged with x: what a gradient is taken by, apart from other uses of
   x. */
orr_node orr_copy(orr_graph *graph, orr_node x) {
  if (x == ORR_NONE) return ORR_NONE;
  const node *n = node_at(graph, x);
  int64_t site = graph_outermost(graph)->sites++;
  orr_level level = graph->parent ? ORR_ROW : n->level; /* stays inside a scan's body */
  return graph_add_leveled(graph, ORR_OP_copy, level, n->axes, n->shape, 1, &x, &site, 1);
}

static void copy_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  walk_give(walk, node_at(walk_graph(walk), self)->in[0], dy);
}

static void no_gradient(gradient_walk *walk, orr_node self, orr_node dy) {
  (void)walk, (void)self, (void)dy;
}

const op_class op_reshape = {"reshape", NULL, false, NULL, copy_forward, reshape_gradient, NULL};
const op_class op_broadcast = {"broadcast",        NULL, false, NULL, broadcast_forward,
                               broadcast_gradient, NULL};
const op_class op_transpose = {"transpose",        NULL, false, NULL, transpose_forward,
                               transpose_gradient, NULL};
const op_class op_slice = {"slice", NULL, false, NULL, slice_forward, slice_gradient, NULL};
const op_class op_pad = {"pad", NULL, false, NULL, pad_forward, pad_gradient, NULL};
const op_class op_concat = {"concat", NULL, false, NULL, concat_forward, concat_gradient, NULL};
const op_class op_stop_gradient = {"stop_gradient", NULL,        false, NULL,
                                   copy_forward,    no_gradient, NULL};
const op_class op_copy = {"copy", NULL, false, NULL, copy_forward, copy_gradient, NULL};
