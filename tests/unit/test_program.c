/* Programs: levels, groups, indices, updates, sums over rows, bits on any number of threads, rows
   that outgrow the cache, and what is refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "limited_memory.h"
#include "orrery/program.h"

#ifdef ORR_DOUBLE
static const double CLOSE = 1e-10;
#else
static const double CLOSE = 2e-4;
#endif

static orr_engine *engine_with(int threads) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = threads;
  return orr_engine_new(&options);
}

static orr_tensor *filled(orr_engine *engine, int axes, const int64_t *shape, double scale) {
  orr_tensor *t = orr_tensor_new(engine, ORR_REAL, axes, shape);
  orr_real *x = orr_tensor_data(t);
  for (int64_t i = 0; i < orr_tensor_count(t); i++)
    x[i] = (orr_real)(scale * sin(1.0 + 0.7 * (double)i));
  return t;
}

static const orr_real *result(orr_run *run, const char *name) {
  return orr_tensor_data(orr_run_output(run, name));
}

static orr_run *compiled(orr_graph *g) {
  orr_program *p = orr_compile(g);
  cr_assert_not_null(p, "%s", orr_engine_message(orr_graph_engine(g)));
  orr_run *run = orr_run_new(p);
  orr_program_free(p);
  orr_graph_free(g);
  return run;
}

#define OK(call) cr_assert_eq(call, ORR_OK, "%s", orr_engine_message(engine))
#define NEAR(a, b)                                                              \
  cr_expect(fabs((double)(a) - (double)(b)) <= CLOSE * (1 + fabs((double)(b))), \
            "%.9g is not %.9g", (double)(a), (double)(b))

/* ---- members: each group of rows sees its own weights ---- */

Test(program, groups_use_their_members) {
  orr_engine *engine = engine_with(2);
  orr_graph *g = orr_graph_new(engine);
  orr_tensor *w = filled(engine, 3, (int64_t[]){3, 4, 2}, 1),
             *b = filled(engine, 2, (int64_t[]){3, 2}, 2);
  orr_node x = orr_input(g, "x", ORR_ROW, 1, (int64_t[]){4});
  orr_node y = orr_binary(g, ORR_OP_add, orr_matmul(g, x, orr_parameter(g, w, ORR_MEMBER)),
                          orr_parameter(g, b, ORR_MEMBER));
  OK(orr_output(g, "y", y));
  OK(orr_output(g, "sum", orr_row_sum(g, y, ORR_MEMBER)));
  OK(orr_output(g, "count", orr_row_count(g, ORR_MEMBER)));
  orr_run *run = compiled(g);
  int64_t sizes[] = {5, 150, 18};
  int entries[] = {2, 0, 2};
  orr_tensor *rows = filled(engine, 2, (int64_t[]){173, 4}, 1);
  OK(orr_run_groups(run, 3, sizes));
  OK(orr_run_members(run, entries));
  OK(orr_run_input(run, "x", rows, NULL));
  OK(orr_run_go(run));
  const orr_real *in = orr_tensor_data(rows), *weights = orr_tensor_data(w),
                 *bias = orr_tensor_data(b);
  double sums[3][2] = {{0}};
  for (int r = 0; r < 173; r++) {
    int group = r < 5 ? 0 : r < 155 ? 1 : 2, m = entries[group];
    for (int j = 0; j < 2; j++) {
      double expected = bias[m * 2 + j];
      for (int i = 0; i < 4; i++) expected += (double)in[r * 4 + i] * weights[(m * 4 + i) * 2 + j];
      NEAR(result(run, "y")[r * 2 + j], expected);
      sums[group][j] += expected;
    }
  }
  for (int m = 0; m < 3; m++) {
    NEAR(result(run, "count")[m], sizes[m]);
    for (int j = 0; j < 2; j++) NEAR(result(run, "sum")[m * 2 + j], sums[m][j]);
  }
  entries[1] = 7;
  OK(orr_run_members(run, entries));
  cr_expect_eq(orr_run_go(run), ORR_ARGUMENT);
  orr_run_free(run);
  orr_tensor_free(w), orr_tensor_free(b), orr_tensor_free(rows);
  orr_engine_free(engine);
}

/* ---- inputs by index, bytes and int32 ---- */

