/* interpreter.h - for tests: a slow, obvious interpreter of graphs that works node by node, row by
   row, in double. It shares nothing with the compiler but the fields of the nodes.

   What is compared cannot be exact in float32, and some graphs are badly conditioned or jump; so
   the interpreter runs again with every inexact result disturbed in its last digits, and the spread
   of those runs says how close the program must come. */
#ifndef INTERPRETER_H
#define INTERPRETER_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program/graph.h"

/* ---- numbers for the generator: splitmix, so that a seed names a graph everywhere ---- */

typedef struct dice {
  uint64_t state;
} dice;

static inline uint64_t dice_bits(dice *d) {
  uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}
static inline int below(dice *d, int n) { return (int)(dice_bits(d) % (uint64_t)n); }
static inline bool chance(dice *d, int percent) { return below(d, 100) < percent; }
static inline double between(dice *d, double low, double high) {
  return low + (high - low) * ((double)(dice_bits(d) >> 11) / 9007199254740992.0);
}

/* ---- what a run is given ---- */

enum { MOST_GIVEN = 200 };

typedef struct given {
  const char *name;   /* a named input */
  orr_tensor *tensor; /* or a parameter */
  orr_level level;
  int axes;
  int64_t shape[ORR_AXES], count;
  double *data; /* rows, entries or one, of count numbers */
} given;

typedef struct interpreter {
  const orr_graph *graph;
  int rows, members;
  const int64_t *sizes;
  const int *entries; /* or NULL */
  int *group;         /* of each row */
  const given *given;
  int given_count;
  const kernels *kernels;
  uint64_t key;
  uint32_t iteration;
  double noise;
  bool take_last; /* of what ties but for noise */
  dice dice;
  orr_node pushed; /* a node whose values are moved by push (differences), or ORR_NONE */
  const double *push;
  void *memory; /* list of blocks */
  double **value;
} interpreter;

static inline void *take(interpreter *h, size_t bytes) {
  void **block = calloc(1, sizeof(void *) * 2 + bytes + 8);
  block[0] = h->memory;
  h->memory = block;
  return block + 2;
}

static inline void interpreter_free(interpreter *h) {
  while (h->memory) {
    void *next = *(void **)h->memory;
    free(h->memory);
    h->memory = next;
  }
}

static inline double rounded(interpreter *h, double y) {
  if (h->noise > 0 && isfinite(y) && y != rint(y)) y *= 1 + h->noise * between(&h->dice, -1, 1);
  return (double)(orr_real)y;
}

/* Kernels may miss the 1 that tanh comes to. */
static inline bool is_curved(orr_op op) {
  return op >= ORR_OP_exp && op <= ORR_OP_gelu && op != ORR_OP_relu;
}

/* ---- one op on one sample ---- */

static double (*const unary_number[])(double) = {
#define UNARY(name, ...) orr_number_##name,
#define BINARY(...)
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
};
static double (*const binary_number[])(double, double) = {
#define UNARY(...)
#define BINARY(name, ...) orr_number_##name,
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
};

static inline void unravel(int64_t at, int axes, const int64_t *shape, int64_t *index) {
  for (int i = axes - 1; i >= 0; i--) index[i] = at % shape[i], at /= shape[i];
}

/* Position in a value of this shape of an index of as many or more axes, broadcasting. */
static inline int64_t ravel_broadcast(const node *x, int axes, const int64_t *index) {
  int64_t at = 0;
  for (int i = 0; i < x->axes; i++)
    at = at * x->shape[i] + (x->shape[i] == 1 ? 0 : index[axes - x->axes + i]);
  return at;
}

static inline int64_t clamped(double value, int64_t n) {
  return !(value > 0) ? 0 : value >= (double)n ? n - 1 : (int64_t)value;
}

