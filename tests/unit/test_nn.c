/* test_nn.c - initialisers, layers, nets, checkpoints. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limited_memory.h"
#include "orrery/nn.h"

static orr_engine *engine;

static void setup(void) { engine = orr_engine_new(NULL); }
static void teardown(void) { orr_engine_free(engine); }

TestSuite(nn, .init = setup, .fini = teardown);

static orr_tensor *matrix(int64_t rows, int64_t columns) {
  return orr_tensor_new(engine, ORR_REAL, 2, (int64_t[]){rows, columns});
}

static orr_real *data(orr_tensor *x) { return orr_tensor_data(x); }

static const char *path_of(const char *name) {
  static char path[256];
  const char *folder = getenv("TMPDIR");
  snprintf(path, sizeof path, "%s/orrery-nn-%ld-%s", folder ? folder : "/tmp", (long)getpid(),
           name);
  return path;
}

Test(nn, initialisers_have_the_right_spread) {
  orr_random random = orr_random_new(1, 2);
  orr_tensor *x = matrix(300, 200);
  double sum = 0, square = 0, greatest = 0;
  cr_assert_eq(orr_init_truncated_normal(x, &random, 0, 1, -1.5, 1.5), ORR_OK);
  for (int64_t i = 0; i < orr_tensor_count(x); i++) {
    sum += data(x)[i];
    square += data(x)[i] * data(x)[i];
    greatest = fmax(greatest, fabs(data(x)[i]));
  }
  cr_expect_leq(greatest, 1.5);
  cr_expect_lt(fabs(sum / 60000), 0.01);
  /* variance of a standard normal cut at c: 1 - 2 c phi(c) / (2 Phi(c) - 1) */
  double c = 1.5, phi = exp(-c * c / 2) / sqrt(2 * 3.14159265358979), inside = erf(c / sqrt(2));
  cr_expect_lt(fabs(square / 60000 - (1 - 2 * c * phi / inside)), 0.01);
  cr_assert_eq(orr_init_normal(x, &random, 3, 2), ORR_OK);
  sum = 0;
  for (int64_t i = 0; i < orr_tensor_count(x); i++) sum += data(x)[i];
  cr_expect_lt(fabs(sum / 60000 - 3), 0.05);
  cr_assert_eq(orr_init_truncated_normal(x, &random, 0, 1, 2, 1), ORR_ARGUMENT);
  /* bounds far in the tail: must end */
  cr_assert_eq(orr_init_truncated_normal(x, &random, 0, 1, 50, 51), ORR_OK);
  orr_tensor_free(x);
}

Test(nn, orthogonal_matrices_are) {
  orr_random random = orr_random_new(3, 0);
  int64_t sizes[][2] = {{5, 8}, {8, 5}, {6, 6}};
  for (int s = 0; s < 3; s++) {
    int64_t rows = sizes[s][0], columns = sizes[s][1];
    orr_tensor *x = orr_tensor_new(engine, ORR_REAL, 3, (int64_t[]){2, rows, columns});
    cr_assert_eq(orr_init_orthogonal(x, &random, 2), ORR_OK);
    orr_tensor *t = orr_tensor_transpose(x, NULL);
    orr_tensor *product = rows < columns ? orr_tensor_matmul(x, t) : orr_tensor_matmul(t, x);
    int64_t n = rows < columns ? rows : columns;
    for (int64_t i = 0; i < 2 * n * n; i++) {
      double wanted = (i / n) % n == i % n ? 4 : 0;
      cr_expect_float_eq(orr_tensor_get(product, i), wanted, 1e-5);
    }
    orr_tensor_free(product);
    orr_tensor_free(t);
    orr_tensor_free(x);
  }
  orr_tensor *vector = orr_tensor_new(engine, ORR_REAL, 1, (int64_t[]){4});
  cr_expect_eq(orr_init_orthogonal(vector, &random, 1), ORR_SHAPE);
  orr_tensor_free(vector);
}