Test(program, rows_are_read_by_index_and_converted) {
  orr_engine *engine = engine_with(2);
  for (int dtype = ORR_REAL; dtype <= ORR_INT; dtype++) {
    orr_graph *g = orr_graph_new(engine);
    orr_node x = orr_input(g, "x", ORR_ROW, 1, (int64_t[]){3});
    OK(orr_output(g, "y", orr_binary(g, ORR_OP_mul, x, orr_number(g, 2))));
    orr_run *run = compiled(g);
    orr_tensor *data = orr_tensor_new(engine, (orr_dtype)dtype, 2, (int64_t[]){50, 3});
    orr_tensor *index = orr_tensor_new(engine, ORR_INT, 1, (int64_t[]){40});
    for (int i = 0; i < 150; i++) {
      if (dtype == ORR_REAL) ((orr_real *)orr_tensor_data(data))[i] = (orr_real)i;
      else if (dtype == ORR_BYTE) ((uint8_t *)orr_tensor_data(data))[i] = (uint8_t)i;
      else ((int32_t *)orr_tensor_data(data))[i] = i;
    }
    for (int i = 0; i < 40; i++) ((int32_t *)orr_tensor_data(index))[i] = (i * 7) % 50;
    OK(orr_run_rows(run, 40, 1));
    OK(orr_run_input(run, "x", data, index));
    OK(orr_run_go(run));
    for (int r = 0; r < 40; r++)
      for (int j = 0; j < 3; j++)
        cr_expect_eq(result(run, "y")[r * 3 + j], 2 * (((r * 7) % 50) * 3 + j));
    ((int32_t *)orr_tensor_data(index))[3] = 50;
    cr_expect_eq(orr_run_go(run), ORR_ARGUMENT);
    cr_expect(strstr(orr_engine_message(engine), "the one in place 4 names none"), "%s",
              orr_engine_message(engine));
    orr_run_free(run);
    orr_tensor_free(data), orr_tensor_free(index);
  }
  orr_engine_free(engine);
}

/* ---- a training step: loss, gradient, momentum, update; the same bits on 1 and 2 threads ---- */

enum { IN = 40, OUT = 37, BATCH = 700 };

static void train(int threads, int steps, orr_real *weights, double *losses) {
  orr_engine *engine = engine_with(threads);
  orr_graph *g = orr_graph_new(engine);
  orr_tensor *w = filled(engine, 2, (int64_t[]){IN, OUT}, 0.1),
             *m = orr_tensor_new(engine, ORR_REAL, 2, (int64_t[]){IN, OUT});
  orr_node x = orr_input(g, "x", ORR_ROW, 1, (int64_t[]){IN}),
           t = orr_input(g, "t", ORR_ROW, 1, (int64_t[]){OUT});
  orr_node p = orr_parameter(g, w, ORR_UNIFORM), v = orr_parameter(g, m, ORR_UNIFORM), d;
  orr_node y = orr_unary(g, ORR_OP_tanh, orr_matmul(g, x, p));
  orr_node loss =
      orr_row_mean(g,
                   orr_mean(g, orr_unary(g, ORR_OP_square, orr_binary(g, ORR_OP_sub, y, t)), 0,
                            false),
                   ORR_UNIFORM);
  OK(orr_gradient(g, loss, 1, &p, &d));
  orr_node next = orr_binary(g, ORR_OP_add, orr_binary(g, ORR_OP_mul, v, orr_number(g, 0.9)), d);
  OK(orr_output(g, "loss", loss));
  OK(orr_update(g, v, next));
  OK(orr_update(g, p,
                orr_binary(g, ORR_OP_sub, p, orr_binary(g, ORR_OP_mul, next, orr_number(g, 0.5)))));
  orr_run *run = compiled(g);
  orr_tensor *rows = filled(engine, 2, (int64_t[]){BATCH, IN}, 1),
             *target = filled(engine, 2, (int64_t[]){BATCH, OUT}, 0.5);
  OK(orr_run_rows(run, BATCH, 1));
  OK(orr_run_input(run, "x", rows, NULL));
  OK(orr_run_input(run, "t", target, NULL));
  for (int i = 0; i < steps; i++) {
    OK(orr_run_go(run));
    losses[i] = result(run, "loss")[0];
  }
  size_t before = orr_engine_allocations(engine);
  OK(orr_run_go(run));
  cr_expect_eq(orr_engine_allocations(engine), before, "a step in steady state allocates");
  memcpy(weights, orr_tensor_data(w), IN * OUT * sizeof *weights);
  orr_run_free(run);
  orr_tensor_free(w), orr_tensor_free(m), orr_tensor_free(rows), orr_tensor_free(target);
  orr_engine_free(engine);
}