static inline void do_elementwise(interpreter *h, const orr_graph *g, const node *n,
                                  const double *const *x, double *y) {
  int64_t index[ORR_AXES];
  for (int64_t k = 0; k < n->count; k++) {
    unravel(k, n->axes, n->shape, index);
    double a = x[0][ravel_broadcast(node_at(g, n->in[0]), n->axes, index)];
    if (is_curved(n->op))
      y[k] = rounded(h, unary_number[n->op](a) * (1 + h->noise * between(&h->dice, -1, 1)));
    else if (op_is_unary(n->op)) y[k] = rounded(h, unary_number[n->op](a));
    else
      y[k] = rounded(h, binary_number[binary_of(n->op)](
                            a, x[1][ravel_broadcast(node_at(g, n->in[1]), n->axes, index)]));
  }
}

static inline void do_along_axis(interpreter *h, const orr_graph *g, const node *n, const double *x,
                                 double *y) {
  const node *in = node_at(g, n->in[0]);
  int axis = (int)n->attribute[0];
  int64_t outer = count_shape(axis, in->shape), m = in->shape[axis];
  int64_t inner = count_shape(in->axes - axis - 1, in->shape + axis + 1);
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) {
      const double *from = x + o * m * inner + i;
      if (n->op == ORR_OP_cumsum) {
        double sum = 0;
        for (int64_t j = 0; j < m; j++) {
          int64_t at = n->attribute[1] ? m - 1 - j : j;
          sum += from[at * inner];
          y[(o * m + at) * inner + i] = rounded(h, sum);
        }
        continue;
      }
      double sum = 0, top = -INFINITY;
      int64_t best = 0;
      bool nan = false;
      for (int64_t j = 0; j < m; j++) {
        double v = from[j * inner];
        sum += v;
        nan = nan || isnan(v);
        if (v > top) top = v, best = j;
      }
      /* What comes close may be taken for the greatest: the first of these, or the last. */
      for (int64_t tries = 0; h->noise > 0 && isfinite(top) && tries < m; tries++) {
        int64_t j = h->take_last ? m - 1 - tries : tries;
        if (!(fabs(from[j * inner] - top) <= 8 * h->noise * fabs(top))) continue;
        best = j;
        break;
      }
      y[o * inner + i] = n->op == ORR_OP_sum      ? rounded(h, sum)
                         : n->op == ORR_OP_argmax ? (double)best
                         : nan                    ? NAN
                                                  : top;
    }
}

static inline void do_arrange(const orr_graph *g, const node *n, const double *const *x,
                              double *y) {
  const node *in = node_at(g, n->in[0]);
  int64_t index[ORR_AXES], origin[ORR_AXES];
  for (int64_t k = 0; k < n->count; k++) {
    unravel(k, n->axes, n->shape, index);
    memcpy(origin, index, sizeof origin);
    int axis = (int)n->attribute[0], part = 0;
    bool empty = false;
    if (n->op == ORR_OP_broadcast) {
      y[k] = x[0][ravel_broadcast(in, n->axes, index)];
      continue;
    }
    if (n->op == ORR_OP_transpose)
      for (int i = 0; i < n->axes; i++) origin[n->attribute[i]] = index[i];
    if (n->op == ORR_OP_slice) origin[axis] += n->attribute[1];
    if (n->op == ORR_OP_pad) {
      origin[axis] -= n->attribute[1];
      empty = origin[axis] < 0 || origin[axis] >= in->shape[axis];
    }
    if (n->op == ORR_OP_concat)
      while (origin[axis] >= node_at(g, n->in[part])->shape[axis])
        origin[axis] -= node_at(g, n->in[part++])->shape[axis];
    const node *from = node_at(g, n->in[part]);
    int64_t at = 0;
    for (int i = 0; i < from->axes; i++) at = at * from->shape[i] + origin[i];
    y[k] = empty ? 0 : x[part][at];
  }
}

