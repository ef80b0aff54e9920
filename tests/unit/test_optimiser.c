/* test_optimiser.c - optimisers against plain double-precision code with torch.optim's equations,
   clipping, schedules, updates that are skipped. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "orrery/nn.h"

static orr_engine *engine;

static void setup(void) { engine = orr_engine_new(NULL); }
static void teardown(void) { orr_engine_free(engine); }

TestSuite(optimiser, .init = setup, .fini = teardown);

enum { N = 37, STEPS = 60 };

/* Minimises sum of c_i (p_i - goal_i)^2 / 2 + p_i^4 / 4 over a vector and a matrix [N] [N x 1], as
   one program; `c` comes from an input, so that a test can spoil it. */
typedef struct bench {
  orr_tensor *p[2], *c;
  orr_optimiser *optimiser;
  orr_program *program;
  orr_run *run;
} bench;

static double goal(int i) { return sin(i * 1.7); }
static double stiffness(int i) { return 0.5 + 0.3 * cos(i); }
static double start(int i) { return 1.5 * cos(i * 0.9) + 0.1; }

static bench open_bench(const orr_optimiser_options *options) {
  bench b;
  orr_graph *g = orr_graph_new(engine);
  b.p[0] = orr_tensor_new(engine, ORR_REAL, 1, (int64_t[]){N});
  b.p[1] = orr_tensor_new(engine, ORR_REAL, 2, (int64_t[]){N, 1});
  b.c = orr_tensor_new(engine, ORR_REAL, 1, (int64_t[]){N});
  orr_tensor *goals = orr_tensor_new(engine, ORR_REAL, 1, (int64_t[]){N});
  for (int i = 0; i < N; i++) {
    ((orr_real *)orr_tensor_data(goals))[i] = (orr_real)goal(i);
    ((orr_real *)orr_tensor_data(b.c))[i] = (orr_real)stiffness(i);
    for (int k = 0; k < 2; k++)
      ((orr_real *)orr_tensor_data(b.p[k]))[i] = (orr_real)start(i + 100 * k);
  }
  orr_node c = orr_input(g, "c", ORR_UNIFORM, 1, (int64_t[]){N}), loss = orr_number(g, 0),
           gradients[2], nodes[2];
  for (int k = 0; k < 2; k++) {
    nodes[k] = orr_parameter(g, b.p[k], ORR_UNIFORM);
    orr_node p = orr_reshape(g, nodes[k], 1, (int64_t[]){N});
    orr_node d = orr_binary(g, ORR_OP_sub, p, orr_parameter(g, goals, ORR_UNIFORM));
    orr_node near = orr_binary(g, ORR_OP_mul, c, orr_unary(g, ORR_OP_square, d));
    orr_node far = orr_unary(g, ORR_OP_square, orr_unary(g, ORR_OP_square, p));
    orr_node both = orr_binary(g, ORR_OP_add, orr_binary(g, ORR_OP_mul, near, orr_number(g, 0.5)),
                               orr_binary(g, ORR_OP_mul, far, orr_number(g, 0.25)));
    loss = orr_binary(g, ORR_OP_add, loss, orr_sum_all(g, both));
  }
  cr_assert_eq(orr_gradient(g, loss, 2, nodes, gradients), ORR_OK, "%s",
               orr_engine_message(engine));
  b.optimiser = orr_optimiser_new(engine, options, 2, b.p, (orr_level[]){ORR_UNIFORM, ORR_UNIFORM});
  cr_assert(b.optimiser, "%s", orr_engine_message(engine));
  cr_assert_eq(orr_optimiser_build(b.optimiser, g, gradients), ORR_OK, "%s",
               orr_engine_message(engine));
  orr_output(g, "loss", loss);
  b.program = orr_compile(g);
  cr_assert(b.program, "%s", orr_engine_message(engine));
  b.run = orr_run_new(b.program);
  orr_run_input(b.run, "c", b.c, NULL);
  orr_run_rows(b.run, 1, 1);
  orr_graph_free(g);
  orr_tensor_free(goals);
  return b;
}

static void step(bench *b) {
  cr_assert_eq(orr_run_go(b->run), ORR_OK, "%s", orr_engine_message(engine));
}

static void close_bench(bench *b) {
  orr_run_free(b->run);
  orr_program_free(b->program);
  orr_optimiser_free(b->optimiser);
  orr_tensor_free(b->c);
  for (int k = 0; k < 2; k++) orr_tensor_free(b->p[k]);
}

