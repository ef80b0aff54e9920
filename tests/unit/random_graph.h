/* random_graph.h - for tests: random graphs, and a slow, obvious interpreter of graphs that works node
   by node, row by row, in double. It shares nothing with the compiler but the fields of the nodes.

   What is compared cannot be exact in float32, and some graphs are badly conditioned or jump; so the
   interpreter runs again with every inexact result disturbed in its last digits, and the spread of
   those runs says how close the program must come. */
#ifndef RANDOM_GRAPH_H
#define RANDOM_GRAPH_H

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

/* ---- random graphs ---- */

enum { MOST_POOL = 120, MOST_ENTRIES = 3 };

typedef struct scope {
  orr_graph *graph;
  struct scope *outer;
  orr_node pool[MOST_POOL];
  int count, depth;
} scope;

typedef struct maker {
  orr_engine *engine;
  dice dice;
  scope top;
  given given[MOST_GIVEN];
  int given_count;
  bool smooth; /* only what differences can check */
} maker;

static inline void keep(scope *s, orr_node n) {
  if (n == ORR_NONE || orr_node_count(s->graph, n) > 200 || orr_node_axes(s->graph, n) > 6) return;
  if (s->count < MOST_POOL) s->pool[s->count++] = n;
}

static inline orr_node any(maker *m, scope *s) {
  int n = s->count, recent = n > 6 ? 6 : n;
  return s->pool[chance(&m->dice, 50) ? n - 1 - below(&m->dice, recent) : below(&m->dice, n)];
}

static inline orr_node fresh_top(maker *m, orr_level level, int axes, const int64_t *shape,
                                 bool named) {
  given *v = &m->given[m->given_count];
  int64_t entries = level == ORR_MEMBER ? MOST_ENTRIES : 1, whole[ORR_AXES + 1] = {MOST_ENTRIES};
  if (m->given_count == MOST_GIVEN) return ORR_NONE;
  *v = (given){.level = level, .axes = axes, .count = count_shape(axes, shape)};
  memcpy(v->shape, shape, (size_t)axes * sizeof *shape);
  memcpy(whole + (level == ORR_MEMBER), shape, (size_t)axes * sizeof *shape);
  if (level != ORR_ROW) {
    v->data = calloc((size_t)(v->count * entries) + 1, sizeof(double));
    for (int64_t i = 0; i < v->count * entries; i++)
      v->data[i] = (double)(orr_real)between(&m->dice, -1.5, 1.5);
  }
  orr_node made;
  if (level == ORR_ROW || named) {
    char *name = malloc(16);
    snprintf(name, 16, "in%d", m->given_count);
    v->name = name;
    made = orr_input(m->top.graph, v->name, level, axes, shape);
  } else {
    v->tensor = orr_tensor_new(m->engine, ORR_REAL, axes + (level == ORR_MEMBER), whole);
    orr_tensor_write(v->tensor, v->data);
    made = orr_parameter(m->top.graph, v->tensor, level);
  }
  m->given_count++;
  keep(&m->top, made);
  return made;
}

/* A node of an enclosing graph, as seen from s. */
static inline orr_node seen_from(scope *s, scope *home, orr_node n) {
  if (s == home || n == ORR_NONE) return n;
  return orr_scan_capture(s->graph, seen_from(s->outer, home, n));
}

static inline orr_node fresh(maker *m, scope *s, int axes, const int64_t *shape) {
  int kind = below(&m->dice, 10);
  orr_level level = kind < 4 ? ORR_UNIFORM : kind < 7 ? ORR_MEMBER : ORR_ROW;
  return seen_from(s, &m->top, fresh_top(m, level, axes, shape, chance(&m->dice, 40)));
}

static inline bool fits(const orr_graph *g, orr_node a, orr_node b) {
  const node *p = node_at(g, a), *q = node_at(g, b);
  for (int i = 1; i <= p->axes && i <= q->axes; i++) {
    int64_t x = p->shape[p->axes - i], y = q->shape[q->axes - i];
    if (x != y && x != 1 && y != 1) return false;
  }
  return true;
}

/* A node that broadcasts with x. */
static inline orr_node partner(maker *m, scope *s, orr_node x) {
  for (int i = 0; i < 12; i++) {
    orr_node n = any(m, s);
    if (fits(s->graph, x, n)) return n;
  }
  return chance(&m->dice, 50) ? orr_number(s->graph, between(&m->dice, -2, 2)) : x;
}