static inline void do_pick_entries(interpreter *h, const orr_graph *g, const node *n,
                                   const double *const *x, double *y) {
  const node *a = node_at(g, n->in[0]), *b = node_at(g, n->in[1]);
  if (n->op == ORR_OP_gather) {
    int64_t rest = count_shape(a->axes - 1, a->shape + 1);
    for (int64_t i = 0; i < b->count; i++)
      for (int64_t r = 0; r < rest; r++)
        y[i * rest + r] = x[0][clamped(x[1][i], a->shape[0]) * rest + r];
  } else if (n->op == ORR_OP_scatter) {
    int64_t rest = count_shape(n->axes - 1, n->shape + 1);
    for (int64_t i = 0; i < n->count; i++) y[i] = 0;
    for (int64_t i = 0; i < b->count; i++)
      for (int64_t r = 0; r < rest; r++)
        y[clamped(x[1][i], n->shape[0]) * rest + r] += x[0][i * rest + r];
  } else {
    int64_t wide = n->op == ORR_OP_gather_along ? a->shape[a->axes - 1] : n->shape[n->axes - 1],
            m = b->shape[b->axes - 1];
    for (int64_t i = 0; i < n->count; i++) y[i] = 0;
    for (int64_t i = 0; i < b->count; i++) {
      int64_t at = i / m * wide + clamped(x[1][i], wide);
      if (n->op == ORR_OP_gather_along) y[i] = x[0][at];
      else y[at] += x[0][i];
    }
  }
  for (int64_t i = 0; i < n->count; i++) y[i] = rounded(h, y[i]);
}

static inline void do_matmul(interpreter *h, const orr_graph *g, const node *n,
                             const double *const *x, double *y) {
  const node *a = node_at(g, n->in[0]), *b = node_at(g, n->in[1]);
  int64_t k = a->shape[a->axes - 1], rows = a->axes > 1 ? a->shape[a->axes - 2] : 1,
          m = b->axes > 1 ? b->shape[b->axes - 1] : 1;
  if (n->op == ORR_OP_linear) rows = k ? a->count / k : 0;
  int64_t each = rows * m, batch = each ? n->count / each : 0;
  bool many_a = a->axes > 2 && n->op == ORR_OP_matmul, many_b = b->axes > 2;
  for (int64_t z = 0; z < batch; z++)
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < m; j++) {
        double sum = 0;
        for (int64_t q = 0; q < k; q++)
          sum += x[0][(many_a ? z * rows * k : 0) + i * k + q] *
                 x[1][(many_b ? z * k * m : 0) + q * m + j];
        y[z * each + i * m + j] = rounded(h, sum);
      }
}

static inline void do_solve(interpreter *h, const node *n, const double *const *x, double *y) {
  int64_t m = n->shape[0], columns = m ? n->count / m : 0;
  double *a = take(h, (size_t)(m * m) * sizeof *a);
  memcpy(a, x[0], (size_t)(m * m) * sizeof *a);
  memcpy(y, x[1], (size_t)n->count * sizeof *y);
  for (int64_t k = 0; k < m; k++) { /* Gauss-Jordan; the test's matrices need no pivoting */
    double p = a[k * m + k];
    for (int64_t j = 0; j < m; j++) a[k * m + j] /= p;
    for (int64_t j = 0; j < columns; j++) y[k * columns + j] /= p;
    for (int64_t i = 0; i < m; i++) {
      double f = a[i * m + k];
      if (i == k) continue;
      for (int64_t j = 0; j < m; j++) a[i * m + j] -= f * a[k * m + j];
      for (int64_t j = 0; j < columns; j++) y[i * columns + j] -= f * y[k * columns + j];
    }
  }
  for (int64_t i = 0; i < n->count; i++) y[i] = rounded(h, y[i]);
}

static inline void do_draw(interpreter *h, const node *n, double *y, uint32_t row, uint32_t step) {
  orr_real *drawn = take(h, (size_t)n->count * sizeof *drawn);
  (n->op == ORR_OP_normal ? h->kernels->normal : h->kernels->uniform)(drawn, (size_t)n->count, 1,
                                                                      h->key,
                                                                      (uint32_t)n->attribute[0],
                                                                      step, h->iteration, row);
  for (int64_t i = 0; i < n->count; i++) y[i] = (double)drawn[i];
}

/* A sum over rows of this sample's part. */
static inline void do_part(const orr_graph *g, const node *n, const double *const *x, double *y) {
  if (n->op == ORR_OP_row_sum) {
    memcpy(y, x[0], (size_t)n->count * sizeof *y);
    return;
  }
  int64_t in = n->shape[0], out = n->shape[1], vectors = in ? node_at(g, n->in[0])->count / in : 0;
  for (int64_t i = 0; i < n->count; i++) y[i] = 0;
  for (int64_t v = 0; v < vectors; v++)
    for (int64_t i = 0; i < in; i++)
      for (int64_t j = 0; j < out; j++) y[i * out + j] += x[0][v * in + i] * x[1][v * out + j];
}

