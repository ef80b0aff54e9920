/* Random graphs: the compiled program against the interpreter of random_graph.h, on awkward numbers
   of rows, unequal groups, chosen members, with updates in place, and the same bits on 1, 2 and 3
   threads. ORR_SEED=n runs one graph and says more; ORR_GRAPHS=n runs more of them. */
#include "random_graph.h"

#ifdef ORR_DOUBLE
static const double NOISE = 1e-15, CLOSE = 1e-10;
#else
static const double NOISE = 4e-7, CLOSE = 2e-5;
#endif

enum { SAMPLES = 4, MOST_UPDATES = 3 };

typedef struct trial {
  maker m;
  orr_run *run;
  uint64_t seed;
  int rows, members, entries[8];
  int64_t sizes[8];
  bool chosen; /* entries are given */
  int outputs;
  orr_node output[40];
  int updates;
  orr_node updated[MOST_UPDATES], update[MOST_UPDATES];
  bool big, huge;
} trial;

#define OK(call) \
  cr_assert_eq(call, ORR_OK, "graph %d: %s", (int)t->seed, orr_engine_message(t->m.engine))

/* ---- building ---- */

/* Large single values, which run in groups, chunk by chunk. */
static void add_big(trial *t) {
  maker *m = &t->m;
  scope *s = &m->top, big = {.graph = s->graph};
  int64_t shape[2] = {33, 67};
  for (int i = 0; i < 3; i++)
    big.pool[big.count++] = fresh_top(m, chance(&m->dice, 50) ? ORR_MEMBER : ORR_UNIFORM, 2, shape,
                                      chance(&m->dice, 20));
  orr_node number = orr_sum_all(s->graph, fresh_top(m, ORR_UNIFORM, 1, shape + 2 - 1, true));
  for (int i = 0; i < 14; i++) {
    orr_node a = big.pool[below(&m->dice, big.count)], b = big.pool[below(&m->dice, big.count)], y;
    int kind = below(&m->dice, 8);
    if (kind < 2) y = op1(&big, ORR_OP_tanh, a);
    else if (kind == 2) y = orr_select(s->graph, op2(&big, ORR_OP_less, a, b), a, b);
    else if (kind == 3) y = op2(&big, ORR_OP_mul, a, number);
    else if (kind == 4) y = op2(&big, ORR_OP_sub, number, a);
    else y = op2(&big, kind == 5 ? ORR_OP_mul : ORR_OP_add, a, b);
    if (y != ORR_NONE) big.pool[big.count++] = y;
  }
  orr_node last = big.pool[big.count - 1], wrt = big.pool[0], gradient;
  keep(s, orr_sum_all(s->graph, last));
  orr_node y =
      orr_row_mean(s->graph,
                   orr_sum_all(s->graph, op2(&big, ORR_OP_mul, last, orr_number(s->graph, 0.01))),
                   ORR_UNIFORM);
  if (!orr_gradient(s->graph, y, 1, &wrt, &gradient)) t->output[t->outputs++] = gradient;
  t->output[t->outputs++] = last;
  t->output[t->outputs++] = big.pool[big.count - 3];
}

/* A row that outgrows the cache: all the program then works on one lane. */
static void add_huge(trial *t) {
  orr_graph *g = t->m.top.graph;
  int64_t one[1] = {5}, shape[3] = {300, 200, 5};
  orr_node x = fresh_top(&t->m, ORR_ROW, 1, one, true);
  orr_node y = orr_unary(g, ORR_OP_sin, orr_broadcast(g, x, 3, shape));
  keep(&t->m.top, orr_mean(g, orr_cumsum(g, orr_mean(g, y, 1, false), 1, true), 0, false));
  t->output[t->outputs++] = t->m.top.pool[t->m.top.count - 1];
}