Test(program, training_gives_the_same_bits_on_any_number_of_threads) {
  static orr_real one[IN * OUT], two[IN * OUT], three[IN * OUT];
  double losses[20], other[20];
  train(1, 20, one, losses);
  train(2, 20, two, other);
  train(3, 20, three, other);
  cr_expect_lt(losses[19], losses[0] * 0.9, "%g after %g", losses[19], losses[0]);
  cr_expect_eq(memcmp(one, two, sizeof one), 0);
  cr_expect_eq(memcmp(one, three, sizeof one), 0);
  cr_expect_eq(memcmp(losses, other, sizeof losses), 0);
}

/* The first step by hand: w - 0.5 d, d from the chain rule in double. */
Test(program, a_training_step_is_the_chain_rule) {
  static orr_real after[IN * OUT];
  double losses[1];
  static double w[IN][OUT], d[IN][OUT];
  for (int i = 0; i < IN * OUT; i++) (&w[0][0])[i] = 0.1 * sin(1.0 + 0.7 * i);
  for (int step = 0; step < 2; step++) { /* train() takes one step more than asked */
    static double momentum[IN][OUT];
    memset(d, 0, sizeof d);
    for (int r = 0; r < BATCH; r++)
      for (int j = 0; j < OUT; j++) {
        double h = 0;
        for (int i = 0; i < IN; i++) h += sin(1.0 + 0.7 * (r * IN + i)) * w[i][j];
        double y = tanh(h),
               e = 2 * (y - 0.5 * sin(1.0 + 0.7 * (r * OUT + j))) / OUT / BATCH * (1 - y * y);
        for (int i = 0; i < IN; i++) d[i][j] += e * sin(1.0 + 0.7 * (r * IN + i));
      }
    for (int i = 0; i < IN; i++)
      for (int j = 0; j < OUT; j++) {
        momentum[i][j] = 0.9 * momentum[i][j] + d[i][j];
        w[i][j] -= 0.5 * momentum[i][j];
      }
  }
  train(2, 1, after, losses);
  for (int i = 0; i < IN * OUT; i++) NEAR(after[i], (&w[0][0])[i]);
}

/* ---- values kept from one pass over the rows to the next ---- */

Test(program, sums_over_rows_are_barriers) {
  orr_engine *engine = engine_with(2);
  orr_graph *g = orr_graph_new(engine);
  orr_node x = orr_input(g, "x", ORR_ROW, 0, NULL), e = orr_unary(g, ORR_OP_exp, x);
  orr_node share = orr_binary(g, ORR_OP_div, e, orr_row_sum(g, e, ORR_UNIFORM));
  orr_node centred = orr_binary(g, ORR_OP_sub, share, orr_row_mean(g, share, ORR_UNIFORM));
  OK(orr_output(g, "share", share));
  OK(orr_output(g, "spread", orr_row_sum(g, orr_unary(g, ORR_OP_square, centred), ORR_UNIFORM)));
  orr_run *run = compiled(g);
  int sizes[] = {1, 15, 16, 17, 1000, 4097};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    orr_tensor *rows = filled(engine, 1, (int64_t[]){sizes[s]}, 1);
    const orr_real *in = orr_tensor_data(rows);
    OK(orr_run_rows(run, sizes[s], 1));
    OK(orr_run_input(run, "x", rows, NULL));
    OK(orr_run_go(run));
    double total = 0, spread = 0;
    for (int i = 0; i < sizes[s]; i++) total += exp((double)in[i]);
    for (int i = 0; i < sizes[s]; i++) {
      NEAR(result(run, "share")[i], exp((double)in[i]) / total);
      spread += pow(exp((double)in[i]) / total - 1.0 / sizes[s], 2);
    }
    NEAR(*result(run, "spread"), spread);
    orr_tensor_free(rows);
  }
  orr_run_free(run);
  orr_engine_free(engine);
}

/* ---- rows larger than any cache ---- */

