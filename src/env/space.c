/* space.c - named fields with shapes and bounds over a flat vector. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "orrery/space.h"

struct orr_space {
  orr_engine *engine;
  atomic_int references;
  int count;
  int64_t size;
  orr_field *fields;
  char (*names)[ORR_FIELD_NAME];
  orr_real *low, *high; /* flat */
};

static bool is_identifier(const char *name) {
  if (!isalpha((unsigned char)name[0]) && name[0] != '_') return false;
  for (const char *c = name; *c; c++)
    if (!isalnum((unsigned char)*c) && *c != '_') return false;
  return true;
}

/* Checks one field and fills its count; false with a message. */
static bool check_field(orr_engine *engine, const orr_field *given, int index, orr_field *field) {
  *field = *given;
  const char *name = given->name;
  if (!name || !*name || strlen(name) >= ORR_FIELD_NAME || !is_identifier(name)) {
    engine_fail(
        engine, ORR_ARGUMENT,
        "field %d: the name '%.80s' must be letters, digits and _ (at most %d), not beginning "
        "with a digit",
        index + 1, name ? name : "", ORR_FIELD_NAME - 1);
    return false;
  }
  if (given->axes < 0 || given->axes > ORR_AXES) {
    engine_fail(engine, ORR_SHAPE, "field '%s' has %d axes; 0 to %d are allowed", name, given->axes,
                ORR_AXES);
    return false;
  }
  size_t count = 1;
  for (int i = 0; i < given->axes; i++) {
    if (given->shape[i] < 1 || !multiply_sizes(count, (size_t)given->shape[i], &count) ||
        count > INT32_MAX) {
      engine_fail(engine, ORR_SHAPE,
                  "field '%s': axis %d has length %lld; lengths are at least 1 and "
                  "their product at most %d",
                  name, i + 1, (long long)given->shape[i], INT32_MAX);
      return false;
    }
  }
  if (given->n < 0 || given->n > 1 << 24) {
    engine_fail(engine, ORR_ARGUMENT,
                "field '%s': n is %lld; discrete fields take values 0 .. n-1 with n "
                "up to %d, continuous ones have n = 0",
                name, (long long)given->n, 1 << 24);
    return false;
  }
  field->count = (int64_t)count;
  return true;
}

static bool set_bounds(orr_space *space, orr_field *field, const orr_field *given) {
  orr_real *low = space->low + field->offset, *high = space->high + field->offset;
  for (int64_t i = 0; i < field->count; i++) {
    low[i] = field->n ? 0 : given->low ? given->low[i] : -(orr_real)INFINITY;
    high[i] = field->n      ? (orr_real)(field->n - 1)
              : given->high ? given->high[i]
                            : (orr_real)INFINITY;
    if (!(low[i] <= high[i])) {
      char text[128];
      engine_fail(space->engine, ORR_ARGUMENT,
                  "field '%s': the low bound %g is above the high bound %g",
                  orr_space_element_name(space, field->offset + i, text, sizeof text),
                  (double)low[i], (double)high[i]);
      return false;
    }
  }
  field->low = low;
  field->high = high;
  return true;
}

static bool fill(orr_space *space, const orr_field *fields) {
  for (int i = 0; i < space->count; i++) {
    orr_field *field = &space->fields[i];
    snprintf(space->names[i], ORR_FIELD_NAME, "%s", field->name);
    field->name = space->names[i];
    for (int j = 0; j < i; j++) {
      if (strcmp(space->names[j], field->name) != 0) continue;
      engine_fail(space->engine, ORR_ARGUMENT, "fields %d and %d are both called '%s'", j + 1,
                  i + 1, field->name);
      return false;
    }
    if (!set_bounds(space, field, &fields[i])) return false;
  }
  return true;
}

orr_space *orr_space_new(orr_engine *engine, const orr_field *fields, int count) {
  if (count < 1 || count > 4096) {
    engine_fail(engine, ORR_ARGUMENT, "a space has 1 to 4096 fields, got %d", count);
    return NULL;
  }
  orr_space *space = engine_new_zeroed(engine, 1, sizeof *space);
  if (!space) return NULL;
  space->engine = orr_engine_retain(engine);
  atomic_init(&space->references, 1);
  space->count = count;
  space->fields = engine_new_zeroed(engine, (size_t)count, sizeof *space->fields);
  space->names = engine_new_zeroed(engine, (size_t)count, sizeof *space->names);
  bool good = space->fields && space->names;
  for (int i = 0; good && i < count; i++) {
    good = check_field(engine, &fields[i], i, &space->fields[i]);
    space->fields[i].offset = space->size;
    if (good) space->size += space->fields[i].count;
  }
  if (good) {
    space->low = engine_new(engine, (size_t)space->size, sizeof(orr_real));
    space->high = engine_new(engine, (size_t)space->size, sizeof(orr_real));
    good = space->low && space->high && fill(space, fields);
  }
  if (good) return space;
  orr_space_free(space);
  return NULL;
}

orr_space *orr_space_retain(orr_space *space) {
  if (space) atomic_fetch_add(&space->references, 1);
  return space;
}

void orr_space_free(orr_space *space) {
  if (!space || atomic_fetch_sub(&space->references, 1) != 1) return;
  orr_engine *engine = space->engine;
  engine_free_memory(engine, space->fields);
  engine_free_memory(engine, space->names);
  engine_free_memory(engine, space->low);
  engine_free_memory(engine, space->high);
  engine_free_memory(engine, space);
  orr_engine_free(engine);
}

orr_engine *orr_space_engine(const orr_space *space) { return space->engine; }
int orr_space_fields(const orr_space *space) { return space->count; }
int64_t orr_space_size(const orr_space *space) { return space->size; }
const orr_real *orr_space_low(const orr_space *space) { return space->low; }
const orr_real *orr_space_high(const orr_space *space) { return space->high; }

