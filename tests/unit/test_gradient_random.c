/* Random graphs: gradients, also of gradients and through loops, against differences taken with the
   interpreter of random_graph.h. Double precision only. ORR_SEED=n runs one graph, ORR_GRAPHS=n
   more. */
#include "random_graph.h"

typedef struct check {
  maker m;
  interpreter h;
  int64_t sizes[MOST_ENTRIES];
  uint64_t seed;
} check;

static void give_rows(check *c) {
  for (int i = 0; i < c->m.given_count; i++) {
    given *v = &c->m.given[i];
    if (v->level != ORR_ROW) continue;
    v->data = realloc(v->data, (size_t)(c->h.rows * v->count + 1) * sizeof(double));
    for (int64_t k = 0; k < c->h.rows * v->count; k++) v->data[k] = between(&c->m.dice, -1.5, 1.5);
  }
}

/* The outputs' sum with node x moved by push. */
static double value_at(check *c, orr_node y, orr_node x, const double *push) {
  interpreter h = c->h;
  double sum = 0;
  h.pushed = x;
  h.push = push;
  interpret(&h);
  for (int k = 0; k < instances(&h, orr_node_level(h.graph, y)); k++) sum += h.value[y][k];
  interpreter_free(&h);
  return sum;
}

/* Along a random direction; what jumps or has a corner within reach is passed over. */
static bool compare_direction(check *c, orr_node y, orr_node x, orr_node gradient) {
  int64_t count = orr_node_count(c->h.graph, x) * instances(&c->h, orr_node_level(c->h.graph, x));
  double *push = calloc((size_t)count + 1, sizeof *push),
         *way = calloc((size_t)count + 1, sizeof *way), f[5], given_slope = 0;
  for (int64_t k = 0; k < count; k++) way[k] = between(&c->m.dice, -1, 1);
  interpreter h = c->h;
  interpret(&h);
  for (int64_t k = 0; k < count; k++) given_slope += h.value[gradient][k] * way[k];
  interpreter_free(&h);
  const double step = 1e-6;
  for (int i = 0; i < 5; i++) {
    for (int64_t k = 0; k < count; k++) push[k] = (i - 2) * step * way[k];
    f[i] = value_at(c, y, x, push);
  }
  free(push), free(way);
  double left = (f[2] - f[1]) / step, right = (f[3] - f[2]) / step,
         wide = (f[4] - f[0]) / (4 * step), slope = (f[3] - f[1]) / (2 * step);
  double room = 1e-4 * (1 + fabs(slope)) + 1e-7 * fabs(f[2]);
  if (!(fabs(left - right) < room) || !(fabs(slope - wide) < room) || !isfinite(given_slope) ||
      fabs(f[2]) > 1e4)
    return false;
  cr_expect(fabs(slope - given_slope) <= 3 * room,
            "graph %d: node %d by node %d (%s): %.9g, differences give %.9g", (int)c->seed, y, x,
            orr_op_name(orr_node_op(c->h.graph, x)), given_slope, slope);
  return true;
}

static int one_graph(uint64_t seed) {
  check whole = {.seed = seed,
                 .sizes = {3, 1, 2},
                 .m.smooth = true,
                 .m.dice.state = seed * 7919 + 5},
        *c = &whole;
  maker *m = &c->m;
  m->engine = orr_engine_new(NULL);
  orr_graph *g = m->top.graph = orr_graph_new(m->engine);
  random_inputs(m);
  int compared = 0, tried = 0, pairs = 0;
  orr_node y[12], x[12], gradient[12];
  for (int order = 0; order < 3; order++) {
    random_ops(m, &m->top, order ? 4 : 5 + below(&m->dice, 20));
    if (chance(&m->dice, 30)) random_scan(m, &m->top);
    y[pairs] = orr_sum_all(g, orr_unary(g, ORR_OP_atan, any(m, &m->top)));
    if (chance(&m->dice, 60))
      y[pairs] = (chance(&m->dice, 50)
                      ? orr_row_mean
                      : orr_row_sum)(g, y[pairs], chance(&m->dice, 50) ? ORR_UNIFORM : ORR_MEMBER);
    orr_node wrt[3], out[3];
    for (int i = 0; i < 3; i++)
      wrt[i] = m->top.pool[below(&m->dice, chance(&m->dice, 50) ? 5 : m->top.count)];
    if (g->count > 2500) break;
    orr_node scalar = y[pairs];
    cr_expect_eq(orr_gradient(g, scalar, 3, wrt, out), ORR_OK, "graph %d: %s", (int)seed,
                 orr_engine_message(m->engine));
    for (int i = 0; i < 3 && out[i] != ORR_NONE; i++, pairs++) {
      char name[16];
      y[pairs] = scalar, x[pairs] = wrt[i], gradient[pairs] = out[i];
      snprintf(name, sizeof name, "y%d", pairs);
      orr_output(g, name, scalar);
      snprintf(name, sizeof name, "d%d", pairs);
      orr_output(g, name, out[i]);
      snprintf(name, sizeof name, "x%d", pairs);
      orr_output(g, name, wrt[i]);
      keep(&m->top, out[i]);
    }
  }
  c->h = (interpreter){.graph = g,
                       .rows = 6,
                       .members = MOST_ENTRIES,
                       .sizes = c->sizes,
                       .given = m->given,
                       .given_count = m->given_count,
                       .kernels = engine_kernels(m->engine),
                       .key = 77,
                       .pushed = ORR_NONE};
  give_rows(c);
  for (; tried < pairs; tried++)
    compared += compare_direction(c, y[tried], x[tried], gradient[tried]);
  maker_free(m);
  orr_engine_free(m->engine);
  return compared;
}

Test(random_gradient, agrees_with_differences) {
  int graphs = 300, compared = 0;
  if (getenv("ORR_GRAPHS")) graphs *= atoi(getenv("ORR_GRAPHS"));
  if (getenv("ORR_SEED")) {
    one_graph((uint64_t)atoll(getenv("ORR_SEED")));
    return;
  }
  for (int i = 0; i < graphs; i++) compared += one_graph((uint64_t)i);
  cr_expect(compared > graphs * 3, "only %d comparisons", compared);
}