static inline orr_node op1(scope *s, orr_op op, orr_node x) { return orr_unary(s->graph, op, x); }
static inline orr_node op2(scope *s, orr_op op, orr_node a, orr_node b) {
  return orr_binary(s->graph, op, a, b);
}
static inline orr_node shifted_by(scope *s, orr_node x, double scale, double shift) {
  orr_node y = op2(s, ORR_OP_mul, x, orr_number(s->graph, scale));
  return op2(s, ORR_OP_add, y, orr_number(s->graph, shift));
}
static inline orr_node tame(scope *s, orr_node x, double scale, double shift) {
  return shifted_by(s, op1(s, ORR_OP_tanh, x), scale, shift);
}

static inline orr_node random_unary(maker *m, scope *s) {
  static const orr_op smooth[] = {ORR_OP_neg,  ORR_OP_square, ORR_OP_sin,     ORR_OP_cos,
                                  ORR_OP_atan, ORR_OP_tanh,   ORR_OP_sigmoid, ORR_OP_softplus,
                                  ORR_OP_silu, ORR_OP_erf,    ORR_OP_gelu,    ORR_OP_relu,
                                  ORR_OP_abs};
  static const orr_op jumps[] = {ORR_OP_sign,  ORR_OP_floor,     ORR_OP_ceil,
                                 ORR_OP_round, ORR_OP_is_finite, ORR_OP_logical_not};
  static const orr_op partial[] = {ORR_OP_sqrt,  ORR_OP_reciprocal, ORR_OP_exp,
                                   ORR_OP_expm1, ORR_OP_log,        ORR_OP_log1p,
                                   ORR_OP_tan,   ORR_OP_asin,       ORR_OP_acos};
  orr_node x = any(m, s);
  int kind = below(&m->dice, 10);
  if (kind < 5) return op1(s, smooth[below(&m->dice, (int)COUNT(smooth))], x);
  if (kind < 7 && !m->smooth) return op1(s, jumps[below(&m->dice, (int)COUNT(jumps))], x);
  orr_op op = partial[below(&m->dice, (int)COUNT(partial))];
  bool wide = op == ORR_OP_sqrt || op == ORR_OP_reciprocal || op == ORR_OP_log;
  if (!m->smooth && chance(&m->dice, 10)) return op1(s, op, x); /* NaN and infinities too */
  return op1(s, op, tame(s, x, wide ? 1 : 0.8, wide ? 1.5 : 0));
}

static inline orr_node random_binary(maker *m, scope *s) {
  static const orr_op smooth[] = {ORR_OP_add, ORR_OP_add, ORR_OP_sub, ORR_OP_mul,
                                  ORR_OP_mul, ORR_OP_min, ORR_OP_max, ORR_OP_masked_mul};
  static const orr_op jumps[] = {ORR_OP_less, ORR_OP_less_equal, ORR_OP_equal};
  orr_node a = any(m, s), b = partner(m, s, a);
  int kind = below(&m->dice, 12);
  if (chance(&m->dice, 50)) {
    orr_node t = a;
    a = b, b = t;
  }
  if (kind == 0 && !m->smooth) return op2(s, jumps[below(&m->dice, 3)], a, b);
  if (kind == 1) return op2(s, ORR_OP_div, a, tame(s, b, 1, 2));
  if (kind == 2) return op2(s, ORR_OP_pow, tame(s, a, 1, 1.5), tame(s, b, 2, 0.3));
  if (kind == 3) return op2(s, ORR_OP_atan2, a, tame(s, b, 1, 1.6));
  if (kind == 4 && !m->smooth)
    return op2(s, chance(&m->dice, 50) ? ORR_OP_mod : ORR_OP_floor_div, a, tame(s, b, 1, 1.6));
  return op2(s, smooth[below(&m->dice, (int)COUNT(smooth))], a, b);
}

static inline orr_node random_select(maker *m, scope *s) {
  orr_node a = any(m, s), b = partner(m, s, a),
           c = chance(&m->dice, 50) ? any(m, s) : partner(m, s, a);
  if (!fits(s->graph, c, b) || !fits(s->graph, a, c)) c = orr_sum_all(s->graph, c);
  orr_node condition = op2(s, ORR_OP_less, c, orr_number(s->graph, 0.1));
  if (chance(&m->dice, 25) && !m->smooth) a = op1(s, ORR_OP_log, a); /* poison on one side */
  return orr_select(s->graph, condition, a, b);
}

