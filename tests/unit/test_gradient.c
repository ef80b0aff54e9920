/* Gradient checks: every op's derivative against central differences, first and second order. In
   the double build the tolerance is 1e-4 relative; in float32 only that the numbers agree
   roughly. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "program/graph.h"

#ifdef ORR_DOUBLE
static const double STEP = 1e-5, TOLERANCE = 1e-4, FLOOR = 1e-6;
#else
static const double STEP = 2e-2, TOLERANCE = 5e-2, FLOOR = 2e-2;
#endif

enum { ROWS = 37 }; /* not a whole number of blocks */

/* y = f(x[0], ..) of one sample; inputs by row unless `shared`. */
typedef orr_node (*function)(orr_graph *g, const orr_node *x);

typedef struct check {
  const char *name;
  function f;
  int inputs;
  int axes[3];
  int64_t shape[3][3];
  double low, high;
  bool shared[3]; /* a uniform parameter: its gradient is a sum over rows */
  bool flat;      /* second derivatives vanish or are not wanted */
} check;

static orr_tensor *random_tensor(orr_engine *engine, int lead, int axes, const int64_t *shape,
                                 double low, double high) {
  int64_t full[4] = {ROWS};
  memcpy(full + lead, shape, (size_t)axes * sizeof *shape);
  orr_tensor *t = orr_tensor_new(engine, ORR_REAL, axes + lead, full);
  orr_real *x = orr_tensor_data(t);
  for (int64_t i = 0; i < orr_tensor_count(t); i++)
    x[i] = (orr_real)(low + (high - low) * orr_random_uniform(orr_engine_random(engine)));
  return t;
}

/* A number per row that weighs every entry of f differently, so that no entry can hide. */
static orr_node weighed(orr_graph *g, orr_node y, double phase) {
  if (y == ORR_NONE) return y;
  int64_t count = orr_node_count(g, y);
  y = orr_reshape(g, y, 1, &count);
  orr_node weights[64];
  for (int64_t i = 0; i < count && i < 64; i++)
    weights[i] = orr_number(g, 0.5 + sin(phase + 1.7 * (double)i));
  return orr_sum(g, orr_binary(g, ORR_OP_mul, y, orr_stack(g, (int)count, weights, 0)), 0, false);
}

typedef struct built {
  orr_run *run;
  orr_tensor *x[3];
} built;

/* Outputs: "y" per row, "d<i>" gradients. With order 2, y is itself made of first derivatives. */
static built build(orr_engine *engine, const check *c, int order) {
  orr_graph *g = orr_graph_new(engine);
  orr_node x[3], d[3];
  built b = {0};
  for (int i = 0; i < c->inputs; i++) {
    b.x[i] = random_tensor(engine, !c->shared[i], c->axes[i], c->shape[i], c->low, c->high);
    char name[16];
    snprintf(name, sizeof name, "x%d", i);
    x[i] = c->shared[i] ? orr_parameter(g, b.x[i], ORR_UNIFORM)
                        : orr_input(g, name, ORR_ROW, c->axes[i], c->shape[i]);
  }
  orr_node y = weighed(g, c->f(g, x), 0.3);
  if (order == 2) {
    cr_assert_eq(orr_gradient(g, y, c->inputs, x, d), ORR_OK, "%s: %s", c->name,
                 orr_engine_message(engine));
    orr_node sum = orr_number(g, 0);
    for (int i = 0; i < c->inputs; i++)
      sum = orr_binary(g, ORR_OP_add, sum, weighed(g, d[i], 1.1 + i));
    y = sum;
  }
  cr_assert_neq(y, ORR_NONE, "%s: %s", c->name, orr_engine_message(engine));
  cr_assert_eq(orr_gradient(g, y, c->inputs, x, d), ORR_OK, "%s: %s", c->name,
               orr_engine_message(engine));
  if (orr_node_level(g, y) == ORR_ROW) y = orr_row_sum(g, y, ORR_UNIFORM);
  cr_assert_eq(orr_output(g, "y", y), ORR_OK);
  for (int i = 0; i < c->inputs; i++) {
    char name[16];
    snprintf(name, sizeof name, "d%d", i);
    cr_assert_eq(orr_output(g, name, d[i]), ORR_OK, "%s %s", c->name, orr_engine_message(engine));
  }
  orr_program *p = orr_compile(g);
  cr_assert_not_null(p, "%s: %s", c->name, orr_engine_message(engine));
  b.run = orr_run_new(p);
  orr_run_rows(b.run, ROWS, 1);
  for (int i = 0; i < c->inputs; i++) {
    char name[16];
    snprintf(name, sizeof name, "x%d", i);
    if (!c->shared[i])
      cr_assert_eq(orr_run_input(b.run, name, b.x[i], NULL), ORR_OK, "%s",
                   orr_engine_message(engine));
  }
  orr_program_free(p);
  orr_graph_free(g);
  return b;
}

