/* test_gradient_nn.c - gradients of nets to parameters and inputs against central differences, in
   the double build; the float build checks them loosely. */
#include <criterion/criterion.h>
#include <math.h>

#include "orrery/nn.h"

#ifdef ORR_DOUBLE
static const double step = 1e-5, tolerance = 1e-6;
#else
static const double step = 1e-2, tolerance = 2e-2;
#endif

static orr_engine *engine;

static void setup(void) { engine = orr_engine_new(NULL); }
static void teardown(void) { orr_engine_free(engine); }

TestSuite(gradient_nn, .init = setup, .fini = teardown);

enum { ROWS = 21, INPUTS = 3 };

typedef struct bench {
  orr_net *net;
  orr_tensor *x;
  orr_run *run;
  int members;
} bench;

/* loss = mean over a member's rows of sum over outputs of sin(y); outputs: loss, and d loss / d
   each. */
static bench open_bench(const orr_layer *layers, int count, int members) {
  bench b = {.members = members ? members : 1};
  orr_random random = orr_random_new(11, 0);
  b.net = orr_net_new(engine, 1, (int64_t[]){INPUTS}, count, layers, members, &random);
  cr_assert(b.net, "%s", orr_engine_message(engine));
  b.x = orr_tensor_normal(engine, 2, (int64_t[]){ROWS * b.members, INPUTS}, 0, 1);
  orr_graph *g = orr_graph_new(engine);
  orr_node x = orr_input(g, "x", ORR_ROW, 1, (int64_t[]){INPUTS});
  orr_node y = orr_net_apply(b.net, g, x, NULL);
  orr_node row = orr_sum_all(g, orr_unary(g, ORR_OP_sin, y));
  orr_node loss = orr_row_mean(g, row, orr_net_level(b.net));
  int parameters = orr_net_parameters(b.net);
  orr_node wrt[32], gradients[32];
  for (int i = 0; i < parameters; i++)
    wrt[i] = orr_parameter(g, orr_net_parameter(b.net, i), orr_net_level(b.net));
  wrt[parameters] = x;
  cr_assert_eq(orr_gradient(g, loss, parameters + 1, wrt, gradients), ORR_OK, "%s",
               orr_engine_message(engine));
  orr_output(g, "loss", loss);
  for (int i = 0; i < parameters; i++)
    orr_output(g, orr_net_parameter_name(b.net, i), gradients[i]);
  orr_output(g, "dx", gradients[parameters]);
  orr_program *program = orr_compile(g);
  cr_assert(program, "%s", orr_engine_message(engine));
  b.run = orr_run_new(program);
  orr_run_input(b.run, "x", b.x, NULL);
  orr_run_rows(b.run, ROWS * b.members, b.members);
  orr_program_free(program);
  orr_graph_free(g);
  return b;
}

static double loss_of(bench *b) {
  cr_assert_eq(orr_run_go(b->run), ORR_OK, "%s", orr_engine_message(engine));
  double sum = 0;
  for (int i = 0; i < b->members; i++) sum += orr_tensor_get(orr_run_output(b->run, "loss"), i);
  return sum;
}

static void check_tensor(bench *b, const char *what, orr_tensor *x, orr_tensor *gradient) {
  orr_real *numbers = orr_tensor_data(x);
  orr_tensor *claimed = orr_tensor_copy(gradient);
  int64_t count = orr_tensor_count(x), stride = count > 40 ? count / 40 : 1;
  for (int64_t i = 0; i < count; i += stride) {
    orr_real kept = numbers[i];
    double sides[2];
    for (int s = 0; s < 2; s++) {
      numbers[i] = kept + (orr_real)(s ? step : -step);
      orr_tensor_touch(x);
      sides[s] = loss_of(b);
    }
    numbers[i] = kept;
    orr_tensor_touch(x);
    double found = (sides[1] - sides[0]) / (2 * step), given = orr_tensor_get(claimed, i);
    cr_expect_lt(fabs(found - given), tolerance * (1 + fabs(found)),
                 "%s[%ld]: %.9g, by differences %.9g", what, (long)i, given, found);
  }
  orr_tensor_free(claimed);
}

static void check(const orr_layer *layers, int count) {
  for (int members = 0; members <= 3; members += 3) {
    bench b = open_bench(layers, count, members);
    loss_of(&b);
    orr_tensor *gradients[32];
    int parameters = orr_net_parameters(b.net);
    for (int i = 0; i < parameters; i++)
      gradients[i] = orr_tensor_copy(orr_run_output(b.run, orr_net_parameter_name(b.net, i)));
    gradients[parameters] = orr_tensor_copy(orr_run_output(b.run, "dx"));
    for (int i = 0; i < parameters; i++)
      check_tensor(&b, orr_net_parameter_name(b.net, i), orr_net_parameter(b.net, i), gradients[i]);
    check_tensor(&b, "x", b.x, gradients[parameters]);
    for (int i = 0; i <= parameters; i++) orr_tensor_free(gradients[i]);
    orr_run_free(b.run);
    orr_tensor_free(b.x);
    orr_net_free(b.net);
  }
}

Test(gradient_nn, linear) {
  check((orr_layer[]){{.kind = ORR_LAYER_linear, .outputs = 4}}, 1);
  check((orr_layer[]){{.kind = ORR_LAYER_linear, .outputs = 19, .no_bias = true},
                      {.kind = ORR_LAYER_linear, .outputs = 2}},
        2);
}

Test(gradient_nn, activations) {
  orr_op ops[] = {ORR_OP_tanh, ORR_OP_sigmoid,  ORR_OP_silu,
                  ORR_OP_gelu, ORR_OP_softplus, ORR_OP_sin};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    check((orr_layer[]){{.kind = ORR_LAYER_linear, .outputs = 9},
                        {.kind = ORR_LAYER_activation, .op = ops[i]},
                        {.kind = ORR_LAYER_linear, .outputs = 2}},
          3);
}

Test(gradient_nn, layer_norm) {
  check((orr_layer[]){{.kind = ORR_LAYER_linear, .outputs = 8},
                      {.kind = ORR_LAYER_layer_norm},
                      {.kind = ORR_LAYER_activation, .op = ORR_OP_silu},
                      {.kind = ORR_LAYER_linear, .outputs = 3}},
        4);
}

Test(gradient_nn, deep) {
  check((orr_layer[]){{.kind = ORR_LAYER_linear, .outputs = 33},
                      {.kind = ORR_LAYER_activation, .op = ORR_OP_silu},
                      {.kind = ORR_LAYER_linear, .outputs = 17},
                      {.kind = ORR_LAYER_activation, .op = ORR_OP_tanh},
                      {.kind = ORR_LAYER_linear, .outputs = 5}},
        5);
}
