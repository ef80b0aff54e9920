/* Sums over rows, batch by batch, against plain loops; and updates, which happen in place where
   that cannot be noticed. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "orrery/program.h"

#ifdef ORR_DOUBLE
static const double CLOSE = 1e-10;
#else
static const double CLOSE = 2e-4;
#endif

#define OK(call) cr_assert_eq(call, ORR_OK, "%s", orr_engine_message(engine))

static orr_tensor *filled(orr_engine *engine, int axes, const int64_t *shape, double turn) {
  orr_tensor *t = orr_tensor_new(engine, ORR_REAL, axes, shape);
  orr_real *x = orr_tensor_data(t);
  for (int64_t i = 0; i < orr_tensor_count(t); i++) x[i] = (orr_real)sin(turn + 0.7 * (double)i);
  return t;
}

static orr_run *compiled(orr_graph *g) {
  orr_engine *engine = orr_graph_engine(g);
  orr_program *p = orr_compile(g);
  cr_assert_not_null(p, "%s", orr_engine_message(engine));
  orr_run *run = orr_run_new(p);
  orr_program_free(p);
  orr_graph_free(g);
  return run;
}

/* ---- gradients of a product, for any number of rows ---- */

enum { MEMBERS = 3, VECTORS = 2, IN = 5 };

/* loss = sum of (x W) * v, so dW = sum of x v, one member's rows after the other's. Every row is
   VECTORS vectors. `late`: x comes from a stage before, where a sum over rows lies between. */
typedef struct product {
  orr_engine *engine;
  orr_run *run;
  orr_tensor *w, *b, *x, *v;
  int64_t sizes[MEMBERS], rows, out;
  bool late;
} product;

static void build(product *p) {
  orr_engine *engine = p->engine;
  orr_graph *g = orr_graph_new(engine);
  orr_node x = orr_input(g, "x", ORR_ROW, 2, (int64_t[]){VECTORS, IN}),
           v = orr_input(g, "v", ORR_ROW, 2, (int64_t[]){VECTORS, p->out}),
           w = orr_parameter(g, p->w, ORR_MEMBER), b = orr_parameter(g, p->b, ORR_MEMBER), d[2];
  if (p->late) { /* x + 0 * (a sum over all rows) */
    orr_node sum =
        orr_row_sum(g, orr_sum_all(g, orr_binary(g, ORR_OP_mul, x, orr_number(g, 2))), ORR_UNIFORM);
    x = orr_binary(g, ORR_OP_mul, x, orr_number(g, 2));
    v = orr_binary(g, ORR_OP_add, v, orr_binary(g, ORR_OP_mul, sum, orr_number(g, 0)));
    v = orr_binary(g, ORR_OP_mul, v, orr_number(g, 0.5));
  }
  orr_node y = orr_binary(g, ORR_OP_add, orr_matmul(g, x, w), b);
  orr_node loss = orr_row_sum(g, orr_sum_all(g, orr_binary(g, ORR_OP_mul, y, v)), ORR_MEMBER);
  OK(orr_gradient(g, loss, 2, (orr_node[]){w, b}, d));
  OK(orr_output(g, "dw", d[0]));
  OK(orr_output(g, "db", d[1]));
  OK(orr_output(g, "loss", orr_row_sum(g, loss, ORR_UNIFORM)));
  p->run = compiled(g);
}

static void check(product *p, const char *name, int m, int64_t i, double expected) {
  int64_t count = orr_tensor_count(orr_run_output(p->run, name)) / MEMBERS;
  double got = ((orr_real *)orr_tensor_data(orr_run_output(p->run, name)))[m * count + i];
  cr_expect(fabs(got - expected) <= CLOSE * (1 + fabs(expected)),
            "%lld rows, %lld outputs%s: %s of member %d, %lld: %.9g is not %.9g",
            (long long)p->rows, (long long)p->out, p->late ? ", late" : "", name, m, (long long)i,
            got, expected);
}

static void compare(product *p) {
  const orr_real *x = orr_tensor_data(p->x), *v = orr_tensor_data(p->v);
  for (int m = 0, row = 0; m < MEMBERS; row += (int)p->sizes[m++]) {
    int64_t first = row * VECTORS, last = (row + p->sizes[m]) * VECTORS;
    for (int64_t j = 0; j < p->out; j++) {
      double sum = 0;
      for (int64_t r = first; r < last; r++) sum += (double)v[r * p->out + j];
      check(p, "db", m, j, (p->late ? 0.5 : 1) * sum);
      for (int64_t i = 0; i < IN; i++) {
        sum = 0;
        for (int64_t r = first; r < last; r++) sum += (double)x[r * IN + i] * v[r * p->out + j];
        check(p, "dw", m, i * p->out + j, sum);
      }
    }
  }
}