static inline orr_node random_along(maker *m, scope *s) {
  orr_graph *g = s->graph;
  orr_node x = any(m, s);
  int axes = orr_node_axes(g, x);
  if (axes == 0) return orr_sum_all(g, x);
  int axis = below(&m->dice, axes) - (chance(&m->dice, 50) ? axes : 0);
  bool stay = chance(&m->dice, 50);
  switch (below(&m->dice, m->smooth ? 8 : 10)) {
  case 0: return orr_sum(g, x, axis, stay);
  case 1: return orr_mean(g, x, axis, stay);
  case 2: return orr_max_along(g, x, axis, stay);
  case 3: return orr_min_along(g, x, axis, stay);
  case 4: return orr_softmax(g, x, axis);
  case 5: return orr_logsumexp(g, x, axis, stay);
  case 6: return orr_cumsum(g, x, axis, stay);
  case 7: return orr_sum_all(g, x);
  case 8: return orr_argmax(g, x, axis);
  default: return orr_argsort(g, x);
  }
}

static inline orr_node random_arranged(maker *m, scope *s) {
  orr_graph *g = s->graph;
  orr_node x = any(m, s), parts[4];
  int axes = orr_node_axes(g, x), order[ORR_AXES];
  int64_t shape[ORR_AXES];
  memcpy(shape, orr_node_shape(g, x), (size_t)axes * sizeof *shape);
  if (axes == 0 || chance(&m->dice, 15)) { /* widen */
    if (axes > 4) return x;
    memmove(shape + 1, shape, (size_t)axes * sizeof *shape);
    shape[0] = 1 + below(&m->dice, 4);
    return orr_broadcast(g, x, axes + 1, shape);
  }
  int axis = below(&m->dice, axes);
  int64_t size = shape[axis], first = size ? below(&m->dice, (int)size) : 0;
  switch (below(&m->dice, 7)) {
  case 0: return orr_slice(g, x, axis, first, size ? 1 + below(&m->dice, (int)(size - first)) : 0);
  case 1: return orr_pad(g, x, axis, below(&m->dice, 3), below(&m->dice, 3));
  case 2:
    for (int i = 0; i < axes; i++) order[i] = i;
    for (int i = axes - 1, j, t; i > 0; i--)
      j = below(&m->dice, i + 1), t = order[i], order[i] = order[j], order[j] = t;
    return orr_transpose(g, x, order);
  case 3: shape[0] = orr_node_count(g, x); return orr_reshape(g, x, 1, shape);
  case 4: {
    int count = 2 + below(&m->dice, 3);
    parts[0] = x;
    for (int i = 1; i < count; i++) {
      parts[i] = any(m, s);
      const node *n = node_at(g, parts[i]);
      if (!shape_equal(n->axes, n->shape, axes, shape)) parts[i] = x;
    }
    return chance(&m->dice, 50) || axes > 4 ? orr_concat(g, count, parts, axis)
                                            : orr_stack(g, count, parts, axis);
  }
  case 5: return m->smooth ? x : orr_stop_gradient(g, x);
  default: return orr_copy(g, x);
  }
}

static inline orr_node random_indexed(maker *m, scope *s) {
  orr_graph *g = s->graph;
  orr_node table = any(m, s), index = shifted_by(s, any(m, s), 2, 1.3);
  index = op1(s, ORR_OP_floor, index);
  const node *t = node_at(g, table), *i = node_at(g, index);
  if (t->axes == 0 || t->count == 0 || i->axes + t->axes > 4) return ORR_NONE;
  switch (below(&m->dice, 4)) {
  case 0: return orr_gather(g, table, index);
  case 1:
    index = op1(s, ORR_OP_floor, shifted_by(s, table, 2, 1.2));
    return orr_scatter(g, table, index, 3);
  case 2:
    index = op1(s, ORR_OP_floor,
                shifted_by(s, chance(&m->dice, 50) ? table : partner(m, s, table), 2, 1.2));
    return orr_gather_along(g, table, orr_broadcast(g, index, t->axes, t->shape));
  default:
    index = op1(s, ORR_OP_floor, shifted_by(s, table, 2, 1.2));
    return orr_scatter_along(g,
                             partner(m, s, table) == table ? table : shifted_by(s, table, 0.5, 0),
                             index, 3);
  }
}