static inline void do_argsort(const node *n, const double *x, double *y) {
  int64_t m = n->shape[n->axes - 1];
  for (int64_t at = 0; at < n->count; at++) {
    const double *list = x + at / m * m;
    int64_t mine = at % m, rank = 0;
    for (int64_t j = 0; j < m; j++) {
      bool nan = isnan(list[mine]), other = isnan(list[j]);
      bool before = nan && other ? j < mine
                    : nan        ? true
                    : other      ? false
                                 : list[j] < list[mine] || (list[j] == list[mine] && j < mine);
      rank += j != mine && before;
    }
    y[at / m * m + rank] = (double)mine;
  }
}

static inline void do_op(interpreter *h, const orr_graph *g, const node *n, const double *const *x,
                         double *y, uint32_t row, uint32_t step) {
  if (op_is_unary(n->op) || op_is_binary(n->op)) {
    do_elementwise(h, g, n, x, y);
    return;
  }
  switch (n->op) {
  case ORR_OP_select:
    for (int64_t k = 0; k < n->count; k++)
      y[k] = x[0][node_at(g, n->in[0])->count == 1 ? 0 : k] != 0 ? x[1][k] : x[2][k];
    break;
  case ORR_OP_sum:
  case ORR_OP_max_along:
  case ORR_OP_argmax:
  case ORR_OP_cumsum: do_along_axis(h, g, n, x[0], y); break;
  case ORR_OP_argsort: do_argsort(n, x[0], y); break;
  case ORR_OP_reshape:
  case ORR_OP_stop_gradient:
  case ORR_OP_copy:
  case ORR_OP_spread: memcpy(y, x[0], (size_t)n->count * sizeof *y); break;
  case ORR_OP_broadcast:
  case ORR_OP_transpose:
  case ORR_OP_slice:
  case ORR_OP_pad:
  case ORR_OP_concat: do_arrange(g, n, x, y); break;
  case ORR_OP_gather:
  case ORR_OP_scatter:
  case ORR_OP_gather_along:
  case ORR_OP_scatter_along: do_pick_entries(h, g, n, x, y); break;
  case ORR_OP_matmul:
  case ORR_OP_linear: do_matmul(h, g, n, x, y); break;
  case ORR_OP_pack:
    for (int64_t k = 0; k < n->count; k++)
      y[k] = n->attribute[0] ? x[0][k % n->shape[1] * n->shape[0] + k / n->shape[1]] : x[0][k];
    break;
  case ORR_OP_solve: do_solve(h, n, x, y); break;
  case ORR_OP_normal:
  case ORR_OP_uniform: do_draw(h, n, y, row, step); break;
  case ORR_OP_row_sum:
  case ORR_OP_row_outer: do_part(g, n, x, y); break;
  case ORR_OP_constant: y[0] = n->number; break;
  default: cr_assert(false, "the interpreter does not know %s", orr_op_name(n->op));
  }
}

/* ---- loops ---- */

typedef struct loop_result {
  double **list[4]; /* by kind of pick */
} loop_result;

static inline double **take_list(interpreter *h, int count) {
  return take(h, (size_t)(count + 1) * sizeof(double *));
}

static inline loop_result do_scan(interpreter *h, const node *self, const double *const *in,
                                  uint32_t row, uint32_t step);

/* The body's nodes for one step: value[] holds its inputs and receives the rest. */
static inline void do_body(interpreter *h, const orr_graph *body, double **value,
                           loop_result *loops, uint32_t row, uint32_t step) {
  for (int i = 0; i < body->count; i++) {
    const node *n = node_at(body, i);
    const double *x[OPERANDS * 4];
    if (n->op == ORR_OP_input) continue;
    cr_assert(n->inputs <= OPERANDS * 4);
    for (int j = 0; j < n->inputs; j++) x[j] = value[n->in[j]];
    if (n->op == ORR_OP_scan) {
      loops[i] = do_scan(h, n, x, row, step);
    } else if (n->op == ORR_OP_pick) {
      value[i] = loops[n->in[0]].list[n->attribute[0]][n->attribute[1]];
    } else {
      value[i] = take(h, (size_t)n->count * sizeof(double));
      do_op(h, body, n, x, value[i], row, step);
    }
  }
}

