/* builtin.c - from a row of envs.def to a running environment: options checked, spaces made. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "env/env.h"

static const env_class *const classes[] = {
#define ENV(name) &env_##name,
#include "env/envs.def"
#undef ENV
};

/* What the callbacks of a built-in get: its functions and its settings. */
typedef struct builtin {
  orr_engine *engine;
  const env_class *class;
  double settings[];
} builtin;

static orr_status reset(void *user, orr_random *random, double *state) {
  const builtin *b = user;
  b->class->reset(b->settings, random, state);
  return ORR_OK;
}

static orr_status step(void *user, double *state, const orr_real *action, orr_random *random,
                       orr_env_result *result) {
  const builtin *b = user;
  b->class->step(b->settings, state, action, random, result);
  return ORR_OK;
}

static orr_status observe(void *user, const double *state, orr_real *observation) {
  const builtin *b = user;
  b->class->observe(b->settings, state, observation);
  return ORR_OK;
}

static orr_status draw(void *user, const double *state, orr_canvas *canvas) {
  const builtin *b = user;
  b->class->draw(b->settings, state, canvas);
  return ORR_OK;
}

static void free_builtin(void *user) {
  builtin *b = user;
  engine_free_memory(b->engine, b);
}

void env_field(env_fields *fields, const char *name, int length, double low, double high) {
  int i = fields->count++, count = length ? length : 1;
  for (int k = 0; k < count; k++) {
    fields->bounds[i][0][k] = (orr_real)low;
    fields->bounds[i][1][k] = (orr_real)high;
  }
  fields->fields[i] = (orr_field){.name = name,
                                  .axes = length > 0,
                                  .shape = {length},
                                  .low = fields->bounds[i][0],
                                  .high = fields->bounds[i][1]};
}

void env_field_discrete(env_fields *fields, const char *name, int64_t n) {
  fields->fields[fields->count++] = (orr_field){.name = name, .n = n};
}

double env_distance(const double a[2], const double b[2]) {
  return hypot(a[0] - b[0], a[1] - b[1]);
}

const env_class *env_class_find(orr_engine *engine, const char *name) {
  const char *names[COUNT(classes)];
  char known[512] = "";
  for (size_t i = 0; i < COUNT(classes); i++) {
    if (strcmp(classes[i]->name, name) == 0) return classes[i];
    names[i] = classes[i]->name;
    size_t used = strlen(known);
    snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
  }
  const char *near = nearest_name(name, names, (int)COUNT(classes));
  engine_fail(engine, ORR_FIELD, "no environment '%.64s'%s%s%s there are: %s", name,
              near ? "; did you mean '" : ";", near ? near : "", near ? "'?" : "", known);
  return NULL;
}

static orr_status set_setting(orr_engine *engine, builtin *b, const orr_env_setting *setting) {
  const env_class *class = b->class;
  const char *names[32];
  for (int i = 0; i < class->settings_count; i++) {
    const orr_env_setting_info *info = &class->settings[i];
    names[i] = info->name;
    if (strcmp(info->name, setting->name) != 0) continue;
    if (!(setting->value >= info->low && setting->value <= info->high))
      return engine_fail(engine, ORR_ARGUMENT,
                         "environment '%s': %s is %g; it must be %g to %g (%s)", class->name,
                         info->name, setting->value, info->low, info->high, info->doc);
    b->settings[i] = setting->value;
    return ORR_OK;
  }
  const char *near = nearest_name(setting->name, names, class->settings_count);
  return engine_fail(engine, ORR_FIELD, "environment '%s' has no option '%.64s'%s%s%s", class->name,
                     setting->name, near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
}

static builtin *builtin_new(orr_engine *engine, const env_class *class,
                            const orr_env_options *options) {
  builtin *b =
      engine_new_zeroed(engine, 1, sizeof *b + (size_t) class->settings_count * sizeof(double));
  if (!b) return NULL;
  b->engine = engine;
  b->class = class;
  for (int i = 0; i < class->settings_count; i++) b->settings[i] = class->settings[i].value;
  for (int i = 0; i < options->settings_count; i++) {
    if (!set_setting(engine, b, &options->settings[i])) continue;
    engine_free_memory(engine, b);
    return NULL;
  }
  return b;
}

orr_env_options orr_env_options_defaults(void) {
  return (orr_env_options){.size = sizeof(orr_env_options), .max_steps = -1};
}

static orr_env *make(orr_engine *engine, builtin *b, int64_t max_steps) {
  env_fields observation = {0}, action = {0}, state = {0};
  b->class->spaces(b->settings, &observation, &action, &state);
  orr_env_callbacks calls = orr_env_callbacks_defaults();
  calls.name = b->class->name;
  calls.observation = orr_space_new(engine, observation.fields, observation.count);
  calls.action = orr_space_new(engine, action.fields, action.count);
  calls.state = orr_space_new(engine, state.fields, state.count);
  int64_t own = b->class->limit ? b->class->limit(b->settings) : b->class->max_steps;
  calls.max_steps = max_steps < 0 ? own : max_steps;
  calls.thread_safe = true;
  calls.user = b;
  calls.reset = reset;
  calls.step = step;
  calls.observe = observe;
  calls.draw = b->class->draw ? draw : NULL;
  calls.free_user = free_builtin;
  bool whole = calls.observation && calls.action && calls.state;
  orr_env *env = whole ? orr_env_from_callbacks(engine, &calls) : NULL;
  orr_space_free(calls.observation);
  orr_space_free(calls.action);
  orr_space_free(calls.state);
  return env;
}

orr_env *orr_env_new(orr_engine *engine, const char *name, const orr_env_options *given) {
  orr_env_options options = orr_env_options_defaults();
  if (READ_OPTIONS(engine, orr_env_options, &options, given)) return NULL;
  const env_class *class = env_class_find(engine, name);
  if (!class) return NULL;
  if (options.max_steps < -1) {
    engine_fail(engine, ORR_ARGUMENT,
                "environment '%s': max_steps is %lld; it must be at least 1, or 0 for no limit",
                name, (long long)options.max_steps);
    return NULL;
  }
  builtin *b = builtin_new(engine, class, &options);
  if (!b) return NULL;
  orr_env *env = make(engine, b, options.max_steps);
  if (!env) free_builtin(b);
  return env;
}

int orr_env_builtin_count(void) { return (int)COUNT(classes); }

static const env_class *class_at(int index) {
  return index >= 0 && index < (int)COUNT(classes) ? classes[index] : NULL;
}

const char *orr_env_builtin_name(int index) {
  const env_class *class = class_at(index);
  return class ? class->name : NULL;
}

const char *orr_env_builtin_doc(int index) {
  const env_class *class = class_at(index);
  return class ? class->doc : NULL;
}

const orr_env_setting_info *orr_env_builtin_settings(int index, int *count) {
  const env_class *class = class_at(index);
  *count = class ? class->settings_count : 0;
  return class ? class->settings : NULL;
}