const orr_field *orr_space_field(const orr_space *space, int index) {
  return index >= 0 && index < space->count ? &space->fields[index] : NULL;
}

int orr_space_find(const orr_space *space, const char *name) {
  for (int i = 0; i < space->count; i++)
    if (strcmp(space->names[i], name) == 0) return i;
  return -1;
}

const orr_field *orr_space_lookup(const orr_space *space, const char *name, const char *what) {
  int found = orr_space_find(space, name);
  if (found >= 0) return &space->fields[found];
  const char *near = NULL;
  for (int i = 0; i < space->count; i++) { /* a tournament, as nearest_name wants an array */
    const char *pair[2] = {near ? near : space->names[i], space->names[i]};
    near = nearest_name(name, pair, 2);
  }
  char known[400];
  orr_space_describe(space, known, sizeof known);
  if (near)
    engine_fail(space->engine, ORR_FIELD, "no %s field '%.64s'; did you mean '%s'? There are: %s",
                what, name, near, known);
  else
    engine_fail(space->engine, ORR_FIELD, "no %s field '%.64s'; there are: %s", what, name, known);
  return NULL;
}

static bool field_equal(const orr_field *a, const orr_field *b) {
  size_t bytes = (size_t)a->count * sizeof(orr_real);
  return strcmp(a->name, b->name) == 0 && a->axes == b->axes && a->n == b->n &&
         a->dtype == b->dtype &&
         memcmp(a->shape, b->shape, (size_t)a->axes * sizeof a->shape[0]) == 0 &&
         memcmp(a->low, b->low, bytes) == 0 && memcmp(a->high, b->high, bytes) == 0;
}

bool orr_space_equal(const orr_space *a, const orr_space *b) {
  if (a == b) return true;
  if (a->count != b->count) return false;
  for (int i = 0; i < a->count; i++)
    if (!field_equal(&a->fields[i], &b->fields[i])) return false;
  return true;
}

void orr_space_clip(const orr_space *space, orr_real *values) {
  for (int64_t i = 0; i < space->size; i++) {
    if (values[i] < space->low[i]) values[i] = space->low[i];
    if (values[i] > space->high[i]) values[i] = space->high[i];
  }
  for (int f = 0; f < space->count; f++) {
    const orr_field *field = &space->fields[f];
    if (!field->n) continue;
    orr_real *v = values + field->offset;
    for (int64_t i = 0; i < field->count; i++) v[i] = (orr_real)rint((double)v[i]);
  }
}

static double draw(const orr_field *field, int64_t i, orr_random *random) {
  double low = (double)field->low[i], high = (double)field->high[i];
  if (field->n) return low + (double)orr_random_index(random, (uint64_t)(high - low) + 1);
  if (isfinite(low) && isfinite(high)) return low + (high - low) * orr_random_uniform(random);
  double x = orr_random_normal(random);
  if (isfinite(low)) return low + fabs(x);
  return isfinite(high) ? high - fabs(x) : x;
}

void orr_space_sample(const orr_space *space, orr_random *random, orr_real *values) {
  for (int f = 0; f < space->count; f++) {
    const orr_field *field = &space->fields[f];
    for (int64_t i = 0; i < field->count; i++)
      values[field->offset + i] = (orr_real)draw(field, i, random);
  }
}

int64_t orr_space_first_non_finite(const orr_space *space, const orr_real *values) {
  for (int64_t i = 0; i < space->size; i++)
    if (!isfinite(values[i])) return i;
  return -1;
}

int64_t orr_space_first_outside(const orr_space *space, const orr_real *values, orr_real slack) {
  for (int f = 0; f < space->count; f++) {
    const orr_field *field = &space->fields[f];
    for (int64_t i = 0; i < field->count; i++) {
      orr_real v = values[field->offset + i];
      if (!(v >= field->low[i] - slack && v <= field->high[i] + slack)) return field->offset + i;
      if (field->n && v != (orr_real)rint((double)v)) return field->offset + i;
    }
  }
  return -1;
}

const char *orr_space_element_name(const orr_space *space, int64_t index, char *text, size_t size) {
  snprintf(text, size, "?");
  for (int f = 0; f < space->count; f++) {
    const orr_field *field = &space->fields[f];
    if (index < field->offset || index >= field->offset + field->count) continue;
    int64_t rest = index - field->offset, stride = field->count;
    int used = snprintf(text, size, "%s", field->name);
    for (int a = 0; a < field->axes && used >= 0 && (size_t)used < size; a++) {
      stride /= field->shape[a];
      used += snprintf(text + used, size - (size_t)used, "%s%lld%s", a ? "," : "[",
                       (long long)(rest / stride + 1), a + 1 == field->axes ? "]" : "");
      rest %= stride;
    }
    break;
  }
  return text;
}

const char *orr_space_describe(const orr_space *space, char *text, size_t size) {
  size_t used = 0;
  if (size) text[0] = 0;
  for (int f = 0; f < space->count; f++) {
    const orr_field *field = &space->fields[f];
    char shape[200] = "";
    size_t n = 0;
    for (int a = 0; a < field->axes; a++)
      n += (size_t)snprintf(shape + n, sizeof shape - n, "%s%lld%s", a ? "," : "[",
                            (long long)field->shape[a], a + 1 == field->axes ? "]" : "");
    int wrote = snprintf(text + used, size - used, "%s%s%s", f ? ", " : "", field->name, shape);
    if (wrote < 0 || used + (size_t)wrote >= size) break;
    used += (size_t)wrote;
  }
  return text;
}