static void try_rows(product *p, const int64_t *sizes) {
  orr_engine *engine = p->engine;
  memcpy(p->sizes, sizes, sizeof p->sizes);
  p->rows = sizes[0] + sizes[1] + sizes[2];
  p->x = filled(engine, 3, (int64_t[]){p->rows, VECTORS, IN}, 1);
  p->v = filled(engine, 3, (int64_t[]){p->rows, VECTORS, p->out}, 2);
  OK(orr_run_groups(p->run, MEMBERS, p->sizes));
  OK(orr_run_input(p->run, "x", p->x, NULL));
  OK(orr_run_input(p->run, "v", p->v, NULL));
  orr_tensor *first = NULL;
  for (int threads = 3; threads > 0; threads--) {
    OK(orr_engine_set_threads(engine, threads));
    OK(orr_run_go(p->run));
    if (!first) first = orr_tensor_copy(orr_run_output(p->run, "dw"));
    cr_expect(!memcmp(orr_tensor_data(first), orr_tensor_data(orr_run_output(p->run, "dw")),
                      (size_t)orr_tensor_count(first) * sizeof(orr_real)),
              "%lld rows: other bits on %d threads", (long long)p->rows, threads);
  }
  compare(p);
  orr_tensor_free(first), orr_tensor_free(p->x), orr_tensor_free(p->v);
}

static void try_products(int64_t out, bool late) {
  product p = {.engine = orr_engine_new(NULL), .out = out, .late = late};
  p.w = filled(p.engine, 3, (int64_t[]){MEMBERS, IN, out}, 3);
  p.b = filled(p.engine, 2, (int64_t[]){MEMBERS, out}, 4);
  build(&p);
  static const int64_t sizes[][MEMBERS] = {{1, 1, 1},    {15, 16, 17},    {0, 40, 0},
                                           {3, 0, 260},  {255, 256, 257}, {100, 1, 700},
                                           {512, 17, 0}, {0, 0, 0},       {1000, 1000, 1000}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) try_rows(&p, sizes[i]);
  orr_run_free(p.run);
  orr_tensor_free(p.w), orr_tensor_free(p.b);
  orr_engine_free(p.engine);
}

Test(sums, one_output) { try_products(1, false); }
Test(sums, few_outputs) { try_products(7, false); }
Test(sums, many_outputs) { try_products(40, false); }
Test(sums, of_values_from_a_stage_before) { try_products(1, true), try_products(20, true); }

/* ---- rows that need their member's sum ---- */

Test(sums, come_back_to_the_rows_of_their_member) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_graph *g = orr_graph_new(engine);
  orr_tensor *scale = filled(engine, 1, (int64_t[]){MEMBERS}, 1), *before = orr_tensor_copy(scale),
             *rate = filled(engine, 1, (int64_t[]){200}, 2), *old = orr_tensor_copy(rate);
  orr_node x = orr_input(g, "x", ORR_ROW, 1, (int64_t[]){200}),
           s = orr_parameter(g, scale, ORR_MEMBER), all = orr_parameter(g, rate, ORR_UNIFORM);
  orr_node y = orr_binary(g, ORR_OP_mul, orr_binary(g, ORR_OP_mul, x, s), all);
  OK(orr_output(g, "apart", orr_binary(g, ORR_OP_sub, y, orr_row_mean(g, y, ORR_MEMBER))));
  OK(orr_update(g, s, orr_row_mean(g, orr_sum_all(g, y), ORR_MEMBER)));
  OK(orr_update(g, all, orr_binary(g, ORR_OP_mul, all, orr_row_count(g, ORR_UNIFORM))));
  orr_run *run = compiled(g);
  int64_t sizes[MEMBERS] = {300, 0, 45}, rows = 345;
  orr_tensor *data = filled(engine, 2, (int64_t[]){rows, 200}, 3);
  OK(orr_run_groups(run, MEMBERS, sizes));
  OK(orr_run_input(run, "x", data, NULL));
  for (int threads = 3; threads > 0; threads--) {
    OK(orr_engine_set_threads(engine, threads));
    memcpy(orr_tensor_data(scale), orr_tensor_data(before), MEMBERS * sizeof(orr_real));
    memcpy(orr_tensor_data(rate), orr_tensor_data(old), 200 * sizeof(orr_real));
    orr_tensor_touch(scale), orr_tensor_touch(rate);
    OK(orr_run_go(run));
    const orr_real *got = orr_tensor_data(orr_run_output(run, "apart"));
    for (int m = 0, first = 0; m < MEMBERS; first += (int)sizes[m++])
      for (int j = 0; j < 200 && sizes[m]; j += 7) {
        double factor = orr_tensor_get(before, m) * orr_tensor_get(old, j), mean = 0;
        for (int r = first; r < first + sizes[m]; r++)
          mean += orr_tensor_get(data, r * 200 + j) / (double)sizes[m];
        for (int r = first; r < first + sizes[m]; r += 13) {
          double expected = factor * (orr_tensor_get(data, r * 200 + j) - mean);
          cr_expect(fabs(got[r * 200 + j] - expected) <= CLOSE, "row %d, %d, %d threads: %g not %g",
                    r, j, threads, (double)got[r * 200 + j], expected);
        }
      }
    for (int j = 0; j < 200; j++)
      cr_expect(fabs(orr_tensor_get(rate, j) - 345 * orr_tensor_get(old, j)) < 345 * CLOSE);
  }
  orr_run_free(run);
  orr_tensor_free(scale), orr_tensor_free(before), orr_tensor_free(rate), orr_tensor_free(old);
  orr_tensor_free(data);
  orr_engine_free(engine);
}