static orr_net *small_net(int members, uint64_t seed) {
  orr_layer layers[] = {{.kind = ORR_LAYER_linear, .outputs = 7},
                        {.kind = ORR_LAYER_layer_norm},
                        {.kind = ORR_LAYER_activation, .op = ORR_OP_tanh},
                        {.kind = ORR_LAYER_linear, .outputs = 2, .no_bias = true}};
  orr_random random = orr_random_new(seed, 0);
  return orr_net_new(engine, 1, (int64_t[]){3}, 4, layers, members, &random);
}

Test(nn, parameters_have_names_shapes_and_bounds) {
  orr_net *net = small_net(0, 1), *ensemble = small_net(3, 1);
  cr_assert(net && ensemble);
  const char *names[] = {"linear1.weight", "linear1.bias", "layer_norm1.scale",
                         "layer_norm1.offset", "linear2.weight"};
  cr_assert_eq(orr_net_parameters(net), 5);
  for (int i = 0; i < 5; i++) {
    cr_expect_str_eq(orr_net_parameter_name(net, i), names[i]);
    const orr_tensor *one = orr_net_parameter(net, i), *three = orr_net_parameter(ensemble, i);
    cr_expect_eq(orr_tensor_axes(three), orr_tensor_axes(one) + 1);
    cr_expect_eq(orr_tensor_shape(three)[0], 3);
    cr_expect_eq(orr_tensor_count(three), 3 * orr_tensor_count(one));
    /* member 1 starts as a single net of the same seed */
    for (int64_t j = 0; j < orr_tensor_count(one); j++)
      cr_expect_eq(orr_tensor_get(one, j), orr_tensor_get(three, j));
  }
  orr_tensor *weight = orr_net_parameter(net, 0);
  cr_expect_eq(orr_tensor_shape(weight)[0], 3);
  cr_expect_eq(orr_tensor_shape(weight)[1], 7);
  for (int i = 0; i < 21; i++) cr_expect_leq(fabs(data(weight)[i]), 1 / sqrt(3) + 1e-6);
  cr_expect_neq(orr_tensor_get(orr_net_parameter(ensemble, 0), 0),
                orr_tensor_get(orr_net_parameter(ensemble, 0), 21));
  cr_expect_eq(orr_net_level(net), ORR_UNIFORM);
  cr_expect_eq(orr_net_level(ensemble), ORR_MEMBER);
  orr_net_free(net);
  orr_net_free(ensemble);
}

Test(nn, bad_layers_are_refused_with_their_place) {
  orr_random random = orr_random_new(1, 0);
  orr_layer none[] = {{.kind = ORR_LAYER_linear, .outputs = 4},
                      {.kind = ORR_LAYER_linear, .outputs = 0}};
  cr_expect_null(orr_net_new(engine, 1, (int64_t[]){3}, 2, none, 0, &random));
  cr_expect(strstr(orr_engine_message(engine), "layer 2 (linear)"), "%s",
            orr_engine_message(engine));
  orr_layer binary[] = {{.kind = ORR_LAYER_activation, .op = ORR_OP_add}};
  cr_expect_null(orr_net_new(engine, 1, (int64_t[]){3}, 1, binary, 0, &random));
  cr_expect(strstr(orr_engine_message(engine), "add"), "%s", orr_engine_message(engine));
  orr_layer huge[] = {{.kind = ORR_LAYER_linear, .outputs = (int64_t)1 << 60}};
  cr_expect_null(orr_net_new(engine, 1, (int64_t[]){(int64_t)1 << 40}, 1, huge, 0, &random));
  orr_layer vector[] = {{.kind = ORR_LAYER_linear, .outputs = 2}};
  cr_expect_null(orr_net_new(engine, 0, NULL, 1, vector, 0, &random));
}