static double value_at(built *b) {
  orr_run_seed(b->run, 5, 0);
  cr_assert_eq(orr_run_go(b->run), ORR_OK, "%s", orr_engine_message(orr_tensor_engine(b->x[0])));
  return *(orr_real *)orr_tensor_data(orr_run_output(b->run, "y"));
}

static void compare(built *b, const check *c, int order) {
  for (int i = 0; i < c->inputs; i++) {
    char name[16];
    snprintf(name, sizeof name, "d%d", i);
    orr_real *x = orr_tensor_data(b->x[i]);
    int64_t count = orr_tensor_count(b->x[i]);
    for (int64_t at = 0; at < count; at += count / 12 + 1) {
      value_at(b);
      double given = ((orr_real *)orr_tensor_data(orr_run_output(b->run, name)))[at],
             old = (double)x[at];
      x[at] = (orr_real)(old + STEP), orr_tensor_touch(b->x[i]);
      double up = value_at(b);
      x[at] = (orr_real)(old - STEP), orr_tensor_touch(b->x[i]);
      double down = value_at(b);
      x[at] = (orr_real)old, orr_tensor_touch(b->x[i]);
      double expected = (up - down) / (2 * STEP), scale = fabs(expected) + fabs(given) + FLOOR;
#ifndef ORR_DOUBLE
      scale += fabs(up) * 1e-2;
#endif
      cr_expect(fabs(expected - given) / scale < TOLERANCE,
                "%s, order %d, input %d entry %lld: %.9g, differences give %.9g", c->name, order, i,
                (long long)at, given, expected);
    }
  }
}

static void run_check(const check *c) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 2;
  orr_engine *engine = orr_engine_new(&options);
#ifdef ORR_DOUBLE
  int orders = c->flat ? 1 : 2;
#else
  int orders = 1;
#endif
  for (int order = 1; order <= orders; order++) {
    built b = build(engine, c, order);
    compare(&b, c, order);
    orr_run_free(b.run);
    for (int i = 0; i < c->inputs; i++) orr_tensor_free(b.x[i]);
  }
  size_t left = orr_engine_bytes(engine);
  orr_engine *held = orr_engine_retain(engine);
  orr_engine_free(engine);
  orr_engine_free(held);
  cr_expect(left < 100000, "%s: %zu bytes left", c->name, left);
}

/* ---- the rows of the op table ---- */

#define UNARY(name, ...)                                      \
  static orr_node f_##name(orr_graph *g, const orr_node *x) { \
    return orr_unary(g, ORR_OP_##name, x[0]);                 \
  }
#define BINARY(name, ...)                                     \
  static orr_node f_##name(orr_graph *g, const orr_node *x) { \
    return orr_binary(g, ORR_OP_##name, x[0], x[1]);          \
  }
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED

#define UNARY(name, f, derivative, low, high, doc) \
  {#name, f_##name, 1, {1}, {{3}}, low, high, {false}, false},
#define BINARY(name, f, da, db, low, high, doc)                        \
  {#name, f_##name, 2, {1, 1}, {{3}, {3}}, low, high, {false}, false}, \
      {#name " broadcast", f_##name, 2, {2, 1}, {{2, 3}, {3}}, low, high, {false, true}, false},
#define STRUCTURED(...)
static const check elementwise[] = {
#include "orrery/ops.def"
};
#undef UNARY
#undef BINARY
#undef STRUCTURED

Test(gradient, elementwise) {
  for (size_t i = 0; i < COUNT(elementwise); i++) run_check(&elementwise[i]);
}

/* ---- structured ops ---- */

static orr_node sin_of(orr_graph *g, orr_node x) { return orr_unary(g, ORR_OP_sin, x); }
static orr_node f_sum(orr_graph *g, const orr_node *x) {
  return orr_sum(g, sin_of(g, x[0]), 0, false);
}
static orr_node f_mean(orr_graph *g, const orr_node *x) {
  return orr_mean(g, orr_unary(g, ORR_OP_square, x[0]), -1, true);
}
static orr_node f_max_along(orr_graph *g, const orr_node *x) {
  return orr_max_along(g, sin_of(g, x[0]), 1, false);
}
static orr_node f_min_along(orr_graph *g, const orr_node *x) {
  return orr_min_along(g, sin_of(g, x[0]), 0, false);
}
static orr_node f_cumsum(orr_graph *g, const orr_node *x) {
  return orr_cumsum(g, sin_of(g, x[0]), 1, false);
}
static orr_node f_cumsum_back(orr_graph *g, const orr_node *x) {
  return orr_cumsum(g, sin_of(g, x[0]), 0, true);
}
static orr_node f_softmax(orr_graph *g, const orr_node *x) { return orr_softmax(g, x[0], 1); }
static orr_node f_logsumexp(orr_graph *g, const orr_node *x) {
  return orr_logsumexp(g, x[0], 0, false);
}
static orr_node f_reshape(orr_graph *g, const orr_node *x) {
  int64_t shape[] = {3, 2};
  return sin_of(g, orr_reshape(g, x[0], 2, shape));
}
static orr_node f_broadcast(orr_graph *g, const orr_node *x) {
  int64_t shape[] = {2, 2, 3};
  return sin_of(g, orr_broadcast(g, orr_unary(g, ORR_OP_square, x[0]), 3, shape));
}
static orr_node f_transpose(orr_graph *g, const orr_node *x) {
  int order[] = {1, 0};
  return sin_of(g, orr_transpose(g, x[0], order));
}
static orr_node f_slice(orr_graph *g, const orr_node *x) {
  return sin_of(g, orr_slice(g, x[0], 1, 1, 2));
}
static orr_node f_pad(orr_graph *g, const orr_node *x) {
  return orr_pad(g, sin_of(g, x[0]), 0, 1, 2);
}
static orr_node f_concat(orr_graph *g, const orr_node *x) {
  orr_node parts[] = {x[0], sin_of(g, x[1])};
  return orr_unary(g, ORR_OP_square, orr_concat(g, 2, parts, 0));
}
static orr_node f_stack(orr_graph *g, const orr_node *x) {
  return sin_of(g, orr_stack(g, 2, x, 1));
}
static orr_node index_of(orr_graph *g, orr_node x, int64_t n) {
  orr_node scaled = orr_binary(g, ORR_OP_mul, x, orr_number(g, (double)n));
  return orr_unary(g, ORR_OP_floor, orr_unary(g, ORR_OP_abs, scaled));
}
static orr_node f_gather(orr_graph *g, const orr_node *x) {
  orr_node index = orr_stop_gradient(g, index_of(g, x[1], 2));
  return sin_of(g, orr_gather(g, x[0], index));
}
static orr_node f_scatter(orr_graph *g, const orr_node *x) {
  orr_node numbers[] = {orr_number(g, 1), orr_number(g, 3), orr_number(g, 1)};
  return sin_of(g, orr_scatter(g, x[0], orr_stack(g, 3, numbers, 0), 4));
}
static orr_node f_sort(orr_graph *g, const orr_node *x) {
  return sin_of(g, orr_gather_along(g, x[0], orr_argsort(g, x[0])));
}
static orr_node f_scatter_along(orr_graph *g, const orr_node *x) {
  return sin_of(g, orr_scatter_along(g, x[0], orr_argsort(g, x[0]), 5));
}
static orr_node f_matmul(orr_graph *g, const orr_node *x) {
  return sin_of(g, orr_matmul(g, x[0], x[1]));
}
static orr_node well_conditioned(orr_graph *g, orr_node a) {
  orr_node rows[3];
  for (int i = 0; i < 3; i++) {
    orr_node entries[3];
    for (int j = 0; j < 3; j++) entries[j] = orr_number(g, i == j ? 3 : 0);
    rows[i] = orr_stack(g, 3, entries, 0);
  }
  return orr_binary(g, ORR_OP_add, a, orr_stack(g, 3, rows, 0));
}
static orr_node f_solve(orr_graph *g, const orr_node *x) {
  return orr_solve(g, well_conditioned(g, x[0]), sin_of(g, x[1]));
}
static orr_node f_select(orr_graph *g, const orr_node *x) {
  orr_node c = orr_binary(g, ORR_OP_less, x[0], x[1]);
  return orr_select(g, c, sin_of(g, x[0]), orr_unary(g, ORR_OP_square, x[1]));
}
static orr_node f_linear(orr_graph *g, const orr_node *x) {
  orr_node h = orr_binary(g, ORR_OP_add, orr_matmul(g, x[0], x[1]), x[2]);
  return orr_unary(g, ORR_OP_tanh, h);
}
static orr_node f_row_sum(orr_graph *g, const orr_node *x) {
  orr_node mean = orr_row_mean(g, sin_of(g, x[0]), ORR_UNIFORM);
  return orr_binary(g, ORR_OP_mul, orr_binary(g, ORR_OP_sub, x[0], mean), x[1]);
}
/* the state follows s' = tanh(s W + a_t) + 0.1 t, the outputs are its squares */
static orr_node f_scan(orr_graph *g, const orr_node *x) {
  orr_graph *body = orr_scan_begin(g, 4, false);
  orr_node s = orr_scan_carry(body, x[0]), a = orr_scan_slice(body, x[1]),
           w = orr_scan_capture(body, x[2]);
  orr_node t = orr_binary(body, ORR_OP_mul, orr_scan_step(body), orr_number(body, 0.1));
  orr_node next =
      orr_unary(body, ORR_OP_tanh, orr_binary(body, ORR_OP_add, orr_matmul(body, s, w), a));
  next = orr_binary(body, ORR_OP_add, next, t);
  orr_node squared = orr_unary(body, ORR_OP_square, s), results[2];
  if (orr_scan_end(body, &next, 1, &squared, results)) return ORR_NONE;
  orr_node parts[] = {orr_reshape(g, results[1], 1, (int64_t[]){8}), results[0]};
  return orr_concat(g, 2, parts, 0);
}
static orr_node f_scan_row(orr_graph *g,
                           const orr_node *x) { /* captures a value that differs per row */
  orr_graph *body = orr_scan_begin(g, 3, true);
  orr_node s = orr_scan_carry(body, x[0]), k = orr_scan_capture(body, x[1]);
  orr_node next = orr_binary(body, ORR_OP_add, orr_binary(body, ORR_OP_mul, s, k),
                             orr_unary(body, ORR_OP_sin, s));
  orr_node result;
  return orr_scan_end(body, &next, 0, NULL, &result) ? ORR_NONE : result;
}
static orr_node f_noise(orr_graph *g, const orr_node *x) { /* draws are replayed when recomputed */
  orr_graph *body = orr_scan_begin(g, 3, false);
  orr_node s = orr_scan_carry(body, x[0]), scale = orr_scan_capture(body, x[1]);
  orr_node draw = orr_normal(body, 1, (int64_t[]){2});
  orr_node next = orr_binary(body, ORR_OP_add, sin_of(body, s),
                             orr_binary(body, ORR_OP_mul, scale, draw)),
           result;
  return orr_scan_end(body, &next, 0, NULL, &result) ? ORR_NONE : result;
}

static const check structured[] = {
    {"sum", f_sum, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"mean", f_mean, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"max_along", f_max_along, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"min_along", f_min_along, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"cumsum", f_cumsum, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"cumsum backwards", f_cumsum_back, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"softmax", f_softmax, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"logsumexp", f_logsumexp, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"reshape", f_reshape, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"broadcast", f_broadcast, 1, {2}, {{2, 1}}, -2, 2, {false}, false},
    {"broadcast of a uniform", f_broadcast, 1, {2}, {{2, 1}}, -2, 2, {true}, false},
    {"transpose", f_transpose, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"slice", f_slice, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"pad", f_pad, 1, {2}, {{2, 3}}, -2, 2, {false}, false},
    {"concat", f_concat, 2, {2, 2}, {{2, 3}, {1, 3}}, -2, 2, {false}, false},
    {"concat with a uniform", f_concat, 2, {2, 2}, {{2, 3}, {1, 3}}, -2, 2, {false, true}, false},
    {"stack", f_stack, 2, {1, 1}, {{3}, {3}}, -2, 2, {false}, false},
    {"gather", f_gather, 2, {2, 1}, {{4, 3}, {2}}, -2, 2, {false}, true},
    {"gather from a uniform table", f_gather, 2, {2, 1}, {{4, 3}, {2}}, -2, 2, {true, false}, true},
    {"scatter", f_scatter, 1, {2}, {{3, 2}}, -2, 2, {false}, false},
    {"sort", f_sort, 1, {2}, {{2, 4}}, -2, 2, {false}, true},
    {"scatter_along", f_scatter_along, 1, {2}, {{2, 4}}, -2, 2, {false}, true},
    {"matmul per row", f_matmul, 2, {2, 2}, {{2, 3}, {3, 2}}, -1, 1, {false}, false},
    {"matmul row by column", f_matmul, 2, {1, 2}, {{3}, {3, 2}}, -1, 1, {false}, false},
    {"matmul matrix by vector", f_matmul, 2, {2, 1}, {{2, 3}, {3}}, -1, 1, {false}, false},
    {"matmul batched", f_matmul, 2, {3, 2}, {{2, 2, 3}, {3, 2}}, -1, 1, {false}, false},
    {"matmul shared matrix", f_matmul, 2, {1, 2}, {{3}, {3, 4}}, -1, 1, {false, true}, false},
    {"matmul shared left", f_matmul, 2, {2, 2}, {{2, 3}, {3, 2}}, -1, 1, {true, false}, false},
    {"matmul both shared", f_matmul, 2, {2, 2}, {{2, 3}, {3, 2}}, -1, 1, {true, true}, false},
    {"matmul of a matrix and a shared one",
     f_matmul,
     2,
     {2, 2},
     {{2, 3}, {3, 4}},
     -1,
     1,
     {false, true},
     false},
    {"solve", f_solve, 2, {2, 1}, {{3, 3}, {3}}, -1, 1, {false}, false},
    {"solve for columns", f_solve, 2, {2, 2}, {{3, 3}, {3, 2}}, -1, 1, {false}, false},
    {"select", f_select, 2, {1, 1}, {{3}, {3}}, -2, 2, {false}, true},
    {"linear layer", f_linear, 3, {1, 2, 1}, {{3}, {3, 4}, {4}}, -1, 1, {false, true, true}, false},
    {"row_sum", f_row_sum, 2, {1, 1}, {{3}, {3}}, -1, 1, {false}, false},
    {"scan", f_scan, 3, {1, 2, 2}, {{2}, {4, 2}, {2, 2}}, -1, 1, {false, false, true}, false},
    {"scan from a uniform start",
     f_scan,
     3,
     {1, 2, 2},
     {{2}, {4, 2}, {2, 2}},
     -1,
     1,
     {true, false, true},
     false},
    {"scan of uniforms only",
     f_scan,
     3,
     {1, 2, 2},
     {{2}, {4, 2}, {2, 2}},
     -1,
     1,
     {true, true, true},
     false},
    {"scan per row, backwards", f_scan_row, 2, {1, 1}, {{2}, {2}}, -1, 1, {false}, false},
    {"scan with a shared factor", f_scan_row, 2, {1, 1}, {{2}, {2}}, -1, 1, {false, true}, false},
    {"draws in a scan", f_noise, 2, {1, 1}, {{2}, {2}}, -1, 1, {false, true}, false},
};

Test(gradient, structured) {
  for (size_t i = 0; i < COUNT(structured); i++) run_check(&structured[i]);
}

/* ---- what is not taken must not spoil what is ---- */

static double poisoned(orr_node (*f)(orr_graph *, orr_node)) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_graph *g = orr_graph_new(engine);
  orr_node x = orr_input(g, "x", ORR_ROW, 0, NULL), d;
  orr_node y =
      orr_select(g, orr_binary(g, ORR_OP_less, orr_number(g, 0), x), f(g, x), orr_number(g, 0));
  cr_assert_eq(orr_gradient(g, y, 1, &x, &d), ORR_OK);
  orr_output(g, "d", d);
  orr_program *p = orr_compile(g);
  orr_run *run = orr_run_new(p);
  orr_tensor *t = orr_tensor_new(engine, ORR_REAL, 1, (int64_t[]){2});
  ((orr_real *)orr_tensor_data(t))[0] = -1;
  orr_run_rows(run, 2, 1);
  orr_run_input(run, "x", t, NULL);
  cr_assert_eq(orr_run_go(run), ORR_OK);
  const orr_real *out = orr_tensor_data(orr_run_output(run, "d"));
  double worst = fabs((double)out[0]) + fabs((double)out[1]);
  orr_run_free(run);
  orr_program_free(p);
  orr_graph_free(g);
  orr_tensor_free(t);
  orr_engine_free(engine);
  return worst;
}

static orr_node poison_sqrt(orr_graph *g, orr_node x) { return orr_unary(g, ORR_OP_sqrt, x); }
static orr_node poison_log(orr_graph *g, orr_node x) {
  return orr_unary(g, ORR_OP_exp, orr_unary(g, ORR_OP_log, x));
}
static orr_node poison_matmul(orr_graph *g, orr_node x) {
  orr_node v[2] = {orr_unary(g, ORR_OP_log, x), x}, both = orr_stack(g, 2, v, 0);
  return orr_matmul(g, both, both);
}
static orr_node poison_solve(orr_graph *g, orr_node x) {
  orr_node zero = orr_binary(g, ORR_OP_mul, x, orr_number(g, 0));
  orr_node a = orr_reshape(g, zero, 2, (int64_t[]){1, 1}), b = orr_reshape(g, x, 1, (int64_t[]){1});
  return orr_sum_all(g, orr_solve(g, a, b));
}

Test(gradient, untaken_side_does_not_poison) {
  cr_expect_eq(poisoned(poison_sqrt), 0);
  cr_expect_eq(poisoned(poison_log), 0);
  cr_expect_eq(poisoned(poison_matmul), 0);
  cr_expect_eq(poisoned(poison_solve), 0);
}