static inline orr_node random_product(maker *m, scope *s) {
  orr_graph *g = s->graph;
  orr_node a = any(m, s);
  int axes = orr_node_axes(g, a);
  const int64_t *shape = orr_node_shape(g, a);
  if (axes == 0) return ORR_NONE;
  int64_t k = shape[axes - 1], out = 1 + below(&m->dice, chance(&m->dice, 10) ? 20 : 4),
          other[ORR_AXES] = {k, out};
  int kind = below(&m->dice, 8);
  if (kind == 0) return orr_matmul(g, a, fresh(m, s, 1, other));
  if (kind == 1 && axes == 3) {
    other[0] = shape[0], other[1] = k, other[2] = out;
    return orr_matmul(g, a, fresh(m, s, 3, other));
  }
  if (kind == 2) { /* a as the right factor */
    other[0] = out, other[1] = axes > 1 ? shape[axes - 2] : k;
    return orr_matmul(g, fresh(m, s, 2, other), a);
  }
  if (kind == 3 && axes == 2 && shape[0] == k) {
    orr_node eye[4], one = orr_number(g, 3);
    if (k > 4) return ORR_NONE;
    for (int i = 0; i < k; i++) {
      int64_t single[1] = {1};
      eye[i] = orr_pad(g, orr_broadcast(g, one, 1, single), 0, i, k - 1 - i);
    }
    orr_node matrix = op2(s, ORR_OP_add, orr_stack(g, (int)k, eye, 0), tame(s, a, 0.5, 0));
    other[1] = out;
    return orr_solve(g, matrix, fresh(m, s, 1 + below(&m->dice, 2), other));
  }
  orr_node y = orr_matmul(g, a, fresh(m, s, 2, other));
  if (chance(&m->dice, 50)) {
    orr_node bias = fresh(m, s, 1, other + 1);
    y = chance(&m->dice, 50) ? op2(s, ORR_OP_add, y, bias) : op2(s, ORR_OP_add, bias, y);
  }
  return y;
}

static inline orr_node random_rows(maker *m, scope *s) {
  orr_graph *g = s->graph;
  int64_t shape[2] = {1 + below(&m->dice, 4), 1 + below(&m->dice, 3)};
  int kind = below(&m->dice, s->outer ? 2 : 6), axes = below(&m->dice, 3);
  orr_level level = chance(&m->dice, 50) ? ORR_UNIFORM : ORR_MEMBER;
  if (kind == 0) return orr_normal(g, axes, shape);
  if (kind == 1) return orr_uniform(g, axes, shape);
  if (kind == 2) return orr_row_sum(g, any(m, s), level);
  if (kind == 3) return orr_row_count(g, level);
  return orr_row_mean(g, any(m, s), level);
}

static inline void random_ops(maker *m, scope *s, int count);

/* What a carry becomes: of its own shape. */
static inline orr_node random_next(maker *m, scope *s, orr_node carry, const orr_node *carries,
                                   int count) {
  orr_graph *g = s->graph;
  const node *c = node_at(g, carry);
  int kind = below(&m->dice, 10);
  orr_node other = any(m, s);
  if (kind == 0) return carry;
  if (kind == 1) { /* two that change places */
    orr_node swap = carries[below(&m->dice, count)];
    const node *n = node_at(g, swap);
    if (shape_equal(n->axes, n->shape, c->axes, c->shape)) return swap;
  }
  if (kind == 2) return orr_broadcast(g, orr_number(g, 0.5), c->axes, c->shape);
  if (kind == 3) { /* another as it is, seen through an op that only shows it */
    orr_node swap = carries[below(&m->dice, count)];
    if (orr_node_count(g, swap) == c->count)
      return orr_reshape(g, orr_copy(g, swap), c->axes, c->shape);
  }
  for (int i = 0; i < 10 && kind < 7; i++) {
    const node *n = node_at(g, other = any(m, s));
    if (shape_equal(n->axes, n->shape, c->axes, c->shape)) return other;
  }
  other = orr_sum_all(g, other);
  return op1(s, ORR_OP_tanh, op2(s, ORR_OP_add, shifted_by(s, carry, 0.7, 0.1), other));
}