/* The same in plain C: p[2][N], m, v after `steps` updates. */
static double factor_of(const orr_optimiser_options *o, int k) {
  double warm = o->warmup > 0 ? fmin(1, (k + 1) / (double)o->warmup) : 1;
  double part = o->steps > 0 ? fmin(1, fmax(0, k - (double)o->warmup) / (double)o->steps) : 0;
  if (o->schedule == ORR_SCHEDULE_LINEAR) return warm * (1 + (o->final - 1) * part);
  if (o->schedule == ORR_SCHEDULE_COSINE)
    return warm * (o->final + (1 - o->final) * (1 + cos(3.14159265358979323846 * part)) / 2);
  return warm;
}

static void plain_step(const orr_optimiser_options *o, int t, double rate, double decay, double *p,
                       double g, double *m, double *v) {
  if (o->kind != ORR_OPTIMISER_adamw) g += decay * *p;
  else *p *= 1 - rate * decay;
  if (o->kind == ORR_OPTIMISER_sgd) {
    if (o->momentum > 0) {
      *m = o->momentum * *m + g;
      g = o->nesterov ? g + o->momentum * *m : *m;
    }
    *p -= rate * g;
    return;
  }
  *m = o->beta1 * *m + (1 - o->beta1) * g;
  *v = o->beta2 * *v + (1 - o->beta2) * g * g;
  double denominator = sqrt(*v) / sqrt(1 - pow(o->beta2, t)) + o->epsilon;
  *p -= rate / (1 - pow(o->beta1, t)) * *m / denominator;
}

static void plain(const orr_optimiser_options *o, int steps, double p[2][N]) {
  double m[2][N] = {{0}}, v[2][N] = {{0}}, g[2][N];
  for (int k = 0; k < 2; k++)
    for (int i = 0; i < N; i++) p[k][i] = (float)start(i + 100 * k);
  for (int t = 1; t <= steps; t++) {
    double length = 0, clip = 1;
    for (int k = 0; k < 2; k++)
      for (int i = 0; i < N; i++) {
        g[k][i] = stiffness(i) * (p[k][i] - goal(i)) + p[k][i] * p[k][i] * p[k][i];
        length += g[k][i] * g[k][i];
      }
    if (o->clip > 0) clip = fmin(1, o->clip / (sqrt(length) + 1e-6));
    double rate = o->learning_rate * factor_of(o, t - 1);
    for (int k = 0; k < 2; k++)
      for (int i = 0; i < N; i++)
        plain_step(o, t, rate, k == 1 || o->decay_vectors ? o->weight_decay : 0, &p[k][i],
                   g[k][i] * clip, &m[k][i], &v[k][i]);
  }
}

static void compare(const char *what, orr_optimiser_options options) {
  bench b = open_bench(&options);
  double wanted[2][N];
  for (int i = 0; i < STEPS; i++) step(&b);
  plain(&options, STEPS, wanted);
  for (int k = 0; k < 2; k++)
    for (int i = 0; i < N; i++)
      cr_expect_float_eq(orr_tensor_get(b.p[k], i), wanted[k][i], 1e-5 * (1 + fabs(wanted[k][i])),
                         "%s: parameter %d, %d is %.9g, not %.9g", what, k, i,
                         orr_tensor_get(b.p[k], i), wanted[k][i]);
  cr_expect_eq(orr_optimiser_skipped(b.optimiser), 0);
  close_bench(&b);
}

#define OPTIONS(...)                                             \
  ({                                                             \
    orr_optimiser_options o_ = orr_optimiser_options_defaults(); \
    orr_optimiser_options *o = &o_;                              \
    __VA_ARGS__;                                                 \
    o_;                                                          \
  })

Test(optimiser, adam_is_torchs) {
  compare("adam", OPTIONS(o->learning_rate = 0.02));
  compare("adam, decay", OPTIONS(o->learning_rate = 0.02; o->weight_decay = 0.1));
  compare("adam, weights decay",
          OPTIONS(o->learning_rate = 0.02; o->weight_decay = 0.1; o->decay_vectors = false));
  compare("adam, betas",
          OPTIONS(o->learning_rate = 0.02; o->beta1 = 0; o->beta2 = 0.99; o->epsilon = 0.3));
}

Test(optimiser, adamw_is_torchs) {
  compare("adamw",
          OPTIONS(o->kind = ORR_OPTIMISER_adamw; o->learning_rate = 0.02; o->weight_decay = 0.3));
}