Test(program, a_row_may_outgrow_the_cache) {
  orr_engine *engine = engine_with(2);
  enum { WIDE = 700000, COLUMNS = 10 };
  orr_graph *g = orr_graph_new(engine);
  orr_tensor *w = filled(engine, 2, (int64_t[]){COLUMNS, 3}, 1);
  orr_node x = orr_input(g, "x", ORR_ROW, 2, (int64_t[]){WIDE / COLUMNS, COLUMNS}),
           p = orr_parameter(g, w, ORR_UNIFORM), d;
  orr_node y = orr_unary(g, ORR_OP_tanh, orr_matmul(g, x, p));
  orr_node total = orr_sum_all(g, y);
  OK(orr_gradient(g, total, 1, &p, &d));
  OK(orr_output(g, "total", total));
  OK(orr_output(g, "d", d));
  orr_run *run = compiled(g);
  orr_tensor *rows = filled(engine, 3, (int64_t[]){2, WIDE / COLUMNS, COLUMNS}, 0.3);
  OK(orr_run_rows(run, 2, 1));
  OK(orr_run_input(run, "x", rows, NULL));
  OK(orr_run_go(run));
  const orr_real *in = orr_tensor_data(rows), *weights = orr_tensor_data(w);
  double expected[2] = {0}, slope = 0;
  for (int r = 0; r < 2; r++)
    for (int i = 0; i < WIDE / COLUMNS; i++)
      for (int j = 0; j < 3; j++) {
        double h = 0;
        for (int k = 0; k < COLUMNS; k++)
          h += (double)in[r * WIDE + i * COLUMNS + k] * weights[k * 3 + j];
        expected[r] += tanh(h);
        if (j == 1) slope += (1 - tanh(h) * tanh(h)) * in[r * WIDE + i * COLUMNS + 4];
      }
  for (int r = 0; r < 2; r++)
    cr_expect_float_eq(result(run, "total")[r], expected[r], 2 + fabs(expected[r]) * 1e-3);
  cr_expect_float_eq(result(run, "d")[4 * 3 + 1], slope, 2 + fabs(slope) * 1e-3);
  orr_run_free(run);
  orr_tensor_free(w), orr_tensor_free(rows);
  orr_engine_free(engine);
}

/* ---- draws ---- */

static void draw(int threads, int members, uint64_t seed, uint32_t iteration, orr_real *out) {
  orr_engine *engine = engine_with(threads);
  orr_graph *g = orr_graph_new(engine);
  orr_node zero = orr_broadcast(g, orr_number(g, 0), 1, (int64_t[]){2});
  orr_graph *body = orr_scan_begin(g, 3, false);
  orr_node s = orr_scan_carry(body, zero), n = orr_normal(body, 1, (int64_t[]){2}), results[2];
  orr_node next = orr_binary(body, ORR_OP_add, s, n);
  OK(orr_scan_end(body, &next, 1, &n, results));
  OK(orr_output(g, "draws", results[1]));
  OK(orr_output(g, "sum", results[0]));
  OK(orr_output(g, "other", orr_normal(g, 1, (int64_t[]){2})));
  orr_run *run = compiled(g);
  OK(orr_run_rows(run, 600, members));
  orr_run_seed(run, seed, iteration);
  OK(orr_run_go(run));
  memcpy(out, result(run, "draws"), 600 * 6 * sizeof *out);
  for (int r = 0; r < 600; r++)
    NEAR(result(run, "sum")[r * 2], out[r * 6] + out[r * 6 + 2] + out[r * 6 + 4]);
  cr_expect_neq(out[0], result(run, "other")[0]);
  orr_run_free(run);
  orr_engine_free(engine);
}

Test(program, draws_depend_on_seed_iteration_row_and_step_only) {
  static orr_real a[3600], b[3600];
  draw(1, 1, 1, 0, a);
  double mean = 0, square = 0, steps = 0;
  for (int i = 0; i < 3600; i++) mean += a[i], square += a[i] * a[i];
  for (int r = 0; r < 600; r++) steps += a[r * 6] * a[r * 6 + 2];
  cr_expect_lt(fabs(mean / 3600), 0.06);
  cr_expect_lt(fabs(square / 3600 - 1), 0.1);
  cr_expect_lt(fabs(steps / 600), 0.15, "steps draw the same numbers");
  draw(2, 3, 1, 0, b);
  cr_expect_eq(memcmp(a, b, sizeof a), 0);
  draw(1, 1, 2, 0, b);
  cr_expect_neq(memcmp(a, b, sizeof a), 0);
  draw(1, 1, 1, 1, b);
  cr_expect_neq(memcmp(a, b, sizeof a), 0);
}

