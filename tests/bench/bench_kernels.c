/* bench_kernels.c - the kernels alone, on one thread, each table in turn: products as a share of
   the core's peak, the rest in nanoseconds a number. The best of several short runs each. */
#include <stdio.h>
#include <stdlib.h>

#include "kernel/kernel.h"

#include "peak.h"

enum { RUNS = 12, ROWS = 256, WIDE = 256 };

static orr_real *w, *packed, *x, *dy, *y, *scratch, *gradient;

typedef struct job {
  const kernels *k;
  size_t in, out;
  int rows, which;
} job;

/* Seconds that one call of `run` takes. */
static double seconds(void (*run)(const job *), const job *j) {
  double best = 1e9;
  size_t turns = 1;
  for (int i = 0; i < RUNS; i++) {
    double start = peak_clock();
    for (size_t turn = 0; turn < turns; turn++) run(j);
    double took = peak_clock() - start;
    if (took / (double)turns < best) best = took / (double)turns;
    if (i == 0) turns = 1 + (size_t)(1e-3 / took);
  }
  return best;
}

static void forward(const job *j) {
  for (int first = 0; first < j->rows; first += BLOCK)
    j->k->matmul_block(y + (size_t)first * j->out, packed, x + (size_t)first * j->in, NULL, j->in,
                       j->out, j->which < 0 ? NULL : j->k->unary[j->which],
                       y + (size_t)first * j->out);
}

static void backward(const job *j) {
  j->k->outer_add(gradient, x, j->in * BLOCK, dy, j->out * BLOCK, j->in, j->out, j->rows, scratch);
}

static void backward_rows(const job *j) {
  j->k->outer_add_rows(gradient, x, j->in * BLOCK, scratch, outer_stride(j->out), j->in, j->out,
                       j->rows);
}

static void pack(const job *j) { j->k->pack(packed, w, j->in, j->out, j->which); }
static void unary(const job *j) { j->k->unary[j->which](y, x, j->in); }
static void sum(const job *j) { j->k->sum(y, x, j->out, j->in, (size_t)j->which); }
static void normal(const job *j) { j->k->normal(y, j->in, BLOCK, 1, 2, 3, 4, 5); }

static void products(const kernels *k, double peak) {
  static const size_t sizes[][2] = {{250, 250}, {256, 256}, {200, 200}, {23, 200},
                                    {200, 34},  {34, 200},  {200, 1},   {6, 6}};
  printf("  share of peak, %.1f GFLOP/s: forward, with silu, backward, its sums alone, 128 rows\n",
         peak);
  for (size_t i = 0; i < COUNT(sizes); i++) {
    job plain = {k, sizes[i][0], sizes[i][1], ROWS, -1}, silu = plain, half = plain;
    silu.which = UNARY_silu, half.rows = ROWS / 2;
    k->pack(packed, w, plain.in, plain.out, false);
    double work = 2e-9 * (double)(plain.in * plain.out * ROWS) / peak * 100;
    printf("    %3zu x %3zu  %5.0f %5.0f %5.0f", plain.in, plain.out,
           work / seconds(forward, &plain), work / seconds(forward, &silu),
           work / seconds(backward, &plain));
    printf(" %5.0f %5.0f\n", work / seconds(backward_rows, &plain),
           work / 2 / seconds(backward_rows, &half));
  }
}

static void numbers(const kernels *k) {
  static const unary_op ops[] = {UNARY_relu,     UNARY_silu, UNARY_sigmoid, UNARY_tanh, UNARY_exp,
                                 UNARY_softplus, UNARY_log,  UNARY_gelu,    UNARY_sqrt};
  printf("  ns a number:");
  for (size_t i = 0; i < COUNT(ops); i++) {
    job j = {k, 20 * BLOCK, 1, 0, (int)ops[i]};
    printf(" %s %.2f", unary_name(ops[i]), 1e9 * seconds(unary, &j) / (20 * BLOCK));
  }
  job many = {k, 64, 1, 0, 0}, few = {k, 6, 1, 0, 0};
  printf("\n    normal %.2f, of 6 features %.2f", 1e9 * seconds(normal, &many) / (64 * BLOCK),
         1e9 * seconds(normal, &few) / (6 * BLOCK));
  for (int transposed = 0; transposed < 2; transposed++) {
    job j = {k, 250, 250, 0, transposed};
    printf(", pack%s %.2f", transposed ? " transposed" : "", 1e9 * seconds(pack, &j) / (250 * 250));
  }
  job line = {k, 10000, 1, 0, 1}, matrix = {k, 20, 500, 0, 1};
  printf(", sum %.2f, of rows of 20 %.2f\n", 1e9 * seconds(sum, &line) / 10000,
         1e9 * seconds(sum, &matrix) / 10000);
}

static orr_real *numbers_new(size_t count) {
  orr_real *numbers = aligned_alloc(64, count * sizeof *numbers);
  orr_random random = orr_random_new(count, 0);
  for (size_t i = 0; numbers && i < count; i++)
    numbers[i] = (orr_real)(orr_random_normal(&random) / 4);
  return numbers;
}

int main(void) {
  static const char *const names[] = {"portable", "avx2", "avx512"};
  orr_real **all[] = {&w, &packed, &x, &dy, &y, &scratch, &gradient};
  for (size_t i = 0; i < COUNT(all); i++)
    if (!(*all[i] = numbers_new(outer_scratch(WIDE, ROWS)))) return 1;
  for (size_t i = 0; i < COUNT(names); i++) {
    const kernels *k = kernels_named(names[i]);
    if (!k) continue;
    printf("%s\n", k->name);
    products(k, peak_gflops(k->name));
    numbers(k);
  }
  for (size_t i = 0; i < COUNT(all); i++) free(*all[i]);
}