Test(optimiser, sgd_is_torchs) {
  compare("sgd", OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->learning_rate = 0.05));
  compare("momentum",
          OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->learning_rate = 0.05; o->momentum = 0.9));
  compare("nesterov", OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->learning_rate = 0.05;
                              o->momentum = 0.8; o->nesterov = true; o->weight_decay = 0.01));
}

Test(optimiser, gradients_are_clipped_together) {
  compare("clip", OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->learning_rate = 0.05; o->clip = 2));
  compare("no need to clip",
          OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->learning_rate = 0.05; o->clip = 1000));
}

Test(optimiser, schedules_follow_their_formulas) {
  for (int s = 0; s < 3; s++)
    for (int warmup = 0; warmup <= 10; warmup += 10)
      compare("schedule", OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->learning_rate = 0.05;
                                  o->schedule = (orr_schedule)s; o->warmup = warmup; o->steps = 30;
                                  o->final = 0.1));
}

Test(optimiser, the_scale_multiplies_the_rate) {
  orr_optimiser_options options = OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->learning_rate = 0.1);
  bench b = open_bench(&options);
  cr_assert_eq(orr_optimiser_set_scale(b.optimiser, 0.5), ORR_OK);
  for (int i = 0; i < STEPS; i++) step(&b);
  double wanted[2][N];
  options.learning_rate = 0.05;
  plain(&options, STEPS, wanted);
  for (int i = 0; i < N; i++) cr_expect_float_eq(orr_tensor_get(b.p[0], i), wanted[0][i], 1e-5);
  cr_expect_eq(orr_optimiser_set_scale(b.optimiser, NAN), ORR_ARGUMENT);
  close_bench(&b);
}

/* A gradient with a NaN: nothing moves, to the bit; then training goes on as if nothing had
   been. */
static void skip(orr_optimiser_options options, double spoiled) {
  bench b = open_bench(&options), straight = open_bench(&options);
  for (int i = 0; i < 20; i++) {
    step(&straight);
    step(&b);
    if (i % 7 != 3) continue;
    int states = orr_optimiser_states(b.optimiser);
    orr_tensor *before[32];
    for (int s = 0; s < states; s++)
      before[s] = orr_tensor_copy(orr_optimiser_state(b.optimiser, s));
    orr_tensor *parameter = orr_tensor_copy(b.p[0]);
    orr_real *c = orr_tensor_data(b.c), kept = c[5];
    c[5] = (orr_real)spoiled;
    orr_tensor_touch(b.c);
    step(&b);
    step(&b);
    c[5] = kept;
    orr_tensor_touch(b.c);
    cr_expect(orr_tensor_same(parameter, b.p[0]));
    for (int s = 0; s < states; s++) {
      const char *name = orr_optimiser_state_name(b.optimiser, s);
      if (!strstr(name, "skipped") && !strstr(name, "length"))
        cr_expect(orr_tensor_same(before[s], orr_optimiser_state(b.optimiser, s)), "%s moved",
                  name);
      orr_tensor_free(before[s]);
    }
    cr_expect_eq(orr_optimiser_skipped_in_a_row(b.optimiser), 2);
    orr_tensor_free(parameter);
  }
  cr_expect_eq(orr_optimiser_skipped(b.optimiser), 6);
  cr_expect_eq(orr_optimiser_skipped_in_a_row(b.optimiser), 0);
  for (int k = 0; k < 2; k++) cr_expect(orr_tensor_same(b.p[k], straight.p[k]));
  close_bench(&b);
  close_bench(&straight);
}

Test(optimiser, updates_that_are_not_finite_are_skipped) {
  skip(OPTIONS(o->learning_rate = 0.02), NAN);
  skip(OPTIONS(o->learning_rate = 0.02; o->clip = 1; o->weight_decay = 0.1), INFINITY);
  skip(OPTIONS(o->kind = ORR_OPTIMISER_adamw; o->learning_rate = 0.02; o->weight_decay = 0.1), NAN);
  skip(OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->momentum = 0.9; o->learning_rate = 0.02), -INFINITY);
  skip(OPTIONS(o->kind = ORR_OPTIMISER_sgd; o->momentum = 0.9; o->nesterov = true; o->clip = 2),
       NAN);
}