/* ---- updates ---- */

enum { MANY = 5000 };

/* What follows from parameters alone is worked out once and never in place; a count of rows, 1
   here, is not known before. */
static orr_node unsettled(orr_graph *g, orr_node x) {
  return orr_binary(g, ORR_OP_mul, x, orr_row_count(g, ORR_UNIFORM));
}

static void update_pair(orr_engine *engine, orr_tensor *a, orr_tensor *b, bool both_first,
                        bool shown) {
  orr_graph *g = orr_graph_new(engine);
  orr_node p = orr_parameter(g, a, ORR_UNIFORM), q = orr_parameter(g, b, ORR_UNIFORM);
  orr_node sum = orr_sum_all(g, orr_binary(g, ORR_OP_mul, p, q)), scaled = p;
  if (both_first) scaled = orr_binary(g, ORR_OP_mul, p, sum);
  OK(orr_update(g, p, orr_binary(g, ORR_OP_add, scaled, unsettled(g, q))));
  OK(orr_update(g, q, orr_binary(g, ORR_OP_sub, p, unsettled(g, q))));
  OK(orr_output(g, "old", shown ? p : sum));
  orr_run *run = compiled(g);
  orr_tensor *x = orr_tensor_copy(a), *y = orr_tensor_copy(b);
  OK(orr_run_go(run));
  double dot = 0;
  for (int i = 0; i < MANY; i++) dot += orr_tensor_get(x, i) * orr_tensor_get(y, i);
  for (int i = 0; i < MANY; i++) {
    double p0 = orr_tensor_get(x, i), q0 = orr_tensor_get(y, i);
    double p1 = p0 * (both_first ? dot : 1) + q0, q1 = p0 - q0;
    cr_expect(fabs(orr_tensor_get(a, i) - p1) <= CLOSE * (1 + fabs(p1)), "a[%d]", i);
    cr_expect(fabs(orr_tensor_get(b, i) - q1) <= CLOSE * (1 + fabs(q1)), "b[%d]", i);
    if (shown) cr_expect_eq(orr_tensor_get(orr_run_output(run, "old"), i), p0);
  }
  orr_tensor_free(x), orr_tensor_free(y);
  orr_run_free(run);
}

/* Each new value needs the other's old one. */
Test(updates, use_all_values_as_they_were) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_tensor *a = filled(engine, 1, (int64_t[]){MANY}, 1),
             *b = filled(engine, 1, (int64_t[]){MANY}, 2);
  for (int i = 0; i < 4; i++) update_pair(engine, a, b, i % 2, i / 2);
  orr_tensor_free(a), orr_tensor_free(b);
  orr_engine_free(engine);
}

/* Two parameters that share numbers: each is read as it was. */
Test(updates, of_views_of_one_tensor) {
  orr_engine *engine = orr_engine_new(NULL);
  orr_tensor *whole = filled(engine, 1, (int64_t[]){MANY + 1}, 1), *before = orr_tensor_copy(whole),
             *low = orr_tensor_slice(whole, 0, 0, MANY, 1),
             *high = orr_tensor_slice(whole, 0, 1, MANY + 1, 1);
  cr_assert(low && high);
  orr_graph *g = orr_graph_new(engine);
  orr_node p = orr_parameter(g, low, ORR_UNIFORM), q = orr_parameter(g, high, ORR_UNIFORM);
  OK(orr_update(g, q, orr_binary(g, ORR_OP_add, p, unsettled(g, q))));
  orr_run *run = compiled(g);
  OK(orr_run_go(run));
  for (int i = 0; i < MANY; i++) {
    double expected = orr_tensor_get(before, i) + orr_tensor_get(before, i + 1);
    cr_expect(fabs(orr_tensor_get(whole, i + 1) - expected) <= CLOSE, "number %d", i + 1);
  }
  orr_run_free(run);
  orr_tensor_free(low), orr_tensor_free(high), orr_tensor_free(whole), orr_tensor_free(before);
  orr_engine_free(engine);
}