static void add_updates(trial *t) {
  maker *m = &t->m;
  orr_graph *g = m->top.graph;
  int wanted = chance(&m->dice, 60) ? 1 + below(&m->dice, MOST_UPDATES) : 0;
  for (int tries = 0; tries < 20 && t->updates < wanted; tries++) {
    given *v = &m->given[below(&m->dice, m->given_count)];
    if (!v->tensor) continue;
    orr_node p = orr_parameter(g, v->tensor, v->level), value = ORR_NONE;
    bool again = false;
    for (int i = 0; i < t->updates; i++) again = again || t->updated[i] == p;
    if (again) continue;
    for (int i = 0; i < g->count && value == ORR_NONE; i++) {
      orr_node other = below(&m->dice, g->count);
      const node *n = node_at(g, other);
      if (n->op != ORR_OP_pack && n->op != ORR_OP_scan && n->level <= v->level &&
          shape_equal(n->axes, n->shape, v->axes, v->shape))
        value = other;
    }
    if (value == ORR_NONE) value = p;
    if (chance(&m->dice, 50)) {
      orr_node part =
          orr_row_mean(g, orr_sum_all(g, orr_unary(g, ORR_OP_tanh, any(m, &m->top))), ORR_UNIFORM);
      value = orr_binary(g, ORR_OP_add, orr_binary(g, ORR_OP_mul, p, orr_number(g, 0.9)),
                         orr_unary(g, ORR_OP_tanh, part));
    }
    if (node_at(g, value)->level < v->level)
      value = orr_binary(g, ORR_OP_add, value, orr_binary(g, ORR_OP_mul, p, orr_number(g, 0)));
    OK(orr_update(g, p, value));
    t->updated[t->updates] = p;
    t->update[t->updates++] = value;
  }
}

/* Two that change places: each takes the other as it was before. */
static void add_swap(trial *t) {
  maker *m = &t->m;
  int64_t shape[1] = {3};
  orr_level level = chance(&m->dice, 50) ? ORR_UNIFORM : ORR_MEMBER;
  orr_node a = fresh_top(m, level, 1, shape, false), b = fresh_top(m, level, 1, shape, false);
  if (t->updates > MOST_UPDATES - 2) return;
  for (int i = 0; i < 2; i++) {
    t->updated[t->updates] = i ? b : a;
    t->update[t->updates++] = i ? a : b;
    OK(orr_update(m->top.graph, i ? b : a, i ? a : b));
  }
}

static void build(trial *t) {
  maker *m = &t->m;
  m->top.graph = orr_graph_new(m->engine);
  random_inputs(m);
  if (t->big) add_big(t);
  if (t->huge) add_huge(t);
  random_ops(m, &m->top, 5 + below(&m->dice, 25));
  if (chance(&m->dice, 30)) random_scan(m, &m->top);
  if (chance(&m->dice, 80)) random_gradient(m, &m->top);
  if (chance(&m->dice, 30)) random_ops(m, &m->top, 5);
  if (chance(&m->dice, 20)) random_gradient(m, &m->top);
  int count = 1 + below(&m->dice, 8);
  for (int i = 0; i < count; i++) t->output[t->outputs++] = any(m, &m->top);
  for (int i = 0; i < t->outputs; i++) {
    char name[16];
    snprintf(name, sizeof name, "out%d", i);
    OK(orr_output(m->top.graph, name, t->output[i]));
  }
  add_updates(t);
  if (chance(&m->dice, 20)) add_swap(t);
}

/* ---- running ---- */

static void choose_rows(trial *t, int rows) {
  dice *d = &t->m.dice;
  t->chosen = chance(d, 30);
  t->members = t->chosen ? 1 + below(d, t->updates ? MOST_ENTRIES : 5) : MOST_ENTRIES;
  t->rows = rows;
  int left = rows;
  for (int i = 0; i < t->members; i++) {
    t->sizes[i] = i == t->members - 1 ? left : below(d, left + 1);
    left -= (int)t->sizes[i];
  }
  int offset = below(d, MOST_ENTRIES);
  for (int i = 0; i < t->members; i++) /* every entry at most once where they are updated */
    t->entries[i] = t->updates ? (i + offset) % MOST_ENTRIES : below(d, MOST_ENTRIES);
  OK(orr_run_groups(t->run, t->members, t->sizes));
  OK(orr_run_members(t->run, t->chosen ? t->entries : NULL));
}