/* A draw in a loop in a loop is another one at every step of both. */
Test(program, nested_loops_draw_afresh) {
  orr_engine *engine = engine_with(1);
  orr_graph *g = orr_graph_new(engine), *outer = orr_scan_begin(g, 3, false);
  orr_node start = orr_scan_carry(outer, orr_number(g, 0));
  orr_graph *inner = orr_scan_begin(outer, 2, false);
  orr_node s = orr_scan_carry(inner, start), n = orr_normal(inner, 0, NULL), steps[2], all[2];
  OK(orr_scan_end(inner, &s, 1, &n, steps));
  OK(orr_scan_end(outer, &steps[0], 1, &steps[1], all));
  OK(orr_output(g, "draws", all[1]));
  orr_run *run = compiled(g);
  OK(orr_run_rows(run, 4, 1));
  OK(orr_run_go(run));
  const orr_real *draws = result(run, "draws");
  for (int i = 0; i < 24; i++)
    for (int j = 0; j < i; j++) cr_expect_neq(draws[i], draws[j], "draws %d and %d are one", i, j);
  orr_run_free(run);
  orr_engine_free(engine);
}

/* ---- what is packed from parameters follows them ---- */

Test(program, changed_parameters_are_seen) {
  orr_engine *engine = engine_with(1);
  orr_graph *g = orr_graph_new(engine);
  orr_tensor *w = filled(engine, 2, (int64_t[]){2, 1}, 1),
             *x = filled(engine, 2, (int64_t[]){1, 2}, 1);
  orr_node in = orr_input(g, "x", ORR_ROW, 1, (int64_t[]){2});
  OK(orr_output(g, "y",
                orr_matmul(g, in, orr_unary(g, ORR_OP_square, orr_parameter(g, w, ORR_UNIFORM)))));
  orr_run *run = compiled(g);
  OK(orr_run_rows(run, 1, 1));
  OK(orr_run_input(run, "x", x, NULL));
  orr_real *weights = orr_tensor_data(w), *rows = orr_tensor_data(x);
  for (int i = 0; i < 3; i++) {
    weights[0] = (orr_real)i, weights[1] = 2;
    orr_tensor_touch(w);
    OK(orr_run_go(run));
    NEAR(*result(run, "y"), rows[0] * i * i + rows[1] * 4);
  }
  orr_run_free(run);
  orr_tensor_free(w), orr_tensor_free(x);
  orr_engine_free(engine);
}

/* ---- merging and folding ---- */

Test(program, equal_nodes_merge_and_constants_fold) {
  orr_engine *engine = engine_with(1);
  orr_graph *g = orr_graph_new(engine);
  orr_node x = orr_input(g, "x", ORR_ROW, 0, NULL);
  cr_expect_eq(orr_unary(g, ORR_OP_sin, x), orr_unary(g, ORR_OP_sin, x));
  cr_expect_neq(orr_normal(g, 0, NULL), orr_normal(g, 0, NULL), "draws must not merge");
  cr_expect_neq(orr_copy(g, x), orr_copy(g, x));
  double number = 0;
  orr_node sum = orr_binary(g, ORR_OP_add, orr_number(g, 2), orr_number(g, 3));
  cr_expect(orr_node_number(g, sum, &number) && number == 5);
  cr_expect_eq(orr_binary(g, ORR_OP_mul, x, orr_number(g, 1)), x);
  cr_expect_eq(orr_binary(g, ORR_OP_pow, x, orr_number(g, 2)), orr_unary(g, ORR_OP_square, x));
  orr_graph_free(g);
  orr_engine_free(engine);
}

/* ---- refusals: a message that names the cause, and a usable engine ---- */