/* The net on rows, member by member, through a program. */
static orr_tensor *run_net(orr_net *net, orr_tensor *x, orr_run **kept) {
  orr_graph *graph = orr_graph_new(engine);
  orr_node input = orr_input(graph, "x", ORR_ROW, 1, (int64_t[]){3});
  orr_output(graph, "y", orr_net_apply(net, graph, input, NULL));
  orr_program *program = orr_compile(graph);
  cr_assert(program, "%s", orr_engine_message(engine));
  orr_run *run = orr_run_new(program);
  orr_run_input(run, "x", x, NULL);
  orr_run_rows(run, orr_tensor_shape(x)[0], orr_net_members(net));
  cr_assert_eq(orr_run_go(run), ORR_OK, "%s", orr_engine_message(engine));
  orr_graph_free(graph);
  orr_program_free(program);
  *kept = run;
  return orr_run_output(run, "y");
}

static void plain_net(orr_net *net, int member, const double *x, double *y) {
  double h[7], mean = 0, variance = 0;
#define P(i, at)                                                                 \
  orr_tensor_get(orr_net_parameter(net, i),                                      \
                 (int64_t)member *(orr_tensor_count(orr_net_parameter(net, i)) / \
                                   orr_net_members(net)) +                       \
                     (at))
  for (int j = 0; j < 7; j++) {
    h[j] = P(1, j);
    for (int i = 0; i < 3; i++) h[j] += x[i] * P(0, i * 7 + j);
    mean += h[j] / 7;
  }
  for (int j = 0; j < 7; j++) variance += (h[j] - mean) * (h[j] - mean) / 7;
  for (int j = 0; j < 7; j++)
    h[j] = tanh((h[j] - mean) / sqrt(variance + 1e-5) * P(2, j) + P(3, j));
  for (int k = 0; k < 2; k++) {
    y[k] = 0;
    for (int j = 0; j < 7; j++) y[k] += h[j] * P(4, j * 2 + k);
  }
#undef P
}

Test(nn, a_net_computes_what_its_layers_say) {
  for (int members = 0; members <= 3; members += 3) {
    orr_net *net = small_net(members, 5);
    int groups = members ? members : 1, rows = 37 * groups;
    orr_tensor *x = orr_tensor_normal(engine, 2, (int64_t[]){rows, 3}, 0, 1);
    orr_run *run;
    orr_tensor *y = run_net(net, x, &run);
    for (int r = 0; r < rows; r++) {
      double in[3], out[2];
      for (int i = 0; i < 3; i++) in[i] = orr_tensor_get(x, r * 3 + i);
      plain_net(net, r / 37, in, out);
      for (int k = 0; k < 2; k++) cr_expect_float_eq(orr_tensor_get(y, r * 2 + k), out[k], 2e-5);
    }
    orr_run_free(run);
    orr_tensor_free(x);
    orr_net_free(net);
  }
}

Test(nn, wrong_shapes_are_named) {
  orr_net *net = small_net(0, 1);
  orr_graph *graph = orr_graph_new(engine);
  orr_node x = orr_input(graph, "x", ORR_ROW, 1, (int64_t[]){4});
  cr_expect_eq(orr_net_apply(net, graph, x, NULL), ORR_NONE);
  cr_expect_str_eq(orr_engine_message(engine), "the net takes 3, not 4");
  orr_node good = orr_input(graph, "good", ORR_ROW, 1, (int64_t[]){3});
  orr_node given[5] = {x, x, x, x, x};
  cr_expect_eq(orr_net_apply(net, graph, good, given), ORR_NONE);
  cr_expect(strstr(orr_engine_message(engine), "linear1.weight is 3 x 7, not 4"), "%s",
            orr_engine_message(engine));
  orr_graph_free(graph);
  orr_net_free(net);
}

