/* planner.c - what all planners share: the table of options, and buffers. A planner's own idea is
   in its own file; the loop is in search.c, sampling in draws.c, scoring and the best plan in
   score.c. */
#include <math.h>
#include <string.h>

#include "plan/plan.h"

/* ---- the table ---- */

enum { NUMBER, WHOLE };

#define OPTION(kind, name, value, low, high, doc) {#name, value, low, high, kind == WHOLE, doc},
#define PLANNER(planner, doc, options) \
  static const orr_planner_option planner##_table[] = {options};
#include "plan/planners.def"
#undef OPTION
#undef PLANNER

static const struct planner_row {
  const char *name, *doc;
  const planner_type *type;
  const orr_planner_option *options;
  int count;
  size_t size;
} rows[] = {
#define PLANNER(planner, doc, options) \
  {#planner,                           \
   doc,                                \
   &planner##_planner,                 \
   planner##_table,                    \
   COUNT(planner##_table),             \
   sizeof(planner##_options)},
#include "plan/planners.def"
#undef PLANNER
};

int orr_planner_count(void) { return (int)COUNT(rows); }

const char *orr_planner_name_at(int index) {
  return index >= 0 && index < (int)COUNT(rows) ? rows[index].name : NULL;
}

const char *orr_planner_doc_at(int index) {
  return index >= 0 && index < (int)COUNT(rows) ? rows[index].doc : NULL;
}

const orr_planner_option *orr_planner_options_at(int index, int *count) {
  bool known = index >= 0 && index < (int)COUNT(rows);
  *count = known ? rows[index].count : 0;
  return known ? rows[index].options : NULL;
}

static int find_row(orr_engine *engine, const char *name) {
  const char *names[COUNT(rows)];
  for (size_t i = 0; i < COUNT(rows); i++) {
    if (!strcmp(rows[i].name, name)) return (int)i;
    names[i] = rows[i].name;
  }
  const char *near = nearest_name(name, names, (int)COUNT(rows));
  engine_fail(engine, ORR_FIELD, "there is no planner '%s'%s%s%s", name,
              near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
  return -1;
}

static orr_status write_option(orr_engine *engine, const struct planner_row *row, double *values,
                               const orr_planner_setting *setting) {
  const char *names[64];
  int count = row->count < (int)COUNT(names) ? row->count : (int)COUNT(names);
  for (int i = 0; i < count; i++) {
    const orr_planner_option *option = &row->options[i];
    names[i] = option->name;
    if (strcmp(option->name, setting->name)) continue;
    double value = setting->value;
    if (!(value >= option->low && value <= option->high))
      return engine_fail(engine, ORR_ARGUMENT, "%s: option '%s' is %g, but must be in %g .. %g",
                         row->name, option->name, value, option->low, option->high);
    if (option->whole && value != floor(value))
      return engine_fail(engine, ORR_ARGUMENT, "%s: option '%s' is %g, but must be a whole number",
                         row->name, option->name, value);
    values[i] = value;
    return ORR_OK;
  }
  const char *near = nearest_name(setting->name, names, count);
  return engine_fail(engine, ORR_FIELD, "%s has no option '%s'%s%s%s", row->name, setting->name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* ---- making one ---- */

static orr_status read_options(orr_planner *planner, const orr_planner_setting *settings,
                               int count) {
  const struct planner_row *row = &rows[planner->row];
  planner->options = engine_new_zeroed(planner->engine, (size_t)row->count, sizeof(double));
  if (!planner->options) return ORR_MEMORY;
  for (int i = 0; i < row->count; i++) ((double *)planner->options)[i] = row->options[i].value;
  for (int i = 0; i < count; i++) {
    orr_status status = write_option(planner->engine, row, planner->options, &settings[i]);
    if (status) return status;
  }
  const common_options *common = planner->options;
  planner->horizon = (int)common->horizon;
  planner->repeat = (int)common->action_repeat;
  if (planner->horizon % planner->repeat)
    return engine_fail(planner->engine, ORR_ARGUMENT,
                       "%s: the horizon of %d steps is no multiple of action_repeat, %d", row->name,
                       planner->horizon, planner->repeat);
  planner->length = planner->horizon / planner->repeat;
  planner->proposals = (int)common->proposals;
  return ORR_OK;
}

static orr_status read_space(orr_planner *planner, orr_space *space) {
  int64_t size = orr_space_size(space);
  if (size < 1 || size > 1 << 20 || size * planner->length > INT32_MAX / 8)
    return engine_fail(planner->engine, ORR_ARGUMENT,
                       "%s: plans of %d steps of %lld numbers cannot be made",
                       rows[planner->row].name, planner->horizon, (long long)size);
  planner->space = orr_space_retain(space);
  planner->actions = (int)size;
  planner->variables = planner->actions * planner->length;
  planner->low = orr_space_low(space);
  planner->high = orr_space_high(space);
  planner->middle = engine_new_zeroed(planner->engine, (size_t)size, sizeof(orr_real));
  planner->half = engine_new_zeroed(planner->engine, (size_t)size, sizeof(orr_real));
  if (!planner->middle || !planner->half) return ORR_MEMORY;
  for (int i = 0; i < planner->actions; i++) {
    bool bounded = isfinite(planner->low[i]) && isfinite(planner->high[i]);
    planner->half[i] = bounded ? planner->high[i] / 2 - planner->low[i] / 2 : 1;
    planner->middle[i] = bounded ? planner->low[i] / 2 + planner->high[i] / 2 : 0;
  }
  orr_space_clip(space, planner->middle);
  return ORR_OK;
}

/* ---- buffers ---- */

static orr_status new_search(orr_planner *planner, search *s) {
  orr_engine *engine = planner->engine;
  size_t variables = (size_t)planner->variables, iterations = (size_t)planner->iterations;
  s->mean = engine_new_zeroed(engine, variables, sizeof(orr_real));
  s->best = engine_new_zeroed(engine, variables, sizeof(orr_real));
  s->previous = engine_new_zeroed(engine, (size_t)planner->actions, sizeof(orr_real));
  s->best_returns = engine_new_zeroed(engine, iterations, sizeof(orr_real));
  s->mean_returns = engine_new_zeroed(engine, iterations, sizeof(orr_real));
  s->state = engine_new_zeroed(engine, planner->state_size + 1, 1);
  return s->mean && s->best && s->previous && s->best_returns && s->mean_returns && s->state
             ? ORR_OK
             : ORR_MEMORY;
}

void planner_free_searches(orr_planner *planner) {
  orr_engine *engine = planner->engine;
  for (int i = 0; planner->searches && i < planner->states; i++) {
    search *s = &planner->searches[i];
    void *memory[] = {s->mean, s->best, s->previous, s->best_returns, s->mean_returns, s->state};
    for (size_t j = 0; j < COUNT(memory); j++) engine_free_memory(engine, memory[j]);
  }
  void *memory[] = {planner->searches,   planner->returns,        planner->values,
                    planner->violations, planner->gradients,      planner->order,
                    planner->proposed,   planner->wide_gradients, planner->out};
  for (size_t i = 0; i < COUNT(memory); i++) engine_free_memory(engine, memory[i]);
  orr_tensor_free(planner->plans);
  orr_tensor_free(planner->wide);
  planner->searches = NULL;
  planner->candidates = NULL;
  planner->returns = planner->values = planner->violations = planner->gradients = NULL;
  planner->order = NULL;
  planner->proposed = planner->wide_gradients = planner->out = NULL;
  planner->plans = planner->wide = NULL;
  planner->states = 0;
}

/* What only some planners have: proposals, gradients, held actions. */
static orr_status new_extras(orr_planner *planner, size_t plans, size_t wide) {
  orr_engine *engine = planner->engine;
  size_t states = (size_t)planner->states, numbers = plans * (size_t)planner->variables;
  if (planner->proposals) {
    size_t proposed = states * (size_t)planner->proposals * wide;
    planner->proposed = engine_new_zeroed(engine, proposed, sizeof(orr_real));
    if (!planner->proposed) return ORR_MEMORY;
  }
  if (planner->wants_gradients) {
    planner->gradients = engine_new_zeroed(engine, numbers, sizeof(orr_real));
    if (!planner->gradients) return ORR_MEMORY;
  }
  if (planner->repeat == 1) return ORR_OK;
  int64_t shape[3] = {(int64_t)plans, planner->horizon, planner->actions};
  planner->wide = orr_tensor_new(engine, ORR_REAL, 3, shape);
  planner->out = engine_new_zeroed(engine, states * 3 * wide, sizeof(orr_real));
  if (!planner->wide || !planner->out) return ORR_MEMORY;
  if (!planner->wants_gradients) return ORR_OK;
  planner->wide_gradients = engine_new_zeroed(engine, plans * wide, sizeof(orr_real));
  return planner->wide_gradients ? ORR_OK : ORR_MEMORY;
}

orr_status planner_make_searches(orr_planner *planner, int states) {
  orr_engine *engine = planner->engine;
  size_t wide = (size_t)planner->horizon * (size_t)planner->actions, numbers;
  size_t plans = (size_t)planner->population * (size_t)states;
  if (!multiply_sizes(wide, plans, &numbers) || plans > INT32_MAX / 16)
    return engine_fail(engine, ORR_ARGUMENT,
                       "%s: a population of %d for each of %d states is too large",
                       rows[planner->row].name, planner->population, states);
  planner_free_searches(planner);
  planner->searches = engine_new_zeroed(engine, (size_t)states, sizeof(search));
  if (!planner->searches) return ORR_MEMORY;
  planner->states = states;
  int64_t shape[3] = {(int64_t)plans, planner->length, planner->actions};
  planner->plans = orr_tensor_new(engine, ORR_REAL, 3, shape);
  planner->returns = engine_new_zeroed(engine, plans, sizeof(orr_real));
  planner->order = engine_new_zeroed(engine, plans, sizeof(int));
  orr_status status = planner->plans && planner->returns && planner->order ? ORR_OK : ORR_MEMORY;
  for (int i = 0; i < states && !status; i++) status = new_search(planner, &planner->searches[i]);
  if (!status) status = new_extras(planner, plans, wide);
  if (status) {
    planner_free_searches(planner);
    return status;
  }
  planner->candidates = orr_tensor_data(planner->plans);
  orr_planner_reset(planner);
  return ORR_OK;
}

orr_status planner_make_scratch(orr_planner *planner) {
  int workers = orr_engine_threads(planner->engine);
  if (workers <= planner->workers) return ORR_OK;
  size_t most = (size_t)(planner->draws > planner->variables ? planner->draws : planner->variables);
  orr_real *scratch =
      engine_new_zeroed(planner->engine, (size_t)workers * 2 * most, BLOCK * sizeof(orr_real));
  if (!scratch) return ORR_MEMORY;
  engine_free_memory(planner->engine, planner->scratch);
  planner->scratch = scratch;
  planner->workers = workers;
  return ORR_OK;
}

/* A planner that was left without buffers has no searches, and is refused when used. */
orr_status orr_planner_set_states(orr_planner *planner, int states) {
  if (states < 1)
    return engine_fail(planner->engine, ORR_ARGUMENT, "%s: %d states", rows[planner->row].name,
                       states);
  if (planner->busy)
    return engine_fail(planner->engine, ORR_STATE, "%s is planning", rows[planner->row].name);
  return states == planner->states ? ORR_OK : planner_make_searches(planner, states);
}

int orr_planner_states(const orr_planner *planner) { return planner->states; }

static orr_status check_discrete(const orr_planner *planner) {
  for (int f = 0; f < orr_space_fields(planner->space) && !planner->type->discrete; f++) {
    const orr_field *field = orr_space_field(planner->space, f);
    if (field->n > 0)
      return engine_fail(planner->engine, ORR_ARGUMENT,
                         "%s plans continuous actions, but action field '%s' is discrete: "
                         "use cem, random_shooting or enumerated_shooting",
                         rows[planner->row].name, field->name);
  }
  return ORR_OK;
}

orr_planner *orr_planner_new(orr_engine *engine, const char *name, orr_space *actions,
                             const orr_planner_setting *settings, int count) {
  if (!name || !actions) {
    engine_fail(engine, ORR_ARGUMENT, "a planner needs a name and an action space");
    return NULL;
  }
  int row = find_row(engine, name);
  orr_planner *planner = row < 0 ? NULL : engine_new_zeroed(engine, 1, sizeof *planner);
  if (!planner) return NULL;
  atomic_init(&planner->references, 1);
  planner->engine = orr_engine_retain(engine);
  planner->type = rows[row].type;
  planner->row = row;
  planner->ranked = 1;
  orr_status status = read_options(planner, settings, count);
  if (!status) status = read_space(planner, actions);
  planner->draws = planner->variables;
  planner->wants_gradients = planner->type->gradients;
  if (!status) status = check_discrete(planner);
  if (!status) status = planner->type->open(planner);
  if (!status && planner->proposals > planner->population)
    status = engine_fail(engine, ORR_ARGUMENT, "%s: %d proposals in a population of %d", name,
                         planner->proposals, planner->population);
  if (!status) status = planner_make_searches(planner, 1);
  if (!status) status = planner_make_scratch(planner);
  if (status) {
    orr_planner_free(planner);
    return NULL;
  }
  orr_planner_seed(planner, 0);
  return planner;
}

orr_planner *orr_planner_retain(orr_planner *planner) {
  if (planner) atomic_fetch_add(&planner->references, 1);
  return planner;
}

void orr_planner_free(orr_planner *planner) {
  if (!planner || atomic_fetch_sub(&planner->references, 1) > 1) return;
  orr_engine *engine = planner->engine;
  void *memory[] = {planner->options, planner->shared,  planner->middle,
                    planner->half,    planner->scratch, planner};
  planner_free_searches(planner);
  if (planner->type->close) planner->type->close(planner);
  orr_space_free(planner->space);
  for (size_t i = 0; i < COUNT(memory); i++) engine_free_memory(engine, memory[i]);
  orr_engine_free(engine);
}

orr_engine *orr_planner_engine(const orr_planner *planner) { return planner->engine; }
const char *orr_planner_name(const orr_planner *planner) { return rows[planner->row].name; }
orr_space *orr_planner_action_space(const orr_planner *planner) { return planner->space; }
int orr_planner_horizon(const orr_planner *planner) { return planner->horizon; }
int orr_planner_action_repeat(const orr_planner *planner) { return planner->repeat; }
int orr_planner_population(const orr_planner *planner) { return planner->population; }

bool orr_planner_wants_gradients(const orr_planner *planner) { return planner->wants_gradients; }

bool orr_planner_wants_linearisation(const orr_planner *planner) {
  return planner->type->derivatives;
}