Test(program, refusals_name_the_cause) {
  orr_engine *engine = engine_with(1);
  orr_graph *g = orr_graph_new(engine);
  orr_node a = orr_input(g, "angle", ORR_ROW, 1, (int64_t[]){3}),
           b = orr_input(g, "b", ORR_ROW, 1, (int64_t[]){4}), d;
  cr_expect_eq(orr_binary(g, ORR_OP_add, a, b), ORR_NONE);
  cr_expect_str_eq(orr_engine_message(engine),
                   "add: shapes 3 and 4 do not fit: 3 against 4, and neither is 1");
  cr_expect_eq(orr_matmul(g, a, b), ORR_NONE);
  cr_expect_eq(orr_unary(g, ORR_OP_sin, ORR_NONE), ORR_NONE);
  cr_expect_eq(orr_gradient(g, a, 1, &a, &d), ORR_SHAPE);
  cr_expect(strstr(orr_engine_message(engine), "needs a single number"), "%s",
            orr_engine_message(engine));
  cr_expect_null(orr_compile(g));
  cr_expect_eq(orr_input(g, "angle", ORR_ROW, 1, (int64_t[]){5}), ORR_NONE);
  cr_expect_eq(orr_broadcast(g, orr_number(g, 1), 3, (int64_t[]){1 << 20, 1 << 20, 1 << 20}),
               ORR_NONE);
  cr_expect_null(orr_scan_begin(g, 0, false));
  orr_graph *body = orr_scan_begin(g, 2, false);
  orr_node carry = orr_scan_carry(body, a), next = orr_sum(body, carry, 0, false), results[1];
  cr_expect_eq(orr_scan_end(body, &next, 0, NULL, results), ORR_SHAPE);
  cr_expect(strstr(orr_engine_message(engine), "starts with shape 3 and comes out"), "%s",
            orr_engine_message(engine));
  OK(orr_output(g, "y", orr_unary(g, ORR_OP_sin, a)));
  orr_run *run = compiled(g);
  orr_tensor *x = orr_tensor_new(engine, ORR_REAL, 2, (int64_t[]){2, 3});
  OK(orr_run_rows(run, 2, 1));
  cr_expect_eq(orr_run_go(run), ORR_STATE);
  cr_expect(strstr(orr_engine_message(engine), "'angle' is not bound"), "%s",
            orr_engine_message(engine));
  cr_expect_eq(orr_run_input(run, "angel", x, NULL), ORR_FIELD);
  cr_expect(strstr(orr_engine_message(engine), "did you mean 'angle'?"), "%s",
            orr_engine_message(engine));
  OK(orr_run_input(run, "angle", x, NULL));
  OK(orr_run_go(run));
  cr_expect_eq(orr_run_rows(run, 5, 2), ORR_ARGUMENT);
  OK(orr_run_rows(run, 3, 1));
  cr_expect_eq(orr_run_go(run), ORR_SHAPE);
  orr_interrupt(engine);
  OK(orr_run_rows(run, 2, 1));
  cr_expect_eq(orr_run_go(run), ORR_INTERRUPTED);
  orr_interrupt_clear(engine);
  OK(orr_run_go(run));
  orr_run_free(run);
  orr_tensor_free(x);
  orr_engine_free(engine);
}

typedef struct nuisance {
  orr_engine *engine;
  atomic_bool stop;
  atomic_int times;
} nuisance;

static void *interrupt_for_moments(void *user) {
  nuisance *n = user;
  while (!atomic_load(&n->stop)) {
    orr_interrupt(n->engine);
    orr_interrupt_clear(n->engine);
    atomic_fetch_add(&n->times, 1);
  }
  return NULL;
}

/* The host takes its interrupt back while a run is under way: what was left out then is not taken
   for done. */
Test(program, a_run_that_was_interrupted_stays_so) {
  enum { ROWS = 5000, RUNS = 100 };
  orr_engine *engine = orr_engine_new(NULL);
  orr_graph *g = orr_graph_new(engine);
  orr_node x = orr_input(g, "x", ORR_ROW, 1, (int64_t[]){8});
  orr_output(g, "y", orr_unary(g, ORR_OP_tanh, x));
  orr_run *run = compiled(g);
  orr_tensor *rows = filled(engine, 2, (int64_t[]){ROWS, 8}, 1);
  OK(orr_run_input(run, "x", rows, NULL));
  OK(orr_run_rows(run, ROWS, 1));
  OK(orr_run_go(run));
  nuisance n = {.engine = engine};
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, interrupt_for_moments, &n), 0);
  while (!atomic_load(&n.times)) sched_yield();
  int holes = 0, interrupted = 0;
  /* on a machine that is busy the two may not meet for long */
  for (int i = 0; i < RUNS || (!interrupted && i < 300 * RUNS); i++) {
    orr_real *y = orr_tensor_data(orr_run_output(run, "y"));
    for (int j = 0; j < ROWS * 8; j++) y[j] = NAN;
    orr_status status = orr_run_go(run);
    cr_assert(status == ORR_OK || status == ORR_INTERRUPTED, "%s", orr_status_name(status));
    interrupted += status != ORR_OK;
    for (int j = 0; j < ROWS * 8 && !status; j++) holes += isnan(y[j]);
  }
  atomic_store(&n.stop, true);
  pthread_join(thread, NULL);
  cr_expect_eq(holes, 0);
  cr_expect_gt(interrupted, 0);
  orr_run_free(run);
  orr_tensor_free(rows);
  orr_engine_free(engine);
}