Test(nn, a_copy_is_independent) {
  orr_net *net = small_net(2, 1), *copy = orr_net_copy(net);
  for (int i = 0; i < orr_net_parameters(net); i++) {
    cr_expect(orr_tensor_same(orr_net_parameter(net, i), orr_net_parameter(copy, i)));
    orr_tensor_fill(orr_net_parameter(net, i), 9);
    cr_expect_not(orr_tensor_same(orr_net_parameter(net, i), orr_net_parameter(copy, i)));
  }
  orr_net_free(net);
  orr_net_free(copy);
}

Test(nn, checkpoints_come_back_the_same) {
  orr_net *net = small_net(2, 1), *other = small_net(2, 2);
  const char *path = path_of("same");
  cr_assert_eq(orr_net_save(net, path), ORR_OK, "%s", orr_engine_message(engine));
  cr_assert_eq(orr_net_load(other, path), ORR_OK, "%s", orr_engine_message(engine));
  for (int i = 0; i < orr_net_parameters(net); i++)
    cr_expect(orr_tensor_same(orr_net_parameter(net, i), orr_net_parameter(other, i)));
  remove(path);
  orr_net_free(net);
  orr_net_free(other);
}

/* Loading must fail with that in the message and leave the net as it was. */
static void refused(const char *path, const char *text) {
  orr_net *net = small_net(2, 7), *before = orr_net_copy(net);
  cr_expect_neq(orr_net_load(net, path), ORR_OK);
  cr_expect(strstr(orr_engine_message(engine), text), "'%s' is not in '%s'", text,
            orr_engine_message(engine));
  cr_expect(strstr(orr_engine_message(engine), path), "no file in '%s'",
            orr_engine_message(engine));
  for (int i = 0; i < orr_net_parameters(net); i++)
    cr_expect(orr_tensor_same(orr_net_parameter(net, i), orr_net_parameter(before, i)));
  orr_net_free(net);
  orr_net_free(before);
}

Test(nn, a_checkpoint_that_does_not_fit_changes_nothing) {
  orr_layer layers[] = {{.kind = ORR_LAYER_linear, .outputs = 7},
                        {.kind = ORR_LAYER_layer_norm},
                        {.kind = ORR_LAYER_activation, .op = ORR_OP_tanh},
                        {.kind = ORR_LAYER_linear, .outputs = 3, .no_bias = true}};
  orr_random random = orr_random_new(1, 0);
  orr_net *wider = orr_net_new(engine, 1, (int64_t[]){3}, 4, layers, 2, &random);
  orr_net *shorter = orr_net_new(engine, 1, (int64_t[]){3}, 3, layers, 2, &random);
  const char *path = path_of("other");
  cr_assert_eq(orr_net_save(wider, path), ORR_OK);
  refused(path, "linear2.weight is 2 x 7 x 3 (real) in the file, but 2 x 7 x 2");
  cr_assert_eq(orr_net_save(shorter, path), ORR_OK);
  refused(path, "has no linear2.weight");
  layers[3].no_bias = false;
  layers[3].outputs = 2;
  orr_net *more = orr_net_new(engine, 1, (int64_t[]){3}, 4, layers, 2, &random);
  cr_assert_eq(orr_net_save(more, path), ORR_OK);
  refused(path, "linear2.bias");
  remove(path);
  refused(path, "");
  orr_net_free(wider);
  orr_net_free(shorter);
  orr_net_free(more);
}

Test(nn, every_truncation_of_a_checkpoint_is_refused) {
  orr_net *net = small_net(2, 1);
  const char *path = path_of("short");
  cr_assert_eq(orr_net_save(net, path), ORR_OK);
  FILE *file = fopen(path, "rb");
  char bytes[8192];
  size_t size = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  cr_assert(size > 200 && size < sizeof bytes);
  for (size_t cut = 0; cut < size; cut += cut < 32 ? 1 : 37) {
    file = fopen(path, "wb");
    fwrite(bytes, 1, cut, file);
    fclose(file);
    refused(path, "");
  }
  remove(path);
  orr_net_free(net);
}