/* Rows as reals, bytes or whole numbers, as they lie or by index. */
static void bind_rows(trial *t, given *v) {
  dice *d = &t->m.dice;
  bool indexed = chance(d, 30);
  orr_dtype type = chance(d, 80) ? ORR_REAL : chance(d, 50) ? ORR_BYTE : ORR_INT;
  int64_t have = indexed ? 1 + below(d, 40) : t->rows, whole[ORR_AXES + 1] = {have};
  memcpy(whole + 1, v->shape, (size_t)v->axes * sizeof *whole);
  orr_tensor *x = orr_tensor_new(t->m.engine, type, v->axes + 1, whole), *index = NULL;
  for (int64_t i = 0; i < have * v->count; i++) {
    if (type == ORR_REAL) ((orr_real *)orr_tensor_data(x))[i] = (orr_real)between(d, -1.5, 1.5);
    else if (type == ORR_BYTE) ((uint8_t *)orr_tensor_data(x))[i] = (uint8_t)below(d, 4);
    else ((int32_t *)orr_tensor_data(x))[i] = below(d, 7) - 3;
  }
  if (indexed) {
    int64_t rows = t->rows;
    index = orr_tensor_new(t->m.engine, ORR_INT, 1, &rows);
    for (int r = 0; r < t->rows; r++) ((int32_t *)orr_tensor_data(index))[r] = below(d, (int)have);
  }
  v->data = realloc(v->data, (size_t)(t->rows * v->count + 1) * sizeof(double));
  for (int r = 0; r < t->rows; r++)
    for (int64_t k = 0; k < v->count; k++)
      v->data[r * v->count + k] =
          orr_tensor_get(x, (index ? ((int32_t *)orr_tensor_data(index))[r] : r) * v->count + k);
  OK(orr_run_input(t->run, v->name, x, index));
  orr_tensor_free(x), orr_tensor_free(index);
}

static void bind_singles(trial *t, given *v) {
  int64_t whole[ORR_AXES + 1] = {MOST_ENTRIES};
  int lead = v->level == ORR_MEMBER;
  memcpy(whole + lead, v->shape, (size_t)v->axes * sizeof *whole);
  orr_tensor *x = orr_tensor_new(t->m.engine, ORR_REAL, v->axes + lead, whole);
  for (int64_t i = 0; i < orr_tensor_count(x); i++)
    v->data[i] = (double)(orr_real)between(&t->m.dice, -1.5, 1.5);
  OK(orr_tensor_write(x, v->data));
  OK(orr_run_input(t->run, v->name, x, NULL));
  orr_tensor_free(x);
}

/* ---- comparing ---- */

static void say_graph(const orr_graph *g, int depth) {
  for (int i = 0; i < g->count; i++) {
    const node *n = node_at(g, i);
    char shape[SHAPE_TEXT];
    fprintf(stderr, "%*s%d %s %s %s (", depth * 4, "", i, orr_op_name(n->op), "UMR" + n->level,
            shape_text(shape, n->axes, n->shape));
    for (int j = 0; j < n->inputs; j++) fprintf(stderr, " %d", n->in[j]);
    fprintf(stderr, " ) %g [%d %d] %s\n", n->number, (int)n->attribute[0], (int)n->attribute[1],
            n->name ? n->name : "");
    if (n->op == ORR_OP_scan) {
      const scan *s = n->scan;
      fprintf(stderr, "%*slength %d", depth * 4 + 2, "", (int)s->length);
      for (int k = 0; k < s->carries; k++)
        fprintf(stderr, " carry %d from %d next %d", s->carry[k], s->initial[k], s->next[k]);
      for (int k = 0; k < s->slices; k++)
        fprintf(stderr, " slice %d of %d", s->slice[k], s->sequence[k]);
      for (int k = 0; k < s->captures; k++)
        fprintf(stderr, " capture %d of %d", s->capture[k], s->captured[k]);
      for (int k = 0; k < s->outputs; k++) fprintf(stderr, " output %d", s->output[k]);
      for (int k = 0; k < s->reduced; k++) fprintf(stderr, " reduce %d", s->reduce[k]);
      fprintf(stderr, "\n");
      say_graph(s->body, depth + 1);
    }
  }
}