/* Members clip and skip on their own: the NaN of one leaves the others as they would have been. */
Test(optimiser, a_member_that_is_not_finite_stays_alone) {
  orr_tensor *p[2], *scale[2];
  for (int k = 0; k < 2; k++) {
    p[k] = orr_tensor_full(engine, ORR_REAL, 2, (int64_t[]){3, 4}, 2);
    scale[k] = orr_tensor_full(engine, ORR_REAL, 2, (int64_t[]){3, 4}, 1);
    if (k == 1) ((orr_real *)orr_tensor_data(scale[k]))[4 + 2] = (orr_real)NAN;
    orr_optimiser *optimiser = orr_optimiser_new(engine, NULL, 1, &p[k], (orr_level[]){ORR_MEMBER});
    cr_assert(optimiser, "%s", orr_engine_message(engine));
    orr_graph *g = orr_graph_new(engine);
    orr_node node = orr_parameter(g, p[k], ORR_MEMBER), gradient;
    orr_node d = orr_binary(g, ORR_OP_mul, node, orr_parameter(g, scale[k], ORR_MEMBER));
    orr_node loss = orr_sum_all(g, orr_unary(g, ORR_OP_square, d));
    cr_assert_eq(orr_gradient(g, loss, 1, &node, &gradient), ORR_OK);
    cr_assert_eq(orr_optimiser_build(optimiser, g, &gradient), ORR_OK, "%s",
                 orr_engine_message(engine));
    orr_program *program = orr_compile(g);
    cr_assert(program, "%s", orr_engine_message(engine));
    orr_run *run = orr_run_new(program);
    orr_run_rows(run, 3, 3);
    for (int i = 0; i < 5; i++)
      cr_assert_eq(orr_run_go(run), ORR_OK, "%s", orr_engine_message(engine));
    cr_expect_eq(orr_optimiser_skipped(optimiser), k ? 5 : 0);
    cr_expect_eq(orr_optimiser_skipped_in_a_row(optimiser), k ? 5 : 0);
    orr_run_free(run);
    orr_program_free(program);
    orr_graph_free(g);
    orr_optimiser_free(optimiser);
  }
  for (int i = 0; i < 12; i++) {
    if (i / 4 == 1) cr_expect_eq(orr_tensor_get(p[1], i), 2);
    else cr_expect_eq(orr_tensor_get(p[1], i), orr_tensor_get(p[0], i));
    cr_expect_lt(orr_tensor_get(p[0], i), 2);
  }
  for (int k = 0; k < 2; k++) {
    orr_tensor_free(p[k]);
    orr_tensor_free(scale[k]);
  }
}

Test(optimiser, a_reset_starts_over) {
  orr_optimiser_options options = OPTIONS(o->learning_rate = 0.02);
  bench b = open_bench(&options), fresh = open_bench(&options);
  for (int i = 0; i < 5; i++) step(&b);
  for (int k = 0; k < 2; k++) orr_tensor_assign(b.p[k], fresh.p[k]);
  cr_assert_eq(orr_optimiser_reset(b.optimiser), ORR_OK);
  for (int i = 0; i < 5; i++) {
    step(&b);
    step(&fresh);
  }
  for (int k = 0; k < 2; k++) cr_expect(orr_tensor_same(b.p[k], fresh.p[k]));
  close_bench(&b);
  close_bench(&fresh);
}

Test(optimiser, options_out_of_range_are_named) {
  orr_tensor *p = orr_tensor_new(engine, ORR_REAL, 1, (int64_t[]){2});
  orr_level level = ORR_UNIFORM;
#define REFUSED(name, ...)                                                                 \
  do {                                                                                     \
    orr_optimiser_options bad = OPTIONS(__VA_ARGS__);                                      \
    cr_expect_null(orr_optimiser_new(engine, &bad, 1, &p, &level));                        \
    cr_expect(strstr(orr_engine_message(engine), name), "%s", orr_engine_message(engine)); \
  } while (0)
  REFUSED("learning_rate", o->learning_rate = -1);
  REFUSED("learning_rate", o->learning_rate = NAN);
  REFUSED("beta1", o->beta1 = 1);
  REFUSED("clip", o->clip = -1);
  REFUSED("steps", o->schedule = ORR_SCHEDULE_COSINE);
  REFUSED("momentum", o->nesterov = true);
  orr_tensor *twice[] = {p, p};
  cr_expect_null(
      orr_optimiser_new(engine, NULL, 2, twice, (orr_level[]){ORR_UNIFORM, ORR_UNIFORM}));
  cr_expect_null(orr_optimiser_new(engine, NULL, 0, twice, &level));
  orr_tensor_free(p);
}