Test(nn, what_is_not_finite_is_neither_saved_nor_loaded) {
  orr_net *net = small_net(2, 1);
  const char *path = path_of("nan");
  remove(path);
  data(orr_net_parameter(net, 1))[3] = (orr_real)NAN;
  cr_expect_eq(orr_net_save(net, path), ORR_NUMBER);
  cr_expect(strstr(orr_engine_message(engine), "linear1.bias"), "%s", orr_engine_message(engine));
  cr_expect_neq(access(path, F_OK), 0, "nothing is to be written");
  orr_bundle *bundle = orr_bundle_new(engine);
  for (int i = 0; i < orr_net_parameters(net); i++)
    orr_bundle_add(bundle, orr_net_parameter_name(net, i), orr_net_parameter(net, i));
  cr_assert_eq(orr_bundle_write(bundle, path), ORR_OK, "%s", orr_engine_message(engine));
  refused(path, "linear1.bias");
  remove(path);
  orr_bundle_free(bundle);
  orr_net_free(net);
}

/* ---- memory */

/* Makes, copies, saves and loads a net, and builds its update; false when a step failed. */
static bool scenario(orr_engine *own, const char *path) {
  orr_layer layers[] = {{.kind = ORR_LAYER_linear, .outputs = 6, .init = ORR_INIT_orthogonal},
                        {.kind = ORR_LAYER_layer_norm},
                        {.kind = ORR_LAYER_linear, .outputs = 1}};
  orr_random random = orr_random_new(1, 0);
  orr_net *net = orr_net_new(own, 1, (int64_t[]){3}, 3, layers, 2, &random),
          *copy = orr_net_copy(net);
  bool good =
      net && copy && orr_net_save(net, path) == ORR_OK && orr_net_load(copy, path) == ORR_OK;
  orr_tensor *tensors[8];
  orr_level levels[8];
  int count = orr_net_parameters(net);
  for (int i = 0; i < count; i++) {
    tensors[i] = orr_net_parameter(net, i);
    levels[i] = ORR_MEMBER;
  }
  orr_optimiser *optimiser = good ? orr_optimiser_new(own, NULL, count, tensors, levels) : NULL;
  orr_graph *graph = optimiser ? orr_graph_new(own) : NULL;
  good = graph != NULL;
  if (good) {
    orr_node wrt[8], gradients[8];
    orr_node x = orr_input(graph, "x", ORR_ROW, 1, (int64_t[]){3});
    orr_node loss =
        orr_row_mean(graph, orr_sum_all(graph, orr_net_apply(net, graph, x, NULL)), ORR_MEMBER);
    for (int i = 0; i < count; i++) wrt[i] = orr_parameter(graph, tensors[i], ORR_MEMBER);
    good = orr_gradient(graph, loss, count, wrt, gradients) == ORR_OK &&
           orr_optimiser_build(optimiser, graph, gradients) == ORR_OK;
  }
  orr_graph_free(graph);
  orr_optimiser_free(optimiser);
  orr_net_free(copy);
  orr_net_free(net);
  return good;
}

Test(nn, allocations_that_fail_leave_nothing_behind) {
  const char *path = path_of("memory");
  for (long n = 0;; n++) {
    struct memory memory = {.left = UNLIMITED, .once = true};
    orr_engine *own = limited_engine(&memory, 1);
    cr_assert(own);
    long before = memory.live;
    memory.left = n;
    bool good = scenario(own, path);
    if (!good)
      cr_expect_eq(orr_engine_status(own), ORR_MEMORY, "%ld: %s", n, orr_engine_message(own));
    cr_expect_eq(memory.live, before, "allocation %ld: %ld bytes are left", n,
                 memory.live - before);
    memory.left = UNLIMITED;
    cr_expect(scenario(own, path), "the engine must stay usable");
    orr_engine_free(own);
    cr_expect_eq(memory.live, 0);
    if (good) {
      cr_expect_gt(n, 50);
      break;
    }
  }
  remove(path);
}