static inline void random_scan(maker *m, scope *s) {
  orr_graph *g = s->graph;
  int64_t length = 1 + below(&m->dice, 4);
  if (s->depth >= 2) return;
  orr_node initial[3], sequence[2], carries[3], next[3], output[4], results[7];
  int carried = below(&m->dice, 4), sliced = below(&m->dice, 3), outputs = below(&m->dice, 4),
      captured = 1 + below(&m->dice, 3);
  if (carried + outputs == 0) carried = 1;
  for (int i = 0; i < carried; i++) initial[i] = any(m, s);
  for (int i = 0; i < sliced; i++) {
    orr_node x = any(m, s);
    int axes = orr_node_axes(g, x);
    int64_t shape[ORR_AXES] = {length};
    memcpy(shape + 1, orr_node_shape(g, x), (size_t)axes * sizeof *shape);
    if (axes > 3) axes = 0, x = orr_sum_all(g, x);
    sequence[i] =
        axes && orr_node_shape(g, x)[0] == length ? x : orr_broadcast(g, x, axes + 1, shape);
    if (chance(&m->dice, 50)) sequence[i] = orr_cumsum(g, sequence[i], 0, false);
  }
  scope body = {.graph = orr_scan_begin(g, length, chance(&m->dice, 40)),
                .outer = s,
                .depth = s->depth + 1};
  for (int i = 0; i < captured; i++) keep(&body, orr_scan_capture(body.graph, any(m, s)));
  for (int i = 0; i < sliced; i++) keep(&body, orr_scan_slice(body.graph, sequence[i]));
  if (chance(&m->dice, 30)) keep(&body, orr_scan_step(body.graph));
  for (int i = 0; i < carried; i++)
    keep(&body, carries[i] = orr_scan_carry(body.graph, initial[i]));
  if (body.count == 0) keep(&body, orr_scan_step(body.graph));
  random_ops(m, &body, 2 + below(&m->dice, 6));
  for (int i = 0; i < carried; i++) next[i] = random_next(m, &body, carries[i], carries, carried);
  for (int i = 0; i < outputs; i++) output[i] = any(m, &body);
  if (orr_scan_end(body.graph, next, outputs, output, results)) return;
  for (int i = 0; i < carried + outputs; i++) keep(s, results[i]);
}

static inline void random_gradient(maker *m, scope *s) {
  orr_node wrt[3], gradients[3], y = orr_sum_all(s->graph, any(m, s));
  int count = 1 + below(&m->dice, 3);
  if (!s->outer && chance(&m->dice, 60))
    y = orr_row_mean(s->graph, y, chance(&m->dice, 70) ? ORR_UNIFORM : ORR_MEMBER);
  for (int i = 0; i < count;
       i++) /* often one of the first: what is given, which the most depends on */
    wrt[i] = s->pool[below(&m->dice, chance(&m->dice, 60) && s->count > 6 ? 6 : s->count)];
  if (s->graph->count > 1500 || orr_gradient(s->graph, y, count, wrt, gradients)) return;
  for (int i = 0; i < count; i++) keep(s, gradients[i]);
}

static inline void random_ops(maker *m, scope *s, int count) {
  for (int i = 0; i < count; i++) {
    int kind = below(&m->dice, 100);
    if (kind < 18) keep(s, random_unary(m, s));
    else if (kind < 42) keep(s, random_binary(m, s));
    else if (kind < 48) keep(s, random_select(m, s));
    else if (kind < 56) keep(s, random_along(m, s));
    else if (kind < 66) keep(s, random_arranged(m, s));
    else if (kind < 71) keep(s, random_indexed(m, s));
    else if (kind < 81) keep(s, random_product(m, s));
    else if (kind < 86) keep(s, random_rows(m, s));
    else if (kind < 95) random_scan(m, s);
    else if (!m->smooth) random_gradient(m, s);
  }
}

static inline void random_inputs(maker *m) {
  static const orr_level levels[] = {ORR_ROW,    ORR_ROW,     ORR_UNIFORM,
                                     ORR_MEMBER, ORR_UNIFORM, ORR_MEMBER};
  for (int i = 0; i < (int)COUNT(levels); i++) {
    int64_t shape[3] = {1 + below(&m->dice, 4), 1 + below(&m->dice, 4), 1 + below(&m->dice, 3)};
    if (i > 2 && chance(&m->dice, 40)) continue;
    fresh_top(m, levels[i], below(&m->dice, 4), shape, chance(&m->dice, 40));
  }
  keep(&m->top, orr_number(m->top.graph, between(&m->dice, -2, 2)));
}

static inline void maker_free(maker *m) {
  for (int i = 0; i < m->given_count; i++) {
    free((void *)m->given[i].name);
    free(m->given[i].data);
    orr_tensor_free(m->given[i].tensor);
  }
  orr_graph_free(m->top.graph);
}

#endif