static inline loop_result do_scan(interpreter *h, const node *self, const double *const *in,
                                  uint32_t row, uint32_t step) {
  const scan *s = self->scan;
  const orr_graph *body = s->body;
  loop_result r = {{take_list(h, s->carries), take_list(h, s->outputs), take_list(h, s->reduced),
                    take_list(h, s->carries)}};
  for (int i = 0; i < s->carries; i++) {
    size_t count = (size_t)node_at(body, s->carry[i])->count;
    r.list[PICK_CARRY][i] = take(h, count * sizeof(double));
    memcpy(r.list[PICK_CARRY][i], in[i], count * sizeof(double));
    r.list[PICK_STATE][i] = take(h, count * (size_t)s->length * sizeof(double));
  }
  for (int i = 0; i < s->outputs; i++)
    r.list[PICK_OUTPUT][i] =
        take(h, (size_t)(node_at(body, s->output[i])->count * s->length) * sizeof(double));
  for (int i = 0; i < s->reduced; i++)
    r.list[PICK_REDUCED][i] = take(h, (size_t)node_at(body, s->reduce[i])->count * sizeof(double));
  double **value = take_list(h, body->count);
  loop_result *loops = take(h, (size_t)(body->count + 1) * sizeof *loops);
  for (int64_t k = 0; k < s->length; k++) {
    int64_t t = s->backwards ? s->length - 1 - k : k;
    for (int i = 0; i < s->carries; i++) {
      int64_t count = node_at(body, s->carry[i])->count;
      value[s->carry[i]] = take(h, (size_t)count * sizeof(double));
      memcpy(value[s->carry[i]], r.list[PICK_CARRY][i], (size_t)count * sizeof(double));
      memcpy(r.list[PICK_STATE][i] + t * count, r.list[PICK_CARRY][i],
             (size_t)count * sizeof(double));
    }
    for (int i = 0; i < s->slices; i++)
      value[s->slice[i]] = (double *)in[s->carries + i] + t * node_at(body, s->slice[i])->count;
    for (int i = 0; i < s->captures; i++)
      value[s->capture[i]] = (double *)in[s->carries + s->slices + i];
    if (s->step != ORR_NONE) {
      value[s->step] = take(h, sizeof(double));
      *value[s->step] = (double)t;
    }
    do_body(h, body, value, loops, row, step * (uint32_t)s->length + (uint32_t)t);
    for (int i = 0; i < s->carries; i++)
      memcpy(r.list[PICK_CARRY][i], value[s->next[i]],
             (size_t)node_at(body, s->carry[i])->count * sizeof(double));
    for (int i = 0; i < s->outputs; i++) {
      int64_t count = node_at(body, s->output[i])->count;
      memcpy(r.list[PICK_OUTPUT][i] + t * count, value[s->output[i]],
             (size_t)count * sizeof(double));
    }
    for (int i = 0; i < s->reduced; i++)
      for (int64_t j = 0; j < node_at(body, s->reduce[i])->count; j++)
        r.list[PICK_REDUCED][i][j] += value[s->reduce[i]][j];
  }
  return r;
}

/* ---- the outermost graph ---- */

static inline int instances(const interpreter *h, orr_level level) {
  return level == ORR_ROW ? h->rows : level == ORR_MEMBER ? h->members : 1;
}

/* Instance of a value at `level` that belongs to instance k of one at `of`. */
static inline int instance_of(const interpreter *h, int k, orr_level of, orr_level level) {
  return level == ORR_UNIFORM ? 0 : of == level ? k : h->group[k];
}