/* ---- memory runs out at every point in turn: a status, no leak, a usable engine ---- */

static bool build_and_run(orr_engine *engine) {
  orr_tensor *w = orr_tensor_new(engine, ORR_REAL, 2, (int64_t[]){3, 3}),
             *rows = orr_tensor_new(engine, ORR_REAL, 2, (int64_t[]){9, 3});
  orr_graph *g = orr_graph_new(engine);
  bool ok = false;
  if (w && rows && g) {
    orr_node x = orr_input(g, "x", ORR_ROW, 1, (int64_t[]){3}),
             p = orr_parameter(g, w, ORR_UNIFORM), d, last = ORR_NONE;
    orr_graph *body = orr_scan_begin(g, 3, false);
    if (body) {
      orr_node s = orr_scan_carry(body, x), m = orr_scan_capture(body, p),
               next = orr_unary(body, ORR_OP_tanh, orr_matmul(body, s, m));
      if (orr_scan_end(body, &next, 0, NULL, &last)) last = ORR_NONE;
    }
    orr_node loss = orr_row_mean(g, orr_sum(g, last, 0, false), ORR_UNIFORM);
    if (orr_gradient(g, loss, 1, &p, &d) == ORR_OK && orr_update(g, p, d) == ORR_OK &&
        orr_output(g, "loss", loss) == ORR_OK) {
      orr_program *program = orr_compile(g);
      orr_run *run = program ? orr_run_new(program) : NULL;
      ok = run && orr_run_rows(run, 9, 1) == ORR_OK &&
           orr_run_input(run, "x", rows, NULL) == ORR_OK && orr_run_go(run) == ORR_OK;
      orr_run_free(run);
      orr_program_free(program);
    }
  }
  orr_graph_free(g);
  orr_tensor_free(w), orr_tensor_free(rows);
  return ok;
}

Test(program, every_allocation_may_fail) {
  long needed = 0;
  for (long allowed = 0;; allowed++) {
    struct memory memory = {.left = UNLIMITED};
    orr_engine *engine = limited_engine(&memory, 1);
    long live = memory.live;
    memory.left = allowed;
    bool ok = build_and_run(engine);
    cr_assert_eq(memory.live, live, "%ld bytes left when allocation %ld failed", memory.live - live,
                 allowed);
    if (!ok)
      cr_assert_eq(orr_engine_status(engine), ORR_MEMORY, "allocation %ld: %s", allowed,
                   orr_engine_message(engine));
    memory.left = UNLIMITED;
    cr_assert(build_and_run(engine), "the engine is unusable after allocation %ld failed", allowed);
    orr_engine_free(engine);
    if (ok) {
      needed = allowed;
      break;
    }
    cr_assert_lt(allowed, 2000);
  }
  cr_expect_gt(needed, 20);
}

/* One tile, which would take minutes. */
Test(program, a_deadline_ends_a_loop_on_its_way, .timeout = 30) {
  orr_engine *engine = engine_with(1);
  orr_graph *g = orr_graph_new(engine);
  orr_node x = orr_input(g, "x", ORR_ROW, 0, NULL);
  orr_graph *body = orr_scan_begin(g, 4000000000, false);
  orr_node carry = orr_scan_carry(body, x), end;
  orr_node next = orr_unary(body, ORR_OP_tanh, carry);
  OK(orr_scan_end(body, &next, 0, NULL, &end));
  orr_output(g, "y", end);
  orr_run *run = compiled(g);
  orr_tensor *rows = filled(engine, 1, (int64_t[]){1}, 1);
  OK(orr_run_input(run, "x", rows, NULL));
  OK(orr_run_rows(run, 1, 1));
  orr_run_until(run, orr_clock() + 0.01);
  cr_expect_eq(orr_run_go(run), ORR_LATE);
  orr_run_free(run);
  orr_tensor_free(rows);
  orr_engine_free(engine);
}