/* How far from the first of the samples a number may lie; negative: anything goes. */
static double allowed(const double *samples) {
  double spread = 0, size = fabs(samples[0]);
  for (int i = 1; i < SAMPLES; i++) {
    if (isfinite(samples[i]) != isfinite(samples[0]) || isnan(samples[i]) != isnan(samples[0]))
      return -1;
    if (isfinite(samples[0]) && fabs(samples[i] - samples[0]) > spread)
      spread = fabs(samples[i] - samples[0]);
  }
  if (size > 1e25 && isfinite(size)) return -1;
  return CLOSE * (1 + size) + 100 * spread;
}

static int faults;

static void compare_value(trial *t, interpreter *h, orr_node n, const char *what,
                          const orr_real *got, int64_t first, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    double samples[SAMPLES], off;
    for (int k = 0; k < SAMPLES; k++) samples[k] = h[k].value[n][first + i];
    double room = allowed(samples);
    if (room < 0) continue;
    off = fabs((double)got[i] - samples[0]);
    if (isfinite(samples[0]) ? off <= room
        : isnan(samples[0])  ? isnan((double)got[i])
                             : samples[0] == (double)got[i])
      continue;
    cr_expect(
        false,
        "graph %d, %d rows, %d groups%s: %s (node %d, %s): number %lld is %.9g, not %.9g +- %.1g",
        (int)t->seed, t->rows, t->members, t->chosen ? ", chosen" : "", what, n,
        orr_op_name(orr_node_op(h->graph, n)), (long long)(first + i), (double)got[i], samples[0],
        room);
    faults++;
    return;
  }
}

static void compare(trial *t, interpreter *h) {
  orr_graph *g = t->m.top.graph;
  for (int i = 0; i < t->outputs; i++) {
    char name[16];
    snprintf(name, sizeof name, "out%d", i);
    orr_tensor *got = orr_run_output(t->run, name);
    int64_t count = orr_node_count(g, t->output[i]) * instances(h, orr_node_level(g, t->output[i]));
    cr_assert_eq(orr_tensor_count(got), count);
    compare_value(t, h, t->output[i], name, orr_tensor_data(got), 0, count);
  }
  for (int i = 0; i < t->updates; i++) {
    const node *p = node_at(g, t->updated[i]);
    const orr_real *got = orr_tensor_data(p->tensor);
    for (int k = 0; k < instances(h, p->level); k++) {
      int entry = p->level == ORR_MEMBER && t->chosen ? t->entries[k] : k;
      compare_value(t, h, t->update[i], "an update", got + entry * p->count, k * p->count,
                    p->count);
    }
  }
}

/* ---- the same bits on any number of threads, and from another run in steady state ---- */

static size_t gather_bits(trial *t, orr_real *to) {
  size_t n = 0;
  for (int i = 0; i < t->outputs + t->m.given_count; i++) {
    char name[16];
    snprintf(name, sizeof name, "out%d", i);
    orr_tensor *x =
        i < t->outputs ? orr_run_output(t->run, name) : t->m.given[i - t->outputs].tensor;
    if (!x) continue;
    size_t count = (size_t)orr_tensor_count(x);
    if (to && count) memcpy(to + n, orr_tensor_data(x), count * sizeof *to);
    n += count;
  }
  return n;
}

static void restore_parameters(trial *t) {
  for (int i = 0; i < t->m.given_count; i++)
    if (t->m.given[i].tensor) OK(orr_tensor_write(t->m.given[i].tensor, t->m.given[i].data));
}