static inline void do_input(interpreter *h, const node *n, double *y) {
  for (int i = 0; i < h->given_count; i++) {
    const given *v = &h->given[i];
    if (n->tensor ? v->tensor != n->tensor : !v->name || strcmp(v->name, n->name) != 0) continue;
    for (int k = 0; k < instances(h, n->level); k++) {
      int64_t at = n->level == ORR_MEMBER && h->entries ? h->entries[k] : k;
      memcpy(y + k * n->count, v->data + at * n->count, (size_t)n->count * sizeof *y);
    }
    return;
  }
  cr_assert(false, "an input that nothing gives");
}

static inline void do_node(interpreter *h, orr_node at, loop_result **loops) {
  const orr_graph *g = h->graph;
  const node *n = node_at(g, at);
  double *y = h->value[at] = take(h, (size_t)(n->count * instances(h, n->level)) * sizeof *y);
  orr_level highest = n->level;
  for (int j = 0; j < n->inputs; j++)
    if (node_at(g, n->in[j])->level > highest) highest = node_at(g, n->in[j])->level;
  bool adds =
      op_class_of(n->op)->reduces || (n->op == ORR_OP_pick && n->attribute[0] == PICK_REDUCED);
  if (n->op == ORR_OP_input) {
    do_input(h, n, y);
    return;
  }
  if (n->op == ORR_OP_row_count) {
    for (int k = 0; k < instances(h, n->level); k++)
      y[k] = n->level == ORR_MEMBER ? (double)h->sizes[k] : h->rows;
    return;
  }
  if (n->op == ORR_OP_scan)
    loops[at] = take(h, (size_t)(h->rows + h->members + 1) * sizeof **loops);
  double *part = adds ? take(h, (size_t)n->count * sizeof *part) : NULL;
  const double **x = take(h, (size_t)(n->inputs + 1) * sizeof *x);
  for (int k = 0; k < instances(h, adds ? highest : n->level); k++) {
    for (int j = 0; j < n->inputs; j++) {
      const node *in = node_at(g, n->in[j]);
      x[j] =
          h->value[n->in[j]] + instance_of(h, k, adds ? highest : n->level, in->level) * in->count;
    }
    double *to = y + instance_of(h, k, highest, n->level) * n->count;
    if (n->op == ORR_OP_scan) loops[at][k] = do_scan(h, n, x, (uint32_t)k, 0);
    else if (n->op == ORR_OP_pick) x[0] = loops[n->in[0]][k].list[n->attribute[0]][n->attribute[1]];
    else do_op(h, g, n, x, adds ? part : to, (uint32_t)k, 0);
    if (n->op == ORR_OP_pick && !adds) memcpy(to, x[0], (size_t)n->count * sizeof *to);
    for (int64_t i = 0; adds && i < n->count; i++)
      to[i] += n->op == ORR_OP_pick ? x[0][i] : part[i];
  }
  for (int64_t i = 0; adds && i < n->count * instances(h, n->level); i++) y[i] = rounded(h, y[i]);
}

/* Values of all nodes; the caller frees them with interpreter_free. */
static inline void interpret(interpreter *h) {
  const orr_graph *g = h->graph;
  h->value = take_list(h, g->count);
  loop_result **loops = take(h, (size_t)(g->count + 1) * sizeof *loops);
  h->group = take(h, (size_t)(h->rows + 1) * sizeof *h->group);
  int row = 0;
  for (int m = 0; m < h->members; m++)
    for (int64_t r = 0; r < h->sizes[m]; r++) h->group[row++] = m;
  bool *needed = take(h, (size_t)g->count + 1);
  for (int i = 0; i < g->output_count; i++) needed[g->outputs[i].node] = true;
  for (int i = g->count - 1; i >= 0; i--)
    for (int j = 0; needed[i] && j < node_at(g, i)->inputs; j++)
      needed[node_at(g, i)->in[j]] = true;
  for (int i = 0; i < g->count; i++) {
    if (!needed[i]) continue;
    do_node(h, i, loops);
    if (i == h->pushed)
      for (int64_t k = 0; k < node_at(g, i)->count * instances(h, node_at(g, i)->level); k++)
        h->value[i][k] += h->push[k];
  }
}

#endif