static void run_on_threads(trial *t) {
  OK(orr_run_go(t->run));
  size_t count = gather_bits(t, NULL);
  orr_real *first = malloc((count + 1) * sizeof *first),
           *second = malloc((count + 1) * sizeof *second);
  gather_bits(t, first);
  for (int threads = 3; threads > 0; threads--) {
    OK(orr_engine_set_threads(t->m.engine, threads));
    restore_parameters(t);
    OK(orr_run_go(t->run));
    gather_bits(t, second);
    if (memcmp(first, second, count * sizeof *first) == 0) continue;
    faults++;
    cr_expect(false, "graph %d, %d rows: other bits on %d threads", (int)t->seed, t->rows, threads);
  }
  free(first), free(second);
}

static void run_once(trial *t, int rows) {
  interpreter h[SAMPLES];
  choose_rows(t, rows);
  for (int i = 0; i < t->m.given_count; i++) {
    given *v = &t->m.given[i];
    if (v->tensor) orr_tensor_read(v->tensor, v->data); /* as the last run left it */
    else if (v->level == ORR_ROW) bind_rows(t, v);
    else bind_singles(t, v);
  }
  uint64_t seed = dice_bits(&t->m.dice);
  orr_run_seed(t->run, seed, (uint32_t)rows);
  for (int k = 0; k < SAMPLES; k++) {
    h[k] = (interpreter){.graph = t->m.top.graph,
                         .rows = t->rows,
                         .members = t->members,
                         .sizes = t->sizes,
                         .entries = t->chosen ? t->entries : NULL,
                         .given = t->m.given,
                         .given_count = t->m.given_count,
                         .kernels = engine_kernels(t->m.engine),
                         .key = mix_bits(seed),
                         .iteration = (uint32_t)rows,
                         .noise = k ? NOISE : 0,
                         .take_last = k % 2 == 0,
                         .dice = {(uint64_t)k},
                         .pushed = ORR_NONE};
    interpret(&h[k]);
  }
  run_on_threads(t);
  compare(t, h);
  for (int k = 0; k < SAMPLES; k++) interpreter_free(&h[k]);
}

static void one_graph(uint64_t seed, bool big, bool huge) {
  static const int counts[] = {1, 15, 16, 17, 37, 300, 0, 131};
  trial whole = {.seed = seed, .big = big, .huge = huge}, *t = &whole;
  t->m.dice.state = seed * 1000003 + (uint64_t)big * 7 + (uint64_t)huge * 13;
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  t->m.engine = orr_engine_new(&options);
  build(t);
  orr_program *p = orr_compile(t->m.top.graph);
  if (!p && strstr(orr_engine_message(t->m.engine),
                   "sum over rows inside the loop")) { /* refused, rightly */
    maker_free(&t->m);
    orr_engine_free(t->m.engine);
    return;
  }
  cr_expect_not_null(p, "graph %d: %s", (int)seed, orr_engine_message(t->m.engine));
  int before = faults;
  if (p) {
    t->run = orr_run_new(p);
    int runs = t->m.top.graph->count > 400 || huge ? 2 : 3;
    for (int i = 0; i < runs && faults == before; i++) {
      int rows = counts[below(&t->m.dice, (int)COUNT(counts))];
      run_once(t, huge ? rows % 4 : t->m.top.graph->count > 200 && rows > 40 ? 33 : rows);
    }
    if (getenv("ORR_SEED")) say_graph(t->m.top.graph, 0), fputs(orr_program_listing(p), stderr);
    orr_run_free(t->run);
    orr_program_free(p);
  }
  maker_free(&t->m);
  orr_engine_free(t->m.engine);
}

static void many_graphs(int count, bool big, bool huge) {
  if (getenv("ORR_GRAPHS")) count *= atoi(getenv("ORR_GRAPHS"));
  if (getenv("ORR_SEED")) one_graph((uint64_t)atoll(getenv("ORR_SEED")), big, huge);
  else
    for (int i = 0; i < count && faults < 20; i++) one_graph((uint64_t)i, big, huge);
}

Test(random_program, agrees_with_the_interpreter) { many_graphs(350, false, false); }
Test(random_program, agrees_where_single_values_are_large) { many_graphs(60, true, false); }
Test(random_program, agrees_where_rows_are_huge) { many_graphs(6, false, true); }
